"""`ps`, `status`, `logs`, `stop` and `gc` over run directories, without an engine and without a run."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.cli.app import run
from madrun.cli.logs import start_of_last
from madrun.node.seeing.census import Census, Contained
from madrun.node.seeing.presence import alive, myself
from madrun.spec.codec import to_json
from madrun.spec.record import Failure, NodeOutcome

pytestmark = pytest.mark.slow  # real processes or commands in most of them

ID = "20261121T000000Z-one-abcdef-1"


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
def make_run(here, make_record, make_test_plan, make_job):
    """A run directory with a console of ten lines; `record` is what the record is to hold, None for no record."""

    def make(run_id=ID, record=None, nodes=(0,), results="results", **job):
        path = here / results / "runs" / run_id
        for rank in nodes:
            (path / f"node-{rank}").mkdir(parents=True)
            (path / f"node-{rank}/console.log").write_text("".join(f"node {rank} line {n}\n" for n in range(10)))
        (path / "plan.json").write_text(to_json(make_test_plan(make_job(**job))))
        begin = {"at": time.time() - 60, "event": "begin", "command": ["madrun", "run", "--tags", "one"]}
        (path / "journal.jsonl").write_text(json.dumps(begin) + "\n")
        if record is not None:
            (path / "record.json").write_text(to_json(make_record(run_id, **record)))
        return path

    return make


@pytest.fixture
def living(here):
    """Makes this process the agent of a node's directory."""

    def make(folder, rank=0, nnodes=1, **more):
        known = {"card": "one", "rank": rank, "nnodes": nnodes, "runtime": "process", "folder": str(folder), **more}
        return alive(folder, myself(run_id=folder.parent.name, **known), here / "cache/madrun/agents")

    return make


FAILED = {
    "status": "FAILURE",
    "valid": False,
    "exit_code": 3,
    "nnodes": 2,
    "reasons": ("oom: killed", "node 0: the script did not end by itself"),
    "culprit": Failure(kind="oom", text="killed", node=1, last_lines=("last words",)),
    "nodes": (NodeOutcome(node=0, hostname="alpha"), NodeOutcome(node=1, hostname="beta")),
}


def test_where_nothing_runs_one_line_says_so_and_a_note_that_no_engine_was_asked(say):
    code, out, err = say("ps")
    assert (code, out) == (0, "nothing of madrun runs here\n")
    assert err.count("containers are not shown") == 1
    assert len(err.splitlines()) == 1


def test_ps_shows_a_living_agent_in_columns_and_as_json(say, make_run, living):
    path = make_run()
    with living(path / "node-0", nnodes=4) as agent:
        agent.say(phase="running")
        _, out, _ = say("ps")
        _, document, _ = say("ps", "--json")
    head, row = out.splitlines()
    assert row.split()[:4] == [ID, "one", "0/4", "running"]
    assert row.index("running") == head.index("PHASE")
    (one,) = json.loads(document)["agents"]
    assert (one["run_id"], one["node"], one["nnodes"], one["pid"]) == (ID, 0, 4, os.getpid())
    assert (one["container"], one["uid"]) == (None, os.getuid())


def test_garbage_in_the_registry_is_nobody(say, here):
    folder = here / "cache/madrun/agents"
    folder.mkdir(parents=True)
    (folder / f"{ID}-n0.json").write_bytes(b"\xff{}")
    (folder / "x-n0.json").mkdir()
    assert say("ps")[:2] == (0, "nothing of madrun runs here\n")


def test_status_of_a_run_that_goes_on(say, make_run, living):
    path = make_run()
    (path / "node-0/console.log").write_text("performance: 007 tok\n")
    with living(path / "node-0"):
        code, out, _ = say("status", "last")
        document = json.loads(say("status", ID, "--json")[1])
    assert code == 0
    assert out.startswith(f"RUNNING {ID}  1 node x 1  process  for 1m0")
    assert "007 tok" in out
    assert (document["state"], document["exit_code"], document["record"]) == ("running", 0, None)
    (node,) = document["nodes"]
    assert (node["host"], node["console_bytes"], node["metric"], node["idle_s"]) == (
        os.uname().nodename,
        21,
        "007 tok",
        None,
    )


