"""Values that many tests begin with: a repository with cards, facts of a host, a job, a record, the command itself."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from madrun.planning import driver
from madrun.spec.facts import Accelerator, HostFacts, Interface
from madrun.spec.plan import Container, HostProcess, ImagePlan, JobPlan, Mount, NodePlan, make_plan
from madrun.spec.record import MetricResult, NodeOutcome, Record
from madrun.spec.topology import Topology

# A background job or one under nohup ignores these signals, and so would every program that a test starts. A handler
# is not inherited: here it lets the tests live, there it is the default again.
for number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, lambda *_: None)

# Fixtures that are nodes with engines and addresses of their own.
BEDS = {"three", "two_with_runners", "bare", "cluster"}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Marks what happens on such nodes, before tests are chosen by their marks; what bears company anyhow is left."""
    for item in items:
        if item.get_closest_marker("beside") or not item.get_closest_marker("e2e"):
            continue
        if BEDS & set(getattr(item, "fixturenames", ())):
            item.add_marker("bed")


# On a busy machine the first example may take half a minute, which says nothing about the strategy.
PATIENT = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
settings.register_profile("madrun", max_examples=60, **PATIENT)
settings.register_profile("brief", max_examples=12, **PATIENT)  # scripts/test.sh --fast
settings.load_profile("madrun")


@pytest.fixture
def repository(tmp_path):
    """An empty model repository."""
    path = tmp_path / "repo"
    (path / "models").mkdir(parents=True)
    return path


@pytest.fixture
def write_card(repository):
    """Writes models/<name>/ and returns the path of its model.yaml; `yaml` is added to name and script."""

    def write(name="one", yaml="", script="echo performance: 5 tok\n", script_name="run.sh"):
        folder = repository / "models" / name
        folder.mkdir(exist_ok=True)
        (folder / script_name).write_text(script)
        file = folder / "model.yaml"
        file.write_text(f"name: {name}\nscript: {script_name}\n{yaml}")
        return file

    return write


@pytest.fixture(scope="session")
def make_facts():
    """Facts of a host named `alpha` with one Ethernet interface and no accelerator."""

    def make(**changes):
        values = {
            "hostname": "alpha",
            "host_id": "boot-net",
            "kernel": "6.1",
            "cpu": "cpu",
            "cpus": 2,
            "memory": 8 << 30,
            "uid": 1000,
            "gid": 1001,
            "python": "3.11",
            "accelerator": Accelerator(),
            "interfaces": (
                Interface(name="lo", addresses=("127.0.0.1", "::1")),
                Interface(name="eth0", addresses=("10.0.0.5", "fe80::5")),
            ),
        }
        return HostFacts(**(values | changes))

    return make


@pytest.fixture(scope="session")
def make_topology():
    """Node 1 of two nodes with two processes each."""

    def make(**changes):
        values = {
            "nnodes": 2,
            "node_rank": 1,
            "nproc_per_node": 2,
            "master_addr": "10.0.0.4",
            "master_port": 29501,
            "control_port": 29502,
            "nccl_ifname": "=eth0",
            "gloo_ifname": "eth0",
        }
        return Topology(**(values | changes))

    return make


@pytest.fixture(scope="session")
def make_job():
    """A job of the process runtime with one node and one process."""

    def make(**changes):
        values = {
            "card": "one",
            "tags": ("smoke",),
            "script": "run.sh",
            "args": "",
            "script_hash": "0" * 64,
            "runtime": "process",
            "vendor": "cpu",
            "runner": "plain",
            "nnodes": 1,
            "nproc_per_node": 1,
            "env": {},
            "secrets": (),
            "image": ImagePlan(kind="none"),
            "data": (),
            "metrics": {},
            "multiple_results": None,
            "timeout_s": 60.0,
            "grace_s": 1.0,
            "lease_s": driver.LEASE_S,
            "driver": driver.render("one", driver.run_line("run.sh", ""), 1.0),
        }
        return JobPlan(**(values | changes))

    return make


@pytest.fixture(scope="session")
def make_node():
    """The part of node 0 on loopback, with a process that starts the driver; ports may be given."""

    def make(**changes):
        box = "{run_dir}/node-0/box"
        env = {"PATH": os.environ["PATH"], "MADRUN_OWNER": ""}
        values = {
            "node_rank": 0,
            "hostname": "alpha",
            "role": "script",
            "master_addr": "127.0.0.1",
            "master_port": 29501,
            "control_port": 29502,
            "nccl_ifname": "=lo",
            "gloo_ifname": "lo",
            "card_folder": "/repo/models/one",
            "files": (),
            "repository": "/repo",
            "data_sources": {},
            "mirrors": {},
            "owner": "",
            "process": HostProcess(command=("bash", f"{box}/driver.sh"), workdir=f"{box}/work", env=env),
        }
        return NodePlan(**(values | changes))

    return make


