"""Pulls from a real registry on this machine, with credentials from the user's docker configuration."""

import base64
import io
import json
import re
import shutil
import socket
import subprocess
import time

import pytest
from images_parts import base_image, engine_client, remove, watching
from own_ports import free_port

from madrun.errors import BuildError
from madrun.runtimes.images import Place, ensure
from madrun.spec.plan import ImagePlan

pytestmark = pytest.mark.docker
USER, PASSWORD = "ann", "pa55word-of-ann"
HTPASSWD = "ann:$2y$05$UyMubFA4sH/j/84OpfPRcOABuCFy/ymyRG7qpKEoXVBVvwAtdgZAq\n"  # htpasswd -Bbn of both
LAYER = 24 << 20


@pytest.fixture(scope="module")
def registry(tmp_path_factory):
    """Address of a registry that wants a password, with the image team/image:1 in it."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry (package docker-registry)")
    folder = tmp_path_factory.mktemp("registry")
    address = f"127.0.0.1:{free_port()}"
    (folder / "htpasswd").write_text(HTPASSWD)
    config = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": address},
        "auth": {"htpasswd": {"realm": "test", "path": str(folder / "htpasswd")}},
    }
    (folder / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with (folder / "log").open("w") as log:
        child = subprocess.Popen(["docker-registry", "serve", str(folder / "config.yml")], stdout=log, stderr=log)
    try:
        _await(address, child)
        yield address
    finally:
        child.kill()
        child.wait()


def _await(address, child):
    host, port = address.split(":")
    end = time.monotonic() + 60
    while True:
        try:
            socket.create_connection((host, int(port)), 1).close()
            return
        except OSError:
            assert child.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)


@pytest.fixture
def configured(tmp_path, monkeypatch):
    """Writes the user's docker configuration and returns a client that has read it."""
    made = []

    def write(**config):
        folder = tmp_path / "docker-config"
        folder.mkdir(exist_ok=True)
        (folder / "config.json").write_text(json.dumps(config))
        monkeypatch.setenv("DOCKER_CONFIG", str(folder))
        made.append(engine_client())
        return made[-1]

    yield write
    for client in made:
        client.close()


def auths(address, password=PASSWORD):
    return {"auths": {address: {"auth": base64.b64encode(f"{USER}:{password}".encode()).decode()}}}


@pytest.fixture
def pushed(registry, configured):
    """Reference and digest of an image that lies in the registry and not on this host."""
    client = configured(**auths(registry))
    repository = f"{registry}/team/image"
    name = f"{repository}:1"
    text = f"FROM {base_image()}\nRUN head -c {LAYER} /dev/urandom > /layer\nENV AT={registry}\nLABEL of=team\n"
    content = io.BytesIO(text.encode())
    stream = client.build(fileobj=content, tag=name, decode=True, rm=True, forcerm=True, network_mode="host")
    assert [event for event in stream if "error" in event] == []
    events = list(client.push(repository, tag="1", stream=True, decode=True))
    assert [event for event in events if "error" in event] == []
    (digest,) = [event["aux"]["Digest"] for event in events if "aux" in event]
    remove(client, name)
    yield name, digest
    remove(client, name)
    remove(client, f"{repository}@{digest}")


def prepare(client, name, tmp_path):
    watch, logged, shown = watching()
    place = Place(client=client, lock_dir=tmp_path / "locks")
    return ensure(place, ImagePlan(kind="ready", name=name), {}, watch), logged, shown


def test_a_pull_ends_with_the_digest_that_the_registry_gave(registry, configured, pushed, tmp_path):
    name, digest = pushed
    client = configured(**auths(registry))
    made, logged, shown = prepare(client, name, tmp_path)
    assert (made.how, made.identity, made.labels["of"], made.env["AT"]) == ("pulled", digest, "team", registry)
    assert shown[0] == f"pulling {name}"
    assert re.fullmatch(rf"pulling {name}: (\d+) of \1 layers, (.*) of \2", shown[-2])
    assert shown[-1] == f"pulled {name}: {digest}"
    assert [line for line in logged if "Pull complete" in line]
    assert len(shown) <= 5
    assert prepare(client, name, tmp_path)[0].how == "found"


def test_an_image_named_by_its_digest_is_pulled(registry, configured, pushed, tmp_path):
    name, digest = pushed
    client = configured(**auths(registry))
    by_digest = f"{name.rpartition(':')[0]}@{digest}"
    assert prepare(client, by_digest, tmp_path)[0].identity == digest


@pytest.mark.parametrize("password", ["", "wrong"])
def test_without_the_right_password_the_login_is_named(registry, configured, tmp_path, password):
    client = configured(**(auths(registry, password) if password else {}))
    with pytest.raises(BuildError, match=rf"{registry}/team/image:1: not on this host(.|\n)*docker login {registry}"):
        prepare(client, f"{registry}/team/image:1", tmp_path)


def test_a_tag_that_is_not_there_is_named(registry, configured, pushed, tmp_path):
    client = configured(**auths(registry))
    name = f"{registry}/team/image:none"
    with pytest.raises(BuildError, match=rf"image {name}: (.|\n)*no such tag or digest; check the part after the name"):
        prepare(client, name, tmp_path)


def test_a_registry_that_does_not_answer_is_named(configured, tmp_path):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        name = f"127.0.0.1:{closed.getsockname()[1]}/x:1"
        with pytest.raises(BuildError, match="nothing answers at the registry's address"):
            prepare(configured(), name, tmp_path)


def helper(folder, text):
    """A credential helper on PATH (https://github.com/docker/docker-credential-helpers)."""
    program = folder / "docker-credential-madruntest"
    program.write_text(f"#!/bin/sh\n{text}\n")
    program.chmod(0o755)


def test_credentials_come_from_a_helper_where_the_configuration_names_one(
    registry, configured, pushed, tmp_path, monkeypatch
):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    answer = json.dumps({"ServerURL": registry, "Username": USER, "Secret": PASSWORD})
    helper(tmp_path, f"[ \"$1\" = get ] && echo '{answer}'")
    client = configured(credHelpers={registry: "madruntest"})
    name, digest = pushed
    assert prepare(client, name, tmp_path)[0].identity == digest


def test_a_helper_that_fails_is_quoted(registry, configured, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    helper(tmp_path, "echo the vault is sealed; exit 1")
    client = configured(credHelpers={registry: "madruntest"})
    with pytest.raises(BuildError, match="the vault is sealed"):
        prepare(client, f"{registry}/team/image:1", tmp_path)
