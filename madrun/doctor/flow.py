"""A doctor's visit to one node: what it sees alone, what all nodes find out together, and the all-reduce at the end.

Nothing that is wrong ends the visit: it becomes a finding, and what can still be looked at is.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from madrun import __version__
from madrun.doctor.bandwidth import NAME, failed, finding_of, not_run, of_network, read_all_reduce
from madrun.doctor.inside import findings_of, lacks_torch, read_look
from madrun.doctor.meeting import gather
from madrun.doctor.report import Examination, NodeReport, bounded, overall_line
from madrun.doctor.trial import ALL_REDUCE, LOOK, as_trial, attempt
from madrun.doctor.verdicts import JUDGES, ByNode, clocks, differences, reaches
from madrun.errors import ContextError, MadrunError
from madrun.node.channel.link import Aborted, SoloLink
from madrun.node.joining.doorways import used_addresses
from madrun.node.joining.gate import gate_of, greeting, offer
from madrun.node.joining.join import Party
from madrun.node.joining.reach import Doors, call_all
from madrun.node.task import Interrupt, Reporter, Stopped, Task
from madrun.probe.network import local_address_towards
from madrun.spec.codec import from_plain, to_plain
from madrun.spec.facts import HostFacts
from madrun.spec.finding import Finding
from madrun.spec.plan import Plan
from madrun.spec.record import Gate
from madrun.spec.topology import Meeting
from madrun.spec.validation import Invalid

# With one of these an all-reduce would fail for a reason that is known already.
_BLOCKS = ("MASTER_ADDR", "MASTER_PORT", "CONTROL_PORT", "interfaces", "plan", "card", "image", "engine", "nodes")
_BLOCKS_ALL = ("same job", "reach")
_DISTURBS = "GPU processes"  # a run of somebody else, which has to go on as if nobody looked
_CALLERS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """What is visited: one node, the card that a run would run there, and what is known of it already.

    `alone`, `together`: the card's run on this node by itself, and on all nodes; None where it could not be planned.
    `ranks`: of this node. `findings`: of the host and of the planning.
    """

    card: str
    facts: HostFacts
    meeting: Meeting
    plan: Plan | None
    alone: Task | None
    together: Task | None
    ranks: int
    findings: tuple[Finding, ...] = ()


@dataclass(slots=True)
class _Visit:
    """The visit so far; `about` is what node 0 found out of the others, `others` what they said of themselves."""

    patient: Patient
    interrupt: Interrupt
    reporter: Reporter
    own: list[Finding]
    about: ByNode = field(default_factory=dict)
    others: dict[int, NodeReport] = field(default_factory=dict)
    together: list[Finding] = field(default_factory=list)
    inside: str | None = None

    @property
    def rank(self) -> int:
        return self.patient.meeting.node_rank

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def hear(self, everyone: Mapping[str, Any]) -> None:
        """On node 0: what the other nodes have found on themselves."""
        for rank, payload in sorted(everyone.items()):
            if rank != "0" and isinstance(payload, dict) and "findings" in payload:
                name, findings = str(payload.get("hostname", "?")), tuple(_told(payload["findings"]))
                self.others[int(rank)] = NodeReport(rank=int(rank), hostname=name, findings=findings)

    def report(self) -> Examination:
        """What this node knows by now."""
        meeting, about = self.patient.meeting, self.about.get(self.rank, ())
        mine = NodeReport(rank=self.rank, hostname=meeting.hostname, findings=(*self.own, *about))
        others = [
            replace(one, findings=(*one.findings, *self.about.get(rank, ()))) for rank, one in self.others.items()
        ]
        nodes = tuple(sorted((mine, *others), key=lambda node: node.rank))
        return Examination(card=self.patient.card, madrun=__version__, nodes=nodes, together=tuple(self.together))


def examine(patient: Patient, limit_s: float, interrupt: Interrupt, reporter: Reporter) -> Examination:
    """All that was found. `limit_s`: how long nodes wait for each other, in seconds. Raises `Stopped` at a signal."""
    visit = _Visit(patient, interrupt, reporter, list(patient.findings))
    party: Party | None = None
    try:
        if patient.meeting.nnodes > 1:
            reporter.phase("join")
        party = gather(patient.meeting, patient.facts, limit_s, interrupt, reporter.line)
        return _with_others(visit, party)
    except Aborted as aborted:
        visit.own.append(_lost(aborted.failure.text))
    except MadrunError as error:
        visit.own.append(_lost(str(error)))
    except Stopped as stopped:
        if party is not None:
            party.link.fail(stopped.failure)  # the others hear what happened, and not that a connection ended
        raise
    finally:
        if party is not None:
            party.close()
    _look_inside(visit)
    if not any(one.name == NAME for one in visit.together):
        visit.together.append(not_run("the nodes did not come together"))
    return visit.report()


def _told(plain: Any) -> list[Finding]:
    """Findings of another node; one that says so where it is another madrun, whose words are others."""
    try:
        return [from_plain(Finding, one) for one in plain]
    except (Invalid, TypeError, ValueError) as error:
        text = f"what it found cannot be read here ({str(error)[:200]})"
        return [Finding(name="nodes", state="UNKNOWN", text=text, advice="install one madrun on every node")]


def _lost(text: str) -> Finding:
    advice = "the other nodes show what they found of themselves; mend this first, then look again"
    return Finding(name="nodes", state="FAIL", text=text, advice=advice)


def _with_others(visit: _Visit, party: Party) -> Examination:
    link, patient = party.link, visit.patient
    gate, why = _meet(visit, party)
    _look_inside(visit)
    found = {"hostname": patient.meeting.hostname, "findings": bounded(visit.own)}
    data, everyone = link.meet("doctor/seen", found | {"why": why or _why_not(visit), "lacks": _lacks(visit)})
    visit.hear(everyone)
    reason = str((data or {}).get("why", ""))
    _reduce(visit, party, gate, reason)
    said: dict[str, Any] = {}
    if visit.is_first:
        report = visit.report()
        about = {str(rank): to_plain(bounded(found)) for rank, found in visit.about.items()}
        said = {"overall": overall_line(report), "code": report.exit_code, "about": about}
    data, _ = link.meet("doctor/over", said, final=True)
    if visit.is_first:
        return visit.report()
    visit.about[visit.rank] = _told((data or {}).get("findings", ()))
    return replace(visit.report(), overall=str((data or {}).get("overall", "")), code=(data or {}).get("code"))


def _meet(visit: _Visit, party: Party) -> tuple[Gate, str]:
    """What the nodes find out of each other, and on node 0 why an all-reduce would be pointless."""
    patient, link = visit.patient, party.link
    meeting, plan = patient.meeting, patient.plan
    addresses = _addresses(patient)
    master = [(meeting.address, plan.node.master_port, "MASTER_PORT")] if plan and visit.is_first else []
    with Doors(addresses if meeting.nnodes > 1 else (), master, _CALLERS + 2 * meeting.nnodes) as doors:
        said = greeting([plan], patient.facts) if plan else {"madrun": __version__, "jobs": []}
        given = offer(plan, patient.facts, doors) if plan else {"at": [list(at) for at in doors.at]}
        payload = said | {"hostname": meeting.hostname, "offer": given | {"nonce": doors.nonce}}
        visit.reporter.phase("meet")
        first, everyone = link.meet("doctor/looked", payload | {"findings": bounded(visit.own)})
        visit.hear(everyone)
        peers = (first or {}).get("peers", [])
        failed_calls = call_all(peers)
        interface, address = addresses[0] if addresses else ("", "")
        found = {"hostname": meeting.hostname, "interface": interface, "address": address, "tried": len(peers)}
        data, reached = link.meet("doctor/reached", found | {"failed": failed_calls, "offset_s": link.offset_s})
    gate = gate_of(data)
    return gate, _judged(visit, (everyone, reached), gate) if visit.is_first else ""


def _judged(visit: _Visit, heard: tuple[Mapping[str, Any], Mapping[str, Any]], gate: Gate) -> str:
    """On node 0: what the nodes' words say of each other, and the first of it with which no all-reduce can succeed."""
    looked, reached = (
        {int(rank): payload for rank, payload in everyone.items() if rank != "failure"} for everyone in heard
    )
    unlike, alike = differences(_offering(looked))
    for found in (unlike, clocks(gate.offsets_s), reaches(reached) if len(reached) > 1 else {}):
        for rank, findings in found.items():
            visit.about.setdefault(rank, []).extend(findings)
    visit.together += alike
    for rank, findings in sorted(visit.about.items()):
        for one in findings:
            if one.state == "FAIL" and one.name in _BLOCKS_ALL:
                return f"{one.name} FAILed on node {rank}"
    return ""


