"""The objects of a launch: ConfigMap, headless Service, and an Indexed Job or a JobSet.

Fields: batch/v1 Job (kubernetes.io/docs/concepts/workloads/controllers/job), jobset.x-k8s.io/v1alpha2 JobSet
(jobset.sigs.k8s.io/docs/reference), Kueue's label (kueue.sigs.k8s.io/docs/tasks/run/jobs).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from madrun.backends.kubernetes.names import LABEL, REPLICATED, Names
from madrun.backends.kubernetes.pods import QUEUE_LABEL, Needs, pod_template
from madrun.backends.kubernetes.settings import KubernetesSettings
from madrun.errors import UsageError
from madrun.spec.launch import Launch

Manifest = dict[str, Any]
CONFIG_LIMIT = 1 << 20  # what the API takes as the data of one ConfigMap, in bytes


def manifests(
    launch: Launch, settings: KubernetesSettings, names: Names, files: Mapping[str, str], needs: Needs
) -> list[Manifest]:
    """All but the Secret and the parts, in the order in which they are made by hand; `files` for every node."""
    found = [_config_map(settings, names, files)]
    if settings.jobset:
        return [*found, _jobset(launch, settings, names, needs)]
    return [*found, _service(settings, names), _job(launch, settings, names, needs)]


def metadata(settings: KubernetesSettings, name: str, job: str, more: Mapping[str, str] = {}) -> Manifest:
    """Name, labels and namespace of an object of the launch."""
    found: Manifest = {"name": name, "labels": {**settings.labels, **more, LABEL: job}}
    if settings.namespace:
        found["namespace"] = settings.namespace
    if settings.annotations:
        found["annotations"] = dict(settings.annotations)
    return found


def secret(settings: KubernetesSettings, names: Names, private: Mapping[str, str]) -> Manifest:
    """The Secret with the private file; it is made from the launch's folder and stands in no file."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(settings, names.job, names.job),
        "type": "Opaque",
        "immutable": True,
        "stringData": dict(private),
    }


def part(settings: KubernetesSettings, names: Names, what: tuple[str, str], data: Mapping[str, str]) -> Manifest:
    """The object of this kind and name with a piece of what is carried, as base64."""
    kind, name = what
    return {
        "apiVersion": "v1",
        "kind": kind,
        "metadata": metadata(settings, name, names.job),
        "immutable": True,
        "data" if kind == "Secret" else "binaryData": dict(data),
    }


def _config_map(settings: KubernetesSettings, names: Names, files: Mapping[str, str]) -> Manifest:
    size = sum(len(name) + len(text.encode()) for name, text in files.items())
    if size > CONFIG_LIMIT:
        largest = max(files, key=lambda name: len(files[name]))
        raise UsageError(
            f"--on kubernetes: the files of the launch hold {size} bytes, most of them {largest}; a ConfigMap takes "
            f"{CONFIG_LIMIT}: make that file smaller"
        )
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": metadata(settings, names.job, names.job),
        "immutable": True,
        "data": dict(files),
    }


def _service(settings: KubernetesSettings, names: Names) -> Manifest:
    """Headless, and with the names of pods that are not ready: node 0 has to be found before it answers anything."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata(settings, names.service, names.job),
        "spec": {"clusterIP": "None", "publishNotReadyAddresses": True, "selector": {LABEL: names.job}},
    }


def _job(launch: Launch, settings: KubernetesSettings, names: Names, needs: Needs) -> Manifest:
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata(settings, names.job, names.job, _queue(settings)),
        "spec": {
            **({"suspend": True} if settings.queue else {}),
            "ttlSecondsAfterFinished": settings.seconds("ttl"),
            **_job_spec(launch, settings, names, needs),
        },
    }


def _job_spec(launch: Launch, settings: KubernetesSettings, names: Names, needs: Needs) -> Manifest:
    deadline = settings.seconds("deadline")
    return {
        "completionMode": "Indexed",
        "completions": launch.nnodes,
        "parallelism": launch.nnodes,
        "backoffLimit": 0,
        **({"activeDeadlineSeconds": deadline} if deadline else {}),
        "podFailurePolicy": {"rules": _FAILURES},
        "template": pod_template(launch, settings, names, needs),
    }


# Nothing is tried again: a node that begins anew is no part of the run that the others are in. Without the rule a pod
# that is evicted or preempted would not count as failed.
_FAILURES: list[Manifest] = [
    {"action": "FailJob", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
]


def _jobset(launch: Launch, settings: KubernetesSettings, names: Names, needs: Needs) -> Manifest:
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": metadata(settings, names.job, names.job, _queue(settings)),
        "spec": {
            **({"suspend": True} if settings.queue else {}),
            "ttlSecondsAfterFinished": settings.seconds("ttl"),
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True, "subdomain": names.service},
            "failurePolicy": {"maxRestarts": 0},
            "replicatedJobs": [
                {
                    "name": REPLICATED,
                    "replicas": 1,
                    "template": {
                        "metadata": {"labels": {LABEL: names.job}},
                        "spec": _job_spec(launch, settings, names, needs),
                    },
                }
            ],
        },
    }


def _queue(settings: KubernetesSettings) -> dict[str, str]:
    return {QUEUE_LABEL: settings.queue} if settings.queue else {}
