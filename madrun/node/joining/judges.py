"""What node 0 asks of all nodes before it lets them go on: pure functions over what the nodes sent."""

from __future__ import annotations

from typing import Any

from madrun.node.channel.assembly import Judge, Payloads, Ruling
from madrun.node.joining import differences, routes
from madrun.node.joining.sharing_rules import filled, shared
from madrun.spec.record import Failure

_MOST = 6  # differences that one refusal tells
_ADVICE = {
    "script files (hash)": "; the card's files are not the same: bring the checkouts to one commit",
    "image (hash)": "; the Dockerfile, its folder or its arguments are not the same: bring the checkouts to one commit",
}
_FOLLOWS = {"mpi_launch": "runner"}  # a difference in the one makes one in the other


def _refuse(found: list[tuple[int, str]]) -> Ruling:
    """The refusal that tells them all, put down to the node of the first."""
    texts = [text for _, text in found[:_MOST]]
    if len(found) > _MOST:
        texts.append(f"and {len(found) - _MOST} more")
    return Ruling(failure=Failure(kind="gate", text="\n  ".join(texts), node=found[0][0]))


def same_jobs(payloads: Payloads) -> Ruling:
    """Every node is about to run the same jobs on hosts that fit together; else all that stands against it is named.

    Released are the notes, and for each node whom it has to reach.
    """
    from madrun.node.joining import hostrules

    hosts = {rank: str(payload["hostname"]) for rank, payload in payloads.items()}
    findings = hostrules.compare({rank: payload.get("offer") or {} for rank, payload in payloads.items()}, hosts)
    refusals = [(finding.node, finding.text) for finding in findings if finding.refuses]
    refusals = [*job_refusals(payloads, hosts), *refusals]
    if refusals:
        return _refuse(refusals)
    notes = [finding.text for finding in findings if not finding.refuses]
    return Ruling(each=routes.assign(payloads, notes))


def job_refusals(payloads: Payloads, hosts: dict[int, str]) -> list[tuple[int, str]]:
    """In what the jobs of the nodes differ, each with the node it is put down to: versions, numbers, parts."""
    versions = {rank: payload["madrun"] for rank, payload in payloads.items()}
    found = [_differing("madrun version", versions, hosts)]
    numbers = {rank: len(payload["jobs"]) for rank, payload in payloads.items()}
    if len(set(numbers.values())) > 1:
        found.append(_differing("number of runs (cards x --repeat)", numbers, hosts))
        return [one for one in found if one]
    for index in range(numbers[0]):
        hashes = {rank: payload["jobs"][index]["hash"] for rank, payload in payloads.items()}
        if len(set(hashes.values())) > 1:
            summaries = {rank: payload["jobs"][index]["summary"] for rank, payload in payloads.items()}
            found += _job_differences(summaries, hashes, hosts)
            break
    return [one for one in found if one]


def _job_differences(
    summaries: dict[int, dict[str, str]], hashes: dict[int, str], hosts: dict[int, str]
) -> list[tuple[int, str] | None]:
    names = list(dict.fromkeys(name for _, summary in sorted(summaries.items()) for name in summary))
    found: dict[str, tuple[int, str]] = {}
    for name in names:
        one = _differing(name, {rank: summary.get(name) for rank, summary in summaries.items()}, hosts)
        if one and _FOLLOWS.get(name) not in found:
            found[name] = (one[0], one[1] + _ADVICE.get(name, ""))
    if found:
        told = list(found.values())
        return [*told[:3], *([(told[0][0], f"and {len(told) - 3} more")] if len(told) > 3 else [])]
    rank = differences.odd_one(hashes)
    where = differences.nodes([rank], hosts)
    return [(rank, f"the job differs on {where}, in a part that no summary names: use one madrun version")]


def _differing(what: str, values: dict[int, Any], hosts: dict[int, str]) -> tuple[int, str] | None:
    text = differences.spread(values, hosts)
    return (differences.odd_one(values), f"{what} differs: {text}") if text else None


def same_images(payloads: Payloads) -> Ruling:
    """Every node has the same image, by registry digest, id or recipe, and has cloned the same commit."""
    hosts = {rank: str(payload["hostname"]) for rank, payload in payloads.items()}
    one = _differing("image identity", {rank: payload["image"] for rank, payload in payloads.items()}, hosts)
    if one is None:
        commits = {rank: payload.get("commit", "") for rank, payload in payloads.items()}
        one = _differing("commit of url", commits, hosts)
        return _refuse([(one[0], f"{one[1]}; it moved between the clones: start again")]) if one else Ruling()
    advice = "; pull it anew, or remove the local image of that name, on the node that is behind"
    return _refuse([(one[0], one[1] + advice)])


def of_master(payloads: Payloads) -> Ruling:
    """What node 0 says is what all get."""
    return Ruling(data=payloads.get(0))


JUDGES: dict[str, Judge] = {
    "jobs": same_jobs,
    "reach": routes.judge,
    "begin": of_master,
    "sentinels": of_master,
    "shared": shared,
    "filled": filled,
    "prepared": same_images,
    "end": of_master,
}
