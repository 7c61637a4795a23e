"""A rendered task is one that SkyPilot's own parser takes: the package in a virtual environment of its own (459 MB)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.e2e, pytest.mark.long]
VERSION = "0.14.1"
# Prints what the parser made of the file; the package neither asks a server nor writes outside HOME for that.
PARSE = """
import json, sys, sky
task = sky.Task.from_yaml(sys.argv[1])
(resources,) = task.resources
print(json.dumps({"name": task.name, "nodes": task.num_nodes, "run": task.run, "workdir": task.workdir,
                  "mounts": task.file_mounts, "image": str(resources.image_id), "accelerators": resources.accelerators,
                  "cloud": str(resources.cloud), "cpus": resources.cpus}))
"""


@pytest.fixture(scope="module")
def skypilot() -> Path:
    """Its python, installed once for all sessions of this user."""
    place = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / f"madrun-test/skypilot-{VERSION}"
    if not (place / "installed").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(place)], check=True)
        words = [str(place / "bin/pip"), "install", "-q", "--disable-pip-version-check", f"skypilot=={VERSION}"]
        subprocess.run(words, check=True, timeout=280)
        (place / "installed").touch()
    return place / "bin/python"


def parse(python: Path, file: Path, home: Path) -> subprocess.CompletedProcess[str]:
    """What the parser says of a file."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home)}
    words = [str(python), "-c", PARSE, str(file)]
    return subprocess.run(words, env=env, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.timeout(400)
def test_skypilots_parser_reads_what_was_meant(skypilot: Path, host_repository: Any, tmp_path: Path) -> None:
    images = {"nvidia": {"image": "example/one:1"}}
    host_repository.add("one", "echo performance: 1 x\n", images=images)
    sets = ("--set", "skypilot.accelerators=H100:8", "--set", "skypilot.infra=aws", "--set", "skypilot.cpus=16+")
    words = ("render", "--tags", "one", "--on", "skypilot", "--nodes", "3", *sets, "--to", "task")
    done = host_repository.run(*words, HF_TOKEN="geheim")
    assert done.returncode == 0, done.stderr
    folder = host_repository.folder / "task"
    done = parse(skypilot, folder / "task.yaml", tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["nodes"], found["accelerators"], found["cloud"], found["cpus"]) == (3, {"H100": 8}, "AWS", "16+")
    assert "docker:example/one:1" in found["image"]
    assert found["workdir"] == str(host_repository.folder)
    task = yaml.safe_load((folder / "task.yaml").read_text())
    assert (found["run"].strip(), found["name"]) == (task["run"].strip(), task["name"])
    assert set(found["mounts"].values()) == {str(folder / "node.sh"), str(folder / "madrun")}
    # The parser does look: a task that is not what its format allows is refused.
    for key, value in {"num_nodez": 2, "num_nodes": "many", "resources": {"acelerators": "H100:8"}}.items():
        (tmp_path / "wrong.yaml").write_text(yaml.safe_dump({**task, key: value}))
        assert parse(skypilot, tmp_path / "wrong.yaml", tmp_path).returncode != 0, key
