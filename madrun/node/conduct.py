"""One run from its run id to its record, seen from one node. Node 0 alone writes the record and the rows."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from madrun.errors import ExitCode, MadrunError, UsageError
from madrun.node.agent import Agent
from madrun.node.channel.link import Aborted, Link
from madrun.node.ended import Ended
from madrun.node.hostnames import host_names
from madrun.node.joining.join import Party
from madrun.node.joining.supply import data_columns
from madrun.node.seeing.board import Board
from madrun.node.seeing.presence import REGISTRY, Resident, alive, myself
from madrun.node.task import Interrupt, Reporter, Stopped, Task
from madrun.results import perfcsv, rundir
from madrun.results.rundir import EXPLAINED, RunDir
from madrun.results.verdict import RunFacts, judge
from madrun.runners import RUNNERS
from madrun.spec.binding import bind
from madrun.spec.codec import from_plain, to_json
from madrun.spec.plan import NodePlan, Plan
from madrun.spec.record import Failure, NodeOutcome, Record


class _Journaling:
    """Passes news on to the reporter; phases go to the board too, and on node 0 into the run's journal."""

    def __init__(self, run: RunDir | None, reporter: Reporter, board: Board, box: Callable[[], int | None]) -> None:
        self._run, self._reporter, self._board, self._box = run, reporter, board, box

    def phase(self, name: str) -> None:
        if self._run is not None:
            self._run.journal("phase", name=name)
        self._board.phase(name)
        self._reporter.phase(name)

    def line(self, text: str) -> None:
        self._reporter.line(text)

    def follow(self, console: Path) -> None:
        self._board.box(self._box())
        self._reporter.follow(console)

    def unfollow(self) -> None:
        self._reporter.unfollow()


# start of the run, node 0's own outcome, what all nodes sent, and notes on what came in part
_Seen = tuple[str, NodeOutcome, dict[str, Any], tuple[str, ...]]
Linger = Callable[["Ended", Callable[[], bool]], None]


def conduct(
    task: Task, party: Party, interrupt: Interrupt, reporter: Reporter, linger: Linger = lambda _ended, _stands: None
) -> Ended:
    """Executes one run with all nodes. Raises `Aborted` only where the nodes part before it has an id.

    A container that is kept alive stands while `linger` runs, which is told how the run ended and how to see
    whether the container still stands.
    """
    rank, link = task.plan.node.node_rank, party.link
    started = _utc()
    run, shared = _begin(task, link, rank)
    node = bind(task.plan.node, run.run_id, str(run.path), host_names(task.gate, rank))
    plan = replace(task.plan, nodes=(node,))
    folder = _open(task, run, plan)
    here = alive(folder, _resident(task, node, run, folder), task.lock_dir.with_name(REGISTRY))
    with here as presence, Board(link, run.path, folder, presence) as board:
        if party.intake is not None:
            party.intake.open(run.path, task.plan.job.collect_limit)
        agent = Agent(task, node, folder, link, interrupt, party.launches)
        journaling = _Journaling(run if rank == 0 else None, reporter, board, lambda: agent.pid)
        try:
            outcome = agent.run(journaling)
            board.phase("finishing")
            if not shared:
                outcome = _brought_home(task, (link, interrupt, reporter), folder, outcome)
            with _waiting(task, party, interrupt, reporter):
                ended = _settle(task, party, plan, run, (started, outcome))
            board.ended(ended.exit_code, ended.reasons)
            if agent.kept:
                board.phase("kept alive")
                linger(ended, lambda: agent.stands)
        finally:
            agent.release()
            _ = party.intake and party.intake.end()
    return ended


def _resident(task: Task, node: NodePlan, run: RunDir, folder: Path) -> Resident:
    """What `madrun ps` shows of this node."""
    job = task.plan.job
    return myself(
        run_id=run.run_id,
        card=job.card,
        rank=node.node_rank,
        nnodes=job.nnodes,
        runtime=job.runtime,
        folder=str(folder),
        container=node.container.name if node.container else "",
        grace_s=job.grace_s,
    )


