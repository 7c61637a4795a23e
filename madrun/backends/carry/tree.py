"""A folder as it lies on the launching host: every file by its content."""

from __future__ import annotations

import fnmatch
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from madrun.backends.carry.there.store import digest_of
from madrun.errors import UsageError
from madrun.spec.launch import SITE_FILE

MOST_BYTES, MOST_FILES = 2 << 30, 100_000
_NEVER = (".git", ".hg", ".svn", "__pycache__", ".venv*")
_BIGGEST = 3
_CREDENTIALS = (
    *("credential*.json", ".env", ".env.*", ".netrc", ".npmrc", ".pypirc", ".git-credentials", "*.pem", "*.p12"),
    *("*.pfx", "*.keytab", "id_rsa", "id_ecdsa", "id_ed25519", "*kubeconfig*"),
)
_KEEPERS = frozenset((".ssh", ".aws", ".kube", ".docker", ".gnupg"))  # folders of nothing else
_TAG = b"Signature: 8a477f597d28d172789f06886806bc55"  # bford.info/cachedir: pytest, mypy and ruff write it


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """What of a folder is carried: paths with their states, none read yet."""

    root: Path
    found: tuple[tuple[Path, os.stat_result], ...] = field(repr=False)

    @property
    def marks(self) -> list[list[object]]:
        """Name, kind, size or target, time of change in ns: by which a node knows the same folder."""
        return [_mark(path, seen, self.root) for path, seen in self.found[:MOST_FILES]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tree:
    """`entries`: name, mode (of a file a number, else `link` or `folder`), time of change in ns, and SHA-256 or target.

    `places`: by SHA-256 the file and its size in bytes.
    """

    root: Path
    entries: tuple[tuple[str, int | str, int, str], ...] = field(repr=False)
    places: dict[str, tuple[Path, int]] = field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(self.places[digest][1] for _, mode, _, digest in self.entries if isinstance(mode, int))


def listing_of(root: Path, without: Sequence[str] = (), left_out: Sequence[Path] = ()) -> Listing:
    """The working tree as it is, changes and ignored files too.

    Not in it: `.git`, virtual environments, caches that say they are (CACHEDIR.TAG, `__pycache__`), the folders
    `left_out`, what a pattern of `without` names (fnmatch, on the path or on a part of it), and the site file, which
    goes along beside the script, without its secrets.
    """
    out = frozenset(path.resolve() for path in left_out)
    return Listing(root=root, found=tuple(_below(root, root, tuple(without), out)))


def tree_of(listing: Listing) -> Tree:
    """Every file by its content; `UsageError` where it is too much to be sent, or cannot be read."""
    _check(listing.root, listing.found)
    entries: list[tuple[str, int | str, int, str]] = []
    places: dict[str, tuple[Path, int]] = {}
    for path, seen in listing.found:
        name = path.relative_to(listing.root).as_posix()
        if stat.S_ISLNK(seen.st_mode):
            entries.append((name, "link", 0, os.readlink(path)))  # noqa: PTH115 - as it was written
        elif stat.S_ISDIR(seen.st_mode):
            entries.append((name, "folder", 0, ""))
        else:
            digest = _digest(path)
            places.setdefault(digest, (path, seen.st_size))
            entries.append((name, stat.S_IMODE(seen.st_mode), seen.st_mtime_ns, digest))
    return Tree(root=listing.root, entries=tuple(entries), places=places)


def credentials_in(names: Iterable[str]) -> list[str]:
    """Those of the files whose names are usual for keys, passwords and tokens; with their folders."""
    return [
        name
        for name in names
        for parts in [name.split("/")]
        if any(fnmatch.fnmatchcase(parts[-1], pattern) for pattern in _CREDENTIALS) or _KEEPERS & set(parts[:-1])
    ]


def _mark(path: Path, seen: os.stat_result, root: Path) -> list[object]:
    name = path.relative_to(root).as_posix()
    if stat.S_ISLNK(seen.st_mode):
        return [name, "link", os.readlink(path), 0]  # noqa: PTH115 - as it was written
    if stat.S_ISDIR(seen.st_mode):
        return [name, "folder", 0, 0]
    return [name, "file", seen.st_size, seen.st_mtime_ns]


def _below(
    folder: Path, root: Path, without: tuple[str, ...], left_out: frozenset[Path]
) -> Iterator[tuple[Path, os.stat_result]]:
    for entry in sorted(os.scandir(folder), key=lambda one: one.name):
        path = Path(entry.path)
        if _is_out(path, root, without):
            continue
        seen = entry.stat(follow_symlinks=False)
        if stat.S_ISDIR(seen.st_mode):
            if path.resolve() not in left_out and not _is_made(path):
                yield path, seen
                yield from _below(path, root, without, left_out)
        elif stat.S_ISREG(seen.st_mode) or stat.S_ISLNK(seen.st_mode):
            yield path, seen


def _is_out(path: Path, root: Path, without: tuple[str, ...]) -> bool:
    if any(fnmatch.fnmatchcase(path.name, pattern) for pattern in _NEVER):
        return True
    name = path.relative_to(root).as_posix()
    return name == SITE_FILE or any(
        fnmatch.fnmatchcase(name, pattern.strip("/")) or fnmatch.fnmatchcase(path.name, pattern.strip("/"))
        for pattern in without
    )


def _is_made(folder: Path) -> bool:
    """A virtual environment (PEP 405) or a cache: made anew from what is carried."""
    if (folder / "pyvenv.cfg").is_file():
        return True
    try:
        return (folder / "CACHEDIR.TAG").read_bytes()[: len(_TAG)] == _TAG
    except OSError:
        return False


def _check(root: Path, found: Sequence[tuple[Path, os.stat_result]]) -> None:
    files = [(path, seen.st_size) for path, seen in found if stat.S_ISREG(seen.st_mode)]
    total = sum(size for _, size in files)
    if total <= MOST_BYTES and len(files) <= MOST_FILES:
        return
    weights: dict[str, int] = {}
    for path, size in files:
        name = path.relative_to(root).parts[0]
        weights[name] = weights.get(name, 0) + size
    most = sorted(weights.items(), key=lambda one: -one[1])[:_BIGGEST]
    shown = ", ".join(f"{name} {size / 2**20:.0f} MiB" for name, size in most)
    raise UsageError(
        f"{root}: found {len(files)} files of {total / 2**30:.1f} GiB to carry to the nodes, allowed: {MOST_FILES} of "
        f"{MOST_BYTES / 2**30:.0f} GiB; the most: {shown}; leave out what nodes do not need by ssh.exclude, put data "
        "on a path that the nodes share, or set ssh.repository to git"
    )


def _digest(path: Path) -> str:
    try:
        return digest_of(path)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}, so it cannot be carried; leave it out by ssh.exclude") from None
