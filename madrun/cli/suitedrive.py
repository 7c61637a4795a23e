"""Drives a suite: case after case, each state on disk before and after, until all have ended or a signal came."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from madrun.backends.launchfolder import LaunchFolder
from madrun.cli.suitechild import Records, Start, run_child
from madrun.cli.suitehosts import bad_hosts, launch_of, why_ended
from madrun.cli.suiteplace import Place, has_others, place_of
from madrun.errors import UsageError
from madrun.locks import locked
from madrun.node.task import Interrupt
from madrun.spec.codec import to_plain
from madrun.spec.record import Record
from madrun.suites.account import run_of, status_of
from madrun.suites.folder import CASE, DRIVER, Journal, SuiteFolder
from madrun.suites.nodes import culprit_of
from madrun.suites.progress import BAD, BEGUN, ENDED, RUNNING, Attempt, Progress
from madrun.suites.suite import Case, Suite, tag_of

_TELL_AFTER_S = 1.0
_LONGEST_REASON = 400
StartChild = Callable[[Start, Interrupt], tuple[int, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """How a suite is driven now: words for every case, where what it prints goes, which are run again.

    `available`: nodes of the allocation, None where there is none. `quiet`: no line before each case.
    """

    words: tuple[str, ...] = ()
    out: int | None = None
    again: tuple[str, ...] = ()
    available: int | None = None
    quiet: bool = False


def _start(start: Start, interrupt: Interrupt) -> tuple[int, float]:
    return run_child(start, interrupt, os.environ)


@dataclass(slots=True)
class Drive:
    """One driver at work on a suite; there is no other one."""

    folder: SuiteFolder
    suite: Suite
    how: How = field(default_factory=lambda: How())
    interrupt: Interrupt = field(default_factory=Interrupt)
    progress: Progress = field(init=False)
    start: StartChild = _start
    only: tuple[str, ...] | None = None
    array: bool = False

    def run(self) -> Progress:
        """Runs what is due, or `only` these of it; the progress in the end. `UsageError` where it is driven already."""
        with _alone(self.folder), _lock_of_cases(self.folder) as lock:
            self.progress = self.folder.progress(self.suite)
            journal = Journal(self.folder, self.progress)
            try:
                self._run(journal, lock)
            finally:
                journal.close()
        return self.progress

    def _run(self, journal: Journal, lock: int) -> None:
        self._bury(journal)
        journal.add(BEGUN, pid=os.getpid(), again=self.how.again)
        due = [name for name in self.progress.due() if self.only is None or name in self.only]
        if self.array and due:
            from madrun.cli.suitearray import submit_array

            job = submit_array(self.folder, replace(self.suite, cases=self._cases(due)), self.progress, journal)
            self._say(f"job {job}: {len(due)} tasks")
            return
        cases = {case.name: case for case in self.suite.cases}
        records = Records(Path(self.suite.results))
        for index, name in enumerate(due):
            if self.interrupt.event.is_set():
                return
            self._say(f"[{index + 1}/{len(due)}] {name}")
            left = self.suite.retry_bad_node
            while self._attempt(cases[name], journal, lock, records) and left:
                left -= bool(self.progress.of(name).attempts[-1].runs)  # hosts that were refused cost no run
                self._say(f"[{index + 1}/{len(due)}] {name}: once more, on other nodes")

    def _attempt(self, case: Case, journal: Journal, lock: int, records: Records) -> bool:
        """Runs the case once; whether it failed for a bad node, and there are others to try it on."""
        place = place_of(self.suite, case, self.progress.bad, self.how.available)
        attempt = self._begin(case, place, journal)
        tag = tag_of(self.suite, case, attempt.number)
        words = (*case.words, *place.words, *self.how.words)
        start = Start(words=words, cwd=self.suite.cwd, tag=tag, lock=lock, out=self.how.out)
        code, seconds = self.start(start, self.interrupt)
        found = records.of(tag)
        ended = ended_as(replace(attempt, seconds=round(seconds, 3)), code, found, self.interrupt.event.is_set())
        launch = self._launch(ended, tag)
        if launch is not None:
            why = ended.reason if found else why_ended(launch)[:_LONGEST_REASON]
            ended = replace(ended, launch=launch.path.name, reason=why or ended.reason)
        culprits = self._culprits(ended, found, launch)
        for host, reason in culprits.items():
            if host not in self.progress.bad:
                journal.add(BAD, host=host, reason=f"{reason} ({case.name})")
        if culprits and not found:
            texts = "; ".join(f"{host}: {text}" for host, text in culprits.items())
            ended = replace(ended, reason=texts[:_LONGEST_REASON])
        journal.add(ENDED, case=case.name, attempt=to_plain(ended))
        retry = ended.status == "failed" and bool(culprits)
        return retry and has_others(self.suite, case, self.progress.bad, self.how.available)

    def _launch(self, ended: Attempt, tag: str) -> LaunchFolder | None:
        """Of an attempt that failed: it says more than an exit code."""
        if not self.suite.backend or ended.status != "failed":
            return None
        return launch_of(Path(self.suite.results), tag, ended.at)

    def _culprits(self, ended: Attempt, records: list[Record], launch: LaunchFolder | None) -> dict[str, str]:
        """By host why the attempt failed for it: as its records say, else as its launch does, which may have none."""
        if not self.suite.backend:
            return {}
        found = [culprit_of(record, ended.hosts) for record in records]
        if any(found) or launch is None:
            return dict(one for one in found if one is not None)
        return bad_hosts(launch)

    def _begin(self, case: Case, place: Place, journal: Journal) -> Attempt:
        number = len(self.progress.of(case.name).attempts) + 1
        attempt = Attempt(number=number, at=round(time.time(), 3), nnodes=place.nnodes, hosts=place.hosts)
        journal.add(RUNNING, case=case.name, attempt=to_plain(attempt))
        return attempt

    def _bury(self, journal: Journal) -> None:
        """Attempts whose driver has died are interrupted; what their runs have left as records is kept with them."""
        for name, ended in ends_known(self.suite, self.progress):
            journal.add(ENDED, case=name, attempt=to_plain(ended))
        lost = self.progress.driver_died()
        found = records_of(self.suite, lost)
        for name, attempt in lost:
            ended = ended_as(attempt, None, found[name], interrupted=True)
            journal.add(ENDED, case=name, attempt=to_plain(replace(ended, reason="the driver of the suite was killed")))

    def _cases(self, names: list[str]) -> tuple[Case, ...]:
        return tuple(case for case in self.suite.cases if case.name in set(names))

    def _say(self, text: str) -> None:
        if not self.how.quiet:
            os.write(self.how.out or 1, f"{text}\n".encode(errors="replace"))


def records_of(suite: Suite, attempts: list[tuple[str, Attempt]]) -> dict[str, list[Record]]:
    """By the name of its case the records of each attempt; all that are here are searched once."""
    wanted = {f"{suite.id}/{name}/{attempt.number}": name for name, attempt in attempts}
    found: dict[str, list[Record]] = {name: [] for name in wanted.values()}
    for record in Records(Path(suite.results), known=False).all() if wanted else ():
        if (name := wanted.get(record.provenance.get("case", ""))) is not None:
            found[name].append(record)
    return found


def ends_known(suite: Suite, progress: Progress) -> list[tuple[str, Attempt]]:
    """Attempts that needed no driver and have ended by now, by the name of the case."""
    launched = progress.launched()
    if not launched:
        return []
    from madrun.cli.suitearray import ends_of

    ends = ends_of(suite, launched)
    over = [(name, attempt) for name, attempt in launched if name in ends]
    found = records_of(suite, over)
    return [
        (name, ended_as(attempt, 3 if ends[name] is None else ends[name], found[name], interrupted=False))
        for name, attempt in over
    ]


def ended_as(attempt: Attempt, code: int | None, records: list[Record], interrupted: bool) -> Attempt:
    """The attempt with its end; `code` is None where nobody saw it."""
    runs = tuple(map(run_of, records))
    status = status_of(0 if code is None else code, runs, interrupted and code != 0)
    culprit = next((record.culprit for record in records if record.culprit), None)
    reasons = [reason for record in records for reason in record.reasons]
    reason = f"{culprit.kind}: {culprit.text}" if culprit else next(iter(reasons), "")
    if not reason and code:
        reason = f"ended by signal {-code}" if code < 0 else f"exit code {code}"
    return replace(
        attempt,
        status=status,
        exit_code=code,
        reason="" if status == "success" else reason[:_LONGEST_REASON],
        runs=runs,
    )


@contextmanager
def _alone(folder: SuiteFolder) -> Iterator[None]:
    def waiting(_seconds: float) -> None:
        raise UsageError(f"{folder.path.name}: is being run by another madrun; wait for its end, or interrupt that one")

    with locked(folder.path / DRIVER, waiting):
        yield


@contextmanager
def _lock_of_cases(folder: SuiteFolder) -> Iterator[int]:
    """A descriptor that every case inherits: none is begun while one of a killed driver still ends."""
    told = False

    def waiting(seconds: float) -> None:
        nonlocal told
        if seconds > _TELL_AFTER_S and not told:
            sys.stderr.write("madrun: waiting for the end of the case that another madrun had begun\n")
            told = True

    with locked(folder.path / CASE, waiting):
        pass
    handle = os.open(folder.path / CASE, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield handle
    finally:
        os.close(handle)
