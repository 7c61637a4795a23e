"""The classic troubles of many nodes, caused on three real ones: what the user of each node reads, and how soon.

Those that other files have a test for are not here: an unreachable master, a firewall before the control port, an
interface that a node lacks and another version of the code in test_gate.py; a node that is killed in test_faults.py;
a hang at initialization in test_watchdog.py; containers and processes left over in test_seeing.py.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from bed import Bed
from e2e_parts import until
from faults import STUBBORN, container
from three_nodes import Node, Started

pytestmark = [pytest.mark.e2e, pytest.mark.docker, pytest.mark.beside]
MEASURED = "echo performance: 1 speed\n"
# It takes 1 to 4 s where nothing else runs. Untold they would wait for --join-timeout, 10 minutes.
SOON_S = 60
_PORTS = itertools.count(31600, 10)
Numbers = dict[int, dict[str, Any]]


@pytest.fixture
def bed(three: list[Node], tmp_path: Any) -> Iterator[Bed]:
    """All three nodes."""
    made = Bed(three, f"mark-{tmp_path.name}-{time.monotonic_ns()}")
    yield made
    made.clean()


def start(bed: Bed, card: str, port: int, differing: Numbers | None = None) -> list[Started]:
    """`madrun run` on every node; in what `differing` names a node's multi_node_args are not as they should be."""
    started: dict[int, Started] = {}
    for rank in sorted(range(3), key=lambda rank: (rank in (differing or {}), rank)):  # who is wrong is there last
        args = {"MASTER_ADDR": bed.nodes[0].address, "MASTER_PORT": port, "NNODES": 3, "NODE_RANK": rank}
        args |= (differing or {}).get(rank, {})
        given = {"multi_node_args": {key: value for key, value in args.items() if value is not None}}
        started[rank] = bed.join(rank, (card, port), context=given)
        if rank in (differing or {}):
            continue
        until(lambda one=started[rank]: "join" in one.output or one.child.poll() is not None, 60, "the start")
    return [started[rank] for rank in range(3)]


def refused(bed: Bed, started: Sequence[Started], codes: list[int], words: dict[int, str]) -> None:
    """All end in time, each with its code and these words, without a traceback, and nothing has been started."""
    assert bed.codes(started, SOON_S) == codes, [one.output for one in started]
    for rank, one in enumerate(started):
        assert words[rank] in one.output, one.output
        assert "Traceback" not in one.output
    assert not bed.left()
    assert not any(list(run.glob("node-*/console.log")) for rank in range(3) for run in bed.runs(rank))


@pytest.mark.parametrize(
    ("differing", "codes", "told", "culprit"),
    [
        (
            {2: {"NODE_RANK": 3}},
            [3, 3, 4],
            "NODE_RANK 3 on n2 is out of range; allowed: 0 to 2",
            "multi_node_args.NODE_RANK: found 3 with NNODES 3, allowed: 0 to 2",
        ),
        (
            {2: {"NODE_RANK": 1}},
            [3, 3, 3],
            "NODE_RANK 1 is given twice: on n",
            "NODE_RANK 1 is given twice: on n",
        ),
        (
            {2: {"NODE_RANK": 0}},
            [3, 3, 4],
            "NODE_RANK 0 is given twice: on n0 and on n2",
            "(NODE_RANK 0); allowed: 127.0.0.1, ",
        ),
        (
            {2: {"NNODES": 4}},
            [3, 3, 3],
            "NNODES differs: 4 on n2 (NODE_RANK 2), 3 on node 0",
            "NNODES differs: 4 on n2 (NODE_RANK 2), 3 on node 0",
        ),
        (
            {2: {"NNODES": None}},
            [3, 3, 4],
            "NNODES differs: 1 on n2 (NODE_RANK 2), 3 on node 0",
            "multi_node_args.NODE_RANK: found 2 with NNODES 1, allowed: 0 to 0",
        ),
    ],
    ids=["rank-out-of-range", "rank-1-twice", "rank-0-twice", "other-NNODES", "no-NNODES"],
)
def test_numbers_that_do_not_fit_are_told_on_every_node(
    bed: Bed, differing: Numbers, codes: list[int], told: str, culprit: str
) -> None:
    bed.add("card", MEASURED)
    started = start(bed, "card", next(_PORTS), differing)
    refused(bed, started, codes, {0: told, 1: told, 2: culprit})


def test_node_0_alone_with_another_number_of_nodes_is_told_on_every_node(bed: Bed) -> None:
    """Also on the node that comes last, when node 0 has refused the run already."""
    bed.add("card", MEASURED)
    started = start(bed, "card", next(_PORTS), {0: {"NNODES": 2}})
    refused(bed, started, [3, 3, 3], dict.fromkeys(range(3), "NNODES differs: 3 on n"))


