"""The repository as one archive for pods, which have no file system of this host."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
from collections.abc import Sequence
from pathlib import Path

from madrun.backends.carry.tree import listing_of
from madrun.errors import UsageError


def pack(repository: Path, without: Sequence[str], left_out: Sequence[Path], most: int) -> bytes:
    """The working tree as every backend carries it, the same bytes for the same files.

    `UsageError` where its files hold more than `most` bytes even before they are packed.
    """
    listing = listing_of(repository, without, left_out)
    size = sum(seen.st_size for _, seen in listing.found if stat.S_ISREG(seen.st_mode))
    if size > most:
        largest, seen = max(listing.found, key=lambda one: one[1].st_size)
        raise UsageError(
            f"--on kubernetes: {repository} holds {size >> 20} MiB, too much to be given to pods; its largest file is "
            f"{largest.relative_to(repository)} ({seen.st_size >> 20} MiB). Leave files out with "
            "kubernetes.exclude, or put the repository into the image or on a claim and give its path there as --set "
            "kubernetes.repository=/PATH"
        )
    made = io.BytesIO()
    with gzip.GzipFile(fileobj=made, mode="wb", mtime=0) as packed, tarfile.open(fileobj=packed, mode="w") as archive:
        for path, _ in listing.found:
            _add(archive, path, path.relative_to(repository).as_posix())
    return made.getvalue()


def _add(archive: tarfile.TarFile, path: Path, name: str) -> None:
    entry = archive.gettarinfo(str(path), name)
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    if entry.isfile():
        with path.open("rb") as file:
            archive.addfile(entry, file)
    elif entry.issym() or entry.isdir():
        archive.addfile(entry)
