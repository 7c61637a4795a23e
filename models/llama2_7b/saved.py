"""What a checkpoint says about itself, and whether a run may go on from it. Plain data and files, no torch.

    DIR/step-00000020/meta.json      written last; names every other file with its size
                      __0_0.distcp   shards, by torch.distributed.checkpoint
    DIR/latest                       the name of the newest folder

A checkpoint is written in a hidden folder, flushed to disk, and renamed when whole.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

FORMAT = 1
META = "meta.json"


class CheckpointError(Exception):
    """A checkpoint cannot be written or resumed; the text says which and why."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training has come; what the checks at the end need to know of its whole way."""

    step: int = 0
    """Optimizer steps done."""
    samples: int = 0
    """Samples read by all ranks: the place in the global order of the data."""
    losses: list[float] = field(default_factory=list)
    """Of the global batch, step by step."""
    grad_norms: list[float] = field(default_factory=list)
    probe_before: float | None = None
    changed: int | None = None
    ledger: tuple[int, int, int] = (0, 0, 0)
    """Tokens, samples and fingerprint of what all ranks read."""


@dataclass(frozen=True, kw_only=True)
class Meta:
    """The content of meta.json."""

    format: int
    settings: dict[str, object]
    """Everything that decides the numbers: a run with others is another run."""
    world: dict[str, object]
    """How the work was shared out; may differ on resuming."""
    progress: Progress
    parameters: list[int]
    states: list[int]
    """Fingerprints of the whole parameters and optimizer states."""
    rng: list[dict[str, str]]
    """Each rank's generators, base64."""
    files: dict[str, int]
    torch: str


def folder_name(step: int) -> str:
    return f"step-{step:08d}"


def write_meta(folder: Path, meta: Meta) -> None:
    """Write meta.json as the last file of the folder and force it to disk."""
    with (folder / META).open("w") as file:
        json.dump(asdict(meta), file)
        file.flush()
        os.fsync(file.fileno())
    sync_folder(folder)


def read_meta(folder: Path) -> Meta:
    """The meta.json of a checkpoint that is whole; CheckpointError says what is torn."""
    try:
        content = json.loads((folder / META).read_text())
        progress = dict(content.pop("progress"))
        progress["ledger"] = tuple(progress["ledger"])
        meta = Meta(**content, progress=Progress(**progress))
    except OSError as error:
        raise CheckpointError(f"{folder} is torn: {META}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise CheckpointError(f"{folder} is torn: {META} is not what was written ({error})") from None
    if meta.format != FORMAT:
        raise CheckpointError(f"{folder} has format {meta.format}; this version reads format {FORMAT}")
    for name, size in meta.files.items():
        path = folder / name
        found = path.stat().st_size if path.is_file() else None
        if found != size:
            state = "is missing" if found is None else f"has {found} bytes"
            raise CheckpointError(f"{folder} is torn: {name} {state}, {size} bytes were written")
    return meta


def file_sizes(folder: Path) -> dict[str, int]:
    """Every file in the folder with its size in bytes."""
    return {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}


def checkpoints(directory: Path) -> list[Path]:
    """Folders of finished checkpoints, the newest first."""
    return sorted((path for path in directory.glob("step-*") if path.is_dir()), reverse=True)


def newest(directory: Path) -> tuple[Path, Meta, list[str]] | None:
    """The newest whole checkpoint, with what is wrong with any newer one; None where there is none at all.

    CheckpointError where there are some and none is whole.
    """
    skipped: list[str] = []
    for folder in checkpoints(directory):
        try:
            return folder, read_meta(folder), skipped
        except CheckpointError as error:
            skipped.append(str(error))
    if skipped:
        raise CheckpointError("no checkpoint is whole: " + "; ".join(skipped))
    return None


def publish(temporary: Path, step: int, keep: int) -> Path:
    """Make a whole checkpoint visible under its name, point `latest` at it, remove those beyond the newest `keep`."""
    directory = temporary.parent
    folder = directory / folder_name(step)
    if folder.exists():  # torn, or of the steps that this run did again after resuming an older one
        shutil.rmtree(folder)
    temporary.rename(folder)
    marker = directory / ".latest.part"
    marker.write_text(folder.name + "\n")
    marker.replace(directory / "latest")
    sync_folder(directory)
    for old in checkpoints(directory)[keep:]:
        shutil.rmtree(old)
    return folder


def sync_folder(folder: Path) -> None:
    """Force the names in a folder to disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def differences(then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """Each setting that is not what it was, as `name then -> now`."""
    return [
        f"{name} was {then.get(name)!r}, is {now.get(name)!r}"
        for name in sorted({*then, *now})
        if then.get(name) != now.get(name)
    ]
