"""`status`, `logs`, `stop` and `ps` of launches: by their folders, without any node."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

from madrun.backends.aside import STARTED
from madrun.backends.launchfolder import ATTENDANT, LaunchFolder
from madrun.cli.app import run
from madrun.cli.launch import _sweep
from madrun.cli.launches import find_launch, launch_of_run
from madrun.cli.which import attendants
from madrun.node.seeing.presence import Presence, myself
from madrun.spec.codec import to_json
from madrun.spec.launch import PRIVATE, Launch

ID = "20261121T000000Z-one-a1b2c3"
HOLD = """\
import sys
from pathlib import Path
from madrun.node.seeing.presence import Presence, myself

folder, entry = map(Path, sys.argv[1:3])
known = {"card": "one", "nnodes": 2, "runtime": sys.argv[3], "phase": "attended", "folder": str(folder)}
presence = Presence(myself(run_id=folder.name, **known), folder / "attendant.lock", entry)
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A directory to type commands in, with a cache of its own and no engine."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("DOCKER_HOST", "CONTAINER_HOST"):
        monkeypatch.setenv(name, f"unix://{tmp_path}/no-engine.sock")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def say(here, capfd):
    """Types a command; exit code, standard output, standard error."""

    def typed(*words):
        capfd.readouterr()
        code = run(list(words))
        out, err = capfd.readouterr()
        assert "Traceback" not in err, err
        return code, out, err

    return typed


@pytest.fixture
def make_launch(here):
    """The folder of a launch by ssh on `nnodes` hosts."""

    def make(launch_id=ID, nnodes=2, results="results", backend="ssh"):
        path = here / results / "launches" / launch_id
        values = {name: "" for name in ("master_addr", "repository", "python", "version")}
        values |= {name: () for name in ("words", "secrets", "modules")} | {"files": {}, "given": {}, "env": {}}
        launch = Launch(
            id=launch_id,
            backend=backend,
            folder=str(path),
            nnodes=nnodes,
            cards=("one",),
            images={},
            master_port=1,
            control_port=2,
            results=str(here / results),
            command=("madrun", "run", "--tags", "one", "--on", "ssh"),
            **values,
        )
        return LaunchFolder.create(launch, {}, {})

    return make


@pytest.fixture
def make_run(here):
    """The directory of a run of this launch."""

    def make(run_id, launch=ID):
        path = here / "results/runs" / run_id
        (path / "node-0").mkdir(parents=True)
        begin = {"at": time.time(), "event": "begin", "run_id": run_id, "launch": launch}
        (path / "journal.jsonl").write_text(json.dumps(begin) + "\n")
        return path

    return make


@contextmanager
def attended(folder):
    """While the body runs this process attends the launch."""
    known = {"card": "one", "nnodes": 2, "runtime": "ssh", "phase": "attended", "folder": str(folder.path)}
    resident = myself(run_id=folder.path.name, **known)
    presence = Presence(resident, folder.path / ATTENDANT, attendants() / f"{folder.path.name}.json")
    try:
        yield
    finally:
        presence.leave()


def test_a_launch_is_found_by_its_id_its_beginning_its_folder_and_last(here, make_launch, make_run):
    folder = make_launch()
    make_launch("20261122T000000Z-two-a1b2c3")
    make_run("20261121T000001Z-one-abcdef-1")
    assert find_launch(ID, "results") == folder
    assert find_launch(f"results/launches/{ID}", "results") == folder
    assert find_launch("20261122", "results").path.name == "20261122T000000Z-two-a1b2c3"
    assert find_launch("last", "results").path.name == "20261122T000000Z-two-a1b2c3"


def test_what_may_be_a_run_is_no_launch(here, make_launch, make_run):
    make_launch()
    make_launch("20261121T010000Z-two-a1b2c3")
    make_run("20261122T000001Z-one-abcdef-1")
    for word in ("20261122", "20261122T000001Z-one-abcdef-1", "last", "", "2026", "20261121T0", "nothing", "/"):
        assert find_launch(word, "results") is None, word


def test_of_an_attended_launch_the_results_need_not_be_named(here, make_launch):
    folder = make_launch(results="elsewhere")
    assert find_launch(ID, "results") is None
    with attended(folder):
        assert find_launch(ID, "results") == folder


def test_the_launch_of_a_run_is_known_by_its_journal(here, make_launch, make_run):
    folder = make_launch()
    make_run("20261121T000001Z-one-abcdef-1")
    make_run("20261121T000002Z-one-abcdef-1", launch="gone")
    assert launch_of_run("20261121T000001Z-one-abcdef-1", "results") == folder
    assert launch_of_run("20261121T000002Z-one-abcdef-1", "results") is None
    assert launch_of_run("20261121T000003Z-one-abcdef-1", "results") is None


