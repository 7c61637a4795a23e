"""The pod of a node as Kubernetes takes it: the same text for every node, which differ by their completion index.

Fields are those of core/v1 PodSpec (kubernetes.io/docs/reference/kubernetes-api/workload-resources/pod-v1).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from madrun.backends.jobimage import job_image
from madrun.backends.kubernetes.names import CONTAINER, LABEL, Names
from madrun.backends.kubernetes.settings import RESOURCES, KubernetesSettings
from madrun.errors import ContextError
from madrun.spec.launch import PREFIX, PRIVATE, PROGRAM, REPOSITORY, RESULTS, Launch

LAUNCH, PAYLOAD, WORK = "/madrun/launch", "/madrun/payload", "/madrun/work"
CLAIMED = "/madrun/results"
START = "start.sh"
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"
_LOST = ("node.kubernetes.io/unreachable", "node.kubernetes.io/not-ready")  # 300 s where nothing is said
_OWNER_ONLY = 0o400
_SOURCES = {"ConfigMap": "configMap", "Secret": "secret"}


@dataclass(frozen=True, slots=True)
class Needs:
    """`image` of the node's container; `gpus` of it by the name of their resource; `parts`: the kinds of the
    objects that carry what the image lacks.
    """

    image: str
    gpus: dict[str, str]
    parts: tuple[str, ...]


def needs_of(launch: Launch, settings: KubernetesSettings, parts: tuple[str, ...]) -> Needs:
    """`ContextError` where the card's image would first have to be built, or nobody said how many GPUs a node gets."""
    vendor, image = job_image(launch, settings.image or None, settings.vendor)
    resource = settings.gpu_resource or RESOURCES.get(vendor, "")
    count = settings.gpus_per_node
    if resource and count is None:
        raise ContextError(
            f"kubernetes.gpus_per_node: is missing, and {image} is for {vendor or resource}; give how many {resource} "
            "each node gets, as --gpus-per-node N"
        )
    if count and not resource:
        raise ContextError(
            f"kubernetes.gpus_per_node: found {count}, but {image} is for {vendor or 'no known vendor'}; allowed: "
            f"beside --set kubernetes.vendor={' or '.join(RESOURCES)}, or kubernetes.gpu_resource"
        )
    return Needs(image, {resource: str(count)} if count else {}, parts)


def pod_template(launch: Launch, settings: KubernetesSettings, names: Names, needs: Needs) -> dict[str, Any]:
    """The template of all pods."""
    annotations = {"annotations": dict(settings.annotations)} if settings.annotations else {}
    return {
        "metadata": {"labels": {**settings.labels, LABEL: names.job}, **annotations},
        "spec": _spec(launch, settings, names, needs),
    }


def _spec(launch: Launch, settings: KubernetesSettings, names: Names, needs: Needs) -> dict[str, Any]:
    spec: dict[str, Any] = {
        "restartPolicy": "Never",
        "subdomain": names.service,
        "terminationGracePeriodSeconds": settings.seconds("termination_grace"),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "containers": [_container(launch, settings, names, needs)],
        "volumes": _volumes(settings, names, needs.parts),
        "tolerations": [*_lost_nodes(settings), *_gpu_nodes(needs), *settings.tolerations],
    }
    if settings.host_network:
        spec |= {"hostNetwork": True, "dnsPolicy": "ClusterFirstWithHostNet"}
    if settings.spread and launch.nnodes > 1:
        spec["topologySpreadConstraints"] = [_one_a_host(names)]
    if settings.user is not None:
        spec["securityContext"] = {"runAsUser": settings.user, "fsGroup": settings.user}
    said = {
        "nodeSelector": dict(settings.node_selector),
        "affinity": dict(settings.affinity),
        "priorityClassName": settings.priority_class,
        "serviceAccountName": settings.service_account,
        "imagePullSecrets": [{"name": name} for name in settings.pull_secrets],
    }
    return spec | {key: value for key, value in said.items() if value}


def _one_a_host(names: Names) -> dict[str, Any]:
    """A node of the run is a host of its own: two on one host would share its GPUs' links and ports."""
    return {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {LABEL: names.job}},
    }


