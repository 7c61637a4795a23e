"""What of the checkout stands in the workspace of a run, so that scripts find `../` as they expect."""

from __future__ import annotations

from madrun.planning.mad.command import CACHE
from madrun.spec.mad import COMMON, WORKSPACE, Entry
from madrun.spec.plan import RUN_DIR, Mount


def workspace_mounts(entries: tuple[Entry, ...], node_rank: int, cache: str = "") -> tuple[Mount, ...]:
    """The workspace, which is the work directory of the run, what is mounted into it, and the cache of models.

    Where `scripts` is mounted as a whole, and something is added to `scripts/common`, that folder of the work directory
    lies over the one of the checkout.
    """
    work = f"{RUN_DIR}/node-{node_rank}/box/work"
    mounted = [entry for entry in entries if not entry.copied]
    mounts = [Mount(source=work, target=WORKSPACE)]
    mounts += [Mount(source=e.source, target=f"{WORKSPACE}/{e.name}", read_only=True) for e in mounted]
    whole = COMMON.partition("/")[0] in {entry.name for entry in mounted}
    if whole and any(entry.name.startswith(f"{COMMON}/") for entry in entries):
        mounts.append(Mount(source=f"{work}/{COMMON}", target=f"{WORKSPACE}/{COMMON}"))
    if cache:
        mounts.append(Mount(source=cache, target=CACHE))
    return tuple(sorted(mounts, key=lambda mount: mount.target.count("/")))
