"""What `madrun-launch` leaves in the box of node 0, and what it finds there: files, one name for each start.

`NAME.request` holds host, directory, words and variables, each ended by NUL; `NAME.ready` says that it is whole. It is
removed as soon as it is read, for it may hold what a script exports of secrets. Then come `NAME.out` and, last,
`NAME.code`.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from madrun.results.regular import NotRegular, open_regular
from madrun.spec.context import VARIABLE_NAME

NAME = re.compile(r"\d{1,10}\.\d{1,5}")
FAILED = 255  # as ssh ends where it cannot start anything


class Unreadable(Exception):
    """The request is none."""


@dataclass(frozen=True, slots=True)
class Request:
    """One start: on which host, in which directory, which text for a shell, with which variables besides the node's."""

    name: str
    host: str
    directory: str
    text: str
    env: dict[str, str]


def parse_request(name: str, data: bytes) -> Request:
    """The request of these bytes; `Unreadable` where they are none."""
    if not data.endswith(b"\0"):
        raise Unreadable("it is not whole")
    parts = data[:-1].decode("utf-8", "surrogateescape").split("\0")
    if not NAME.fullmatch(name) or len(parts) < 3:
        raise Unreadable("it names no host, directory and words")
    env = {}
    for part in parts[3:]:
        variable, equals, value = part.partition("=")
        if equals and VARIABLE_NAME.fullmatch(variable):  # bash exports functions under other names
            env[variable] = value
    return Request(name, parts[0], parts[1], parts[2], env)


def taken(folder: Path, name: str) -> Request:
    """The request of that name, which is gone from the folder then; raises `Unreadable` or `OSError`."""
    place = folder / f"{name}.request"
    try:
        with open_regular(place) as file:
            return parse_request(name, file.read())
    except NotRegular as error:
        raise Unreadable(str(error)) from None
    finally:
        place.unlink(missing_ok=True)


def pending(folder: Path, known: set[str]) -> list[str]:
    """Names of requests that are whole and not among those known."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 - names alone, many times a second
    except OSError:
        return []
    ready = [name.removesuffix(".ready") for name in names if name.endswith(".ready")]
    return sorted(name for name in ready if name not in known and NAME.fullmatch(name))


def answer(folder: Path, name: str, text: str, code: int) -> None:
    """Tells who asked what was printed and how it ended."""
    write_new(folder / f"{name}.out", text.encode("utf-8", "replace"))
    write_new(folder / f"{name}.code", f"{code}\n".encode())


def write_new(place: Path, content: bytes) -> None:
    """Makes the file; `OSError` where anything lies there: a script may have put a link there that leads anywhere."""
    with os.fdopen(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644), "wb") as file:
        file.write(content)
