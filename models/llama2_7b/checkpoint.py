"""Saving and resuming a job: parameters, optimizer states, place in the data, random generators.

Tensors go through torch.distributed.checkpoint: each rank writes its own shards, and a world of another size reads
what it needs of them. saved.py has the files around them.
"""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

import torch
from bench import World, barrier, gather
from proof import reshard, whole_fingerprints
from saved import (
    FORMAT,
    CheckpointError,
    Meta,
    Progress,
    differences,
    file_sizes,
    newest,
    publish,
    read_meta,
    write_meta,
)
from torch import Tensor, nn

SHARED_WAIT_S = 15  # NFS shows a new file to other clients after some seconds


@dataclass(kw_only=True)
class Keeper:
    """Where one job keeps its checkpoints; rank 0 holds the folder's lock as long as it lives."""

    directory: Path
    world: World
    keep: int
    shard_size: int
    settings: Mapping[str, object]
    sharing: Mapping[str, object]
    model: nn.Module
    optimizer: torch.optim.Optimizer
    lock: object = None
    save_s: list[float] = field(default_factory=list)
    """Seconds of each save so far."""

    def save(self, progress: Progress) -> None:
        """Write a checkpoint; on return it is on disk under its name. CheckpointError on every rank otherwise."""
        from torch.distributed.checkpoint import CheckpointException, FileSystemWriter, save

        barrier(self.world)
        start = time.perf_counter()
        temporary = self.directory / f".step-{progress.step:08d}.part"
        reshard(self.model)
        with together(self.world, f"cannot save step {progress.step} in {self.directory}"):
            if self.world.rank == 0:
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir()
        try:
            save(self.tensors(), storage_writer=FileSystemWriter(temporary))
        except (CheckpointException, OSError) as error:
            raise CheckpointError(f"cannot save step {progress.step} in {self.directory}: {error}") from None
        parameters, states = self.fingerprints()
        generators = gather(self.world, read_generators(self.world.device))
        with together(self.world, f"cannot save step {progress.step} in {self.directory}"):
            if self.world.rank == 0:
                meta = Meta(
                    format=FORMAT,
                    settings=dict(self.settings),
                    world=dict(self.sharing),
                    progress=progress,
                    parameters=parameters,
                    states=states,
                    rng=generators,
                    files=file_sizes(temporary),
                    torch=torch.__version__,
                )
                write_meta(temporary, meta)
                publish(temporary, progress.step, self.keep)
        self.save_s.append(time.perf_counter() - start)

    def resume(self, meta: Meta, folder: Path) -> list[str]:
        """Load a checkpoint into model and optimizer; what could not be the same as before, in words.

        CheckpointError where the loaded tensors are not those that were saved.
        """
        from torch.distributed.checkpoint import CheckpointException, FileSystemReader, load

        try:
            load(self.tensors(), storage_reader=FileSystemReader(folder))
        except (CheckpointException, OSError) as error:
            raise CheckpointError(f"{folder} cannot be read: {error}") from None
        for name, found, saved in zip(
            ("parameters", "optimizer states"), self.fingerprints(), (meta.parameters, meta.states), strict=True
        ):
            if found != saved:
                wrong = sum(a != b for a, b in zip(found, saved, strict=False)) or len(saved)
                raise CheckpointError(f"{folder} is torn: {wrong} {name} are not what was saved")
        if len(meta.rng) == self.world.size:
            write_generators(self.world.device, meta.rng[self.world.rank])
            return []
        return [f"random generators of {len(meta.rng)} ranks are not resumed on {self.world.size}; training draws none"]

    def tensors(self) -> dict[str, Tensor]:
        """Everything that is saved as tensors, by name; the same names whatever the sharding."""
        found = {}
        for name, parameter in self.model.named_parameters():
            found[f"model.{name}"] = parameter.detach()
            for key, value in self.optimizer.state[parameter].items():
                found[f"{key}.{name}"] = value
        return found

    def fingerprints(self) -> tuple[list[int], list[int]]:
        """Of the whole parameters and of the whole optimizer states; replicas must agree."""
        moments = [state[key] for state in self.optimizer.state.values() for key in ("exp_avg", "exp_avg_sq")]
        found = []
        for tensors in (list(self.model.parameters()), moments):
            copies = whole_fingerprints(self.world, self.shard_size, tensors)
            if any(copy != copies[0] for copy in copies):
                raise CheckpointError("the ranks hold different copies, so there is nothing sound to save")
            found.append(copies[0])
        return found[0], found[1]


