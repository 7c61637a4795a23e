"""What the kernel says of the process behind a socket; this very process serves as the daemon."""

import os
import socket

import pytest

from madrun.probe import daemon


@pytest.fixture
def listener(tmp_path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "x.sock"))
        server.listen()
        yield tmp_path / "x.sock"


def test_the_peer_of_a_socket_is_who_listens_on_it(listener):
    assert daemon.peer_of(listener) == daemon.Peer(pid=os.getpid(), uid=os.getuid())


def test_a_socket_that_nobody_listens_on_is_the_kernels_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        daemon.peer_of(tmp_path / "none.sock")
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "left.sock"))
    with pytest.raises(ConnectionRefusedError):
        daemon.peer_of(tmp_path / "left.sock")


def test_a_process_that_is_not_among_ours_tells_nothing():
    assert daemon.sees_our_root(0) is None
    assert daemon.sees_our_root(2**22) is None
    assert daemon.can_raise_limits(2**22) is None
    assert daemon.owner(2**22) is None
    assert daemon.hard_limits(2**22) == {}


def test_this_process_has_its_own_root_owner_and_limits():
    me = os.getpid()
    assert daemon.sees_our_root(me) is True
    assert daemon.owner(me) == os.getuid()
    assert isinstance(daemon.can_raise_limits(me), bool)
    assert "Max stack size" in daemon.hard_limits(me) or daemon.hard_limits(me)


def test_behind_systemd_docker_is_known_by_its_pid_file_and_podman_is_not(tmp_path, monkeypatch):
    monkeypatch.setattr(daemon, "_DOCKER_PID", tmp_path / "docker.pid")
    systemd = daemon.Peer(pid=1, uid=0)
    assert daemon.daemon_pid(systemd, docker=True) is None
    (tmp_path / "docker.pid").write_text("4321")
    assert daemon.daemon_pid(systemd, docker=True) == 4321
    assert daemon.daemon_pid(systemd, docker=False) is None
    assert daemon.daemon_pid(daemon.Peer(pid=0, uid=0), docker=True) is None
    assert daemon.daemon_pid(daemon.Peer(pid=77, uid=0), docker=False) == 77
