"""The training data: samples that know their number, dealt out so that no two ranks ever see the same one.

    text = FileText(Path(os.environ["MAD_DATAHOME"]), seq=128)
    for batch in Loader(text, Deal(samples=len(text), world=2, rank=0, mbs=4, seed=0)):
        ...

`Deal` is the arithmetic (plain integers), the texts make tokens, `Ledger` proves afterwards what was read.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy

BYTE_VALUES = 256
STRIDE_PARTS = 64  # a new sample starts every seq/64 bytes: a small text still gives thousands of samples


class DataError(Exception):
    """The data cannot feed this job; the text says what was found and what is needed."""


class Text(Protocol):
    """Samples by number. A sample is seq + 1 token ids: the inputs, and one place on the targets."""

    def __len__(self) -> int: ...

    def tokens(self, sample: int) -> numpy.ndarray: ...


class FileText:
    """The bytes of the one *.txt file in a folder as tokens 0-255; sample i starts at byte i * stride."""

    def __init__(self, folder: Path, seq: int) -> None:
        found = sorted(path.name for path in folder.glob("*.txt"))
        if len(found) != 1:
            raise DataError(f"{folder} holds {len(found)} *.txt files {found[:5]}; exactly one is needed")
        self._bytes = numpy.memmap(folder / found[0], dtype=numpy.uint8, mode="r")
        self._seq = seq
        self._stride = max(1, seq // STRIDE_PARTS)
        if len(self._bytes) <= seq:
            raise DataError(f"{folder / found[0]} has {len(self._bytes)} bytes; --seq {seq} needs more than that")

    def __len__(self) -> int:
        return (len(self._bytes) - self._seq - 1) // self._stride + 1

    def tokens(self, sample: int) -> numpy.ndarray:
        start = sample * self._stride
        return self._bytes[start : start + self._seq + 1].astype(numpy.int32)


class SyntheticText:
    """Tokens by Zipf's law over the whole vocabulary, drawn from the sample's number: no file, same cost.

    Uniform tokens would not do: nothing could be learnt from them, and a loss that falls is a check.
    """

    def __init__(self, samples: int, seq: int, vocab: int, seed: int) -> None:
        self._samples, self._seq, self._vocab, self._seed = samples, seq, vocab, seed

    def __len__(self) -> int:
        return self._samples

    def tokens(self, sample: int) -> numpy.ndarray:
        uniform = numpy.random.default_rng([self._seed, sample]).random(self._seq + 1)
        # vocab ** u is log-uniform on [1, vocab): token t has probability about 1 / ((t + 1) ln(vocab)).
        return (self._vocab**uniform).astype(numpy.int32) - 1


@lru_cache(maxsize=2)
def shuffled(samples: int, seed: int, epoch: int) -> list[int]:
    """The order of one epoch: all sample numbers once. The same on every rank, another for every epoch."""
    order = list(range(samples))
    random.Random(f"{seed} {epoch}").shuffle(order)
    return order


@dataclass(frozen=True, kw_only=True)
class Deal:
    """Which rank reads which sample. One global order; each micro-batch of the job takes the next samples.

    Sample `place` of the order goes to rank (place // mbs) % world. So the set of samples of a step depends
    only on the global batch size, not on how many ranks share it.
    """

    samples: int
    world: int
    rank: int
    mbs: int
    seed: int

    def sample_at(self, place: int) -> int:
        """The sample at a place of the endless global order: epoch after epoch, each shuffled anew."""
        epoch, position = divmod(place, self.samples)
        return shuffled(self.samples, self.seed, epoch)[position]

    def micro_batch(self, number: int) -> list[int]:
        """The samples of this rank's micro-batch `number`, counted from the start of the job."""
        first = (number * self.world + self.rank) * self.mbs
        return [self.sample_at(place) for place in range(first, first + self.mbs)]


@dataclass(frozen=True)
class Batch:
    """One micro-batch of one rank: sample numbers and token ids [mbs, seq + 1]."""

    samples: list[int]
    tokens: numpy.ndarray


class Loader:
    """The endless micro-batches of one rank, from micro-batch `first` on."""

    def __init__(self, text: Text, deal: Deal, first: int = 0) -> None:
        self._text, self._deal, self._first = text, deal, first

    def __iter__(self) -> Iterator[Batch]:
        number = self._first
        while True:
            samples = self._deal.micro_batch(number)
            yield Batch(samples, numpy.stack([self._text.tokens(sample) for sample in samples]))
            number += 1


@dataclass
class Ledger:
    """What was fed to the model: tokens counted, and a fingerprint of the multiset of (sample, content).

    The fingerprint is a sum of mixed 64-bit hashes, so ledgers of ranks add up to the ledger of the job in any
    order, and a sample that was read twice, or left out, changes the sum.
    """

    tokens: int = 0
    samples: int = 0
    fingerprint: int = 0

    def enter(self, batch: Batch) -> None:
        """Count one batch as fed."""
        for sample, tokens in zip(batch.samples, batch.tokens, strict=True):
            self.enter_sample(sample, tokens)

    def enter_sample(self, sample: int, tokens: numpy.ndarray) -> None:
        """Count one sample; the first of its tokens is never a target, so it is not counted as work."""
        self.samples += 1
        self.tokens += len(tokens) - 1
        self.fingerprint = (self.fingerprint + mix(sample, zlib.crc32(tokens))) % 2**64

    def __add__(self, other: Ledger) -> Ledger:
        return Ledger(
            self.tokens + other.tokens,
            self.samples + other.samples,
            (self.fingerprint + other.fingerprint) % 2**64,
        )


def mix(sample: int, checksum: int) -> int:
    """A 64-bit hash of a sample's number and its content's checksum (finalizer of splitmix64, Vigna 2015)."""
    z = (sample * 0x9E3779B97F4A7C15 + checksum) % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def expected_ledger(text: Text, seed: int, samples: int) -> Ledger:
    """The ledger of a whole job that read the first `samples` places of the global order, each once."""
    deal = Deal(samples=len(text), world=1, rank=0, mbs=1, seed=seed)
    ledger = Ledger()
    for place in range(samples):
        sample = deal.sample_at(place)
        ledger.enter_sample(sample, text.tokens(sample))
    return ledger
