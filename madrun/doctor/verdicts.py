"""What all nodes together say of each other, as findings: pure functions over what they sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from madrun.node.channel.assembly import Judge, Payloads, Ruling
from madrun.node.joining import hostrules, routes
from madrun.node.joining.judges import JUDGES as OF_A_RUN
from madrun.node.joining.judges import job_refusals
from madrun.spec.finding import Finding
from madrun.units import format_duration

ByNode = dict[int, list[Finding]]
_FAR_S, _DAYS_S = 1.0, 60.0
_OPEN = (
    "open the firewall for all TCP between the nodes, or choose the network with GLOO_SOCKET_IFNAME and "
    "NCCL_SOCKET_IFNAME"
)
_PORTS = "https://docs.nvidia.com/deeplearning/nccl/user-guide/docs/env.html#nccl-socket-ifname"
_CHRONY = "https://chrony-project.org/doc/4.5/chronyc.html"


def _looked(payloads: Payloads) -> Ruling:
    """Nobody is refused: each node gets whom it is to try to reach."""
    return Ruling(each=routes.assign(payloads, []))


def _reached(payloads: Payloads) -> Ruling:
    """What a run's record would say of the network, whoever does not reach whom."""
    return routes.judge({rank: {**payload, "check_reach": False} for rank, payload in payloads.items()})


def _seen(payloads: Payloads) -> Ruling:
    """Why the nodes' all-reduce would be pointless, of the first node that knows why; what failed before what lacks."""
    ordered = [payload for _, payload in sorted(payloads.items())]
    whys = [str(payload[key]) for key in ("why", "lacks") for payload in ordered if payload.get(key)]
    return Ruling(data={"why": whys[0] if whys else ""})


def _over(payloads: Payloads) -> Ruling:
    """What node 0 makes of it: the last line for all, and for each node what the others say of it."""
    said = payloads.get(0) or {}
    whole = {"overall": said.get("overall", ""), "code": said.get("code")}
    each = {rank: whole | {"findings": (said.get("about") or {}).get(str(rank), [])} for rank in payloads}
    return Ruling(data=whole, each=each)


JUDGES: dict[str, Judge] = {**OF_A_RUN, "looked": _looked, "reached": _reached, "seen": _seen, "over": _over}


def differences(payloads: Payloads) -> tuple[ByNode, list[Finding]]:
    """In what hosts and jobs differ, by the node it is put down to; and what is the same everywhere."""
    hosts = {rank: str(payload["hostname"]) for rank, payload in payloads.items()}
    found: ByNode = {}
    planned = {rank: payload for rank, payload in payloads.items() if payload["jobs"]}
    refusals = [*_versions(payloads, planned), *(job_refusals(planned, hosts) if len(planned) > 1 else [])]
    for rank, text in dict.fromkeys(refusals):
        found.setdefault(rank, []).append(Finding(name="same job", state="FAIL", text=text, advice=_SAME))
    offers = {rank: payload["offer"] for rank, payload in payloads.items() if payload.get("offer")}
    unlike = hostrules.compare(offers, hosts) if len(offers) > 1 else []
    for one in unlike:
        text, _, advice = one.text.partition("; ")
        state = Finding(name="same hosts", state="FAIL" if one.refuses else "WARN", text=text, advice=advice or _ALIKE)
        found.setdefault(one.node, []).append(state)
    together = []
    if len(planned) == len(payloads) > 1 and not refusals:
        job = str(planned[0]["jobs"][0]["hash"])[:12]
        together.append(Finding(name="same job", state="PASS", text=f"job {job} on all {len(payloads)} nodes"))
    if len(offers) == len(payloads) > 1 and not unlike:
        together.append(Finding(name="same hosts", state="PASS", text=f"{len(payloads)} nodes on hosts of one kind"))
    return found, together


_SAME = "make it the same on every node: `madrun run` refuses to begin like this"
_ALIKE = "no reason not to run; the slowest node sets the pace, so make the nodes alike before numbers are compared"


def _versions(payloads: Payloads, planned: Payloads) -> list[tuple[int, str]]:
    """The version of madrun counts also on nodes whose plan could not be made."""
    if len(planned) == len(payloads):
        return []  # it is compared with the jobs
    hosts = {rank: str(payload["hostname"]) for rank, payload in payloads.items()}
    return [one for one in job_refusals({r: {**p, "jobs": []} for r, p in payloads.items()}, hosts) if one]


def clocks(offsets: Mapping[str, float | None]) -> ByNode:
    """How far each node's clock is from node 0's: seconds, which log times and time-outs between nodes feel."""
    found: ByNode = {}
    for rank, at in sorted((int(rank), at) for rank, at in offsets.items()):
        if rank:
            found[rank] = [_clock(at)]
    return found


def _clock(at: float | None) -> Finding:
    if at is None:
        return Finding(name="clock offset", state="UNKNOWN", text="node 0 did not answer in time to measure it")
    side = "ahead of" if at > 0 else "behind"
    if abs(at) <= _FAR_S:
        return Finding(name="clock offset", state="PASS", text=f"{abs(at) * 1000:.1f} ms {side} node 0's clock")
    shown = f"{abs(at):.1f} s" if abs(at) < _DAYS_S else format_duration(abs(at))
    return Finding(
        name="clock offset",
        state="FAIL" if abs(at) >= _DAYS_S else "WARN",
        text=f"{shown} {side} node 0's clock; log times and elastic shut-downs do not agree",
        advice="keep the clocks by chrony or ntpd on every node: chronyc tracking says how far they are",
        source=_CHRONY,
    )


def reaches(payloads: Payloads) -> ByNode:
    """Which other nodes each node reaches on the addresses that a run will use, MASTER_PORT of node 0 among them."""
    places = {rank: _place(rank, payload) for rank, payload in payloads.items()}
    found: ByNode = {}
    for rank, payload in sorted(payloads.items()):
        failed = [(int(to), str(why)) for to, why in payload.get("failed") or ()]
        tried = int(payload.get("tried") or 0)
        if failed:
            what = "; ".join(f"{places.get(to, f'node {to}')}: {why}" for to, why in failed)
            text = f"{len(failed)} of {tried} nodes cannot be reached from {payload.get('address') or 'here'}: {what}"
            found[rank] = [Finding(name="reach", state="FAIL", text=text, advice=_OPEN, source=_PORTS)]
        elif tried:
            where = " ".join(filter(None, (payload.get("interface"), payload.get("address"))))
            found[rank] = [Finding(name="reach", state="PASS", text=f"{_nodes(tried)} answered a call from {where}")]
        elif len(payloads) > 1:
            text = "no other node said at which address it can be reached"
            found[rank] = [Finding(name="reach", state="UNKNOWN", text=text)]
    return found


def _nodes(count: int) -> str:
    return f"{count} other node{'s' if count > 1 else ''}"


def _place(rank: int, payload: Mapping[str, Any]) -> str:
    at = " ".join(filter(None, (payload.get("interface"), payload.get("address"))))
    return f"node {rank} ({payload.get('hostname', '?')}, {at or 'no address'})"
