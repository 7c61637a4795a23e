"""suite.yaml: a name, what all cases have in common, and the cases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

from annotated_types import Ge

from madrun.errors import CardError, UsageError
from madrun.registry.yamlsource import line_of, read_yaml
from madrun.spec.validation import Invalid, validate

_STRICT: Mapping[str, object] = {"extra": "forbid"}
Place = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A case as it is written, or as many as its sweep makes of it.

    `context` and `sweep` have keys of the context; `args` are added after the script's arguments; `env` is NAME=VALUE,
    or NAME with the value of this host.
    """

    __pydantic_config__: ClassVar[Mapping[str, object]] = _STRICT

    name: str | None = None
    tags: str | tuple[str, ...] | None = None
    context: dict[str, Any] = field(default_factory=dict)
    args: str | tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    nnodes: Annotated[int, Ge(1)] | None = None
    repeat: Annotated[int, Ge(1)] = 1
    timeout: float | str | None = None
    sweep: dict[str, tuple[Any, ...]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteFile:
    """The whole file; `defaults` is a context that every case has."""

    __pydantic_config__: ClassVar[Mapping[str, object]] = _STRICT

    cases: tuple[Entry, ...]
    name: str | None = None
    defaults: dict[str, Any] = field(default_factory=dict)
    retry_bad_node: Annotated[int, Ge(0)] = 1


@dataclass(frozen=True, slots=True)
class Source:
    """A suite file that was read, and where each of its keys stands."""

    path: Path
    file: SuiteFile

    def where(self, *keys: str | int) -> str:
        """`suite.yaml:12: cases.1.tags`, as errors begin."""
        return f"{self.path}:{line_of(self.path, keys)}: {'.'.join(map(str, keys))}"


def read_suite(path: Path) -> Source:
    """The file; `UsageError` lists every wrong place with file and line."""
    if not path.is_file():
        raise UsageError(f"{path} does not exist or is not a file; allowed: a suite file, or the id of a suite")
    try:
        data = read_yaml(path)
    except CardError as error:
        raise UsageError(str(error)) from None
    if not isinstance(data, dict):
        raise UsageError(f"{path}:1: found {type(data).__name__}, allowed: a map with name, defaults and cases")
    try:
        file = validate(SuiteFile, data, strict=True)
    except Invalid as invalid:
        texts = [f"{path}:{line_of(path, one.path)}: {one.key}: {one.text}" for one in invalid.problems]
        raise UsageError("\n".join(texts)) from None
    if not file.cases:
        raise UsageError(f"{path}:{line_of(path, ('cases',))}: cases: found none, allowed: a list of cases")
    return Source(path, file)
