"""What node 0 makes of the proofs about paths: pure functions over what the nodes sent.

Data that differ would make the number one of different work: they refuse. Mounts of the user's own are a note.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from madrun.node.channel.assembly import Payloads, Ruling
from madrun.node.joining.differences import grouped, nodes, odd_one, spread
from madrun.spec.record import Failure
from madrun.units import format_size

_Hosts = Mapping[int, str]
_Proofs = Mapping[int, Mapping[str, Any]]
_EQUAL = (
    "make them equal (rsync -a), or name with --force-mirror-local a directory that all nodes see; what is meant to "
    "differ from node to node is a docker_mounts entry, not data"
)


class _Refused(Exception):
    """What stands against the run, and the node it is put down to."""

    def __init__(self, node: int, text: str) -> None:
        super().__init__(text)
        self.node = node


def shared(payloads: Payloads) -> Ruling:
    """Data are the same on all nodes, and mirrors lie in one directory; released is who has to fill which mirror."""
    hosts = _hosts(payloads)
    try:
        _mirror_is_shared(payloads, hosts)
        notes = _same_data({rank: found["data"] for rank, found in payloads.items()}, hosts)
        fill = _fillers(payloads, hosts)
    except _Refused as refused:
        return Ruling(failure=Failure(kind="gate", text=str(refused), node=refused.node))
    return Ruling(data={"fill": fill, "notes": [*notes, *_mount_notes(payloads, hosts)]})


def filled(payloads: Payloads) -> Ruling:
    """Every node sees every mirror, and the same in it."""
    hosts = _hosts(payloads)
    try:
        for name in {name: None for _, found in sorted(payloads.items()) for name in found["data"]}:
            entries = {rank: found["data"].get(name) or {} for rank, found in payloads.items()}
            missing = [rank for rank, entry in sorted(entries.items()) if not entry.get("there")]
            if missing:
                where = f"{nodes(missing, hosts)} cannot see it: {_places(entries, hosts)}"
                text = f"the mirror of {name} is made, and {where}"
                raise _Refused(missing[0], text)
        notes = _same_data({rank: found["data"] for rank, found in payloads.items()}, hosts)
    except _Refused as refused:
        return Ruling(failure=Failure(kind="gate", text=str(refused), node=refused.node))
    return Ruling(data={"notes": notes})


def _hosts(payloads: Payloads) -> dict[int, str]:
    return {rank: str(found["hostname"]) for rank, found in payloads.items()}


def _places(entries: _Proofs, hosts: _Hosts) -> str:
    """`/data (nfs4 server:/data at /data) on every node`."""
    return grouped({rank: _place(entry) for rank, entry in entries.items()}, hosts)


def _place(entry: Mapping[str, Any]) -> str:
    return f"{entry.get('path', '?')} ({entry.get('fs') or 'an unknown file system'})"


def _mirror_is_shared(payloads: Payloads, hosts: _Hosts) -> None:
    mirrors = {rank: found.get("mirror") for rank, found in payloads.items()}
    given = {rank: "given" if mirror else "not given" for rank, mirror in mirrors.items()}
    if spread(given, hosts):
        text = f"--force-mirror-local differs: {spread(given, hosts)}; give it on every node or on none"
        raise _Refused(odd_one(given), text)
    if not all(mirrors.values()) or payloads[0].get("local"):
        return
    here = {rank: mirror for rank, mirror in mirrors.items() if mirror}
    apart = [rank for rank in sorted(here) if rank and not _one_directory(here, rank)]
    if apart:
        raise _Refused(
            apart[0],
            f"--force-mirror-local is not one directory for all nodes: {nodes(apart, hosts)} and node 0 do not see "
            f"each other's files in it; found {_places(here, hosts)}; name a directory that all nodes mount from one "
            "server (NFS, Lustre and the like), or add --local-data, with which each node fills a copy of its own",
        )


def _one_directory(mirrors: _Proofs, rank: int) -> bool:
    """Whether every file that node 0 or this node left in it was seen by the other; also where none could be left."""
    down = not mirrors[0]["left"] or 0 in mirrors[rank]["saw"]
    up = not mirrors[rank]["left"] or rank in mirrors[0]["saw"]
    return down and up


def _same_data(data: Mapping[int, Mapping[str, Any]], hosts: _Hosts) -> list[str]:
    """Notes about what could not be compared; `_Refused` where something differs."""
    notes = []
    for name in {name: None for _, found in sorted(data.items()) for name in found}:
        entries = {rank: found.get(name) or {} for rank, found in data.items()}
        if not all(entry.get("there") for entry in entries.values()):
            continue  # a mirror that is yet to be made
        prints = {rank: entry["print"] for rank, entry in entries.items()}
        text = difference(prints, hosts)
        if text:
            raise _Refused(
                odd_one({rank: [found["names"], found["samples"]] for rank, found in prints.items()}),
                f"data {name} is not the same on all nodes: {text}; found {_places(entries, hosts)}; {_EQUAL}",
            )
        notes += [f"data {name} could not be compared: {why}" for why in _uncompared(prints, hosts)]
    return notes


def difference(prints: _Proofs, hosts: _Hosts) -> str:
    """In what the fingerprints differ; empty where nothing that was looked at does."""
    known = {rank: found for rank, found in prints.items() if found["names"]}
    if len(known) < 2:
        return ""
    listed = {rank: f"{found['files']} files of {format_size(found['bytes'])}" for rank, found in known.items()}
    names = {rank: found["names"] for rank, found in known.items()}
    if spread(names, hosts):
        return spread(listed, hosts) or f"names or sizes of files differ (hash {spread(names, hosts)})"
    for index in range(min(len(found["samples"]) for found in known.values())):
        hashes = {rank: found["samples"][index][1] for rank, found in known.items()}
        if spread(hashes, hosts):
            name = known[min(known)]["samples"][index][0]
            return f"the contents differ, of {name or 'the file'}: {spread(hashes, hosts)}"
    return ""


def _uncompared(prints: _Proofs, hosts: _Hosts) -> list[str]:
    failed = {rank: found["error"] for rank, found in prints.items() if found["error"]}
    slow = [rank for rank, found in sorted(prints.items()) if found["incomplete"]]
    texts = [f"{error} on {nodes([rank], hosts)}" for rank, error in sorted(failed.items())]
    return texts + ([f"it took too long to list on {nodes(slow, hosts)}"] if slow else [])


def _fillers(payloads: Payloads, hosts: _Hosts) -> dict[str, list[int]]:
    """Which nodes make which mirror: the first that has the source, or each for itself."""
    found: dict[str, list[int]] = {}
    for name in {name: None for _, payload in sorted(payloads.items()) for name in payload["data"]}:
        entries = {rank: payload["data"].get(name) or {} for rank, payload in payloads.items()}
        own = any(entry.get("own") for entry in entries.values())
        local = own or bool(payloads[0].get("local"))
        missing = [rank for rank, entry in sorted(entries.items()) if not entry.get("there")]
        if not missing or (not local and len(missing) < len(entries)):
            continue
        writable = {rank for rank, payload in payloads.items() if (payload.get("mirror") or {}).get("left")}
        sources = [rank for rank, entry in sorted(entries.items()) if entry.get("source")]
        able = [
            rank for rank in (missing if local else sorted(entries)) if rank in sources and (own or rank in writable)
        ]
        if (local and able != missing) or not able:
            raise _Refused(*_unfilled(name, missing, payloads, (hosts, local)))
        found[name] = able if local else able[:1]
    return found


def _unfilled(name: str, missing: list[int], payloads: Payloads, of: tuple[_Hosts, bool]) -> tuple[int, str]:
    """Why a mirror cannot be made; `of`: the hosts, and whether each node makes its own."""
    hosts, local = of
    entries = {rank: payloads[rank]["data"].get(name) or {} for rank in missing}
    without = [rank for rank in missing if not entries[rank].get("source")]
    text = f"the mirror of {name} is missing, {_places(entries, hosts)}, and cannot be made: "
    if (local and without) or len(without) == len(missing):
        where = nodes(without, hosts) if local else "any node"
        more = "; with --force-mirror-local alone, one node that has it serves all" if local else ""
        return missing[0], f"{text}its source of data.json is not there on {where}{more}"
    errors = {rank: (payloads[rank].get("mirror") or {}).get("error") or "writable" for rank in missing}
    return missing[0], f"{text}the directory takes no file: {grouped(errors, hosts)}; it is never created silently"


def _mount_notes(payloads: Payloads, hosts: _Hosts) -> list[str]:
    """A line for each mount of the user's own that is not the same on all nodes."""
    notes = []
    for target in {target: None for _, found in sorted(payloads.items()) for target in found["mounts"]}:
        entries = {rank: found["mounts"].get(target) for rank, found in payloads.items()}
        absent = [rank for rank, entry in sorted(entries.items()) if not entry]
        here = {rank: entry for rank, entry in entries.items() if entry}
        what = f"docker_mounts {target}"
        if absent:
            notes.append(f"{what} is not mounted on {nodes(absent, hosts)}; found {_places(here, hosts)}")
        elif any(entry["left"] for entry in here.values()):
            apart = [rank for rank in sorted(here) if rank and not _one_directory(here, rank)]
            if apart:
                own = f"{nodes(apart, hosts)} and node 0 have each its own"
                notes.append(f"{what} is not one directory for all nodes: {own}; found {_places(here, hosts)}")
        else:
            prints = {rank: entry["print"] for rank, entry in here.items() if entry.get("print")}
            text = difference(prints, hosts)
            notes += [f"{what} is not the same on all nodes: {text}; found {_places(here, hosts)}"] if text else []
    return notes
