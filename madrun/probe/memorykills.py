"""Processes that the kernel of this host has killed for want of memory."""

from __future__ import annotations

from pathlib import Path


def host_oom_kills(root: Path = Path("/")) -> float | None:
    """How many since it started; None where it does not tell."""
    try:
        lines = (root / "proc/vmstat").read_text().splitlines()
    except OSError:
        return None
    told = (line.split() for line in lines if line.startswith("oom_kill "))
    return next((float(words[1]) for words in told if len(words) == 2 and words[1].isdecimal()), None)
