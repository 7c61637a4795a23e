"""What every runtime offers once a driver has been started."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from madrun.runtimes.outside import Trouble

Sink = Callable[[bytes], None]


class Box(Protocol):
    """One started driver with all it starts. Output goes to the sink it was opened with, until it ends."""

    @property
    def deviations(self) -> tuple[str, ...]:
        """What the engine refused of the plan, in words; empty where the plan was carried out to the letter."""

    @property
    def image_id(self) -> str:
        """Id of the image that was really used; empty without an image."""

    @property
    def pid(self) -> int | None:
        """Process id of the driver as this host sees it; None where it cannot be seen from here."""

    @property
    def trouble(self) -> Trouble:
        """What was done to it from outside, as last seen: `paused`, or `engine` where that has gone; else empty."""

    def ask(self) -> Trouble:
        """The same, looked at anew."""

    def send(self, line: str) -> None:
        """Gives the driver one line; a driver that has ended is no error."""

    def wait(self, timeout_s: float) -> int | None:
        """Exit code once driver, output and everything inside have gone; None while they have not."""

    def kill(self) -> None:
        """Ends everything inside at once."""
