"""The commit of a real repository and whether it has changes."""

import subprocess

import pytest

from madrun.probe.git import state
from madrun.spec.facts import GitState
from madrun.spec.launch import ORIGIN


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def git(*words):
        who = ["-c", "user.name=a", "-c", "user.email=a@b"]
        return subprocess.run(["git", "-C", str(tmp_path), *who, *words], check=True, capture_output=True, text=True)

    git("init", "--quiet")
    (tmp_path / "file").write_text("a")
    git("add", "file")
    git("commit", "--quiet", "--message", "one")
    return tmp_path, git("rev-parse", "HEAD").stdout.strip()


def test_a_clean_checkout_is_its_commit(checkout):
    folder, commit = checkout
    assert len(commit) == 40
    assert state(folder) == GitState(commit=commit, dirty=False)


def test_a_change_makes_it_dirty_and_a_new_file_does_not(checkout):
    folder, commit = checkout
    (folder / "new").write_text("b")
    assert not state(folder).dirty
    (folder / "file").write_text("b")
    assert state(folder) == GitState(commit=commit, dirty=True)


def test_a_folder_of_a_checkout_belongs_to_it(checkout):
    folder, commit = checkout
    (folder / "models").mkdir()
    assert state(folder / "models").commit == commit


def test_outside_a_checkout_and_without_git_nothing_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert state(tmp_path) == GitState()
    monkeypatch.setenv("PATH", str(tmp_path))
    assert state(tmp_path) == GitState()


def test_a_copy_that_a_launch_brought_is_of_the_commit_that_was_said(tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    (tmp_path / ORIGIN).write_text('{"commit": "c1", "dirty": true}')
    assert state(copy) == GitState(commit="c1", dirty=True)
    (tmp_path / ORIGIN).write_text('{"commit": "", "dirty": false}')
    assert state(copy) == GitState()


def test_a_file_of_that_name_that_says_no_commit_is_not_believed(checkout):
    folder, commit = checkout
    (folder / "below").mkdir()
    for text in ("", "[]", '{"commit": "c1"}'):
        (folder / ORIGIN).write_text(text)
        assert state(folder / "below").commit == commit
