"""The directory of one node in a run: the box that the driver sees while it runs, and what is kept of it."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from madrun import runners
from madrun.errors import NodesError
from madrun.registry.cardtree import add_file
from madrun.results.regular import kind_of, open_regular
from madrun.spec.mad import MODELS
from madrun.spec.plan import BIN, TRANSPORT_LOGS, JobPlan


@dataclass(frozen=True, slots=True)
class State:
    """What tells whether a file was changed: cheap facts, and the hash of its content where that was asked for."""

    kind: int
    size: int
    mtime_ns: int
    inode: int
    digest: str = ""


Manifest = dict[str, State]
_KEPT_KINDS = (stat.S_IFREG, stat.S_IFLNK, stat.S_IFDIR)


@dataclass(frozen=True, slots=True)
class Kept:
    """What became of what the script made: names in `output/`; special files with their kind, failures with reasons.

    Names count from the work directory.
    """

    names: list[str] = field(default_factory=list)
    special: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Workspace:
    """`node-<rank>/` of a run directory."""

    root: Path

    @property
    def box(self) -> Path:
        """What the container sees at /madrun while it runs; gone afterwards."""
        return self.root / "box"

    @property
    def work(self) -> Path:
        """The script's working directory."""
        return self.box / "work"

    @property
    def output(self) -> Path:
        """Where the files that the script made are kept."""
        return self.root / "output"

    @property
    def boxed_ranks(self) -> Path:
        """Where the ranks write while they run."""
        return self.box / "ranks"

    @property
    def launches(self) -> Path:
        """Where a runner on node 0 asks for starts on other nodes, and where these are started."""
        return self.box / "launch"

    @property
    def ranks(self) -> Path:
        """What each rank printed, and how it ended: `rank-<RANK>.log` and `rank-<RANK>.end`."""
        return self.root / "ranks"

    @property
    def console(self) -> Path:
        """Everything the script printed."""
        return self.root / "console.log"


def lay_out(workspace: Workspace, files: dict[str, Path], job: JobPlan) -> None:
    """Copies the card's files into the work directory, and the driver beside it.

    Raises where they are no longer those of the plan. A link that lies there in place of a file is replaced.
    """
    digest = hashlib.sha256()
    for name, source in files.items():
        target = workspace.work / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if target.is_symlink() or target.parent.resolve() != _root(workspace) / Path(name).parent:
            _make_real(target, workspace.work)
        shutil.copyfile(source, target)
        target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
        add_file(digest, name, target)
    if digest.hexdigest() != job.script_hash:
        raise NodesError("the card's files changed since the plan was made; start again")
    (workspace.box / "driver.sh").write_text(job.driver)
    (workspace.box / "steps").touch()
    workspace.boxed_ranks.mkdir(mode=0o700)  # secrets are masked in these only when they are kept
    workspace.launches.mkdir(mode=0o700)  # what a script exports goes through it to other nodes, secrets too
    (workspace.box / TRANSPORT_LOGS).mkdir(mode=0o700)  # as ranks: what a script puts there is masked when it is kept
    (workspace.box / BIN).mkdir()
    for name, beside in runners.FILES.items():
        shutil.copyfile(Path(runners.__file__).with_name(beside), workspace.box / name)
        (workspace.box / name).chmod(0o755)


def _root(workspace: Workspace) -> Path:
    return workspace.work.resolve()


def _make_real(target: Path, work: Path) -> None:
    """No link on the way to the target: what was cloned may hold one that leads anywhere."""
    for place in (*reversed([p for p in target.parents if p != work and p.is_relative_to(work)]), target):
        if place.is_symlink():
            place.unlink()
    target.parent.mkdir(parents=True, exist_ok=True)


def known(workspace: Workspace, job: JobPlan) -> Manifest:
    """What lies in the work directory before the script begins.

    The content of the `multiple_results` file is remembered, so that it is not taken for one of this run only because
    it was touched.
    """
    found = manifest(workspace.work)
    for result in set(job.result_places) & set(found):
        found[result] = replace(found[result], digest=_digest(workspace.work / result))
    return found


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with open_regular(file) as source:
        while block := source.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def manifest(folder: Path, unread: Callable[[OSError], None] | None = None) -> Manifest:
    """State of every file, link and empty directory, by relative name; `unread` hears of what cannot be listed."""
    found = {}
    for parent, folders, names in os.walk(folder, onerror=unread):
        links = [name for name in folders if os.path.islink(os.path.join(parent, name))]  # noqa: PTH114, PTH118 - hot
        hollow = [""] if not folders and not names and parent != str(folder) else []
        for name in (*names, *links, *hollow):
            path = os.path.join(parent, name) if name else parent  # noqa: PTH118 - a hot loop over what may be many
            status = os.lstat(path)
            kind = stat.S_IFMT(status.st_mode)
            found[os.path.relpath(path, folder)] = State(kind, status.st_size, status.st_mtime_ns, status.st_ino)
    return found


