"""What may go, and what never: rows, runs that go on, and what is another user's or another host's."""

import os
import subprocess
import time

import pytest

from madrun.data.claim import Queue
from madrun.node.seeing.census import Census, Contained, Leftover
from madrun.node.seeing.ending import end_leftovers, send, sweep_processes
from madrun.node.seeing.going import going, is_over
from madrun.node.seeing.presence import LOCK, Resident, alive, myself, started_at
from madrun.node.seeing.remains import images, of_agents, of_runs, partials, take_away
from madrun.results import perfcsv
from madrun.results.survey import look
from madrun.spec.codec import to_json

EMPTY = Census()
OLD = time.time() - 90_000


@pytest.fixture
def make_run(tmp_path, make_record, make_test_plan):
    """A run of this id: finished where it has a record, killed where it has a lock that nobody holds."""

    def make(run_id, *, record=True, killed=False, box=False, old=False, **agent):
        run = tmp_path / "results/runs" / run_id
        (run / "node-0").mkdir(parents=True)
        (run / "node-0/console.log").write_text("12345")
        (run / "plan.json").write_text(to_json(make_test_plan()))
        (run / "journal.jsonl").touch()
        if record:
            (run / "record.json").write_text(to_json(make_record(run_id)))
        if box:
            (run / "node-0/box/work").mkdir(parents=True)
            (run / "node-0/box/work/made").write_text("1234567")
            (run / "node-0/box/work").chmod(0o500)
        if killed:
            resident = myself(run_id=run_id)
            values = {name: getattr(resident, name) for name in Resident.__dataclass_fields__} | agent
            (run / "node-0" / LOCK).write_text(to_json(Resident(**values)))
        if old:
            grow_old(run)
        return run

    return make


def grow_old(run):
    for place in (*run.rglob("*"), run):
        os.utime(place, (OLD, OLD))


def found(*runs, keep=None):
    return [(remain.kind, remain.name) for remain in of_runs([look(run) for run in runs], keep)]


def test_without_keep_no_run_directory_is_touched(make_run):
    runs = [make_run(f"2026112{n}T000000Z-one-abcdef-1", record=n < 2, old=True) for n in range(4)]
    assert found(*runs) == []


def test_beyond_the_newest_the_bulky_parts_go_and_no_row_is_lost(make_run, tmp_path):
    runs = [make_run(f"2026112{n}T000000Z-one-abcdef-1") for n in range(3)]
    before = perfcsv.rebuild(tmp_path / "results").rows
    remains = list(of_runs([look(run) for run in runs], 1))
    assert [(remain.kind, remain.name) for remain in remains] == [("run", runs[0].name), ("run", runs[1].name)]
    assert remains[0].size == 5
    assert [take_away(EMPTY, remain) for remain in remains] == ["", ""]
    assert sorted(path.name for path in runs[0].iterdir()) == ["journal.jsonl", "plan.json", "record.json"]
    assert (runs[2] / "node-0").is_dir()
    assert perfcsv.rebuild(tmp_path / "results").rows == before
    assert found(*runs, keep=1) == []


def test_an_unfinished_run_goes_wholly_after_a_day_and_not_before(make_run):
    young, old = make_run("1-a-b-1", record=False), make_run("0-a-b-1", record=False, old=True)
    assert found(old, young, keep=0) == [("dead run", "0-a-b-1")]
    (remain,) = of_runs([look(old)], 0)
    assert take_away(EMPTY, remain) == ""
    assert not old.exists()


@pytest.mark.parametrize("record", [True, False], ids=["kept alive", "running"])
def test_nothing_of_a_living_agent_goes(make_run, record):
    run = make_run("0-a-b-1", record=record, box=True, old=True)
    with alive(run / "node-0"):
        assert found(run, keep=0) == []
        assert not is_over(look(run))


def test_one_that_comes_to_life_while_the_list_is_made_stays(make_run):
    run = make_run("0-a-b-1", record=False, box=True, killed=True)
    (remain,) = of_runs([look(run)], None)
    with alive(run / "node-0"):
        assert take_away(EMPTY, remain) == "its agent lives"
    assert (run / "node-0/box").is_dir()


