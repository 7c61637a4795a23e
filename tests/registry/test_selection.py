"""The cards that a command is about to use."""

import json

import pytest

from madrun.errors import CardError, UsageError
from madrun.registry.catalogue import load
from madrun.registry.selection import broken_of, choose_cards


def entry(name, **more):
    return {"name": name, "dockerfile": "docker/x", "scripts": "run.sh", "n_gpus": "1", "args": "", **more}


@pytest.fixture
def chosen(tmp_path):
    """Names, arguments and warnings of what the tags choose; files are given as JSON or text by their names."""

    def choose(tags, **files):
        for name, content in {"": [], **files}.items():
            text = isinstance(content, str)
            folder = tmp_path / "scripts" / name if name else tmp_path
            folder.mkdir(parents=True, exist_ok=True)
            file = "get_models_json.py" if text and "def " in content else "models.json"
            (folder / file).write_text(content if text else json.dumps(content))
        return choose_cards(load(tmp_path), tags)

    return choose


GENERATOR = """
import sys
from madengine.utils.discover_models import CustomModel
class Mine(CustomModel):
    def update_model(self):
        open('updated', 'a').write(self.name + ' ')
        self.args = '--now'
def list_models():
    sys.stderr.write('no checkout')
    return [Mine(name=n, tags=['t'], dockerfile='d', scripts='run.sh', args='--before') for n in 'ab']
"""


def test_the_hook_of_a_generators_card_is_called_on_selection_and_arguments_of_the_tag_come_after(chosen, tmp_path):
    cards = chosen(["g/a:x=1", "a"], g=GENERATOR)
    assert [(card.name, card.args) for card in cards] == [("g/a", "--now --x 1"), ("g/a", "--now")]
    assert (tmp_path / "updated").read_text() == "a "


def test_a_card_whose_hook_fails_is_left_to_whoever_plans_it_or_raised_where_cards_are_only_shown(chosen, tmp_path):
    broken = GENERATOR.replace("self.args = '--now'", "raise RuntimeError('no checkout')")
    cards = chosen(["all"], g=broken, o=[entry("m")])
    assert {card.name: bool(card.trouble) for card in cards} == {"g/a": True, "g/b": True, "o/m": False}
    with pytest.raises(CardError, match="no checkout"):
        choose_cards(load(tmp_path), ["all"], with_broken=False)


def test_no_hook_is_called_where_no_such_card_is_selected(chosen, tmp_path):
    chosen(["o/m"], g=GENERATOR, o=[entry("m")])
    assert not (tmp_path / "updated").exists()


def test_a_card_tells_its_warnings_with_their_place_and_what_its_generator_said(chosen, tmp_path):
    (card,) = chosen(["g/a"], g=GENERATOR, o=[entry("m", tag="x")])
    assert card.warnings == (f"{tmp_path}/scripts/g/get_models_json.py: no checkout",)
    (card,) = chosen(["o/m"])
    assert card.warnings == (
        f"{tmp_path}/scripts/o/models.json: o/m: tag: unknown field (did you mean 'tags'?), which has no effect",
    )


def test_a_broken_card_beside_whole_ones_is_told_and_belongs_to_what_was_asked_for(chosen, tmp_path):
    files = {"o": [entry("m", tags=["t"]), entry("bad", tags=["t"], n_gpus="x"), entry("other", n_gpus="x")]}
    (card,) = chosen(["t"], **files)
    (said,) = card.warnings
    assert said.startswith(f"left out: {tmp_path}/scripts/o/models.json:1: bad: n_gpus")
    broken = load(tmp_path).broken
    assert [error.card for error in broken_of(broken, ["t"])] == ["o/bad"]
    assert [error.card for error in broken_of(broken, ["m", "o/all"])] == ["o/bad", "o/other"]
    assert [error.card for error in broken_of(broken, ["m"])] == []


def test_a_tag_that_means_only_a_broken_card_is_its_error(chosen):
    with pytest.raises(CardError, match="bad: n_gpus: found 'x'"):
        chosen(["bad"], o=[entry("bad", n_gpus="x"), entry("worse", n_gpus="y")])


def test_a_file_that_could_not_be_read_is_told_since_a_tag_may_mean_more(chosen, tmp_path):
    (card,) = chosen(["m"], o=[entry("m")], p="[{")
    assert card.warnings[0].startswith(
        f"not read, so a tag may mean more cards: {tmp_path}/scripts/p/models.json:1:3: not JSON"
    )
    (card,) = chosen(["all"])
    assert card.warnings[0].startswith(f"left out: {tmp_path}/scripts/p/models.json:1:3: not JSON")


def test_a_tag_that_finds_nothing_names_what_is_near_and_the_file_that_may_hold_it(chosen, tmp_path):
    with pytest.raises(UsageError, match="no card or tag 'mm'; nearest: m") as caught:
        chosen(["mm"], m=[entry("m")], p="[{")
    assert f"{tmp_path}/scripts/p/models.json:1:3: not JSON" in str(caught.value)


def test_a_native_card_that_is_broken_is_the_likely_reason_for_a_tag_that_finds_nothing(write_card, repository):
    write_card("a", "argz: x\n")
    with pytest.raises(CardError, match="argz"):
        choose_cards(load(repository), ["a"])


def test_a_name_of_both_a_card_and_a_folder_is_told_what_it_means(chosen):
    files = {"": [entry("two")], "two": [entry("x"), entry("y")]}
    (card,) = chosen(["two:x"], **files)
    assert card.args == " --x"
    assert card.warnings == ("--tags: 'two:x' is the card two with the argument --x; cards of the folder: two/x",)
    (card,) = chosen(["two:z"], **files)
    assert card.warnings == ()
