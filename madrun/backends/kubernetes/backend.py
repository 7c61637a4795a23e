"""Kubernetes: an Indexed Job or a JobSet whose pods are the nodes; the cluster keeps it going, this process follows."""

from __future__ import annotations

from pathlib import Path

from madrun.backends.head import Head
from madrun.backends.kubernetes import objects
from madrun.backends.kubernetes.cluster import Cluster, check_rights, connect
from madrun.backends.kubernetes.condition import Outcome, has_ended, launch_state, name_of, rank_of
from madrun.backends.kubernetes.home import Sieve, bring_home
from madrun.backends.kubernetes.madkeys import unused
from madrun.backends.kubernetes.names import Names, names_of
from madrun.backends.kubernetes.payload import marker
from madrun.backends.kubernetes.podlog import PodLog
from madrun.backends.kubernetes.refused import Gone
from madrun.backends.kubernetes.render import PAYLOADS, render
from madrun.backends.kubernetes.settings import KubernetesSettings, read
from madrun.backends.kubernetes.watch import Watch
from madrun.backends.launchfolder import ATTENDANT, LaunchFolder
from madrun.backends.ssh import aside
from madrun.backends.ssh.look import log_of, show_log, state_of
from madrun.backends.state import LaunchState, Which
from madrun.errors import ExitCode, MadrunError, UsageError
from madrun.locks import is_held
from madrun.spec.launch import BROUGHT_HOME, Launch

__all__ = ["conduct", "logs", "read", "render", "state", "stop"]

_SUBMITTED = "submitted"  # the event of the journal: the objects are in the cluster
_MORE_S = 15.0  # beyond the grace of the pods, until they have to be gone
_FORCED_S = 10.0


def conduct(folder: LaunchFolder, head: Head, detach: bool) -> int:
    """Submits, follows, brings home what node 0 sends, and removes all of it from the cluster.

    A launch that was submitted and whose attendant is gone is followed on. The exit code is node 0's, or that of the
    node that failed first; 2 where it could not start, 3 where a node was lost, 130 where a signal came.
    """
    if detach:
        return aside.detach(folder, head)
    launch = folder.launch()
    settings, _ = read(launch.settings, launch.nnodes)
    found = Outcome(int(ExitCode.INTERNAL), "a defect of madrun")
    try:
        found = _conduct(folder, head, launch, settings)
    except MadrunError as error:
        found = Outcome(int(error.exit_code), str(error))
        raise
    finally:
        folder.forget_private()
        for file in PAYLOADS.values():
            (folder.path / file).unlink(missing_ok=True)  # as large as what they are made of, which is still here
        folder.journal("ended", exit_code=found.code, why=found.why)
    return found.code


def _conduct(folder: LaunchFolder, head: Head, launch: Launch, settings: KubernetesSettings) -> Outcome:
    names = names_of(launch.id, launch.nnodes, settings.jobset)
    cluster = connect(settings)
    if not _submitted(folder):
        if ignored := unused(launch.settings):
            head.say(f"kubernetes: not used: {', '.join(ignored)}; a node that fails is not started again")
        check_rights(cluster, settings.jobset)
        objects.submit(cluster, folder, settings, names)
        folder.journal(_SUBMITTED, namespace=cluster.namespace, job=names.job, server=cluster.server)
        head.say(f"{'jobset' if settings.jobset else 'job'}/{names.job} in namespace {cluster.namespace}")
    hosts = [f"{names.host}-{rank}" for rank in range(launch.nnodes)]
    folder.journal(aside.STARTED, hosts=hosts)
    watch = Watch(cluster, names, settings, head, folder.path)
    try:
        found = watch.follow()
        if found.why:
            head.say(found.why)
        if found.code != ExitCode.INTERRUPTED:
            watch.drain(_MORE_S)
        _remove(cluster, folder, head, names, (settings, watch))
        _take_home(folder, head, launch, watch.sieve)
        return found
    finally:
        watch.close()


def _remove(
    cluster: Cluster, folder: LaunchFolder, head: Head, names: Names, by: tuple[KubernetesSettings, Watch]
) -> None:
    """All of it, and waits until the pods are gone; those of a lost host are taken off the API."""
    settings, watch = by
    grace = settings.seconds("termination_grace") or 0
    watch.attach()
    failed = objects.remove(cluster, folder, names, 0 if head.count > 1 else None)
    watch.drain(grace + _MORE_S if watch.sieve.archive is None else 0, only_first=True)
    left = objects.wait_removed(cluster, names, grace + _MORE_S)
    if left:
        try:
            objects.force(cluster, names)
            left = objects.wait_removed(cluster, names, _FORCED_S)
        except MadrunError as error:
            left = [*left, str(error)]
    if failed or left:
        head.say(
            f"left in the cluster: {'; '.join([*failed, *left])}; remove it: {objects.by_hand(folder, cluster, names)}"
        )
    else:
        folder.journal("removed")


