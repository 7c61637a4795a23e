"""What git says of the repository on the launching host."""

import subprocess

import pytest

from madrun.backends.carry.gitstate import Checkout, checkout_of


@pytest.fixture
def git(tmp_path, monkeypatch):
    """Runs git in a new checkout with one commit."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))

    def run(*words):
        command = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    run("init", "-q")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/file").write_text("1")
    run("add", ".")
    run("commit", "-qm", "one")
    return run


def test_commit_remote_and_place_are_those_of_the_checkout(git, tmp_path):
    git("remote", "add", "other", "https://example.com/other.git")
    git("remote", "add", "origin", "git@example.com:one.git")
    commit = git("rev-parse", "HEAD")
    assert checkout_of(tmp_path) == Checkout(commit=commit, url="git@example.com:one.git")
    assert checkout_of(tmp_path / "below").below == "below"
    (tmp_path / "new").write_text("not tracked")
    assert not checkout_of(tmp_path).dirty
    (tmp_path / "below/file").write_text("2")
    assert checkout_of(tmp_path).dirty


@pytest.mark.parametrize("said", ["me:secret", "secret", "me:se@cret"])
def test_a_password_of_the_remote_stays_here(git, tmp_path, said):
    git("remote", "add", "other", f"https://{said}@example.com/other.git")
    assert checkout_of(tmp_path).url == "https://example.com/other.git"


def test_outside_of_a_checkout_there_is_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert checkout_of(tmp_path) == Checkout()
    monkeypatch.setenv("PATH", "/nowhere")
    assert checkout_of(tmp_path) == Checkout()
