"""Whether scripts are there."""

import pytest

from madrun.errors import CardError
from madrun.registry.mad.scripts import missing_scripts, require_script
from madrun.spec.card import Card
from madrun.spec.mad import MadCard


def card(folder, name="m", script="run.sh", mad=True):
    more = MadCard(short=name, dockerfile="d") if mad else None
    return Card(name=name, folder=str(folder), repository="/r", source="s", script=script, mad=more)


def test_every_card_of_a_missing_script_is_named(tmp_path):
    (tmp_path / "run.sh").touch()
    lost = [card(tmp_path, "a", "x.sh"), card(tmp_path, "b", "x.sh")]
    found = [(one.name, text) for one, text in missing_scripts([card(tmp_path), *lost])]
    assert [name for name, _ in found] == ["a", "b"]
    assert found[0][1] == f"s: a: scripts: {tmp_path}/x.sh does not exist"


def test_a_folder_is_no_script_and_native_cards_were_checked_before(tmp_path):
    (tmp_path / "run.sh").mkdir()
    with pytest.raises(CardError, match="m: scripts: .*run.sh does not exist"):
        require_script(card(tmp_path))
    require_script(card(tmp_path, mad=False))
