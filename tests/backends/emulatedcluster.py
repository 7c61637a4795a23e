"""An API server of Kubernetes as far as a launch needs one, over real HTTP, for the official client.

Objects, labels, watches with resource versions, logs that are followed, Jobs that make and end pods as the Job
controller does, owners that take what they own along. What a pod does is a function that the test gives; what goes
wrong with the cluster, the test says with the methods of `Cluster`.
"""

import base64
import hashlib
import io
import json
import re
import tarfile
import threading
import time
import uuid
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import yaml

INDEX = "batch.kubernetes.io/job-completion-index"
KINDS = {
    "jobs": "Job",
    "jobsets": "JobSet",
    "pods": "Pod",
    "services": "Service",
    "secrets": "Secret",
    "configmaps": "ConfigMap",
    "events": "Event",
}
_PATH = re.compile(r"/(?:api|apis)/(?:([^/]+)/)?v[^/]*/namespaces/([^/]+)/([a-z]+)(?:/([^/]+))?(?:/(log))?")
_CONFIG_LIMIT = 1 << 20


class Refusal(Exception):
    """An answer that is none: status, reason, message."""

    def __init__(self, status, reason, message, **details):
        super().__init__(message)
        self.status = status
        self.body = {
            "apiVersion": "v1",
            "kind": "Status",
            "status": "Failure",
            "code": status,
            "reason": reason,
            "message": message,
            "details": details,
        }


class Pod:
    """A pod as its life sees it."""

    def __init__(self, cluster, manifest):
        self.cluster, self.manifest = cluster, manifest
        self.name = manifest["metadata"]["name"]
        self.rank = int(manifest["metadata"]["annotations"][INDEX])
        self.leaving = threading.Event()  # SIGTERM
        self.killed = threading.Event()
        self.lines = []
        self.closed = False
        self.cuts = 0  # connections of followers that were cut
        self.over = threading.Event()

    @property
    def running(self):
        told = self.manifest["status"].get("containerStatuses") or [{"state": {}}]
        return "running" in told[0]["state"]

    def schedule(self, host="host-0"):
        self._change(lambda pod: pod["spec"].update(nodeName=host))

    def unschedulable(self, message):
        told = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
        self._change(lambda pod: pod["status"].update(phase="Pending", conditions=[told]))

    def wait(self, reason, message=""):
        self._state({"waiting": {"reason": reason, "message": message}}, "Pending")

    def begin(self):
        self._state({"running": {"startedAt": stamp()}}, "Running")

    def say(self, text):
        """Lines that its container prints."""
        with self.cluster.changed:
            for line in text.splitlines(keepends=True):
                self.lines.append((stamp(), line.encode() if isinstance(line, str) else line))
            self.cluster.changed.notify_all()

    def end(self, code, reason=None):
        reason = reason or ("Completed" if code == 0 else "Error")
        with self.cluster.changed:
            self.closed = True
        done = {"exitCode": code, "reason": reason, "finishedAt": stamp()}
        self._state({"terminated": done}, "Succeeded" if code == 0 else "Failed")
        self.over.set()

    def evict(self, message="The node was low on resource: memory."):
        """As the kubelet does: the pod is Failed, with a condition since 1.26, and its container is killed."""
        self.killed.set()
        condition = {"type": "DisruptionTarget", "status": "True", "reason": "TerminationByKubelet", "message": message}
        with self.cluster.changed:
            self.closed = True
        self._change(
            lambda pod: pod["status"].update(phase="Failed", reason="Evicted", message=message, conditions=[condition])
        )
        self.over.set()

    def lose_host(self):
        """The host is gone: the pod is marked for deletion and stays, for nobody confirms its end."""
        self.cluster.lost_hosts.add(self.name)
        self._change(lambda pod: pod["metadata"].update(deletionTimestamp=stamp()))

    def _state(self, state, phase):
        status = {"name": "madrun", "state": state, "ready": "running" in state}
        self._change(lambda pod: pod["status"].update(phase=phase, containerStatuses=[status]))

    def _change(self, change):
        self.cluster.change(self.manifest, change)


