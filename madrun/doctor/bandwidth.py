"""What `all_reduce.py` has printed, as one finding: who took part, whether the sums are right, and how fast it was.

algbw = bytes / time, busbw = algbw x 2 (n - 1) / n: nccl-tests, doc/PERFORMANCE.md.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from madrun.spec.finding import Finding
from madrun.units import format_size

MARK = "madrun-doctor-all-reduce "
SOURCE = "https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md"
NAME, NETWORK = "all-reduce", "transport"
_SHOWN = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """One size: bytes of a rank's data, wrong places in all, seconds of one operation on the slowest rank."""

    bytes: int
    wrong: int
    seconds: float

    def busbw(self, ranks: int) -> float:
        """Bytes a second that each rank's link has to carry; 0 for one rank."""
        return self.bytes / self.seconds * 2 * (ranks - 1) / ranks if self.seconds > 0 else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AllReduce:
    """What rank 0 has told; `places` are rank, rank of the node, host and device of each rank."""

    backend: str
    torch: str
    ranks: int
    init_s: float
    sizes: tuple[Size, ...]
    places: tuple[tuple[int, str, str, str], ...]


def read_all_reduce(lines: Iterable[str]) -> AllReduce | None:
    """None where the lines do not hold all of it: the head, a size at least, and a place for each rank.

    The mark may stand behind what a runner puts in front of a line.
    """
    found = [entry for line in lines if (entry := _entry(line))]
    heads = [entry for entry in found if "backend" in entry]
    try:
        sizes = tuple(
            Size(bytes=int(entry["bytes"]), wrong=int(entry["wrong"]), seconds=float(entry["seconds"]))
            for entry in found
            if "bytes" in entry
        )
        places = tuple(_place(entry["rank"]) for entry in found if "rank" in entry)
        if not heads or not sizes or len(places) != int(heads[0]["ranks"]):
            return None
        head = heads[0]
        return AllReduce(
            backend=str(head["backend"]),
            torch=str(head["torch"]),
            ranks=int(head["ranks"]),
            init_s=float(head["init_s"]),
            sizes=sizes,
            places=places,
        )
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _entry(line: str) -> Mapping[str, Any]:
    _, mark, text = line.partition(MARK)
    try:
        entry = json.loads(text) if mark else None
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}


def _place(entry: Any) -> tuple[int, str, str, str]:
    rank, node, host, device = entry
    return int(rank), str(node), str(host), str(device)


def finding_of(told: AllReduce | None, ranks: int, hosts: Sequence[str]) -> Finding:
    """PASS where the planned ranks on the planned hosts summed right; `hosts` are the nodes' names as planned."""
    if told is None:
        text = "the program ended well, and printed no result that can be read"
        return Finding(name=NAME, state="UNKNOWN", text=text)
    seen = sorted({host for _, _, host, _ in told.places})
    who = f"{told.ranks} rank{'s' if told.ranks > 1 else ''} on {_some(seen)}, {told.backend}, torch {told.torch}"
    wrong = [size for size in told.sizes if size.wrong]
    if wrong:
        text = f"{who}: {wrong[0].wrong} of the sums of {format_size(wrong[0].bytes)} are wrong"
        advice = "believe no number of these nodes: look at ECC counters, driver and network library of each"
        return Finding(name=NAME, state="FAIL", text=text, advice=advice)
    if told.ranks != ranks:
        text = f"{who}; planned are {ranks} ranks"
        advice = "look at what the runner was told: RUNNER, NPROC_PER_NODE, RUNNER_ARGS"
        return Finding(name=NAME, state="FAIL", text=text, advice=advice)
    if len(set(hosts)) == len(hosts) > len(seen):
        text = f"{who}; planned are {_some(hosts)}"
        return Finding(name=NAME, state="FAIL", text=text, advice="look at where the runner starts its ranks")
    head = f"{who}: sums right; init {told.init_s:.2f} s; devices {_devices(told)}"
    text = "\n".join((head, *(_speed(size, told.ranks) for size in told.sizes)))
    return Finding(name=NAME, state="PASS", text=text, source=SOURCE)


def not_run(why: str) -> Finding:
    """An all-reduce that would have told nothing."""
    return Finding(name=NAME, state="UNKNOWN", text=f"not run: {why}")


def failed(sentence: str) -> Finding:
    """An all-reduce that did not come to its end: the culprit's sentence and its last lines."""
    advice = "the lines above are the last of the node that failed first; `madrun run` would fail in the same way"
    return Finding(name=NAME, state="FAIL", text=sentence, advice=advice)


def of_network(network: str, doubts: Sequence[str], unproven: Sequence[str]) -> list[Finding]:
    """What the ranks talked over, as a run's record would say it; nothing where no line of a library tells."""
    if unproven:
        advice = "a run like this is INVALID: look at the RDMA findings of each node, or ask for TRANSPORT sockets"
        return [Finding(name=NETWORK, state="FAIL", text="\n".join(filter(None, (network, *unproven))), advice=advice)]
    if doubts:
        advice = "no reason not to run: the record of a run would say the same; mend it where it is not meant"
        return [Finding(name=NETWORK, state="WARN", text="\n".join(filter(None, (network, *doubts))), advice=advice)]
    return [Finding(name=NETWORK, state="PASS", text=network)] if network else []


def _speed(size: Size, ranks: int) -> str:
    milliseconds = f"{format_size(size.bytes)} in {size.seconds * 1000:.3g} ms"
    if ranks == 1 or size.seconds <= 0:
        return milliseconds
    return f"{milliseconds}: algbw {size.bytes / size.seconds / 1e9:.3g} GB/s, busbw {size.busbw(ranks) / 1e9:.3g} GB/s"


def _some(hosts: Sequence[str]) -> str:
    more = len(hosts) - _SHOWN
    named = ", ".join(hosts[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
    return f"{len(hosts)} host{'s' if len(hosts) != 1 else ''} ({named})"


def _devices(told: AllReduce) -> str:
    names = [f"{rank}: {device}" for rank, _, _, device in sorted(told.places)]
    kinds = {device for _, _, _, device in told.places}
    if len(kinds) == 1:
        return kinds.pop()
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
