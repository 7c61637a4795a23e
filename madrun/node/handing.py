"""The files of a box given to the user who runs it, where the driver could not."""

from __future__ import annotations

from pathlib import Path

from madrun.errors import EngineError
from madrun.node import workspace as ws
from madrun.node.task import Task
from madrun.runtimes import images
from madrun.spec.plan import NodePlan


def handed_over(task: Task, node: NodePlan, space: ws.Workspace, how: tuple[images.Prepared | None, bool]) -> list[str]:
    """Findings where files could not be made the user's own. `how`: the image, and whether the driver has done it."""
    from madrun.runtimes.handover import hand_over

    image, done = how
    if not node.owner or image is None:
        return []
    cache = [Path(node.cache)] if node.cache and not done else []  # the cache with the box it is below
    try:
        for folder in (space.box, *cache):
            if ws.foreign_files(folder, task.facts.uid):
                hand_over(task.engine, image.id, folder, node.owner)
    except EngineError as error:
        return [str(error)]
    return []
