"""What the all-reduce has printed, and what is made of it."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from madrun.doctor.bandwidth import MARK, Size, failed, finding_of, not_run, of_network, read_all_reduce


def lines(ranks=2, wrong=0, hosts=("n0", "n1"), before="", seconds=0.01):
    told = [
        {"backend": "gloo", "torch": "2.13.0", "ranks": ranks, "init_s": 0.5},
        {"bytes": 1_000_000, "wrong": wrong, "times": 3, "seconds": seconds},
        *({"rank": [rank, str(rank % len(hosts)), hosts[rank % len(hosts)], "cpu"]} for rank in range(ranks)),
    ]
    return ["some words of torch", *(f"{before}{MARK}{json.dumps(one)}" for one in told), "an end"]


def judged(ranks=2, hosts=("n0", "n1"), **told):
    return finding_of(read_all_reduce(lines(**told)), ranks, hosts)


def test_bus_bandwidth_is_that_of_nccl_tests():
    assert Size(bytes=1_000_000, wrong=0, seconds=0.01).busbw(4) == pytest.approx(150e6)
    assert Size(bytes=1_000_000, wrong=0, seconds=0.01).busbw(1) == 0


def test_right_sums_of_the_planned_ranks_are_well_with_figures_and_units():
    found = judged()
    assert found.state == "PASS"
    assert "2 ranks on 2 hosts (n0, n1), gloo, torch 2.13.0: sums right" in found.text
    assert "977 KiB in 10 ms: algbw 0.1 GB/s, busbw 0.1 GB/s" in found.text


def test_one_wrong_place_fails():
    found = judged(wrong=1)
    assert found.state == "FAIL"
    assert "1 of the sums" in found.text
    assert found.advice


def test_a_world_of_another_size_fails():
    assert judged(ranks=4).state == "FAIL"
    assert "planned are 4 ranks" in judged(ranks=4).text


def test_ranks_that_are_all_on_one_of_two_hosts_fail():
    found = finding_of(read_all_reduce(lines(hosts=("n0",))), 2, ("n0", "n1"))
    assert found.state == "FAIL"
    assert finding_of(read_all_reduce(lines(hosts=("n0",))), 2, ("n0", "n0")).state == "PASS"  # two nodes of one host


def test_a_runner_may_put_its_own_words_before_a_line():
    assert read_all_reduce(lines(before="[rank0]: ")) == read_all_reduce(lines())


@pytest.mark.parametrize("cut", [0, 1, 2, 3])
def test_less_than_all_of_it_is_not_known(cut):
    told = [line for line in lines() if MARK in line]
    del told[cut]
    assert read_all_reduce(told) is None
    assert finding_of(read_all_reduce(told), 2, ("n0", "n1")).state == "UNKNOWN"


@settings(max_examples=25)
@given(st.lists(st.recursive(st.none() | st.integers() | st.floats() | st.text(), lambda s: st.lists(s, max_size=4))))
def test_no_value_breaks_the_reading(values):
    keys = ("backend", "torch", "ranks", "init_s", "bytes", "wrong", "seconds", "rank")
    told = [f"{MARK}{json.dumps(dict(zip(keys, values, strict=False)))}", *(f"{MARK}{json.dumps(v)}" for v in values)]
    read_all_reduce(told)


@given(st.text())
def test_no_text_breaks_the_reading(text):
    read_all_reduce([MARK + text, text])


def test_what_was_not_run_is_not_known_and_what_failed_says_what_to_do():
    assert not_run("no torch").state == "UNKNOWN"
    assert not_run("no torch").text == "not run: no torch"
    assert failed("the script ended with 1").state == "FAIL"
    assert failed("x").advice


def test_the_network_that_was_used_is_told_and_one_that_was_not_asked_for_fails():
    assert of_network("", (), ()) == []
    assert [(one.state, one.text) for one in of_network("NET/IB", (), ())] == [("PASS", "NET/IB")]
    assert [(one.state, one.text) for one in of_network("NET/IB", ("mlx5_1 idle",), ())] == [
        ("WARN", "NET/IB\nmlx5_1 idle")
    ]
    (found,) = of_network("NET/Socket", (), ("asked for rdma, used sockets",))
    assert (found.state, found.text) == ("FAIL", "NET/Socket\nasked for rdma, used sockets")
    assert found.advice
