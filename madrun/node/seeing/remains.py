"""What runs that are over have left: found here, and removed one by one by whoever asks."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from madrun.data.claim import is_claimed
from madrun.data.mirror import parts_of
from madrun.errors import EngineError
from madrun.node.seeing.census import Census
from madrun.node.seeing.ending import end_leftovers, forget, remove
from madrun.node.seeing.going import DAY_S, is_over, keepers, last_touched
from madrun.node.seeing.presence import LOCK, state_of
from madrun.results.rundir import Unreadable
from madrun.results.survey import Look, node_folders
from madrun.units import format_duration

Kind = Literal["container", "process", "entry", "box", "partial", "run", "dead run", "image", "launch"]


@dataclass(frozen=True, slots=True)
class Remain:
    """One thing that may go: what it is, why, its size in bytes where that is known, and what it is to its keeper."""

    kind: Kind
    name: str
    why: str
    size: int | None
    what: Any


def of_agents(census: Census, uid: int) -> Iterator[Remain]:
    """Containers, processes and entries that dead agents of this user have left on this host."""
    for found in census.containers:
        if found.is_orphan and found.owner == uid:
            why = f"{found.state}, its agent is dead"
            yield Remain("container", found.name, why, None, found)
    for left in census.leftovers:
        yield Remain("process", f"{left.pid} ({left.command})", f"of {left.run_id}, its agent is dead", None, left)
    for resident, file in census.stale:
        yield Remain("entry", file.name, f"its madrun (pid {resident.pid}) is dead", None, (resident, file))


def of_runs(looks: Sequence[Look], keep: int | None) -> Iterator[Remain]:
    """What lies in run directories: boxes of killed agents, and beyond the newest `keep` runs what takes the space."""
    over = [look for look in looks if is_over(look)]
    old = over[: max(0, len(over) - keep)] if keep is not None else []
    for look in over:
        if look in old and _goes_wholly(look):
            why = "unfinished, older than a day" if look.record is None else ""
            yield Remain("dead run", look.run_id, why, size_of(look.path), look)
            continue
        if look in old and not isinstance(look.record, Unreadable) and look.record is not None:
            folders = [folder for _, folder in node_folders(look.path)]
            if folders:
                why = f"beyond the newest {keep}; record and plan stay"
                yield Remain("run", look.run_id, why, sum(map(size_of, folders)), look)
            continue
        yield from _boxes(look)


def _goes_wholly(look: Look) -> bool:
    return look.record is None and time.time() - last_touched(look.path) > DAY_S


def _boxes(look: Look) -> Iterator[Remain]:
    """Boxes of agents that were killed. One that stayed in order holds what could not be moved: the record names it."""
    killed = {rank for rank, state, _ in keepers(look.path) if look.record is None or state in ("dead", "elsewhere")}
    for rank, folder in node_folders(look.path):
        if rank in killed and (folder / "box").is_dir():
            why = "its madrun was killed; it holds what the script had made"
            yield Remain("box", f"{look.run_id}/{folder.name}/box", why, size_of(folder / "box"), (look, folder))


def partials(looks: Sequence[Look]) -> Iterator[Remain]:
    """Copies of data that nobody finished nor goes on with; a run of the last day may be about to."""
    for target in sorted({Path(mirror) for look in looks for mirror in look.mirrors}):
        with suppress(OSError):
            if is_claimed(target):
                continue
            for path in parts_of(target):
                quiet = time.time() - max(entry.stat().st_mtime for entry in (path, *path.iterdir()))
                if quiet > DAY_S:
                    why = f"a copy that nobody has gone on with for {format_duration(quiet)}"
                    yield Remain("partial", str(path), why, size_of(path), path)


def images(census: Census, looks: Sequence[Look], older_s: float, uid: int) -> Iterator[Remain]:
    """Images that madrun built, for this user, that no container uses and no run has used for so long.

    An image that was made from one of ours has its labels too: only those named after their recipe count.
    """
    from madrun.runtimes.images import OWNER, RECIPE
    from madrun.runtimes.images.identity import RECIPE_IN_NAME

    used = {look.image: look.path.stat().st_mtime for look in looks if look.image}
    for engine, client in census.engines.items():
        in_use = {str(found.get("ImageID")) for found in client.containers(all=True)}
        for image in client.images(filters={"label": RECIPE}):
            labels = image.get("Labels") or {}
            ending = f":{labels.get(RECIPE, '')[:RECIPE_IN_NAME]}"
            name = next((str(tag) for tag in image.get("RepoTags") or [] if str(tag).endswith(ending)), "")
            if not name or str(image["Id"]) in in_use or not (labels.get(OWNER) == str(uid) or name in used):
                continue
            last = max(float(image.get("Created") or 0), used.get(name, 0.0))
            if time.time() - last > older_s:
                why = f"not used for {format_duration(time.time() - last)}; it is built again when it is needed"
                yield Remain("image", name, why, int(image.get("Size") or 0), (engine, name))


def size_of(path: Path) -> int:
    """Bytes of everything below, as far as it may be seen."""
    total = 0
    with suppress(OSError):
        total = path.lstat().st_size if not path.is_dir() or path.is_symlink() else 0
    for parent, _, names in os.walk(path):
        for name in names:
            with suppress(OSError):
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - a loop over what may be many
    return total


def take_away(census: Census, remain: Remain) -> str:
    """Removes it; why not where it could not be, or has come to life meanwhile."""
    try:
        return _take_away(census, remain.kind, remain.what)
    except OSError as error:
        return f"{error.filename or remain.name}: {error.strerror or error}"


def _take_away(census: Census, kind: Kind, what: Any) -> str:
    refused = ""
    if kind == "container":
        refused = remove(census, what)
    elif kind == "process":
        refused = "it may not be ended by this user" if end_leftovers([what]) else ""
    elif kind == "entry":
        forget([what])
    elif kind == "image":
        refused = _remove_image(census, *what)
    elif kind in ("partial", "launch"):
        _delete(what)
    elif kind == "box":
        refused = _remove_box(census, *what)
    else:
        refused = _remove_run(census, what, wholly=kind == "dead run")
    return refused


def _other_names(found: Mapping[str, Any], name: str) -> list[str]:
    """The names that madrun itself gave the image beside its own: MAD's, and that in a registry."""
    every = map(str, found.get("RepoTags") or [])
    return [tag for tag in every if tag != name and (tag.startswith("ci-") or tag.endswith(f"/{name}"))]


