"""What a backend needs of the command that drives it: its interrupt, and where it says something."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Protocol


class Head(Protocol):
    """The command that a user typed, as a backend sees it."""

    @property
    def stop(self) -> threading.Event:
        """Set once a signal came."""

    @property
    def reason(self) -> str:
        """Which signal it was, in words."""

    @property
    def count(self) -> int:
        """How many signals came: after the second one nothing is waited for."""

    @property
    def env(self) -> Mapping[str, str]:
        """The environment in which it was typed."""

    def say(self, text: str) -> None:
        """A line of madrun's own, on standard error."""

    def show(self, data: bytes) -> None:
        """What node 0 printed on standard output, as it came."""

    def tell(self, data: bytes) -> None:
        """What node 0 printed on standard error, as it came."""