def test_status_of_a_good_run_shows_its_metrics(say, make_run):
    make_run(record={})
    code, out, _ = say("status", ID)
    assert code == 0
    assert "SUCCESS one" in out
    assert "007 tok/s" in out
    assert json.loads(say("status", ID, "--json")[1])["record"]["status"] == "SUCCESS"


def test_status_of_a_failed_run_shows_culprit_reasons_notes_and_logs(say, make_run):
    make_run(record=FAILED | {"notes": ("a note",)}, nodes=(0, 1))
    code, out, _ = say("status", ID)
    assert code == 3
    for part in ("oom: killed", "last words", "node 0: the script did not end", "a note"):
        assert part in out
    assert re.search(r"^  log: .*node-1/console\.log$", out, re.M)
    assert re.search(r"^  log of node 0: .*node-0/console\.log$", out, re.M)


def test_status_of_a_run_that_was_killed_says_so_and_what_to_do(say, make_run):
    make_run()
    code, out, _ = say("status", ID)
    assert code == 3
    assert out.startswith("UNFINISHED")
    for part in ("no record, and no living agent, last heard of", "madrun gc", "again: madrun run --tags one"):
        assert part in out
    assert json.loads(say("status", ID, "--json")[1])["state"] == "dead"


def test_status_on_a_node_without_the_record_tells_what_node_0_said(say, make_run):
    path = make_run(nodes=(1,))
    (path / "journal.jsonl").unlink()
    (path / "node-1/ended.json").write_text('{"exit_code": 3, "reasons": ["why"]}')
    code, out, _ = say("status", ID)
    assert code == 3
    assert "why" in out
    assert "the record is on node 0 (127.0.0.1)" in out


def test_where_results_are_shared_the_death_of_node_0_is_told_and_what_another_node_saw_of_it(say, make_run):
    path = make_run(nodes=(0, 1))
    (path / "node-1/ended.json").write_text('{"exit_code": 3, "reasons": ["node 0 was lost"]}')
    code, out, _ = say("status", ID)
    assert (code, out.startswith("UNFINISHED")) == (3, True)
    assert "another node said: node 0 was lost" in out


def test_status_of_a_record_that_cannot_be_read(say, make_run):
    path = make_run()
    (path / "record.json").write_text("{")
    code, out, _ = say("status", ID)
    assert (code, out.startswith("UNREADABLE")) == (3, True)


@pytest.mark.parametrize("command", ["status", "logs", "stop"])
def test_a_run_that_is_unknown_is_refused_with_the_nearest(say, make_run, command):
    make_run(record={})
    code, _, err = say(command, "20261121T000000Z-one-abcdef-2")
    assert code == 2
    assert f"the nearest: {ID}" in err


@pytest.mark.parametrize("command", ["status", "logs", "stop"])
def test_a_beginning_of_several_runs_is_refused_with_their_names(say, make_run, command):
    make_run(ID, record={})
    make_run(ID[:-1] + "2", record={})
    code, _, err = say(command, "20261121")
    assert code == 2
    assert f"beginning of 2 runs: {ID}" in err


@pytest.mark.parametrize("command", ["status", "logs", "stop"])
def test_without_a_results_directory_the_message_names_it(say, command):
    code, _, err = say(command, "last")
    assert code == 2
    assert "results/runs holds no run" in err


def test_logs_are_byte_for_byte_what_was_printed(make_run, capfdbinary):
    path = make_run(record={})
    data = b"\x1b[31mred\x1b[0m\r50%\r100%\n\xff\x00no newline"
    (path / "node-0/console.log").write_bytes(data)
    capfdbinary.readouterr()
    assert run(["logs", ID]) == 0
    assert capfdbinary.readouterr().out == data


def test_logs_of_a_failed_run_are_those_of_the_culprit_and_say_so(say, make_run):
    make_run(record=FAILED, nodes=(0, 1), nnodes=2)
    code, out, err = say("logs", ID, "--lines", "2")
    assert (code, out) == (0, "node 1 line 8\nnode 1 line 9\n")
    assert err == f"madrun: node-1/console.log of {ID}\n"
    assert say("logs", ID, "-n", "1", "--node", "0")[1:] == ("node 0 line 9\n", "")


