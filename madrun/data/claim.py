"""The claim to fill a path: of all processes that want to, on one host or over a shared file system, one has it.

Claims are small files `.NAME.claim-N` beside the path. Whoever makes the file with the highest N has the claim, and
writes a new line into it every second. A claim whose process is dead, or whose line stands still, is taken over by
making N + 1, which one process alone can do.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from madrun.errors import DataError

BEAT_S, SILENT_S = 1.0, 15.0
_LINE = 512  # characters of a line, filled up with spaces: some 300 are needed where the host's name has its most, 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """Who has a claim: the process, known to those that see it, and how far it has come."""

    host: str
    pid: int
    space: str
    started: str
    done: int = 0
    beat: int = 0
    token: str = ""  # one for each claim: numbers begin anew where all claims were given back

    @property
    def is_dead(self) -> bool:
        """Whether it certainly has ended; of a process of another host or container nobody here can tell."""
        return self.space == _space() and _started(self.pid) != self.started


class Lost(DataError):
    """Another process has taken the claim over."""


class Claim:
    """Held until `release`, or until its process dies. `done`: bytes so far, for those who wait."""

    def __init__(self, target: Path, number: int, token: str) -> None:
        self.done = 0
        self.number = number
        self._target, self._token = target, token
        self._looked = _clock()
        self._lost = threading.Event()
        self._over = threading.Event()
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()

    def check(self) -> None:
        """`Lost` where another process has taken it over, because this one stood still for too long."""
        if _clock() - self._looked > SILENT_S / 2:
            self._look()  # before anything is written: the thread that beats may come later
        if self._lost.is_set():
            raise Lost(f"{self._target}: this process stood still for {SILENT_S:g} s, and another fills it now")

    def confirm(self) -> None:
        """The same, looked at anew."""
        self._look()
        self.check()

    def release(self) -> None:
        """Gives it back; one that was lost may be another's by now."""
        self._over.set()
        self._beating.join()
        with suppress(OSError):
            self._look()
            if not self._lost.is_set():
                _path(self._target, self.number).unlink(missing_ok=True)

    def _beat(self) -> None:
        beat = 0
        while not self._over.wait(BEAT_S) and not self._lost.is_set():
            beat += 1
            with suppress(OSError):  # whoever writes the data will say what is wrong with the place
                self._look()
                if not self._lost.is_set():
                    self._write(_line(self._token, self.done, beat))

    def _write(self, line: str) -> None:
        """Over the line before, of the same length: whoever reads it meanwhile finds no empty file.

        One that is gone is not made again: it was taken over since it was looked at.
        """
        with _path(self._target, self.number).open("r+", encoding="utf-8") as file:
            file.write(line)

    def _look(self) -> None:
        """Whether it is still the highest, and its line this one's own."""
        holder = None
        if max(_numbers(self._target), default=0) == self.number:
            holder = _parsed(_path(self._target, self.number).read_text(encoding="utf-8", errors="replace"))
            if holder is None:
                return  # its own line, which the thread that beats is writing
        if holder is None or holder.token != self._token:
            self._lost.set()
        self._looked = _clock()


class Queue:
    """One process that wants the claim to a path."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._seen: tuple[int, str] = (0, "")
        self._since = 0.0

    def attempt(self) -> Claim | Holder | None:
        """The claim; else who has it; None where that is being settled. `OSError` where no file can be made."""
        numbers = _numbers(self._target)
        highest = max(numbers, default=0)
        if highest:
            holder = self._look(highest)
            if holder is not None:
                return holder
        return self._take(highest)

    def _look(self, number: int) -> Holder | None:
        """The holder of this claim; None where it is dead or silent."""
        try:
            text = _path(self._target, number).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError):
            text = ""
        if self._seen != (number, text):
            self._seen, self._since = (number, text), time.monotonic()
        holder = _parsed(text)
        silent = time.monotonic() - self._since > SILENT_S
        return None if silent or (holder is not None and holder.is_dead) else holder or _UNKNOWN

    def _take(self, after: int) -> Claim | None:
        number, token = after + 1, os.urandom(8).hex()
        path = _path(self._target, number)
        try:
            file = path.open("x", encoding="utf-8")
        except FileExistsError:
            return None
        try:
            with file:
                file.write(_line(token, 0, 0))
            # Two may have seen different claims end, and hold two numbers now: then neither has it.
            if set(_numbers(self._target)) - {after} != {number}:
                path.unlink(missing_ok=True)
                return None
            _path(self._target, after).unlink(missing_ok=True)
        except OSError:  # a full disk; a claim of another user in a directory like /tmp
            with suppress(OSError):
                path.unlink()
            raise
        return Claim(self._target, number, token)


def is_claimed(target: Path) -> bool:
    """Whether somebody has it who is not known to be dead. `OSError` where the directory cannot be read."""
    numbers = _numbers(target)
    if not numbers:
        return False
    holder = _parsed(_path(target, max(numbers)).read_text(encoding="utf-8", errors="replace"))
    return holder is None or not holder.is_dead


def _path(target: Path, number: int) -> Path:
    return target.with_name(f".{target.name}.claim-{number}")


def _numbers(target: Path) -> list[int]:
    """Of all claims to the path. The directory is listed: NFS remembers for a while that a file was not there."""
    start = _path(target, 0).name[:-1]
    names = [entry.name for entry in os.scandir(target.parent) if entry.name.startswith(start)]
    return [int(name[len(start) :]) for name in names if name[len(start) :].isdecimal()]


def _line(token: str, done: int, beat: int) -> str:
    pid, host = os.getpid(), socket.gethostname()
    holder = Holder(host=host, pid=pid, space=_space(), started=_started(pid), done=done, beat=beat, token=token)
    return json.dumps(asdict(holder)).ljust(_LINE)


def _clock() -> float:
    """Seconds that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


_UNKNOWN = Holder(host="an unknown host", pid=0, space="?", started="?")


def _parsed(text: str) -> Holder | None:
    """None where it is being written just now."""
    try:
        return Holder(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _space() -> str:
    """What tells whether a process id means the same here and there: the boot, and the namespace of processes."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When the process began, in ticks; empty where there is none, or only what its parent has not collected yet."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] in ("Z", "X") else fields[19]
