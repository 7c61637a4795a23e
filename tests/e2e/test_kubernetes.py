"""A launch on Kubernetes whose pods really run: the cluster's API is emulated, each pod is a container of the engine.

What a kubelet does is done here by the letter of the pod: volumes out of the ConfigMaps and Secrets that lie in the
API, variables, the name of the host in a network of its own, SIGTERM at the end.
"""

import base64
import csv
import itertools
import json
import os
import re
import subprocess
import sys
import uuid

import pytest
from emulatedcluster import Cluster, serve

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]

CARD = """name: hello
script: run.sh
images: {cpu: {image: %s}}
metrics: {x: {unit: things, higher_is_better: true}}
"""
SCRIPT = """echo "rank $NODE_RANK of $NNODES at $MASTER_ADDR token ${#HF_TOKEN}"
env | sort > environment.txt
sleep "${SECONDS_TO_SLEEP:-0}"
if [ "$NODE_RANK" = "${FAILS:-}" ]; then exit 7; fi
echo "performance: 3 x"
"""


class Engine:
    """A kubelet of one host: what it starts, it removes."""

    def __init__(self, folder):
        self.folder, self.name = folder, f"madrun-test-{uuid.uuid4().hex[:8]}"
        subprocess.run(["docker", "network", "create", self.name], check=True, capture_output=True)
        self.started, self.numbers = [], itertools.count()

    def live(self, pod):
        """The life of a pod: from its manifest to its exit code."""
        spec = pod.manifest["spec"]
        container = spec["containers"][0]
        name = f"{self.name}-{next(self.numbers)}"
        self.started.append(name)
        words = ["docker", "run", "--name", name, "--network", self.name, "--hostname", spec["hostname"]]
        namespace = pod.manifest["metadata"]["namespace"]
        words += ["--network-alias", f"{spec['hostname']}.{spec['subdomain']}.{namespace}.svc"]
        for key, value in self._env(container, namespace).items():
            words += ["-e", f"{key}={value}"]
        places = {volume["name"]: self._volume(pod, volume, name) for volume in spec["volumes"]}
        for mount in container["volumeMounts"]:
            if place := places[mount["name"]]:
                words += ["-v", f"{place}:{mount['mountPath']}{':ro' if mount.get('readOnly') else ''}"]
        entry, *more = container["command"]
        pod.schedule("host-0")
        child = subprocess.Popen(
            [*words, "--entrypoint", entry, container["image"], *more],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
        )
        pod.begin()
        pod.cluster._spawn(self._end, pod, name, spec["terminationGracePeriodSeconds"])
        with child.stdout:
            for line in child.stdout:
                pod.say(line.decode())
        pod.end(child.wait())
        pod.leaving.set()

    def _end(self, pod, name, grace):
        pod.leaving.wait()
        if not pod.over.is_set():
            subprocess.run(["docker", "stop", "-t", str(grace), name], capture_output=True)

    def _env(self, container, namespace):
        env = {}
        for one in container["env"]:
            if "value" in one:
                env[one["name"]] = re.sub(r"\$\((\w+)\)", lambda found: env[found[1]], one["value"])
            elif "fieldRef" in one["valueFrom"]:
                assert one["valueFrom"]["fieldRef"]["fieldPath"] == "metadata.namespace"
                env[one["name"]] = namespace
            else:
                env[one["name"]] = "hf-0123456789"
        return env

    def _volume(self, pod, volume, name):
        if "projected" not in volume:
            return None
        place = self.folder / f"{name}-{volume['name']}"
        place.mkdir()
        for source in volume["projected"]["sources"]:
            ((kind, what),) = source.items()
            plural = {"configMap": "configmaps", "secret": "secrets"}[kind]
            found = pod.cluster.wait_for(lambda: self._object(pod.cluster, plural, what["name"]))  # noqa: B023
            files = {key: text.encode() for key, text in {**found.get("stringData", {})}.items()}
            if plural == "configmaps":
                files |= {key: text.encode() for key, text in found.get("data", {}).items()}
            encoded = {**found.get("binaryData", {}), **(found.get("data", {}) if plural == "secrets" else {})}
            files |= {key: base64.b64decode(text) for key, text in encoded.items()}
            for key, data in files.items():
                (place / key).write_bytes(data)
        return place

    @staticmethod
    def _object(cluster, plural, name):
        return next((one for key, one in cluster.objects.items() if key[0] == plural and key[2] == name), None)

    def close(self):
        for name in self.started:
            subprocess.run(["docker", "rm", "-f", "-v", name], capture_output=True)
        subprocess.run(["docker", "network", "rm", self.name], capture_output=True)


@pytest.fixture
def bed(tmp_path):
    """A repository, a cluster, and the command line that works on both."""
    card = tmp_path / "repository" / "models" / "hello"
    card.mkdir(parents=True)
    (card / "model.yaml").write_text(CARD % os.environ["MADRUN_TEST_BASE_IMAGE"])
    (card / "run.sh").write_text(SCRIPT)
    folder = tmp_path / "volumes"
    folder.mkdir()
    engine = Engine(folder)
    cluster = Cluster(engine.live)
    kubeconfig = tmp_path / "kubeconfig"
    try:
        with serve(cluster, kubeconfig, "bench"):

            def start(*words, **more):
                env = {**os.environ, "KUBECONFIG": str(kubeconfig), "HF_TOKEN": "hf-0123456789"}
                line = [sys.executable, "-m", "madrun", *words]
                out = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
                return subprocess.Popen(line, cwd=tmp_path / "repository", env=env, **out, **more)

            yield cluster, start, tmp_path / "repository" / "results", engine
    finally:
        engine.close()


