"""What the tests of images against a real engine share."""

from __future__ import annotations

import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from madrun.node.imageplace import image_place
from madrun.probe.buildkit import client_program
from madrun.registry.buildcontext import build_context
from madrun.runtimes.images import Place, Watch
from madrun.spec.plan import ImagePlan

ROOT = Path(__file__).resolve().parents[2]


def engine_client() -> Any:
    """A client of the docker engine that the environment names; skips the test without one."""
    from docker.api import APIClient
    from docker.errors import DockerException
    from docker.utils import kwargs_from_env

    try:
        return APIClient(version="auto", **kwargs_from_env())
    except DockerException as error:
        pytest.skip(f"needs a docker engine: {error}")


def base_image() -> str:
    done = subprocess.run(["bash", str(ROOT / "scripts/base_image.sh")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def place_of(client: Any, builder: str, locks: Path) -> Place:
    """The engine with BuildKit or, for `classic`, without."""
    if builder == "classic":
        return Place(client=client, lock_dir=locks)
    if client_program("") is None:
        pytest.skip("needs a docker client on PATH that can use BuildKit")
    return image_place(client, None, locks)


@contextmanager
def recipe(client: Any, folder: Path, text: str, **args: str) -> Iterator[tuple[ImagePlan, dict[str, Path]]]:
    """A recipe of its own and its build context; the image is removed at the end."""
    (folder / "Dockerfile").write_text(text)
    known = uuid.uuid4().hex
    image = ImagePlan(
        kind="build", name=f"madrun/test:{known[:12]}", recipe=known, dockerfile="Dockerfile", context=str(folder),
        build_args=args,
    )  # fmt: skip
    try:
        yield image, build_context(folder / "Dockerfile").entries
    finally:
        for made in client.images(filters={"label": f"madrun.recipe={known}"}):
            remove(client, made["Id"])


def remove(client: Any, name: str) -> None:
    from contextlib import suppress

    from docker.errors import ImageNotFound

    with suppress(ImageNotFound):
        client.remove_image(name, force=True)


def watching(**more: Any) -> tuple[Watch, list[str], list[str]]:
    """A watch, the lines of its log, and the lines that were shown."""
    logged: list[str] = []
    shown: list[str] = []
    return Watch(log=logged.append, show=shown.append, **more), logged, shown
