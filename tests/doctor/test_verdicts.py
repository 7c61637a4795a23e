"""What nodes together say of each other; nobody is refused."""

import pytest

from madrun.doctor.verdicts import JUDGES, clocks, differences, reaches

OFFER = {
    "host_id": "a",
    "master": "10.0.0.1",
    "gpus": "8 x MI300X",
    "kernel": "6.1",
    "at": [["10.0.0.1", 1]],
    "nonce": "x",
}


def node(rank, job="h", offer=None, **more):
    values = {
        "hostname": f"n{rank}",
        "madrun": "1",
        "jobs": [{"hash": job, "summary": {"timeout": job}}] if job else [],
        "offer": OFFER | {"host_id": f"id{rank}"} | (offer or {}),
    }
    return values | more


def of(found, rank):
    return {finding.name: finding for finding in found.get(rank, [])}


def test_the_same_everywhere_is_said_once_for_all():
    found, together = differences({0: node(0), 1: node(1)})
    assert found == {}
    assert {(finding.name, finding.state) for finding in together} == {("same job", "PASS"), ("same hosts", "PASS")}


def test_one_node_alone_is_compared_with_nobody():
    assert differences({0: node(0)}) == ({}, [])


def test_a_job_that_differs_fails_on_the_node_that_differs():
    found, together = differences({0: node(0), 1: node(1), 2: node(2, "other")})
    assert of(found, 2)["same job"].state == "FAIL"
    assert "timeout differs: h on node 0, node 1 (n1), other on node 2 (n2)" in of(found, 2)["same job"].text
    assert "same job" not in {finding.name for finding in together}


@pytest.mark.parametrize(("change", "state"), [({"gpus": "4 x MI300X"}, "FAIL"), ({"kernel": "5.15"}, "WARN")])
def test_hosts_that_differ_fail_where_a_run_is_refused_and_warn_elsewhere(change, state):
    found, _ = differences({0: node(0), 1: node(1, offer=change)})
    assert of(found, 1)["same hosts"].state == state
    assert of(found, 1)["same hosts"].advice


def test_another_version_is_told_also_where_a_node_has_no_plan():
    for job in ("h", ""):
        found, together = differences({0: node(0, job), 1: node(1, madrun="2")})
        assert "madrun version differs" in of(found, 1)["same job"].text
        assert "same job" not in {finding.name for finding in together}


def test_a_node_without_a_plan_is_never_said_to_be_the_same():
    _, together = differences({0: node(0, "") | {"offer": None}, 1: node(1)})
    assert together == []


@pytest.mark.parametrize(
    ("offset", "state", "words"),
    [
        (0.0004, "PASS", "0.4 ms ahead of"),
        (-0.9, "PASS", "900.0 ms behind"),
        (5.0, "WARN", "5.0 s ahead of node 0's clock"),
        (-5.0, "WARN", "5.0 s behind node 0's clock"),
        (3600.0, "FAIL", "1h00m ahead of"),
        (None, "UNKNOWN", "did not answer"),
    ],
)
def test_a_clock_is_judged_by_its_distance(offset, state, words):
    (found,) = clocks({"0": 0.0, "1": offset})[1]
    assert (found.state, words in found.text) == (state, True), found.text
    assert 0 not in clocks({"0": 0.0, "1": offset})


def place(rank, tried=1, failed=()):
    address = f"10.0.0.{rank}"
    return {"hostname": f"n{rank}", "interface": "eth0", "address": address, "tried": tried, "failed": failed}


def test_who_is_not_reached_is_named_with_address_and_reason():
    found = reaches({0: place(0), 1: place(1, failed=[[0, "refused: a firewall"]])})
    assert of(found, 0)["reach"].state == "PASS"
    assert of(found, 1)["reach"].state == "FAIL"
    assert "node 0 (n0, eth0 10.0.0.0): refused: a firewall" in of(found, 1)["reach"].text


def test_a_node_that_had_nobody_to_call_does_not_know():
    assert of(reaches({0: place(0, tried=0), 1: place(1, tried=0)}), 1)["reach"].state == "UNKNOWN"


def test_nobody_is_refused_for_what_a_run_refuses():
    looked = JUDGES["looked"]({0: node(0), 1: node(1, "other", {"gpus": "none"}, madrun="9")})
    assert looked.failure is None
    assert [peer[0] for peer in looked.each[0]["peers"]] == [1]
    reached = JUDGES["reached"]({0: place(0, failed=[[1, "refused"]]), 1: place(1)})
    assert reached.failure is None
    assert reached.data["unreachable"] == [[0, 1]]


def test_the_first_reason_against_an_all_reduce_is_told_to_all_and_a_failure_before_a_lack():
    said = {0: {"why": "", "lacks": "no torch"}, 1: {"why": "reach"}, 2: {"why": "plan"}}
    assert JUDGES["seen"](said).data == {"why": "reach"}
    assert JUDGES["seen"]({0: {"lacks": ""}, 1: {"lacks": "no torch"}}).data == {"why": "no torch"}
    assert JUDGES["seen"]({0: {"why": "", "lacks": ""}, 1: {"why": ""}}).data == {"why": ""}


def test_each_node_hears_its_own_part_and_the_last_line():
    ruling = JUDGES["over"]({0: {"overall": "overall: FAIL", "code": 3, "about": {"1": [{"name": "reach"}]}}, 1: {}})
    assert ruling.each[1] == {"overall": "overall: FAIL", "code": 3, "findings": [{"name": "reach"}]}
    assert ruling.each[0]["findings"] == []


def test_a_visit_that_lost_node_0_ends_all_the_same():
    assert JUDGES["over"]({1: {}}).each[1]["overall"] == ""
