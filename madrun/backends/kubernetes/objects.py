"""The objects of a launch in the cluster: made from the files of its folder, and removed again."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

from madrun.backends.kubernetes.cluster import Cluster
from madrun.backends.kubernetes.condition import has_ended, name_of, rank_of
from madrun.backends.kubernetes.manifests import secret
from madrun.backends.kubernetes.names import Names
from madrun.backends.kubernetes.refused import Away, Gone
from madrun.backends.kubernetes.render import OBJECTS, PAYLOADS, load
from madrun.backends.kubernetes.settings import KubernetesSettings
from madrun.backends.launchfolder import LaunchFolder
from madrun.errors import MadrunError, UsageError
from madrun.spec.launch import PRIVATE

JOBS = ("Job", "JobSet")
_TICK_S = 0.2


def submit(
    cluster: Cluster,
    folder: LaunchFolder,
    settings: KubernetesSettings,
    names: Names,
    stopped: Callable[[], bool] = lambda: False,
) -> None:
    """The Job first, so that all the rest is its own and goes with it; what was made is removed where one fails.

    Once `stopped`, nothing more is made.
    """
    objects = load((folder.path / OBJECTS).read_text(encoding="utf-8"))
    job = next(one for one in objects if one["kind"] in JOBS)
    private = (folder.path / PRIVATE).read_text(encoding="utf-8")
    others = [one for one in objects if one is not job]
    others.append(secret(settings, names, {PRIVATE: private}))
    for file in PAYLOADS.values():
        if (folder.path / file).exists():
            others += json.loads((folder.path / file).read_text(encoding="utf-8"))["items"]
    try:
        made = cluster.create(job)
        for one in others:
            if stopped():
                return
            cluster.create(_owned(one, made))
    except BaseException as error:
        failed = remove(cluster, folder, names)
        if failed and isinstance(error, MadrunError):
            raise UsageError(f"{error}\n{left_text(failed, folder, cluster, names)}") from None
        raise


def remove(cluster: Cluster, folder: LaunchFolder, names: Names) -> list[str]:
    """Asks for the end of all of them, until nobody answers; what could not be asked for, in words."""
    failed, away = [], 0
    for kind, name in _known(folder, names):
        try:
            cluster.delete(kind, name)
        except MadrunError as error:
            failed.append(f"{kind.lower()}/{name}: {error}")
            away += isinstance(error, Away)
            if away > 1:
                break
    return failed


def wait_removed(
    cluster: Cluster, names: Names, limit_s: float, hurry: Callable[[], bool] = lambda: False
) -> list[str]:
    """What is still there after so many seconds, in words: pods and their Job; none where all are gone.

    In a `hurry` nothing is waited for.
    """
    deadline = time.monotonic() + limit_s
    while True:
        try:
            pods, _ = cluster.pods(names.selector)
            left = list(map(_left, pods))
            if not left:
                cluster.get(names.kind, names.job)
                left = [f"{names.kind.lower()}/{names.job}"]
        except Gone:
            return []
        except Away as error:
            left = [str(error)]
        if time.monotonic() >= deadline or hurry():
            return left
        time.sleep(_TICK_S)


def force(cluster: Cluster, names: Names) -> None:
    """Takes pods off the API whose host no longer answers: it ends what runs there when it comes back."""
    pods, _ = cluster.pods(names.selector)
    for pod in pods:
        cluster.delete("Pod", name_of(pod), 0)


def left_text(left: list[str], folder: LaunchFolder, cluster: Cluster, names: Names) -> str:
    """What is left there, and the command that removes it."""
    return f"left in the cluster: {'; '.join(left)}; remove it: {_by_hand(folder, cluster, names)}"


def _by_hand(folder: LaunchFolder, cluster: Cluster, names: Names) -> str:
    kinds = "jobset" if any(kind == "JobSet" for kind, _ in _known(folder, names)) else "job"
    return f"kubectl -n {cluster.namespace} delete {kinds},service,configmap,secret,pod -l {names.selector}"


def _known(folder: LaunchFolder, names: Names) -> list[tuple[str, str]]:
    objects = load((folder.path / OBJECTS).read_text(encoding="utf-8"))
    found = [(one["kind"], one["metadata"]["name"]) for one in objects]
    job = next(one for one in objects if one["kind"] in JOBS)
    volumes = (job if job["kind"] == "Job" else job["spec"]["replicatedJobs"][0]["template"])["spec"]["template"]
    parts = [
        ("ConfigMap", source["configMap"]["name"]) if "configMap" in source else ("Secret", source["secret"]["name"])
        for volume in volumes["spec"]["volumes"]
        if volume["name"] == "payload"
        for source in volume["projected"]["sources"]
    ]
    first = [one for one in found if one[0] in JOBS]
    return [*first, *(one for one in found if one not in first), ("Secret", names.job), *parts]


def _owned(one: dict[str, Any], owner: dict[str, Any]) -> dict[str, Any]:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
    }
    return {**one, "metadata": {**one["metadata"], "ownerReferences": [reference]}}


def _left(pod: dict[str, Any]) -> str:
    host = (pod.get("spec") or {}).get("nodeName") or "no host"
    return f"node {rank_of(pod)} on {host}{'' if has_ended(pod) else ', which may still run'}"
