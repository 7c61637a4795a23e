"""What a node has to show for the network that its ranks used: NCCL's lines, and the counters of the host."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from madrun.node.console import Console
from madrun.node.workspace import Workspace
from madrun.results.regular import NotRegular, open_regular
from madrun.spec.plan import TRANSPORT_LOGS, JobPlan, NodePlan
from madrun.spec.record import NodeOutcome
from madrun.spec.transport import NodeTransport

if TYPE_CHECKING:
    from madrun.probe.traffic import Counters

_NAME = re.compile(r"[\w.-]{1,250}\.log")
_MOST_FILES = 512
_MOST_BYTES = 8 << 20  # of one file; what comes later repeats what was said
_MOST_IN_ALL = 64 << 20
_READ = 1 << 20
_IFNAME = "NCCL_SOCKET_IFNAME"


class Counting:
    """Bytes of a node's network from now until `told`; of a run on one node none."""

    def __init__(self, job: JobPlan, node: NodePlan, root: Path = Path("/")) -> None:
        self._several, self._root = job.nnodes > 1, root
        self._chosen = (node.nccl_ifname.lstrip("=^"), node.gloo_ifname)
        self._before = self._read()

    def told(self) -> NodeTransport | None:
        """What moved; None where it is not known."""
        before, after = self._before, self._read()
        if before is None or after is None:
            return None
        from madrun.probe.traffic import moved

        by_name, rdma = moved(before, after)
        return NodeTransport(bytes=by_name, rdma_bytes=rdma)

    def _read(self) -> Counters | None:
        if not self._several:
            return None
        from madrun.probe.traffic import read_counters

        try:
            return read_counters(self._chosen, self._root)
        except (OSError, ValueError):  # no counter may end a run
            return None


def with_transport(
    space: Workspace, job: JobPlan, node: NodePlan, outcome: NodeOutcome, secrets: Iterable[str]
) -> NodeOutcome:
    """The outcome with what NCCL said beside what the counters say; its files are kept in `nccl/`, secrets masked.

    Nothing is looked for where one process ran alone, or on one node those that have no GPU and so no NCCL.
    """
    if job.nnodes == 1 and (job.nproc_per_node == 1 or job.vendor == "cpu"):
        return outcome
    from madrun.results.nccl.reading import heard_in

    notes = _keep(space, tuple(secrets))
    kept = space.root / TRANSPORT_LOGS
    files = sorted(kept.iterdir()) if kept.is_dir() else []
    heard = heard_in([*files, *([space.console] if space.console.exists() else [])])
    outcome = replace(outcome, notes=(*outcome.notes, *notes))
    counted = outcome.transport or NodeTransport()
    if heard == NodeTransport() and outcome.transport is None:
        return outcome
    told = replace(heard, bytes=counted.bytes, rdma_bytes=counted.rdma_bytes)
    return replace(outcome, transport=replace(told, asked_interface=_asked_interface(node), at_hand=node.hcas))


def _asked_interface(node: NodePlan) -> str:
    """As the ranks are given it: docker_env_vars may say something else than the plan would."""
    given = node.container or node.process
    return given.env.get(_IFNAME, "") if given is not None else ""


def _keep(space: Workspace, secrets: tuple[str, ...]) -> list[str]:
    """Copies NCCL's files out of the box, up to a bound; what a script put there in their place is let lie."""
    source, target = space.box / TRANSPORT_LOGS, space.root / TRANSPORT_LOGS
    left, cut = _MOST_IN_ALL, []
    for name in [] if source.is_symlink() else _names(source)[:_MOST_FILES]:
        with suppress(OSError, NotRegular), open_regular(source / name) as file:
            target.mkdir(exist_ok=True)
            (target / name).unlink(missing_ok=True)
            size = os.fstat(file.fileno()).st_size
            most = min(_MOST_BYTES, left)
            _copy(file.fileno(), target / name, secrets, most)
            left -= min(size, most)
            if size > most:
                cut.append(name)
    return [f"of {len(cut)} files in nccl/ only the beginning is kept, as of {cut[0]}"] if cut else []


def _names(folder: Path) -> list[str]:
    try:
        return sorted(name for name in os.listdir(folder) if _NAME.fullmatch(name))  # noqa: PTH208 - names alone
    except OSError:
        return []


def _copy(source: int, target: Path, secrets: tuple[str, ...], most: int) -> None:
    copy = Console(target, secrets)
    while most > 0 and (chunk := os.read(source, min(_READ, most))):
        copy.write(chunk)
        most -= len(chunk)
    copy.close()