def test_a_box_of_a_killed_agent_goes_and_its_lock_with_it(make_run):
    run = make_run("0-a-b-1", record=False, box=True, killed=True)
    (remain,) = of_runs([look(run)], None)
    assert (remain.kind, remain.size) == ("box", 7)
    assert take_away(EMPTY, remain) == ""
    assert sorted(path.name for path in (run / "node-0").iterdir()) == ["console.log"]


def test_a_box_of_a_run_killed_while_it_was_kept_alive_goes(make_run):
    assert found(make_run("0-a-b-1", box=True, killed=True)) == [("box", "0-a-b-1/node-0/box")]


def test_a_box_with_what_could_not_be_moved_stays_for_its_record_names_it(make_run):
    assert found(make_run("0-a-b-1", box=True)) == []


@pytest.mark.parametrize(("old", "kinds"), [(False, []), (True, ["dead run"])])
def test_a_run_of_another_host_counts_as_living_for_a_day(make_run, old, kinds):
    run = make_run("0-a-b-1", record=False, killed=True, box=True, old=old, host="other", boot="other")
    assert going(look(run)) == "silent"
    assert [kind for kind, _ in found(run, keep=0)] == kinds


def test_a_run_of_another_host_that_was_just_heard_of_goes_on(make_run):
    run = make_run("0-a-b-1", record=False, killed=True, host="other", boot="other")
    (run / "status.json").write_text("{}")
    assert going(look(run)) == "running"


def test_a_record_that_cannot_be_read_is_left_alone(make_run):
    run = make_run("0-a-b-1")
    (run / "record.json").write_text("{")
    assert found(run, keep=0) == []


def test_copies_that_nobody_goes_on_with_go_after_a_day(make_run, make_test_plan, make_node, tmp_path):
    target = tmp_path / "mirror/data"
    run = make_run("0-a-b-1")
    node = make_node(data_sources={"d": str(target)}, mirrors={"d": "/source"})
    (run / "plan.json").write_text(to_json(make_test_plan(node=node)))
    part = target.parent / ".data.part-2"
    for path in (part, target.parent / ".more.part-2"):
        path.mkdir(parents=True)
        (path / "journal").write_text("123")
        os.utime(path / "journal", (1, 1))
        os.utime(path, (1, 1))
    assert [(remain.name, remain.size) for remain in partials([look(run)])] == [(str(part), 3)]
    claim = Queue(target).attempt()
    assert list(partials([look(run)])) == []
    claim.release()
    (part / "journal").touch()
    assert list(partials([look(run)])) == []
    os.utime(part / "journal", (1, 1))
    (remain,) = partials([look(run)])
    assert take_away(EMPTY, remain) == ""
    assert [path.name for path in target.parent.iterdir()] == [".more.part-2"]


class Engine:
    """Lists images and containers as docker does."""

    def __init__(self, *images):
        self.listed, self.removed = images, []

    def images(self, filters):
        assert filters == {"label": "madrun.recipe"}
        return list(self.listed)

    def containers(self, all):
        assert all
        return [{"ImageID": "used"}]

    def inspect_image(self, name):
        return next(one for one in self.listed if name in one["RepoTags"])

    def remove_image(self, name, force):
        assert not force
        self.removed.append(name)


def image(tag, *, ident="i", created=0.0, **labels):
    named = {f"madrun.{name}": value for name, value in labels.items()}
    return {"Id": ident, "RepoTags": [tag], "Created": created, "Size": 9, "Labels": {"madrun.recipe": "abc", **named}}


@pytest.mark.parametrize(
    ("one", "goes"),
    [
        (image("one:abc", owner="1000"), True),
        (image("one:abc", owner="1001"), False),
        (image("one:abc"), False),
        (image("from-one:mine", owner="1000"), False),
        (image("one:abc", owner="1000", ident="used"), False),
        (image("one:abc", owner="1000", created=time.time()), False),
    ],
    ids=["mine", "another's", "nobody's", "made from mine", "in use", "young"],
)
def test_only_an_old_unused_image_that_madrun_built_for_this_user_goes(one, goes):
    engine = Engine(one)
    census = Census(engines={"docker": engine})
    remains = list(images(census, [], 3600, 1000))
    assert bool(remains) == goes
    assert [take_away(census, remain) for remain in remains] == [""] * goes
    assert engine.removed == ["one:abc"] * goes


