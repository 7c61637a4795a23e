"""Whether an engine's mounts are of the files of this host. The engine is a fake."""

import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from madrun.probe.locality import greet, is_of_this_host, shares_files


class FakeDocker:
    """Answers as dockerd 20.10 does; `sees` says whether it finds a file."""

    base_url, api_version = "http://docker", "1.41"

    def __init__(self, sees):
        self.sees, self.sources = sees, []

    def post(self, url, json):
        assert url == "http://docker/v1.41/containers/create"
        self.sources = [mount["Source"] for mount in json["HostConfig"]["Mounts"]]
        missing = [source for source in self.sources if not (self.sees and Path(source).exists())]
        return SimpleNamespace(status_code=400 if missing else 404)


def test_an_engine_that_finds_files_made_a_moment_ago_shares_them(tmp_path):
    engine = FakeDocker(sees=True)
    assert shares_files(engine, [str(tmp_path), None, str(tmp_path / "none")])
    assert len(engine.sources) == 2
    assert not [source for source in engine.sources if Path(source).exists()]


def test_an_engine_that_does_not_find_them_is_elsewhere(tmp_path):
    assert not shares_files(FakeDocker(sees=False), [str(tmp_path)])


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("tcp://127.0.0.1:2375", True),
        ("tcp://localhost:2375", True),
        ("tcp://192.0.2.1:2375", False),
        ("tcp://no-such-host.invalid:2375", False),
        ("tcp://", False),
        ("tcp://" + "x" * 300, False),
    ],
)
def test_the_host_of_an_address_is_this_one_if_it_can_be_bound(address, here):
    assert is_of_this_host(address) is here


def test_a_port_that_nobody_listens_on_is_the_kernels_error():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        with pytest.raises(ConnectionRefusedError):
            greet(f"tcp://127.0.0.1:{port}", 1)
        server.listen()
        greet(f"tcp://127.0.0.1:{port}", 1)
