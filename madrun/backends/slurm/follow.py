"""Watches a job to its end: what node 0 prints as it prints it, and every change of what SLURM says."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from madrun.backends.head import Head
from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.slurm.attempt import CANCELLED, Attempt, latest
from madrun.backends.slurm.client import Job, Unanswered, account, cancel, look, warn
from madrun.backends.slurm.lines import options_of
from madrun.backends.slurm.offers import allowed
from madrun.backends.slurm.script import JOB
from madrun.backends.slurm.settings import SlurmSettings
from madrun.backends.slurm.states import JobState, waiting, waiting_text
from madrun.backends.slurm.verdict import Verdict, judge
from madrun.errors import ContextError, ExitCode, NodesError
from madrun.units import format_duration

TICK_S = 0.2
_ASK_S = 1.0  # between questions to SLURM about a job that is about to end
_FILES_S = 10.0  # how long the files of a job may take to reach this host over the shared file system
_ANSWER_S = 10.0  # after how long it is said that SLURM does not answer
_LEAVE_S = 5.0  # for the last word to SLURM of a command that is to leave at once
_GLANCE_S = 5.0  # for SLURM to look at a job that nobody will wait for
_PATIENCE_S = 60.0  # for what runs in a job to end in order
_CHUNK = 1 << 20


class Tail:
    """The end of a file that grows; it may not be there yet."""

    def __init__(self, file: Path, sink: Callable[[bytes], None]) -> None:
        self._file, self._sink, self._at = file, sink, 0

    def pass_on(self) -> None:
        """What has come since the last time."""
        try:
            with self._file.open("rb") as stream:
                stream.seek(self._at)
                while data := stream.read(_CHUNK):
                    self._at += len(data)
                    self._sink(data)
        except OSError:
            return


class Follower:
    """One job, as the command that waits for it sees it."""

    def __init__(self, folder: LaunchFolder, job: Job, settings: SlurmSettings, head: Head) -> None:
        self._folder, self._job, self._settings, self._head = folder, job, settings, head
        self._shown: int | None = None
        self._tails: list[Tail] = []
        self._said = ("", "")
        self._silent = False
        self._asked_at = float("-inf")
        self._state: JobState | None = None
        self._gone_at: float | None = None

    def run(self) -> Verdict:
        """Until the job has ended, or this command is to end: then the job is cancelled."""
        begun = time.monotonic()
        while not self._head.stop.wait(TICK_S):
            attempt = self._show()
            done = attempt is not None and (attempt.code is not None or attempt.requeued)
            if not self._due(done):
                continue
            self._ask()
            if self._settled(attempt):
                return self._end(attempt)
            self._give_up(begun, attempt)
        return self._interrupted()

    def glance(self) -> None:
        """For a command that leaves it alone: says how it stands once SLURM has looked at it, or after 5 s.

        Cancels a job that can never begin, with `ContextError`: nobody would be there to hear of it.
        """
        limit = time.monotonic() + _GLANCE_S

        def beside() -> bool:
            return time.monotonic() < limit and not self._head.stop.is_set()

        state: JobState | None = None
        while beside():
            try:
                state = look(self._job, beside)
            except Unanswered:
                break
            if state is None or state.seen:  # None: it is gone already
                break
            self._head.stop.wait(_ASK_S)
        self._tell(state)
        if state is not None and state.word == "PENDING":
            self._refuse(state)

    def _show(self) -> Attempt | None:
        attempt = latest(self._folder.path)
        if attempt is not None:
            if self._shown != attempt.number:
                self._pass_on()
                self._tails = tails_of(attempt.path, self._head)
                if attempt.number:
                    self._head.say(f"job {self._job.id} runs again, start {attempt.number + 1}")
                self._shown = attempt.number
            self._pass_on()
        return attempt

    def _pass_on(self) -> None:
        for tail in self._tails:
            tail.pass_on()

    def _due(self, done: bool) -> bool:
        """SLURM is asked rarely while all is well, and once the job's own files say that it is over."""
        wait = min(self._settings.poll_s, _ASK_S) if done else self._settings.poll_s
        if time.monotonic() - self._asked_at < wait:
            return False
        self._asked_at = time.monotonic()
        return True

    def _ask(self) -> None:
        try:
            self._state = look(self._job, self._beside)
        except Unanswered as error:
            if self._beside():  # else nobody waits for the answer any more, and the asking was broken off
                self._is_silent(str(error))
            return
        if self._silent:
            self._head.say("the SLURM controller answers again")
            self._silent = False
        self._tell(self._state)

    def _beside(self) -> bool:
        """Shows what comes while SLURM is asked; whether its answer is still of use."""
        attempt, waited = self._show(), time.monotonic() - self._asked_at
        if waited >= _ANSWER_S:
            self._is_silent(f"no answer for {format_duration(waited)}")
        over = attempt is not None and attempt.code is not None and self._waited()
        return not over and not self._head.stop.is_set()

    def _is_silent(self, why: str) -> None:
        if not self._silent:
            self._head.say(f"the SLURM controller does not answer ({why}); the job goes on, asking again")
        self._silent = True

    def _tell(self, state: JobState | None) -> None:
        """Says what is new; of each reason once when it is to end, for SLURM reckons anew with every job of others."""
        if state is None:
            return
        said, until = "", ""
        if state.phase == "pending" and state.reason:  # none yet: the scheduler looks soon
            said = f"job {self._job.id} waits: {waiting_text(state.reason)}"
            said, until = said if state.word == "PENDING" else f"{said} [{state.word}]", state.expected
        elif state.word == "RUNNING":
            said = f"job {self._job.id} runs on {state.hosts}"
        if said and said != self._said[0]:
            self._head.say(f"{said} ({until})" if until else said)
            self._folder.journal(state.phase, state=state.word, reason=state.reason, hosts=state.hosts)
            self._said = (said, until)
        elif said and until and not self._said[1]:
            self._head.say(f"job {self._job.id} is {until}")
            self._said = (said, until)

    def _settled(self, attempt: Attempt | None) -> bool:
        """Whether the job is over: by its own files unless SLURM will start it again, or by SLURM's word."""
        state = self._state
        if state is not None and state.phase == "pending":
            self._gone_at = None
            return attempt is not None and attempt.code == 0 and attempt.said
        if attempt is not None and attempt.code is not None:
            # A success needs no more; else SLURM's last word on the job may say who or what ended it.
            near = state is None or (attempt.code == 0 and attempt.said and state.word != "RUNNING")
            return near or (state is not None and state.phase == "ended") or self._waited()
        if self._silent or (state is not None and state.phase in ("running", "lost")):
            self._gone_at = None
            return False
        return self._waited()

    def _waited(self) -> bool:
        """Whether the other side has had its time to say the same."""
        self._gone_at = self._gone_at or time.monotonic()
        return time.monotonic() - self._gone_at >= _FILES_S

    def _end(self, attempt: Attempt | None) -> Verdict:
        self._pass_on()
        state = self._state
        if state is not None and state.phase == "pending":
            cancel(self._job)
            self._head.say(f"job {self._job.id} has ended, and SLURM would run it again; it is cancelled")
        if state is not None and state.word == "CANCELLED":
            state = account(self._job) or state  # it knows by whom
        return judge(self._folder.path, self._job.id, attempt, state, self._settings.signal_s)

    def _give_up(self, begun: float, attempt: Attempt | None) -> None:
        """A job that never begins, or has waited for too long, is cancelled."""
        state = self._state
        if state is None or state.word != "PENDING" or attempt is not None:
            return
        limit = self._settings.pending_limit_s
        waited = time.monotonic() - begun
        self._refuse(state)
        if limit is not None and waited >= limit:
            cancel(self._job)
            raise NodesError(
                f"job {self._job.id} has waited for {format_duration(waited)} (slurm.pending_limit): "
                f"{waiting_text(state.reason)}; it is cancelled"
            )

    def _refuse(self, state: JobState) -> None:
        """Cancels a job that never begins as it is, with `ContextError`."""
        found = waiting(state.reason)
        if not found.hopeless:
            return
        cancel(self._job)
        offer = allowed(found.key, options_of((self._folder.path / JOB).read_text()))
        text = f"{waiting_text(state.reason)}{f'; {offer}' if offer else ''}"
        raise ContextError(f"job {self._job.id} would never begin: {text}; it is cancelled")

    def _interrupted(self) -> Verdict:
        self._head.say(f"cancelling job {self._job.id}; waiting for its end (Ctrl-C again leaves at once)")
        self._folder.journal("interrupted", reason=self._head.reason)
        left = end_job(self._folder, self._job, self._head, self._show, signals=1)
        return Verdict(ExitCode.INTERRUPTED, left or f"job {self._job.id} is cancelled")


