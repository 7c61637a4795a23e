"""Durations and sizes: parse what people write, print what people read."""

from __future__ import annotations

import re

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_BYTES = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|min|s|m|h|d)\s*")
_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?", re.IGNORECASE)
DURATION_FORMS = 'seconds as a number, or text such as "90s", "30m", "2h", "1h30m"'
SIZE_FORMS = 'bytes as a number, or text such as "512m", "16g" (powers of 1024)'


def parse_duration(value: object) -> float:
    """Seconds meant by a number or by text such as `1h30m`; ValueError says what is allowed."""
    if isinstance(value, bool):
        raise ValueError(f"found {value!r}, allowed: {DURATION_FORMS}")
    if isinstance(value, (int, float)):
        return _finite_positive(float(value), value, DURATION_FORMS)
    text = str(value).strip().lower()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    end, total = 0, 0.0
    for part in _DURATION_PART.finditer(text):
        if part.start() != end:
            break
        end, total = part.end(), total + float(part[1]) * _SECONDS[part[2]]
    if not text or end != len(text):
        raise ValueError(f"found {value!r}, allowed: {DURATION_FORMS}")
    return total


def parse_size(value: object) -> int:
    """Bytes meant by a number or by text such as `16g`; ValueError says what is allowed."""
    if isinstance(value, bool):
        raise ValueError(f"found {value!r}, allowed: {SIZE_FORMS}")
    if isinstance(value, (int, float)):
        return int(_finite_positive(float(value), value, SIZE_FORMS))
    match = _SIZE.fullmatch(str(value).strip())
    if not match:
        raise ValueError(f"found {value!r}, allowed: {SIZE_FORMS}")
    return int(float(match[1]) * _BYTES[match[2].lower()])


def _finite_positive(number: float, value: object, forms: str) -> float:
    if not 0 <= number < float("inf"):
        raise ValueError(f"found {value!r}, allowed: {forms}")
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
    """`512 B`, `16.0 KiB`, `1.50 GiB`."""
    number = float(size)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1024
    raise AssertionError("unreachable")
