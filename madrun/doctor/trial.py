"""The doctor's own programs in the image and environment of a card: the card's run with another script."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from madrun.errors import MadrunError
from madrun.node.channel.link import Aborted
from madrun.node.conduct import conduct
from madrun.node.ended import Ended
from madrun.node.joining.join import Party
from madrun.node.task import Interrupt, Reporter, Task
from madrun.planning.driver import render, run_line
from madrun.registry.cardtree import tree_hash
from madrun.results.aggregate import MEASURED
from madrun.spec.plan import BOX, RUN_DIR, Container, HostProcess, JobPlan, NodePlan, Plan, make_plan
from madrun.spec.record import Record

PROGRAMS = Path(__file__).with_name("programs")
LOOK, ALL_REDUCE = "look.sh", "all_reduce.py"
_LIMIT_S, _GRACE_S = 150.0, 2.0
_OF_DATA = ("MAD_DATAHOME", "MAD_DATANAME")
_LAST_LINES = 6
_LONGEST = 4000  # characters of a console line that are read


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What became of a program: all that was printed on this node, and why it failed, empty where it did not.

    On node 0 `network`: what the ranks talked over, in one line, empty where nothing tells; `doubts` are what is odd
    about that, and `unproven` is what would make a run's record invalid.
    """

    lines: tuple[str, ...] = ()
    failure: str = ""
    network: str = ""
    doubts: tuple[str, ...] = ()
    unproven: tuple[str, ...] = ()


def as_trial(task: Task, script: str, name: str) -> Task:
    """The task with the doctor's `script` in the place of the card's: no data, no metrics, nothing around it.

    `name`: what it is called, by `madrun ps` too, in the place of the card.
    """
    files = {path.name: path for path in sorted(PROGRAMS.iterdir()) if path.is_file()}
    return replace(
        task,
        plan=_with_script(task.plan, (script, name), files),
        files=files,
        keep_alive=False,
        keep_directory=False,
        skip_script=False,
        explained=(),
        notes=(),
        unmeasured="madrun doctor",
        image_then="",
        clone_then="",
    )


def _with_script(plan: Plan, called: tuple[str, str], files: dict[str, Path]) -> Plan:
    homes = {item.home for item in plan.job.data}
    return make_plan(plan.madrun, _job(plan.job, called, files), _node(plan.node, files, homes))


def _job(job: JobPlan, called: tuple[str, str], files: dict[str, Path]) -> JobPlan:
    script, name = called
    return replace(
        job,
        card=name,
        script=script,
        args="",
        script_hash=tree_hash(files),
        driver=render(name, run_line(script, ""), _GRACE_S),
        data=(),
        metrics={},
        multiple_results=None,
        timeout_s=_LIMIT_S,
        grace_s=_GRACE_S,
        stall_timeout_s=0.0,
        run_directory="",
        log_errors=None,
        url="",
        cred="",
        steps={},
        common="",
    )


def _node(node: NodePlan, files: dict[str, Path], homes: set[str]) -> NodePlan:
    return replace(
        node,
        files=tuple(files),
        data_sources={},
        mirrors={},
        mirror_root="",
        fetches={},
        own_data=(),
        checkout=(),
        placed={},
        cache="",
        notes=(),
        container=_bare(node.container, homes) if node.container is not None else None,
        process=_bare_process(node.process) if node.process is not None else None,
    )


def _bare(container: Container, homes: set[str]) -> Container:
    """Without what was mounted for the card's data and checkout; what the user mounts stays."""
    mounts = tuple(
        mount
        for mount in container.mounts
        if mount.target == BOX or not (mount.target in homes or mount.source.startswith(RUN_DIR))
    )
    return replace(container, mounts=mounts, workdir=f"{BOX}/work", env=_without_data(container.env))


def _bare_process(process: HostProcess) -> HostProcess:
    return replace(process, env=_without_data(process.env))


def _without_data(env: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in _OF_DATA}


def attempt(task: Task, party: Party, interrupt: Interrupt, reporter: Reporter) -> Tried:
    """Runs the task, whose results go where it says; an end by the other nodes is a failure like any other."""
    try:
        ended = conduct(task, party, interrupt, reporter)
    except Aborted as aborted:
        return Tried(failure=aborted.failure.text)
    except MadrunError as error:
        return Tried(failure=str(error))
    rank = task.plan.node.node_rank
    console = ended.run.node(rank) / "console.log"
    lines = tuple(line[:_LONGEST] for line in _text(console).splitlines())
    record = ended.record
    network = record.transport if record is not None else None
    return Tried(
        lines=lines,
        failure=_why(ended, lines, rank),
        network=network.text if network is not None else "",
        doubts=network.warnings if network is not None else (),
        unproven=tuple(_failed_checks(record)) if record is not None else (),
    )


def _failed_checks(record: Record) -> list[str]:
    """All but the one that something was measured, which nobody wants here."""
    return [check.text or check.name for check in record.checks if not check.passed and check.name != MEASURED]


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""  # nothing was started


def _why(ended: Ended, lines: tuple[str, ...], rank: int) -> str:
    """The culprit's sentence and its last lines; empty where the script has ended well here and nobody failed."""
    failure = ended.culprit or ended.outcome.failure
    if failure is not None:
        last = failure.last_lines or (lines if failure.node == rank else ())
        return "\n".join((failure.text, *(line.rstrip() for line in last[-_LAST_LINES:])))
    if ended.outcome.exit_code != 0 or not ended.outcome.end_marker:
        return "\n".join((f"the program ended with {ended.outcome.exit_code}", *lines[-_LAST_LINES:]))
    return ""
