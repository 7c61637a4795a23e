"""What tells why a run stands still: stacks, states of processes, GPUs, last lines. Written within ten seconds."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from madrun.node.console import MASK, MIN_SECRET, last_lines
from madrun.node.watching.processtable import Process, processes_of
from madrun.node.watching.stacks import where
from madrun.node.workspace import Workspace
from madrun.spec.plan import BOX, JobPlan

LIMIT_S = 10.0
FOLDER, RANKS = "evidence", "ranks.txt"
_MOST_STACKS = 256
_TOOLS = {"nvidia": ("nvidia-smi", "-q"), "amd": ("amd-smi", "metric")}
# Where torch's flight recorder writes, and the pipe at which it waits for the word to write: one for each rank.
_DUMPS = ("TORCH_FR_DUMP_TEMP_FILE", "TORCH_NCCL_DEBUG_INFO_TEMP_FILE")
_PIPE = "TORCH_NCCL_DEBUG_INFO_PIPE_FILE"
Send = Callable[[str], None]


@dataclass(slots=True)
class Examination:
    """One look at the processes of a box. `send` gives the driver a line, `secrets` are masked."""

    space: Workspace
    job: JobPlan
    own: tuple[str, ...]
    pid: int | None
    send: Send
    secrets: tuple[str, ...]
    deadline: float = field(default_factory=lambda: time.monotonic() + LIMIT_S)
    names: list[str] = field(default_factory=list)

    def run(self) -> tuple[str, ...]:
        """Names of what was written, below the node's directory; what cannot be had is left out, never waited for."""
        with suppress(OSError):
            (self.space.root / FOLDER).mkdir(exist_ok=True)
            tool = threading.Thread(target=self._gpus, daemon=True)
            tool.start()
            family = list(processes_of(self.pid)) if self.pid is not None else []
            asked = _ask_recorder(self.job, self.space, family)
            ranks = [one for one in family if one.is_python and (one.pid != self.pid or self.job.in_container)]
            stacks = self._stacks(ranks[:_MOST_STACKS])
            self._write("processes.txt", "\n".join(process.described() for process in family))
            self._write("last_lines.txt", "\n".join(_last_words(self.space)))
            self._write(RANKS, "\n".join(_standing(family, stacks, self.own)))
            self._keep_recorded(family, wait=asked)
            tool.join(max(0.0, self.deadline - time.monotonic()))
        return tuple(sorted(self.names))

    def _write(self, name: str, text: str) -> None:
        if not text:
            return
        for secret in sorted(self.secrets, key=len, reverse=True):  # one may be the beginning of another
            text = text.replace(secret, MASK.decode()) if len(secret) >= MIN_SECRET else text
        file = self.space.root / FOLDER / name
        with suppress(OSError):
            file.write_text(text.rstrip("\n") + "\n")
            self.names.append(f"{FOLDER}/{name}")

    def _left(self, share: float = 1.0) -> float:
        return max(0.1, (self.deadline - time.monotonic()) * share)

    def _stacks(self, ranks: list[Process]) -> dict[int, str]:
        """By process what py-spy says: from here, and where that is not allowed, by the driver beside the ranks."""
        tool = _py_spy()
        if tool is None or not ranks:
            return {}
        found = _dump_here(tool, [process.pid for process in ranks], self._left(0.6))
        refused = [process for process in ranks if "Thread " not in found.get(process.pid, "")]
        if refused and self.job.in_container:
            found |= {pid: text for pid, text in self._dump_inside(tool, refused).items() if text}
        for process in ranks:
            self._write(f"stack-{process.pid}.txt", found.get(process.pid, ""))
        return found

    def _dump_inside(self, tool: Path, ranks: list[Process]) -> dict[int, str]:
        """The driver is of the same user as the ranks; it finds the tool in its box."""
        place = self.space.box / FOLDER
        try:
            place.mkdir(exist_ok=True)
            shutil.copy(tool, place / "py-spy")
        except OSError:
            return {}
        self.send("examine " + " ".join(str(process.inner) for process in ranks))
        limit = time.monotonic() + self._left(0.8)
        while time.monotonic() < limit and " examined" not in _text(self.space.box / "steps"):
            time.sleep(0.05)
        return {process.pid: _text(place / str(process.inner)) for process in ranks}

    def _gpus(self) -> None:
        """What the vendor's tool says of all GPUs of the host."""
        from madrun.probe.accelerator.tools import run_tool

        if self.job.vendor in _TOOLS:
            self._write("gpus.txt", run_tool(_TOOLS[self.job.vendor], self._left(0.9)) or "")

    def _keep_recorded(self, family: Iterable[Process], wait: bool) -> None:
        """Copies of the flight recorder's files, which it writes within a few seconds when it is asked to."""
        limit = time.monotonic() + (min(3.0, self._left(0.5)) if wait else 0.0)
        found = _recorded(self.job, self.space, family)
        while not found and time.monotonic() < limit:
            time.sleep(0.1)
            found = _recorded(self.job, self.space, family)
        for file in found:
            name = f"{FOLDER}/flight-{file.name}"
            with suppress(OSError):
                shutil.copyfile(file, self.space.root / name, follow_symlinks=False)
                self.names.append(name)