def test_the_other_names_that_madrun_gave_an_image_go_with_it_and_a_users_own_stays():
    one = image("madrun/one:abc", owner="1000")
    one["RepoTags"] += ["ci-one_one.ubuntu.amd", "registry.site:5000/team/madrun/one:abc", "mine:1"]
    engine = Engine(one)
    census = Census(engines={"docker": engine})
    remains = [remain for remain in images(census, [], 3600, 1000) if remain.name == "madrun/one:abc"]
    assert [take_away(census, remain) for remain in remains] == [""]
    assert engine.removed == ["ci-one_one.ubuntu.amd", "registry.site:5000/team/madrun/one:abc", "madrun/one:abc"]


def test_an_image_that_a_run_used_lately_stays(make_run, make_test_plan, make_node, container):
    from dataclasses import replace

    run = make_run("0-a-b-1")
    plan = make_test_plan(node=make_node(container=replace(container, image="one:abc"), process=None))
    (run / "plan.json").write_text(to_json(plan))
    census = Census(engines={"docker": Engine(image("one:abc"))})
    assert list(images(census, [look(run)], 3600, 1000)) == []
    grow_old(run)
    assert [remain.name for remain in images(census, [look(run)], 3600, 1000)] == ["one:abc"]


def contained(**changes):
    known = {
        "id": "c",
        "name": "madrun-r-n0",
        "engine": "docker",
        "run_id": "r",
        "rank": 0,
        "card": "one",
        "owner": 1000,
    }
    return Contained(**{**known, "state": "paused", "created": 1.0, "folder": None, "agent": "dead", **changes})


@pytest.mark.parametrize(
    ("changes", "goes"),
    [
        ({}, True),
        ({"owner": 1001}, False),
        ({"owner": None}, False),
        ({"agent": "alive"}, False),
        ({"agent": "unknown"}, False),
    ],
)
def test_only_an_orphan_of_this_user_goes(changes, goes):
    census = Census(containers=(contained(**changes),))
    assert bool(list(of_agents(census, 1000))) == goes


def test_a_process_is_ended_only_where_it_began_when_it_was_said_to(tmp_path):
    with subprocess.Popen(["sleep", "60"]) as child:
        try:
            assert not send(child.pid, "1", 9)
            assert child.poll() is None
            left = Leftover(run_id="r", rank=0, pid=child.pid, started="1", command="", root=True)
            assert end_leftovers([left]) == []
            assert child.poll() is None
            started = started_at(child.pid)
            own = Leftover(run_id="r", rank=0, pid=child.pid, started=started, command="", root=True)
            assert end_leftovers([own]) == []
            assert child.wait(60) == -9
        finally:
            child.kill()


def test_entries_of_the_dead_go_with_the_directory_of_their_run_and_not_before(tmp_path):
    (tmp_path / "here").mkdir()
    (tmp_path / "agents").mkdir()
    for name, folder in (("here", str(tmp_path / "here")), ("gone", str(tmp_path / "gone")), ("waits", "")):
        (tmp_path / f"agents/{name}.json").write_text(to_json(myself(run_id=name, folder=folder)))
    assert sweep_processes(tmp_path / "agents") == []
    assert [path.name for path in (tmp_path / "agents").iterdir()] == ["here.json"]


@pytest.mark.parametrize("pid", [0, 1 << 40, -1])
def test_a_number_that_is_no_process_is_sent_nothing(pid):
    assert not send(pid, "1", 9)


def test_a_run_of_another_host_that_still_writes_is_never_over(make_run):
    run = make_run("20261121T000000Z-one-abcdef-1", record=False, killed=True, old=True, host="far", boot="x")
    assert is_over(look(run))
    (run / "node-0/telemetry.csv").write_text("time")  # its directory's own time need not change for months
    os.utime(run, (OLD, OLD))
    os.utime(run / "node-0", (OLD, OLD))
    assert not is_over(look(run))
    assert found(run, keep=0) == []


def test_ending_nothing_looks_at_no_process(monkeypatch):
    monkeypatch.setattr("madrun.node.seeing.ending._descendants", lambda _roots: pytest.fail("all of /proc was read"))
    assert end_leftovers([]) == []
