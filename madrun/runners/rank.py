"""Started as a program in place of a rank's interpreter: the rank prints to the console and to a log of its own.

    python -I -S rank.py RANK PYTHON ARGUMENTS...

The rank runs in a session of its own below this process, as it would below torchrun. Signals are passed on, the end is
the rank's own: the same exit code, or the same signal. Whatever goes wrong here, the rank runs on.
Standard library only, from Python 3.7 on: this file runs in the image, without the package around it.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from contextlib import suppress

if False:  # for type checkers; its import would cost more than all else
    from collections.abc import Callable

PIPE_BUF = 4096  # the kernel writes this much to a pipe at once, or waits: lines of several ranks never mix
READ = 1 << 18
PARTIAL_S = 0.05  # how long a line may wait for its end: progress bars have none
MOST_HELD = 1 << 16
LINGER_S = 0.3  # how long what a dead rank has left behind may hold its output open before somebody else takes over
PR_SET_PDEATHSIG = 1
PASSED_ON = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGCONT", "SIGWINCH")


class Outlet:
    """One stream of the console: whole lines, and what is no whole line after a moment."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.broken = ""
        self._held = b""
        self._since = 0.0

    def take(self, chunk: bytes) -> None:
        """Passes whole lines on, and keeps the beginning of a line that has not ended."""
        cut = chunk.rfind(b"\n") + 1
        if cut:
            self._write(self._held + chunk[:cut] if self._held else chunk[:cut])
            self._held = b""
        if cut < len(chunk):
            self._since = self._since if self._held else time.monotonic()
            self._held += chunk[cut:]
        if len(self._held) > MOST_HELD:
            self.flush()

    def due(self) -> float | None:
        """Seconds until what is held has waited long enough; None where nothing is held."""
        return max(0.0, self._since + PARTIAL_S - time.monotonic()) if self._held else None

    def flush(self) -> None:
        """Passes on what is held, a whole line or not."""
        text, self._held = self._held, b""
        self._write(text)

    def _write(self, text: bytes) -> None:
        start = 0
        while start < len(text) and not self.broken:
            end = start + PIPE_BUF
            if end < len(text):
                # at the end of a line, or all of a line that is longer than that
                end = text.rfind(b"\n", start, end) + 1 or text.find(b"\n", end) + 1 or len(text)
            self._write_all(text[start:end])
            start = end

    def _write_all(self, piece: bytes) -> None:
        while piece:
            try:
                piece = piece[os.write(self.target, piece) :]
            except BlockingIOError:  # somebody made the console non-blocking, for all who share it
                select.select([], [self.target], [], 1.0)
            except OSError as error:
                self.broken = error.strerror or str(error)
                return


class Log:
    """The rank's own log; a disk that takes no more ends it and nothing else."""

    def __init__(self, path: str) -> None:
        self.problem = ""
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)

    def take(self, chunk: bytes) -> None:
        """Appends it."""
        while chunk and not self.problem:
            try:
                chunk = chunk[os.write(self._fd, chunk) :]
            except OSError as error:
                self.problem = error.strerror or str(error)


class Copier:
    """Copies what comes through the pipes to console and log until their writers are gone."""

    def __init__(self, outlets: dict[int, Outlet], log: Log) -> None:
        self.outlets, self.log = outlets, log

    def step(self, more: tuple[int, ...] = (), limit: float | None = None) -> bool:
        """Waits for news, at most as long as the limit, and copies it; whether something came."""
        dues = [due for due in (outlet.due() for outlet in self.outlets.values()) if due is not None]
        waits = [*dues, *([limit] if limit is not None else [])]
        poll = select.poll()
        for fd in (*self.outlets, *more):
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(max(0, min(waits)) * 1000 + 0.5 if waits else None)}
        for fd, outlet in list(self.outlets.items()):
            if fd in ready:
                self._copy(fd, outlet)
            if outlet.due() == 0:
                outlet.flush()
        return bool(ready)

    def _copy(self, fd: int, outlet: Outlet) -> None:
        chunk = os.read(fd, READ)
        outlet.take(chunk)
        self.log.take(chunk)
        if not chunk or outlet.broken:  # nobody reads any more: the rank learns that as it would have
            outlet.flush()
            os.close(fd)
            del self.outlets[fd]


def open_streams() -> tuple[dict[int, Outlet], dict[int, int]]:
    """Pipes to copy from, and which end of them stands for stdout and stderr: one where both are one, to keep order."""
    outlets, ends = {}, {}
    one = os.path.samestat(os.fstat(1), os.fstat(2))
    for target in (1,) if one else (1, 2):
        read, write = os.pipe()
        outlets[read] = Outlet(target)
        ends[target] = write
    if one:
        ends[2] = ends[1]
    return outlets, ends


