"""What the context says of ssh: the keys of `ssh`, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge

from madrun.backends.settings import checked
from madrun.backends.ssh.hosts import Host, parse_hosts, slots_of
from madrun.errors import ContextError
from madrun.units import parse_duration

_HOSTS = "--hosts (ssh.hosts)"


@dataclass(frozen=True, slots=True, kw_only=True)
class SshSettings:
    """How nodes are reached, and how they get what they lack.

    `hosts`: in the order of the ranks; after `read` one entry a host, `name` or `name slots=N`. `fanout`: hosts that
    are spoken to at a time. `connect_timeout`: for one connection, seconds or text. `options`: further words for
    `ssh -o`. `folder`: on the nodes, where what is carried there lies. `madrun`, `repository`, `images`: whether each
    is there already (`installed`, `shared`, `registry`), is brought, or is looked for first (`auto`). `exclude`:
    patterns of what of the repository is not brought. `tree`: images go from node to node. `master_addr`:
    the address of the first host for all others, where the one that is found is not it.
    """

    __pydantic_config__: ClassVar[Mapping[str, object]] = {"extra": "forbid", "coerce_numbers_to_str": True}

    hosts: str | tuple[str, ...] = ""
    fanout: Annotated[int, Ge(1)] = 64
    connect_timeout: int | float | str = "10s"
    options: tuple[str, ...] = ()
    folder: str = "~/.cache/madrun"
    madrun: Literal["auto", "installed", "carry"] = "auto"
    repository: Literal["auto", "shared", "copy", "git"] = "auto"
    images: Literal["auto", "registry", "copy"] = "auto"
    exclude: tuple[str, ...] = ()
    tree: bool = False
    master_addr: str = ""

    @property
    def nodes(self) -> tuple[Host, ...]:
        """The hosts, in the order of the ranks; no file is read any more."""
        entries = self.hosts.split(",") if isinstance(self.hosts, str) else self.hosts
        return parse_hosts(entries, _no_file, _HOSTS)

    @property
    def names(self) -> tuple[str, ...]:
        """The hosts as ssh knows them, in the order of the ranks."""
        return tuple(host.name for host in self.nodes)

    @property
    def nproc_per_node(self) -> int:
        """Processes of each node where the hosts say it, else 0; `ContextError` where they say different numbers."""
        return slots_of(self.nodes, _HOSTS)

    @property
    def connect_s(self) -> float:
        """Seconds for one connection."""
        return parse_duration(self.connect_timeout)


def _no_file(name: str) -> str | None:
    return None


def read_text(name: str) -> str | None:
    """The text of a file of this host; None where there is no such file, `ContextError` where it cannot be read."""
    try:
        return Path(name).expanduser().read_text(encoding="utf-8")
    except UnicodeDecodeError:
        why = "is no text in UTF-8"
    except PermissionError as error:
        why = f"cannot be read: {error.strerror}"
    except (OSError, RuntimeError, ValueError):
        return None
    raise ContextError(f"hosts: the file {name} {why}; allowed: a file with one host a line")


def read(
    values: Mapping[str, Any],
    nnodes: int | None,
    read_file: Callable[[str], str | None] = read_text,
    *,
    env: Mapping[str, str] = {},
) -> tuple[SshSettings, int]:
    """The settings, with the first `nnodes` of the hosts where a number is said, and how many these are.

    `ContextError` for a wrong key or value, for hosts that are none, and for fewer hosts than nodes.
    """
    settings = check(values)
    if not settings.hosts:
        raise ContextError(
            "--on ssh: found no hosts; allowed: --hosts a,b or node[01-16] or a file with one host a line, or the key "
            "ssh.hosts of the site file or the context"
        )
    hosts = parse_hosts(settings.hosts, read_file, _HOSTS)
    if nnodes and nnodes > len(hosts):
        raise ContextError(f"{_HOSTS}: found {len(hosts)} hosts for {nnodes} nodes; allowed: as many or more")
    taken = hosts[: nnodes or len(hosts)]
    return replace(settings, hosts=tuple(map(str, taken))), len(taken)


def check(values: Mapping[str, Any]) -> SshSettings:
    """The settings of these values; the hosts are still as they were said. `ContextError` for a wrong key or value."""
    settings = checked(SshSettings, "ssh", values)
    try:
        if settings.connect_s < 1:
            raise ValueError(f"found {settings.connect_timeout!r}, allowed: a second or more")
    except ValueError as error:
        raise ContextError(f"ssh.connect_timeout: {error}") from None
    if wrong := [word for word in settings.options if "=" not in word or not word[:1].isalpha()]:
        raise ContextError(f"ssh.options: found {wrong[0]!r}, allowed: words as ssh -o takes them: Port=2222")
    if not settings.folder.startswith(("/", "~/")):
        raise ContextError(f"ssh.folder: found {settings.folder!r}, allowed: a path from / or from ~/")
    return settings
