"""Whether a saved plan can be executed at all: a checksum proves who wrote it, not that its parts fit together."""

from __future__ import annotations

import math
from collections.abc import Iterator

from madrun.runners import RUNNERS
from madrun.spec.plan import BOX, JobPlan, NodePlan, Plan

_VENDORS = ("amd", "cpu", "nvidia")
_RUN_ID = "MADRUN_RUN_ID"


def problems(plan: Plan) -> list[str]:
    """`job.runner: found 'x', allowed: plain, torchrun` for each part that no madrun would have written."""
    found = [*_of_job(plan.job), *_of_ranks(plan)]
    for place, node in enumerate(plan.nodes):
        found += [f"nodes.{place}.{text}" for text in (*_of_ports(plan.job, node), *_of_box(plan.job, node))]
    return found


def _of_job(job: JobPlan) -> Iterator[str]:
    if job.runner not in RUNNERS:
        yield f"job.runner: found {job.runner!r}, allowed: {', '.join(sorted(RUNNERS))}"
    if job.vendor not in _VENDORS:
        yield f"job.vendor: found {job.vendor!r}, allowed: {', '.join(_VENDORS)}"
    for name in ("nnodes", "nproc_per_node"):
        if getattr(job, name) < 1:
            yield f"job.{name}: found {getattr(job, name)}, allowed: a number >= 1"
    for name in ("timeout_s", "grace_s", "lease_s"):
        seconds = getattr(job, name)
        if not (math.isfinite(seconds) and seconds >= 0):
            yield f"job.{name}: found {seconds}, allowed: seconds >= 0"
    if not job.script:
        yield "job.script: found '', allowed: a file of the card"
    if job.in_container and (job.image.kind == "none" or not job.image.name):
        yield f"job.image: found none with runtime {job.runtime}, allowed: an image with a name"
    if job.image.kind == "build" and not job.image.dockerfile:
        yield "job.image.dockerfile: found '', allowed: the file that the image is built from"


def _of_ranks(plan: Plan) -> Iterator[str]:
    ranks = [node.node_rank for node in plan.nodes]
    if not ranks:
        yield "nodes: found none, allowed: the part of at least one node"
    if len(set(ranks)) < len(ranks) or any(not 0 <= rank < plan.job.nnodes for rank in ranks):
        words = ", ".join(map(str, ranks))
        yield f"nodes: found node_rank {words}, allowed: each of 0 to {plan.job.nnodes - 1} once"


def _of_ports(job: JobPlan, node: NodePlan) -> Iterator[str]:
    ports = {"master_port": node.master_port}
    if job.nnodes > 1:  # one node has no control channel
        ports["control_port"] = node.control_port
    yield from (f"{name}: found {port}, allowed: 1 to 65535" for name, port in ports.items() if not 0 < port < 65536)


def _of_box(job: JobPlan, node: NodePlan) -> Iterator[str]:
    """The container or the process, which hold the run's id and directory where `unbind` looks for them."""
    box = f"/node-{node.node_rank}/box"
    if job.in_container != (node.container is not None) or job.in_container != (node.process is None):
        found = [name for name in ("container", "process") if getattr(node, name) is not None]
        wanted = "a container alone" if job.in_container else "a process alone"
        yield f"container: found {' and '.join(found) or 'none'} with runtime {job.runtime}, allowed: {wanted}"
        return
    if node.container is not None:
        env, words = node.container.env, node.container.entrypoint
        boxes = [mount.source for mount in node.container.mounts if mount.target == BOX]
        if len(boxes) != 1 or not boxes[0].endswith(box) or boxes[0] == box:
            yield f"container.mounts: found {boxes or 'nothing'} at {BOX}, allowed: one folder that ends with {box}"
    elif node.process is not None:
        env, words = node.process.env, node.process.command
        if not node.process.workdir.endswith(f"{box}/work") or node.process.workdir == f"{box}/work":
            yield f"process.workdir: found {node.process.workdir!r}, allowed: a folder that ends with {box}/work"
    if not env.get(_RUN_ID):
        yield f"env.{_RUN_ID}: is missing or empty, and names the run"
    if not words:
        yield "command: is empty, and starts the script"