def _offering(looked: dict[int, Any]) -> dict[int, Any]:
    """Nodes without a plan offer nothing that could be compared."""
    return {rank: one if one["jobs"] else {**one, "offer": None} for rank, one in looked.items()}


def _addresses(patient: Patient) -> list[tuple[str, str]]:
    """Interface and address that a run would use here; without a plan the one towards node 0."""
    found = used_addresses(patient.plan, patient.facts) if patient.plan else []
    if found:
        return found
    try:
        return [("", local_address_towards(patient.meeting.address))]
    except ContextError:
        return []


def _why_not(visit: _Visit) -> str:
    """What failed on this node without which no all-reduce can or may be; empty where nothing did."""
    here = f"on node {visit.rank} ({visit.patient.meeting.hostname})"
    for one in visit.own:
        if one.state == "FAIL" and one.name in _BLOCKS:
            return f"{one.name} FAILed {here}"
        if one.state == "FAIL" and one.name == _DISTURBS:
            return f"others compute {here}, and it would disturb them"
    return ""


def _lacks(visit: _Visit) -> str:
    """What this node lacks for an all-reduce, though nothing is wrong with it; empty where it lacks nothing."""
    lacking = "no plan" if visit.patient.together is None else visit.inside
    return f"{lacking} on node {visit.rank} ({visit.patient.meeting.hostname})" if lacking else ""