@pytest.mark.parametrize("place", ["ranks", "box/ranks"])
def test_the_log_of_a_rank_is_found_while_the_run_lives_and_afterwards(say, make_run, place):
    path = make_run(nodes=(0, 1), nnodes=2, nproc_per_node=4)
    (path / "node-1" / place).mkdir(parents=True)
    (path / "node-1" / place / "rank-5.log").write_text("five\n")
    assert say("logs", ID, "--rank", "5")[:2] == (0, "five\n")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--node", "2"], "--node: found 2, allowed: 0 to 1"),
        (["--node", "-1"], "--node: found -1, allowed: 0 to 1"),
        (["--rank", "2"], "--rank: found 2, allowed: 0 to 1"),
        (["--rank", "0"], "has no log of its own"),
        (["--lines", "-1"], "--lines"),
    ],
)
def test_a_node_or_rank_that_is_none_is_refused(say, make_run, words, said):
    make_run(record={}, nodes=(0, 1), nnodes=2)
    code, out, err = say("logs", ID, *words)
    assert (code, out) == (2, "")
    assert said in err


def test_the_log_of_a_node_that_shares_nothing_lies_where_the_message_says(say, make_run, living):
    path = make_run(nnodes=2)
    status = {"nodes": {"1": {"host": "beta", "folder": "/r/node-1"}}}
    (path / "status.json").write_text(json.dumps(status))
    with living(path / "node-0", nnodes=2):
        code, _, err = say("logs", ID, "--node", "1")
    assert code == 2
    assert "beta:/r/node-1" in err


@pytest.mark.slow
def test_logs_follow_a_run_through_a_file_that_is_cut_and_one_that_is_replaced(make_run, living, capfd, quick):
    path = make_run()
    log = path / "node-0/console.log"

    shown = []

    def until(line):
        deadline = time.monotonic() + 60
        while line not in "".join(shown) and time.monotonic() < deadline:
            time.sleep(0.02)
            shown.append(capfd.readouterr().out)

    def go_on():
        until("node 0 line 9\n")
        with log.open("a") as file:
            file.write("more\n")
        until("more\n")
        log.write_text("cut\n")
        until("cut\n")
        log.rename(path / "node-0/console.1")
        log.write_text("replaced\n")
        until("replaced\n")
        with log.open("a") as file:
            file.write("the end\n")
        (path / "record.json").write_text("{}")

    with living(path / "node-0"):
        writer = threading.Thread(target=go_on)
        writer.start()
        assert run(["logs", ID, "-f", "-n", "1"]) == 0
        writer.join()
    shown.append(capfd.readouterr().out)
    assert "".join(shown) == "node 0 line 9\nmore\ncut\nreplaced\nthe end\n"


def test_logs_that_follow_wait_for_a_script_that_has_not_begun(make_run, living, capfd, quick):
    path = make_run()
    log = path / "node-0/console.log"
    log.unlink()
    with living(path / "node-0"):
        timer = threading.Timer(0.1, log.write_text, ["first\n"])
        timer.start()
        ending = threading.Timer(0.2, (path / "record.json").write_text, ["{}"])
        ending.start()
        assert run(["logs", ID, "-f"]) == 0
        ending.join()
    assert capfd.readouterr().out == "first\n"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (None, 0)], ids=["ctrl-c", "reader gone"])
def test_following_ends_quietly_at_ctrl_c_and_when_its_reader_goes(make_run, living, here, number, code):
    path = make_run()
    with living(path / "node-0"):
        command = [sys.executable, "-m", "madrun", "logs", ID, "-f"]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert child.stdout.readline() == b"node 0 line 0\n"
        if number is None:
            child.stdout.close()  # and nothing more is ever printed: it ends all the same
        else:
            child.send_signal(number)
        error = child.stderr.read()
        assert (child.wait(60), error) == (code, b"")
        child.stderr.close()
        child.stdout.close()


