"""Builds and pulls as a user meets them: `madrun build`, `madrun run`, Ctrl-C, what the records say."""

import json
import os
import re
import signal
import subprocess
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound
from e2e_parts import until

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
MEASURED = "echo performance: 1 speed\n"


@pytest.fixture
def remove(engine: Any) -> Any:
    """Images to be removed at the end, by name."""
    names: list[str] = []
    yield names.append
    for name in names:
        with suppress(ImageNotFound):
            engine.remove_image(name, force=True)


def recipe(repository: Any, name: str, text: str) -> None:
    """A card whose image is the base with this added; AT makes the recipe this test's own."""
    source = {"cpu": {"dockerfile": "Dockerfile", "base": repository.image}}
    repository.add(name, MEASURED, images=source)
    text = f"ARG BASE_DOCKER\nFROM ${{BASE_DOCKER}}\nENV AT={repository.folder}\n{text}"
    (repository.folder / "models" / name / "Dockerfile").write_text(text)


def test_build_prepares_the_images_and_run_finds_them(docker_repository: Any, remove: Any) -> None:
    recipe(docker_repository, "good", "COPY run.sh /copied\nRUN test -s /copied\n")
    recipe(docker_repository, "bad", "RUN echo reached the wall && exit 9\n")
    done = docker_repository.run("build", "--tags", "all", "--json")
    rows = {row["cards"][0]: row for row in json.loads(done.stdout)}
    remove(rows["good"]["image"])
    assert done.returncode == 2
    assert (rows["good"]["how"], rows["bad"]["how"]) == ("built", "failed")
    assert "reached the wall" in rows["bad"]["error"]
    assert "reached the wall" in Path(rows["bad"]["log"]).read_text()
    assert docker_repository.records() == []
    run = docker_repository.run("run", "--tags", "good")
    assert run.returncode == 0, run.stdout
    assert "building" not in run.stderr
    plain = docker_repository.run("build", "--tags", "good")
    assert plain.returncode == 0
    assert plain.stdout.split()[:2] == [rows["good"]["image"], "found"]


def test_what_dockerignore_names_changes_no_image(docker_repository: Any, remove: Any) -> None:
    recipe(docker_repository, "card", "COPY . /context\nRUN test ! -e /context/notes.md\n")
    home = docker_repository.folder / "models/card"
    (home / ".dockerignore").write_text("*.md\n")
    (home / "notes.md").write_text("one")

    def build() -> dict[str, Any]:
        done = docker_repository.run("build", "--tags", "card", "--json")
        assert done.returncode == 0, done.stderr
        (row,) = json.loads(done.stdout)
        remove(row["image"])
        return dict(row)

    first = build()
    (home / "notes.md").write_text("two")
    assert (build()["how"], build()["image"]) == ("found", first["image"])
    (home / "other.txt").write_text("seen")
    assert build()["image"] != first["image"]


def test_the_log_of_a_build_is_kept_with_the_run(docker_repository: Any, remove: Any) -> None:
    recipe(docker_repository, "card", "RUN echo said by the build\n")
    done = docker_repository.run("run", "--tags", "card")
    assert done.returncode == 0, done.stdout
    (record,) = docker_repository.records()
    remove(record["provenance"]["docker_image"])
    assert record["provenance"]["base_docker"] == docker_repository.image
    log = docker_repository.folder / "results/runs" / record["run_id"] / "node-0/build.log"
    assert "said by the build" in log.read_text()
    assert "said by the build" in done.stderr


@pytest.mark.parametrize("command", ["run", "build"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_no_client_and_no_step_of_a_build_behind(
    docker_repository: Any, command: str, number: signal.Signals
) -> None:
    mark = f"sleeping-{docker_repository.folder.name}-{os.getpid()}"
    card = f"stops{os.getpid()}{command}{int(number)}"
    recipe(docker_repository, card, f'SHELL ["bash", "-c"]\nRUN exec -a {mark} sleep 900\n')

    def alive(pattern: str) -> list[str]:
        words = ["ps", "-e", "-ww", "-o", "stat=,pid=,args="]
        lines = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
        return [line for line in lines if re.search(pattern, line) and not line.startswith("Z")]

    step, client = rf"\d {mark} 900", rf"docker build .*--tag=madrun/{card}:"
    child = docker_repository.start(command, "--tags", card)
    until(lambda: bool(alive(step)), 60, "the build step")
    assert bool(alive(client)) == ("with BuildKit" in docker_repository.output(child))
    child.send_signal(number)
    assert child.wait(60) in (130, -signal.SIGKILL)
    until(lambda: not alive(step) and not alive(client), 60, "the end of the build")
