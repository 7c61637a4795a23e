"""Agents are known by the locks they hold; stuck containers of dead ones are swept. The engine is a fake."""

import json
import multiprocessing
import os
import signal
import socket
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.node.seeing import presence
from madrun.node.seeing.presence import (
    LOCK,
    Resident,
    alive,
    is_held,
    myself,
    read,
    registered,
    started_at,
    state_of,
    sweep,
    waiting,
)
from madrun.spec.codec import to_json


class FakeEngine:
    def __init__(self, *folders):
        self.folders, self.removed, self.asked = folders, [], None

    def containers(self, all, filters):
        self.asked = (all, filters)
        return [
            {
                "Id": f"id{index}",
                "Names": [f"/madrun-r{index}-n0"],
                "Mounts": [{"Source": str(folder / "box"), "Destination": "/madrun"}] if folder else [],
            }
            for index, folder in enumerate(self.folders)
        ]

    def remove_container(self, name, force, v):
        assert force
        self.removed.append(name)


def _die_holding(folder, registry):
    context = alive(folder, myself(run_id="r", folder=str(folder)), registry)
    context.__enter__()
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def dead(tmp_path):
    """A node's directory whose agent was killed; its entry is in `tmp_path/agents`."""
    folder = tmp_path / "dead"
    folder.mkdir()
    arguments = (folder, tmp_path / "agents")
    agent = multiprocessing.get_context("fork").Process(target=_die_holding, args=arguments)
    agent.start()
    agent.join(60)
    agent.close()
    return folder


def test_a_container_of_a_dead_agent_is_removed_and_named(dead):
    engine = FakeEngine(dead)
    assert sweep(engine, 1000) == ["madrun-r0-n0"]
    assert engine.removed == ["id0"]


def test_a_container_of_a_living_agent_is_left_alone(tmp_path):
    folder = tmp_path / "living"
    folder.mkdir()
    engine = FakeEngine(folder)
    with alive(folder):
        assert sweep(engine, 1000) == []
    assert engine.removed == []


def test_a_container_that_its_agent_left_in_order_is_removed(tmp_path):
    folder = tmp_path / "left"
    folder.mkdir()
    assert sweep(FakeEngine(folder), 1000) == ["madrun-r0-n0"]


def test_a_container_that_cannot_be_told_is_left_alone(tmp_path):
    engine = FakeEngine(tmp_path / "gone", None)
    assert sweep(engine, 1000) == []


def test_only_stuck_containers_of_this_user_are_looked_at(dead):
    engine = FakeEngine()
    sweep(engine, 1234)
    assert engine.asked == (True, {"label": ["madrun.owner=1234"], "status": ["created", "paused"]})


def test_an_agent_that_ends_in_order_leaves_no_lock_and_no_entry(tmp_path):
    (tmp_path / "run/node-0").mkdir(parents=True)
    with alive(tmp_path / "run/node-0", registry=tmp_path / "agents") as living:
        living.say(phase="running")
        assert [path.name for path in (tmp_path / "run/node-0").iterdir()] == [LOCK]
        assert [path.name for path in (tmp_path / "agents").iterdir()] == ["run-n0.json"]
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_the_files_of_an_agent_go_also_when_its_run_raises(tmp_path):
    with pytest.raises(KeyError), alive(tmp_path):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_an_entry_tells_who_lives_and_what_it_does(tmp_path):
    known = {"card": "one", "rank": 1, "nnodes": 2, "runtime": "docker", "folder": str(tmp_path), "container": "c"}
    with alive(tmp_path, myself(run_id="r", **known), tmp_path / "agents") as living:
        living.say(phase="running", box_pid=7, box_started="8")
        ((resident, state, file),) = registered(tmp_path / "agents")
        assert (state, file.name) == ("alive", "r-n1.json")
        assert (resident.pid, resident.host, resident.uid) == (os.getpid(), socket.gethostname(), os.getuid())
        assert (resident.phase, resident.box_pid, resident.container) == ("running", 7, "c")
        assert resident.is_here
        assert resident.started == started_at(os.getpid())
        assert read(tmp_path / LOCK).run_id == "r"
    assert registered(tmp_path / "agents") == []