def rows_of(results):
    with (results / "perf.csv").open(newline="") as file:
        return list(csv.DictReader(file))


ON = ("run", "--tags", "hello", "--on", "kubernetes", "--nodes", "2")


def test_one_command_runs_a_card_on_two_pods_and_brings_its_results_home(bed):
    cluster, start, results, _ = bed
    done = start(*ON, "--env", "HF_TOKEN")
    out, err = done.communicate(timeout=200)
    assert done.returncode == 0, out + err
    (row,) = rows_of(results)
    assert row["status"] == "SUCCESS" and float(row["performance"]) == 3
    assert "rank 0 of 2 at" in out and "@madrun" not in out
    (run,) = (results / "runs").iterdir()
    record = json.loads((run / "record.json").read_text())
    assert record["backend"] == "kubernetes" and record["command"][:3] == ["madrun", "run", "--tags"]
    environments = [(run / f"node-{rank}" / "console.log").read_text() for rank in range(2)]
    assert [text.split(" at ")[0] for text in environments] == ["rank 0 of 2", "rank 1 of 2"]
    assert all("token 13" in text for text in environments)
    assert cluster.names() == []
    (folder,) = (results / "launches").iterdir()
    assert not [path for path in folder.rglob("*") if "hf-0123456789" in path.read_text(errors="replace")]
    assert "hf-0123456789" not in out + err


@pytest.mark.long
def test_a_failing_node_and_a_signal_end_all_pods_and_the_verdict_comes_home(bed):
    cluster, start, results, engine = bed
    done = start(*ON, "--env", "FAILS=1")
    out, err = done.communicate(timeout=200)
    assert done.returncode == 3, out + err
    (row,) = rows_of(results)
    assert row["status"] == "FAILURE" and cluster.names() == []
    assert "script error: the script ended with exit code 7 on node 1" in out
    assert "log: results/runs/" in out

    engine.close()
    subprocess.run(["docker", "network", "create", engine.name], check=True, capture_output=True)
    engine.folder = engine.folder / "again"
    engine.folder.mkdir()
    cluster.pods.clear()
    going = start(*ON, "--env", "SECONDS_TO_SLEEP=900", "--set", "kubernetes.termination_grace=20")
    cluster.wait_for(lambda: len([pod for pod in cluster.pods.values() if b"rank " in b"".join(_text(pod))]) == 2, 120)
    going.send_signal(2)
    out, err = going.communicate(timeout=120)
    assert going.returncode == 130, out + err
    assert cluster.names() == []
    records = [json.loads(path.read_text()) for path in (results / "runs").glob("*/record.json")]
    assert sorted(record["culprit"]["kind"] for record in records) == ["interrupted", "script error"]
    running = subprocess.run(["docker", "ps", "-q", "--filter", f"name={engine.name}"], capture_output=True, text=True)
    assert running.stdout == ""


SUITE = """name: pods
cases:
- {name: fails, tags: hello, nnodes: 1, context: {docker_env_vars: {FAILS: "yes"}}}
- {name: waits, tags: hello, nnodes: 2, context: {docker_env_vars: {WAITS: "600"}}}
"""
CASES = """if [ -n "${WAITS:-}" ]; then echo waiting; sleep "$WAITS"; fi
if [ -n "${FAILS:-}" ]; then exit 7; fi
echo "performance: $NNODES x"
"""


def test_a_suite_of_jobs_brings_every_case_home_and_goes_on_after_an_interrupt(bed):
    cluster, start, results, _ = bed
    repository = results.parent
    script = repository / "models/hello/run.sh"
    script.write_text(CASES)
    (repository / "suite.yaml").write_text(SUITE)
    first = start("suite", "suite.yaml", "--on", "kubernetes", "--set", "kubernetes.termination_grace=120")
    cluster.wait_for(lambda: [pod for pod in cluster.pods.values() if b"waiting\n" in _text(pod)], 300)
    first.send_signal(2)
    out, err = first.communicate(timeout=400)
    assert first.returncode == 130, out + err
    assert "1 of 2 cases are left: madrun suite" in err
    assert "script error: the script ended with exit code 7 on node 0" in out
    assert re.search(r"^again: madrun suite \S+-pods-\S+ --rerun failed$", out, re.MULTILINE), out
    assert cluster.names() == []

    script.write_text('echo "performance: $NNODES x"\n')
    second = start("suite", "--resume", "--json")
    out, err = second.communicate(timeout=400)
    told = json.loads(out)
    assert second.returncode == told["exit_code"] == 3, out + err
    assert [case["status"] for case in told["cases"]] == ["failed", "success"]
    assert [len(case["attempts"]) for case in told["cases"]] == [1, 2]

    third = start("suite", "last", "--rerun", "failed")
    out, err = third.communicate(timeout=400)
    assert third.returncode == 0, out + err
    assert "2 success; 2 valid numbers" in out and "node-hours for a valid number" in out
    assert cluster.names() == []
    rows = rows_of(results)
    assert [row["status"] for row in rows] == ["FAILURE", "FAILURE", "SUCCESS", "SUCCESS"]
    records = [json.loads(path.read_text()) for path in sorted((results / "runs").glob("*/record.json"))]
    cases = [record["provenance"]["case"].partition("/")[2] for record in records]
    assert cases == ["fails/1", "waits/1", "waits/2", "fails/2"]
    assert [record["nnodes"] for record in records] == [1, 2, 2, 1]


def _text(pod):
    return [text for _, text in list(pod.lines)]
