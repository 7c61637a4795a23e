"""Kubernetes: an Indexed Job or a JobSet whose pods are the nodes; the cluster keeps it going, this process follows."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path

from madrun.backends import aside
from madrun.backends.head import Head
from madrun.backends.kubernetes import objects
from madrun.backends.kubernetes.cluster import Cluster, check_rights, connect
from madrun.backends.kubernetes.condition import Outcome, has_begun, has_ended, launch_state, name_of, rank_of
from madrun.backends.kubernetes.home import Sieve, Sink, bring_home
from madrun.backends.kubernetes.madkeys import unused
from madrun.backends.kubernetes.names import Names, names_of
from madrun.backends.kubernetes.payload import marker
from madrun.backends.kubernetes.podlog import PodLog, Seen
from madrun.backends.kubernetes.refused import Gone
from madrun.backends.kubernetes.render import PAYLOADS, render
from madrun.backends.kubernetes.settings import KubernetesSettings, read
from madrun.backends.kubernetes.watch import Watch
from madrun.backends.launchfolder import ATTENDANT, LaunchFolder
from madrun.backends.look import log_of, show_log, state_of
from madrun.backends.state import LaunchState, Which
from madrun.errors import ExitCode, MadrunError, UsageError
from madrun.locks import is_held
from madrun.spec.launch import BROUGHT_HOME, Launch

__all__ = ["conduct", "logs", "read", "render", "state", "stop"]

# Events of the journal: the objects are about to be in the cluster; all of them are.
_SUBMITTING, _SUBMITTED = "submitting", "submitted"
_MORE_S = 15.0  # beyond the grace of the pods, until they have to be gone
_FORCED_S, _TICK_S = 10.0, 0.2


def conduct(folder: LaunchFolder, head: Head, detach: bool) -> int:
    """Submits, follows, brings home what node 0 sends, and removes all of it from the cluster.

    A launch that was submitted and whose attendant is gone is followed on. The exit code is node 0's, or that of the
    node that failed first; 2 where it could not start, 3 where a node was lost or the results did not come home, 130
    where a signal came.
    """
    if detach:
        text = "submitted for {nodes}, which may wait for a place"
        return aside.detach(folder, head, _SUBMITTED, text)
    launch = folder.launch()
    settings, _ = read(launch.settings, launch.nnodes)
    found = Outcome(int(ExitCode.INTERNAL), "a defect of madrun")
    try:
        found = _conduct(folder, head, launch, settings)
    except MadrunError as error:
        found = Outcome(int(error.exit_code), str(error))
        raise
    finally:
        _forget(folder)
        folder.journal("ended", exit_code=found.code, why=found.why)
    return found.code


def _conduct(folder: LaunchFolder, head: Head, launch: Launch, settings: KubernetesSettings) -> Outcome:
    names = names_of(launch.id, launch.nnodes, settings.jobset)
    cluster = connect(settings)
    if folder.has(_SUBMITTED):
        cluster.namespace = _namespace(folder) or cluster.namespace
    else:
        _submit(folder, head, launch, (cluster, names, settings))
    watch = Watch(cluster, names, settings, head, folder)
    try:
        found = watch.follow()
        if found.why:
            head.say(found.why)
        if found.code != ExitCode.INTERRUPTED:
            watch.drain(_MORE_S)
        _remove(cluster, folder, head, names, (settings, watch))
        if not _take_home(folder, head, launch, (settings, watch, found)) and not found.code:
            return Outcome(int(ExitCode.RUN_FAILED), "its results did not come home")
        return found
    finally:
        watch.close()


def _submit(folder: LaunchFolder, head: Head, launch: Launch, to: tuple[Cluster, Names, KubernetesSettings]) -> None:
    cluster, names, settings = to
    if folder.has(_SUBMITTING):
        cluster.namespace = _namespace(folder) or cluster.namespace
        failed = objects.remove(cluster, folder, names)
        left = objects.left_text(failed, folder, cluster, names) if failed else "what was there of it is removed"
        raise UsageError(f"{launch.id}: its attendant was killed while it was submitted; {left}; type the command anew")
    if ignored := unused(launch.settings):
        head.say(f"kubernetes: not used: {', '.join(ignored)}; a node that fails is not started again")
    check_rights(cluster, settings.jobset)
    folder.journal(_SUBMITTING, namespace=cluster.namespace, job=names.job, server=cluster.server)
    objects.submit(cluster, folder, settings, names, head.stop.is_set)
    folder.journal(_SUBMITTED)
    head.say(f"{names.kind.lower()}/{names.job} in namespace {cluster.namespace}")


def _remove(
    cluster: Cluster, folder: LaunchFolder, head: Head, names: Names, by: tuple[KubernetesSettings, Watch]
) -> None:
    """All of it, and waits until the pods are gone; those of a lost host are taken off the API."""
    settings, watch = by
    grace = settings.seconds("termination_grace") or 0
    watch.attach()
    failed = objects.remove(cluster, folder, names)
    watch.drain(grace + _MORE_S if watch.sieve.archive is None else 0, only_first=True)
    left = objects.wait_removed(cluster, names, grace + _MORE_S, lambda: head.count > 1)
    if left:
        try:
            objects.force(cluster, names)
            left = objects.wait_removed(cluster, names, _FORCED_S)
        except MadrunError as error:
            left = [*left, str(error)]
    if failed or left:
        head.say(objects.left_text([*failed, *left], folder, cluster, names))
    else:
        folder.journal("removed")


def _take_home(folder: LaunchFolder, head: Head, launch: Launch, by: tuple[KubernetesSettings, Watch, Outcome]) -> bool:
    """Whether they came; what is wrong with them is said."""
    settings, watch, found = by
    sieve = watch.sieve
    claim = f"; they lie on the claim {settings.results_claim}" if settings.results_claim else ""
    if sieve.archive is None:
        if sieve.damaged:
            head.say(f"the results are not brought home: what node 0 sent came damaged{claim}")
        elif watch.heard_first or not found.code:
            why = "node 0 was ended before it could send them, or its host has cut its log"
            head.say(f"no results came home: {why}{claim}")
        return False
    try:
        runs = bring_home(sieve.archive, Path(launch.results))
    except (MadrunError, OSError) as error:
        head.say(f"the results are not brought home: {error}{claim}")
        return False
    if sieve.left_out:
        head.say(
            f"too large to come home (kubernetes.results_limit): {', '.join(sieve.left_out)}"
            f"{claim or '; with kubernetes.results_claim they stay there'}"
        )
    if runs:
        folder.journal(BROUGHT_HOME, runs=list(runs))
    return True


def state(folder: LaunchFolder) -> LaunchState:
    """As the cluster has it, unless the launch has ended or was never submitted."""
    told, attended = state_of(folder), is_held(folder.path / ATTENDANT)
    if told.phase == "ended" or not folder.has(_SUBMITTING):
        return told
    try:
        cluster, names, _ = _reach(folder)
        job = cluster.get(names.kind, names.job)
        pods, _ = cluster.pods(names.selector)
        waiting = [name_of(pod) for pod in pods if not has_begun(pod)][:1]
        events = [event for name in (*names.told_of, *waiting) for event in cluster.events(name)]
        found = launch_state(job, pods, events)
    except Gone:
        if attended:
            return told
        return LaunchState(phase="lost", reason="the cluster has it no more, and nobody brought its results home")
    except MadrunError as error:
        return LaunchState(phase="running" if attended else "lost", reason=str(error))
    if attended:  # which brings home what has ended, and says so then
        return replace(found, phase="running", exit_code=None) if found.phase == "ended" else found
    hint = f"nobody attends it; madrun attend {folder.path} follows it, and brings its results home"
    return replace(found, reason="; ".join(filter(None, (found.reason, hint))))


def logs(folder: LaunchFolder, head: Head, which: Which) -> int:
    """What a node printed: from the folder while it is attended or has ended, else from the cluster itself."""
    if not folder.has(_SUBMITTED) or state_of(folder).phase == "ended" or is_held(folder.path / ATTENDANT):
        return show_log(folder, head, which)
    cluster, names, _ = _reach(folder)
    pods, _ = cluster.pods(names.selector)
    chosen = next((name_of(pod) for pod in pods if rank_of(pod) == which.node), None)
    if chosen is None:
        raise UsageError(
            f"node {which.node}: the cluster has no pod of it; {log_of(folder, which.node)} holds what came"
        )
    lines: deque[tuple[Sink, bytes]] = deque(maxlen=which.lines)
    until_now = Sieve(
        marker(names), lambda line: lines.append((head.show, line)), lambda line: lines.append((head.tell, line))
    )
    seen = _all_of(head, PodLog(cluster, chosen, until_now.take, lambda: True))
    until_now.flush()
    for show, line in lines:
        show(line)
    if which.follow:
        sieve = Sieve(marker(names), head.show, head.tell)
        _all_of(head, PodLog(cluster, chosen, sieve.take, lambda: _is_over(cluster, names, chosen), seen))
        sieve.flush()
    return 0


def _all_of(head: Head, log: PodLog) -> Seen:
    """Until it is all there, or a signal comes."""
    log.start()
    while not log.wait(_TICK_S) and not head.stop.is_set():
        pass
    log.close()
    return log.seen


def _is_over(cluster: Cluster, names: Names, pod: str) -> bool:
    pods, _ = cluster.pods(names.selector)
    return all(has_ended(one) for one in pods if name_of(one) == pod)


def stop(folder: LaunchFolder, head: Head) -> int:
    """Removes it from the cluster and waits until its pods are gone; 3 where something is left."""
    cluster, names, settings = _reach(folder)
    failed = objects.remove(cluster, folder, names)
    limit = (settings.seconds("termination_grace") or 0) + _MORE_S
    left = [*failed, *objects.wait_removed(cluster, names, limit, head.stop.is_set)]
    if left:
        head.say(objects.left_text(left, folder, cluster, names))
        return int(ExitCode.RUN_FAILED)
    if state_of(folder).phase != "ended" and not is_held(folder.path / ATTENDANT):
        _forget(folder)
        folder.journal("ended", exit_code=int(ExitCode.INTERRUPTED), why="madrun stop")
    head.say(f"{folder.path.name}: nothing of it is left in the cluster")
    return 0


def _forget(folder: LaunchFolder) -> None:
    """What the cluster was given, which is private, or as large as what it is made of, which is still here."""
    folder.forget_private()
    for file in PAYLOADS.values():
        (folder.path / file).unlink(missing_ok=True)


def _reach(folder: LaunchFolder) -> tuple[Cluster, Names, KubernetesSettings]:
    launch = folder.launch()
    settings, _ = read(launch.settings, launch.nnodes)
    cluster = connect(settings)
    cluster.namespace = _namespace(folder) or cluster.namespace
    return cluster, names_of(launch.id, launch.nnodes, settings.jobset), settings


def _namespace(folder: LaunchFolder) -> str:
    """That to which it was submitted: the user's context may name another by now."""
    return next((str(event["namespace"]) for event in folder.events() if event.get("event") == _SUBMITTING), "")
