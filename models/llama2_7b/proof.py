"""Fingerprints of the parameters: did training change them, and do all ranks hold the same ones?"""

from __future__ import annotations

import hashlib

import torch
from bench import World, gather
from torch import nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor


@torch.no_grad()
def fingerprint(model: nn.Module, *, whole: bool) -> list[int]:
    """One number for each parameter: the sum of its fp32 bit patterns; of this rank's shard if not `whole`."""
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.reshard()  # a forward pass alone leaves the root's bf16 copies in the parameters' place
    sums = []
    for parameter in model.parameters():
        value = parameter.detach()
        if isinstance(value, DTensor):
            value = value.full_tensor() if whole else value.to_local()
        sums.append(int(value.contiguous().view(torch.int32).sum(dtype=torch.int64)))
    return sums


def count_changed(world: World, before: list[int], after: list[int]) -> int:
    """Parameters that changed on at least one rank (a small one may have an empty shard on the others)."""
    by_rank = gather(world, [a != b for a, b in zip(before, after, strict=True)])
    return sum(any(changed) for changed in zip(*by_rank, strict=True))


def hash_numbers(numbers: list[int]) -> str:
    """Sixteen hex digits that stand for the list."""
    return hashlib.sha256(repr(numbers).encode()).hexdigest()[:16]