def _remove_image(census: Census, engine: str, name: str) -> str:
    from docker.errors import APIError, ImageNotFound

    try:
        client = census.engines[engine]
        for other in _other_names(client.inspect_image(name), name):
            client.remove_image(other, force=False)
        client.remove_image(name, force=False)
    except ImageNotFound:
        return ""
    except APIError as error:
        return str(error.explanation or error)
    return ""


def _remove_box(census: Census, look: Look, folder: Path) -> str:
    if state_of(folder / LOCK) in ("alive", "unknown"):
        return "its agent lives"
    refused = _remove_tree(census, look, folder / "box")
    if not refused:
        (folder / LOCK).unlink(missing_ok=True)
    return refused


def _remove_run(census: Census, look: Look, *, wholly: bool) -> str:
    if not is_over(look):
        return "it goes on"
    for _, folder in node_folders(look.path):
        refused = _remove_tree(census, look, folder)
        if refused:
            return refused
    if wholly:
        _delete(look.path)
    return ""


def _remove_tree(census: Census, look: Look, folder: Path) -> str:
    """Why a directory could not be removed; what belongs to root is given back first, by a container of the image."""
    try:
        _delete(folder)
        return ""
    except OSError as error:
        refused = f"{error.filename}: {error.strerror}"
    client = census.engines.get(look.runtime)
    if client is None or not look.image:
        return f"{refused}; it was made in a container: sudo rm -r {folder}"
    from madrun.runtimes.handover import hand_over

    try:
        hand_over(client, look.image, folder, look.owner or f"{os.getuid()}:{os.getgid()}")
    except EngineError as error:
        return f"{refused}; {error}; sudo rm -r {folder}"
    _delete(folder)
    return ""


def _delete(path: Path) -> None:
    """A file or a whole directory, whatever the script did to its modes; what has gone meanwhile is no error."""
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    for parent, folders, _ in os.walk(path):
        for name in folders:
            with suppress(OSError):
                place = Path(parent, name)
                if not place.is_symlink():
                    place.chmod(0o700)
    shutil.rmtree(path)
