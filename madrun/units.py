"""Durations and sizes: parse what people write, print what people read."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DURATION_PART = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|min|s|m|h|d)\s*")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
DURATION_FORMS = 'seconds as a number from 0, or text such as "90s", "30m", "2h", "1h30m"'
SIZE_FORMS = 'bytes as a number, or text such as "512m", "16g" (powers of 1024)'


def parse_duration(value: object) -> float:
    """Seconds meant by a number or by text such as `1h30m`; ValueError says what is allowed."""
    return _finite(_seconds(value), value, DURATION_FORMS)


def _seconds(value: object) -> float | None:
    if isinstance(value, (int, float)):
        return _as_float(value)
    text = str(value).strip().lower()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", text):
        return float(text)
    end, total = 0, 0.0
    for part in _DURATION_PART.finditer(text):
        if part.start() != end:
            break
        end, total = part.end(), total + float(part[1]) * _SECONDS[part[2]]
    return total if text and end == len(text) else None


def parse_size(value: object) -> int:
    """Bytes meant by a number or by text such as `16g`; ValueError says what is allowed."""
    if isinstance(value, (int, float)):
        return int(_finite(_as_float(value), value, SIZE_FORMS))
    match = _SIZE.fullmatch(str(value).strip())
    return int(_finite(float(match[1]) * _BYTES[match[2].lower()] if match else None, value, SIZE_FORMS))


def _as_float(value: float) -> float | None:
    """None for what only looks like a number: a truth value, or one beyond all floats."""
    try:
        return None if isinstance(value, bool) else float(value)
    except OverflowError:
        return None


def _finite(number: float | None, value: object, forms: str) -> float:
    if number is None or not 0 <= number < float("inf"):
        shown = repr(value) if len(repr(value)) <= 40 else repr(value)[:40] + "..."
        raise ValueError(f"found {shown}, allowed: {forms}")
    return number


def format_duration(seconds: float) -> str:
    """`0.34 s`, `12.3 s`, `2m05s`, `1h02m`: three figures at most."""
    if seconds < 10:
        return f"{seconds:.2f} s"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}m{rest:02d}s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}m"


def format_size(size: int) -> str:
    """`512 B`, `16 KiB`, `1.5 GiB`: three figures at most."""
    number = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < (1024 if unit == "B" else 999.5) or unit == "TiB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1024
    raise AssertionError("unreachable")
