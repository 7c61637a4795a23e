"""What runs on the nodes, watched from the head: real children of sh stand for ssh."""

import subprocess
import threading
import time

import pytest

from madrun.backends.launchfolder import LaunchFolder
from madrun.backends.ssh.heart import Heart, letter_of
from madrun.backends.ssh.watch import Running, Watch, early_lines
from madrun.spec.launch import ASKED, BAD_HOSTS, JOINED, PRIVATE, NodeStart

WAIT = "cat >/dev/null; "  # until the lease ends


@pytest.fixture
def folder(tmp_path):
    (tmp_path / PRIVATE).write_text("export TOKEN=x\n")
    return LaunchFolder(tmp_path)


@pytest.fixture
def start(folder):
    """Starts one child a script, the first as node 0; none outlives the test."""
    made = []

    def starting(*scripts):
        for rank, script in enumerate(scripts):
            log = folder.path / f"node-{rank}.log"
            with log.open("wb") as file:
                out = (subprocess.PIPE, subprocess.PIPE) if rank == 0 else (file, subprocess.STDOUT)
                words = ["sh", "-c", script]
                child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=out[0], stderr=out[1])
            made.append(Running(NodeStart(rank, f"h{rank}", "10.0.0.1"), child, log))
        return made

    yield starting
    for one in made:
        one.child.kill()
        one.child.wait(10)


def test_node_0_is_shown_and_kept_and_its_exit_code_is_that_of_the_launch(folder, head, start):
    running = start("echo out; echo err >&2; exit 3", "echo other; exit 0")
    outcome = Watch(folder, running, head, list).run()
    assert (outcome.code, outcome.why) == (3, "node 0 (h0) ended with exit code 3")
    assert (head.out, head.err) == (b"out\n", b"err\n")
    assert sorted((folder.path / "node-0.log").read_text().splitlines()) == ["err", "out"]
    assert (folder.path / "node-1.log").read_text() == "other\n"
    ended = {event["rank"]: event["exit_code"] for event in folder.events() if event["event"] == "node ended"}
    assert ended == {0: 3, 1: 0}


def test_what_node_0_printed_last_is_shown_however_much_it_is(folder, head, start):
    running = start("yes 0123456789 | head -c 3000000; echo last")
    assert Watch(folder, running, head, list).run().code == 0
    assert (len(head.out), head.out[-5:]) == (3000005, b"last\n")


@pytest.mark.slow
def test_a_node_that_ends_before_all_have_joined_ends_the_launch_with_its_own_code_and_words(folder, head, start):
    running = start(WAIT + "echo ended; exit 130", "echo madrun: error: no card >&2; exit 2", WAIT + "exit 130")
    outcome = Watch(folder, running, head, list).run()
    assert (outcome.code, outcome.why) == (2, "node 1 (h1) ended before all nodes had joined")
    said = ["node 1 (h1) ended with exit code 2 before all nodes had joined:", "  madrun: error: no card"]
    assert (head.said, head.out) == (said, b"ended\n")


@pytest.mark.slow
def test_of_a_node_that_had_joined_node_0_knows_better(folder, head, start):
    running = start("sleep 1.5; exit 3", f"echo 'madrun: {JOINED}'; exit 3")
    outcome = Watch(folder, running, head, list).run()
    assert (outcome.code, outcome.why, head.said) == (3, "node 0 (h0) ended with exit code 3", [])


def test_a_connection_to_node_0_that_breaks_is_a_failed_run_with_what_ssh_said(folder, head, start):
    running = start("echo Timeout, server h0 not responding. >&2; exit 255")
    outcome = Watch(folder, running, head, list).run()
    assert outcome.code == 3
    assert head.said == [
        "node 0 (h0) was lost: ssh said: Timeout, server h0 not responding.; "
        "what ran there ends by itself after 10 s, within its grace period"
    ]
    bad = [event["hosts"] for event in folder.events() if event["event"] == BAD_HOSTS]
    assert bad == [{"h0": "node lost: ssh said: Timeout, server h0 not responding."}]


@pytest.mark.slow
def test_a_connection_to_another_node_that_breaks_is_told_and_node_0_judges(folder, head, start):
    script = f"echo 'madrun: {JOINED}'; echo Connection to h1 closed by remote host.; echo 7 x; exit 255"
    running = start("sleep 0.5; exit 0", script)
    assert Watch(folder, running, head, list).run().code == 0
    assert head.said == ["node 1 (h1) was lost: ssh said: Connection to h1 closed by remote host."]


