"""The files of a card as the script will see them, and their hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from madrun.errors import CardError

_IGNORED = {"__pycache__", ".git", ".mypy_cache", ".pytest_cache", ".ruff_cache"}


def work_files(folder: Path, files: tuple[str, ...]) -> dict[str, Path]:
    """Name in the work directory -> file: the card's folder, then `files` by their base names."""
    found = {str(path.relative_to(folder)): path for path in _walk(folder)}
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
        add_file(digest, name, path)
    return digest.hexdigest()


def add_file(digest: hashlib._Hash, name: str, path: Path) -> None:
    """Adds one file to a tree hash; the caller adds files in sorted order."""
    content = hashlib.sha256(path.read_bytes()).hexdigest()
    executable = "x" if os.access(path, os.X_OK) else "-"
    digest.update(f"{name}\0{executable}\0{content}\n".encode())


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.name in _IGNORED:
            continue
        if entry.is_dir():
            yield from _walk(entry)
        elif entry.is_file():
            yield entry