def end_job(folder: LaunchFolder, job: Job, head: Head, meanwhile: Callable[[], object], signals: int = 0) -> str:
    """Ends a job and waits until nothing of it runs; what is left of it, empty for nothing.

    What runs is warned, and ends in order; after a minute, and at once where nothing runs yet, SLURM cancels the job,
    which gives it KillWait seconds. One signal more than `signals` leaves it to SLURM.
    """
    (folder.path / CANCELLED).touch()
    asked_at = warned_at = time.monotonic()
    attempt = latest(folder.path)
    runs = attempt is not None and bool(attempt.tasks) and attempt.code is None
    is_told = False

    def beside() -> bool:
        meanwhile()
        return head.count <= signals

    trouble = warn(job, beside) if runs else cancel(job, beside)
    while beside():
        time.sleep(TICK_S)
        if time.monotonic() - asked_at < _ASK_S:
            continue
        asked_at = time.monotonic()
        try:
            state = look(job, beside)
        except Unanswered as error:
            trouble = str(error)
            if not is_told and beside():
                head.say(f"the SLURM controller does not answer ({error}); asking until it does")
                is_told = True
            continue
        if state is None or state.phase == "ended":
            meanwhile()
            return ""
        if trouble or (runs and time.monotonic() - warned_at > _PATIENCE_S):
            trouble, runs = cancel(job, beside), False
    limit = time.monotonic() + _LEAVE_S
    trouble = cancel(job, lambda: time.monotonic() < limit)
    return f"left while job {job.id} ends{f' ({trouble})' if trouble else ''}; squeue -j {job.id} shows what is left"


def tails_of(attempt: Path, head: Head, rank: int = 0) -> list[Tail]:
    """Those of what a node prints."""
    return [Tail(attempt / f"node-{rank}.out", head.show), Tail(attempt / f"node-{rank}.err", head.tell)]
