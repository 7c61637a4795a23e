"""Notes on cards, each said once however many cards have it."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from madrun.cli.sharednotes import of_card, shared_notes
from madrun.spec.card import Card

CARD = Card(name="a", folder="/r", repository="/r", source="/r/models.json", script="run.sh")
NAMES = st.sampled_from("abcdef")


def card(name):
    return replace(CARD, name=name)


def test_a_note_that_many_cards_have_is_one_line_with_their_number():
    notes = [(card(name), of_card(card(name), "typo: unknown field")) for name in "abc"]
    assert shared_notes(notes) == ["/r/models.json: a: typo: unknown field (and 2 more cards)"]
    assert shared_notes(notes[:2]) == ["/r/models.json: a: typo: unknown field (and 1 more card)"]
    assert shared_notes(notes[:1]) == ["/r/models.json: a: typo: unknown field"]


def test_a_card_that_runs_twice_counts_once():
    assert shared_notes([(CARD, of_card(CARD, "x"))] * 3) == ["/r/models.json: a: x"]


def test_a_note_of_no_card_stands_as_it_is_and_once():
    assert shared_notes([(card("a"), "no GPU here"), (card("b"), "no GPU here")]) == ["no GPU here"]


def test_a_note_that_only_some_cards_of_a_command_have_says_which():
    notes = [(card(name), "slurm has no effect") for name in "abcd"]
    assert shared_notes(notes, 5) == ["slurm has no effect [a, b and 2 more]"]
    assert shared_notes(notes[:1], 5) == ["slurm has no effect [a]"]
    assert shared_notes(notes, 4) == ["slurm has no effect"]


@given(st.lists(st.tuples(NAMES, st.sampled_from(["x", "y", "z: 1"]), st.booleans())))
def test_every_note_is_told_and_none_twice(said):
    notes = [(card(name), of_card(card(name), text) if own else text) for name, text, own in said]
    told = shared_notes(notes)
    assert len(told) == len({(text, own) for _, text, own in said})
    assert all(any(text in line for line in told) for _, text, _ in said)
