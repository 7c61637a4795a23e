"""What counts as movement, and when a run stands still on all nodes."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.node.watching.stall import GAP_S, Idleness, LastKnown, Traces, moves, stalled, status
from madrun.node.workspace import Workspace

SPINNING = {"gpu0_util_pct": 100.0, "gpu0_memory_activity_pct": 0.0}


@pytest.mark.parametrize(
    ("row", "ranks", "expected"),
    [
        ({}, 1, False),
        ({"run_cpu_pct": None, "gpu0_util_pct": None, "gpu0_memory_activity_pct": None}, 1, False),
        ({"run_cpu_pct": 4.0}, 1, False),
        ({"run_cpu_pct": 60.0}, 1, True),
        ({"run_cpu_pct": 20.0}, 8, False),  # launchers and watchdogs of eight ranks poll
        ({"run_cpu_pct": 60.0}, 8, True),
        ({"run_cpu_pct": 800.0, **SPINNING}, 8, False),  # ranks that wait in a collective keep CPU and GPU busy
        ({"run_cpu_pct": 100.0, "gpu0_util_pct": 0.0, "gpu0_memory_activity_pct": 0.0}, 1, True),
        ({"gpu0_util_pct": 100.0, "gpu0_memory_activity_pct": 7.0}, 1, True),
        ({**SPINNING, "gpu1_util_pct": 40.0, "gpu1_memory_activity_pct": 0.0}, 2, True),
        ({**SPINNING, "gpu1_util_pct": 0.0, "gpu1_memory_activity_pct": 0.0}, 2, False),
        ({"gpu0_util_pct": 100.0, "gpu0_memory_activity_pct": None}, 1, False),
        ({"gpu0_memory_used_bytes": 8e10, "gpu0_power_w": 700.0, "host_memory_used_bytes": 9e10}, 1, False),
        ({"net_eth0_rx_bytes_per_s": 1000.0}, 1, False),
        ({"net_eth0_rx_bytes_per_s": 5e6}, 1, True),
        ({"net_lo_rx_bytes_per_s": 5e9}, 1, False),
        ({"rdma_mlx5_0_1_tx_bytes_per_s": 5e9}, 1, True),
        ({"run_disk_read_bytes_per_s": 1e6}, 1, True),
        ({"disk_write_bytes_per_s": 1e9}, 1, False),  # the whole host's: somebody else's too
    ],
)
def test_movement_is_work_of_the_run_and_not_waiting(row, ranks, expected):
    assert moves(row, ranks) is expected


def test_time_without_movement_grows_until_something_moves():
    idle = Idleness(100.0)
    assert [idle.look(at, moved) for at, moved in [(101, False), (102, False), (103, True), (104, False)]] == [
        1,
        2,
        0,
        1,
    ]


def test_an_agent_that_was_paused_or_starved_does_not_take_its_own_pause_for_the_runs():
    idle = Idleness(0.0)
    assert idle.look(1.0, False) == 1
    assert idle.look(600.0, False) == 0
    assert idle.look(600.0 + GAP_S, False) == GAP_S


def test_output_rank_logs_and_files_of_the_work_directory_are_traces(tmp_path):
    space = Workspace(tmp_path)
    traces = Traces(space)
    traces.changed()
    assert not traces.changed()
    space.console.write_text("a")
    assert traces.changed()
    space.work.mkdir(parents=True)
    (space.work / "out.csv").write_text("1")
    assert traces.changed()
    (space.work / "out.csv").write_text("12")
    assert traces.changed()
    os.utime(space.work / "out.csv", ns=(1, 1))
    assert traces.changed()
    assert not traces.changed()


def board(*idle, ended=(), run="r"):
    return {rank: status(run, seconds, rank in ended) for rank, seconds in enumerate(idle)}


def test_a_run_stalls_when_every_node_has_stood_still_that_long_and_the_first_is_to_blame():
    assert stalled(board(10, 4.9), "r", 2, 5) is None
    failure = stalled(board(10, 30), "r", 2, 5)
    assert (failure.kind, failure.node) == ("stalled", 1)
    assert "on any of 2 nodes for 10 s (--stall-timeout 5 s)" in failure.text
    assert "node 1 stood still first, 30 s ago" in failure.text


def test_nodes_that_stood_still_within_two_looks_of_each_other_are_not_put_in_an_order():
    text = stalled(board(10, 11.2, 10.4), "r", 3, 5).text
    assert "stood still first, " not in text
    assert "which node stood still first cannot be told" in text


def test_a_node_whose_script_has_ended_waits_for_the_others_and_is_not_to_blame():
    failure = stalled(board(900, 6, ended=(0,)), "r", 2, 5)
    assert failure.node == 1
    assert "ended already: node 0" in failure.text
    assert stalled(board(900, 900, ended=(0, 1)), "r", 2, 5) is None


@pytest.mark.parametrize(
    "told", [{}, {"idle_s": 99}, {"idle_s": 99, "idle_run": "earlier"}, {"idle_s": "99", "idle_run": "r"}]
)
def test_a_node_that_tells_nothing_of_this_run_counts_as_one_that_works(told):
    assert stalled({0: status("r", 99), 1: told}, "r", 2, 5) is None
    assert stalled({0: status("r", 99)}, "r", 2, 5) is None


@given(
    st.dictionaries(
        st.integers(0, 4),
        st.dictionaries(
            st.sampled_from(["idle_s", "idle_run", "idle_ended"]),
            st.none() | st.booleans() | st.floats(0, 100) | st.text(max_size=3),
        ),
    )
)
def test_no_board_is_too_strange_to_be_looked_at(told):
    failure = stalled(told, "r", 3, 5)
    assert failure is None or failure.node in told


def test_where_the_runs_own_cpu_cannot_be_seen_that_of_the_host_counts():
    busy = {"host_cpu_pct": 60.0}
    assert moves(busy, 1)
    assert not moves(busy | {"run_cpu_pct": 0.0}, 1)
    assert not moves({"host_cpu_pct": 0.0}, 1)


def test_work_that_was_not_looked_at_this_second_is_not_taken_for_rest():
    known = LastKnown()
    unread = {"run_cpu_pct": None, "host_cpu_pct": 0.0}
    assert not moves(known.fill(unread), 1)
    assert moves(known.fill({"run_cpu_pct": None, "host_cpu_pct": 90.0}), 1)
    assert moves(known.fill({"run_cpu_pct": 80.0}), 1)
    assert moves(known.fill(unread), 1)
    assert not moves(known.fill({"run_cpu_pct": 0.5}), 1)
    assert not moves(known.fill(unread | {"host_cpu_pct": 90.0}), 1)
    assert known.fill({"host_cpu_pct": 3.0}) == {"host_cpu_pct": 3.0}
