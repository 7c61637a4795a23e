"""Cloning what a card names with url: submodules, the commit, failures, secrets, interrupts."""

import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from madrun.errors import DataError
from madrun.node.clone import clone, login_of

pytestmark = pytest.mark.slow  # real processes or commands in most of them


def git(folder, *words):
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path):
    """A repository with a submodule; returns its folder."""
    for name in ("sub", "widget"):
        (tmp_path / name).mkdir()
        git(tmp_path / name, "init", "-q")
        (tmp_path / name / f"{name}.txt").write_text(name)
        if name == "widget":
            git(tmp_path / name, "submodule", "--quiet", "add", f"file://{tmp_path}/sub", "deps/sub")
        git(tmp_path / name, "add", "-A")
        git(tmp_path / name, "commit", "-qm", "one")
    return tmp_path / "widget"


def nothing():
    """Nobody stops it."""


def test_a_repository_comes_with_its_submodules_and_its_commit(origin, tmp_path):
    commit = clone(f"file://{origin}", tmp_path / "here", {}, nothing)
    assert commit == git(origin, "rev-parse", "HEAD")
    assert (tmp_path / "here/deps/sub/sub.txt").read_text() == "sub"


def test_a_repeated_run_takes_the_commit_of_then(origin, tmp_path):
    first = git(origin, "rev-parse", "HEAD")
    (origin / "widget.txt").write_text("newer")
    git(origin, "commit", "-qam", "two")
    assert clone(f"file://{origin}", tmp_path / "then", {}, nothing, first) == first
    assert (tmp_path / "then/widget.txt").read_text() == "widget"
    with pytest.raises(DataError, match="cannot be cloned: .*0123456"):
        clone(f"file://{origin}", tmp_path / "gone", {}, nothing, "0123456" + "0" * 33)


@pytest.mark.parametrize("url", ["file:///nowhere/at/all.git", "--upload-pack=touch x"])
def test_what_cannot_be_cloned_is_an_error_that_names_it(tmp_path, url):
    with pytest.raises(DataError, match=f"url: .*{url[:12]}"):
        clone(url, tmp_path / "here", {}, nothing)
    assert not (tmp_path / "here").exists()


def test_a_host_without_git_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr("madrun.node.clone.with_variables", lambda more: {**more, "PATH": str(tmp_path)})
    with pytest.raises(DataError, match="git cannot be started on this host"):
        clone("https://example.invalid/x", tmp_path / "here", {}, nothing)


@pytest.fixture
def guarded():
    """A server that wants a login and serves nothing; what it was sent."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.headers.get("Authorization", ""))
            self.send_response(401 if len(seen) == 1 else 404)
            self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/x", seen
    server.shutdown()
    server.server_close()


def test_a_login_goes_to_the_server_and_into_no_message(guarded, tmp_path):
    import base64

    url, seen = guarded
    with pytest.raises(DataError) as caught:
        clone(url, tmp_path / "here", {"username": "ada", "password": "s3cret-word"}, nothing)
    assert base64.b64decode(seen[-1].partition(" ")[2]) == b"ada:s3cret-word"
    assert "s3cret" not in str(caught.value)


def test_without_a_login_nobody_is_asked_and_the_error_says_where_to_put_one(guarded, tmp_path):
    url, _ = guarded
    with pytest.raises(DataError, match=r"cred an entry of credential\.json"):
        clone(url, tmp_path / "here", {}, nothing)


def test_an_interrupt_ends_git_at_once(tmp_path, monkeypatch):
    program = tmp_path / "bin/git"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\necho $$ > {tmp_path}/pid\nexec sleep 60\n")
    program.chmod(0o755)
    path = f"{program.parent}:/usr/bin:/bin"
    monkeypatch.setattr("madrun.node.clone.with_variables", lambda more: {**more, "PATH": path})

    class Enough(Exception):
        pass

    def check():
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip():
            raise Enough

    with pytest.raises(Enough):
        clone("https://example.invalid/x", tmp_path / "here", {}, check)
    pid = (tmp_path / "pid").read_text().strip()
    assert subprocess.run(["kill", "-0", pid], capture_output=True, check=False).returncode != 0


def test_a_card_names_its_login_by_the_beginning_of_the_secrets():
    secrets = {"HUB_USERNAME": "ada", "HUB_PASSWORD": "x", "OTHER_PASSWORD": "y"}
    assert login_of("HUB", secrets) == {"username": "ada", "password": "x"}
    assert login_of("", secrets) == {}


def test_a_madrun_that_is_killed_leaves_no_git_behind(tmp_path):
    words = "import sys; from pathlib import Path; from madrun.node.clone import clone; "
    words += "clone(sys.argv[1], Path(sys.argv[2]), {}, lambda: None)"
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"http://127.0.0.1:{server.getsockname()[1]}/x"
        child = subprocess.Popen([sys.executable, "-c", words, address, str(tmp_path / "target")])
        server.settimeout(20)
        asking, _ = server.accept()
        with asking:
            asking.settimeout(10)
            assert asking.recv(1 << 16)
            child.kill()
            child.wait()
            assert asking.recv(1 << 16) == b""  # git has hung up, and waits for no answer
