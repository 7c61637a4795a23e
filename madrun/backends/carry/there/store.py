"""Files by their content, copies of folders made of them, and madruns that were carried."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

from madrun.backends.carry.there.base import CHUNK, Refused, inside

PIP_S = 300
UNUSED_S = 30 * 86400  # after so long without use anything here is removed


def object_path(folder: Path, name: str) -> Path:
    """Where the file of this SHA-256 lies; refused where that is none."""
    if len(name) != 64 or set(name) - set("0123456789abcdef"):
        raise Refused(f"{name}: no SHA-256")
    return Path(folder, "objects", name[:2], name[2:])


def madrun_path(folder: Path, wanted: dict[str, Any]) -> Path:
    """Where the carried madrun lies: apart for each kind of python that its dependencies were installed for here."""
    return inside(folder / "madrun", wanted["name"])


def touch(path: Path) -> bool:
    """Whether it is there; from now on it counts as used."""
    try:
        os.utime(str(path))
    except FileNotFoundError:
        return False
    except OSError:
        return path.exists()  # another user's, who shares this folder
    return True


def forget_unused(folder: Path) -> None:
    """Removes what nothing has used for a month: objects, madruns, and what lost launches left."""
    for path in [*folder.glob("objects/*/*"), *folder.glob("madrun/*"), *folder.glob("launches/*")]:
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > UNUSED_S:
                shutil.rmtree(str(path)) if path.is_dir() else path.unlink()


def digest_of(path: Path) -> str:
    """SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while True:
            chunk = file.read(CHUNK)
            if not chunk:
                return digest.hexdigest()
            digest.update(chunk)


def take_object(source: BinaryIO, folder: Path, name: str, size: int) -> None:
    """One file, by its content's hash; refused where it is not what was promised."""
    target = object_path(folder, name)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=str(target.parent), prefix="new-") as file:
        if receive(source, file, size) != name:
            raise Refused(f"{name[:12]}: what came is not what was to come: the file changed meanwhile, or the way did")
        file.flush()
        with contextlib.suppress(FileExistsError):  # else two launches brought the same
            os.link(file.name, str(target))


def receive(source: BinaryIO, file: Any, size: int) -> str:
    """Copies so many bytes and returns their SHA-256; `EOFError` where there are fewer."""
    digest = hashlib.sha256()
    while size:
        chunk = source.read(min(size, CHUNK))
        if not chunk:
            raise EOFError("the launching host ended in the middle of a file")
        digest.update(chunk)
        file.write(chunk)
        size -= len(chunk)
    return digest.hexdigest()


def take_madrun(source: BinaryIO, folder: Path, wanted: dict[str, Any]) -> None:
    """Unpacks the zip that follows, and installs its dependencies where this python needs others."""
    target, needs = madrun_path(folder, wanted), wanted.get("requirements")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=str(target.parent), prefix="new-") as place:
        archive, new = Path(place, "zip"), Path(place, "madrun")
        with archive.open("wb") as file:
            if receive(source, file, wanted["size"]) != wanted["hash"]:
                raise Refused("madrun: what came is not what was sent; start the launch again")
        unzip(archive, new, needs is not None)
        if needs is not None:
            install(needs, new)
        rename(new, target)


def unzip(archive: Path, new: Path, alone: bool) -> None:
    """The zip's files; `alone`: without the dependencies."""
    with zipfile.ZipFile(str(archive)) as opened:
        for entry in opened.infolist():
            name = entry.filename
            if not alone or name.startswith("lib/madrun/") or not name.startswith(("lib/", "bin/py-spy")):
                opened.extract(entry, str(new))
                (new / name).chmod(entry.external_attr >> 16)


def rename(new: Path, target: Path) -> None:
    """To its final name; where another launch, or a node that shares this folder, was first, that stays."""
    try:
        os.rename(str(new), str(target))  # noqa: PTH104 - python 3.8
    except OSError:
        if not target.is_dir():
            raise


def install(needs: list[str], new: Path) -> None:
    """The dependencies for this python, by its pip and the index that this node's pip is set up for."""
    words = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"]
    words += ["--target", str(new / "lib"), *needs]
    try:
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PIP_S)
    except subprocess.TimeoutExpired:
        raise Refused(
            f"pip install of madrun's dependencies took more than {PIP_S} s: is an index reachable?"
        ) from None
    if done.returncode:
        said = "; ".join([line.strip() for line in done.stderr.splitlines() if line.strip()][-2:])
        raise Refused(f"pip install of madrun's dependencies failed: {said}")
    (new / "python").write_text(sys.executable)


def lay_out(folder: Path, tree: dict[str, Any]) -> None:
    """A copy of a folder out of objects. Copies, no links: a script may write into its files."""
    target = inside(folder, tree["to"])
    if target.exists():
        return  # nodes may share this folder
    target.parent.mkdir(parents=True, exist_ok=True)
    new = Path(tempfile.mkdtemp(dir=str(target.parent), prefix="new-"))
    try:
        for name, mode, changed, value in tree["entries"]:
            place = inside(new, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            if mode == "folder":
                place.mkdir(exist_ok=True)
            elif mode == "link":
                place.symlink_to(value)
            else:
                copy_object(folder, value, place)
                place.chmod(mode)
                os.utime(str(place), ns=(changed, changed))
        new.chmod(0o755)
        rename(new, target)
    finally:
        shutil.rmtree(str(new), ignore_errors=True)


def copy_object(folder: Path, name: str, place: Path) -> None:
    """The file of this SHA-256; refused, and gone from here, where its content is another by now."""
    kept = object_path(folder, name)
    with kept.open("rb") as file, place.open("xb") as copy:
        if receive(file, copy, kept.stat().st_size) == name:
            return
    kept.unlink()
    raise Refused(f"{kept}: was damaged since it came, and is removed; start the launch again")


def write(path: Path, data: bytes, mode: int) -> None:
    """Whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=str(path.parent))
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink()
        raise
