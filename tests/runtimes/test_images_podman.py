"""Builds by podman through its Docker-compatible socket. Nothing is run: that needs more of the machine."""

import shutil
import subprocess
import time

import pytest
from images_parts import recipe, watching

from madrun.errors import BuildError
from madrun.node.imageplace import image_place
from madrun.runtimes.images import ensure
from madrun.spec.facts import Engine

pytestmark = pytest.mark.docker


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    """A client of a podman service that this test has started."""
    from docker.api import APIClient

    if shutil.which("podman") is None:
        pytest.skip("needs podman")
    socket = tmp_path_factory.mktemp("podman") / "docker.sock"
    words = ["podman", "system", "service", "--time=0", f"unix://{socket}"]
    service = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 60
        while not socket.exists():
            assert service.poll() is None, "podman system service has ended"
            assert time.monotonic() < end, "no socket within 20 s"
            time.sleep(0.05)
        made = APIClient(base_url=f"unix://{socket}", version="auto")
        yield made
        made.close()
    finally:
        service.terminate()
        service.wait(60)


@pytest.fixture
def place(client, tmp_path):
    engine = Engine(name="podman", version=client.version()["Version"], architecture=client.version()["Arch"])
    return image_place(client, engine, tmp_path / "locks")


def test_podman_builds_a_recipe_once_and_it_is_known_by_the_recipe(place, tmp_path):
    (tmp_path / "kept").write_text("x")
    (tmp_path / "ignored").write_text("x")
    (tmp_path / ".dockerignore").write_text("ignored\n")
    text = "ARG NAME\nFROM scratch AS first\nARG NAME\nENV GIVEN=$NAME\nCOPY . /context\nFROM first\n"
    with recipe(place.client, tmp_path, text, NAME="a b") as (image, context):
        watch, logged, shown = watching()
        made = ensure(place, image, context, watch)
        again = ensure(place, image, context, watch)
        assert (made.how, again.how, again.id) == ("built", "found", made.id)
        assert made.identity == again.identity == made.labels["madrun.identity"]
        assert made.env["GIVEN"] == "a b"
        assert [line for line in shown if "COPY . /context" in line]
        assert "ignored" not in context


def test_a_build_that_podman_fails_is_quoted(place, tmp_path):
    with (
        recipe(place.client, tmp_path, "FROM scratch\nCOPY nothere /\n") as (image, context),
        pytest.raises(BuildError, match=r'building at STEP "COPY nothere /"(.|\n)*no such file'),
    ):
        ensure(place, image, context, watching()[0])