def stamp():
    """Now, as Go prints it: without zeros at the end."""
    nanoseconds = time.time_ns()
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(nanoseconds // 10**9))
    fraction = f"{nanoseconds % 10**9:09d}".rstrip("0")
    return f"{text}.{fraction}Z" if fraction else f"{text}Z"


def archive(pod, files=()):
    """What node 0 prints to send these files home."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w:gz") as packed:
        for name, text in dict(files).items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            packed.addfile(entry, io.BytesIO(text))
    data, mark = made.getvalue(), f"@madrun:{pod.manifest['metadata']['labels']['madrun/launch']}"
    lines = "".join(base64.b64encode(data[at : at + 3000]).decode() + "\n" for at in range(0, len(data), 3000))
    return f"\n{mark} begin {hashlib.sha256(data).hexdigest()} {len(data)}\n{lines}{mark} end []\n"


def ends_well(pod):
    """The life of a pod that has nothing to do."""
    pod.schedule()
    pod.begin()
    pod.end(0)


class Cluster:
    """The state; `life` is called in a thread for each pod that a Job makes."""

    def __init__(self, life=ends_well, namespaces=("default", "bench")):
        self.life, self.namespaces = life, namespaces
        self.changed = threading.Condition(threading.RLock())
        self.objects = {}  # (plural, namespace, name): object
        self.history = []  # (version, plural, type, object)
        self.version = 100
        self.pods = {}  # by name
        self.refused = set()  # (verb, resource) that RBAC does not allow
        self.failing = []  # (verb, plural, Refusal) for the next such request, once each
        self.requests = []  # (verb, plural, name)
        self.lost_hosts = set()
        self.away = False
        self.oldest = 0  # watches from an older version are answered with 410
        self.jobset = True
        self.threads = []
        self.most_bytes = 0
        self.log_pause = 0  # seconds before each line of a log

    # What a test asks

    def names(self):
        """All objects that are there but events, as `plural/name`."""
        with self.changed:
            return sorted(f"{plural}/{name}" for plural, _, name in self.objects if plural != "events")

    def pod(self, rank, seconds=60):
        """The pod of a node, once it is there."""
        return self.wait_for(lambda: next((pod for pod in self.pods.values() if pod.rank == rank), None), seconds)

    def wait_for(self, what, seconds=60):
        deadline = time.monotonic() + seconds
        with self.changed:
            while not (found := what()):
                assert self.changed.wait(deadline - time.monotonic()), "it has not come to that"
            return found

    def event(self, name, reason, message):
        """An event of an object."""
        one = {
            "metadata": {"name": uuid.uuid4().hex, "namespace": "default"},
            "involvedObject": {"name": name},
            "reason": reason,
            "message": message,
        }
        self.create("events", "default", one)

    # The store

    def create(self, plural, namespace, manifest):
        with self.changed:
            meta = manifest["metadata"]
            key = (plural, namespace, meta["name"])
            if key in self.objects:
                raise Refusal(409, "AlreadyExists", f'{plural} "{meta["name"]}" already exists')
            meta |= {"namespace": namespace, "uid": str(uuid.uuid4()), "creationTimestamp": stamp()}
            self.objects[key] = manifest
            self._note(plural, "ADDED", manifest)
        if plural == "jobs":
            self._begin(namespace, manifest, manifest["metadata"]["name"])
        if plural == "jobsets":
            job = manifest["spec"]["replicatedJobs"][0]
            self._begin(namespace, manifest, f"{meta['name']}-{job['name']}-0", job["template"]["spec"])
        return manifest

    def change(self, manifest, change):
        with self.changed:
            change(manifest)
            meta = manifest["metadata"]
            if ("pods", meta["namespace"], meta["name"]) in self.objects:
                self._note("pods", "MODIFIED", manifest)

    def delete(self, plural, namespace, name, grace=None):
        with self.changed:
            found = self.objects.get((plural, namespace, name))
            if found is None:
                raise Refusal(404, "NotFound", f'{plural} "{name}" not found', name=name, kind=plural)
            if plural == "pods":
                return self._end_pod(found, grace)
            owned = [key for key, one in self.objects.items() if _owner(one) == found["metadata"]["uid"]]
            if plural in ("jobs", "jobsets"):
                found["metadata"]["deletionTimestamp"] = stamp()
        for key in owned:  # by the garbage collector, which gives each the grace that it has of its own
            if key in self.objects:
                self.delete(*key)
        if plural in ("jobs", "jobsets"):
            self._spawn(self._remove_when_alone, (plural, namespace, name))
        else:
            self._drop((plural, namespace, name))
        return found

    def _end_pod(self, manifest, grace):
        pod = self.pods[manifest["metadata"]["name"]]
        key = ("pods", manifest["metadata"]["namespace"], pod.name)
        if grace == 0:
            pod.leaving.set()
            pod.killed.set()
            self._drop(key)
            return manifest
        if pod.over.is_set() or not pod.running:
            pod.leaving.set()
            self._drop(key)
            return manifest
        self.change(manifest, lambda one: one["metadata"].update(deletionTimestamp=stamp()))
        if pod.name not in self.lost_hosts:
            pod.leaving.set()
            self._spawn(self._drop_when_over, key, pod, manifest["spec"]["terminationGracePeriodSeconds"])
        return manifest

    def _drop_when_over(self, key, pod, grace):
        if not pod.over.wait(grace):
            pod.killed.set()
        self._drop(key)

    def _remove_when_alone(self, key):
        uid = self.objects[key]["metadata"]["uid"]
        while any(_owner(one) == uid for one in list(self.objects.values())):
            time.sleep(0.02)
        self._drop(key)

    def _drop(self, key):
        with self.changed:
            found = self.objects.pop(key, None)
            if found is not None:
                self._note(key[0], "DELETED", found)

    def _note(self, plural, kind, manifest):
        self.version += 1
        manifest["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, plural, kind, json.loads(json.dumps(manifest))))
        self.changed.notify_all()

    def _spawn(self, function, *words):
        thread = threading.Thread(target=function, args=words, daemon=True)
        self.threads.append(thread)
        thread.start()

    # The Job controller

    def _begin(self, namespace, owner, name, spec=None):
        spec = spec or owner["spec"]
        if owner["spec"].get("suspend"):
            return
        pods = [self._make_pod(namespace, owner, name, spec, rank) for rank in range(spec["completions"])]
        self._spawn(self._control, namespace, owner, pods)
        for pod in pods:
            self._spawn(self.life, pod)

    def _make_pod(self, namespace, owner, name, spec, rank):
        template = json.loads(json.dumps(spec["template"]))
        meta = template["metadata"]
        meta["name"] = f"{name}-{rank}-{uuid.uuid4().hex[:5]}"
        meta["annotations"] = {**meta.get("annotations", {}), INDEX: str(rank)}
        meta["ownerReferences"] = [{"uid": owner["metadata"]["uid"], "kind": owner["kind"]}]
        container = template["spec"]["containers"][0]
        container["env"] = [{"name": "JOB_COMPLETION_INDEX", "value": str(rank)}, *container["env"]]
        manifest = {**template, "kind": "Pod", "status": {"phase": "Pending"}}
        manifest["spec"]["hostname"] = f"{name}-{rank}"
        pod = Pod(self, manifest)
        self.pods[pod.name] = pod
        self.create("pods", namespace, manifest)
        return pod

    def _control(self, namespace, owner, pods):
        """Ends the Job: with all its pods, or with the first one that fails, whose fellows are deleted then."""
        while not all(pod.over.is_set() for pod in pods):
            if any(pod.manifest["status"]["phase"] == "Failed" for pod in pods):
                break
            if owner["metadata"].get("deletionTimestamp"):
                return None
            time.sleep(0.02)
        bad = [pod for pod in pods if pod.manifest["status"]["phase"] == "Failed"]
        jobset = owner["kind"] == "JobSet"
        if not bad:
            return self._condition(owner, "Completed" if jobset else "Complete", "CompletionsReached", "all have ended")
        text = f"Container madrun for pod {namespace}/{bad[0].name} failed"
        if not jobset:
            self._condition(owner, "FailureTarget", "PodFailurePolicy", text)
        for pod in pods:
            if not pod.over.is_set() and ("pods", namespace, pod.name) in self.objects:
                self.delete("pods", namespace, pod.name)
        return self._condition(owner, "Failed", "PodFailurePolicy", text)

    def _condition(self, owner, kind, reason, message):
        with self.changed:
            told = {"type": kind, "status": "True", "reason": reason, "message": message}
            owner.setdefault("status", {}).setdefault("conditions", []).append(told)
            self._note("jobs", "MODIFIED", owner)


def _owner(manifest):
    return next((one["uid"] for one in manifest["metadata"].get("ownerReferences", ())), None)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer takes 40 ms more
    cluster: Cluster

    def log_message(self, *_words):
        pass

    def do_GET(self):
        self._answer("get")

    def do_POST(self):
        self._answer("create")

    def do_DELETE(self):
        self._answer("delete")

    def _answer(self, verb):
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        if self.cluster.away:
            self.close_connection = True
            self.connection.close()
            return
        try:
            self.cluster.most_bytes = max(self.cluster.most_bytes, length)
            self._dispatch(verb, json.loads(raw) if raw else {})
        except Refusal as refusal:
            self._send(refusal.status, refusal.body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _dispatch(self, verb, body):
        url = urlsplit(self.path)
        query = {key: values[-1] for key, values in parse_qs(url.query).items()}
        if url.path.endswith("/selfsubjectaccessreviews"):
            asked = body["spec"]["resourceAttributes"]
            name = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
            return self._send(201, {"status": {"allowed": (asked["verb"], name) not in self.cluster.refused}})
        found = _PATH.fullmatch(url.path)
        if found is None:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")
        group, namespace, plural, name, sub = found.groups()
        if verb == "get" and not name:
            verb = "watch" if query.get("watch") in ("true", "True") else "list"
        self._check(verb, group, namespace, plural + (f"/{sub}" if sub else ""))
        self.cluster.requests.append((verb, plural, name or (body.get("metadata") or {}).get("name", "")))
        if sub:
            return self._log(name, query)
        return getattr(self, f"_{verb}")(plural, namespace, name, query or {}, body)

    def _check(self, verb, group, namespace, resource):
        cluster = self.cluster
        for one in cluster.failing:
            if one[:2] == (verb, resource):
                cluster.failing.remove(one)
                raise one[2]
        if (verb, resource) in cluster.refused:
            text = (
                f'{resource} is forbidden: User "dev" cannot {verb} resource "{resource}" in API group "{group or ""}"'
            )
            raise Refusal(403, "Forbidden", f'{text} in the namespace "{namespace}"')
        if namespace not in cluster.namespaces:
            details = {"name": namespace, "kind": "namespaces"}
            raise Refusal(404, "NotFound", f'namespaces "{namespace}" not found', **details)
        if resource == "jobsets" and not cluster.jobset:
            raise Refusal(404, "NotFound", "the server could not find the requested resource")

    def _create(self, plural, namespace, _name, _query, body):
        data = sum(len(value) for value in body.get("data", {}).values())
        data += sum(len(base64.b64decode(value, validate=True)) for value in body.get("binaryData", {}).values())
        if plural == "configmaps" and data > _CONFIG_LIMIT:
            raise Refusal(
                422, "Invalid", f"ConfigMap is invalid: data: Too long: must have at most {_CONFIG_LIMIT} bytes"
            )
        self._send(201, self.cluster.create(plural, namespace, body))

    def _get(self, plural, namespace, name, _query, _body):
        found = self.cluster.objects.get((plural, namespace, name))
        if found is None:
            raise Refusal(404, "NotFound", f'{plural} "{name}" not found', name=name, kind=plural)
        self._send(200, found)

    def _list(self, plural, _namespace, _name, query, _body):
        with self.cluster.changed:
            items = [one for key, one in self.cluster.objects.items() if key[0] == plural and _chosen(one, query)]
            version = str(self.cluster.version)
            self._send(200, {"kind": f"{KINDS[plural]}List", "metadata": {"resourceVersion": version}, "items": items})

    def _delete(self, plural, namespace, name, query, body):
        grace = query.get("gracePeriodSeconds") or body.get("gracePeriodSeconds")
        self._send(200, self.cluster.delete(plural, namespace, name, None if grace is None else int(grace)))

    def _watch(self, plural, _namespace, _name, query, _body):
        cluster = self.cluster
        self._begin_stream()
        seen = int(query.get("resourceVersion") or 0)
        if seen < cluster.oldest:
            gone = Refusal(410, "Expired", "too old resource version").body
            return self._end_stream(json.dumps({"type": "ERROR", "object": gone}).encode() + b"\n")
        deadline = time.monotonic() + float(query.get("timeoutSeconds") or 60)
        while time.monotonic() < deadline and not cluster.away:
            with cluster.changed:
                news = [one for one in cluster.history if one[0] > seen and one[1] == plural and _chosen(one[3], query)]
                if not news:
                    cluster.changed.wait(0.1)
            for version, _, kind, manifest in news:
                seen = version
                self._piece(json.dumps({"type": kind, "object": manifest}).encode() + b"\n")
        return self._end_stream()

    def _log(self, name, query):
        cluster = self.cluster
        pod = cluster.pods.get(name)
        if pod is None or not any(key[2] == name for key in cluster.objects):
            raise Refusal(404, "NotFound", f'pods "{name}" not found', name=name, kind="pods")
        if not pod.lines and not pod.closed and "containerStatuses" not in pod.manifest["status"]:
            raise Refusal(400, "BadRequest", f'container "madrun" in pod "{name}" is waiting to start')
        since = time.time() - float(query["sinceSeconds"]) if "sinceSeconds" in query else 0
        follow, stamps = query.get("follow") in ("true", "True"), query.get("timestamps") in ("true", "True")
        self._begin_stream()
        sent, cuts = 0, pod.cuts
        while True:
            with cluster.changed:
                lines, closed = pod.lines[sent:], pod.closed
                if not lines and follow and not closed and not cluster.away and pod.cuts == cuts:
                    cluster.changed.wait(0.1)
                    continue
            sent += len(lines)
            for moment, text in lines:
                if _seconds(moment) >= since:
                    time.sleep(cluster.log_pause)
                    self._piece(moment.encode() + b" " + text if stamps else text)
            if cluster.away or pod.cuts != cuts:
                self.connection.close()
                self.close_connection = True
                return None
            if not follow or (closed and sent == len(pod.lines)):
                return self._end_stream()

    def _send(self, status, body):
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _begin_stream(self):
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def _piece(self, data):
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _end_stream(self, data=b""):
        if data:
            self._piece(data)
        self.wfile.write(b"0\r\n\r\n")
        self.wfile.flush()


def _seconds(moment):
    import calendar

    return calendar.timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")) + 1


def _chosen(manifest, query):
    labels = manifest["metadata"].get("labels", {})
    wanted = [word.partition("=")[::2] for word in filter(None, query.get("labelSelector", "").split(","))]
    field, _, value = query.get("fieldSelector", "").partition("=")
    if field == "involvedObject.name" and manifest.get("involvedObject", {}).get("name") != value:
        return False
    return all(labels.get(key) == word for key, word in wanted)


@contextmanager
def serve(cluster, kubeconfig, namespace="default"):
    """The cluster at an address of its own, which the kubeconfig names; the server."""
    handler = type("Handler", (_Handler,), {"cluster": cluster})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u", "namespace": namespace}}],
    }
    kubeconfig.write_text(yaml.safe_dump(document))
    try:
        yield server
    finally:
        cluster.away = True
        for pod in cluster.pods.values():
            pod.leaving.set()
            pod.killed.set()
        server.shutdown()
        server.server_close()
        thread.join()
