"""What the engine sees: the plan to the letter, foreign entry points, builds, refusals, ordinary users."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from docker.errors import NotFound
from e2e_parts import containers, lay_out, type_command, until
from ordinary_user import lay_packages

from madrun.node.console import Console
from madrun.runtimes.docker import DockerBox
from madrun.runtimes.spelling import docker_argv, engine_config
from madrun.spec.binding import bind
from madrun.spec.codec import from_plain
from madrun.spec.plan import Container, Mount, Plan

pytestmark = [pytest.mark.e2e, pytest.mark.docker]
beside = pytest.mark.beside  # of all but the one whose leftovers any run of this user would take away
MEASURED = "echo performance: 1 speed\n"


def planned(repository: Any, *words: str) -> Plan:
    done = repository.run("plan", "--json", *words)
    assert done.returncode == 0, done.stderr
    return from_plain(Plan, json.loads(done.stdout))


@beside
def test_a_running_container_is_what_the_printed_plan_said(docker_repository: Any, engine: Any) -> None:
    repository = docker_repository
    mounted = repository.folder / "mounted"
    mounted.mkdir()
    repository.add("waits", "sleep 600\n", env={"FROM_CARD": "1"})
    context = str({"docker_env_vars": {"NCCL_DEBUG": "INFO"}, "docker_mounts": {"/mounted": str(mounted)}})
    plan = planned(repository, "--tags", "waits", "-c", context)
    child = repository.start("run", "--tags", "waits", "-c", context)
    until(lambda: bool(containers(engine, repository.folder)), 60, "the container")
    until(lambda: "running" in repository.output(child), 60, "the script")
    (found,) = containers(engine, repository.folder)
    seen = engine.inspect_container(found["Id"])
    (run_dir,) = repository.folder.glob("results/runs/*")
    node = bind(plan.node, run_dir.name, str(run_dir))
    wanted = engine_config(node.container, {})
    config, host = seen["Config"], seen["HostConfig"]
    for name in ("Image", "Entrypoint", "Cmd", "WorkingDir", "User", "OpenStdin", "Tty"):
        assert config[name] == wanted[name], name
    assert wanted["Labels"].items() <= config["Labels"].items()
    assert set(wanted["Env"]) <= set(config["Env"])
    for name in ("NetworkMode", "IpcMode", "ShmSize", "AutoRemove", "LogConfig"):
        assert host[name] == wanted["HostConfig"][name], name
    assert (host["Ulimits"] or []) == wanted["HostConfig"]["Ulimits"]
    mounts = {(mount["Source"], mount["Destination"], not mount["RW"]) for mount in seen["Mounts"]}
    assert mounts == {(m["Source"], m["Target"], m["ReadOnly"]) for m in wanted["HostConfig"]["Mounts"]}
    assert json.loads((run_dir / "plan.json").read_text())["job_hash"] == plan.job_hash


@beside
def test_docker_accepts_the_printed_command_as_typed(docker_repository: Any, engine: Any) -> None:
    docker_repository.add("card", MEASURED)
    plan = planned(docker_repository, "--tags", "card")
    box = lay_out(docker_repository.folder, "card", plan.job.driver)
    container = bind(plan.node, f"typed-{os.getpid()}", str(docker_repository.folder)).container
    type_command(docker_argv(container), box)


@beside
def test_an_image_with_an_entrypoint_runs_the_script(docker_repository: Any, engine: Any) -> None:
    docker_repository.add(
        "card", MEASURED, images={"cpu": {"dockerfile": "Dockerfile", "base": docker_repository.image}}
    )
    home = docker_repository.folder / "models/card"
    (home / "Dockerfile").write_text(
        f'ARG BASE_DOCKER\nFROM ${{BASE_DOCKER}}\nENV AT={home}\nENTRYPOINT ["/bin/false"]\nCMD ["nothing"]\n'
    )
    done = docker_repository.run("run", "--tags", "card")
    assert done.returncode == 0, done.stdout
    first = docker_repository.records()[0]
    assert first["nodes"][0]["build_s"] > 0
    again = docker_repository.run("run", "--tags", "card")
    assert "building" not in again.stderr  # the recipe is the same
    (home / "Dockerfile").write_text((home / "Dockerfile").read_text() + "ENV CHANGED=1\n")
    assert "building" in docker_repository.run("run", "--tags", "card").stderr
    for image in {record["provenance"]["docker_image"] for record in docker_repository.records()}:
        engine.remove_image(image, force=True)


@beside
def test_a_build_that_fails_is_a_row_with_the_last_lines(docker_repository: Any) -> None:
    source = {"cpu": {"dockerfile": "Dockerfile", "base": docker_repository.image}}
    docker_repository.add("broken", MEASURED, images=source)
    text = "ARG BASE_DOCKER\nFROM ${BASE_DOCKER}\nRUN echo reached the wall && exit 9\n"
    (docker_repository.folder / "models/broken/Dockerfile").write_text(text)
    done = docker_repository.run("run", "--tags", "broken")
    assert done.returncode == 2
    assert "reached the wall" in done.stdout
    assert "BASE_DOCKER" in done.stdout
    (record,) = docker_repository.records()
    assert (record["status"], record["culprit"]["kind"]) == ("FAILURE", "image")
    assert "FAILURE" in (docker_repository.folder / "results/perf.csv").read_text()


@beside
def test_an_image_that_does_not_exist_is_named(docker_repository: Any) -> None:
    docker_repository.add("card", MEASURED, images={"cpu": {"image": "madrun.invalid/no/such:image"}})
    done = docker_repository.run("run", "--tags", "card")
    assert done.returncode == 2
    assert "madrun.invalid/no/such:image" in done.stdout
    assert "MAD_CONTAINER_IMAGE" in done.stdout


@beside
def test_an_engine_that_refuses_a_limit_is_named_and_the_script_runs(
    engine: Any, base_image: str, tmp_path: Path
) -> None:
    (tmp_path / "box").mkdir()
    (tmp_path / "box/driver.sh").write_text("ulimit -l\n")
    container = Container(
        name=f"madrun-refusal-{os.getpid()}",
        image=base_image,
        entrypoint=("bash",),
        command=("/madrun/driver.sh",),
        workdir="/madrun",
        env={},
        mounts=(Mount(source=str(tmp_path / "box"), target="/madrun"),),
        labels={"madrun.run": "test"},
        network="host",
        ipc="private",
        shm_size=1 << 26,
        ulimits={"memlock": -1},
    )
    console = Console(tmp_path / "console.log")
    box = DockerBox(engine, container, {}, console.write)
    until(lambda: box.wait(0.1) is not None, 60, "the end of the container")
    console.close()
    limit = (tmp_path / "console.log").read_text().strip()
    refused = [text for text in box.deviations if text.startswith("memlock left out")]
    assert bool(refused) == (limit != "unlimited")


@beside
def test_asking_for_docker_without_an_engine_is_an_error_and_auto_says_process(docker_repository: Any) -> None:
    docker_repository.add("card", MEASURED)
    nowhere = "unix:///nowhere/docker.sock"
    refused = docker_repository.run("run", "--tags", "card", "--runtime", "docker", DOCKER_HOST=nowhere)
    assert refused.returncode == 2
    assert nowhere in refused.stderr
    assert "--runtime process" in refused.stderr
    auto = docker_repository.run("run", "--tags", "card", DOCKER_HOST=nowhere)
    assert auto.returncode == 0
    assert auto.stderr.count("runtime process") == 1
    (record,) = docker_repository.records()
    assert record["runtime"] == "process"
    assert any("runtime process" in note for note in record["notes"])


def ordinary_python(user: str) -> list[str]:
    """An interpreter that the ordinary user may start, with this one's packages; madrun from this checkout."""
    minor = f"python3.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{minor}", f"/usr/local/bin/{minor}"):
        tried = subprocess.run(["runuser", "-u", user, "--", python, "-c", ""], capture_output=True)
        if tried.returncode == 0:
            return [python]
    pytest.skip(f"needs a {minor} that the user {user} may start")


