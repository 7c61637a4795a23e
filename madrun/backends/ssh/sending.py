"""The sending of what the hosts of a launch lack, to all of them at once."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from madrun.backends.carry.talk import Interrupted, Starter, Talk, Target, Trouble, ask, each, printable
from madrun.backends.carry.tree import Tree, credentials_in
from madrun.backends.launchfolder import files_of
from madrun.backends.ssh.lacking import Delivery, Found, place_of
from madrun.errors import HostsError
from madrun.spec.launch import ORIGIN, PRIVATE
from madrun.units import format_size

_CHUNK = 1 << 20
_SHOWN = 4  # files that are named
_UNPACKED = 5  # times its zip takes a madrun, with the compiled files that python makes


def send(job: Delivery, found: Found) -> tuple[str, ...]:
    """Sends what was found lacking, the launch's own files and its private one last.

    The hosts that got something of the repository.
    """
    missing = _missing(job, found)
    _check_space(job, found, missing)
    if found.without_madrun and found.packed:
        job.say(f"carrying madrun {format_size(found.packed.size)}", len(found.without_madrun))
    if found.tree is not None and any(missing.values()):
        _say_tree(job, found.tree, missing)
    if found.tree is None and found.copied:
        job.say(f"fetching commit {found.checkout.commit[:12]} of {found.checkout.url}", len(found.copied))

    def one(target: Target) -> dict[str, Any]:
        if found.tree is None and target.host in found.copied:
            more = {"do": "clone", "to": job.copy, "url": found.checkout.url, "commit": found.checkout.commit}
            ask(job.starter, target, {**job.question("clone"), **more}, job.head.stop)
        question = _put(job, found, target, missing[target.host])
        with Talk(job.starter, target, question, job.head.stop) as talk:
            _feed(talk, found, missing[target.host], target.host in found.without_madrun)
            return talk.reply()

    shared = {seen.host for seen in job.seen if seen.shared}
    lacking = [to for to in job.targets if to.host not in shared or to.host in (*found.copied, *found.without_madrun)]
    each(lacking, one, job.settings.fanout, "carrying what the hosts lack")
    return tuple(host for host in found.copied if missing[host] or found.tree is None)


def _missing(job: Delivery, found: Found) -> dict[str, list[str]]:
    """By host the contents that it lacks."""
    lacking: dict[str, list[str]] = {target.host: [] for target in job.targets}
    if found.tree is None:
        return lacking
    question = {**job.question("look"), "objects": list(found.tree.places)}
    targets = [target for target in job.targets if target.host in found.copied]

    def one(target: Target) -> dict[str, Any]:
        return ask(job.starter, target, question, job.head.stop)

    answers = each(targets, one, job.settings.fanout, "looking at what the hosts have of the repository")
    return lacking | {host: answer["missing"] for host, answer in answers.items()}


def _check_space(job: Delivery, found: Found, missing: Mapping[str, list[str]]) -> None:
    troubles = {}
    for target in job.targets:
        needed = sum(found.tree.places[name][1] for name in missing[target.host]) if found.tree else 0
        needed += found.tree.size if found.tree and target.host in found.copied else 0
        needed += found.packed.size * _UNPACKED if found.packed and target.host in found.without_madrun else 0
        free = int(found.answers[target.host]["free"])
        if needed > free:
            troubles[target.host] = (
                f"{found.bases[target.host]}: found {format_size(free)} free, needed: {format_size(needed)}; make room "
                "there, or set ssh.folder to another place"
            )
    if troubles:
        lines = [f"  {host}: {text}" for host, text in troubles.items()]
        raise HostsError("carrying what the hosts lack:\n" + "\n".join(lines), troubles)


def _say_tree(job: Delivery, tree: Tree, missing: Mapping[str, list[str]]) -> None:
    most = max(missing.values(), key=len)
    size = format_size(sum(tree.places[name][1] for name in most))
    of_all = f" of {len(tree.places)}" if len(most) < len(tree.places) else ""
    count = f"{len(most)}{of_all} file{'s' if len(tree.places) > 1 else ''}, {size}"
    job.say(f"carrying the repository: {count}", sum(bool(names) for names in missing.values()))
    new = {digest for names in missing.values() for digest in names}
    if found := credentials_in(name for name, mode, _, value in tree.entries if mode != "folder" and value in new):
        more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
        shown = printable(", ".join(found[:_SHOWN]))
        job.head.say(f"carried with it: {shown}{more}, which may hold secrets; ssh.exclude leaves out what it names")


def _put(job: Delivery, found: Found, target: Target, missing: Sequence[str]) -> dict[str, Any]:
    """What the host is asked to take."""
    question = job.question("put")
    if found.tree is not None:
        question["objects"] = [[name, found.tree.places[name][1]] for name in missing]
        if target.host in found.copied:
            question["trees"] = [{"to": job.copy, "entries": found.tree.entries}]
    if found.packed is not None and target.host in found.without_madrun:
        question["madrun"] = job.wanted(target, found.packed)
    one = next(one for one in job.seen if one.host == target.host)
    files: list[tuple[str, str, int]] = []
    if target.host in found.copied and found.tree is not None:
        origin = {"commit": found.checkout.commit, "dirty": found.checkout.dirty}
        files.append((f"{Path(job.copy).parent}/{ORIGIN}", json.dumps(origin), 0o644))
    if not one.shared:
        place = f"{place_of(job.launch)}/files"
        for name in files_of(job.launch):
            path = job.folder.path / name
            files.append((f"{place}/{name}", path.read_text(encoding="utf-8"), path.stat().st_mode & 0o777))
        secret = job.folder.path / PRIVATE
        if secret.exists():
            question["private"] = [[f"{place}/{PRIVATE}", secret.read_text(encoding="utf-8")]]
    return {**question, "files": files}


def _feed(talk: Talk, found: Found, missing: Sequence[str], madrun: bool) -> None:
    """The contents in the order of the question: of each file so many bytes as were promised, whatever it is now."""
    places = [found.tree.places[name] for name in missing] if found.tree else []
    if madrun and found.packed:
        places.append((found.packed.path, found.packed.size))
    for path, size in places:
        for data in _bytes_of(path, size):
            talk.send(data)


def _bytes_of(path: Path, size: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        while size:
            data = file.read(min(size, _CHUNK)) or bytes(min(size, _CHUNK))  # cut meanwhile: its sum will tell
            size -= len(data)
            yield data


def each_host(starter: Starter, places: Sequence[Any], asked: Callable[[Any], Any]) -> dict[str, dict[str, Any]]:
    """What the hosts of these places answer; those that do not are left out."""
    never = threading.Event()

    def one(place: Any) -> tuple[str, dict[str, Any]] | None:
        target, question = asked(place)
        try:
            return target.host, ask(starter, target, question, never)
        except (Trouble, Interrupted):
            return None

    if not places:
        return {}
    with ThreadPoolExecutor(min(64, len(places))) as pool:
        return dict(filter(None, pool.map(one, places)))
