"""Time limits as sbatch(1) writes them, option --time."""

from __future__ import annotations

import math
import re

from madrun.units import parse_duration

TIME_FORMS = (
    'text as sbatch takes it ("30" minutes, "MM:SS", "HH:MM:SS", "D-HH", "D-HH:MM", "D-HH:MM:SS", "UNLIMITED") '
    'or such as "90m", "1h30m"'
)
UNLIMITED = "UNLIMITED"
_DAY, _HOUR, _MINUTE = 86400, 3600, 60
_DIGITS = re.compile(r"[0-9]{1,9}", re.ASCII)
_CLOCK = re.compile(r"(?:([0-9]+)-)?([0-9]+)(?::([0-9]+))?(?::([0-9]+))?", re.ASCII)


def parse_time(value: str) -> int | None:
    """Seconds of a limit, None for no limit at all (`UNLIMITED`, and 0 as sbatch means it).

    Raises ValueError with what is allowed.
    """
    text = value.strip()
    if text.upper() in (UNLIMITED, "INFINITE"):
        return None
    seconds = _clock(text)
    if seconds is None:
        try:
            seconds = math.ceil(parse_duration(text if text[-1:].isalpha() else ""))
        except ValueError:
            raise ValueError(f"found {text[:40]!r}, allowed: {TIME_FORMS}") from None
    return seconds or None


def _clock(text: str) -> int | None:
    found = _CLOCK.fullmatch(text)
    if found is None or any(part is not None and not _DIGITS.fullmatch(part) for part in found.groups()):
        return None
    days, *rest = found.groups()
    numbers = [int(part) for part in rest if part is not None]
    from_hours = days is not None or len(numbers) == 3  # D-HH[:MM[:SS]] and HH:MM:SS; else MM and MM:SS
    units = (_HOUR, _MINUTE, 1) if from_hours else (_MINUTE, 1, 0)
    return int(days or 0) * _DAY + sum(number * unit for number, unit in zip(numbers, units, strict=False))


def time_text(seconds: int | None) -> str:
    """`D-HH:MM:SS`, the one form that leaves nothing to guess; UNLIMITED for None."""
    if seconds is None:
        return UNLIMITED
    days, rest = divmod(seconds, _DAY)
    return f"{days}-{rest // _HOUR:02d}:{rest % _HOUR // _MINUTE:02d}:{rest % _MINUTE:02d}"