def open_directory(world: World, directory: Path) -> object:
    """Make the folder, lock it against other runs, and prove that every rank sees the same one; the lock.

    CheckpointError on every rank otherwise.
    """
    lock: object = None
    mark = directory / f".seen-{os.environ.get('MADRUN_RUN_ID', '')}-{os.getpid()}"
    mark = Path(gather(world, str(mark))[0])
    with together(world, f"cannot use {directory} for checkpoints"):
        if world.rank == 0:
            directory.mkdir(parents=True, exist_ok=True)
            lock = lock_folder(directory)
            for leftover in directory.glob(".step-*.part"):
                shutil.rmtree(leftover, ignore_errors=True)
            mark.touch()
    sees = wait_for(mark)
    blind = [rank for rank, seen in enumerate(gather(world, sees)) if not seen]
    if world.rank == 0:
        mark.unlink(missing_ok=True)
    if blind:
        raise CheckpointError(
            f"{directory} is not one folder for all: ranks {blind[:8]} of {world.size} do not see what rank 0 wrote "
            "there; give a folder on a file system that all nodes share"
        )
    return lock


def lock_folder(directory: Path) -> TextIO:
    """An exclusive lock that ends with this process, however it ends."""
    file = (directory / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise CheckpointError("another run is using it") from None
    return file


def wait_for(path: Path) -> bool:
    """Whether the path is seen within SHARED_WAIT_S."""
    end = time.monotonic() + SHARED_WAIT_S
    while not path.exists():
        if time.monotonic() > end:
            return False
        time.sleep(0.2)
    return True


@contextmanager
def together(world: World, what: str) -> Iterator[None]:
    """A block that fails on every rank, with one text, when it failed on any of them."""
    error: Exception | None = None
    try:
        yield
    except (OSError, CheckpointError) as caught:
        error = caught
    failed = [text for text in gather(world, error and str(error)) if text]
    if failed:
        raise CheckpointError(f"{what}: {failed[0]}")


def find_checkpoint(
    world: World, directory: Path, resume: str, settings: Mapping[str, object]
) -> tuple[Path, Meta] | None:
    """The checkpoint to go on from, the same on every rank; None for a run from the start.

    CheckpointError where there is none to go on from, where it belongs to a run with other settings, or where a
    new run would write among the checkpoints of an old one.
    """
    found: tuple[Path, Meta] | None = None
    with together(world, f"--resume {resume}"):
        if world.rank == 0:
            found = choose(directory, resume, settings)
    folder = gather(world, found and str(found[0]))[0]
    if folder is None:
        return None
    return Path(folder), found[1] if found else read_meta(Path(folder))


def choose(directory: Path, resume: str, settings: Mapping[str, object]) -> tuple[Path, Meta] | None:
    """`find_checkpoint` for one process."""
    found = newest(directory)
    if found is None:
        if resume == "yes":
            raise CheckpointError(f"{directory} holds no checkpoint; --resume auto would start from the beginning")
        return None
    folder, meta, skipped = found
    if resume == "no":
        raise CheckpointError(
            f"{directory} holds checkpoints of an earlier run, the newest of step {meta.progress.step}; "
            "give --resume to go on from it, or another folder"
        )
    for text in skipped:
        print(f"not resumed: {text}", flush=True)
    if changed := differences(meta.settings, settings):
        raise CheckpointError(f"{folder} is of another run: " + "; ".join(changed))
    return folder, meta


def read_generators(device: torch.device) -> dict[str, str]:
    """The states of torch's random generators, base64."""
    states = {"cpu": torch.get_rng_state()}
    if device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(device)
    return {name: base64.b64encode(bytes(state.tolist())).decode() for name, state in states.items()}


def write_generators(device: torch.device, states: Mapping[str, str]) -> None:
    """Put the generators back into the states that `read_generators` found."""
    tensors: dict[str, Any] = {
        name: torch.frombuffer(bytearray(base64.b64decode(text)), dtype=torch.uint8) for name, text in states.items()
    }
    torch.set_rng_state(tensors["cpu"])
    if device.type == "cuda" and "cuda" in tensors:
        torch.cuda.set_rng_state(tensors["cuda"], device)