@given(st.binary(max_size=60).map(lambda data: data.replace(b"a", b"\n")), st.integers(0, 12))
def test_the_last_lines_are_those_that_splitting_gives(tmp_path_factory, data, lines):
    file = tmp_path_factory.mktemp("log") / "l"
    file.write_bytes(data)
    with file.open("rb") as opened:
        start = start_of_last(opened, lines)
    whole = data.split(b"\n")
    whole = [line + b"\n" for line in whole[:-1]] + ([whole[-1]] if whole[-1] else [])
    assert data[start:] == b"".join(whole[len(whole) - lines :] if lines < len(whole) else whole)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "neither RUN nor --all"),
        ([ID, "--all"], "both RUN and --all"),
        (["--all", "--grace", "soon"], "--grace: found 'soon'"),
    ],
)
def test_stop_wants_a_run_or_all_of_them(say, make_run, words, said):
    code, _, err = say("stop", *words)
    assert code == 2
    assert said in err


def test_stop_of_a_run_that_has_ended_says_that_nothing_of_it_runs(say, make_run):
    make_run(record={})
    code, out, err = say("stop", ID)
    assert (code, out) == (2, "")
    assert f"nothing of {ID} runs on this host" in err
    assert say("stop", "--all")[0] == 0


AGENT = """
import signal, sys, time
from pathlib import Path
from madrun.node.seeing.census import Census, Contained
from madrun.node.seeing.presence import alive, myself
folder, registry, how = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
asked = []
signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
with alive(folder, myself(run_id=folder.parent.name, folder=str(folder), grace_s=0.1), registry):
    print("alive", flush=True)
    while len(asked) < {"at once": 1, "at the second": 2, "never": 99}[how]:
        time.sleep(0.01)
"""


@pytest.fixture
def quick(monkeypatch):
    """Followers that look more often than people need."""
    monkeypatch.setattr("madrun.cli.logs._TICK_S", 0.01)
    monkeypatch.setattr("madrun.cli.logs._ASK_S", 0.05)


@pytest.fixture
def agent(here):
    """Starts a process that is the agent of a node's directory and ends when it is asked to, or not."""
    started = []

    def start(folder, how="at once", registry="cache/madrun/agents"):
        words = [sys.executable, "-c", AGENT, str(folder), str(here / registry), how]
        started.append(subprocess.Popen(words, stdout=subprocess.PIPE, text=True))
        assert started[-1].stdout.readline() == "alive\n"
        return started[-1]

    yield start
    for child in started:
        child.kill()
        child.wait(60)
        child.stdout.close()


def test_stop_ends_the_agent_that_is_meant_and_no_other(say, make_run, agent):
    one = agent(make_run() / "node-0")
    other = agent(make_run(ID[:-1] + "2") / "node-0")
    code, out, _ = say("stop", ID)
    assert (code, out) == (0, f"ended: {ID} (1 agent)\n")
    assert one.wait(60) == 0
    assert other.poll() is None
    assert say("stop", "--all")[0] == 0
    assert other.wait(60) == 0


def test_stop_by_the_directory_finds_an_agent_that_is_in_another_registry(say, make_run, agent):
    path = make_run()
    child = agent(path / "node-0", registry="of-somebody")
    assert say("stop", str(path))[:2] == (0, f"ended: {ID} (1 agent)\n")
    assert child.wait(60) == 0


def test_stop_asks_a_second_time_after_its_grace(say, make_run, agent):
    child = agent(make_run() / "node-0", "at the second")
    assert say("stop", ID, "--grace", "0.05")[0] == 0
    assert child.wait(60) == 0


def test_an_agent_that_does_not_end_is_named_and_left_alive(say, make_run, agent, monkeypatch):
    monkeypatch.setattr("madrun.cli.stop._MORE_S", 0.1)
    child = agent(make_run() / "node-0", "never")
    code, _, err = say("stop", ID)
    assert code == 3
    assert f"could not be ended: agent {child.pid}" in err
    assert child.poll() is None


class Engine:
    """An engine whose one container is there until it is removed."""

    def __init__(self):
        self.removed = []

    def containers(self, all, filters):
        return [] if self.removed else [{}]

    def remove_container(self, ident, force, v):
        assert force
        self.removed.append(ident)


