"""Where the readers read: files, tools, the engine, the kernel. All that fails says why, and none of it is silent."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from madrun.probe.accelerator.tools import Unanswered, ask_tool

_MOST_BYTES = 1 << 20
_TOOL_S = 15.0  # without persistence mode nvidia-smi brings every GPU up first: seconds


class Unreadable(Exception):
    """A source that could not be read; its text says which and why, in words for a user."""


class Source:
    """This host. `root`: where /proc, /sys and /dev are looked for; `tool_limit_s`: how long a tool may take."""

    def __init__(self, root: Path = Path("/"), tool_limit_s: float = _TOOL_S) -> None:
        self.root = root
        self.tool_limit_s = tool_limit_s

    def text(self, path: str) -> str:
        """The text of a file, without white space around it; `Unreadable` where there is none to be had."""
        try:
            return self.bytes_of(path).decode(errors="replace").strip()
        except (OSError, ValueError) as error:
            raise Unreadable(f"/{path}: {_reason(error)}") from None

    def number(self, path: str) -> int:
        """The one whole number in a file; `Unreadable` where there is something else."""
        return whole(self.text(path), f"/{path}")

    def optional(self, path: str) -> str | None:
        """The text of a file that need not be there: None where it is not; `Unreadable` where it cannot be read."""
        try:
            return self.bytes_of(path).decode(errors="replace").strip()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError) as error:
            raise Unreadable(f"/{path}: {_reason(error)}") from None

    def names(self, path: str) -> list[str]:
        """What lies in a folder, sorted; `Unreadable` where it cannot be listed."""
        try:
            return sorted(self.entries_of(path))
        except (OSError, ValueError) as error:
            raise Unreadable(f"/{path}: {_reason(error)}") from None

    def exists(self, path: str) -> bool:
        """Whether something is there; `Unreadable` where that cannot be told."""
        try:
            self.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (OSError, ValueError) as error:
            raise Unreadable(f"/{path}: {_reason(error)}") from None
        return True

    def link(self, path: str) -> str:
        """The name of what a link leads to; empty where there is none, `Unreadable` where that cannot be told."""
        try:
            return self.readlink(path).name
        except FileNotFoundError:
            return ""
        except (OSError, ValueError) as error:
            raise Unreadable(f"/{path}: {_reason(error)}") from None

    def space(self, path: str) -> os.statvfs_result:
        """The file system of a path of the host; `Unreadable` where the kernel does not say."""
        try:
            return self.statvfs(path)
        except OSError as error:
            raise Unreadable(f"/{path.lstrip('/')}: {_reason(error)}") from None

    def tool(self, *argv: str) -> str:
        """What a tool printed; `Unreadable` where it is not there, failed or did not come to an end."""
        try:
            return self.run(argv)
        except Unanswered as error:
            raise Unreadable(str(error)) from None

    # What follows touches the host, and is what tests replace.

    def bytes_of(self, path: str) -> bytes:
        with (self.root / path).open("rb") as file:
            return file.read(_MOST_BYTES)

    def stat(self, path: str) -> os.stat_result:
        return (self.root / path).stat()

    def readlink(self, path: str) -> Path:
        return (self.root / path).readlink()

    def entries_of(self, path: str) -> list[str]:
        return [entry.name for entry in (self.root / path).iterdir()]

    def statvfs(self, path: str) -> os.statvfs_result:
        return os.statvfs(self.root / path.lstrip("/"))

    def run(self, argv: Sequence[str]) -> str:
        return ask_tool(argv, self.tool_limit_s)

    def engine_info(self, name: str) -> Mapping[str, Any]:
        """What the engine answers to /info. `Unreadable` where it does not."""
        from docker.errors import DockerException

        from madrun.errors import EngineError
        from madrun.probe.engine import connect

        try:
            client, _ = connect("podman" if name == "podman" else "docker")
            found: Mapping[str, Any] = client.info()
        except (EngineError, DockerException, OSError) as error:
            raise Unreadable((str(error).splitlines() or [type(error).__name__])[0][:300]) from None
        return found

    def addresses_of(self, name: str) -> list[str]:
        """Addresses of a name; none where the name means nothing, `Unreadable` where that could not be asked."""
        try:
            found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
        except socket.gaierror as error:
            if error.errno in (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)):
                return []
            raise Unreadable(f"the address of {name} could not be asked for: {error.strerror}") from None
        except (OSError, UnicodeError) as error:
            raise Unreadable(f"the address of {name} could not be asked for: {error}") from None
        return list(dict.fromkeys(str(entry[4][0]) for entry in found))

    def timex(self) -> bytes:
        """The kernel's `struct timex` (adjtimex(2)) of a call that changes nothing. Raises `OSError`."""
        import ctypes

        buffer = ctypes.create_string_buffer(512)
        if ctypes.CDLL(None, use_errno=True).adjtimex(buffer) < 0:
            error = ctypes.get_errno()
            raise OSError(error, os.strerror(error))
        return buffer.raw

    def wait(self, seconds: float) -> float:
        """Waits, and tells how many seconds that took."""
        started = time.monotonic()
        time.sleep(seconds)
        return time.monotonic() - started


def whole(text: str, where: str) -> int:
    """The text as a whole number; `Unreadable` says where something else was found."""
    if text.isascii() and text.removeprefix("-").isdecimal() and len(text) <= 20:
        return int(text)
    raise Unreadable(f"{where}: found {text[:40]!r}, which is not a number")


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
