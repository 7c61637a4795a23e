"""Every error a caller of madrun can meet, and the exit code each one ends with.

    MadrunError                 1  internal, unless a subclass says otherwise
    ├── UsageError              2  flags, tags, repository
    │   ├── CardError           2  a card file is wrong
    │   ├── DataError           2  a data source or mirror directory is missing
    │   ├── EngineError         2  no container engine, or it refused
    │   ├── BuildError          2  an image could not be built or pulled
    │   └── HostsError          2  hosts cannot take part
    ├── ContextError            4  a value of the context is wrong or contradicts this host
    └── NodesError              3  the nodes could not become one run

Texts say where, what was found, what is allowed, what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum


class ExitCode(IntEnum):
    """What the process ends with; part of the public contract."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    RUN_FAILED = 3
    BAD_CONTEXT = 4
    REGRESSION = 5
    NO_COMPARISON = 6
    INTERRUPTED = 130


class MadrunError(Exception):
    """Base of all errors that madrun raises on purpose."""

    exit_code: ExitCode = ExitCode.INTERNAL


class UsageError(MadrunError):
    """The command cannot be carried out as typed."""

    exit_code = ExitCode.USAGE


class CardError(UsageError):
    """A card file is wrong; the text starts with file and line."""


class DataError(UsageError):
    """A data source or a mirror directory is missing or unusable."""


class EngineError(UsageError):
    """No container engine answers, or it refused what cannot be left out."""


class BuildError(UsageError):
    """An image could not be built or pulled; the text ends with the last lines of the log."""


class HostsError(UsageError):
    """Hosts cannot take part; `hosts` says of each why, by its name."""

    def __init__(self, text: str, hosts: Mapping[str, str]) -> None:
        super().__init__(text)
        self.hosts = dict(hosts)


class ContextError(MadrunError):
    """A value of the context is wrong; the text names the layer and the key."""

    exit_code = ExitCode.BAD_CONTEXT


class NodesError(MadrunError):
    """The nodes could not become one run, or one of them was lost."""

    exit_code = ExitCode.RUN_FAILED
