"""The files of a card as the script will see them, and their hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from madrun.errors import CardError

IGNORED = {"__pycache__", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def work_files(folder: Path, files: tuple[str, ...], repository: Path | None = None) -> dict[str, Path]:
    """Name in the work directory -> file: the card's folder, then `files` by their base names.

    Links to folders are followed inside the repository alone (default: inside the folder); `CardError` names what
    cannot be taken along.
    """
    root = (repository or folder).resolve()
    try:
        found = {text_name(path.relative_to(folder), folder): path for path in _walk(folder, root, ())}
    except OSError as error:
        raise CardError(f"{error.filename or folder}: cannot be read: {error.strerror}") from None
    for name in files:
        path = (folder / name).resolve()
        if path.name in found:
            raise CardError(f"{folder}: files: {name!r} would replace the card's own {path.name}")
        found[path.name] = path
    return dict(sorted(found.items()))


def tree_hash(files: dict[str, Path]) -> str:
    """Hex SHA-256 over names, executable bits and contents."""
    digest = hashlib.sha256()
    for name, path in files.items():
        try:
            add_file(digest, name, path)
        except OSError as error:
            raise CardError(f"{path}: cannot be read: {error.strerror}; it is one of the card's files") from None
    return digest.hexdigest()


def add_file(digest: hashlib._Hash, name: str, path: Path) -> None:
    """Adds one file to a tree hash; the caller adds files in sorted order."""
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    executable = "x" if os.access(path, os.X_OK) else "-"
    digest.update(f"{name}\0{executable}\0{content}\n".encode())


def read_text(path: Path) -> str:
    """The text of one of the card's files, without a byte order mark; `CardError` where it is not UTF-8 or unread."""
    try:
        return path.read_text(encoding="utf-8").removeprefix("\ufeff")
    except OSError as error:
        raise CardError(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise CardError(f"{path}: found bytes that are not UTF-8 at {error.start}, allowed: UTF-8 text") from None


def text_name(path: Path, folder: Path) -> str:
    """The path as text that has an encoding: it goes into hashes, plans and the archive for an image."""
    name = str(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        raise CardError(f"{folder}: found the file name {name!r}, which is not UTF-8; rename the file") from None
    return name


def _walk(folder: Path, root: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """Every file below; `above`: the real folders that led here."""
    here = folder.resolve()
    if here in above:
        raise CardError(f"{folder}: leads back to {here}, which holds it: a loop of links; remove the link")
    for entry in sorted(folder.iterdir()):
        if entry.name in IGNORED:
            continue
        if entry.is_dir():
            if entry.is_symlink() and not entry.resolve().is_relative_to(root):
                raise CardError(
                    f"{entry}: a link to the folder {entry.resolve()}, outside {root}; allowed: folders inside; "
                    "mount others with docker_mounts, or name them as data"
                )
            yield from _walk(entry, root, (*above, here))
        elif entry.is_file():
            yield entry
