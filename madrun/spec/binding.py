"""A node's part of a plan taken into a run, and out of it again: the run's id and directory in place of their marks."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from madrun.spec.plan import BOX, HOSTS, RUN_DIR, RUN_ID, NodePlan

T = TypeVar("T")


def bind(node: NodePlan, run_id: str, run_dir: str, hosts: tuple[str, ...] = ()) -> NodePlan:
    """The node's part with the run's id and directory filled in, and `hosts` where its container is to get names."""
    return _named(_fill(node, ((RUN_ID, run_id), (RUN_DIR, run_dir))), hosts)


def _named(node: NodePlan, hosts: tuple[str, ...]) -> NodePlan:
    if node.container is None or not node.container.hosts:
        return node
    return dataclasses.replace(node, container=dataclasses.replace(node.container, hosts=hosts))


def unbind(node: NodePlan) -> NodePlan:
    """The node's part as it was before a run filled it in: what `bind` was given."""
    if node.container is not None:
        run_id = node.container.env["MADRUN_RUN_ID"]
        box = next(mount.source for mount in node.container.mounts if mount.target == BOX)
    elif node.process is not None:
        run_id, box = node.process.env["MADRUN_RUN_ID"], node.process.workdir.removesuffix("/work")
    else:
        return node
    run_dir = box.removesuffix(f"/node-{node.node_rank}/box")
    return _fill(_named(node, (HOSTS,)), ((run_dir, RUN_DIR), (run_id, RUN_ID)))


def _fill(value: T, texts: tuple[tuple[str, str], ...]) -> T:
    """The value with each first text replaced by its second, wherever it stands."""
    filled: Any = value
    if isinstance(value, str):
        filled = value
        for old, new in texts:
            filled = filled.replace(old, new)
    elif isinstance(value, tuple):
        filled = tuple(_fill(item, texts) for item in value)
    elif isinstance(value, dict):
        filled = {key: _fill(item, texts) for key, item in value.items()}
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        changes = {f.name: _fill(getattr(value, f.name), texts) for f in dataclasses.fields(value)}
        filled = dataclasses.replace(value, **changes)
    return filled  # type: ignore[no-any-return]
