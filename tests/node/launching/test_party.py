"""What a node does for mpirun: node 0 writes the hosts, and a node that held in vain says so."""

from types import SimpleNamespace

import pytest

from madrun.node.channel.link import Aborted
from madrun.node.launching.party import Launching
from madrun.node.task import Stopped
from madrun.node.workspace import Workspace
from madrun.spec.record import Failure


@pytest.fixture
def launching(tmp_path):
    """Of two nodes with two ranks each."""

    def make(runner, rank, launches=None):
        job = SimpleNamespace(runner=runner, nnodes=2, nproc_per_node=2)
        node = SimpleNamespace(node_rank=rank, role="hold" if rank else "script", host_list=())
        space = Workspace(tmp_path)
        space.launches.mkdir(parents=True, exist_ok=True)
        return Launching(SimpleNamespace(plan=SimpleNamespace(job=job), gate=None), node, space, launches)

    return make


class Doors:
    """Stands for the door of node 0, and remembers what went through it."""

    def __init__(self):
        self.sent = []

    def listen(self, heard):
        pass

    def ranks(self):
        return [1]

    def send(self, rank, message):
        self.sent.append((rank, message))
        return True


def test_the_hosts_stand_in_the_box_of_node_zero_in_both_languages(launching, tmp_path):
    launching("mpirun", 0).prepare()
    assert (tmp_path / "box/mpi-hosts").read_text() == "localhost slots=2\nmadrun-node-1 slots=2\n"
    assert (tmp_path / "box/hydra-hosts").read_text() == "localhost:2\nmadrun-node-1:2\n"


@pytest.mark.parametrize(("runner", "rank"), [("mpirun", 1), ("torchrun", 0)])
def test_nobody_else_gets_any(launching, tmp_path, runner, rank):
    launching(runner, rank).prepare()
    assert not list((tmp_path / "box").glob("*hosts"))


@pytest.mark.parametrize(("code", "sent"), [(0, [(1, {"type": "over"})]), (3, [])])
def test_only_a_script_that_ended_well_ends_the_holding_for_a_failure_says_it_itself(launching, code, sent):
    doors = Doors()
    made = launching("mpirun", 0, doors)
    made.open(None, print)
    made.over(code)
    made.end()
    assert doors.sent == sent


def test_a_node_on_which_nothing_was_started_says_whose_fault_it_is(launching):
    made = launching("mpirun", 1)
    made._holder = SimpleNamespace(started=0, close=lambda: None)
    assert made.finding == (
        "nothing was started on node 1: the script on node 0 did not use $MULTI_NODE_RUNNER (mpirun), so the other "
        "nodes took no part"
    )
    made._holder.started = 1
    assert (made.finding, launching("torchrun", 1).finding) == ("", "")


def refusing(failure=None):
    """The link of a node that node 0 lets in no further."""

    def dial(_purpose):
        raise OSError("node 0 refused a further connection")

    return SimpleNamespace(dial=dial, failure=failure)


def test_where_node_zero_takes_no_connection_the_run_ends_by_that_or_by_what_ended_it_before(launching):
    with pytest.raises(Stopped) as stopped:
        launching("mpirun", 1).open(refusing(), print)
    assert stopped.value.failure.kind == "runner"
    assert stopped.value.failure.text == (
        "the connection by which mpirun on node 0 starts ranks on node 1: node 0 refused a further connection"
    )
    with pytest.raises(Aborted, match="it burnt"):
        launching("mpirun", 1).open(refusing(Failure(kind="x", text="it burnt", node=0)), print)


def test_a_node_that_would_hold_for_ever_ends_the_run_and_what_else_is_seen_comes_first(launching):
    made, other = launching("mpirun", 1), Failure(kind="x", text="it burnt", node=1)
    made._holder = SimpleNamespace(lost=False)
    assert made.watching(lambda: None)() is None
    made._holder.lost = True
    assert "ended while node 0 was still there" in made.watching(lambda: None)().text
    assert made.watching(lambda: other)() is other
    assert launching("torchrun", 1).watching(lambda: None)() is None
