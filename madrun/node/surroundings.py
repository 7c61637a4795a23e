"""Places what stands beside a script of a MAD repository in its work directory; the checkout is only read."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from madrun.errors import DataError
from madrun.spec.mad import WORKSPACE, Entry
from madrun.spec.plan import Mount


def place(work: Path, entries: Iterable[Entry], in_container: bool) -> None:
    """Copies, something to mount on, or, where nothing can be mounted, links; what stands there already stays.

    `DataError` names what cannot be copied.
    """
    for entry in entries:
        target, source = work / entry.name, Path(entry.source)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if entry.copied:
                _copy(source, target, work)
            elif in_container:
                _make_place(target, entry.is_folder)
            else:
                _link(source, target)
        except shutil.Error as error:
            path, _, why = error.args[0][0]
            raise DataError(
                f"{path}: cannot be copied into the workspace: {why}; checkout: read-only mounts it"
            ) from None
        except OSError as error:
            raise DataError(f"{error.filename or source}: cannot stand in the workspace: {error.strerror}") from None


def place_mounts(work: Path, mounts: Iterable[Mount], entries: Iterable[Entry]) -> None:
    """Something to mount on for what else is mounted into the workspace: else it would look as if the script made it.

    Not below what is mounted there itself, nor where a link leads away.
    """
    mounted = tuple(f"{entry.name}/" for entry in entries if not entry.copied)
    for mount in mounts:
        name = mount.target.removeprefix(f"{WORKSPACE}/")
        target = work / name
        inside = target.parent.resolve().is_relative_to(work.resolve())
        if name == mount.target or f"{name}/".startswith(mounted) or not inside or os.path.lexists(target):
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        _make_place(target, Path(mount.source).is_dir())


def _make_place(target: Path, is_folder: bool) -> None:
    """Something to mount on: what the engine makes itself would belong to root."""
    if is_folder:
        target.mkdir(exist_ok=True)
    else:
        target.touch()


def _link(source: Path, target: Path) -> None:
    """A link; in a folder that is there already, a link for each of its parts that is missing."""
    if not os.path.lexists(target):
        target.symlink_to(source)
    elif source.is_dir() and target.is_dir() and not target.is_symlink():
        for part in source.iterdir():
            _link(part, target / part.name)


def _copy(source: Path, target: Path, work: Path) -> None:
    """A copy that may be written; never of this run into itself, nor of what is no file, folder or link."""
    inside = set(work.resolve().parents)

    def left(folder: str, names: list[str]) -> set[str]:
        paths = {name: Path(folder, name) for name in names}
        return {name for name, path in paths.items() if path.resolve() in inside or not _is_plain(path)}

    def take(one: str, other: str) -> str:
        if not os.path.lexists(other):
            shutil.copy2(one, other)
            Path(other).chmod(stat.S_IMODE(Path(other).stat().st_mode) | stat.S_IRUSR | stat.S_IWUSR)
        return other

    if source.is_dir():
        shutil.copytree(source, target, symlinks=True, ignore=left, dirs_exist_ok=True, copy_function=take)
        for folder, _, _ in os.walk(target):
            Path(folder).chmod(stat.S_IMODE(Path(folder).stat().st_mode) | stat.S_IRWXU)
    else:
        take(str(source), str(target))


def _is_plain(path: Path) -> bool:
    with suppress(OSError):
        mode = path.lstat().st_mode
        return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)
    return False
