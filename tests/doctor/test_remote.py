"""Other hosts, by an ssh that does on this machine what a host would do."""

import json
import os
import signal
from pathlib import Path

import pytest

from madrun import __version__
from madrun.backends.ssh.connection import Connections, Reply
from madrun.backends.ssh.settings import SshSettings
from madrun.doctor import remote
from madrun.doctor.remote import document_of, versions, visits

# A login of its own (-N) is there at once, and lasts until it is ended; a command is the script of its host.
SSH = """#!/bin/sh
login=
while [ "$1" != -- ]; do
  case $1 in -N) login=yes;; ControlPath=*) socket=${{1#*=}};; esac
  shift
done
if [ "$login" ]; then : >"$socket"; exec sleep 60; fi
echo $$ >{folder}/$2.pid
exec sh {folder}/$2
"""


@pytest.fixture
def connections():
    """Logins to them."""
    with Connections(SshSettings()) as made:
        yield made


@pytest.fixture
def hosts(tmp_path, monkeypatch, connections):
    """Lets `ssh HOST` run this script of the host; its process id then lies in `HOST.pid`. Gives logins and names."""

    def make(**scripts):
        for name, script in scripts.items():
            (tmp_path / name).write_text(script)
        program = tmp_path / "ssh"
        program.write_text(SSH.format(folder=tmp_path))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        return connections, list(scripts)

    return make


def test_a_login_shell_may_say_something_of_its_own(hosts):
    assert versions(*hosts(a=f"echo Welcome to a; echo madrun {__version__}"), "/") == [None]
    told = 'Welcome to a\n{\n "nodes": []\n}\nGood bye\n'
    assert document_of(Reply(host="a", code=0, out=told.encode())) == {"nodes": []}


def test_another_version_is_told(hosts):
    (found,) = versions(*hosts(a="echo madrun 0.0.1"), "/")
    assert (found.name, found.state) == ("madrun", "FAIL")
    assert "madrun 0.0.1 there" in found.text


def once_there(file: Path) -> str:
    """Shell that waits for what another host's script writes when it starts."""
    return f"while [ ! -s {file} ]; do sleep 0.02; done; "


def is_gone(file: Path) -> bool:
    try:
        os.kill(int(file.read_text()), signal.SIG_DFL)
    except ProcessLookupError:
        return True
    return False


def test_a_host_that_hangs_is_named_and_holds_up_nobody_else(hosts, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_ENOUGH_S", 0.0)
    monkeypatch.setattr(remote, "_VERSION_S", 3.0)
    slow, well = versions(
        *hosts(a="exec sleep 60", b=f"{once_there(tmp_path / 'a.pid')}echo madrun {__version__}"), "/"
    )
    assert well is None
    assert (slow.name, slow.state) == ("madrun", "FAIL")
    assert "gave no answer" in slow.text
    assert is_gone(tmp_path / "a.pid")


def test_one_host_that_hangs_in_its_visit_is_given_up_some_time_after_another_has_ended(hosts, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_ENOUGH_S", 0.0)
    monkeypatch.setattr(remote, "_AFTER_S", 0.0)
    first, slow = visits(
        *hosts(a=f"{once_there(tmp_path / 'b.pid')}echo {{}}", b="exec sleep 60"), "/", [["doctor"], ["doctor"]]
    )
    assert (first.code, first.out) == (0, b"{}\n")
    assert (slow.code, remote.unanswered(slow).state) == (124, "FAIL")
    assert is_gone(tmp_path / "b.pid")


def test_what_another_host_says_is_shown_without_what_a_terminal_obeys():
    told = json.dumps({"nodes": [{"hostname": "a\x1b[2J", "findings": [{"text": "one\ntwo\x9b31m", "n": 1}]}]})
    found = document_of(Reply(host="a", code=0, out=told.encode()))
    assert found == {"nodes": [{"hostname": "a[2J", "findings": [{"text": "one\ntwo31m", "n": 1}]}]}
