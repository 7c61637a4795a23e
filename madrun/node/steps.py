"""What the driver reports: a file of lines `TIME STEP [VALUE]`, read as it grows."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_CODE = re.compile(r"[0-9]{1,3}")


@dataclass(frozen=True, slots=True)
class Step:
    """One step; `at` is the container's clock in seconds since the epoch, 0 where its bash has none."""

    at: float
    name: str
    value: str = ""


class Steps:
    """Reads new whole lines on each call; a line that is still being written waits for the next call."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: dict[str, Step] = {}
        self._file = path.open("rb")
        self._rest = b""

    def read(self) -> dict[str, Step]:
        """Every step seen so far by name; the first of a name counts."""
        text = self._rest + self._file.read()
        *lines, self._rest = text.split(b"\n")
        for line in lines:
            step = parse_step(line.decode("utf-8", "replace"))
            self.seen.setdefault(step.name, step)
        return self.seen

    def close(self) -> None:
        """Reads what is left, and closes the file."""
        self.read()
        self._file.close()


def parse_step(line: str) -> Step:
    """`1795234616.49 exit 3`; some locales write the time with a comma."""
    clock, _, rest = line.partition(" ")
    name, _, value = rest.partition(" ")
    try:
        at = float(clock.replace(",", "."))
    except ValueError:
        at = 0.0
    return Step(at, name, value)


def exit_code(steps: dict[str, Step]) -> int | None:
    """The script's exit code, by its own shell or, where that died, by the driver; None while it runs."""
    step = steps.get("exit") or steps.get("gone")
    return int(step.value) if step and _CODE.fullmatch(step.value) else None