def test_whoever_looks_while_the_entry_changes_never_sees_it_dead_or_torn(tmp_path):
    with alive(tmp_path, myself(run_id="r", folder=str(tmp_path)), tmp_path / "agents") as living:
        over = threading.Event()

        def change():
            for number in range(100):
                living.say(phase=f"phase {number}")
            over.set()

        threading.Thread(target=change).start()
        seen = set()
        while not over.is_set():
            seen |= {(state, resident.run_id) for resident, state, _ in registered(tmp_path / "agents")}
        assert seen <= {("alive", "r")}


def test_a_madrun_that_waits_for_its_nodes_is_seen_before_its_run_has_an_id(tmp_path, make_test_plan):
    with waiting(make_test_plan(), tmp_path):
        ((resident, state, _),) = registered(tmp_path)
        assert (resident.waits, resident.phase, state, resident.card) == (True, "join", "alive", "one")
    assert registered(tmp_path) == []


def test_the_entry_of_a_killed_agent_stays_and_is_dead(dead, tmp_path):
    ((resident, state, _),) = registered(tmp_path / "agents")
    assert (resident.run_id, state, state_of(dead / LOCK)) == ("r", "dead", "dead")


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"host": "other", "boot": "other"}, "elsewhere"),
        ({"boot": "the boot before"}, "dead"),
        ({}, "dead"),
    ],
    ids=["another host's", "of before the boot", "this host's"],
)
def test_a_lock_that_nobody_holds_is_judged_by_whose_it_was(tmp_path, changes, state):
    resident = myself(run_id="r")
    values = {name: getattr(resident, name) for name in Resident.__dataclass_fields__} | changes
    (tmp_path / LOCK).write_text(to_json(Resident(**values)))
    assert state_of(tmp_path / LOCK) == state


@pytest.mark.parametrize(("started", "state"), [(None, "alive"), ("1", "dead")])
def test_without_locks_the_process_itself_is_asked(tmp_path, monkeypatch, started, state):
    monkeypatch.setattr(presence, "is_held", lambda _file: None)
    known = {"started": started} if started else {}
    (tmp_path / LOCK).write_text(to_json(myself(run_id="r", **known)))
    assert state_of(tmp_path / LOCK) == state


def test_what_has_no_lock_is_gone_and_what_is_not_there_is_unknown(tmp_path):
    assert state_of(tmp_path / LOCK) == "gone"
    assert state_of(tmp_path / "no" / LOCK) == "unknown"


def test_a_directory_that_may_not_be_written_is_no_reason_to_end_a_run(tmp_path):
    (tmp_path / "agents").touch()
    with alive(tmp_path, registry=tmp_path / "agents") as living:
        living.say(phase="running")
        assert state_of(tmp_path / LOCK) == "alive"


def test_a_process_that_only_waits_to_be_collected_has_ended():
    child = os.fork()
    if not child:
        os._exit(0)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    assert started_at(child) is None
    os.waitpid(child, 0)
    assert started_at(os.getpid()) is not None


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(("pid", "host", "x")), inner),
    max_leaves=5,
)


@given(st.binary(max_size=200))
def test_no_bytes_in_a_lock_file_make_a_look_at_it_fail(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("garbage") / LOCK
    file.write_bytes(data)
    assert read(file) is None
    assert (is_held(file), state_of(file)) == (False, "dead")


@given(st.dictionaries(st.sampled_from(list(Resident.__dataclass_fields__)), plain))
def test_values_that_do_not_fit_make_no_resident(tmp_path_factory, changes):
    file = tmp_path_factory.mktemp("changed") / "r-n0.json"
    values = json.loads(to_json(myself(run_id="r"))) | changes
    file.write_text(json.dumps(values))
    resident = read(file)
    if resident is not None:
        assert 0 <= resident.pid < 1 << 32
        assert resident.since < 1e11
        assert all(isinstance(getattr(resident, name), str) for name in ("run_id", "host", "folder", "phase"))
        assert resident.run_id.isprintable()
    assert len(registered(file.parent)) <= 1


@given(st.dictionaries(st.text(max_size=5), plain))
def test_a_file_that_lacks_what_a_resident_has_is_nobody(tmp_path_factory, data):
    file = tmp_path_factory.mktemp("lacking") / "x.json"
    file.write_text(json.dumps(data))
    assert read(file) is None
