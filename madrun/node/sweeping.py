"""What dead agents of this user have left behind is ended before a run begins."""

from __future__ import annotations

from madrun.node.seeing.presence import REGISTRY, registered, sweep
from madrun.node.task import Task


def swept(task: Task) -> list[str]:
    """Ends and removes it, and says what it was."""
    lines = [f"ended {name}, which its dead agent had left behind" for name in _processes(task)]
    if task.engine is not None:
        lines += [
            f"removed {name}, which its dead agent had left behind" for name in sweep(task.engine, task.facts.uid)
        ]
    return lines


def _processes(task: Task) -> list[str]:
    registry = task.lock_dir.with_name(REGISTRY)
    if all(state != "dead" for _, state, _ in registered(registry)):
        return []
    from madrun.node.seeing.ending import sweep_processes

    return sweep_processes(registry)