@pytest.fixture(scope="session")
def make_test_plan(make_job, make_node):
    """A whole plan; `job` and `node` are what the other two fixtures make."""

    def make(job=None, node=None):
        return make_plan("0.0", job or make_job(), node or make_node())

    return make


@pytest.fixture(scope="session")
def container():
    """A container that uses every option, with one secret and a comma in a path."""
    return Container(
        name="madrun-r-n0",
        image="img:1",
        entrypoint=("bash",),
        command=("/madrun/driver.sh",),
        workdir="/madrun/work",
        env={"A": "1 2", "HF_TOKEN": "{secret}"},
        mounts=(Mount(source="/box", target="/madrun"), Mount(source="/a,b", target="/data", read_only=True)),
        labels={"madrun.run": "r"},
        network="host",
        ipc="private",
        shm_size=1024,
        ulimits={"memlock": -1, "nofile": 4096},
        user="0",
        gpus="all",
        devices=("/dev/kfd",),
        groups=("44",),
        cap_add=("SYS_PTRACE",),
        security_opt=("seccomp=unconfined",),
    )


@pytest.fixture(scope="session")
def make_record():
    """A valid record with one metric."""

    def make(run_id="20261121T000000Z-one-abcdef-1", **changes):
        values = {
            "format": 1,
            "run_id": run_id,
            "card": "one",
            "status": "SUCCESS",
            "valid": True,
            "reasons": (),
            "exit_code": 0,
            "started_at": "2026-11-21T00:00:00Z",
            "ended_at": "2026-11-21T00:00:01Z",
            "plan_hash": "abcdef",
            "madrun": "0.0",
            "command": ("madrun", "run"),
            "tags": ("smoke", "tiny"),
            "args": "--x 1",
            "runner": "torchrun",
            "runtime": "docker",
            "backend": "local",
            "nnodes": 2,
            "nproc_per_node": 4,
            "vendor": "cpu",
            "metrics": (MetricResult(metric="tok", value=7.0, text="007", unit="tok/s", primary=True),),
            "nodes": (NodeOutcome(node=0, hostname="alpha", exit_code=0, script_s=1.5),),
            "provenance": {"machine_name": "alpha", "pipeline": "nightly"},
        }
        return Record(**(values | changes))

    return make


@pytest.fixture
def madrun(repository, tmp_path):
    """Runs `python -m madrun WORDS` in the repository, with a home of its own and no container engine."""
    home = tmp_path / "home"
    home.mkdir()
    env = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "DOCKER_HOST": f"unix://{tmp_path}/no-engine.sock",
    }

    def run(*words, cwd: Path = repository, **changes):
        if words and words[0] in RUNS_NOTHING and not changes.keys() & NEEDS_A_START:
            done = in_this_process([str(word) for word in words], cwd, env | changes)
        else:
            command = [sys.executable, "-m", "madrun", *words]
            done = subprocess.run(
                command,
                cwd=cwd,
                env=env | changes,
                capture_output=True,
                text=True,
                timeout=60,
                stdin=subprocess.DEVNULL,
            )
        assert "Traceback" not in done.stderr, done.stderr
        return done

    return run


# These start no script and claim no port; a Python of their own would take most of a test's time.
RUNS_NOTHING = {"list", "discover", "lint", "migrate"}
NEEDS_A_START = {"PYTHONPATH", "PYTHONUTF8", "PYTHONIOENCODING", "LC_ALL", "LANG", "PYTHONHASHSEED"}


def in_this_process(words, cwd, env):
    """What the command answers, as if it had been started: with these variables and nothing of this process's own."""
    from madrun.cli.app import run

    before = dict(os.environ), Path.cwd(), sys.argv
    out, err = io.StringIO(), io.StringIO()
    try:
        os.environ.clear()
        os.environ.update(env)
        os.chdir(cwd)
        sys.argv = ["madrun", *words]
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = run(list(words))
    finally:
        os.environ.clear()
        os.environ.update(before[0])
        os.chdir(before[1])
        sys.argv = before[2]
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())
