"""A namespace of a cluster through the official client, with plain dicts in and out and errors in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from madrun.backends.kubernetes.names import CONTAINER
from madrun.backends.kubernetes.refused import Away, Gone, refusal
from madrun.backends.kubernetes.settings import KubernetesSettings
from madrun.errors import UsageError

Manifest = dict[str, Any]
JOBSET = ("jobset.x-k8s.io", "v1alpha2")
_CONNECT_S, _ANSWER_S, _WATCH_S, _SILENT_S = 10.0, 30.0, 60, 300.0
_CONNECTIONS = 80  # one for each log that is followed, and a few
_RETRIES = 1  # of a connection that is not made: who follows asks again anyhow
_DEFAULT = "default"
OWN_NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")  # of a pod, as kubectl reads it

# What a launch does there: API group, resource, verbs. Asked for before anything is made.
RIGHTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "configmaps", ("create", "delete")),
    ("", "secrets", ("create", "delete")),
    ("", "pods", ("list", "watch")),
    ("", "pods/log", ("get",)),
)
_JOB_RIGHTS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("", "services", ("create", "delete")),
    ("batch", "jobs", ("create", "get", "delete")),
)
_JOBSET_RIGHTS = ((JOBSET[0], "jobsets", ("create", "get", "delete")),)


class Cluster:
    """Every call raises `Gone` for what is not there, `Away` where nobody answers, else what `refusal` makes of it."""

    def __init__(self, client: Any, namespace: str) -> None:
        from kubernetes import client as api

        self.namespace = namespace
        self._client = client
        self._core, self._batch = api.CoreV1Api(client), api.BatchV1Api(client)
        self._custom, self._rights = api.CustomObjectsApi(client), api.AuthorizationV1Api(client)

    @property
    def server(self) -> str:
        """Address of the API."""
        return str(self._client.configuration.host)

    def create(self, manifest: Manifest) -> Manifest:
        """The object as the API has it then."""
        kind, what = str(manifest["kind"]), f"create {manifest['kind'].lower()}s"
        if kind == "JobSet":
            call = self._custom.create_namespaced_custom_object
            return self._call(what, call, *JOBSET, self.namespace, "jobsets", manifest, field_validation="Strict")
        call = getattr(self._batch if kind == "Job" else self._core, f"create_namespaced_{_SNAKE[kind]}")
        return self._call(what, call, self.namespace, manifest, field_validation="Strict")

    def get(self, kind: str, name: str) -> Manifest:
        """A Job or a JobSet."""
        what = f"get {kind.lower()}s"
        if kind == "JobSet":
            return self._call(what, self._custom.get_namespaced_custom_object, *JOBSET, self.namespace, "jobsets", name)
        return self._call(what, self._batch.read_namespaced_job, name, self.namespace)

    def delete(self, kind: str, name: str, grace_s: int | None = None) -> None:
        """With all that it owns, which goes first; nothing where it is gone already."""
        what = f"delete {kind.lower()}s"
        policy: dict[str, Any] = {"propagation_policy": "Foreground"}
        if grace_s is not None:
            policy["grace_period_seconds"] = grace_s
        try:
            if kind == "JobSet":
                call = self._custom.delete_namespaced_custom_object
                self._call(what, call, *JOBSET, self.namespace, "jobsets", name, **policy)
            else:
                call = getattr(self._batch if kind == "Job" else self._core, f"delete_namespaced_{_SNAKE[kind]}")
                self._call(what, call, name, self.namespace, **policy)
        except Gone:
            return

    def pods(self, selector: str) -> tuple[list[Manifest], str]:
        """Those that the label selects, and the version from which on a watch goes on."""
        call = self._core.list_namespaced_pod
        found = self._call("list pods", call, self.namespace, label_selector=selector)
        return found.get("items") or [], str((found.get("metadata") or {}).get("resourceVersion") or "")

    def pod_changes(self, selector: str, version: str) -> Iterator[Manifest]:
        """Events `{type, object}` as they come, until the API ends the stream, which it does every minute or so."""
        response = self._stream(
            "watch pods",
            self._core.list_namespaced_pod,
            self.namespace,
            label_selector=selector,
            resource_version=version,
            watch=True,
            timeout_seconds=_WATCH_S,
            _request_timeout=(_CONNECT_S, _WATCH_S + _ANSWER_S),
        )
        for line in lines_of(response, "watch pods"):
            yield json.loads(line)

    def events(self, name: str) -> list[Manifest]:
        """What the cluster says of an object; nothing where this user may not see it."""
        chosen = f"involvedObject.name={name}"
        try:
            found = self._call("list events", self._core.list_namespaced_event, self.namespace, field_selector=chosen)
        except UsageError:
            return []
        return found.get("items") or []

    def log(self, pod: str, follow: bool, since_s: int | None) -> Iterator[bytes]:
        """Lines of a pod's log, each with a time stamp in front and its end; `since_s`: no older than that."""
        more = {} if since_s is None else {"since_seconds": since_s}
        response = self._stream(
            "get pods/log",
            self._core.read_namespaced_pod_log,
            pod,
            self.namespace,
            container=CONTAINER,
            follow=follow,
            timestamps=True,
            _request_timeout=(_CONNECT_S, _SILENT_S),
            **more,
        )
        return lines_of(response, "get pods/log")

    def may(self, group: str, resource: str, verb: str) -> bool:
        """Whether this user may do that here; yes where the cluster does not tell. `Away` where nobody answers."""
        name, _, sub = resource.partition("/")
        asked = {"namespace": self.namespace, "verb": verb, "group": group, "resource": name, "subresource": sub}
        body = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SelfSubjectAccessReview",
            "spec": {"resourceAttributes": {key: value for key, value in asked.items() if value}},
        }
        try:
            found = self._call("review access", self._rights.create_self_subject_access_review, body)
        except Away:
            raise
        except UsageError:
            return True
        return bool((found.get("status") or {}).get("allowed", True))

    def _call(self, what: str, call: Any, *words: Any, **more: Any) -> Manifest:
        response = self._stream(what, call, *words, **{"_request_timeout": (_CONNECT_S, _ANSWER_S), **more})
        with _Reading(what):
            found: Manifest = json.loads(response.data)
        return found

    def _stream(self, what: str, call: Any, *words: Any, **more: Any) -> Any:
        from kubernetes.client.exceptions import ApiException
        from kubernetes.config import ConfigException
        from urllib3.exceptions import HTTPError

        try:
            return call(*words, _preload_content=False, **more)
        except ApiException as error:
            raise refusal(what, self.namespace, error.status, error.body, self.server) from None
        except (HTTPError, OSError) as error:
            raise Away(f"the API server {self.server} does not answer: {error}") from None
        except ConfigException as error:  # a program that fetches this user's token anew
            raise Away(f"the API server {self.server} cannot be asked: {error}") from None


