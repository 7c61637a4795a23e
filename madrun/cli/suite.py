"""`madrun suite`: begins one, goes on with one, runs some of it again, or shows how far it has come."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from pathlib import Path

from madrun.cli.answer import write_out
from madrun.cli.shownpath import shown_path
from madrun.cli.signals import catch_signals
from madrun.cli.suitedrive import Drive, How, ends_known
from madrun.cli.suitejob import check_alike, run_as_job, wants_job
from madrun.cli.suiteoptions import SuiteOptions
from madrun.cli.suitewords import Typed, folder_of, placed, suite_of_file
from madrun.cli.tables import columns, many
from madrun.cli.verdict import quoted
from madrun.cli.words import words_of
from madrun.errors import ContextError, ExitCode, UsageError
from madrun.locks import is_held
from madrun.results.rundir import RUNS
from madrun.spec.codec import to_json, to_plain
from madrun.spec.launch import FOLDERS as LAUNCHES
from madrun.spec.validation import did_you_mean
from madrun.suites import account
from madrun.suites.folder import DRIVER, SuiteFolder, find_suite
from madrun.suites.progress import ENDED, Progress
from madrun.suites.suite import Suite, new_cases

AGAIN = ("failed", "invalid", "skipped")
_ALL = "last"
_FOLDERS = {"run": RUNS, "launch": LAUNCHES}  # below the results


def suite_command(typed: Typed, asked: SuiteOptions, word: str | None) -> int:
    """The exit code: 0 where every case is well, 3 where one is not, 130 after an interrupt."""
    _check_rerun(asked.again)
    if asked.status and (asked.resume or asked.again):
        raise UsageError("--status: found --resume or --rerun beside it; allowed: one of them")
    if not asked.of_old:
        if word is None:
            raise UsageError("found no suite file; allowed: a suite file, or --resume, --rerun or --status of a suite")
        return begin(suite_of_file(typed, word), typed, asked)
    folder, suite = _known(typed, word)
    if asked.status:
        return _show_how_far(folder, suite, typed)
    return _go_on(folder, suite, typed, asked)


def _show_how_far(folder: SuiteFolder, suite: Suite, typed: Typed) -> int:
    """The exit code; where a suite is not over and nobody drives it, how to go on. A job of SLURM may have to begin."""
    progress = _seen(folder, suite)
    code = show(suite, progress, typed)
    if suite.backend != "slurm" and is_held(folder.path / DRIVER) is False:
        progress.driver_died()
        _tell_left(suite, progress, typed, "nobody runs this suite now, and ")
    return code


def _tell_left(suite: Suite, progress: Progress, typed: Typed, why: str = "") -> None:
    if left := len(progress.due()):
        told = quoted(("madrun", "suite", suite.id, "--resume", *_results_words(typed)))
        sys.stderr.write(f"madrun: {why}{left} of {len(suite.cases)} cases are left: {told}\n")


def _seen(folder: SuiteFolder, suite: Suite) -> Progress:
    """The progress with the ends of what needed no driver, which are not written down here."""
    progress = folder.progress(suite)
    for name, ended in ends_known(suite, progress):
        progress.take({"event": ENDED, "case": name, "attempt": to_plain(ended)})
    return progress


def _check_rerun(words: tuple[str, ...]) -> None:
    for word in words:
        if word not in AGAIN:
            raise UsageError(f"--rerun: found {word!r}{did_you_mean(word, AGAIN)}, allowed: {', '.join(AGAIN)}")


def begin(suite: Suite, typed: Typed, asked: SuiteOptions) -> int:
    """Freezes the suite and runs it; with `--dry-run` it is only shown."""
    folder = folder_of(suite)
    _check_array(suite, asked, tuple(case.name for case in suite.cases))
    if asked.dry_run:
        return _show_cases(folder, suite, typed)
    folder.write(suite)
    if wants_job(suite) and not asked.array:
        return run_as_job(suite, ("--resume", *words_of(typed.show)), typed.launch.detach)
    return _drive(folder, suite, typed, Drive(folder=folder, suite=suite, array=asked.array))


def _check_array(suite: Suite, asked: SuiteOptions, due: tuple[str, ...]) -> None:
    """Raises what is seen to be wrong before a job is made; `due`: names of the cases that an array would have."""
    if asked.array and not wants_job(suite):
        raise UsageError(
            "--array: found without --on slurm, or inside of a job; allowed: with --on slurm, outside of one"
        )
    counts = sorted({case.nnodes or 1 for case in suite.cases if case.name in due})
    if asked.array and len(counts) > 1:
        raise ContextError(f"--array: found cases of {', '.join(map(str, counts))} nodes, allowed: one number for all")
    if wants_job(suite) and not asked.array:
        check_alike(suite)


def _known(typed: Typed, word: str | None) -> tuple[SuiteFolder, Suite]:
    """A suite that was begun: by its id, by its file, or the last one. New cases of the file come behind the others."""
    file = Path(word).expanduser() if word is not None and Path(word).expanduser().is_file() else None
    if file is None:
        folder = find_suite(typed.results, word or _ALL)
        return folder, folder.suite()
    now = suite_of_file(typed, str(file))
    folder = find_suite(typed.results, _ALL, now.name)
    suite = folder.suite()
    cases = (*suite.cases, *new_cases(suite, now.cases, str(file)))
    return folder, replace(suite, cases=cases, hashes=tuple(case.hash for case in cases))


def _go_on(folder: SuiteFolder, suite: Suite, typed: Typed, asked: SuiteOptions) -> int:
    progress = _seen(folder, suite)
    progress.driver_died()
    again = tuple(name for name in progress.names if progress.of(name).status in asked.again)
    if asked.again and not again:
        raise UsageError(f"--rerun: found no case of {suite.id} that is {' or '.join(asked.again)}; --status shows all")
    if typed.backend:
        suite = placed(suite, typed)
    due = again if asked.again and not asked.resume else (*progress.due(), *again)
    _check_array(suite, asked, due)
    if asked.dry_run:
        only = tuple(case for case in suite.cases if case.name in due)
        return _show_cases(folder, replace(suite, cases=only, hashes=()), typed)
    folder.write(suite)
    if wants_job(suite) and not asked.array and (again or progress.due()):
        how = [*(["--resume"] if asked.resume else []), *(f"--rerun={status}" for status in asked.again)]
        return run_as_job(suite, (*how, *words_of(typed.show)), typed.launch.detach)
    alone = due if asked.again and not asked.resume else None
    drive = Drive(folder=folder, suite=suite, how=How(again=again), only=alone, array=asked.array)
    return _drive(folder, suite, typed, drive)


def _drive(folder: SuiteFolder, suite: Suite, typed: Typed, drive: Drive) -> int:
    words = tuple(words_of(typed.show, ("as_json",)))
    out = 2 if typed.show.as_json else None
    drive.how = replace(drive.how, words=words, out=out, available=_allocated(suite), quiet=typed.show.quiet)
    drive.interrupt = catch_signals()
    progress = drive.run()
    left = 0 if drive.only is not None and not drive.interrupt.event.is_set() else len(progress.due())
    code = show(suite, progress, typed, _code(suite, progress, drive, left))
    if drive.array:
        told = quoted(("madrun", "suite", suite.id, "--status", *_results_words(typed)))
        sys.stderr.write(f"madrun: the tasks go on: {told}\n")
    elif left:
        _tell_left(suite, progress, typed)
    return code


def _code(suite: Suite, progress: Progress, drive: Drive, left: int) -> int:
    """After an interrupt 130, also where it came between two cases; an array that was submitted is well so far."""
    if left and drive.interrupt.event.is_set():
        return int(ExitCode.INTERRUPTED)
    return int(ExitCode.OK) if drive.array else account.exit_code(suite, progress)


def _allocated(suite: Suite) -> int | None:
    """Nodes of the allocation of SLURM in which this is run; None outside of one."""
    said = os.environ.get("SLURM_JOB_NUM_NODES", "")
    return int(said) if suite.backend == "slurm" and said.isdecimal() else None


def _results_words(typed: Typed) -> list[str]:
    return ["--results", typed.options.results] if typed.options.results != "results" else []


def show(suite: Suite, progress: Progress, typed: Typed, code: int | None = None) -> int:
    """Prints a row for each case and what all have cost, or one JSON document; the exit code."""
    code = account.exit_code(suite, progress) if code is None else code
    if typed.show.as_json:
        return write_out(sys.stdout, to_json(account.document(suite, progress, code)), code)
    lines = [f"suite {suite.id}", *columns(account.HEAD, account.rows(suite, progress))]
    lines += account.closing_lines(suite, progress)
    results = Path(suite.results)
    lines += account.trouble_lines(suite, progress, lambda kind, name: shown_path(results / _FOLDERS[kind] / name))
    lines.append(f"files: {shown_path(folder_of(suite).path)}; the runs are in {shown_path(results / RUNS)}")
    if again := [status for status in account.AGAIN if progress.count(status)]:
        words = ("madrun", "suite", suite.id, "--rerun", ",".join(again), *_results_words(typed))
        lines.append(f"again: {quoted(words)}")
    return write_out(sys.stdout, "".join(f"{line}\n" for line in lines), code)


def _show_cases(folder: SuiteFolder, suite: Suite, typed: Typed) -> int:
    """What would be run, a command for each case, on the nodes that it would have."""
    from madrun.cli.suiteplace import place_of

    bad = folder.progress(suite).bad
    lines = []
    for case in suite.cases:
        place = place_of(suite, case, bad, _allocated(suite))
        command = ("madrun", "run", *case.words, *place.words)
        lines.append({"name": case.name, "nnodes": place.nnodes, "command": list(command)})
    if typed.show.as_json:
        return write_out(sys.stdout, to_json({"name": suite.name, "cases": lines}), 0)
    text = "".join(f"{line['name']}\n  {quoted(tuple(line['command']))}\n" for line in lines)  # type: ignore[arg-type]
    return write_out(sys.stdout, f"{text}{many(len(lines), 'case')}\n", 0)
