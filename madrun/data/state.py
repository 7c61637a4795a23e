"""What a data source looks like from outside: cheap to know, and another one where files came, went or were written."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

MOST_ENTRIES = 1_000  # files and folders; more would keep a run on a slow network file system from starting


def data_states(sources: Mapping[str, str], mirrors: Mapping[str, str]) -> dict[str, str]:
    """The state of each source by name, of its mirror where that has been made; what cannot be read is left out."""
    found = {}
    for name, path in sources.items():
        here = path if Path(path).exists() else mirrors.get(name, "")
        state = data_state(Path(here)) if here else ""
        if state:
            found[name] = state
    return found


def data_state(path: Path, most: int = MOST_ENTRIES) -> str:
    """`2 files, 345 bytes, newest 2026-11-21T08:00:00Z`, of the first `most` entries; empty where none can be read.

    Contents are not read: a file that was written with its size and time kept is not seen.
    """
    count = size = entries = 0
    newest = 0.0
    try:
        for entry, is_file in islice(_entries(path), most + 1):
            entries += 1
            if is_file and entries <= most:
                stat = entry.stat()
                count, size, newest = count + 1, size + stat.st_size, max(newest, stat.st_mtime)
    except OSError:
        return ""
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(newest)) if count else "never"
    bound = f" (of the first {most} entries alone)" if entries > most else ""
    return f"{count} {'file' if count == 1 else 'files'}, {size} bytes, newest {at}{bound}"


def _entries(path: Path) -> Iterator[tuple[Path, bool]]:
    """Every file and folder below, and whether it is a file; links to folders are not followed."""
    if not path.is_dir():
        yield path, True
        return
    folders = [path]
    while folders:
        with os.scandir(folders.pop()) as found:
            for entry in found:
                inside = Path(entry.path)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(inside)
                    yield inside, False
                else:
                    yield inside, entry.is_file()