def _container(launch: Launch, settings: KubernetesSettings, names: Names, needs: Needs) -> dict[str, Any]:
    mounts: list[dict[str, Any]] = [
        {"name": "launch", "mountPath": LAUNCH, "readOnly": True},
        {"name": "work", "mountPath": WORK},
        {"name": "shm", "mountPath": "/dev/shm"},
    ]
    if needs.parts:
        mounts.append({"name": "payload", "mountPath": PAYLOAD, "readOnly": True})
    if settings.results_claim:
        mounts.append({"name": "results", "mountPath": CLAIMED})
    mounts += [
        {"name": f"data-{place}", "mountPath": path, "readOnly": True}
        for place, path in enumerate(settings.data_claims.values())
    ]
    found: dict[str, Any] = {
        "name": CONTAINER,
        "image": needs.image,
        "imagePullPolicy": settings.pull_policy,
        "command": ["sh", f"{LAUNCH}/{START}"],
        "env": _env(launch, settings, names),
        "volumeMounts": mounts,
    }
    if resources := _resources(settings, needs):
        found["resources"] = {"limits": resources, "requests": dict(resources)}
    if rights := _rights(settings):
        found["securityContext"] = rights
    return found


def _env(launch: Launch, settings: KubernetesSettings, names: Names) -> list[dict[str, Any]]:
    """What node.sh reads. The namespace is the pod's own, so that the file serves in any."""
    repository = f"{WORK}/repository" if settings.repository == "carry" else settings.repository
    results = CLAIMED if settings.results_claim else _results(launch, settings)
    own: list[dict[str, Any]] = []
    if settings.namespace:
        namespace = settings.namespace
    else:
        namespace = f"$({PREFIX}NAMESPACE)"
        where = {"fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
        own.append({"name": f"{PREFIX}NAMESPACE", "valueFrom": where})
    values = {
        f"{PREFIX}MASTER_ADDR": launch.master_addr or names.master(namespace),
        PROGRAM: f"{WORK}/program",
        REPOSITORY: repository,
        RESULTS: results,
    }
    secrets = []
    for name, word in settings.secrets.items():
        secret, _, key = word.partition("/")
        secrets.append({"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
    return [*own, *({"name": name, "value": value} for name, value in values.items()), *secrets]


def _results(launch: Launch, settings: KubernetesSettings) -> str:
    """Where they are beside the repository here, so that the paths that node 0 shows are right on this host too."""
    here, root = PurePosixPath(launch.results), PurePosixPath(launch.repository)
    if settings.repository == "carry" and here.is_relative_to(root):
        return f"{WORK}/repository/{here.relative_to(root)}"
    return f"{WORK}/results"


def _resources(settings: KubernetesSettings, needs: Needs) -> dict[str, str]:
    """Limits, which are the requests too: GPUs allow nothing else, and what a node measures is not to be shared."""
    found = {"cpu": settings.cpus, "memory": settings.memory, **needs.gpus}
    found |= {name: str(count) for name, count in settings.rdma_resource.items()}
    return {name: value for name, value in found.items() if value}


def _rights(settings: KubernetesSettings) -> dict[str, Any]:
    found: dict[str, Any] = {"privileged": True} if settings.privileged else {}
    if settings.ipc_lock:
        found["capabilities"] = {"add": ["IPC_LOCK"]}
    return found


def _lost_nodes(settings: KubernetesSettings) -> list[dict[str, Any]]:
    patience = settings.seconds("unreachable")
    return [{"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": patience} for key in _LOST]


def _gpu_nodes(needs: Needs) -> list[dict[str, Any]]:
    """Hosts with GPUs are commonly tainted by the name of their resource."""
    return [{"key": name, "operator": "Exists", "effect": "NoSchedule"} for name in needs.gpus]


def _volumes(settings: KubernetesSettings, names: Names, parts: tuple[str, ...]) -> list[dict[str, Any]]:
    private = {"name": names.job, "items": [{"key": PRIVATE, "path": PRIVATE, "mode": _OWNER_ONLY}]}
    launch = [{"configMap": {"name": names.job}}, {"secret": private}]
    found: list[dict[str, Any]] = [
        {"name": "launch", "projected": {"sources": launch}},
        {"name": "work", "emptyDir": {}},
        {"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": settings.shm_size}},
    ]
    if parts:
        sources = [{_SOURCES[kind]: {"name": part_name(names, place)}} for place, kind in enumerate(parts)]
        found.append({"name": "payload", "projected": {"sources": sources}})
    if settings.results_claim:
        found.append({"name": "results", "persistentVolumeClaim": {"claimName": settings.results_claim}})
    return found + [
        {"name": f"data-{place}", "persistentVolumeClaim": {"claimName": claim, "readOnly": True}}
        for place, claim in enumerate(settings.data_claims)
    ]


def part_name(names: Names, place: int) -> str:
    """Of one of the objects that carry what the image lacks."""
    return f"{names.job}-part-{place}"
