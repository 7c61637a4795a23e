"""`madrun run`: the selected cards one after the other over one join, and the worst exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

from madrun.cli.aftermath import Story, worst, write_summary
from madrun.cli.again import again_of
from madrun.cli.ahead import Ahead
from madrun.cli.answer import write_out
from madrun.cli.beforehand import checked, part
from madrun.cli.colour import painted, wanted
from madrun.cli.leftout import LeftOut, lines_of, not_reached, nothing_measured, write
from madrun.cli.options import Show
from madrun.cli.outputs import Outputs, heard
from madrun.cli.place import refusals
from madrun.cli.prepare import Planned, Prepared, prepare
from madrun.cli.provenance import provenance_of_left_out
from madrun.cli.request import Request
from madrun.cli.screen import Screen
from madrun.cli.sharednotes import shared_notes
from madrun.cli.signals import catch_signals
from madrun.cli.summary import Finished, summary_lines
from madrun.cli.task import make_task
from madrun.cli.verdict import quoted, timing_lines, verdict_lines
from madrun.errors import ExitCode, MadrunError
from madrun.node.channel.link import Aborted, Link
from madrun.node.conduct import conduct
from madrun.node.ended import Ended
from madrun.node.joining.join import Party, join
from madrun.node.seeing.presence import REGISTRY, waiting
from madrun.node.task import Interrupt, Stopped
from madrun.probe.environment import launched_by, user_folder
from madrun.registry.selection import LEFT_OUT
from madrun.spec.binding import bind
from madrun.spec.codec import to_json
from madrun.spec.launch import JOINED
from madrun.spec.plan import RUN_DIR, RUN_ID
from madrun.spec.record import Failure
from madrun.units import parse_duration

_LOOK_EVERY_S = 0.1
_STAY_S = 10.0  # whatever has started all nodes may end them all once one has ended, and node 0 writes the results last


@dataclass(frozen=True, slots=True)
class _Command:
    """One command line on its way: what it asks for, what it runs, and where its runs are shown."""

    request: Request
    show: Show
    prepared: Prepared
    runs: list[tuple[Planned, str]]
    keep_alive: bool
    interrupt: Interrupt
    screen: Screen
    story: Story
    outputs: Outputs

    @property
    def coloured(self) -> bool:
        """Whether verdicts are shown in colour."""
        return wanted(2 if self.show.as_json else 1)


def run_cards(asked: Callable[[], Request], show: Show, repeat: int, keep_alive: bool) -> int:
    """Runs and returns the exit code; prints a verdict for each card, and a summary of several runs.

    As JSON the one document is all that standard output gets: scripts and verdicts go to standard error.
    """
    story = Story()
    error = ""
    code = int(ExitCode.INTERNAL)
    try:
        story.request = asked()
        code = _run(story.request, show, (repeat, keep_alive), story)
    except MadrunError as caught:
        code, error = int(caught.exit_code), str(caught)
        raise
    finally:
        if trouble := write_summary(story, code, error):
            sys.stderr.write(f"madrun: {trouble}\n")
            code = code or int(ExitCode.USAGE)
        if show.as_json:
            code = write_out(sys.stdout, to_json(story.document(code, error)), code)
    return code


def _run(request: Request, show: Show, how: tuple[int, bool], story: Story) -> int:
    started = time.monotonic()
    repeat, keep_alive = how
    # Nothing runs yet: until here a signal ends the process as it always does.
    prepared = prepare(request, part, leave_out=True)
    runs = [
        (planned, f"{number} of {repeat}" if repeat > 1 else "")
        for planned in prepared.planned
        for number in range(1, repeat + 1)
    ]
    outputs = checked(request, prepared, runs if keep_alive else [])
    before = story.before
    before["plan"] = time.monotonic() - started
    interrupt = catch_signals()
    screen = Screen(lambda: interrupt.count, out=2 if show.as_json else 1, quiet=show.quiet)
    command = _Command(request, show, prepared, runs, keep_alive, interrupt, screen, story, outputs)
    screen.live = heard(request, prepared)
    _tell_before(command)
    try:
        _leave_out(command, prepared.left_out)
        if prepared.stop is not None:
            _leave_rest(command, 0, str(prepared.stop))
            raise prepared.stop
        if not runs:
            return _end(command, [])
        party = _join(command)
        before["join"] = time.monotonic() - started - before["plan"]
        if launched_by() and runs[0][0].plan.node.node_rank > 0:
            screen.say(JOINED)
        try:
            planned = [planned for planned, _ in command.runs]
            with Ahead(prepared, planned, request.results, screen) as ahead:
                return _run_all(command, party, ahead)
        finally:
            party.close(_STAY_S if launched_by() else 0.0)
    except Stopped as stopped:
        screen.say(stopped.failure.text)
        return int(ExitCode.INTERRUPTED)
    except Aborted as aborted:
        screen.say(f"error: {aborted.failure.kind}: {aborted.failure.text}")
        interrupted = aborted.failure.kind == "interrupted"
        return int(ExitCode.INTERRUPTED if interrupted else ExitCode.RUN_FAILED)
    finally:
        screen.close()


def _tell_before(command: _Command) -> None:
    """Notes of all runs, each once; what has changed since the run that is repeated comes first."""
    planned = command.prepared.planned
    for one in (one for one in planned if one.repeats):
        command.screen.line(f"repeats {one.repeats}, job hash {one.plan.job_hash[:12]}")
    for change in (change for one in planned for change in one.changes):
        command.screen.line(change)
    for note in command.outputs.notes:
        command.screen.line(note)
    said = ((one.card, note) for one in planned for note in (*one.notes, *one.plan.node.notes))
    refused = {text for one in planned for text in refusals(one.plan, command.prepared.facts)}
    for note in shared_notes(said, len({one.card.name for one in planned})):
        if note.startswith(LEFT_OUT) or note in refused:
            continue  # its row says so, or the error
        command.screen.line(note)
    if command.show.verbose:
        from madrun.cli.plan import start_words

        engine = command.prepared.facts.engine
        if engine is not None:
            command.screen.line(f"engine {engine.name} {engine.version} {engine.host}".rstrip())
        for one in planned:
            command.screen.line(f"{one.plan.job.card}: job {one.plan.job_hash}")
            command.screen.line(f"{one.plan.job.card}: {quoted(tuple(start_words(one.plan)))}")
        command.screen.line(f"{RUN_ID} and {RUN_DIR} stand for the id and directory that a run gets when it begins")


def _join(command: _Command) -> Party:
    plans = [planned.plan for planned, _ in command.runs]
    limit = parse_duration(command.prepared.planned[0].context.join_timeout)
    try:
        with waiting(plans[0], user_folder("cache") / REGISTRY) if plans[0].job.nnodes > 1 else nullcontext():
            return join(plans, command.prepared.facts, limit, command.interrupt, command.screen)
    except (Stopped, Aborted) as ended:
        _leave_rest(command, 0, ended.failure.text, ended.failure.kind)
        raise
    except MadrunError as error:
        _leave_rest(command, 0, str(error), "nodes")
        raise


def _run_all(command: _Command, party: Party, ahead: Ahead) -> int:
    interrupt, screen, runs = command.interrupt, command.screen, command.runs
    codes: list[int] = []
    for index, (planned, number) in enumerate(runs):
        if len(runs) > 1 and not command.show.quiet:
            screen.show([f"[{index + 1}/{len(runs)}] {planned.card.name}"])
        task = make_task(command.request, command.prepared, planned, (index, number, command.keep_alive))
        again = again_of(task.command, command.request.tags, planned.card, alone=len(command.prepared.planned) == 1)
        task = ahead.serve(replace(task, gate=party.gate))
        linger = partial(_keep_alive, command, party.link, planned, again)
        try:
            ended = conduct(task, party, interrupt, screen, linger)
        except MadrunError as error:
            party.link.fail(Failure(kind="node", text=str(error), node=planned.plan.node.node_rank))
            _leave_rest(command, index, str(error))
            raise
        except (Stopped, Aborted) as ended_before:
            _leave_rest(command, index, ended_before.failure.text)
            raise
        if len(command.story.finished) == index:
            _show_verdict(command, planned, again, ended)
        codes.append(ended.exit_code)
        if _must_stop(ended, interrupt):
            codes += [ExitCode.INTERRUPTED] if len(runs) > len(codes) and interrupt.event.is_set() else []
            _leave_rest(command, index + 1, interrupt.reason or (ended.culprit.text if ended.culprit else ""))
            break
    return _end(command, codes)


def _leave_rest(command: _Command, index: int, why: str, kind: str = "") -> None:
    """Gives the cards that did not get their turn their records; `kind` says what failed where no card was begun."""
    begun = [planned for planned, _ in command.runs[:index]]
    rest = {id(planned): planned for planned, _ in command.runs[index:] if all(planned is not one for one in begun)}
    mine = [one for one in rest.values() if one.plan.node.node_rank == 0 and one.card.mad is not None]
    _leave_out(command, [not_reached(one.card, one.context, why, kind) for one in mine])


def _leave_out(command: _Command, cards: Sequence[LeftOut]) -> None:
    """Gives each card that is not run its record, and says so."""
    for one in cards:
        written = write(command.request, one, command.prepared.facts, provenance_of_left_out(command.prepared, one))
        command.story.left_out.append(written)
        if written.run is not None and written.record is not None:
            command.outputs.add(written.run, written.record, one.card)
        command.screen.show(painted(lines_of(written), command.coloured))


def _end(command: _Command, codes: list[int]) -> int:
    """The summary, and the exit code of the command: nothing measured is no success unless it was asked for."""
    story, on_purpose = command.story, command.request.files.skip_model_run
    command.outputs.close()
    if command.request.files.manifest_output is not None:
        from madrun.cli.manifestout import write_of_runs

        write_of_runs(command.request.files.manifest_output, command.prepared, story.finished)
    nothing = nothing_measured(story.statuses, on_purpose)
    lines = [*summary_lines(story.finished, story.left_out), *nothing]
    command.screen.show(painted(lines, command.coloured))
    if command.outputs.told:
        command.screen.line(command.outputs.told)
    for text in command.outputs.warnings:
        command.screen.say(f"warning: {text}")
    left_out = [one.left_out.exit_code for one in story.left_out]
    unwritten = [ExitCode.USAGE] if command.outputs.failed else []
    return worst([*codes, *left_out, *unwritten, *([ExitCode.RUN_FAILED] if nothing and not on_purpose else [])])


def _show_verdict(command: _Command, planned: Planned, again: tuple[str, ...], ended: Ended) -> None:
    timings = command.story.before | ended.outcome.timings
    told = [one.planned for one in command.story.finished] if command.show.quiet else [planned]
    said = tuple(note for one in told for note in (*one.changes, *one.notes))
    command.story.finished.append(Finished(planned=planned, ended=ended, again=again, timings=timings))
    if ended.record is not None:
        command.outputs.add(ended.run, ended.record, planned.card, planned)
    command.screen.show(painted(verdict_lines(ended, planned.plan, again, said), command.coloured))
    if command.show.timings or command.show.verbose:
        command.screen.show(timing_lines(timings))


def _keep_alive(
    command: _Command, link: Link, planned: Planned, again: tuple[str, ...], ended: Ended, stands: Callable[[], bool]
) -> None:
    """Shows the verdict, and waits beside the container until a signal here or on another node, or its end."""
    _show_verdict(command, planned, again, ended)
    rank = planned.plan.node.node_rank
    container = bind(planned.plan.node, ended.run.run_id, str(ended.run.path)).container
    assert container is not None
    command.screen.phase("kept alive")
    command.screen.show([f"kept alive: {container.program} exec -it {container.name} bash     (Ctrl-C here ends it)"])
    while not command.interrupt.event.wait(_LOOK_EVERY_S):
        if link.failure is not None and link.failure.kind == "interrupted":
            command.screen.say(f"ended: {link.failure.text}")
            return
        if not stands():
            command.screen.say("the container has ended: from outside, or madrun was stopped for longer than its lease")
            return
    link.fail(Failure(kind="interrupted", text=f"{command.interrupt.reason} on node {rank}", node=rank))


def _must_stop(ended: Ended, interrupt: Interrupt) -> bool:
    """After an interrupt or the loss of a node there is nobody to run the next card with."""
    lost = ended.culprit is not None and ended.culprit.kind in ("node lost", "interrupted")
    return lost or interrupt.event.is_set()