class Signals:
    """Passes signals on to the rank as they come, also while this process waits for the console."""

    def __init__(self) -> None:
        self.numbers = [
            number
            for number in (getattr(signal, name) for name in PASSED_ON)
            if signal.getsignal(number) is not signal.SIG_IGN
        ]
        self.wake, write = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(write, False)
        # Torchrun signals the whole session of a rank where it made one, and the rank alone where it did not.
        self.leads = os.getpgrp() == os.getpid()
        self._pid = 0
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, self.numbers)
        signal.set_wakeup_fd(write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        for number in self.numbers:
            signal.signal(number, self._pass_on)

    def _pass_on(self, number: int, _frame: object) -> None:
        for send in (os.killpg, os.kill) if self.leads else (os.kill,):
            with suppress(OSError):  # it has ended, or is not yet a group of its own
                send(self._pid, number)
                return

    def follow(self, pid: int) -> None:
        """From now on they go to this process."""
        self._pid = pid
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def as_found(self) -> None:
        """In the rank: everything as torchrun left it."""
        for number in (*self.numbers, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def drain(self) -> None:
        """Empties the pipe that wakes this process."""
        with suppress(BlockingIOError):
            while os.read(self.wake, 512):
                pass


def start(words: list[str], ends: dict[int, int], signals: Signals, prctl: Callable[..., int]) -> int:
    """Process id of the rank, which ends when this process does."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        signals.follow(pid)
        return pid
    try:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)
        if signals.leads:
            os.setsid()
        for target, end in ends.items():
            os.dup2(end, target)
        signals.as_found()
        os.execv(words[0], words)
    except BaseException as error:
        os.write(2, f"{words[0]} could not be started: {error}\n".encode())
    os._exit(127)


def attend(pid: int, signals: Signals, copier: Copier, end: str) -> int:
    """Exit code of the rank, negative for a signal; returns when all that it printed has been passed on."""
    status = None
    while status is None:
        copier.step((signals.wake,))
        signals.drain()
        ended, found = os.waitpid(pid, os.WNOHANG)
        status = found if ended else None
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    # time, exit code, which launch this was, and what the log lacks; a disk that takes no line takes none
    with suppress(OSError):
        Log(end).take(f"{time.time():.6f} {code} {launch()} {copier.log.problem}".rstrip().encode() + b"\n")
    finish(copier)
    return code


def launch() -> str:
    """`PID.COUNT.RANKS`: what started the rank, how often before, how many here; `+` where it may do so again."""
    names = ("TORCHELASTIC_RESTART_COUNT", "TORCHELASTIC_MAX_RESTARTS", "LOCAL_WORLD_SIZE")
    said = (os.environ.get(name, "") for name in names)
    count, most, ranks = (int(text) if text.isdecimal() else 0 for text in said)
    return f"{os.getppid()}.{count}.{ranks}{'+' if count < most else ''}"


def finish(copier: Copier) -> None:
    """Copies the rest; where a process that the rank left behind holds on to it, another process goes on with that."""
    deadline = time.monotonic() + LINGER_S
    while copier.outlets and time.monotonic() < deadline:
        copier.step(limit=deadline - time.monotonic())
    if not copier.outlets:
        return
    for outlet in copier.outlets.values():
        outlet.flush()
    if os.fork():
        return
    os.setsid()
    try:
        while copier.outlets:
            copier.step()
    finally:
        os._exit(0)


def end_like(code: int) -> int:
    """The exit code; does not return where the rank died by a signal, for then this process does so too.

    Hydra ends the other ranks for a signal alone, where a rank has never called MPI: MADRUN_BY_SIGNAL asks for one.
    """
    if code > 0 and "MADRUN_BY_SIGNAL" in os.environ:
        code = -signal.SIGTERM
    if code >= 0:
        return code
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))  # one dump is enough
    if -code not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(-code, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [-code])
    os.kill(os.getpid(), -code)
    return 128 - code


def main() -> int:
    """Runs the rank; as if this file were not there where the rank's log cannot be opened."""
    rank, words = sys.argv[1], sys.argv[2:]
    os.environ["RANK"] = rank
    box = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - quick
    try:
        prctl = __import__("ctypes").CDLL(None).prctl
        log = Log(f"{box}/ranks/rank-{int(rank)}.log")
        outlets, ends = open_streams()
    except (ImportError, AttributeError, OSError, ValueError):
        os.execv(words[0], words)
    signals = Signals()
    pid = start(words, ends, signals, prctl)
    for end in set(ends.values()):
        os.close(end)
    return end_like(attend(pid, signals, Copier(outlets, log), f"{box}/ranks/rank-{int(rank)}.end"))


if __name__ == "__main__":
    sys.exit(main())