def _py_spy() -> Path | None:
    beside = Path(sys.executable).with_name("py-spy")
    found = beside if beside.exists() else shutil.which("py-spy")
    return Path(found) if found else None


def _dump_here(tool: Path, pids: list[int], limit: float) -> dict[int, str]:
    """What the tool says of each of them, all at once; what it says against it where it is refused."""
    import subprocess

    started = {}
    for pid in pids:
        words = [str(tool), "dump", "--nonblocking", "--pid", str(pid)]
        with suppress(OSError):
            started[pid] = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
            )
    deadline = time.monotonic() + limit
    found = {}
    for pid, child in started.items():
        try:
            output, _ = child.communicate(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            child.kill()
            with suppress(subprocess.TimeoutExpired):  # it looks at a process that the kernel holds, and is held too
                child.communicate(timeout=0.1)
            output = b""
        found[pid] = output.decode("utf-8", "replace")
    return found


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


def _last_words(space: Workspace) -> list[str]:
    """The last line of the console and of each rank's log."""
    logs = [space.console, *sorted((space.box / "ranks").glob("*"))]
    said = ((log, last_lines(log, count=1)) for log in logs if log.is_file())
    return [f"{log.name}: {lines[-1]}" for log, lines in said if lines]


def _standing(family: list[Process], stacks: dict[int, str], own: tuple[str, ...]) -> list[str]:
    """One line for each rank; without ranks, for each process that has started no other."""
    by_pid = {process.pid: process for process in family}
    ranked = []
    for process in family:
        told = _rank_of(process, stacks)
        parent = by_pid.get(process.parent)
        above = parent and _rank_of(parent, stacks)
        if told and told != above:
            ranked.append((int(told), process))
    parents = {process.parent for process in family}
    leaves = [(-1, process) for process in family[1:] if process.pid not in parents]
    lines = []
    for rank, process in sorted(ranked or leaves, key=lambda item: (item[0], item[1].pid)):
        place = where(stacks.get(process.pid, ""), own) or process.command[:120]
        name = f"rank {rank} pid {process.inner}" if rank >= 0 else f"pid {process.inner}"
        waits = process.waits_in or _told(stacks.get(process.pid, ""), "WCHAN")
        lines.append(f"{name} {process.state}{f' in {waits}' if waits not in ('', '0') else ''}: {place}")
    return lines


def _rank_of(process: Process, stacks: dict[int, str]) -> str:
    told = process.rank or _told(stacks.get(process.pid, ""), "RANK")
    return told if told.isdecimal() else ""


def _told(dump: str, name: str) -> str:
    """What the driver wrote above the stack of what only the process's own user may read."""
    heads = (line.partition("=") for line in dump.splitlines()[:2])
    return next((value for head, _, value in heads if head == name), "")


def _here(path: str, space: Workspace, job: JobPlan) -> Path | None:
    """Where this host finds a path of a rank; None in a container outside of its box, or led out of it by a link."""
    if not job.in_container:
        return Path(path)
    if not path.startswith(f"{BOX}/"):
        return None
    place = (space.box / path.removeprefix(f"{BOX}/")).resolve()
    return place if place.is_relative_to(space.box.resolve()) else None


def _ask_recorder(job: JobPlan, space: Workspace, family: Iterable[Process]) -> bool:
    """Whether a rank waits at its pipe for the word to write down what it recorded; it is given."""
    import os

    asked = False
    stem = job.env.get(_PIPE, "")
    for rank in {process.rank for process in family if stem and process.rank}:
        pipe = _here(f"{stem}{rank}.pipe", space, job)
        with suppress(OSError):
            if pipe is not None and pipe.is_fifo():
                opened = os.open(pipe, os.O_WRONLY | os.O_NONBLOCK)
                os.write(opened, b"1\n")
                os.close(opened)
                asked = True
    return asked


def _recorded(job: JobPlan, space: Workspace, family: Iterable[Process]) -> list[Path]:
    prefixes = [job.env[name] for name in _DUMPS if job.env.get(name)]
    ranks = sorted({process.rank for process in family if process.rank})
    places = [_here(f"{prefix}{rank}", space, job) for prefix in prefixes for rank in ranks]
    return [place for place in places if place is not None and place.is_file()]
