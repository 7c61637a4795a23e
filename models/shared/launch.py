"""Who this process is, read from the environment its runner set, checked against what was planned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


class LaunchError(Exception):
    """The processes were not started as planned; the text says what was found and what was planned."""


@dataclass(frozen=True, kw_only=True)
class Launch:
    """One process of the job: `rank` of `size` over all nodes, `local_rank` of `local_size` on its node."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    node: int


def read_launch(env: Mapping[str, str]) -> Launch:
    """The launch that `env` describes.

    NNODES and NPROC_PER_NODE come from the harness, RANK and the others from the runner, so their product
    and WORLD_SIZE are two witnesses of the same fact. Where they disagree, for example eight processes that
    each believe to be a world of one, every number measured would be wrong, so it is an error.
    """
    planned = _planned_size(env)
    if "RANK" not in env:
        if planned not in (None, 1):
            raise LaunchError(
                f"no RANK is set, but {_plan_text(env)} processes are planned: "
                "this script was started without $MULTI_NODE_RUNNER in front of it"
            )
        return Launch(rank=0, size=1, local_rank=0, local_size=1, node=0)
    rank, size = _integer(env, "RANK"), _integer(env, "WORLD_SIZE")
    local_rank = _integer(env, "LOCAL_RANK")
    local_size = _integer(env, "LOCAL_WORLD_SIZE" if "LOCAL_WORLD_SIZE" in env else "WORLD_SIZE")
    if planned is not None and planned != size:
        raise LaunchError(f"WORLD_SIZE is {size}, but {_plan_text(env)} processes are planned")
    if not 0 <= rank < size:
        raise LaunchError(f"RANK is {rank}; with WORLD_SIZE={size} it must be 0 to {size - 1}")
    if not 0 <= local_rank < local_size:
        raise LaunchError(
            f"LOCAL_RANK is {local_rank}; with LOCAL_WORLD_SIZE={local_size} it must be 0 to {local_size - 1}"
        )
    node = _integer(env, "GROUP_RANK") if "GROUP_RANK" in env else rank // local_size
    return Launch(rank=rank, size=size, local_rank=local_rank, local_size=local_size, node=node)


def _planned_size(env: Mapping[str, str]) -> int | None:
    if "NNODES" not in env or "NPROC_PER_NODE" not in env:
        return None  # started by hand, there is no second witness
    return _integer(env, "NNODES") * _integer(env, "NPROC_PER_NODE")


def _plan_text(env: Mapping[str, str]) -> str:
    nnodes, nproc = env["NNODES"], env["NPROC_PER_NODE"]
    return f"NNODES={nnodes} x NPROC_PER_NODE={nproc} = {_planned_size(env)}"


def _integer(env: Mapping[str, str], name: str) -> int:
    text = env.get(name)
    if text is None:
        raise LaunchError(f"{name} is not set, although RANK={env.get('RANK')} is")
    try:
        return int(text)
    except ValueError:
        raise LaunchError(f"{name} is {text!r}; it must be a whole number") from None
