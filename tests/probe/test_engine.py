"""The container engine: what is said where none answers. No engine is needed here."""

import gc

import pytest

from madrun.errors import EngineError
from madrun.probe import engine


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # docker-py leaves its socket open
def test_a_socket_that_is_not_there_is_named_with_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(EngineError, match="no docker engine answers at unix://.*none.sock.*--runtime process"):
        engine.connect()
    gc.collect()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("('Connection aborted.', PermissionError(13, 'Permission denied'))", "usermod -aG docker"),
        ("('Connection aborted.', ConnectionRefusedError(111, 'Connection refused'))", "start one"),
        ("something else\nand more", "something else"),
    ],
)
def test_each_reason_has_its_advice(text, part, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///x.sock")
    said = engine._why_not(text)
    assert part in said
    assert "unix:///x.sock" in said
    assert "and more" not in said


def test_the_facts_of_an_engine_elsewhere_leave_its_limits_unknown(monkeypatch):
    class Client:
        def version(self):
            return {"Version": "27.1"}

    monkeypatch.setenv("DOCKER_HOST", "tcp://10.0.0.1:2375")
    found = engine.describe(Client())
    assert (found.name, found.version, found.rootless) == ("docker", "27.1", False)
    assert (found.can_raise_limits, found.memlock, found.nofile) == (None, None, None)
