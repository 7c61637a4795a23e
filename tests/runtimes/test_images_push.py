"""What one host has built another takes from a real registry, by what it was built from."""

import json
import shutil
import socket
import subprocess
import time

import pytest
from images_parts import engine_client, recipe, remove, watching
from own_ports import free_port

from madrun.errors import BuildError
from madrun.runtimes.images import Place, Policy, ensure

pytestmark = [pytest.mark.docker, pytest.mark.beside]
HTPASSWD = "ann:$2y$05$UyMubFA4sH/j/84OpfPRcOABuCFy/ymyRG7qpKEoXVBVvwAtdgZAq\n"  # htpasswd -Bbn ann pa55word-of-ann


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Address of a registry that wants a password."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry (package docker-registry)")
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    (folder / "htpasswd").write_text(HTPASSWD)
    config = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": f"127.0.0.1:{port}"},
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}},
    }
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while not answers(port):
            assert child.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        child.kill()
        child.wait()


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def client(tmp_path, monkeypatch):
    """A client of a user without a docker configuration."""
    (tmp_path / "docker-config").mkdir()
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    made = engine_client()
    yield made
    made.close()


def made(client, tmp_path, image, context, policy):
    watch, _, shown = watching()
    return ensure(Place(client=client, lock_dir=tmp_path / "locks", policy=policy), image, context, watch), shown


def policy(registry, password="pa55word-of-ann"):
    return Policy(registry=registry, logins={registry: {"username": "ann", "password": password}} if password else {})


def test_what_was_built_and_pushed_is_pulled_where_it_is_missing(registry, client, tmp_path):
    (tmp_path / "kept").write_text("by the first host")
    with recipe(client, tmp_path, "FROM scratch\nCOPY kept /kept\n") as (image, context):
        reference = f"{registry}/{image.name}"
        first, shown = made(client, tmp_path, image, context, policy(registry))
        assert first.how == "built"
        assert f"{reference}: the registry does not have it yet" in shown
        assert shown[-1].startswith(f"pushed {reference}: sha256:")
        for name in (image.name, reference):
            remove(client, name)
        second, shown = made(client, tmp_path, image, context, policy(registry))
        assert (second.how, second.id, second.identity) == ("pulled", first.id, first.identity)
        assert shown[-1] == f"pulled {image.name} from {reference}"
        remove(client, reference)


@pytest.mark.parametrize("password", ["", "wrong"])
def test_without_the_right_login_the_credential_file_is_named(registry, client, tmp_path, password):
    with recipe(client, tmp_path, "FROM scratch\nLABEL a=1\n") as (image, context):
        made(client, tmp_path, image, context, Policy())
        with pytest.raises(BuildError, match=r"could not be pushed(.|\n)*credential.json under the registry's name"):
            made(client, tmp_path, image, context, policy(registry, password))
        remove(client, f"{registry}/{image.name}")


def test_a_registry_that_does_not_answer_is_named(client, tmp_path):
    with recipe(client, tmp_path, "FROM scratch\nLABEL a=2\n") as (image, context):
        with pytest.raises(BuildError, match=r"nothing answers at the registry's address"):
            made(client, tmp_path, image, context, Policy(registry="127.0.0.1:1"))
        assert client.images(name=image.name) == []


def test_a_clean_cache_builds_anew_once(client, tmp_path):
    text = "FROM scratch\nLABEL a=3\n"
    with recipe(client, tmp_path, text) as (image, context):
        fresh = Policy(fresh=True)
        hows = [made(client, tmp_path, image, context, rule)[0].how for rule in (Policy(), Policy(), fresh, fresh)]
        assert hows == ["built", "found", "built", "found"]
