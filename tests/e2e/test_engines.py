"""Podman, as root and without, and engines that must not serve: what the plan says is what real engines do."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
import signal
import socket
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import docker
import pytest
from e2e_parts import ROOT, containers, lay_out, two_nodes, type_command, until
from own_ports import free_port

from madrun.errors import EngineError
from madrun.node.seeing.presence import sweep
from madrun.probe.engine import connect
from madrun.runtimes import libpod
from madrun.runtimes.docker import DockerBox
from madrun.runtimes.handover import hand_over
from madrun.runtimes.spelling import docker_argv
from madrun.spec.binding import bind
from madrun.spec.codec import from_plain
from madrun.spec.plan import Container, Mount, Plan

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
MEASURED = "echo performance: 1 speed\n"
SCRIPT = ["bash", str(ROOT / "scripts/podman.sh")]
WITH_USR = {"docker_mounts": {"/usr": "/usr"}}
FORWARDED = ("PIP_", "SSL_", "REQUESTS_", "CURL_", "HTTP_", "HTTPS_", "NO_PROXY")


@pytest.fixture(scope="module")
def podman() -> Iterator[Any]:
    """A client of root's podman; without one the tests are skipped, which CI counts as a failure."""
    if os.getuid() != 0:
        pytest.skip("needs root, for podman's system service")
    was_there = Path("/run/podman/podman.sock").exists()
    started = subprocess.run(SCRIPT, capture_output=True, text=True)
    if started.returncode != 0:
        pytest.skip(f"needs podman: {started.stderr}")
    client, _ = connect("podman", {"CONTAINER_HOST": started.stdout.strip()})
    yield client
    client.close()
    if not was_there:
        subprocess.run([*SCRIPT, "--stop"], check=True, capture_output=True)


@pytest.fixture(scope="module")
def thin_image(podman: Any) -> Iterator[str]:
    """An image that holds nothing but links into /usr, which is mounted: made at once, where a copy takes 20 s."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        for name in ("usr", "dev", "proc", "sys", "tmp", "run", "root", "etc"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
            archive.addfile(folder)
        for name in ("bin", "lib", "lib64", "sbin"):
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, f"usr/{name}"
            archive.addfile(link)
        users = tarfile.TarInfo("etc/passwd")
        users.size = len(b"root:x:0:0:root:/root:/bin/bash\n")
        archive.addfile(users, io.BytesIO(b"root:x:0:0:root:/root:/bin/bash\n"))
    name = f"localhost/madrun-thin:{os.getpid()}"
    subprocess.run(["podman", "import", "-q", "-", name], input=target.getvalue(), capture_output=True, check=True)
    yield name
    podman.remove_image(name, force=True)


@pytest.fixture
def repository(make_repository: Any, thin_image: str) -> Any:
    """A repository whose cards run in root's podman."""
    made = make_repository(thin_image)
    (made.folder / "madrun-site.yaml").write_text(json.dumps({"runtime": "podman", **WITH_USR}))
    return made


def container(image: str, folder: Path, **changes: Any) -> Container:
    values: dict[str, Any] = {
        "name": f"madrun-test-{os.getpid()}-{folder.name}",
        "image": image,
        "entrypoint": ("bash",),
        "command": ("/madrun/driver.sh",),
        "workdir": "/madrun",
        "env": {},
        "mounts": (Mount(source=str(folder), target="/madrun"), Mount(source="/usr", target="/usr", read_only=True)),
        "labels": {"madrun.run": "test"},
        "network": "host",
        "ipc": "private",
        "shm_size": 1 << 26,
        "ulimits": {},
        "program": "podman",
    }
    return Container(**(values | changes))


def run_box(client: Any, wanted: Container, script: str) -> tuple[int, str, tuple[str, ...]]:
    """Exit code, output and deviations of a container with this driver."""
    (Path(wanted.mounts[0].source) / "driver.sh").write_text(f"read -r _\n{script}\n")
    parts: list[bytes] = []
    box = DockerBox(client, wanted, {}, parts.append)
    box.send("go")
    until(lambda: box.wait(0.05) is not None, 60, "the end of the container")
    code = box.wait(0)
    assert code is not None
    return code, b"".join(parts).decode(), box.deviations


