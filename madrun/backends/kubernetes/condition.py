"""What the objects of a launch say of it: pure functions of what the API answers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from madrun.backends.kubernetes.names import CONTAINER
from madrun.backends.state import LaunchPhase, LaunchState, NodeState
from madrun.errors import ExitCode

Manifest = Mapping[str, Any]
_INDEX = "batch.kubernetes.io/job-completion-index"
# Reasons of a container that waits which do not pass by themselves, and those that pass at most by luck.
_IMAGE = ("ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError")
_CONTAINER = ("CreateContainerConfigError", "CreateContainerError", "RunContainerError", "CrashLoopBackOff")
_DEADLINE = "DeadlineExceeded"
_ENDED = {"Complete": True, "SuccessCriteriaMet": True, "Completed": True, "Failed": False, "FailureTarget": False}
_TAKEN = ("Evicted", "NodeLost", "Preempting", "Shutdown", "NodeShutdown", "UnexpectedAdmissionError")
_NOT_BEGUN = ("StartError", "ContainerCannotRun")  # of a container that has ended: its first program could not be run
_GAVE_WAY = ("PreemptionByScheduler", "Preempting", "EvictionByEvictionAPI")
_KNOWN_CODES = frozenset(int(code) for code in ExitCode)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The exit code of the command, and why in words; empty where all went well."""

    code: int
    why: str = ""


def rank_of(pod: Manifest) -> int:
    """The completion index; -1 where there is none."""
    told = (pod.get("metadata") or {}).get("annotations") or {}
    return int(told.get(_INDEX, -1))


def container_of(pod: Manifest) -> dict[str, Any]:
    """State of the node's container: one of `waiting`, `running`, `terminated`; empty before there is any."""
    for status in (pod.get("status") or {}).get("containerStatuses") or []:
        if status.get("name") == CONTAINER:
            return dict(status.get("state") or {})
    return {}


def name_of(pod: Manifest) -> str:
    """Of the pod."""
    return str(pod["metadata"]["name"])


def has_begun(pod: Manifest) -> bool:
    """Whether its container runs or has run, so that it has a log."""
    state = container_of(pod)
    return "running" in state or "terminated" in state


