"""What the context says of ssh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from madrun.errors import ContextError
from madrun.spec.validation import Invalid, validate


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSettings:
    """`hosts`: in the order of the ranks."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "coerce_numbers_to_str": True}

    hosts: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.hosts.split(","))


def read(values: Mapping[str, Any], nnodes: int | None) -> tuple[SshSettings, int]:
    try:
        settings = validate(SshSettings, dict(values), strict=False)
    except Invalid as invalid:
        raise ContextError("\n".join(f"ssh.{problem.key}: {problem.text}" for problem in invalid.problems)) from None
    if not settings.hosts:
        raise ContextError("--on ssh: found no hosts; allowed: --hosts a,b")
    return settings, len(settings.names)