def _look_inside(visit: _Visit) -> None:
    """The image with the doctor's first program, on this node alone; once."""
    task = visit.patient.alone
    if visit.inside is not None or task is None:
        return
    visit.reporter.phase("look inside the image" if task.engine is not None else "look at the process runtime")
    # Nodes on one host may begin at the same moment, and one engine has each name once.
    trial = as_trial(task, LOOK, f"doctor-node-{visit.rank}-{os.getpid()}")
    tried = attempt(trial, Party(SoloLink(JUDGES)), visit.interrupt, visit.reporter)
    visit.interrupt.check(visit.rank)
    if tried.failure:
        visit.inside = "nothing could be started"
        advice = "`madrun run` would fail in the same way: the sentence above says what to mend"
        visit.own.append(Finding(name="image", state="FAIL", text=tried.failure, advice=advice))
        return
    inside, gpus = read_look(tried.lines), len(task.plan.node.gpus)
    place = "in the image" if task.plan.job.in_container else "on the host"
    visit.inside = lacks_torch(inside, gpus, place)
    visit.own += findings_of(inside, visit.patient.ranks, gpus, place)


def _reduce(visit: _Visit, party: Party, gate: Gate, reason: str) -> None:
    """The short all-reduce of all ranks; node 0 says what became of it."""
    task = visit.patient.together
    if reason or task is None:
        visit.together.append(not_run(reason or "no plan"))
        return
    visit.reporter.phase("all-reduce")
    trial = replace(as_trial(task, ALL_REDUCE, "doctor"), gate=gate if visit.patient.meeting.nnodes > 1 else None)
    tried = attempt(trial, party, visit.interrupt, visit.reporter)
    visit.interrupt.check(visit.rank)
    if not visit.is_first:
        return
    if tried.failure:
        visit.together.append(failed(tried.failure))
        return
    job = trial.plan.job
    ranks = job.nnodes * (1 if job.runner in ("plain", "script") else job.nproc_per_node)
    names = [visit.patient.meeting.hostname, *(node.hostname for node in visit.others.values())]
    visit.together.append(finding_of(read_all_reduce(tried.lines), ranks, names))
    visit.together += of_network(tried.network, tried.doubts, tried.unproven)
