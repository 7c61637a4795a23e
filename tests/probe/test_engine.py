"""Which engine is found, what is said where none is, and where one must not be used. The engines are small servers."""

import http.server
import os
import socketserver
import threading
from pathlib import Path

import pytest

from madrun.errors import EngineError
from madrun.probe import cdi, daemon, engine
from madrun.probe.endpoint import Endpoint

# Headers of /_ping as docker 20.10.24 and podman 4.3.1 sent them.
DOCKER = {"Api-Version": "1.41", "Server": "Docker/20.10.24+dfsg1 (linux)", "Ostype": "linux"}
PODMAN = {"Api-Version": "1.41", "Server": "Libpod/4.3.1 (linux)", "Libpod-Api-Version": "4.3.1"}


class UnixServer(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


def serve(server_type, address, headers, seen):
    class Answer(http.server.BaseHTTPRequestHandler):
        def answer(self):
            seen.append(self.path)
            self.send_response(404 if self.path.endswith("/containers/create") else 200)
            body = b'{"CgroupDriver": "cgroupfs"}' if self.path.endswith("/info") else b"OK"
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = answer

        def send_header(self, name, value):
            if name != "Server" or "Python" not in value:
                super().send_header(name, value)

        def address_string(self):
            return ""

        def log_message(self, *words):
            pass

    server = server_type(address, Answer)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    return server


@pytest.fixture
def start(tmp_path):
    """Starts an engine on a socket, or on a port where no name is given; its address and what it was asked."""
    servers = []

    def begin(headers, name=""):
        seen = []
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name:
            servers.append(serve(UnixServer, str(path), headers, seen))
            return f"unix://{path}", seen
        servers.append(serve(http.server.ThreadingHTTPServer, ("127.0.0.1", 0), headers, seen))
        return f"tcp://127.0.0.1:{servers[-1].server_address[1]}", seen

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(autouse=True)
def on_a_host(monkeypatch):
    """Not in a container, whatever these tests run in."""
    monkeypatch.setattr(daemon, "in_container", lambda: False)


def find(wanted, env):
    client, facts = engine.connect(wanted, {"HOME": "/nowhere", **env})
    client.close()
    return facts


def test_docker_is_known_by_its_answer_with_one_small_request(start):
    address, seen = start(DOCKER, "docker.sock")
    found = find("auto", {"DOCKER_HOST": address})
    assert (found.name, found.version, found.host) == ("docker", "20.10.24+dfsg1", address)
    assert found.rootless == (os.getuid() != 0)
    assert seen == ["/_ping"]


def test_in_a_slurm_job_docker_is_asked_who_makes_its_cgroups(start):
    address, seen = start(DOCKER, "docker.sock")
    found = find("auto", {"DOCKER_HOST": address, "SLURM_JOB_ID": "17"})
    assert found.cgroup_driver == "cgroupfs"
    assert seen[0] == "/_ping"
    assert seen[1].endswith("/info")


@pytest.mark.parametrize(
    ("installed", "told"), [("podman", "no podman engine.*podman.socket"), ("docker", "no docker")]
)
def test_where_podman_alone_is_installed_it_is_podman_that_is_to_be_started(tmp_path, monkeypatch, installed, told):
    (tmp_path / installed).write_text("#!/bin/sh\n")
    (tmp_path / installed).chmod(0o755)
    nowhere = lambda *_: [Endpoint(address=f"unix://{tmp_path}/none.sock")]  # noqa: E731
    monkeypatch.setattr(engine, "docker_endpoints", nowhere)
    monkeypatch.setattr(engine, "podman_endpoints", nowhere)
    with pytest.raises(EngineError, match=told):
        find("auto", {"PATH": str(tmp_path)})


def test_podman_behind_dockers_socket_is_called_podman(start):
    address, _ = start(PODMAN, "docker.sock")
    found = find("docker", {"DOCKER_HOST": address})
    assert (found.name, found.version) == ("podman", "4.3.1")


def test_auto_takes_podman_where_no_docker_answers(start, tmp_path, monkeypatch):
    address, _ = start(PODMAN, "run/podman/podman.sock")
    monkeypatch.setattr("madrun.probe.endpoint.DOCKER_SOCKET", f"unix://{tmp_path}/none.sock")
    found = find("auto", {"XDG_RUNTIME_DIR": str(tmp_path / "run")})
    assert (found.name, found.host) == ("podman", address)


def test_a_rootless_docker_is_found_where_the_systems_does_not_answer(start, tmp_path, monkeypatch):
    address, _ = start(DOCKER, "run/docker.sock")
    monkeypatch.setattr("madrun.probe.endpoint.DOCKER_SOCKET", f"unix://{tmp_path}/none.sock")
    assert find("docker", {"XDG_RUNTIME_DIR": str(tmp_path / "run")}).host == address


def test_what_is_named_is_asked_alone(start, tmp_path):
    start(PODMAN, "run/podman/podman.sock")
    env = {"DOCKER_HOST": f"unix://{tmp_path}/none.sock", "XDG_RUNTIME_DIR": str(tmp_path / "run")}
    with pytest.raises(EngineError, match=r"no docker engine answers at unix://.*none.sock \(DOCKER_HOST\)"):
        find("auto", env)


def test_docker_is_no_podman(start):
    address, _ = start(DOCKER, "p.sock")
    with pytest.raises(EngineError, match="docker answers there, not podman"):
        find("podman", {"CONTAINER_HOST": address})


def test_a_socket_that_is_not_there_is_named_with_what_to_do(tmp_path):
    with pytest.raises(EngineError, match="no docker engine answers at unix://.*none.sock.*--runtime process"):
        find("docker", {"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    with pytest.raises(EngineError, match="no podman engine.*podman system service --time=0 unix://.*none.sock"):
        find("podman", {"CONTAINER_HOST": f"unix://{tmp_path}/none.sock"})


@pytest.mark.parametrize(
    ("wanted", "advice"), [("docker", "usermod -aG docker"), ("podman", "systemctl --user enable --now")]
)
def test_a_socket_that_may_not_be_used_says_how_to_come_by_one(tmp_path, monkeypatch, wanted, advice):
    def refuse(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(daemon, "peer_of", refuse)
    with pytest.raises(EngineError, match=f"no permission on the {wanted} socket.*{advice}"):
        find(wanted, {"DOCKER_HOST": "unix:///x.sock", "CONTAINER_HOST": "unix:///x.sock"})


def test_of_several_reasons_a_lack_of_permission_is_told(tmp_path, monkeypatch):
    def reach(path):
        raise PermissionError if str(path) == "/var/run/docker.sock" else FileNotFoundError

    monkeypatch.setattr(daemon, "peer_of", reach)
    with pytest.raises(EngineError, match="no permission on the docker socket unix:///var/run/docker.sock"):
        find("auto", {"XDG_RUNTIME_DIR": str(tmp_path)})


def test_a_server_that_is_no_engine_is_said_to_be_none(start):
    address, _ = start({}, "x.sock")
    with pytest.raises(EngineError, match="no docker engine answers at .*no Api-Version"):
        find("docker", {"DOCKER_HOST": address})


@pytest.mark.parametrize("address", ["ssh://user@gpu7", "tcp://192.0.2.1:2375"])
def test_an_engine_of_another_host_is_refused_for_its_mounts(address):
    with pytest.raises(EngineError, match="DOCKER_HOST.*another host.*files of that engine's host"):
        find("auto", {"DOCKER_HOST": address})


def test_over_tcp_an_engine_of_this_host_proves_that_it_shares_its_files(start, monkeypatch):
    address, seen = start(DOCKER)
    assert find("docker", {"DOCKER_HOST": address}).host == address
    assert seen == ["/_ping", "/v1.41/containers/create"]
    monkeypatch.setattr(engine, "shares_files", lambda client: False)
    with pytest.raises(EngineError, match="cannot be seen to run on this host"):
        find("docker", {"DOCKER_HOST": address})


@pytest.mark.parametrize(
    ("peer", "inside", "asked"),
    [(0, False, True), (2**22, True, True), (2**22, False, False), ("this process", True, False)],
)
def test_an_engine_whose_process_is_not_ours_to_see_is_asked(start, monkeypatch, peer, inside, asked):
    address, seen = start(DOCKER, "docker.sock")
    pid = os.getpid() if peer == "this process" else peer
    monkeypatch.setattr(daemon, "peer_of", lambda path: daemon.Peer(pid=pid, uid=0))
    monkeypatch.setattr(daemon, "in_container", lambda: inside)
    find("docker", {"DOCKER_HOST": address})
    assert ("/v1.41/containers/create" in seen) is asked


def test_podman_that_cannot_be_seen_is_refused_for_it_cannot_be_asked(start, monkeypatch):
    address, _ = start(PODMAN, "podman.sock")
    monkeypatch.setattr(daemon, "peer_of", lambda path: daemon.Peer(pid=0, uid=0))
    with pytest.raises(EngineError, match="outside of any container"):
        find("podman", {"CONTAINER_HOST": address})


def test_podman_has_the_devices_of_the_hosts_specifications(start, tmp_path, monkeypatch):
    (tmp_path / "cdi").mkdir()
    (tmp_path / "cdi/x.yaml").write_text("kind: nvidia.com/gpu\ndevices: [{name: all}]\n")
    monkeypatch.setattr(cdi, "FOLDERS", (tmp_path / "cdi",))
    address, _ = start(PODMAN, "podman.sock")
    assert find("podman", {"CONTAINER_HOST": address}).cdi == ("nvidia.com/gpu=all",)


def test_docker_is_asked_for_runtimes_and_devices_only_with_nvidias_driver(tmp_path, monkeypatch):
    class Client:
        def info(self):
            return {"Runtimes": {"runc": {}, "nvidia": {}}, "CDISpecDirs": [str(tmp_path)]}

    (tmp_path / "x.yaml").write_text("kind: nvidia.com/gpu\ndevices: [{name: all}]\n")
    monkeypatch.setattr(engine, "_NVIDIA", tmp_path / "none")
    assert engine._vendor_support(Client(), "docker") == ((), ())
    monkeypatch.setattr(engine, "_NVIDIA", tmp_path / "x.yaml")
    assert engine._vendor_support(Client(), "docker") == (("runc", "nvidia"), [Path(tmp_path)])