def test_free_form_options_and_cpus_reach_a_podman_container(repository: Any, podman: Any) -> None:
    repository.add("card", 'echo "$(hostname) on $(nproc) as $FOO"\n' + MEASURED)
    context = {"additional_docker_run_options": "--uts private --hostname c7 -e FOO=bar", "docker_cpus": "0"}
    done = repository.run("run", "--tags", "card", "-c", json.dumps(context))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "c7 on 1 as bar" in done.stdout
    assert not containers(podman, repository.folder)


def test_a_card_runs_in_podman_and_leaves_nothing(repository: Any, podman: Any) -> None:
    repository.add("card", "echo in $container\n" + MEASURED)
    done = repository.run("run", "--tags", "card")
    assert done.returncode == 0, done.stdout + done.stderr
    (record,) = repository.records()
    assert (record["status"], record["runtime"]) == ("SUCCESS", "podman")
    assert "in podman" in done.stdout
    assert not containers(podman, repository.folder)


def test_podman_behind_dockers_address_is_used_and_named(repository: Any, podman: Any) -> None:
    repository.add("card", MEASURED)
    env = {"DOCKER_HOST": "unix:///run/podman/podman.sock"}
    done = repository.run("run", "--tags", "card", "--runtime", "docker", **env)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "podman is what answers at unix:///run/podman/podman.sock" in done.stderr
    assert repository.records()[0]["runtime"] == "podman"


def test_the_exit_code_and_the_output_of_a_container_are_its_own(podman: Any, thin_image: str, tmp_path: Path) -> None:
    code, output, deviations = run_box(podman, container(thin_image, tmp_path), "echo out; echo err >&2; exit 5")
    assert (code, sorted(output.split()), deviations) == (5, ["err", "out"], ())


def test_a_running_container_is_what_the_printed_plan_said(repository: Any, podman: Any) -> None:
    repository.add("waits", "echo started\nsleep 600\n", env={"FROM_CARD": "1"})
    planned = repository.run("plan", "--json", "--tags", "waits")
    assert planned.returncode == 0, planned.stderr
    plan = from_plain(Plan, json.loads(planned.stdout))
    child = repository.start("run", "--tags", "waits")
    until(lambda: "started" in repository.output(child), 60, "the script")
    (found,) = containers(podman, repository.folder)
    seen = podman.get(f"{podman.base_url}/v4.0.0/libpod/containers/{found['Id']}/json").json()
    (run_dir,) = repository.folder.glob("results/runs/*")
    node = bind(plan.node, run_dir.name, str(run_dir))
    wanted = libpod.create_spec(node.container, {})
    config, host = seen["Config"], seen["HostConfig"]
    assert seen["ImageName"] == wanted["image"]
    assert [seen["Path"], *seen["Args"]] == [*wanted["entrypoint"], *wanted["command"]]
    assert (config["WorkingDir"], config["User"], config["OpenStdin"]) == (wanted["work_dir"], wanted["user"], True)
    assert wanted["labels"].items() <= config["Labels"].items()
    assert {f"{name}={value}" for name, value in wanted["env"].items()} <= set(config["Env"])
    assert (host["NetworkMode"], host["ShmSize"]) == (wanted["netns"]["nsmode"], wanted["shm_size"])
    assert (host["AutoRemove"], host["LogConfig"]["Type"], host["PidsLimit"]) == (True, "none", -1)
    assert {(mount["Source"], mount["Destination"], mount["RW"]) for mount in seen["Mounts"]} == {
        (mount["source"], mount["destination"], "rw" in mount["options"]) for mount in wanted["mounts"]
    }


