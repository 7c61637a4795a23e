"""The command to type for one card of many."""

from dataclasses import replace

import pytest

from madrun.cli.again import again_of, again_of_record
from madrun.spec.card import Card
from madrun.spec.mad import MadCard

CARD = Card(
    name="d/a",
    folder="/r",
    repository="/r",
    source="/r/m",
    script="run.sh",
    tags=("t",),
    mad=MadCard(short="a", dockerfile="d"),
)
WORDS = ("madrun", "run", "--tags", "d/a:size=5", "all", "--timeout", "5")


@pytest.mark.parametrize(
    ("tags", "args", "tag"),
    [
        (["all"], "--x 1", "d/a"),
        (["t:size=5:fast", "all"], "--x 1 --size 5 --fast", "d/a:size=5:fast"),
        (["a:size=5", "all"], "--x 1", "d/a"),
        (["other:size=5", "d/a"], "--size 5", "d/a"),
        (["all:p:q=a=b"], " --p --q a b", "d/a:p:q=a=b"),
    ],
)
def test_one_card_of_many_is_named_with_the_arguments_of_its_tag(tags, args, tag):
    assert again_of(WORDS, tags, replace(CARD, args=args), False) == (*WORDS[:2], *WORDS[5:], "--tags", tag)


def test_a_command_of_one_card_stays_as_it_was_typed():
    assert again_of(WORDS, ["d/a:size=5"], CARD, True) == WORDS


def test_a_command_without_tags_stays_as_it_was_typed():
    assert again_of(("madrun", "run", "--plan", "x"), [], CARD, False) == ("madrun", "run", "--plan", "x")


@pytest.mark.parametrize(
    ("typed", "args", "again"),
    [
        ("madrun run --tags d/a --timeout 5", "", "madrun run --tags d/a --timeout 5"),
        ("madrun run --plan x", "", "madrun run --plan x"),
        ("madrun run --tags all --timeout 5", "", "madrun run --timeout 5 --tags d/a"),
        ("madrun run --tags all:x=1 b", "--y --x 1", "madrun run --tags d/a:x=1"),
        ("madrun run --tags all b:x=1", "--y", "madrun run --tags d/a"),
    ],
)
def test_a_record_names_its_card_alone(typed, args, again):
    assert again_of_record(tuple(typed.split()), "d/a", args) == tuple(again.split())