_SNAKE: Mapping[str, str] = {
    "Job": "job",
    "Pod": "pod",
    "Service": "service",
    "Secret": "secret",
    "ConfigMap": "config_map",
}


class _Reading:
    """What is wrong with an answer that breaks off, as `Away`."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        from urllib3.exceptions import HTTPError

        if isinstance(error, (HTTPError, OSError, ValueError)):
            raise Away(f"{self._what}: the answer broke off: {error}") from None


def lines_of(response: Any, what: str) -> Iterator[bytes]:
    """Lines with their ends as they come; what follows the last end only where the stream ended in order."""
    rest = b""
    try:
        with _Reading(what):
            for chunk in response.stream(amt=None if response.chunked else 1 << 16):
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    yield line + b"\n"
        if rest:
            yield rest
    finally:
        response.close()


def connect(settings: KubernetesSettings) -> Cluster:
    """By the user's kubeconfig, or from inside a pod; `UsageError` where the client or the configuration is missing."""
    try:
        from kubernetes import client, config
    except ImportError:
        raise UsageError(
            "--on kubernetes: the Kubernetes client is not installed; pip install 'madrun[kubernetes]', or write the "
            "files with madrun render and submit them by hand"
        ) from None
    setup = client.Configuration()
    setup.connection_pool_maxsize, setup.retries = _CONNECTIONS, _RETRIES
    file, wanted = settings.kubeconfig or None, settings.kube_context or None
    try:
        contexts, active = config.list_kube_config_contexts(config_file=file)
        config.load_kube_config(config_file=file, context=wanted, client_configuration=setup)
        chosen = next((one for one in contexts if one["name"] == wanted), active)
        said = chosen["context"].get("namespace", "")
    except (config.ConfigException, OSError, TypeError) as error:
        try:
            if file or wanted:
                raise error
            config.load_incluster_config(client_configuration=setup)
        except (config.ConfigException, OSError, TypeError):
            raise UsageError(
                f"--on kubernetes: found no usable configuration of a cluster: {error}; allowed: a kubeconfig "
                "(KUBECONFIG, ~/.kube/config or kubernetes.kubeconfig) that works for kubectl get pods"
            ) from None
        said = OWN_NAMESPACE.read_text(encoding="utf-8").strip() if OWN_NAMESPACE.exists() else ""
    return Cluster(client.ApiClient(setup), settings.namespace or said or _DEFAULT)


def check_rights(cluster: Cluster, jobset: bool) -> None:
    """`UsageError` that names all that is not allowed at once, before anything is made."""
    wanted = (*RIGHTS, *(_JOBSET_RIGHTS if jobset else _JOB_RIGHTS))
    refused: dict[tuple[str, str], list[str]] = {}
    for group, resource, verbs in wanted:
        for verb in verbs:
            if not cluster.may(group, resource, verb):
                refused.setdefault((group, resource), []).append(verb)
    if not refused:
        return
    shown = "; ".join(f"{', '.join(verbs)} {resource}" for (_, resource), verbs in refused.items())
    rules = ", ".join(
        f'{{apiGroups: ["{group}"], resources: [{resource}], verbs: [{", ".join(verbs)}]}}'
        for group, resource, verbs in wanted
    )
    raise UsageError(
        f"--on kubernetes: namespace {cluster.namespace}: this user may not {shown}; ask the cluster's administrator "
        f"for a Role in this namespace with the rules {rules}"
    )
