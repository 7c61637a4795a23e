"""Counts, the last line and the document of a visit."""

import json

import pytest

from madrun.doctor.report import Examination, NodeReport, bounded, counted, document, exit_code, overall_line
from madrun.spec.codec import from_plain, to_json
from madrun.spec.finding import Finding


def finding(state, name="shm", text="64 MiB"):
    return Finding(name=name, state=state, text=text)


def node(rank, *findings):
    return NodeReport(rank=rank, hostname=f"n{rank}", findings=findings)


def examination(*nodes, together=(), **more):
    return Examination(card="one", madrun="1", nodes=nodes, together=together, **more)


@pytest.mark.parametrize(
    ("states", "code"), [(["PASS"], 0), (["WARN", "UNKNOWN"], 0), (["PASS", "FAIL", "PASS"], 3), ([], 0)]
)
def test_only_a_fail_makes_the_exit_code_3(states, code):
    assert exit_code([finding(state) for state in states]) == code


def test_counts_name_the_worst_first_and_nothing_that_is_not_there():
    states = ["PASS", "UNKNOWN", "PASS", "FAIL", "WARN"]
    assert counted([finding(state) for state in states]) == "1 FAIL, 1 WARN, 1 UNKNOWN, 2 PASS"
    assert counted([finding("PASS")]) == "1 PASS"
    assert counted([]) == "nothing looked at"


def test_what_is_not_known_is_named_and_never_counts_as_well():
    line = overall_line(examination(node(0, finding("UNKNOWN", "PCI ACS")), node(1, finding("UNKNOWN", "PCI ACS"))))
    assert line == "overall: UNKNOWN: 2 UNKNOWN; not known: PCI ACS on node 0-1"


def test_the_last_line_names_what_failed_with_its_node_and_what_failed_of_all():
    whole = examination(node(0, finding("PASS")), node(2, finding("FAIL")), together=(finding("FAIL", "all-reduce"),))
    assert overall_line(whole) == "overall: FAIL: 2 FAIL, 1 PASS; failed: shm on node 2, all-reduce"


def test_a_long_list_of_failures_is_counted():
    line = overall_line(examination(*(node(0, finding("FAIL", f"check {number}")) for number in range(9))))
    assert line.endswith("check 5 on node 0 and 3 more")


def test_what_goes_to_other_nodes_is_bounded_and_keeps_the_worst():
    many = [finding("PASS", f"p{number}", "x" * 9000) for number in range(300)] + [finding("FAIL", "bad")]
    kept = bounded(many)
    assert kept[0].name == "bad"
    assert len(to_json(kept)) < 300_000


def test_the_document_holds_every_node_and_can_be_read_back():
    whole = examination(
        node(0, finding("PASS")), node(1, finding("FAIL")), together=(finding("UNKNOWN", "all-reduce"),)
    )
    plain = json.loads(to_json(document(whole)))
    assert tuple(from_plain(NodeReport, one) for one in plain["nodes"]) == whole.nodes
    assert plain["overall"]["exit_code"] == 3
    assert plain["overall"]["counts"] == {"FAIL": 1, "WARN": 0, "UNKNOWN": 1, "PASS": 1}
    assert plain["format"] == 1


def test_a_node_that_is_well_ends_with_what_node_0_says_of_all():
    assert examination(node(1, finding("PASS")), code=3).exit_code == 3
    assert examination(node(1, finding("FAIL")), code=0).exit_code == 3
    assert examination(node(1, finding("PASS"))).exit_code == 0