def has_ended(pod: Manifest) -> bool:
    """Whether nothing runs in it any more, as far as the cluster knows."""
    return "terminated" in container_of(pod) or (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def ended(job: Manifest) -> bool | None:
    """Whether the Job or JobSet ended well; None while it goes on."""
    conditions = (job.get("status") or {}).get("conditions") or []
    for condition in conditions:
        if condition.get("status") == "True" and condition.get("type") in _ENDED:
            return _ENDED[condition["type"]]
    return None


def why_failed(job: Manifest) -> str:
    """The Job's own words for it."""
    for condition in (job.get("status") or {}).get("conditions") or []:
        if condition.get("status") == "True" and _ENDED.get(condition.get("type", "")) is False:
            return _sentence(condition)
    return ""


def wanted(job: Manifest) -> int:
    """How many pods a Job or a JobSet is to have."""
    spec = job.get("spec") or {}
    if "replicatedJobs" in spec:
        spec = spec["replicatedJobs"][0]["template"]["spec"]
    return int(spec.get("completions") or 1)


def trouble(job: Manifest, pods: Iterable[Manifest], events: Iterable[Manifest]) -> tuple[str, bool]:
    """Why something does not start, and whether it can be waited for; empty where nothing is known.

    Events outlive what they tell of by an hour: that no pod is made counts as long as one is missing.
    """
    known, told = list(pods), list(events)
    found = list(_of_containers(known))
    if len(known) < wanted(job):
        found += _of_creation(told)
    found += [*_of_places(known), *_of_volumes(told, str((job.get("metadata") or {}).get("name", "")))]
    return found[0] if found else ("", True)


def _of_containers(pods: Iterable[Manifest]) -> Iterator[tuple[str, bool]]:
    for pod in pods:
        waiting = container_of(pod).get("waiting") or {}
        reason, node = str(waiting.get("reason") or ""), f"node {rank_of(pod)}"
        if reason in _IMAGE:
            yield f"{node}: the image cannot be pulled: {_sentence(waiting)}", False
        if reason in _CONTAINER:
            yield f"{node}: the container cannot be made: {_sentence(waiting)}", False


def _of_creation(events: Iterable[Manifest]) -> Iterator[tuple[str, bool]]:
    for event in events:
        if event.get("reason") == "FailedCreate":
            message = str(event.get("message") or "")
            hint = "; leave that right out with --set kubernetes.ipc_lock=false" if "IPC_LOCK" in message else ""
            yield f"no pod is made: {message}{hint}", "exceeded quota" in message


def _of_places(pods: Iterable[Manifest]) -> Iterator[tuple[str, bool]]:
    for pod in pods:
        for condition in (pod.get("status") or {}).get("conditions") or []:
            if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
                yield f"node {rank_of(pod)} waits for a place: {condition.get('message') or 'no host is free'}", True


def _of_volumes(events: Iterable[Manifest], own: str) -> Iterator[tuple[str, bool]]:
    """Without the launch's `own` objects: they are made after the Job whose they are, and there by now."""
    for event in events:
        message = str(event.get("message") or "")
        if event.get("reason") in ("FailedMount", "FailedAttachVolume") and not (own and f'"{own}' in message):
            yield f"a volume is missing: {message}", True


def lost(pods: Iterable[Manifest], leaving: bool = True) -> str:
    """Which node was lost with its host or was evicted; empty where none was.

    `leaving`: also one that is deleted, which the Job itself does once it has failed.
    """
    return next((text for _, text in _lost(pods, leaving)), "")


def bad_hosts(pods: Iterable[Manifest], leaving: bool = True) -> dict[str, str]:
    """By name of the host why it lost its node; none where the node only had to give way to another."""
    found = {str((pod.get("spec") or {}).get("nodeName") or ""): text for pod, text in _lost(pods, leaving)}
    return {host: text for host, text in found.items() if host and not any(word in text for word in _GAVE_WAY)}


def _lost(pods: Iterable[Manifest], leaving: bool) -> Iterator[tuple[Manifest, str]]:
    for pod in pods:
        status = pod.get("status") or {}
        where = f"node {rank_of(pod)} on {(pod.get('spec') or {}).get('nodeName') or 'no host'}"
        for condition in status.get("conditions") or []:
            if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
                yield pod, f"{where} was taken away: {_sentence(condition)}"
        if status.get("reason") in _TAKEN:
            yield pod, f"{where} was taken away: {_sentence(status)}"
        if leaving and pod["metadata"].get("deletionTimestamp") and not has_ended(pod):
            yield pod, f"{where} is deleted from outside, or its host is lost"


def outcome(good: bool | None, why: str, pods: Iterable[Manifest]) -> Outcome:
    """What the command ends with: node 0's own code, unless it was ended for what another node had met.

    Who asks for the launch's end asks its attendant: a node that was interrupted was so by the cluster.
    """
    codes = {rank_of(pod): _terminated(pod) for pod in pods if _terminated(pod)}
    if good and all(state.get("exitCode") == 0 for state in codes.values()):
        return Outcome(0)
    first = min(
        (rank for rank, state in codes.items() if state.get("exitCode")),
        key=lambda rank: (str(codes[rank].get("finishedAt") or ""), rank),
        default=None,
    )
    if first is None or why.startswith(_DEADLINE):
        return Outcome(int(ExitCode.RUN_FAILED), why or "the Job failed and no node says why")
    text = _ended_text(first, codes[first])
    if codes[first].get("reason") in _NOT_BEGUN:
        return Outcome(int(ExitCode.USAGE), text)
    for rank in (0, first):
        code = codes.get(rank, {}).get("exitCode")
        if code and code in _KNOWN_CODES and code != ExitCode.INTERRUPTED:
            return Outcome(code, text)
    return Outcome(int(ExitCode.RUN_FAILED), text)


def launch_state(job: Manifest, pods: Sequence[Manifest], events: Iterable[Manifest]) -> LaunchState:
    """How far it has come, out of what the cluster has of it."""
    nodes = tuple(sorted((_node(pod) for pod in pods), key=lambda node: node.rank))
    good = ended(job)
    if good is not None:
        found = outcome(good, why_failed(job), pods)
        return LaunchState(phase="ended", reason=found.why, exit_code=found.code, nodes=nodes)
    begun, all_of_them = sum(map(has_begun, pods)), wanted(job)
    if begun >= all_of_them:
        return LaunchState(phase="running", reason=lost(pods), nodes=nodes)
    phase: LaunchPhase = "pending"
    reason, _ = trouble(job, pods, events)
    if (job.get("spec") or {}).get("suspend"):
        reason = "its queue has not admitted it"
    return LaunchState(phase=phase, reason=reason or f"{begun} of {all_of_them} pods have begun", nodes=nodes)


def _node(pod: Manifest) -> NodeState:
    state = container_of(pod)
    host = str((pod.get("spec") or {}).get("nodeName") or "")
    if done := state.get("terminated"):
        return NodeState(rank_of(pod), host, f"ended ({done.get('exitCode')})")
    if waiting := state.get("waiting"):
        return NodeState(rank_of(pod), host, str(waiting.get("reason") or "waiting"))
    phase = str((pod.get("status") or {}).get("phase") or "Pending")
    leaving = pod["metadata"].get("deletionTimestamp")
    return NodeState(rank_of(pod), host, "Terminating" if leaving else phase)


def _terminated(pod: Manifest) -> dict[str, Any]:
    return dict(container_of(pod).get("terminated") or {})


def _ended_text(rank: int, state: Mapping[str, Any]) -> str:
    reason = str(state.get("reason") or "Error")
    shown = "" if reason == "Error" else f" ({_sentence(state)})"
    return f"node {rank} ended first, with exit code {state.get('exitCode')}{shown}"


def _sentence(told: Manifest) -> str:
    reason, message = str(told.get("reason") or ""), str(told.get("message") or "").strip()
    return ": ".join(text for text in (reason, message) if text) or "the cluster gives no reason"
