"""The repository that a command works on, as a user names it."""

import json

import pytest

from madrun.cli.repository import fallback_note, find_repository

GENERATOR = """
import os, subprocess, sys
print('listing')
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), '..'))
from beside import OWNER
from madengine.utils.discover_models import CustomModel
subprocess.run(['git', '--version'], check=True)
class Mine(CustomModel):
    def update_model(self):
        self.args += ' --chosen'
def list_models():
    return [Mine(name=n, dockerfile='../../docker/x', scripts='run.sh', owner=OWNER, n_gpus=1) for n in ('m', 'other')]
"""


@pytest.fixture
def zoo(tmp_path):
    """A repository whose cards come from a generator, and one that says too much."""
    folder = tmp_path / "zoo"
    for place in ("docker", "scripts/g", "elsewhere"):
        (folder / place).mkdir(parents=True)
    (folder / "scripts/beside.py").write_text("OWNER = 'me'\n")
    (folder / "scripts/g/run.sh").write_text('echo "performance: 5 tok"; echo "got $*"\n')
    (folder / "scripts/g/get_models_json.py").write_text(GENERATOR)
    entry = {"name": "root", "dockerfile": "docker/x", "scripts": "scripts/g", "n_gpus": 1, "args": "", "tagz": "x"}
    (folder / "models.json").write_text(json.dumps([entry]))
    return folder


def test_the_flag_counts_before_the_environment_and_that_before_the_current_directory(zoo, tmp_path, monkeypatch):
    other = tmp_path / "other"
    other.mkdir()
    (other / "models.json").write_text("[]")
    monkeypatch.chdir(other)
    assert find_repository(None) == other
    monkeypatch.setenv("MODEL_DIR", str(zoo))
    assert find_repository(None) == zoo
    assert find_repository("../other") == other


def test_the_cards_that_ship_are_said_to_be_those_where_nobody_named_them(zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = find_repository(None)
    assert f"{tmp_path} holds no cards" in fallback_note(shipped, None)
    assert "write []" not in fallback_note(shipped, None)
    monkeypatch.chdir(zoo)
    (zoo / "models.json").rename(zoo / "no.json")
    assert "has a models.json in its root: write [] there" in fallback_note(shipped, None)
    (zoo / "no.json").rename(zoo / "models.json")
    monkeypatch.chdir(tmp_path)
    assert fallback_note(shipped, str(shipped)) == ""
    monkeypatch.setenv("MODEL_DIR", str(shipped))
    assert fallback_note(shipped, None) == ""
    monkeypatch.delenv("MODEL_DIR")
    monkeypatch.chdir(zoo)
    assert fallback_note(zoo, None) == ""


@pytest.mark.slow
@pytest.mark.parametrize("named", ["--repo", "MODEL_DIR"])
def test_a_plan_is_made_of_a_repository_elsewhere_and_nothing_is_copied(madrun, zoo, tmp_path, named):
    here = tmp_path / "here"
    here.mkdir()
    words, env = (["--repo", str(zoo)], {}) if named == "--repo" else ([], {"MODEL_DIR": str(zoo)})
    done = madrun("plan", "--runtime", "process", "--tags", "root", *words, cwd=here, **env)
    assert done.returncode == 0, done.stderr
    assert "models.json: root: tagz: unknown field (did you mean 'tags'?), which has no effect" in done.stdout
    assert list(here.iterdir()) == []


@pytest.mark.e2e
def test_a_card_of_a_generator_runs_with_what_its_hook_and_the_tag_add(madrun, zoo, tmp_path):
    here = tmp_path / "here"
    here.mkdir()
    before = sorted(path for path in zoo.rglob("*"))
    done = madrun("run", "--runtime", "process", "--tags", "g/m:x=1", "--repo", str(zoo), cwd=here)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "got --chosen --x 1" in done.stdout
    assert sorted(path for path in zoo.rglob("*")) == before
