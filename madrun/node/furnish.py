"""The work directory of one run: what is cloned, the card's files, what stands beside them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from madrun.errors import NodesError
from madrun.node import workspace as ws
from madrun.node.models import link_models
from madrun.node.surroundings import place, place_mounts
from madrun.node.task import Reporter, Task
from madrun.runners import RUNNERS
from madrun.spec.plan import JobPlan, NodePlan


def furnish(
    space: ws.Workspace, task: Task, node: NodePlan, check: Callable[[], None], reporter: Reporter
) -> tuple[ws.Manifest, str]:
    """What lies in the work directory before the script begins, and the commit of what was cloned into it.

    Raises where the card's files are no longer those of the plan, or something cannot be cloned or copied.
    """
    job, commit = task.plan.job, ""
    space.work.mkdir(parents=True)
    if job.url:
        from madrun.node.clone import clone, login_of

        reporter.phase("clone")
        login = login_of(job.cred, task.secrets)
        commit = clone(job.url, space.work / job.run_directory, login, check, task.clone_then)
    ws.lay_out(space, task.files, job)
    place_runner_files(space.box, job, node)
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


def place_runner_files(box: Path, job: JobPlan, node: NodePlan) -> None:
    """What the runner reads on this node: its own files, and the configuration that the user has given.

    `NodesError` where that is no longer what was planned, or the runner could not be told of its place.
    """
    files = {name: text.encode() for name, text in RUNNERS[job.runner].files(job).items()}
    if job.runner_config:
        name, _, digest = job.runner_config.partition(":")
        files[name] = _configuration(Path(node.runner_config), digest)
    if files and not job.in_container and any(letter.isspace() for letter in str(box)):
        raise NodesError(
            f"{box} holds a blank, at which scripts would split $MULTI_NODE_RUNNER ({job.runner} is told of a file "
            "there); name a --results directory without blanks"
        )
    for name, content in files.items():
        (box / name).write_bytes(content)


def _configuration(path: Path, digest: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise NodesError(f"multi_node_args.CONFIG_FILE: {path} cannot be read any more: {error.strerror}") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise NodesError(f"multi_node_args.CONFIG_FILE: {path} has changed since the plan was made; start again")
    return content
