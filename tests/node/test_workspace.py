"""The work directory of one node: filled from the plan's files, emptied into output/."""

import os

import pytest

from madrun.errors import NodesError
from madrun.node.workspace import Workspace, foreign_files, keep_output, manifest, prepare
from madrun.registry.cardtree import tree_hash


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "card"
    (folder / "sub").mkdir(parents=True)
    (folder / "run.sh").write_text("echo hi\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "sub" / "x.py").write_text("x = 1\n")
    return {"run.sh": folder / "run.sh", "sub/x.py": folder / "sub" / "x.py"}


@pytest.fixture
def space(tmp_path):
    (tmp_path / "node-0").mkdir()
    return Workspace(tmp_path / "node-0")


@pytest.fixture
def ready(space, files):
    return prepare(space, files, tree_hash(files), "driver text")


def test_the_cards_files_and_the_driver_lie_in_the_box(space, ready):
    assert (space.work / "run.sh").read_text() == "echo hi\n"
    assert os.access(space.work / "run.sh", os.X_OK)
    assert (space.work / "sub" / "x.py").read_text() == "x = 1\n"
    assert (space.work / "sub" / "x.py").stat().st_mode & 0o777 == 0o644
    assert (space.box / "driver.sh").read_text() == "driver text"
    assert (space.box / "steps").read_text() == ""
    assert set(ready) == {"run.sh", "sub/x.py"}


@pytest.mark.parametrize("change", ["content", "mode"])
def test_files_that_changed_since_the_plan_are_refused(space, files, change):
    planned = tree_hash(files)
    if change == "content":
        files["run.sh"].write_text("echo other\n")
    else:
        files["run.sh"].chmod(0o644)
    with pytest.raises(NodesError, match="files changed since the plan was made"):
        prepare(space, files, planned, "driver text")


def test_only_what_the_script_made_or_changed_is_kept(space, ready):
    (space.work / "made" / "deep").mkdir(parents=True)
    (space.work / "made" / "deep" / "out.csv").write_text("1")
    (space.work / "sub" / "x.py").write_text("x = 22\n")
    (space.work / "__pycache__").mkdir()
    (space.work / "__pycache__" / "x.pyc").write_text("")
    assert keep_output(space, ready) == ["made/deep/out.csv", "sub/x.py"]
    assert (space.output / "made" / "deep" / "out.csv").read_text() == "1"
    assert not (space.output / "run.sh").exists()
    assert not space.box.exists()


def test_driver_and_steps_are_kept_as_evidence(space, ready):
    (space.box / "steps").write_text("1 ready\n")
    assert keep_output(space, ready) == []
    assert (space.root / "driver.sh").read_text() == "driver text"
    assert (space.root / "steps.log").read_text() == "1 ready\n"


def test_a_manifest_does_not_follow_links(tmp_path):
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "file").write_text("abc")
    found = manifest(tmp_path)
    assert "dangling" in found
    assert found["file"][0] == 3
    assert not any(name.startswith("loop/") for name in found)


def test_files_of_somebody_else_are_noticed(space, ready):
    assert not foreign_files(space.box, os.getuid())
    assert foreign_files(space.box, os.getuid() + 1)
