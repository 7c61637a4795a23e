"""Whatever a MAD card says in fields that both forms have, the native one says the same."""

import tempfile
from dataclasses import replace
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.registry.catalogue import load
from madrun.registry.migrate.migration import migrate
from madrun.spec.card import Card
from madrun.spec.context import args_problem
from madrun.spec.mad import MadCard

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
WORD = st.text(
    st.characters(codec="utf-8", categories=["L", "N", "P", "S"], exclude_characters="\0,"), min_size=1, max_size=8
)
NAMES = st.from_regex(r"[A-Za-z0-9._+-]{1,12}", fullmatch=True)
CARDS = st.fixed_dictionaries(
    {
        "args": TEXT.filter(lambda text: not args_problem(text.strip("\n"))),
        "tags": st.lists(WORD, max_size=3, unique=True).map(tuple),
        "gpus_per_node": st.none() | st.integers(1, 16),
        "data": st.lists(WORD, max_size=2, unique=True).map(tuple),
        "timeout_s": st.none() | st.integers(0, 10**6).map(float) | st.floats(0, 1e6),
        "multiple_results": st.none() | st.from_regex(r"[a-z_]{1,8}\.csv", fullmatch=True),
        "training_precision": TEXT,
    }
)


def card(folder, name, values):
    mad = MadCard(short=name, dockerfile="docker/a")
    base = Card(
        name=name, folder=f"{folder}/scripts/a", repository=str(folder), source="models.json", script="run.sh", mad=mad
    )
    return replace(base, **values)


@settings(max_examples=25)
@given(st.dictionaries(NAMES, CARDS, min_size=1, max_size=4))
def test_the_written_file_means_what_the_card_means(cards):
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made).resolve() / "mad"
        for name, text in (("docker/a.Dockerfile", "FROM x\n"), ("scripts/a/run.sh", "echo\n")):
            (folder / name).parent.mkdir(parents=True)
            (folder / name).write_text(text)
        given = [card(folder, name, values) for name, values in cards.items()]
        outcome = migrate(given, folder, Path(made) / "native")
        taken = [error for error in outcome.failed if "taken by" in str(error)]
        assert taken == outcome.failed
        catalogue = load(Path(made) / "native")
        assert catalogue.broken == ()
        read = {found.name: found for found in catalogue.cards}
        assert len(read) == len(given) - len(taken)
        for old in given:
            new = read.get(old.name)
            if new is None:
                continue  # a name that a native card may not have
            assert new.args == old.args.strip("\n")
            assert sorted(new.tags) == sorted(old.tags)
            for key in ("gpus_per_node", "data", "timeout_s", "multiple_results", "training_precision"):
                assert getattr(new, key) == getattr(old, key)