def test_podman_accepts_the_printed_command_as_typed(repository: Any, podman: Any) -> None:
    repository.add("card", MEASURED)
    plan = from_plain(Plan, json.loads(repository.run("plan", "--json", "--tags", "card").stdout))
    box = lay_out(repository.folder, "card", plan.job.driver)
    bound = bind(plan.node, f"typed-{os.getpid()}", str(repository.folder)).container
    settings = Path("/run/podman/containers.conf")
    words = docker_argv(bound)
    assert words[0] == "podman"
    type_command(words, box, {**os.environ, **({"CONTAINERS_CONF": str(settings)} if settings.exists() else {})})


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "ctrl-c"])
def test_a_signal_to_madrun_ends_the_container(repository: Any, podman: Any, number: signal.Signals) -> None:
    repository.add("stubborn", "trap '' TERM INT HUP\necho started\nwhile :; do sleep 1; done\n")
    child = repository.start("run", "--tags", "stubborn")
    until(lambda: "started" in repository.output(child), 60, "the script")
    child.send_signal(number)
    until(lambda: not containers(podman, repository.folder), 60, "the end of the container")
    assert child.wait(60) == (130 if number == signal.SIGINT else -signal.SIGKILL)


def test_two_nodes_run_in_podman_and_are_one_run(repository: Any, podman: Any) -> None:
    repository.add("pair", 'echo "rank $NODE_RANK of $NNODES"\n' + MEASURED)
    port = free_port()
    nodes = [repository.start("run", "--tags", "pair", "-c", two_nodes(rank, port)) for rank in (0, 1)]
    codes = [node.wait(120) for node in nodes]
    assert codes == [0, 0], [repository.output(node) for node in nodes]
    (record,) = repository.records()
    assert (record["nnodes"], record["runtime"], len(record["nodes"])) == (2, "podman", 2)
    assert not containers(podman, repository.folder)


def test_what_podman_refuses_of_limits_is_named_and_the_rest_runs(podman: Any, thin_image: str, tmp_path: Path) -> None:
    wanted = container(thin_image, tmp_path, ulimits={"memlock": -1}, cap_add=("SYS_PTRACE", "SYS_RESOURCE"))
    code, output, deviations = run_box(podman, wanted, "ulimit -l; grep CapEff /proc/self/status")
    limit, capabilities = output.split()[0], int(output.split()[-1], 16)
    assert code == 0
    assert any("memlock" in line and "left out" in line for line in deviations) is (limit != "unlimited")
    assert any(line.startswith("SYS_RESOURCE left out") for line in deviations) is not bool(capabilities >> 24 & 1)
    assert capabilities >> 19 & 1  # SYS_PTRACE


def test_a_mount_without_a_source_and_a_gpu_that_is_not_there_are_errors(
    podman: Any, thin_image: str, tmp_path: Path
) -> None:
    missing = tmp_path / "missing"
    wanted = container(thin_image, tmp_path)
    mounts = (*wanted.mounts, Mount(source=str(missing), target="/x"))
    with pytest.raises(EngineError, match="none is created silently"):
        run_box(podman, container(thin_image, tmp_path, mounts=mounts), "true")
    assert not missing.exists()
    with pytest.raises(EngineError, match="nvidia-ctk cdi generate"):
        run_box(podman, container(thin_image, tmp_path, gpus="all"), "true")
    with pytest.raises(EngineError, match="has no bash"):
        run_box(podman, container(thin_image, tmp_path, entrypoint=("bash-of-none",)), "true")
    assert not containers(podman, tmp_path)


def test_a_path_with_a_comma_and_a_device_of_cdi_reach_the_container(
    podman: Any, thin_image: str, tmp_path: Path
) -> None:
    folder = tmp_path / "a,b"
    folder.mkdir()
    specifications = Path("/var/run/cdi")
    specifications.mkdir(exist_ok=True)
    file = specifications / f"madrun-test-{os.getpid()}.json"
    edits = {"env": ["FROM_CDI=seven"], "deviceNodes": [{"path": "/dev/full"}]}
    text = {"cdiVersion": "0.5.0", "kind": "madrun.test/gpu", "devices": [{"name": "7", "containerEdits": edits}]}
    try:
        file.write_text(json.dumps(text))
        _, facts = connect("podman", {"CONTAINER_HOST": "unix:///run/podman/podman.sock"})
        assert "madrun.test/gpu=7" in facts.cdi
        wanted = container(thin_image, folder, cdi=("madrun.test/gpu=7",), name=f"madrun-test-{os.getpid()}-cdi")
        code, output, _ = run_box(podman, wanted, "echo $FROM_CDI; [ -c /dev/full ]")
    finally:
        file.unlink()
    assert (code, output) == (0, "seven\n")