def test_the_status_of_a_launch_that_goes_on(say, make_launch, make_run, make_record):
    folder = make_launch()
    folder.journal(STARTED, hosts=["a", "b"])
    make_run("20261121T000001Z-one-abcdef-1")
    make_run("20261121T000002Z-one-abcdef-1", launch="another")
    with attended(folder):
        code, out, _ = say("status", ID)
        _, text, _ = say("status", ID, "--json")
    assert code == 0
    assert out.splitlines() == [
        f"RUNNING {ID}  2 nodes by ssh  one",
        "  NODE  HOST  STATE",
        "  0     a     started",
        "  1     b     started",
        "  run 20261121T000001Z-one-abcdef-1: running",
        f"  attended by pid {os.getpid()} on {os.uname().nodename}",
        f"  results/launches/{ID}",
    ]
    state = json.loads(text)
    assert (state["launch_id"], state["phase"], state["exit_code"]) == (ID, "running", None)
    assert state["runs"] == [{"run_id": "20261121T000001Z-one-abcdef-1", "state": "running"}]


def test_the_status_of_launches_that_are_over(say, make_launch):
    folder = make_launch()
    folder.journal("ended", exit_code=0, why="node 0 (a) ended with exit code 0")
    lines = [f"SUCCESS {ID}  2 nodes by ssh  one", "  node 0 (a) ended with exit code 0", f"  results/launches/{ID}"]
    assert say("status", ID)[:2] == (0, "".join(f"{line}\n" for line in lines))
    folder.journal("ended", exit_code=4, why="node 1 (b) ended before all nodes had joined")
    code, out, _ = say("status", ID)
    assert (code, out.splitlines()[0]) == (3, f"FAILURE {ID}  2 nodes by ssh  one")
    assert out.splitlines()[-3:-1] == [
        f"  what it printed: madrun logs {ID}",
        "  again: madrun run --tags one --on ssh",
    ]


def test_of_many_nodes_it_is_said_how_many_are_in_which_state(say, make_launch):
    folder = make_launch(nnodes=40)
    folder.journal(STARTED, hosts=[f"n{rank}" for rank in range(40)])
    folder.journal("node ended", rank=3, host="n3", exit_code=7)
    with attended(folder):
        _, out, _ = say("status", ID)
    assert "  1 ended (7): n3\n" in out
    assert "  39 started: n0, n1, n2, n4, " in out
    assert " and 23 more\n" in out


def test_logs_of_a_launch_are_those_of_its_nodes(say, make_launch):
    folder = make_launch()
    (folder.path / "node-0.log").write_bytes(b"zero\n")
    (folder.path / "node-1.log").write_bytes(b"one\ntwo\n")
    assert say("logs", ID)[:2] == (0, "zero\n")
    assert say("logs", ID, "--node", "1", "-n", "1")[:2] == (0, "two\n")
    code, _, err = say("logs", ID, "--rank", "1")
    assert (code, "--rank: found 1 of a launch" in err) == (2, True)


def test_ps_shows_attended_launches_and_no_others(say, make_launch):
    folder = make_launch()
    make_launch("20261122T000000Z-two-a1b2c3")
    with attended(folder):
        _, out, _ = say("ps")
        _, text, _ = say("ps", "--json")
    row = out.splitlines()[1].split()
    assert row[:4] == [ID, "one", "all/2", "attended"]
    assert row[-5:-3] == ["by", "ssh"]
    assert [one["launch_id"] for one in json.loads(text)["launches"]] == [ID]
    assert json.loads(say("ps", "--json")[1])["launches"] == []


@pytest.fixture
def attendant(here):
    """Starts a process that attends a launch, until SIGTERM."""
    started = []

    def start(folder, backend="ssh"):
        entry = attendants() / f"{folder.path.name}.json"
        words = [sys.executable, "-c", HOLD, str(folder.path), str(entry), backend]
        child = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        started.append(child)
        assert child.stdout.readline() == "held\n"
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()


@pytest.mark.slow
def test_stop_ends_the_attendant_of_a_launch(say, make_launch, make_run, attendant):
    folder = make_launch()
    make_run("20261121T000001Z-one-abcdef-1")
    child = attendant(folder)
    code, out, err = say("stop", "20261121T000001Z-one-abcdef-1")  # the run is on its nodes, the launch is here
    assert (code, out) == (0, f"ended: {ID}\n"), err
    assert child.wait(10) == -signal.SIGTERM
    second = attendant(folder)
    assert say("stop", "--all")[:2] == (0, f"ended: {ID}\n")
    assert second.wait(10) == -signal.SIGTERM


