"""--detach: the command returns when another madrun attends the launch; here a script of sh stands for that one."""

import sys
import threading

import pytest

from madrun.backends.aside import CONSOLE, detach
from madrun.backends.launchfolder import JOURNAL, LaunchFolder

STARTED = """echo '{{"at": 1, "event": "started", "hosts": ["a", "b"]}}' >>"$4/{journal}"\n"""


@pytest.fixture
def folder(tmp_path, launch):
    return LaunchFolder.create(launch(folder=str(tmp_path / "launch")), {}, {})


@pytest.fixture
def attendant(tmp_path, monkeypatch):
    """The text of the program that is started as `python -m madrun attend FOLDER`."""

    def make(text):
        program = tmp_path / "python"
        program.write_text(f'#!/bin/sh\n[ "$1 $2 $3" = "-m madrun attend" ] || exit 99\n{text}')
        program.chmod(0o755)
        monkeypatch.setattr(sys, "executable", str(program))

    return make


def test_it_returns_with_the_id_once_every_node_has_started(folder, head, attendant):
    attendant(f"echo carrying >&2\n{STARTED.format(journal=JOURNAL)}echo ended\n")
    assert detach(folder, head) == 0
    assert head.out == f"{folder.launch().id}\n".encode()
    assert head.said == ["started on 2 nodes; madrun status, logs -f and stop know it by this id"]
    assert head.err in (b"carrying\n", b"carrying\nended\n", b"")  # as much as was said before the start, at most


def test_a_backend_whose_nodes_may_have_to_wait_says_so(folder, head, attendant):
    attendant(f"""echo '{{"event": "submitted"}}' >>"$4/{JOURNAL}"\nsleep 0.3\n""")
    assert detach(folder, head, "submitted", "submitted for {nodes}, which may wait") == 0
    assert head.said == ["submitted for 2 nodes, which may wait; madrun status, logs -f and stop know it by this id"]


def test_what_goes_wrong_before_that_is_shown_with_its_code(folder, head, attendant):
    attendant("echo 'madrun: error: --on ssh: 1 of 2 hosts cannot take part' >&2\nexit 2\n")
    assert detach(folder, head) == 2
    assert (head.err, head.out, head.said) == (b"madrun: error: --on ssh: 1 of 2 hosts cannot take part\n", b"", [])
    assert (folder.path / CONSOLE).read_bytes() == head.err


def test_a_signal_before_the_start_ends_the_attendant(folder, head, attendant):
    attendant("trap 'echo stopped; exit 130' TERM\necho visiting\nwhile :; do sleep 0.05; done\n")
    threading.Timer(0.4, head.press).start()
    assert detach(folder, head) == 130
    assert head.err == b"visiting\nstopped\n"


def test_an_attendant_that_was_killed_is_no_success(folder, head, attendant):
    attendant("kill -9 $$\n")
    assert detach(folder, head) == 1
