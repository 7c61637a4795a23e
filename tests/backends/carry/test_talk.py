"""Questions to nodes: the program goes there with them; trouble is told for all hosts together."""

import sys
import threading

import pytest

from madrun.backends.carry.talk import Interrupted, Talk, Target, Trouble, ask, each, in_lines, named
from madrun.errors import UsageError


def look(node):
    return {"do": "look", "folder": "~/.cache/madrun"}


def test_the_answer_comes_behind_what_a_login_shell_prints(near_node):
    answer = ask(near_node, near_node.target, look(near_node), threading.Event())
    assert answer["folder"] == str(near_node.folder) and answer["missing"] == [] and answer["free"] > 0
    assert not near_node.folder.exists()


def test_a_python_that_is_not_there_is_told_in_its_own_words(near_node):
    target = Target(host="n0", python="/nowhere/python3")
    with pytest.raises(Trouble, match="^n0: .*/nowhere/python3.*not found"):
        ask(near_node, target, look(near_node), threading.Event())


@pytest.mark.slow
def test_a_signal_ends_what_waits_for_an_answer(near_node):
    near_node.has_program("slow", "exec sleep 1")
    stop = threading.Event()
    target = Target(host="n0", python=str(near_node.programs / "slow"))
    threading.Timer(0.2, stop.set).start()
    with pytest.raises(Interrupted):
        ask(near_node, target, look(near_node), stop)


def test_a_program_that_takes_nothing_more_does_not_break_the_sender(near_node):
    near_node.has_program("short", "echo 'broken here' >&2; exec 0<&-; exit 7")
    target = Target(host="n0", python=str(near_node.programs / "short"))
    with Talk(near_node, target, {}, threading.Event()) as talk:
        for _ in range(50):
            talk.send(b"x" * 100_000)
        with pytest.raises(Trouble, match="n0: broken here"):
            talk.reply()


def test_an_answer_that_is_cut_is_none(near_node):
    near_node.has_program("cut", """cat >/dev/null; printf 'madrun-reply {"missing": ['; echo 'cut off' >&2""")
    with pytest.raises(Trouble, match="n0: cut off"):
        ask(near_node, Target(host="n0", python=str(near_node.programs / "cut")), {}, threading.Event())


def test_a_request_that_leads_out_of_the_folder_is_refused(near_node):
    question = {"do": "put", "folder": "~/.cache/madrun", "files": [["../../out", "x", 0o644]], "launch": "a"}
    with pytest.raises(Trouble, match="leads out of"):
        ask(near_node, near_node.target, question, threading.Event())
    assert not (near_node.home / "out").exists()


def test_trouble_is_gathered_from_all_hosts_and_equal_trouble_is_one_line():
    targets = [Target(host=f"n{number}", python=sys.executable) for number in range(12)]

    def asked(target):
        if target.host == "n3":
            raise Trouble("n3", "no disk")
        if target.host != "n5":
            raise Trouble(target.host, "full")
        return {}

    with pytest.raises(UsageError) as caught:
        each(targets, asked, 3, "carrying")
    assert str(caught.value).splitlines() == [
        "carrying:",
        "  n0, n1, n2, n4, n6, n7, n8, n9 and 2 more: full",
        "  n3: no disk",
    ]


def test_answers_are_those_of_their_hosts():
    targets = [Target(host=f"n{number}", python=sys.executable) for number in range(3)]
    assert each(targets, lambda target: {"name": target.host}, 2, "")["n1"] == {"name": "n1"}
    assert each([], lambda target: {}, 2, "") == {}


def test_few_hosts_are_all_named():
    assert named(["a", "b"]) == "a, b"
    assert in_lines([Trouble("b", "x"), Trouble("a", "x")], ["a", "b"]) == ["  a, b: x"]


def test_what_a_host_says_of_its_trouble_is_shown_without_what_a_terminal_obeys():
    trouble = Trouble("n1", "full\x1b[2J\x9b31m\r\nof \u202ewords")
    assert str(trouble) == "n1: full [2J 31m  of  words"