def test_stop_of_what_has_ended_or_has_nobody(say, make_launch):
    folder = make_launch()
    code, _, err = say("stop", ID)
    assert (code, "nobody attends it any more" in err) == (0, True)
    folder.journal("ended", exit_code=0, why="node 0 (a) ended with exit code 0")
    code, _, err = say("stop", ID)
    assert (code, err) == (2, f"madrun: {ID} has ended: node 0 (a) ended with exit code 0\n")


def test_what_is_attended_on_another_host_is_to_be_stopped_there(say, make_launch):
    folder = make_launch()
    there = {"boot": "another", "host": "login2", "pid": 7, "runtime": "ssh"}
    (folder.path / ATTENDANT).write_text(to_json(myself(run_id=ID, **there)))
    code, _, err = say("stop", ID)
    assert (code, err) == (2, f"madrun: error: stop: {ID} is attended on login2 (pid 7); type madrun stop {ID} there\n")


def test_a_launch_is_attended_once(say, make_launch):
    folder = make_launch()
    with attended(folder):
        code, _, err = say("attend", str(folder.path))
    assert (code, "this launch has its attendant, or has ended" in err) == (2, True)


@pytest.mark.slow
def test_what_a_killed_attendant_left_secret_goes_with_the_next_launch(make_launch, attendant):
    folder, living = make_launch(), make_launch("20261122T000000Z-two-a1b2c3")
    child = attendant(folder)
    attendant(living)
    child.kill()
    child.wait(10)
    _sweep()
    assert [(one.path / PRIVATE).exists() for one in (folder, living)] == [False, True]
    assert [entry.stem for entry in attendants().glob("*.json")] == [living.path.name]


@pytest.mark.slow
def test_gc_shows_what_a_killed_attendant_left_and_removes_it_when_told_to(say, make_launch, attendant):
    folder, living = make_launch(), make_launch("20261122T000000Z-two-a1b2c3")
    waiting = make_launch("20261123T000000Z-three-a1b2c3", backend="slurm")  # its job needs what is private
    child = attendant(folder)
    attendant(living)
    os.utime(waiting.path, (1e9, 1e9))
    folder.journal(STARTED, hosts=["a", "b"])
    child.kill()
    child.wait(10)
    (folder.path / "home-x").mkdir()
    (folder.path / "home-x/part").write_text("1234")
    found = [("entry", f"{ID}.json", None), ("launch", f"{ID}/private.env", 0), ("launch", f"{ID}/home-x", 4)]
    document = json.loads(say("gc", "--json")[1])
    assert [(one["kind"], one["name"], one["bytes"]) for one in document["items"]] == found
    assert (folder.path / PRIVATE).exists()
    assert say("gc", "--yes")[0] == 0
    assert [(one.path / PRIVATE).exists() for one in (folder, living, waiting)] == [False, True, True]
    assert not (folder.path / "home-x").exists()
    assert say("gc")[1] == "nothing to remove\n"


@pytest.mark.slow
def test_secrets_of_a_job_that_waits_for_its_nodes_stay_when_its_attendant_was_killed(make_launch, attendant):
    folder = make_launch(backend="slurm")
    child = attendant(folder, "slurm")
    child.kill()
    child.wait(10)
    _sweep()
    assert (folder.path / PRIVATE).exists()


def test_what_has_not_come_home_is_told_with_its_place(say, make_launch):
    folder = make_launch()
    folder.journal("prepared", master="10.0.0.1", folder="/c/files", results="a:/c/launches/x/results")
    folder.journal(STARTED, hosts=["a", "b"])
    code, out, _ = say("status", ID)
    assert (code, out.splitlines()[0].split()[0]) == (3, "LOST")
    assert "  not here: a:/c/launches/x/results\n" in out
    assert "  to bring it here: scp -pr 'a:/c/launches/x/results/runs/*' results/runs\n" in out
    assert json.loads(say("status", ID, "--json")[1])["left"] == ["a:/c/launches/x/results"]
    folder.journal("brought home", runs=["r"])
    folder.journal("cleared", left=[])
    folder.journal("ended", exit_code=3, why="x")
    assert "not here" not in say("status", ID)[1]


@pytest.mark.slow
def test_the_log_of_a_launch_is_followed_no_longer_than_somebody_reads(here, make_launch):
    folder = make_launch()
    (folder.path / "node-0.log").write_text("one\n")
    with attended(folder):
        words = [sys.executable, "-m", "madrun", "logs", "-f", ID]
        child = subprocess.Popen(words, cwd=here, stdout=subprocess.PIPE, text=True)
        assert child.stdout.readline() == "one\n"
        child.stdout.close()
        assert child.wait(20) == 0


def test_a_launch_of_another_user_is_none(say, make_launch, monkeypatch):
    folder = make_launch()
    may = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: may(path, mode) and folder.path not in path.parents)
    code, _, err = say("status", ID)
    assert (code, "no run" in err or "RUN" in err) == (2, True)
