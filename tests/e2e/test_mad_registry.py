"""--registry: what is built goes to a real registry, by the login of credential.json, and comes from there again."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e_parts import until
from mad_bed import Checkout
from own_ports import free_port

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
EMPTY_BASE = "{'docker_build_arg': {'BASE_DOCKER': 'scratch'}}"  # an image of one small file


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    """Address of an open registry."""
    if shutil.which("docker-registry") is None:
        pytest.skip("needs docker-registry (package docker-registry)")
    address = f"127.0.0.1:{free_port()}"
    config = {
        "version": "0.1",
        "log": {"level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(tmp_path / "images")}},
        "http": {"addr": address},
    }
    (tmp_path / "config.yml").write_text(json.dumps(config))  # JSON is YAML
    with (tmp_path / "log").open("w") as log:
        child = subprocess.Popen(["docker-registry", "serve", str(tmp_path / "config.yml")], stdout=log, stderr=log)
    try:
        host, port = address.split(":")
        until(lambda: _answers(host, int(port)), 60, "the registry")
        yield address
    finally:
        child.kill()
        child.wait()


def _answers(host: str, port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((host, port)) == 0


def _images(address: str) -> list[str]:
    with urllib.request.urlopen(f"http://{address}/v2/_catalog") as answer:
        found: list[str] = json.load(answer)["repositories"]
    return found


@pytest.mark.parametrize("spelling", ["--registry", "-r"])
def test_what_is_built_is_pushed_and_pulled(checkout: Checkout, registry: str, engine: Any, spelling: str) -> None:
    (checkout.folder / "docker/ctx/word.txt").write_text(f"{checkout.folder}\n")  # an image of this test's own
    words = ["build", "--tags", "image_context", "-c", EMPTY_BASE]
    done = checkout.run(*words, spelling, registry, "--manifest-output", "build_manifest.json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(_images(registry)) == 1
    (image,) = json.loads((checkout.folder / "build_manifest.json").read_text())["built_images"].values()
    assert image["registry_image"].startswith(f"{registry}/")
    for name in {image["docker_image"], image["registry_image"]}:
        engine.remove_image(name, force=True)
    done = checkout.run(*words, spelling, registry, "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(done.stdout)
    assert row["how"] == "pulled"
    for name in {image["docker_image"], image["registry_image"]}:
        engine.remove_image(name, force=True)


def test_nothing_is_pushed_where_no_registry_is_named(checkout: Checkout, registry: str) -> None:
    assert checkout.run("build", "--tags", "image_context", "-c", EMPTY_BASE).returncode == 0
    assert _images(registry) == []
