"""Fingerprints of parameters and optimizer states: did training change them, are they equal where they must be?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

import torch
from bench import World, gather
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor


def reshard(model: nn.Module) -> None:
    """Put the sharded fp32 parameters back: a forward pass alone leaves gathered copies in their place."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


@torch.no_grad()
def fingerprint(tensors: Iterable[Tensor]) -> list[int]:
    """One number for each tensor: the sum of its bit patterns; of a sharded one, of what this rank holds."""
    sums = []
    for tensor in tensors:
        value = tensor.detach()
        value = value.to_local() if isinstance(value, DTensor) else value
        bits = torch.int16 if value.element_size() == 2 else torch.int32
        sums.append(int(value.contiguous().view(bits).sum(dtype=torch.int64)))
    return sums


def whole_fingerprints(world: World, shard_size: int, tensors: Iterable[Tensor]) -> list[list[int]]:
    """The fingerprint of each whole copy that the job holds: one for every `shard_size` ranks in a row.

    Shards add up to the whole, whatever their number, so copies and other worlds can be compared.
    """
    ranks = gather(world, fingerprint(tensors))
    copies = [ranks[first : first + shard_size] for first in range(0, world.size, shard_size)]
    return [[sum(parts) for parts in zip(*copy, strict=True)] for copy in copies]


def count_changed(world: World, before: list[int], after: list[int]) -> int:
    """Parameters that changed on at least one rank (a small one may have an empty shard on the others)."""
    by_rank = gather(world, [a != b for a, b in zip(before, after, strict=True)])
    return sum(any(changed) for changed in zip(*by_rank, strict=True))


def hash_numbers(numbers: Sequence[int]) -> str:
    """Sixteen hex digits that stand for the list."""
    return hashlib.sha256(repr(list(numbers)).encode()).hexdigest()[:16]