def test_a_container_that_a_dead_agent_left_in_podman_is_removed(podman: Any, thin_image: str, tmp_path: Path) -> None:
    box = tmp_path / "node-0/box"
    box.mkdir(parents=True)
    (box.parent / "agent.lock").touch()
    labels = {"madrun.run": "dead", "madrun.owner": "4242"}
    wanted = container(thin_image, box, labels=labels, name=f"madrun-test-{os.getpid()}-dead")
    libpod.create(podman, wanted, {})
    assert sweep(podman, 4242) == [wanted.name]
    assert not containers(podman, tmp_path)


def test_files_of_roots_podman_are_handed_over(podman: Any, thin_image: str, tmp_path: Path) -> None:
    (tmp_path / "made").touch()
    hand_over(podman, thin_image, tmp_path, "4242:4243")
    assert {(path.stat().st_uid, path.stat().st_gid) for path in (tmp_path, tmp_path / "made")} == {(4242, 4243)}


@contextmanager
def tunnel(path: str) -> Iterator[str]:
    """A port of this host that leads to a unix socket, as `ssh -L` makes one; its address."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=_accept, args=(server, path), daemon=True).start()
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, path: str) -> None:
    with suppress(OSError):
        while True:
            near, far = server.accept()[0], socket.socket(socket.AF_UNIX)
            far.connect(path)
            for source, target in ((near, far), (far, near)):
                threading.Thread(target=_copy, args=(source, target), daemon=True).start()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with source, suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


def test_an_engine_behind_a_tunnel_of_this_host_is_used_only_if_it_shares_files(engine: Any, podman: Any) -> None:
    with tunnel("/var/run/docker.sock") as address:
        client, facts = connect("docker", {"HOME": "/nowhere", "DOCKER_HOST": address})
        client.close()
    assert (facts.name, facts.host) == ("docker", address)
    with tunnel("/run/podman/podman.sock") as address, pytest.raises(EngineError, match="cannot be seen to run"):
        connect("docker", {"HOME": "/nowhere", "DOCKER_HOST": address})


@pytest.mark.parametrize("pid", ["", "host"])
def test_in_a_container_the_hosts_engine_is_refused_for_its_mounts(engine: Any, base_image: str, pid: str) -> None:
    packages = Path(docker.__file__).parents[1]
    ask = "from madrun.probe.engine import connect\ntry: print(connect())\nexcept Exception as error: print(error)"
    mounts = {"/var/run/docker.sock": "/var/run/docker.sock", str(packages): "/site", str(ROOT / "madrun"): "/m/madrun"}
    config = {
        "Image": base_image,
        "Cmd": ["python3", "-c", ask],
        "Env": ["PYTHONPATH=/m:/site", "PYTHONDONTWRITEBYTECODE=1"],
        "HostConfig": {
            "PidMode": pid,
            "Mounts": [{"Type": "bind", "Source": source, "Target": target} for source, target in mounts.items()],
        },
    }
    made = engine.create_container_from_config(config)["Id"]
    try:
        engine.start(made)
        engine.wait(made, timeout=60)
        said = engine.logs(made).decode()
    finally:
        engine.remove_container(made, force=True)
    assert said.startswith(
        "unix:///var/run/docker.sock cannot be seen to run on this host and outside of any container"
    )
    assert "run madrun on the engine's own host" in said


class Ordinary:
    """An ordinary user with a home, a podman and a copy of this repository of its own."""

    def __init__(self, user: str, home: Path) -> None:
        self.user, self.home, self.clone = user, home, home / "clone"
        kept = {name: value for name, value in os.environ.items() if name.upper().startswith(FORWARDED)}
        self.env = {
            **kept,
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            "HOME": str(home),
            "USER": user,
            "XDG_RUNTIME_DIR": str(home / "run"),
            "XDG_DATA_HOME": str(home / "data"),
        }

    def words(self, *command: str) -> list[str]:
        return ["runuser", "-u", self.user, "--", *command]

    def run(self, *command: str, timeout: float = 400) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.words(*command),
            cwd=self.clone,
            env=self.env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )


@pytest.fixture(scope="module")
def ordinary(base_image: str) -> Iterator[Ordinary]:
    """The user that scripts/test.sh makes; what rootless podman lacks on this machine is the reason of the skip."""
    user = os.environ.get("MADRUN_TEST_USER", "")
    if os.getuid() != 0 or not user:
        pytest.skip("needs root and MADRUN_TEST_USER, an ordinary user (scripts/test.sh makes one)")
    home = Path(tempfile.mkdtemp(prefix="madrun-", dir="/tmp"))
    made = Ordinary(user, home)
    try:
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
        )
        for name in listed.stdout.splitlines():
            if (ROOT / name).is_file():
                (made.clone / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, made.clone / name)
        (home / "run").mkdir(mode=0o700)
        (home / "data").mkdir()
        home.chmod(0o755)
        subprocess.run(["chown", "-R", f"{user}:", str(home)], check=True)
        started = made.run("bash", "scripts/podman.sh")
        if started.returncode != 0:
            pytest.skip(f"no rootless podman here: {started.stderr}")
        yield made
        made.run("bash", "scripts/podman.sh", "--stop")
    finally:
        pause = home / "run/libpod/tmp/pause.pid"
        if pause.exists():  # what holds the user namespace of this home
            subprocess.run(["kill", "-9", pause.read_text().strip()], capture_output=True)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="module")
def quick_start(ordinary: Ordinary) -> subprocess.CompletedProcess[str]:
    """The quick start as that user typed it, whatever came of it."""
    return ordinary.run("bash", "scripts/quickstart.sh", "--runtime", "podman")


@pytest.mark.torch
@pytest.mark.long
@pytest.mark.timeout(600)
def test_the_quick_start_runs_with_rootless_podman(
    ordinary: Ordinary, quick_start: subprocess.CompletedProcess[str]
) -> None:
    done = quick_start
    assert done.returncode == 0, done.stdout + done.stderr
    with (ordinary.clone / "results/perf.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {(row["model"], row["nnodes"]) for row in rows} == {
        (card, nodes) for card in ("sanity", "llama2_7b_tiny") for nodes in ("1", "2")
    }
    assert {(row["status"], row["runtime"]) for row in rows} == {("SUCCESS", "podman")}
    uid = ordinary.clone.stat().st_uid
    assert uid != 0
    foreign = [path for path in (ordinary.clone / "results").rglob("*") if path.lstat().st_uid != uid]
    assert foreign == []


@pytest.mark.torch
@pytest.mark.long
@pytest.mark.timeout(600)
def test_a_killed_madrun_leaves_nothing_in_rootless_podman_and_no_foreign_file(
    ordinary: Ordinary, quick_start: subprocess.CompletedProcess[str]
) -> None:
    assert quick_start.returncode == 0
    card = ordinary.clone / "models/waits"
    card.mkdir()
    (card / "run.sh").write_text("touch made\nchown 0:0 made\nsleep 600\n")
    image = (ordinary.clone / "madrun-site.yaml").read_text().rpartition("BASE_DOCKER: ")[2].strip()
    (card / "model.yaml").write_text(f"name: waits\nscript: run.sh\nimages: {{cpu: {{image: '{image}'}}}}\n")
    subprocess.run(["chown", "-R", f"{ordinary.user}:", str(card)], check=True)
    client, facts = connect("podman", {"CONTAINER_HOST": f"unix://{ordinary.home}/run/podman/podman.sock"})
    assert (facts.name, facts.rootless, facts.can_raise_limits) == ("podman", True, False)
    with (ordinary.home / "out.txt").open("w") as output:
        child = subprocess.Popen(
            ordinary.words(".venv/bin/madrun", "run", "--tags", "waits"),
            cwd=ordinary.clone,
            env=ordinary.env,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    results = ordinary.clone / "results/runs"
    until(lambda: bool(list(results.glob("*waits*/node-0/box/work/made"))), 60, "the script's file")
    agents = subprocess.run(["pgrep", "-P", str(child.pid)], capture_output=True, text=True, check=True)
    os.kill(int(agents.stdout.split()[0]), signal.SIGKILL)
    child.wait(60)
    until(lambda: not containers(client, ordinary.clone), 60, "the end of the container")
    client.close()
    uid = ordinary.clone.stat().st_uid
    assert [path for path in results.rglob("*") if path.lstat().st_uid != uid] == []