def test_a_firewall_before_the_masters_port_alone_is_found_before_the_start(bed: Bed) -> None:
    """The nodes join by CONTROL_PORT, which is open; torch would wait for MASTER_PORT for many minutes."""
    bed.add("card", MEASURED)
    port = next(_PORTS)
    rule = ("INPUT", "-i", "eth0", "-p", "tcp", "--dport", str(port), "-j", "DROP")
    bed.nodes[0].run("iptables", "-A", *rule)
    try:
        words = f"MASTER_PORT {port} of {bed.nodes[0].address}: no packet came back within 1.5 s"
        refused(bed, start(bed, "card", port), [3, 3, 3], dict.fromkeys(range(3), words))
    finally:
        bed.nodes[0].run("iptables", "-D", *rule)


@pytest.mark.parametrize(
    ("name", "nodes", "codes", "words"),
    [
        ("lo", (2,), [3, 3, 4], "interface lo of this host has 127.0.0.1, which no other host reaches"),
        ("docker0", (0, 1, 2), [3, 3, 3], "docker0 10.201.1.1), both ways: "),
    ],
)
def test_an_interface_that_is_there_and_leads_nowhere_is_named_on_every_node(
    bed: Bed, name: str, nodes: tuple[int, ...], codes: list[int], words: str
) -> None:
    bed.add("card", MEASURED)
    wrong = {"GLOO_SOCKET_IFNAME": name, "NCCL_SOCKET_IFNAME": name}
    started = start(bed, "card", next(_PORTS), dict.fromkeys(nodes, wrong))
    refused(bed, started, codes, dict.fromkeys(range(3), words))


def test_a_card_that_one_nodes_checkout_lacks_is_named_on_every_node(bed: Bed) -> None:
    bed.add("card", MEASURED)
    card = bed.nodes[2].folder / "models/card"
    card.rename(card.with_name("older"))
    (card.with_name("older") / "model.yaml").write_text("name: older\nscript: run.sh\n")
    words = "--tags: no card or tag 'card'"
    refused(bed, start(bed, "card", next(_PORTS)), [3, 3, 2], dict.fromkeys(range(3), words))


def test_data_that_one_node_lacks_are_named_on_every_node(bed: Bed) -> None:
    bed.add("card", MEASURED, data="corpus")
    for node in bed.nodes:
        (node.folder / "data.json").write_text('{"corpus": {"local": {"path": "/bed/corpus"}}}')
        if node.number != 2:
            (node.folder / "corpus").mkdir()
            (node.folder / "corpus/text").write_text("the same")
    words = "local: /bed/corpus does not exist on this host"
    refused(bed, start(bed, "card", next(_PORTS)), [3, 3, 2], dict.fromkeys(range(3), words))
    assert not (bed.nodes[2].folder / "corpus").exists()


def test_memory_that_the_kernel_took_on_one_node_is_the_cause_that_all_nodes_name(bed: Bed) -> None:
    """Its script dies without a word; the ranks of the other nodes only wait."""
    greedy = "until [ -e limited ]; do sleep 0.05; done\nexec bash -c 'x=$(head -c 400M /dev/zero | tr \"\\0\" x)'\n"
    bed.add("greedy", f'echo begin\n[ "$NODE_RANK" = 1 ] || exec sleep 600\nexec 2>/dev/null\n{greedy}')
    started = start(bed, "greedy", next(_PORTS))
    until(lambda: "begin" in bed.steps(1), 60, "the script on node 1")
    limits = ("--memory", "60m", "--memory-swap", "60m")
    bed.nodes[1].run("docker", "update", *limits, container(bed, 1))
    (bed.run_dir(1) / "node-1/box/work/limited").touch()
    assert bed.codes(started, 120) == [3, 3, 3]
    for one in started:
        assert "  oom: " in one.output, one.output
        assert "on node 1" in one.output, one.output
        assert "Traceback" not in one.output
    culprit = bed.record()["culprit"]
    assert (culprit["kind"], culprit["node"]) == ("oom", 1)
    assert not bed.left()


def test_a_run_that_was_forgotten_and_holds_the_port_is_named_and_goes_on(bed: Bed) -> None:
    forgotten = Bed(bed.nodes, bed.mark, "process")
    forgotten.add("stubborn", STUBBORN)
    bed.add("card", MEASURED)
    port = next(_PORTS)
    first = start(forgotten, "stubborn", port)
    forgotten.until_running(started=first)
    second = start(bed, "card", port)
    assert bed.codes(second, SOON_S) == [4, 3, 3], [one.output for one in second]
    assert f"CONTROL_PORT: {port + 1} is in use on this host by process" in second[0].output
    assert "--tags stubborn" in second[0].output
    for one in second[1:]:
        assert "the card differs: stubborn on node 0, card on n" in one.output, one.output
        assert "give each its own MASTER_PORT" in one.output
    assert all(one.child.poll() is None for one in first), [one.output for one in first]
    stopped = bed.nodes[2].start("stop", forgotten.run_dir(2).name)
    assert stopped.wait(60) == 0, stopped.output
    assert forgotten.codes(first, 120) == [130, 130, 130]
    assert not bed.left()