def _take_home(folder: LaunchFolder, head: Head, launch: Launch, sieve: Sieve) -> None:
    if sieve.archive is None:
        head.say("no results came home: node 0 was ended before it could send them")
        return
    try:
        runs = bring_home(sieve.archive, Path(launch.results))
    except (MadrunError, OSError) as error:
        head.say(f"the results are not brought home: {error}")
        return
    if sieve.left_out:
        head.say(
            f"too large to come home (kubernetes.results_limit): {', '.join(sieve.left_out)}; with "
            "kubernetes.results_claim they stay there"
        )
    if runs:
        folder.journal(BROUGHT_HOME, runs=list(runs))


def state(folder: LaunchFolder) -> LaunchState:
    """As the cluster has it, unless the launch has ended or was never submitted."""
    told = state_of(folder)
    if told.phase == "ended" or not _submitted(folder):
        return told
    try:
        cluster, names, settings = _reach(folder)
        job = cluster.get("JobSet" if settings.jobset else "Job", names.job)
        pods, _ = cluster.pods(names.selector)
        waiting = [name_of(pod) for pod in pods if not has_ended(pod)][:1]
        events = [event for name in (names.job, *waiting) for event in cluster.events(name)]
        return launch_state(job, pods, events)
    except Gone:
        return LaunchState(phase="lost", reason="the cluster has it no more, and nobody brought its results home")
    except MadrunError as error:
        return LaunchState(phase="lost", reason=str(error))


def logs(folder: LaunchFolder, head: Head, which: Which) -> int:
    """What a node printed: from the folder while it is attended or has ended, else from the cluster itself."""
    if not _submitted(folder) or state_of(folder).phase == "ended" or is_held(folder.path / ATTENDANT):
        return show_log(folder, head, which)
    cluster, names, _ = _reach(folder)
    pods, _ = cluster.pods(names.selector)
    chosen = next((pod for pod in pods if rank_of(pod) == which.node), None)
    if chosen is None:
        raise UsageError(
            f"node {which.node}: the cluster has no pod of it; {log_of(folder, which.node)} holds what came"
        )
    sieve = Sieve(marker(names), head.show, head.tell)
    follower = PodLog(
        cluster, name_of(chosen), sieve.take, lambda: not which.follow or _is_over(cluster, names, chosen)
    )
    follower.start()
    while not follower.wait(0.2) and not head.stop.is_set():
        pass
    follower.close()
    sieve.flush()
    return 0


def _is_over(cluster: Cluster, names: Names, pod: dict[str, object]) -> bool:
    pods, _ = cluster.pods(names.selector)
    return all(has_ended(one) for one in pods if name_of(one) == name_of(pod))


def stop(folder: LaunchFolder, head: Head) -> int:
    """Removes it from the cluster and waits until its pods are gone; 3 where something is left."""
    cluster, names, settings = _reach(folder)
    failed = objects.remove(cluster, folder, names)
    limit = (settings.seconds("termination_grace") or 0) + _MORE_S
    left = [*failed, *objects.wait_removed(cluster, names, limit, head.stop)]
    folder.forget_private()
    if left:
        head.say(f"left in the cluster: {'; '.join(left)}; remove it: {objects.by_hand(folder, cluster, names)}")
        return int(ExitCode.RUN_FAILED)
    if state_of(folder).phase != "ended" and not is_held(folder.path / ATTENDANT):
        folder.journal("ended", exit_code=int(ExitCode.INTERRUPTED), why="madrun stop")
    head.say(f"{folder.path.name}: nothing of it is left in the cluster")
    return 0


def _reach(folder: LaunchFolder) -> tuple[Cluster, Names, KubernetesSettings]:
    launch = folder.launch()
    settings, _ = read(launch.settings, launch.nnodes)
    cluster = connect(settings)
    for event in folder.events():
        if event.get("event") == _SUBMITTED:
            cluster.namespace = str(event["namespace"])  # the user's context may name another by now
    return cluster, names_of(launch.id, launch.nnodes, settings.jobset), settings


def _submitted(folder: LaunchFolder) -> bool:
    return any(event.get("event") == _SUBMITTED for event in folder.events())