def works_in(pid: str, folder: Path) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cwd").readlink() == folder
    return False


@beside
def test_an_ordinary_user_owns_every_result_also_after_kills(
    engine: Any, base_image: str, docker_repository: Any, tmp_path_factory: pytest.TempPathFactory
) -> None:
    user = os.environ.get("MADRUN_TEST_USER", "")
    if os.getuid() != 0 or not user:
        pytest.skip("needs root and MADRUN_TEST_USER, an ordinary user in the docker group (scripts/test.sh makes one)")
    docker_repository.add("quick", "mkdir -p d; touch d/made\n" + MEASURED)
    docker_repository.add("waits", "mkdir -p d; touch d/made\nsleep 600\n")
    home = Path(subprocess.run(["mktemp", "-d"], capture_output=True, text=True, check=True).stdout.strip())
    try:
        site = lay_packages(home)
        (home / "own").mkdir()
        shutil.copytree(docker_repository.folder / "models", home / "repo/models")
        subprocess.run(["chown", "-R", f"{user}:", str(home / "own"), str(home / "repo")], check=True)
        words = ["runuser", "-u", user, "--", "env", f"PYTHONPATH={site}", f"HOME={home}/own", *ordinary_python(user)]
        command = [*words, "-m", "madrun", "run", "--runtime", "docker", "--tags"]
        done = subprocess.run([*command, "quick"], cwd=home / "repo", capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stdout + done.stderr
        for kill in ("agent", "container"):
            child = subprocess.Popen(
                [*command, "waits"], cwd=home / "repo", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            made = f"results/runs/*waits*-{1}/node-0/box/work/d/made"
            until(lambda made=made: bool(list((home / "repo").glob(made))), 60, "the script's file")
            (found,) = containers(engine, home)
            if kill == "agent":
                words = ["pgrep", "-u", user, "-f", "madrun run.*waits"]
                found_there = subprocess.run(words, capture_output=True, text=True).stdout.split()
                agents = [pid for pid in found_there if works_in(pid, home / "repo")]
                subprocess.run(["kill", "-9", *agents], check=True)
            else:
                engine.kill(found["Id"])
            child.wait(60)
            until(lambda: not containers(engine, home), 60, "the end of the container")
            for path in (home / "repo/results/runs").glob("*waits*"):
                path.rename(path.with_name(f"{kill}-{path.name[-20:]}x"))
        foreign = [p for p in (home / "repo/results").rglob("*") if p.lstat().st_uid != (home / "repo").stat().st_uid]
        assert foreign == []
        assert len(list((home / "repo/results").rglob("made"))) == 3
    finally:
        shutil.rmtree(home)


def test_a_container_that_a_dead_agent_left_unstarted_is_removed_by_the_next_run(
    docker_repository: Any, engine: Any, tmp_path: Path
) -> None:
    docker_repository.add("card", MEASURED)
    made = {}
    for name in ("dead", "alive"):
        box = docker_repository.folder / f"results/runs/{name}/node-0/box"
        box.mkdir(parents=True)
        (box.parent / "agent.lock").touch()
        config = {
            "Image": docker_repository.image,
            "Labels": {"madrun.run": name, "madrun.owner": str(os.getuid())},
            "HostConfig": {"Mounts": [{"Type": "bind", "Source": str(box), "Target": "/madrun"}]},
        }
        made[name] = engine.create_container_from_config(config)["Id"]
    with (docker_repository.folder / "results/runs/alive/node-0/agent.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            done = docker_repository.run("run", "--tags", "card")
            left = {container["Id"] for container in containers(engine, docker_repository.folder)}
        finally:
            for container in made.values():
                with suppress(NotFound):
                    engine.remove_container(container, force=True)
    assert done.returncode == 0
    assert left == {made["alive"]}
    assert "its dead agent had left behind" in done.stderr


@beside
def test_a_secret_build_argument_reaches_the_build_and_no_file(docker_repository: Any, engine: Any) -> None:
    docker_repository.add(
        "card", MEASURED, images={"cpu": {"dockerfile": "Dockerfile", "base": docker_repository.image}}
    )
    text = f"ARG BASE_DOCKER\nFROM ${{BASE_DOCKER}}\nENV AT={docker_repository.folder}\n"  # a layer that no cache has
    text += 'ARG HF_TOKEN\nRUN echo "got $HF_TOKEN" && test ${#HF_TOKEN} = 18\n'
    (docker_repository.folder / "models/card/Dockerfile").write_text(text)
    secret = "s3cr3t-of-18-bytes"
    context = str({"docker_build_arg": {"HF_TOKEN": secret}})
    done = docker_repository.run("run", "--tags", "card", "-c", context)
    engine.remove_image(docker_repository.records()[0]["provenance"]["docker_image"], force=True)
    assert done.returncode == 0, done.stdout
    assert "got ***" in done.stderr
    files = [path for path in docker_repository.folder.glob("results/**/*") if path.is_file()]
    assert not [path for path in files if secret.encode() in path.read_bytes()]
