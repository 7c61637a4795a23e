"""What node 0 asks of all nodes before it lets them go on: pure functions over what the nodes sent."""

from __future__ import annotations

from typing import Any

from madrun.node.assembly import Judge, Payloads, Ruling
from madrun.spec.record import Failure


def _refuse(rank: int, text: str) -> Ruling:
    return Ruling(failure=Failure(kind="gate", text=text, node=rank))


def same_jobs(payloads: Payloads) -> Ruling:
    """Every node is about to run the same jobs; else the first difference is named with both values."""
    reference: list[dict[str, Any]] = payloads[0]["jobs"]
    for rank, payload in sorted(payloads.items()):
        host = payload["hostname"]
        if payload["madrun"] != payloads[0]["madrun"]:
            return _refuse(rank, _differs("madrun version", payloads[0]["madrun"], payload["madrun"], rank, host))
        if len(payload["jobs"]) != len(reference):
            numbers = len(reference), len(payload["jobs"])
            return _refuse(rank, _differs("number of runs (cards x --repeat)", *numbers, rank, host))
        for mine, theirs in zip(reference, payload["jobs"], strict=True):
            if mine["hash"] != theirs["hash"]:
                return _refuse(rank, _job_difference(mine["summary"], theirs["summary"], rank, host))
    return Ruling()


def _job_difference(mine: dict[str, str], theirs: dict[str, str], rank: int, host: str) -> str:
    names = [name for name in mine if mine[name] != theirs.get(name)]
    if not names:
        return f"the job differs on node {rank} ({host}), in a part that no summary names: use one madrun version"
    texts = [_differs(name, mine[name], theirs.get(name), rank, host) for name in names[:3]]
    return "; ".join(texts)


def _differs(what: str, mine: object, theirs: object, rank: int, host: str) -> str:
    return f"{what} differs: {mine} on node 0, {theirs} on node {rank} ({host})"


def same_images(payloads: Payloads) -> Ruling:
    """Every node has the same image, by registry digest, id or recipe."""
    reference = payloads[0]["image"]
    for rank, payload in sorted(payloads.items()):
        if payload["image"] != reference:
            return _refuse(rank, _differs("image identity", reference, payload["image"], rank, payload["hostname"]))
    return Ruling()


def of_master(payloads: Payloads) -> Ruling:
    """What node 0 says is what all get."""
    return Ruling(data=payloads.get(0))


JUDGES: dict[str, Judge] = {
    "jobs": same_jobs,
    "begin": of_master,
    "prepared": same_images,
    "end": of_master,
}
