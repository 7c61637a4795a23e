"""What becomes of a run's data on one node, and what of that stands in perf.csv."""

from dataclasses import replace

import pytest

from madrun.data.mirror import fill
from madrun.data.work import Means
from madrun.errors import DataError
from madrun.node.joining.supply import Supply, data_columns
from madrun.node.task import Task
from madrun.spec.data import Fetch
from madrun.spec.plan import DataPlan
from madrun.spec.record import DataOutcome, NodeOutcome


class Listener:
    """A reporter that keeps its lines."""

    def __init__(self):
        self.lines = []
        self.line = self.lines.append


@pytest.fixture
def supply(make_job, make_node, make_test_plan, make_facts, tmp_path):
    """Makes the supply of a node with data `c`, whose part of the plan is changed by keyword."""

    def make(**node):
        job = make_job(data=(DataPlan(name="c", provider="local", home="/data_dlm_0"),))
        part = replace(make_node(), **node)
        values = {"index": 0, "results": tmp_path, "secrets": {}, "facts": make_facts(), "files": {}}
        values |= {"image_context": {}, "lock_dir": tmp_path, "engine": None, "command": (), "provenance": dict}
        return Supply(Task(plan=make_test_plan(job, part), **values), part, tmp_path)

    return make


@pytest.fixture
def source(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "f").write_text("12345")
    return tmp_path / "source"


def fetches(source):
    return {"c": (Fetch(provider="local", place=str(source)),)}


def test_data_of_ones_own_are_fetched_into_a_directory_that_is_made(supply, source, tmp_path):
    target = tmp_path / "cache" / "key" / "c"
    listener = Listener()
    made = supply(data_sources={"c": str(target)}, fetches=fetches(source), own_data=("c",))
    made.fetch("c", lambda: None, listener)
    assert (target / "f").read_text() == "12345"
    assert f"mirrored c to {target} by local, 5 B in" in listener.lines[0]
    (outcome,) = made.outcomes
    assert (outcome.name, outcome.provider, outcome.bytes) == ("c", "local", 5)
    assert outcome.seconds > 0


def test_the_directory_of_mirrors_is_never_made_and_the_error_names_data_and_host(supply, source, tmp_path):
    made = supply(data_sources={"c": f"{tmp_path}/none/c"}, fetches=fetches(source))
    with pytest.raises(DataError, match="data c on alpha: .*none/c: nothing can be written beside it"):
        made.fetch("c", lambda: None, Listener())


def test_data_that_lie_here_are_measured_and_not_fetched(supply, source):
    made = supply(data_sources={"c": str(source)})
    made.look()
    assert made.outcomes == (DataOutcome(name="c", provider="local", bytes=5),)
    assert made.notes == ()


def test_a_mirror_that_is_there_is_looked_at(supply, source, tmp_path):
    target = tmp_path / "c"
    fill(target, fetches(source)["c"], Means())
    (target / "f").write_text("1")
    with pytest.raises(DataError, match="data c on alpha: .*f: found 1 bytes, it has 5"):
        supply(data_sources={"c": str(target)}, fetches=fetches(source)).look()


def outcome(node, *data):
    return NodeOutcome(node=node, hostname=f"h{node}", data=data)


def test_the_columns_are_those_of_the_providers_that_were_used():
    one = DataOutcome(name="a", provider="aws", bytes=7)
    two = DataOutcome(name="b", provider="local", bytes=5, seconds=0.5)
    columns = data_columns([outcome(0, one, two), outcome(1, replace(one, seconds=2.0), two)])
    assert columns == {"data_provider_type": "aws,local", "data_size": "12", "data_download_duration": "2.500"}
    assert data_columns([outcome(0, replace(one, bytes=None), two)])["data_size"] == ""
    assert data_columns([outcome(0)]) == data_columns([]) == {}