def keep_output(
    workspace: Workspace, before: Manifest, stays: bool = False, into: str = "output", whole: str = ""
) -> Kept:
    """Moves what the script made or changed to `output/` and ends the box; a box that stays is copied from.

    The box stays where something could not be moved out of it. Moving never opens or follows what the script made.
    `whole`: a folder that is kept with all that lies in it.
    """
    kept = Kept()
    take = _copy if stays else _move
    _open_up(workspace.box)

    def unread(error: OSError) -> None:
        kept.failed[os.path.relpath(error.filename, workspace.work)] = error.strerror or str(error)

    # the script may have put a link in place of its directory; what lies behind it is not the script's
    there = os.path.lexists(workspace.work) and stat.S_ISDIR(os.lstat(workspace.work).st_mode)
    now = manifest(workspace.work, unread) if there else {}
    # of what was cloned, git's own files are no result, though git writes to them
    gits = tuple(name.removesuffix("HEAD") for name in before if name.endswith("/.git/HEAD"))
    for name, state in sorted(now.items()):
        was = before.get(name)
        same = was is not None and _unchanged(workspace.work / name, was, state)
        in_whole = whole != "" and name.startswith(f"{whole}/")
        # a model that was downloaded goes to the cache when the box ends
        model = stays and name.startswith(MODELS)
        if not in_whole and (same or model or "__pycache__" in Path(name).parts or name.startswith(gits)):
            continue
        if state.kind not in _KEPT_KINDS:
            kept.special[name] = kind_of(state.kind)
        elif reason := take(workspace.work / name, workspace.root / into / name):
            kept.failed[name] = reason
        elif not same:
            kept.names.append(name)
    if not stays:
        _end_box(workspace, kept)
    return kept


def _unchanged(path: Path, was: State, now: State) -> bool:
    """Whether a file is still that of the card's folder: by content where that was remembered, else by its state."""
    if not was.digest:
        return was == now
    same_kind = (was.kind, was.size) == (now.kind, now.size)
    try:
        return same_kind and _digest(path) == was.digest
    except OSError:
        return False  # whoever reads it will say why it cannot be read


def _open_up(folder: Path) -> None:
    """Makes the directories below usable for their owner, whatever the script did to their modes."""
    for parent, folders, _ in os.walk(folder):
        for name in folders:
            path = Path(parent, name)
            with suppress(OSError):  # somebody else's: what cannot be moved is reported by its name
                mode = path.lstat().st_mode
                if stat.S_ISDIR(mode) and mode & stat.S_IRWXU != stat.S_IRWXU:
                    path.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)


def _move(source: Path, target: Path) -> str:
    """Why it could not be moved; empty where it was."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        source.rename(target)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _copy(source: Path, target: Path) -> str:
    """Why it could not be copied; empty where it was. Links stay links."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir() and not source.is_symlink():
            target.mkdir(exist_ok=True)
        else:
            shutil.copyfile(source, target, follow_symlinks=False)
            shutil.copystat(source, target, follow_symlinks=False)
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _end_box(workspace: Workspace, kept: Kept) -> None:
    """Keeps driver and steps as evidence, and removes the rest where nothing in it was to be kept."""
    for name, target in (("driver.sh", "driver.sh"), ("steps", "steps.log")):
        source = workspace.box / name
        if os.path.lexists(source) and (reason := _move(source, workspace.root / target)):
            kept.failed[f"../{name}"] = reason
    if kept.failed:
        return
    try:
        shutil.rmtree(workspace.box)
    except OSError as error:
        kept.failed[".."] = error.strerror or str(error)


def foreign_files(folder: Path, uid: int) -> bool:
    """Whether anything below the folder belongs to somebody else."""
    for parent, folders, names in os.walk(folder):
        if any(os.lstat(os.path.join(parent, name)).st_uid != uid for name in (*folders, *names)):  # noqa: PTH118
            return True
    return False
