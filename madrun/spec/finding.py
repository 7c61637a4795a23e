"""What a look at a host or a container has found: one line of `madrun doctor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["PASS", "WARN", "FAIL", "UNKNOWN"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """`name`: what was looked at; `text`: what was found, with units; `advice`: what to do, empty where all is well.

    UNKNOWN: the source could not be read, and `text` says why; such a finding never passes. `source`: where the advice
    comes from, a page or a manual.
    """

    name: str
    state: State
    text: str
    advice: str = ""
    source: str = ""
