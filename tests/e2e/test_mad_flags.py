"""Free-form options, variables, GPU counts and CPUs of cards of MAD repositories, in real containers."""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import until

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]

SECRET = "hf_secret_of_the_host"


@pytest.fixture
def mad(docker_repository: Any) -> Any:
    """A repository in which every card has this script; `card` adds one."""
    folder: Path = docker_repository.folder
    (folder / "docker").mkdir()
    (folder / "docker/one.ubuntu.Dockerfile").write_text(f"# CONTEXT {{}}\nFROM {docker_repository.image}\n")
    (folder / "scripts/one").mkdir(parents=True)

    def card(script: str, **more: Any) -> None:
        (folder / "scripts/one/run.sh").write_text(script)
        entry = {"name": "one", "dockerfile": "docker/one", "scripts": "scripts/one/run.sh", "n_gpus": "2", "args": ""}
        (folder / "models.json").write_text(json.dumps([entry | more]))

    return docker_repository, card


def test_options_variables_and_cpus_reach_the_container(mad: Any) -> None:
    repository, card = mad
    script = (
        "hostname; echo cpus $(nproc); echo foo=$FOO; echo shm $(df -k --output=size /dev/shm | tail -1)\n"
        'echo "token ${#HF_TOKEN}"\n'
        'echo "runtime $MAD_RUNTIME_NGPUS system $MAD_SYSTEM_NGPUS build $JENKINS_BUILD_NUMBER"\n'
        'set -- $MAD_MULTI_NODE_RUNNER; echo "plain $1"; eval "set -- $MAD_MULTI_NODE_RUNNER"; echo "eval $1"\n'
        'echo "debug $NCCL_DEBUG"; ls -d /myworkspace/extra/x; echo performance: 5 tok\n'
    )
    options = "--hostname ${CLUSTER}-a -e HF_TOKEN=${HF_TOKEN} -e FOO='a b' --shm-size=96m -it"
    card(script, additional_docker_run_options=options)
    (repository.folder / "host/x").mkdir(parents=True)
    context = {"docker_cpus": " 0 ", "docker_mounts": {"/myworkspace/extra": str(repository.folder / "host")}}
    env = {"CLUSTER": "c7", "HF_TOKEN": SECRET, "NCCL_DEBUG": "WARN", "BUILD_NUMBER": "9"}
    done = repository.run("run", "--tags", "one", "-c", json.dumps(context), **env)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stdout.splitlines()
    for line in (
        *("c7-a", "cpus 1", "foo=a b", "shm 98304", f"token {len(SECRET)}", "runtime 2 system 0 build 9"),
        *("plain torchrun", "eval torchrun", "debug WARN", "/myworkspace/extra/x"),
    ):
        assert line in said
    assert "-i left out" in done.stderr
    assert "n_gpus 2: this host has no GPU" in done.stderr
    files = [path for path in repository.folder.glob("results/**/*") if path.is_file()]
    assert [path for path in files if SECRET in path.read_text(errors="replace")] == []
    (record,) = repository.records()
    assert record["provenance"]["additional_docker_run_options"] == "--hostname c7-a"


def test_a_wrong_option_is_the_engines_error_and_leaves_nothing(mad: Any, engine: Any) -> None:
    repository, card = mad
    card("echo performance: 5 tok\n", additional_docker_run_options="--cap-add NO_SUCH_THING")
    done = repository.run("run", "--tags", "one")
    assert done.returncode == 2
    assert 'unknown capability: "CAP_NO_SUCH_THING"' in done.stdout
    (record,) = repository.records()
    assert engine.containers(all=True, filters={"label": f"madrun.run={record['run_id']}"}) == []


def test_a_container_with_options_ends_with_its_agent(mad: Any, engine: Any) -> None:
    repository, card = mad
    card("echo begun; sleep 900\n", additional_docker_run_options="--init --label own=1")
    child = repository.start("run", "--tags", "one")
    until(lambda: "begun" in repository.output(child), 60, "the script")
    (run,) = repository.folder.glob("results/runs/*")
    wanted = {"label": [f"madrun.run={run.name}", "own=1"]}
    assert len(engine.containers(filters=wanted)) == 1
    child.send_signal(signal.SIGKILL)
    until(lambda: engine.containers(all=True, filters=wanted) == [], 60, "the removal")


def test_cpus_that_the_host_lacks_are_named(mad: Any) -> None:
    repository, card = mad
    card("echo performance: 5 tok\n")
    done = repository.run("run", "--tags", "one", "-c", "{'docker_cpus': '0,4095'}")
    assert done.returncode == 2
    assert "4095" in done.stdout


def test_a_script_for_slurm_runs_on_the_host_itself(mad: Any) -> None:
    repository, card = mad
    (repository.folder / "scripts/one/go.slurm").write_text("echo on $(hostname)\necho performance: 5 tok\n")
    card("exit 1\n", scripts="scripts/one/go.slurm")
    done = repository.run("run", "--tags", "one")
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"on {subprocess.run(['hostname'], capture_output=True, text=True).stdout.strip()}" in done.stdout
    assert "go.slurm runs on this host itself" in done.stderr
