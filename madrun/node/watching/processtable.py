"""The processes of a box as this host's /proc shows them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from madrun.probe.telemetry.processes import family, table

_STATES = {
    "R": "running",
    "S": "sleeping",
    "D": "waiting for a device",
    "T": "stopped",
    "t": "traced",
    "Z": "ended, not collected",
    "I": "idle",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """One process. `inner` is its number in its own container; `rank` is empty where it has none or may not be read."""

    pid: int
    inner: int
    parent: int
    state: str
    waits_in: str
    command: str
    name: str
    rank: str
    threads: tuple[str, ...] = ()
    stack: str = ""

    @property
    def is_python(self) -> bool:
        """By what it was started as, or by the name that torch gives its ranks."""
        first = self.command.partition(" ")[0].rpartition("/")[2]
        return first.startswith("python") or self.name.startswith(("python", "pt_main_thread"))

    @property
    def doing(self) -> str:
        """`sleeping in poll`."""
        return self.state + (f" in {self.waits_in}" if self.waits_in else "")

    def described(self) -> str:
        """All that is known of it, over several lines."""
        rank = f" rank {self.rank}" if self.rank else ""
        head = (
            f"pid {self.pid} (inside {self.inner}) parent {self.parent}{rank} {self.doing}: {self.command or self.name}"
        )
        stack = [f"    {line}" for line in self.stack.splitlines()]
        return "\n".join([head, *(f"  thread {thread}" for thread in self.threads), *stack])


def drives(pid: int, proc: Path = Path("/proc")) -> bool:
    """Whether this is a driver, or the supervisor of one: the number may be that of a process on another host."""
    return "/driver.sh" in _read(proc / str(pid) / "cmdline")


def processes_of(pid: int, proc: Path = Path("/proc")) -> Iterator[Process]:
    """The process and its descendants, parents first."""
    for number, words in family(pid, table(str(proc))).items():
        yield _process(proc / str(number), number, words)


def _process(home: Path, pid: int, words: list[str]) -> Process:
    namespaces = [line for line in _read(home / "status").splitlines() if line.startswith("NSpid:")]
    environment = _read(home / "environ").split("\0")
    return Process(
        pid=pid,
        inner=int(namespaces[0].split()[-1]) if namespaces else pid,
        parent=int(words[1]),
        state=_STATES.get(words[0], words[0]),
        waits_in=_waits_in(home),
        command=_read(home / "cmdline").replace("\0", " ").strip(),
        name=_read(home / "comm").strip(),
        rank=next((word[5:] for word in environment if word.startswith("RANK=") and word[5:].isdecimal()), ""),
        threads=tuple(_threads(home, pid)),
        stack=_read(home / "stack"),
    )


def _threads(home: Path, pid: int) -> Iterator[str]:
    """Every thread but the first, which is the process itself."""
    try:
        tasks = sorted((home / "task").iterdir(), key=lambda task: int(task.name))
    except (OSError, ValueError):
        return
    for task in tasks:
        text = _read(task / "stat")
        if task.name != str(pid) and text:
            name, _, rest = text.partition("(")[2].rpartition(")")
            waits = _waits_in(task)
            yield f"{task.name} {name} {_STATES.get(rest.split()[0], '?')}" + (f" in {waits}" if waits else "")


def _waits_in(home: Path) -> str:
    """The kernel's function in which it sleeps; empty where it does not, or where that is not told."""
    name = _read(home / "wchan").strip()
    return "" if name == "0" else name


def _read(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
