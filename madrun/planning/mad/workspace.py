"""What of the checkout stands in the workspace of a run, so that scripts find `../` as they expect."""

from __future__ import annotations

from madrun.spec.mad import WORKSPACE, Entry
from madrun.spec.plan import RUN_DIR, Mount


def workspace_mounts(entries: tuple[Entry, ...], node_rank: int) -> tuple[Mount, ...]:
    """The workspace, which is the work directory of the run, and what is mounted into it."""
    own = Mount(source=f"{RUN_DIR}/node-{node_rank}/box/work", target=WORKSPACE)
    inside = (Mount(source=e.source, target=f"{WORKSPACE}/{e.name}", read_only=True) for e in entries)
    return (own, *inside)
