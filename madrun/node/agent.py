"""One run on one node: image, box, barrier, script, end. Whatever happens, nothing of it is left running."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from madrun.errors import BuildError, DataError, EngineError, MadrunError
from madrun.node import workspace as ws
from madrun.node.blame import EXAMINED, classified, disk_failure, remembered, script_failure
from madrun.node.boxkeeper import BoxKeeper, open_box
from madrun.node.channel.link import Aborted, Link
from madrun.node.collect import collect
from madrun.node.console import Console, last_lines
from madrun.node.furnish import furnish
from madrun.node.handing import handed_over
from madrun.node.joining.sharing import Sharing
from madrun.node.joining.supply import Supply
from madrun.node.launching.party import Launching
from madrun.node.models import keep_models
from madrun.node.snapshot import keep_environment
from madrun.node.stepping import failed_before, hinted, with_steps
from madrun.node.sweeping import swept
from madrun.node.task import Interrupt, Reporter, Stopped, Task
from madrun.node.timings import Timings
from madrun.node.watching.watch import Watch
from madrun.probe.memorykills import host_oom_kills
from madrun.runtimes import images
from madrun.spec.codec import to_plain
from madrun.spec.plan import NodePlan
from madrun.spec.record import Failure, NodeOutcome

if TYPE_CHECKING:
    from madrun.node.launching.head import Launches

AFTERWARDS = "kept-alive"  # where the files go that were made in a container after its script had ended
_KINDS: dict[type[MadrunError], str] = {BuildError: "image", EngineError: "engine", DataError: "data"}


class Agent:
    """Executes the plan's part for this node; `run` returns what became of it and never raises for a failed run."""

    def __init__(
        self, task: Task, node: NodePlan, folder: Path, link: Link, interrupt: Interrupt, launches: Launches | None
    ) -> None:
        self._task, self._node, self._link, self._interrupt = task, node, link, interrupt
        self._space = ws.Workspace(folder)
        self._launching = Launching(task, node, self._space, launches)
        self._timings = Timings()
        self._before: ws.Manifest = {}
        self._console: Console | None = None
        self._keeper: BoxKeeper | None = None
        self._watch: Watch | None = None
        self._image: images.Prepared | None = None
        self._failure: Failure | None = None
        self._ooms: float | None = None
        self.kept = False
        self._outcome = NodeOutcome(node=node.node_rank, hostname=node.hostname, console=str(self._space.console))

    def run(self, reporter: Reporter) -> NodeOutcome:
        """The outcome; a failure that began here has been told to all nodes."""
        _ = self._attempt(self._prepare, reporter) and self._attempt(self._execute, reporter)
        for step in (self._end, self._collect):
            self._attempt(step, reporter)
        failure = self._own_failure()
        return replace(self._outcome, failure=failure, timings=self._timings.seconds, facts=to_plain(self._task.facts))

    def _attempt(self, step: Callable[[Reporter], None], reporter: Reporter) -> bool:
        """The boundary of a run: whatever a step raises becomes its failure, a defect of madrun too."""
        rank = self._node.node_rank
        try:
            step(reporter)
            return True
        except Aborted:
            reporter.phase("stopping")  # it began elsewhere; this node only ends its part
            return False
        except Stopped as stopped:
            failure = stopped.failure
        except MadrunError as error:
            failure = Failure(kind=_KINDS.get(type(error), "node"), text=str(error), node=rank)
        except Exception as error:
            failure = disk_failure(error, self._space.root, self._node) or Failure(
                kind="internal", text=f"a defect of madrun:\n{traceback.format_exc()}", node=rank
            )
        if self._failure is None:
            self._failure = failure
            self._link.fail(failure)
        return False

    def _prepare(self, reporter: Reporter) -> None:
        """Image and work directory; the gate: all nodes have the same image."""
        task = self._task
        self._interrupt.check(self._node.node_rank)
        supply = Supply(task, self._node, self._space.root)
        sharing = Sharing(task, self._node, self._link, (self._space.root.parent.name, supply))
        with self._timings.phase("sharing"):
            sharing.prove()  # before the image: of what can refuse a run this is known soonest
        with self._timings.phase("image"):
            for line in swept(task):
                reporter.line(line)
            if task.engine is not None:
                from madrun.node.imagework import image_notes, obtain

                reporter.phase("image")
                self._image = obtain(task, self._space.root / "build.log", self._check, reporter)
                notes = image_notes(task, self._image)
                for note in notes:
                    reporter.line(note)
                self._outcome = replace(
                    self._outcome,
                    build_s=self._image.seconds,
                    image_identity=self._image.identity,
                    deviations=notes,
                )
        with self._timings.phase("data"):
            sharing.provide(self._check, reporter)
            self._tell_notes((*sharing.notes, *supply.notes), reporter)
            self._outcome = replace(self._outcome, data=supply.outcomes)
        with self._timings.phase("files"):
            self._before, commit = furnish(self._space, task, self._node, self._check, reporter)
            self._outcome = replace(self._outcome, commit=commit)
            self._launching.prepare()
            self._check_mounts()
        identity = self._image.identity if self._image else "none"
        with self._timings.phase("gate"):
            payload = {"image": identity, "commit": commit, "hostname": self._node.hostname}
            self._link.meet(task.stage("prepared"), payload)

    def _tell_notes(self, notes: tuple[str, ...], reporter: Reporter) -> None:
        for note in notes:
            reporter.line(note)
        self._outcome = replace(self._outcome, notes=(*self._outcome.notes, *notes))

    def _check_mounts(self) -> None:
        container = self._node.container
        for mount in container.mounts if container else ():
            if not Path(mount.source).exists():
                raise DataError(f"{mount.source} (mounted at {mount.target}) does not exist on {self._node.hostname}")

    def _execute(self, reporter: Reporter) -> None:
        """Box, barrier, script; returns when the script has ended by itself."""
        job, task = self._task.plan.job, self._task
        self._interrupt.check(self._node.node_rank)
        self._console = Console(self._space.console, tuple(task.secrets.values()))
        watched = (self._link, self._interrupt, self._node.node_rank)
        with self._timings.phase("start"):
            self._keeper = BoxKeeper(open_box(task, self._node, self._console.write), self._space, job, watched)
            for refused in self._keeper.box.deviations:
                reporter.line(refused)
            reporter.follow(self._space.console)
            self._tell_notes(self._keeper.await_ready(), reporter)
            keep_environment(self._space, task.secrets)
            if "unranked" in self._keeper.steps.seen:
                self._note(f"no logs of single ranks: nothing below {self._space.box} can be executed")
            self._launching.open(self._link, self._keeper.box.send)
        with self._timings.phase("barrier"):
            self._link.meet(task.stage("ready"))
        if task.skip_script:
            self._outcome = replace(self._outcome, skipped="--skip-model-run: everything stood ready, nothing was run")
            return
        self._watch = Watch(job, self._node, self._space, self._link, self._keeper.box.pid)
        self._watch.start()
        self._ooms = host_oom_kills()
        self._outcome = replace(self._outcome, started_at=time.time())
        reporter.phase("running")
        started = time.monotonic()
        try:
            code = self._keeper.run_script(self._launching.watching(self._watch.look))
            self._launching.over(code)
        finally:
            seconds = time.monotonic() - started
            self._timings.add("script", seconds)
            self._outcome = replace(self._outcome, script_s=seconds, telemetry=self._watch.stop())
            self._outcome = replace(self._outcome, transport=self._watch.transport)
            if self._watch.note:
                self._note(self._watch.note)
        self._outcome = replace(self._outcome, exit_code=code)
        if code != 0:
            raise Stopped(self._script_failure(code))
        if finding := self._launching.finding:
            raise Stopped(Failure(kind="runner", text=finding, node=self._node.node_rank))

    def _script_failure(self, code: int) -> Failure:
        """Of the script, or of a step before it, which then says so."""
        assert self._keeper is not None
        told = failed_before(self._task.plan.job, self._keeper.steps.seen)
        failure = script_failure(code, self._node.node_rank)
        return replace(failure, text=f"{told} on node {self._node.node_rank}") if told else failure

    def _note(self, text: str) -> None:
        self._outcome = replace(self._outcome, notes=(*self._outcome.notes, text))

    def _check(self) -> None:
        """Raises where the run is over: by a signal here, or by a failure anywhere."""
        self._interrupt.check(self._node.node_rank)
        if self._link.failure is not None:
            raise Aborted(self._link.failure)

    def _end(self, reporter: Reporter) -> None:
        """Ends the box in whatever state it is, and the log with it."""
        with self._timings.phase("end"):
            self._launching.end()
            if self._watch is not None and self._keeper is not None:
                self._examine(self._watch, self._keeper)
            if self._keeper is not None:
                by_itself = self._outcome.exit_code is not None
                self.kept = self._may_stay() and self._keeper.stay(by_itself)
                findings = [] if self.kept else self._keeper.end(by_itself)
                deviations = (*self._outcome.deviations, *self._keeper.box.deviations)
                marker = "end" in self._keeper.steps.seen
                self._outcome = replace(
                    self._outcome,
                    findings=tuple(findings),
                    deviations=deviations,
                    image_id=self._keeper.box.image_id,
                    end_marker=marker,
                    exit_code=self._keeper.exit_code(),
                )
                self._outcome = with_steps(self._outcome, self._task.plan.job, self._keeper.steps.seen, self._timings)
                told = self._keeper.steps.seen.get("oom")
                alone = self._node.container is not None
                self._outcome = remembered(self._outcome, told.value if told else None, alone)
            if self._console is not None:
                if self.kept:
                    self._console.settle()
                self._console.close()
                self._outcome = replace(self._outcome, console_sha256=self._console.sha256)
                if self._console.error:
                    self._outcome = replace(self._outcome, findings=(*self._outcome.findings, self._console.error))
                reporter.unfollow()

    def _examine(self, watch: Watch, keeper: BoxKeeper) -> None:
        """Of a run that stands still or took too long, what tells why, before it is ended; on every node."""
        failure = self._failure or self._link.failure
        if failure is not None and failure.kind in EXAMINED and self._outcome.exit_code is None:
            said = last_lines(self._space.console)  # before they complain of being ended
            evidence = watch.examine(keeper.box.send, tuple(self._task.secrets.values()))
            self._failure = replace(failure, evidence=evidence, last_lines=said)

    def _own_failure(self) -> Failure | None:
        """That of this node; also where its script failed while another node ended the run: it may be the cause."""
        failure, code = self._failure, self._outcome.exit_code
        if failure is None and code and self._link.failure is not None:
            failure = self._script_failure(code)
        failure = classified(failure, self._outcome, self._space.console, self._ooms)
        return hinted(failure, self._task.plan.job)

    def _collect(self, _reporter: Reporter) -> None:
        """Files back to the user, samples out of log and CSV."""
        with self._timings.phase("collect"):
            if self._space.box.exists():
                findings = (*self._outcome.findings, *self._handed_over())
                self._outcome = replace(self._outcome, findings=findings)
            # What lies there before anything runs was made by no script, however far it was furnished.
            before = self._before if self._keeper is not None else ws.manifest(self._space.work)
            self._outcome = collect(self._space, before, self._task, self._outcome, self.kept)
            self._before = ws.manifest(self._space.work) if self.kept else {}

    def _may_stay(self) -> bool:
        """Whether the container is to stand on after its script: asked for, and nobody has ended the run."""
        failure = self._link.failure
        lost = failure is not None and failure.kind in ("node lost", "interrupted")
        return self._task.keep_alive and not lost and not self._interrupt.event.is_set()

    @property
    def stands(self) -> bool:
        """Whether the container that was kept has not ended by itself."""
        return self.kept and self._keeper is not None and self._keeper.box.wait(0) is None

    @property
    def pid(self) -> int | None:
        """The outermost process of this node's box, where there is one that this host sees."""
        return self._keeper.box.pid if self._keeper is not None else None

    def release(self) -> None:
        """Ends a container that was kept; what was made in it since the script's end goes to `kept-alive/`."""
        if not self.kept or self._keeper is None:
            return
        self._keeper.end(by_itself=True)
        self.kept = False
        self._handed_over()
        keep_models(self._space.work, self._node.cache)
        ws.keep_output(self._space, self._before, into=AFTERWARDS)

    def _handed_over(self) -> list[str]:
        done = self._keeper is not None and "handed" in self._keeper.steps.seen
        return handed_over(self._task, self._node, self._space, (self._image, done))
