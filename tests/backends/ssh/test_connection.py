"""One login a host, by an ssh that does on this machine what a host would do."""

import os
import signal
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from madrun.backends.ssh import login
from madrun.backends.ssh.connection import Connections
from madrun.backends.ssh.settings import SshSettings
from madrun.errors import UsageError

# A login (-N) is there at once, unless its host has a script of this name; a command is run here.
SSH = """#!/bin/sh
login= socket= check= all="$*"
while [ "$1" != -- ]; do
  case $1 in -N) login=yes;; -O) check=yes;; ControlPath=*) socket=${{1#*=}};; esac
  shift
done
if [ "$check" ]; then test -e {folder}/$2.held; exit; fi
if [ -z "$login" ]; then echo "$2 $all" >>{folder}/commands; exec sh -c "$3"; fi
echo $2 $$ >>{folder}/logins
if [ -e {folder}/$2.login ]; then . {folder}/$2.login; fi
: >"$socket"
trap 'rm -f "$socket"; exit' TERM
while :; do sleep 0.05; done
"""


@pytest.fixture
def ssh(tmp_path, monkeypatch):
    """A folder with such an ssh, on PATH."""
    program = tmp_path / "bin/ssh"
    program.parent.mkdir()
    program.write_text(SSH.format(folder=tmp_path))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(login, "_PAUSES", (0.01, 0.01))
    return tmp_path


def logins(folder):
    return [line.split()[0] for line in (folder / "logins").read_text().splitlines()]


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def test_a_host_is_logged_in_to_once_and_its_own_text_gets_its_own_input(ssh):
    with Connections(SshSettings()) as all_of_them:
        assert all_of_them.open(["a", "b"]) == {}
        folder = Path(all_of_them.words("a")[-3].removeprefix("ControlPath=")).parent
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        scripts = {"a": 'echo "it\'s $(cat)"; exit 3', "b": "cat >&2"}
        first, second = all_of_them.run(["a", "b"], scripts, input={"a": b"one", "b": b"two"})
        child = all_of_them.start("a", "read -r line; echo got $line")
        assert child.communicate(b"more\n")[0] == b"got more\n"
    assert (first.host, first.code, first.out, first.err) == ("a", 3, b"it's one\n", b"")
    assert (second.host, second.code, second.out, second.said) == ("b", 0, b"", "two")
    assert sorted(logins(ssh)) == ["a", "b"]
    assert not folder.exists()
    assert not [line for line in (ssh / "logins").read_text().splitlines() if is_alive(line.split()[1])]


def test_what_the_user_says_of_ssh_comes_first_but_for_questions(ssh):
    with Connections(SshSettings(options=("ConnectTimeout=77", "BatchMode=no"))) as all_of_them:
        all_of_them.run(["a"], "true")
    words = (ssh / "commands").read_text().split()
    assert words.index("BatchMode=yes") < words.index("BatchMode=no")
    assert words.index("ConnectTimeout=77") < words.index("ConnectTimeout=10")


def test_an_sshd_with_too_many_logins_under_way_is_asked_again(ssh):
    busy = 'echo "kex_exchange_identification: read: Connection reset by peer" >&2; exit 255'
    (ssh / "a.login").write_text(f'if [ $(grep -c "^a " {ssh}/logins) -lt 3 ]; then {busy}; fi')
    with Connections(SshSettings()) as all_of_them:
        assert all_of_them.open(["a"]) == {}
    assert logins(ssh) == ["a", "a", "a"]


def test_a_host_that_refuses_is_asked_once_and_holds_up_nobody(ssh):
    (ssh / "a.login").write_text("echo 'me@a: Permission denied (publickey).' >&2; exit 255")
    with Connections(SshSettings()) as all_of_them:
        first, second = all_of_them.run(["a", "b"], "echo here")
        again = all_of_them.open(["a", "b"])
    assert (first.code, first.said, first.out) == (255, "me@a: Permission denied (publickey).", b"")
    assert (second.code, second.out) == (0, b"here\n")
    assert again == {"a": "me@a: Permission denied (publickey)."}
    assert sorted(logins(ssh)) == ["a", "b"]


def test_a_login_that_the_user_holds_himself_is_used_where_no_other_is_let_in(ssh):
    (ssh / "a.login").write_text("echo 'me@a: Permission denied (keyboard-interactive).' >&2; exit 255")
    (ssh / "a.held").touch()
    with Connections(SshSettings()) as all_of_them:
        assert all_of_them.run(["a"], "echo here")[0].out == b"here\n"
    assert "Control" not in (ssh / "commands").read_text()


def test_a_login_that_ended_is_told_and_not_made_again(ssh):
    (ssh / "a.login").write_text('echo "Timeout, server a not responding." >&2')
    with Connections(SshSettings()) as all_of_them:
        assert all_of_them.open(["a"]) == {}
        os.kill(int((ssh / "logins").read_text().split()[1]), signal.SIGKILL)
        while not (reply := all_of_them.run(["a"], "true")[0]).code:
            time.sleep(0.01)
    assert (reply.code, reply.said) == (255, "the connection was lost: Timeout, server a not responding.")
    assert logins(ssh) == ["a"]


def test_what_takes_too_long_or_is_stopped_is_left_behind(ssh):
    stop = threading.Event()
    with Connections(SshSettings()) as all_of_them:
        (late,) = all_of_them.run(["a"], "exec sleep 60", limit_s=0.1)
        threading.Timer(0.1, stop.set).start()
        stopped = all_of_them.run(["a", "b"], "exec sleep 60", stop=stop)
    assert late.code == 124
    assert [reply.code for reply in stopped] == [130, 130]


HOLD = """
import sys, time
from madrun.backends.ssh.connection import Connections
from madrun.backends.ssh.settings import SshSettings
all_of_them = Connections(SshSettings()).__enter__()
all_of_them.open(["a", "b"])
print(all_of_them._folder, flush=True)
time.sleep(60)
"""


@pytest.mark.slow
def test_the_logins_of_a_killed_madrun_end_and_its_folder_goes(ssh):
    child = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, text=True)
    folder = Path(child.stdout.readline().strip())
    pids = [line.split()[1] for line in (ssh / "logins").read_text().splitlines()]
    assert len(pids) == 2
    assert all(map(is_alive, pids))
    assert folder.is_dir()
    child.kill()
    child.communicate()
    until = time.monotonic() + 20
    while (any(map(is_alive, pids)) or folder.exists()) and time.monotonic() < until:
        time.sleep(0.02)
    left = [pid for pid in pids if is_alive(pid)]
    for pid in left:
        os.kill(int(pid), signal.SIGKILL)
    assert not left
    assert not folder.exists()


def test_without_ssh_the_way_to_one_is_told(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(UsageError, match="found no ssh on PATH; install OpenSSH's client"), Connections(SshSettings()):
        pass