@pytest.mark.parametrize(("name", "letter"), [(name, letter) for letter, name in ASKED.items()])
def test_a_signal_goes_to_all_nodes_by_its_letter(folder, head, start, name, letter):
    script = f"while read line; do case $line in *{letter}*) echo got; exit 130;; esac; done; exit 1"
    running = start(script, script)
    threading.Timer(0.2, head.press, [name]).start()
    outcome = Watch(folder, running, head, list).run()
    assert (outcome.code, outcome.why) == (130, f"interrupted by {name}")
    assert (head.out, running[1].code) == (b"got\n", 130)


@pytest.mark.slow
def test_a_second_signal_is_passed_on_as_a_second_one(folder, head, start):
    running = start(
        'n=0; while read line; do case $line in *I*) n=$((n+1)); echo "$n"; [ $n = 2 ] && exit 130;; esac; done'
    )
    threading.Timer(0.1, head.press).start()
    threading.Timer(0.5, head.press).start()
    assert Watch(folder, running, head, list).run().code == 130
    assert head.out == b"1\n2\n"


@pytest.mark.slow
def test_after_the_third_nothing_is_waited_for(folder, head, start):
    running = start("trap '' TERM; echo here; while :; do read line || :; sleep 0.05; done", "sleep 600")
    for at in (0.2, 0.4, 0.6):
        threading.Timer(at, head.press).start()
    began = time.monotonic()
    assert Watch(folder, running, head, list).run().code == 130
    assert time.monotonic() - began < 30


@pytest.mark.slow
def test_beats_come_while_the_terminal_takes_nothing(folder, head, start, monkeypatch):
    taken = threading.Event()
    head.show = lambda data: taken.wait(20)
    running = start("echo x; read a && read b && read c && exit 7; exit 1")
    threading.Timer(1.0, taken.set).start()
    monkeypatch.setattr(Heart.__init__, "__defaults__", (0.1,))
    Watch(folder, running, head, list).run()
    assert running[0].code == 7


@pytest.mark.slow
def test_the_private_values_go_once_all_nodes_have_read_them(folder, head, start, monkeypatch):
    monkeypatch.setattr("madrun.backends.ssh.watch._LOOK_S", 0.1)
    running = start(WAIT + "exit 0", f"sleep 0.7; echo 'madrun: {JOINED}'; {WAIT} exit 0")
    there = []
    threading.Timer(0.4, lambda: there.append((folder.path / PRIVATE).exists())).start()
    threading.Timer(1.5, lambda: [there.append((folder.path / PRIVATE).exists()), head.press()]).start()
    threading.Timer(1.6, lambda: [one.child.stdin.close() for one in running]).start()
    Watch(folder, running, head, list).run()
    assert there == [True, False]


@pytest.mark.slow
def test_a_node_whose_lease_ended_with_its_connection_is_a_failed_run_and_no_interruption(folder, head, start):
    script = f"echo 'madrun: {JOINED}'; echo Timeout, server h1 not responding.; sleep 0.3; exit 255"
    outcome = Watch(folder, start("exit 130", script), head, list).run()
    assert (outcome.code, outcome.why) == (3, "node 1 (h1) was lost: ssh said: Timeout, server h1 not responding.")


@pytest.mark.slow
def test_what_the_login_shell_of_a_single_node_prints_is_no_sign_that_it_has_read_its_files(
    folder, head, start, monkeypatch
):
    monkeypatch.setattr("madrun.backends.ssh.watch._LOOK_S", 0.1)
    there = "[ -e {file} ] && echo there || echo gone; "
    file = folder.path / PRIVATE
    running = start(f"echo Welcome; sleep 0.6; {there}echo 'madrun: here' >&2; sleep 0.6; {there}".format(file=file))
    Watch(folder, running, head, list).run()
    assert head.out == b"Welcome\nthere\ngone\n"


def test_nodes_that_said_the_same_are_told_together(folder):
    running = []
    for rank in range(5):
        log = folder.path / f"node-{rank}.log"
        log.write_text("no python\n" if rank < 4 else "")
        running.append(Running(NodeStart(rank, f"h{rank}", ""), None, log, code=127))
    assert early_lines(running) == [
        "node 0 (h0), node 1 (h1), node 2 (h2) and 1 more ended with exit code 127 before all nodes had joined:",
        "  no python",
        "node 4 (h4) ended with exit code 127 before all nodes had joined:",
        "  (nothing was printed there)",
    ]


def test_a_signal_without_a_letter_of_its_own_is_a_request_to_end():
    assert [letter_of(f"interrupted by {name}") for name in ("SIGINT", "SIGUSR1")] == ["I", "T"]
    assert letter_of("") == "T"
