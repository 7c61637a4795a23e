"""The files that an image is built from, as the builder gets them, and their hash.

Modes are reduced to the executable bit, owners and times are left out: a checkout under another umask or user is the
same context and makes the same image.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path

from madrun.errors import CardError
from madrun.registry.cardtree import IGNORED, read_text, text_name
from madrun.registry.dockerignore import Hits, Pattern, match, read_patterns
from madrun.spec.dockerfile import TOOLS


@dataclass(frozen=True, slots=True)
class BuildContext:
    """Name -> path of every entry that is sent, folders and links as such, in order; and the hash of it all."""

    entries: dict[str, Path]
    hash: str


_LARGE = 1 << 20
# At the root of a repository: what runs leave there, and what no image may hold.
_NOT_OF_THE_REPOSITORY = ("results", "run_directory", "credential.json", "build_manifest.json", "common_info.json")
_LEFT_BY_RUNS = ("perf*.csv", "perf*.json", "perf*.html", "*.live.log")


def build_context(
    dockerfile: Path, sent: Path | None = None, tools: Path | None = None, whole_repository: bool = False
) -> BuildContext:
    """The folder without what its .dockerignore leaves out; `CardError` names what cannot be sent.

    `sent`: the folder, default that of the Dockerfile. `tools`: a folder that is sent beside it, below `TOOLS`, for a
    Dockerfile that copies from it. `whole_repository`: `sent` is the root, where runs leave their files: they would
    make another image of each build.

    `<name of the Dockerfile>.dockerignore` counts before `.dockerignore`, whichever builder there is: the recipe must
    not depend on it. The Dockerfile itself is always sent; version control and Python's caches never are.
    """
    folder = sent or dockerfile.parent
    patterns = _patterns(dockerfile, folder)
    try:
        entries = dict(_walk(folder, folder, patterns, ()))
        if whole_repository:
            entries = {name: path for name, path in entries.items() if not _left_by_runs(name)}
        if tools is not None:
            entries |= {TOOLS: tools}
            entries |= {f"{TOOLS}/{name}": path for name, path in _walk(tools, tools, (), ())}
        entries[place_of(dockerfile, folder)] = dockerfile
        entries = dict(sorted(entries.items()))
        return BuildContext(entries, _hash(entries))
    except OSError as error:
        raise CardError(
            f"{error.filename or folder}: cannot be read: {error.strerror}; it is part of the build context of "
            f"{dockerfile}: make it readable or name it in .dockerignore"
        ) from None


def _left_by_runs(name: str) -> bool:
    first = name.partition("/")[0]
    return first in _NOT_OF_THE_REPOSITORY or any(fnmatchcase(name, pattern) for pattern in _LEFT_BY_RUNS)


def place_of(dockerfile: Path, sent: Path) -> str:
    """The Dockerfile's name in the context; one that lies outside is sent at its root."""
    inside = dockerfile.is_relative_to(sent)
    return str(dockerfile.relative_to(sent)) if inside else dockerfile.name


def _patterns(dockerfile: Path, folder: Path) -> tuple[Pattern, ...]:
    for file in (dockerfile.with_name(f"{dockerfile.name}.dockerignore"), folder / ".dockerignore"):
        if file.is_file():
            return read_patterns(read_text(file), str(file))
    return ()


def _walk(folder: Path, top: Path, patterns: tuple[Pattern, ...], above: Hits) -> Iterator[tuple[str, Path]]:
    """What is not left out, each after the folders that hold it."""
    exceptions = any(pattern.exception for pattern in patterns)
    for entry in sorted(folder.iterdir()):
        if entry.name in IGNORED:
            continue
        name = text_name(entry.relative_to(top), top)
        out, hits = match(name, patterns, above)
        if entry.is_dir() and not entry.is_symlink():
            inside = [] if out and not exceptions else list(_walk(entry, top, patterns, hits))
            if not out or inside:
                yield name, entry
            yield from inside
        elif not out and (entry.is_symlink() or entry.is_file()):
            yield name, entry


def _hash(entries: dict[str, Path]) -> str:
    """Hex SHA-256 over kinds, names, and contents or targets of links."""
    digest = hashlib.sha256()
    for name, path in entries.items():
        digest.update(f"{name}\0{_describe(path)}\n".encode())
    return digest.hexdigest()


def _describe(path: Path) -> str:
    if path.is_symlink():
        return f"link\0{text_name(path.readlink(), path)}"
    if path.is_dir():
        return "folder"
    status = path.stat()
    kind = "program" if status.st_mode & 0o111 else "file"
    if status.st_size < _LARGE:
        return f"{kind}\0{_content(path)}"
    return f"{kind}\0{_content_of_large(path, (status.st_ino, status.st_size, status.st_mtime_ns))}"


@lru_cache(maxsize=4096)
def _content_of_large(path: Path, _state: tuple[int, int, int]) -> str:
    """Read once in a command: dozens of cards may share one context."""
    return _content(path)


def _content(path: Path) -> str:
    content = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            content.update(chunk)
    return content.hexdigest()
