"""`madrun run`: the selected cards one after the other over one join, and the worst exit code."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from types import FrameType

from madrun.cli.argv import with_tag
from madrun.cli.prepare import Planned, Prepared, prepare
from madrun.cli.request import Request
from madrun.cli.screen import Screen
from madrun.cli.verdict import timing_lines, verdict_lines
from madrun.errors import ExitCode, MadrunError
from madrun.node.conduct import Ended, conduct
from madrun.node.join import Party, join
from madrun.node.link import Aborted
from madrun.node.task import Interrupt, Stopped, Task
from madrun.probe.environment import user_folder
from madrun.spec.masking import without_secrets
from madrun.spec.record import Failure
from madrun.units import parse_duration

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_SEVERITY = (
    ExitCode.INTERNAL,
    ExitCode.INTERRUPTED,
    ExitCode.RUN_FAILED,
    ExitCode.BAD_CONTEXT,
    ExitCode.USAGE,
)


def run_cards(request: Request, timings: bool) -> int:
    """Runs and returns the exit code; prints a verdict for each card."""
    started = time.monotonic()
    prepared = prepare(request)  # nothing runs yet: until here a signal ends the process as it always does
    before = {"plan": time.monotonic() - started}
    interrupt = _catch_signals()
    screen = Screen(lambda: interrupt.count)
    notes = [note for planned in prepared.planned for note in (*planned.notes, *planned.plan.node.notes)]
    for note in dict.fromkeys(notes):
        screen.line(note)
    try:
        party = _join(prepared, interrupt, screen)
        before["join"] = time.monotonic() - started - before["plan"]
        try:
            return _run_all(request, prepared, party, (interrupt, screen), before if timings else None)
        finally:
            party.close()
    except Stopped as stopped:
        screen.line(stopped.failure.text)
        return int(ExitCode.INTERRUPTED)
    except Aborted as aborted:
        screen.line(f"error: {aborted.failure.kind}: {aborted.failure.text}")
        interrupted = aborted.failure.kind == "interrupted"
        return int(ExitCode.INTERRUPTED if interrupted else ExitCode.RUN_FAILED)
    finally:
        screen.close()


def _join(prepared: Prepared, interrupt: Interrupt, screen: Screen) -> Party:
    plans = [planned.plan for planned in prepared.planned]
    limit = parse_duration(prepared.planned[0].context.join_timeout)
    return join(plans, limit, interrupt, screen)


def _run_all(
    request: Request,
    prepared: Prepared,
    party: Party,
    watched: tuple[Interrupt, Screen],
    before: dict[str, float] | None,
) -> int:
    interrupt, screen = watched
    codes: list[int] = []
    for index, planned in enumerate(prepared.planned):
        task = _task(request, prepared, planned, index)
        try:
            ended = conduct(task, party.link, interrupt, screen)
        except MadrunError as error:
            party.link.fail(Failure(kind="node", text=str(error), node=planned.plan.node.node_rank))
            raise
        screen.show(verdict_lines(ended, planned.plan, _again(task.command, planned, prepared), planned.notes))
        if before is not None:
            screen.show(timing_lines(before | ended.outcome.timings))
        codes.append(ended.exit_code)
        if _must_stop(ended, interrupt):
            unrun = len(prepared.planned) > len(codes)
            codes += [ExitCode.INTERRUPTED] if unrun and interrupt.event.is_set() else []
            break
    return _worst(codes)


def _again(command: tuple[str, ...], planned: Planned, prepared: Prepared) -> tuple[str, ...]:
    """The command that repeats this card alone; the whole command where a tag gave the card further arguments."""
    alone = len(prepared.planned) == 1 or ":" in " ".join(word for word in command if not word.startswith("{"))
    return command if alone else with_tag(command, planned.card.name)


def _must_stop(ended: Ended, interrupt: Interrupt) -> bool:
    """After an interrupt or the loss of a node there is nobody to run the next card with."""
    lost = ended.culprit is not None and ended.culprit.kind in ("node lost", "interrupted")
    return lost or interrupt.event.is_set()


def _worst(codes: list[int]) -> int:
    return next((int(code) for code in _SEVERITY if code in codes), max(codes, default=0))


def _catch_signals() -> Interrupt:
    """From now on a signal ends the run in order instead of the process at once."""
    interrupt = Interrupt()

    def caught(number: int, _frame: FrameType | None) -> None:
        interrupt.set(f"interrupted by {signal.Signals(number).name}")

    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:  # nohup asked for that
            signal.signal(number, caught)
    return interrupt


def _task(request: Request, prepared: Prepared, planned: Planned, index: int) -> Task:
    def provenance() -> dict[str, str]:
        return _provenance(prepared, planned)

    return Task(
        plan=planned.plan,
        index=index,
        results=request.results,
        secrets=planned.secrets,
        facts=replace(prepared.facts, process_env={}, filesystems=planned.filesystems),
        files=planned.files,
        image_context=planned.image_context,
        lock_dir=user_folder("cache") / "locks",
        engine=prepared.engine if planned.plan.job.in_container else None,
        command=without_secrets(request.command, planned.secrets),
        provenance=provenance,
        notes=planned.notes,
    )


def _provenance(prepared: Prepared, planned: Planned) -> dict[str, str]:
    """What the record says of where the numbers came from; the names are columns of perf.csv where it has them."""
    job, facts = planned.plan.job, prepared.facts
    commit = prepared.git_state.result()
    return {
        "training_precision": job.training_precision,
        "pipeline": os.environ.get("pipeline", ""),  # noqa: SIM112 - the name that MAD uses
        "build_number": os.environ.get("BUILD_NUMBER", ""),
        "docker_file": f"{job.image.context}/{job.image.dockerfile}" if job.image.dockerfile else "",
        "base_docker": job.image.base,
        "docker_image": job.image.name,
        "git_commit": commit.commit,
        "git_dirty": str(commit.dirty).lower() if commit.commit else "",
        "machine_name": facts.hostname,
        "gpu_architecture": facts.accelerator.arch,
        "dataname": ",".join(item.name for item in job.data),
        "data_provider_type": ",".join(item.provider for item in job.data),
        "repository": str(prepared.repository),
        "script_hash": job.script_hash,
    }
