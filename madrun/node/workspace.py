"""The directory of one node in a run: the box that the driver sees while it runs, and what is kept of it."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from madrun.errors import NodesError
from madrun.registry.cardtree import add_file

Manifest = dict[str, tuple[int, int]]


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
    def console(self) -> Path:
        """Everything the script printed."""
        return self.root / "console.log"


def prepare(workspace: Workspace, files: dict[str, Path], script_hash: str, driver: str) -> Manifest:
    """Copies the card's files into an empty work directory; raises where they are no longer those of the plan."""
    workspace.work.mkdir(parents=True)
    digest = hashlib.sha256()
    for name, source in files.items():
        target = workspace.work / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        target.chmod(0o755 if os.access(source, os.X_OK) else 0o644)
        add_file(digest, name, target)
    if digest.hexdigest() != script_hash:
        raise NodesError("the card's files changed since the plan was made; start again")
    (workspace.box / "driver.sh").write_text(driver)
    (workspace.box / "steps").touch()
    return manifest(workspace.work)


def manifest(folder: Path) -> Manifest:
    """Size and time of change of every file, by relative name."""
    found = {}
    for parent, _, names in os.walk(folder):
        for name in names:
            status = os.lstat(os.path.join(parent, name))  # noqa: PTH118 - a hot loop over what may be many files
            found[os.path.relpath(os.path.join(parent, name), folder)] = (status.st_size, status.st_mtime_ns)  # noqa: PTH118
    return found


def keep_output(workspace: Workspace, before: Manifest) -> list[str]:
    """Moves what the script made or changed to `output/` and ends the box; the names that were kept."""
    made = sorted(name for name, state in manifest(workspace.work).items() if before.get(name) != state)
    made = [name for name in made if "__pycache__" not in Path(name).parts]
    for name in made:
        target = workspace.output / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (workspace.work / name).rename(target)
    for name in ("driver.sh", "steps"):
        kept = "steps.log" if name == "steps" else name
        (workspace.box / name).rename(workspace.root / kept)
    shutil.rmtree(workspace.box)
    return made


def foreign_files(folder: Path, uid: int) -> bool:
    """Whether anything below the folder belongs to somebody else."""
    for parent, folders, names in os.walk(folder):
        if any(os.lstat(os.path.join(parent, name)).st_uid != uid for name in (*folders, *names)):  # noqa: PTH118
            return True
    return False
