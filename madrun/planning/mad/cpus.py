"""`docker_cpus`: which CPUs a container may use."""

from __future__ import annotations

import re

from madrun.errors import ContextError

_LIST = re.compile(r"[0-9]+(-[0-9]+)?(,[0-9]+(-[0-9]+)?)*")


def cpu_list(text: str | None) -> str:
    """The list as the kernel reads it, `0-3,8`, without blanks; empty where none is given."""
    words = re.sub(r"\s+", "", text or "")
    if words and (not _LIST.fullmatch(words) or _backwards(words)):
        raise ContextError(f"docker_cpus: found {text!r}, allowed: CPUs of this host such as '0-3,8'")
    return words


def _backwards(words: str) -> bool:
    ranges = (word.partition("-") for word in words.split(","))
    return any(last and int(last) < int(first) for first, _, last in ranges)
