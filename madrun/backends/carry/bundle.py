"""madrun with its dependencies as one zip, the same bytes for the same files, for nodes that have no madrun."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import sys
import tempfile
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from madrun.backends.carry.closure import closure, files_of, own_files, requirements
from madrun.backends.carry.there.store import digest_of

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold
_UNUSED_S = 30 * 86400.0
_START = """import sys
from pathlib import Path
sys.path.insert(0, str(Path(__file__).resolve().parent / "lib"))
from madrun.cli import main
main()
"""
# A `python` beside bin/ names the one that the dependencies were installed for; else any of the same minor version.
_PROGRAM = """#!/bin/sh
# Starts the madrun that lies beside this file. -I: neither this node's own packages nor its variables come in.
here=$(cd "$(dirname "$0")/.." && pwd)
PATH=${{PATH:-/usr/local/bin:/usr/bin:/bin}}:$here/bin
export PATH
if [ -r "$here/python" ]; then exec "$(cat "$here/python")" -I "$here/start.py" "$@"; fi
for python in {path} python{minor} /usr/bin/python{minor} /usr/local/bin/python{minor} python3 python; do
  if "$python" -I -c 'import sys; sys.exit(sys.version_info[:2] != ({tuple}))' 2>/dev/null
  then exec "$python" -I "$here/start.py" "$@"; fi
done
echo "madrun: error: $(hostname): found no python {minor}, for which this madrun was packed; install it there" >&2
exit 2
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundle:
    """`path`: the zip; `hash`: SHA-256 of its bytes; `size` in bytes; `python` as `3.11`; `kind`: of the pythons that
    its compiled parts run under (`kind_of`). `requirements`: what another python has to install.
    """

    path: Path
    hash: str
    size: int
    python: str
    kind: str
    requirements: tuple[str, ...]


def kind_of(tag: str, system: str, machine: str, libc: str) -> str:
    """`cpython-311 linux x86_64 glibc`: pythons of one kind can load the same compiled modules.

    `tag` as sys.implementation.cache_tag, `libc` as platform.libc_ver() begins; empty for musl, which says nothing.
    """
    return f"{tag} {system} {machine} {libc}".strip()


@cache
def bundle(cache_folder: Path) -> Bundle:
    """The zip of this very madrun, made in the folder unless it lies there; `UsageError` where a part is missing.

    In it: `bin/madrun` to start it, `lib/` with madrun and its dependencies as plain files, without what only reports
    need (pandas, rich).
    """
    files = _files()
    cache_folder.mkdir(parents=True, exist_ok=True)
    known = cache_folder / f"{_fingerprint(files)}.sha256"
    try:
        digest = known.read_text(encoding="ascii").strip()
        path = cache_folder / f"{digest}.zip"
        size = path.stat().st_size
        if digest_of(path) != digest:  # nodes would refuse it, launch after launch
            raise FileNotFoundError(path)
        os.utime(path)
        os.utime(known)
    except OSError:
        _forget_unused(cache_folder)
        path, digest, size = _write(cache_folder, files)
        known.write_text(digest, encoding="ascii")
    return Bundle(
        path=path,
        hash=digest,
        size=size,
        python=_minor(),
        kind=kind_of(sys.implementation.cache_tag or "", sys.platform, platform.machine(), platform.libc_ver()[0]),
        requirements=tuple(requirements()),
    )


def unpack(made: Bundle, folder: Path) -> Path:
    """`<folder>/<hash>/` with the bundle's files, unpacked unless it is there; for mounts into containers."""
    target = folder / made.hash
    if not target.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as name, zipfile.ZipFile(made.path) as archive:
            new = Path(name, "new")
            for entry in archive.infolist():
                archive.extract(entry, new)
                (new / entry.filename).chmod(entry.external_attr >> 16)
            try:
                new.rename(target)
            except OSError:
                if not target.is_dir():  # else another launch was first
                    raise
    return target


def _files() -> dict[str, Path | str]:
    files: dict[str, Path | str] = {f"lib/{place}": path for place, path in own_files().items()}
    for name in closure():
        for place, path in files_of(name).items():
            files.setdefault(place if place.startswith("bin/") else f"lib/{place}", path)
    minor = _minor()
    program = _PROGRAM.format(path=shlex.quote(sys.executable), minor=minor, tuple=minor.replace(".", ", "))
    return files | {"bin/madrun": program, "start.py": _START}


def _minor() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _fingerprint(files: Mapping[str, Path | str]) -> str:
    """Changes with every change of a file, without reading one."""
    found = hashlib.sha256()
    for place, source in sorted(files.items()):
        seen = source.stat() if isinstance(source, Path) else None
        found.update(repr((place, (seen.st_size, seen.st_mtime_ns) if seen else source)).encode())
    return found.hexdigest()[:32]


def _write(folder: Path, files: Mapping[str, Path | str]) -> tuple[Path, str, int]:
    handle, name = tempfile.mkstemp(dir=folder, suffix=".new")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "w+b") as file:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
                for place, source in sorted(files.items()):
                    _add(archive, place, source)
            file.seek(0)
            digest = hashlib.sha256()
            while chunk := file.read(1 << 20):
                digest.update(chunk)
        path = folder / f"{digest.hexdigest()}.zip"
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path, digest.hexdigest(), path.stat().st_size


def _add(archive: zipfile.ZipFile, place: str, source: Path | str) -> None:
    program = isinstance(source, Path) and bool(source.stat().st_mode & 0o100)
    entry = zipfile.ZipInfo(place, _EPOCH)
    entry.compress_type = zipfile.ZIP_DEFLATED
    entry.create_system = 3  # unix: the modes count
    entry.external_attr = (0o755 if program or place.startswith("bin/") else 0o644) << 16
    archive.writestr(entry, source.read_bytes() if isinstance(source, Path) else source)


def _forget_unused(folder: Path) -> None:
    for path in folder.glob("*"):
        if path.suffix in (".zip", ".sha256", ".new") and time.time() - path.stat().st_mtime > _UNUSED_S:
            path.unlink(missing_ok=True)
