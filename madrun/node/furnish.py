"""The work directory of one run: what is cloned, the card's files, what stands beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from madrun.node import workspace as ws
from madrun.node.clone import clone, login_of
from madrun.node.models import link_models
from madrun.node.surroundings import place, place_mounts
from madrun.node.task import Reporter, Task
from madrun.spec.plan import NodePlan


def furnish(
    space: ws.Workspace, task: Task, node: NodePlan, check: Callable[[], None], reporter: Reporter
) -> tuple[ws.Manifest, str]:
    """What lies in the work directory before the script begins, and the commit of what was cloned into it.

    Raises where the card's files are no longer those of the plan, or something cannot be cloned or copied.
    """
    job, commit = task.plan.job, ""
    space.work.mkdir(parents=True)
    if job.url:
        reporter.phase("clone")
        login = login_of(job.cred, task.secrets)
        commit = clone(job.url, space.work / job.run_directory, login, check, task.clone_then)
    ws.lay_out(space, task.files, job)
    place(space.work, node.checkout, job.in_container)
    if job.run_directory and node.container is not None:
        place_mounts(space.work, node.container.mounts, node.checkout)
    if node.cache:
        (space.box / "cache").mkdir()
        link_models(space.work, Path(node.cache), job.in_container)
    if job.run_directory:
        for name in job.result_places:  # of the repository that was cloned: a script would add its rows to it
            (space.work / name).unlink(missing_ok=True)
    return ws.known(space, job), commit
