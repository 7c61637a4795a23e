"""Dealing samples to ranks, the texts, and the ledger that proves what was read."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest


@pytest.fixture
def data(load):
    return load("data")


def dealt(data, world: int, mbs: int, batches: int, samples: int = 96) -> list[list[int]]:
    """The samples of each rank over so many micro-batches."""
    deals = [data.Deal(samples=samples, world=world, rank=rank, mbs=mbs, seed=7) for rank in range(world)]
    return [[s for number in range(batches) for s in deal.micro_batch(number)] for deal in deals]


@pytest.mark.parametrize(("world", "mbs"), [(1, 4), (2, 2), (4, 1), (3, 8)])
def test_over_one_epoch_the_ranks_share_all_samples_and_none_twice(data, world, mbs):
    ranks = dealt(data, world, mbs, batches=96 // (world * mbs))
    assert sorted(sample for rank in ranks for sample in rank) == list(range(96))


def test_the_samples_of_a_step_do_not_depend_on_the_number_of_ranks(data):
    steps = [sorted(s for rank in dealt(data, world, 8 // world, 1) for s in rank) for world in (1, 2, 4, 8)]
    assert all(step == steps[0] for step in steps)


def test_doubling_the_ranks_halves_the_steps_of_an_epoch(data):
    for world in (1, 2, 4):
        ranks = dealt(data, world, 2, batches=48 // world)
        assert sum(len(rank) for rank in ranks) == 96
        assert len(ranks[0]) == 96 // world


def test_the_second_epoch_has_the_same_samples_in_another_order(data):
    (order,) = dealt(data, 1, 1, batches=192)
    assert sorted(order[:96]) == sorted(order[96:])
    assert order[:96] != order[96:]


def test_the_order_follows_from_the_seed_alone(data):
    assert data.shuffled(96, 1, 0) == data.shuffled(96, 1, 0)
    assert data.shuffled(96, 1, 0) != data.shuffled(96, 2, 0)


def write_text(folder: Path, size: int) -> Path:
    folder.joinpath("text.txt").write_bytes(bytes(i % 251 for i in range(size)))
    return folder


def test_samples_of_a_file_are_its_bytes_at_their_place(data, tmp_path):
    text = data.FileText(write_text(tmp_path, 1000), seq=128)
    assert len(text) == (1000 - 129) // 2 + 1
    assert text.tokens(3).tolist() == [i % 251 for i in range(6, 6 + 129)]
    assert len(text.tokens(len(text) - 1)) == 129


def test_a_text_that_is_too_short_is_refused(data, tmp_path):
    with pytest.raises(data.DataError, match="has 128 bytes; --seq 128 needs more"):
        data.FileText(write_text(tmp_path, 128), seq=128)
    assert len(data.FileText(write_text(tmp_path, 129), seq=128)) == 1


def test_a_folder_without_a_text_is_refused(data, tmp_path):
    with pytest.raises(data.DataError, match="holds 0"):
        data.FileText(tmp_path, seq=8)


def test_synthetic_tokens_use_the_vocabulary_and_repeat(data):
    text = data.SyntheticText(samples=4, seq=20000, vocab=512, seed=0)
    tokens = text.tokens(1)
    assert tokens.min() == 0
    assert tokens.max() <= 511
    assert (tokens == text.tokens(1)).all()
    assert (tokens != text.tokens(2)).any()
    # Zipf: token 0 has probability ln(2) / ln(512) = 1/9.
    assert (tokens == 0).mean() == pytest.approx(1 / 9, abs=0.01)


def ledger_of(data, text, ranks: list[int], world: int) -> object:
    """The ledger of a job whose processes believe to be `ranks` of `world`, over four micro-batches."""
    total = data.Ledger()
    for rank in ranks:
        deal = data.Deal(samples=len(text), world=world, rank=rank, mbs=2, seed=0)
        for number in range(4):
            samples = deal.micro_batch(number)
            total.enter(data.Batch(samples, [text.tokens(sample) for sample in samples]))
    return total


def test_ledgers_of_honest_ranks_add_up_to_the_expected_one(data, tmp_path):
    text = data.FileText(write_text(tmp_path, 1000), seq=64)
    parts = [ledger_of(data, text, [rank], 2) for rank in (0, 1)]
    expected = data.expected_ledger(text, seed=0, samples=16)
    assert sum(parts, data.Ledger()) == expected
    assert expected.tokens == 16 * 64


@pytest.mark.parametrize(("ranks", "world"), [([0, 0], 2), ([1, 1], 2), ([0, 0], 1)])
def test_ranks_that_read_the_same_do_not(data, tmp_path, ranks, world):
    text = data.FileText(write_text(tmp_path, 1000), seq=64)
    assert ledger_of(data, text, ranks, world) != data.expected_ledger(text, seed=0, samples=16)


def test_a_node_with_another_text_is_seen(data, tmp_path):
    text = data.FileText(write_text(tmp_path, 1000), seq=64)
    other = tmp_path / "other"
    other.mkdir()
    other.joinpath("text.txt").write_bytes(bytes(1000))
    found = ledger_of(data, data.FileText(other, seq=64), [0, 1], 2)
    assert found.samples == 16
    assert found != data.expected_ledger(text, seed=0, samples=16)


def test_the_shipped_text_is_the_documented_one(cards):
    folder = cards.models / "data" / "tiny_corpus"
    content = (folder / "alice_in_wonderland.txt").read_bytes()
    assert content.isascii()
    documented = re.findall(r"\b[0-9a-f]{64}\b", (folder / "SOURCE.md").read_text())
    assert hashlib.sha256(content).hexdigest() in documented
