"""How far a launch has come and what its nodes printed, out of its folder alone."""

import fcntl
import os
import threading

import pytest

from madrun.backends.aside import CONSOLE, STARTED
from madrun.backends.launchfolder import ATTENDANT, JOURNAL, LaunchFolder
from madrun.backends.look import show_log, state_of
from madrun.backends.state import NodeState, Which
from madrun.errors import UsageError


@pytest.fixture
def folder(tmp_path, launch):
    return LaunchFolder.create(launch(folder=str(tmp_path / "launch")), {}, {})


@pytest.fixture
def attended(folder):
    """Its attendant is this process."""
    with (folder.path / ATTENDANT).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield folder


def old(folder):
    os.utime(folder.path, (1e9, 1e9))


def test_before_and_after_the_start(attended):
    old(attended)
    assert state_of(attended).phase == "preparing"
    attended.journal("prepared", master="10.0.0.1")
    assert state_of(attended).phase == "preparing"
    attended.journal(STARTED, hosts=["a", "b"])
    attended.journal("node ended", rank=1, host="b", exit_code=3)
    state = state_of(attended)
    assert (state.phase, state.exit_code) == ("running", None)
    assert state.nodes == (NodeState(0, "a", "started"), NodeState(1, "b", "ended (3)"))


def test_the_end_is_what_its_attendant_wrote_last(folder):
    folder.journal(STARTED, hosts=["a"])
    folder.journal("ended", exit_code=3, why="node 0 (a) was lost")
    state = state_of(folder)
    assert (state.phase, state.exit_code, state.reason) == ("ended", 3, "node 0 (a) was lost")


def test_without_its_attendant_and_its_end_it_is_lost(folder):
    assert state_of(folder).phase == "preparing"  # the attendant is about to begin
    old(folder)
    assert state_of(folder).phase == "lost"
    folder.journal(STARTED, hosts=["a"])
    (folder.path / ATTENDANT).touch()
    state = state_of(folder)
    assert (state.phase, state.reason[:25]) == ("lost", "its attendant was killed;")


def test_what_stays_on_the_nodes_is_what_was_told_in_the_end_else_what_has_not_come_home(folder):
    assert state_of(folder).left == ()
    folder.journal("prepared", folder="/c/files", results="a:/c/results")
    assert state_of(folder).left == ("a:/c/results",)
    folder.journal("brought home", runs=["x"])
    assert state_of(folder).left == ()
    folder.journal("cleared", left=["b:/c/repository"])
    folder.journal("ended", exit_code=0, why="")
    assert state_of(folder).left == ("b:/c/repository",)


def test_a_journal_that_is_cut_is_no_error(folder):
    (folder.path / JOURNAL).write_text('{"at": 1, "event": "started", "hosts": ["a"]}\n{"at": 2, "ev')
    assert state_of(folder).nodes == (NodeState(0, "a", "started"),)


def test_the_log_of_a_node_and_its_last_lines(folder, head):
    (folder.path / "node-1.log").write_text("one\ntwo\nthree\n")
    assert show_log(folder, head, Which(node=1)) == 0
    assert show_log(folder, head, Which(node=1, lines=2)) == 0
    assert head.out == b"one\ntwo\nthree\ntwo\nthree\n"


def test_of_node_0_of_a_detached_launch_all_that_was_said_is_shown(folder, head):
    (folder.path / "node-0.log").write_text("out\n")
    (folder.path / CONSOLE).write_text("madrun: carrying\nout\n")
    show_log(folder, head, Which())
    assert head.out == b"madrun: carrying\nout\n"


def test_a_node_that_is_none_and_one_that_has_printed_nothing(folder, head):
    with pytest.raises(UsageError, match="--node: found 2, allowed: 0 to 1"):
        show_log(folder, head, Which(node=2))
    with pytest.raises(UsageError, match="node 1 has printed nothing"):
        show_log(folder, head, Which(node=1))


def test_a_log_is_followed_until_the_launch_has_ended(attended, head):
    attended.journal(STARTED, hosts=["a", "b"])
    log = attended.path / "node-0.log"
    following = threading.Thread(target=show_log, args=(attended, head, Which(follow=True)))
    following.start()
    with log.open("w") as file:
        for number in range(3):
            print(number, file=file, flush=True)
    attended.journal("ended", exit_code=0, why="")
    following.join(20)
    assert not following.is_alive()
    assert head.out == b"0\n1\n2\n"


def test_who_follows_may_stop_at_any_time(attended, head):
    (attended.path / "node-0.log").write_text("x\n")
    head.press()
    assert show_log(attended, head, Which(follow=True)) == 0
    assert show_log(attended, head, Which(node=1, follow=True)) == 0