@pytest.fixture
def orphan(monkeypatch):
    """What a census finds: a paused container of user 4242 whose agent is dead."""
    engine = Engine()
    found = Contained(
        id="c1",
        name="madrun-r-n0",
        engine="docker",
        run_id=ID,
        rank=0,
        card="one",
        owner=4242,
        state="paused",
        created=1.0,
        folder=None,
        agent="dead",
    )
    census = Census(containers=(found,), engines={"docker": engine})
    for module in ("stop", "clean", "ps"):
        monkeypatch.setattr(f"madrun.cli.{module}.take", lambda _registry: census)
    return engine


def test_another_users_run_is_refused_by_name_listed_by_all_and_left_alone(say, orphan, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    code, out, err = say("stop", ID)
    assert (code, out) == (2, "")
    assert f"{ID} belongs to 4242; they, or root, can stop it" in err
    code, _, err = say("stop", "--all")
    assert code == 0
    assert "left alone: madrun-r-n0 of 4242" in err
    assert orphan.removed == []


def test_root_may_stop_anybodys_run_by_its_name_and_not_by_all(say, orphan, monkeypatch):
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert say("stop", "--all")[0] == 0
    assert orphan.removed == []
    assert say("stop", ID[:20])[:2] == (0, f"ended: {ID} (1 left-over container)\n")
    assert orphan.removed == ["c1"]


def test_an_orphan_is_marked_in_a_list(say, orphan):
    code, out, err = say("ps")
    assert code == 0
    assert "orphan (paused)" in out
    assert "1 orphaned container: madrun stop RUN" in err


def test_gc_shows_and_removes_nothing_until_it_is_told_to(say, make_run, agent):
    path = make_run()
    (path / "node-0/box").mkdir()
    (path / "node-0/box/made").write_text("1234")
    child = agent(path / "node-0")
    child.kill()
    child.wait(60)
    code, out, _ = say("gc")
    assert code == 0
    assert "nothing was removed" in out
    assert (path / "node-0/box/made").exists()
    document = json.loads(say("gc", "--json")[1])
    assert [(item["kind"], item["bytes"], item["removed"]) for item in document["items"]] == [
        ("entry", None, None),
        ("box", 4, None),
    ]
    document = json.loads(say("gc", "--json", "--yes")[1])
    assert [item["removed"] for item in document["items"]] == [True, True]
    assert not (path / "node-0/box").exists()
    assert say("gc")[1] == "nothing to remove\n"


def test_gc_keeps_rows_beyond_the_newest_runs(say, make_run):
    paths = [make_run(f"2026112{n}T000000Z-one-abcdef-1", record={}) for n in range(3)]
    assert say("gc", "--keep", "1", "--yes")[0] == 0
    assert [(path / "node-0").exists() for path in paths] == [False, False, True]
    _, out, _ = say("report", "--json")
    assert len(json.loads(out)) == 3
    assert say("status", paths[0].name)[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--keep", "-1"], "--keep"),
        (["--keep", "x"], "--keep"),
        (["--images-older-than", "long"], "--images-older-than: found 'long'"),
        (["--keep", "1", "--results", "none"], "holds no runs"),
    ],
)
def test_gc_refuses_what_it_does_not_understand(say, words, said):
    code, _, err = say("gc", *words)
    assert code == 2
    assert said in err


def test_report_says_of_an_unfinished_run_whether_it_goes_on(say, make_run, living):
    path = make_run()
    with living(path / "node-0"):
        assert f"unfinished (it goes on): results/runs/{ID}" in say("report")[2]
    assert f"unfinished (no record, and no living agent: madrun status {ID})" in say("report")[2]


def test_an_agent_in_another_pid_namespace_is_not_said_to_have_ended(make_run, here, say):
    path = make_run()
    resident = replace(myself(run_id=ID, folder=str(path / "node-0")), pids="pid:[1]")
    with alive(path / "node-0", resident, here / "cache/madrun/agents"):
        code, out, err = say("stop", ID)
    assert (code, out) == (3, "")
    assert "another pid namespace" in err