def _waiting(task: Task, party: Party, interrupt: Interrupt, reporter: Reporter) -> AbstractContextManager[None]:
    if task.plan.job.nnodes == 1:
        return nullcontext()
    from madrun.node.impatience import waiting_for_others

    return waiting_for_others(party, interrupt, reporter)


def _brought_home(
    task: Task, seen: tuple[Link, Interrupt, Reporter], folder: Path, outcome: NodeOutcome
) -> NodeOutcome:
    """The outcome, when all that the node leaves has been brought to node 0; notes say what has not."""
    from madrun.node.delivery.deliver import Sender, deliver

    link, interrupt, reporter = seen
    sender = Sender(link, outcome.hostname, interrupt, reporter.line)
    began = time.monotonic()
    try:
        notes = deliver(sender, folder, task.plan.job.collect_limit)
    except Exception as error:  # whatever it is: a run that has ended is not lost with the copies of its files
        why = str(error) or type(error).__name__
        notes = (f"not everything was brought to node 0: {why}; the files lie in {sender.hostname}:{folder}",)
    for note in notes:
        sender.say(note)
    timings = outcome.timings | {"deliver": time.monotonic() - began}
    return replace(outcome, notes=(*outcome.notes, *notes), timings=timings)


def _settle(task: Task, party: Party, plan: Plan, run: RunDir, seen: tuple[str, NodeOutcome]) -> Ended:
    """The verdict of all nodes over the run; node 0 writes it down."""
    started, outcome = seen
    link = party.link
    node, rank = plan.node, plan.node.node_rank
    try:
        _, everyone = link.meet(task.stage("finished"), {"outcome": outcome, "node": node}, final=True)
        if rank == 0:
            brought = party.intake.end() if party.intake is not None else ()
            return _conclude(task, link, plan, run, (started, outcome, everyone, brought))
        verdict, _ = link.meet(task.stage("end"), None, final=True)
    except Aborted as aborted:
        return Ended(
            exit_code=ExitCode.RUN_FAILED,
            run=run,
            outcome=outcome,
            culprit=outcome.failure or aborted.failure,  # what happened here is nearer to the cause than a loss
            reasons=tuple(failure.text for failure in (outcome.failure, aborted.failure) if failure),
        )
    culprit = from_plain(Failure, verdict["culprit"]) if verdict["culprit"] else None
    return Ended(
        exit_code=verdict["exit_code"],
        run=run,
        outcome=outcome,
        culprit=culprit,
        reasons=tuple(verdict["reasons"]),
        status=verdict["status"],
    )


def _open(task: Task, run: RunDir, plan: Plan) -> Path:
    """This node's directory with what is known before the start; `UsageError` where nothing can be written."""
    folder = run.node(plan.node.node_rank)
    try:
        folder.mkdir(exist_ok=True)
        (folder / "host.json").write_text(to_json(task.facts))
        (folder / EXPLAINED).write_text(to_json(task.explained))
        if plan.node.node_rank != 0:
            run.keep_plan(plan)
        else:
            run.write_plan(plan)
            launch = {"launch": task.launch.partition(":")[2]} if task.launch else {}
            run.journal("begin", run_id=run.run_id, command=list(task.command), **launch)
    except OSError as error:
        raise UsageError(f"--results: {run.path} cannot be written: {error.strerror}; name another directory") from None
    return folder


def _begin(task: Task, link: Link, rank: int) -> tuple[RunDir, bool]:
    """The run directory, and whether it is node 0's own; node 0 makes it and gives out its name."""
    made, token = None, ""
    if rank == 0:
        made = rundir.create(task.results, task.plan.job.card.replace("/", "_"), task.plan.job_hash)
        token = made.mark() if task.plan.job.nnodes > 1 else ""
    try:
        named, _ = link.meet(task.stage("begin"), {"run": made.run_id, "token": token} if made else None)
    except (Aborted, Stopped, MadrunError):
        if made is not None:
            made.discard()  # no node has begun this run: it never was
        raise
    run = rundir.open_shared(task.results, str(named["run"]))
    return run, rank == 0 or run.is_marked(str(named["token"]))


def _conclude(task: Task, link: Link, plan: Plan, run: RunDir, seen: _Seen) -> Ended:
    """Node 0's last words: record, rows, and the exit code for everyone."""
    started, own, everyone, brought = seen
    failure = everyone.pop("failure", None)
    payloads = [payload for _, payload in sorted(everyone.items(), key=lambda item: int(item[0]))]
    outcomes = [own, *(from_plain(NodeOutcome, payload["outcome"]) for payload in payloads[1:])]
    nodes = (plan.node, *(from_plain(NodePlan, payload["node"]) for payload in payloads[1:]))
    offsets = task.gate.offsets_s if task.gate is not None else {}
    culprit = None
    if failure:
        from madrun.node.ranks import with_rank
        from madrun.results import causes

        head = RUNNERS[task.plan.job.runner].head
        culprit = with_rank(causes.culprit(from_plain(Failure, failure), outcomes), outcomes, offsets, head)
    run.tell(outcomes, offsets)
    if len(nodes) > 1:
        run.write_plan(replace(plan, nodes=nodes))
    facts = RunFacts(
        run_id=run.run_id,
        started_at=started,
        ended_at=_utc(),
        command=task.command,
        backend=task.launch.partition(":")[0] or "local",
        notes=(*task.notes, *plan.node.notes, *brought),
        provenance=_with_clone(task.provenance(), plan, own) | {"docker_sha": own.image_id} | data_columns(outcomes),
        gate=task.gate,
        unmeasured=task.unmeasured,
    )
    record = judge(plan, facts, outcomes, culprit)
    unwritten = _write(task.results, run, record)
    if unwritten is not None and unwritten.kind == "disk":
        # Without its record a run has happened for nobody: it may not be called a success.
        culprit = culprit or unwritten
        record = judge(plan, facts, outcomes, culprit)
    verdict = {"exit_code": record.exit_code, "culprit": culprit, "reasons": record.reasons, "status": record.status}
    link.meet(task.stage("end"), verdict, final=True)
    return Ended(
        exit_code=record.exit_code,
        run=run,
        outcome=own,
        record=record,
        culprit=culprit,
        reasons=record.reasons,
        status=record.status,
        warning=unwritten.text if unwritten else "",
    )


def _with_clone(provenance: dict[str, str], plan: Plan, own: NodeOutcome) -> dict[str, str]:
    """Of a card with `url`, what was run is the commit of that; empty where it could not be cloned."""
    if not plan.job.url:
        return provenance
    checkout = {"repository_commit": provenance["git_commit"], "repository_dirty": provenance["git_dirty"]}
    return provenance | checkout | {"git_commit": own.commit, "git_dirty": "false" if own.commit else ""}


def _write(results: Path, run: RunDir, record: Record) -> Failure | None:
    """Record, then rows; the failure where the disk takes no record, a note where it takes no rows."""
    try:
        perfcsv.mark(results, run.run_id)
        run.write_record(record)
        run.journal("record", status=record.status, exit_code=record.exit_code)
    except OSError as error:
        text = f"{run.path}/record.json could not be written ({error.strerror}); free space, or name another --results"
        return Failure(kind="disk", text=text, node=0)
    try:
        perfcsv.append(results, run, record)
    except OSError as error:
        text = f"{results}/{perfcsv.FILE_NAME} lacks this run's rows ({error.strerror}); madrun report rebuilds it"
        return Failure(kind="rows", text=text, node=0)
    return None


def _utc() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
