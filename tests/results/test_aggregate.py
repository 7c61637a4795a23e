"""Each rule across nodes; presence, finiteness and bounds as checks."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.results.aggregate import aggregate
from madrun.spec.card import Metric
from madrun.spec.record import Sample


def sample(node, text, metric="tok", **more):
    return Sample(node=node, metric=metric, value=float(text), text=text, source="console.log:1", **more)


def failed(checks):
    return [check.text for check in checks if not check.passed]


@pytest.mark.parametrize(("rule", "value"), [("sum", 10.0), ("mean", 2.5), ("min", 1.0), ("max", 4.0), ("last", 3.0)])
def test_nodes_are_combined_by_the_declared_rule(rule, value):
    samples = [sample(2, "4"), sample(0, "1"), sample(3, "3"), sample(1, "2")]
    (result,), checks, notes = aggregate(samples, {"tok": Metric(across_nodes=rule, unit="t/s", primary=True)}, 4)
    assert (result.value, result.across_nodes, result.unit, result.primary) == (value, rule, "t/s", True)
    assert failed(checks) == []
    assert notes == []


def test_same_takes_the_common_value_as_it_was_printed():
    (result,), checks, _ = aggregate([sample(0, "007"), sample(1, "7.0")], {"tok": Metric(across_nodes="same")}, 2)
    assert (result.value, result.text) == (7.0, "007")
    assert failed(checks) == []


def test_same_with_different_values_is_a_failed_check_that_shows_both():
    _, checks, _ = aggregate([sample(0, "7"), sample(1, "8")], {"tok": Metric(across_nodes="same")}, 2)
    (text,) = failed(checks)
    assert "7 on node 0" in text
    assert "8 on node 1" in text


def test_a_check_does_not_claim_that_nodes_agree_that_printed_nothing():
    _, checks, _ = aggregate([sample(0, "7")], {"tok": Metric(across_nodes="same")}, 3)
    assert checks[0].name == "tok is the same on node 0, which alone printed it"
    _, checks, _ = aggregate([sample(0, "7"), sample(1, "7")], {"tok": Metric(across_nodes="same")}, 2)
    assert checks[0].name == "tok is the same on every node"


def test_same_from_one_node_alone_is_enough():
    (result,), checks, _ = aggregate([sample(1, "7")], {"tok": Metric(across_nodes="same")}, 2)
    assert (result.text, failed(checks)) == ("7", [])


@pytest.mark.parametrize("rule", ["sum", "mean", "min", "max"])
def test_a_combined_metric_needs_a_value_of_every_node(rule):
    _, checks, _ = aggregate([sample(0, "7")], {"tok": Metric(across_nodes=rule)}, 2)
    (text,) = failed(checks)
    assert f"combined by {rule} over 2 nodes, but only node 0 has it" in text


def test_of_several_lines_of_one_node_the_last_counts():
    (result,), _, _ = aggregate([sample(0, "1"), sample(0, "2")], {"tok": Metric()}, 1)
    assert result.text == "2"


def test_a_value_of_one_node_stays_as_it_was_printed():
    for rule in ("sum", "mean", "max", "last", "same"):
        (result,), _, _ = aggregate([sample(0, "007")], {"tok": Metric(across_nodes=rule)}, 1)
        assert result.text == "007", rule


def test_an_undeclared_metric_takes_node_0_and_says_so():
    (result,), checks, notes = aggregate([sample(1, "9"), sample(0, "8")], {}, 2)
    assert (result.text, result.across_nodes) == ("8", "")
    assert failed(checks) == []
    assert "no across_nodes rule; the value of node 0 counts" in notes[0]


def test_an_undeclared_metric_that_only_one_node_has_counts():
    (result,), _, notes = aggregate([sample(1, "9")], {}, 2)
    assert (result.text, notes) == ("9", [])


@pytest.mark.parametrize("name", ["throughput", "seconds", "loss", "memory_gb"])
def test_the_name_of_a_metric_decides_nothing(name):
    (result,), _, _ = aggregate([sample(0, "1", name), sample(1, "2", name)], {}, 2)
    assert result.value == 1.0


@pytest.mark.parametrize("rule", ["same", "sum", "mean", "min", "max"])
@pytest.mark.parametrize("texts", ["nan nan", "inf -inf", "-inf inf", "1 1e999", "nan 1", "1 nan", "-inf 1"])
def test_a_value_that_is_not_finite_on_any_node_is_a_failed_check(rule, texts):
    samples = [sample(node, text) for node, text in enumerate(texts.split())]
    _, checks, _ = aggregate(samples, {"tok": Metric(across_nodes=rule)}, 2)
    assert failed(checks)


def test_the_last_value_must_be_finite():
    _, checks, _ = aggregate([sample(0, "1"), sample(1, "nan")], {"tok": Metric(across_nodes="last")}, 2)
    assert "not finite" in failed(checks)[0]


def test_a_sum_beyond_all_floats_is_a_failed_check():
    _, checks, _ = aggregate([sample(0, "1e308"), sample(1, "1e308")], {"tok": Metric(across_nodes="sum")}, 2)
    assert any("not finite" in text for text in failed(checks))


@pytest.mark.parametrize(("text", "passes"), [("0", True), ("10", True), ("-0.1", False), ("10.1", False)])
def test_bounds_are_inclusive(text, passes):
    _, checks, _ = aggregate([sample(0, text)], {"tok": Metric(min=0, max=10, unit="ms")}, 1)
    assert (failed(checks) == []) is passes
    if not passes:
        assert f"tok is {text} ms, outside its declared bounds 0 to 10" in failed(checks)[0]


def test_nothing_measured_is_a_failed_check_that_names_what_was_declared():
    results, checks, _ = aggregate([], {"tok": Metric()}, 1)
    assert results == []
    assert "nothing was measured" in failed(checks)[0]
    assert "declared: tok" in failed(checks)[0]
    assert failed(aggregate([], {}, 1)[1]) != []


def test_a_missing_declared_metric_is_a_failed_check_unless_it_is_optional():
    declared = {"tok": Metric(), "ms": Metric(), "extra": Metric(required=False)}
    (text,) = failed(aggregate([sample(0, "1")], declared, 1)[1])
    assert "declared metrics are missing: ms; found: tok" in text


def test_rows_of_several_models_stay_apart():
    samples = [sample(0, "1", model="a", extra={"b": "1"}), sample(0, "2", model="a", extra={"b": "2"})]
    results, _, _ = aggregate([*samples, sample(0, "3", model="c")], {}, 1)
    assert [(result.model, result.extra, result.text) for result in results] == [
        ("a", {"b": "1"}, "1"),
        ("a", {"b": "2"}, "2"),
        ("c", {}, "3"),
    ]


def test_the_unit_that_a_csv_names_counts_where_none_is_declared():
    measured = [sample(0, "5", extra={"csv_unit": "ms"})]
    assert [result.unit for result in aggregate(measured, {}, 1)[0]] == ["ms"]
    assert [result.unit for result in aggregate(measured, {"tok": Metric(unit="s")}, 1)[0]] == ["s"]


def test_what_holds_for_several_rows_of_a_metric_is_said_once():
    samples = [sample(node, "1", model=model) for node in (0, 1) for model in "ab"]
    assert aggregate(samples, {}, 2)[2] == ["tok: no across_nodes rule; the value of node 0 counts"]


@given(st.lists(st.floats(-1e100, 1e100), min_size=1, max_size=8), st.randoms())
def test_the_order_of_arrival_does_not_matter(values, random):
    samples = [sample(node, repr(value)) for node, value in enumerate(values)]
    shuffled = random.sample(samples, len(samples))
    for rule in ("sum", "mean", "min", "max", "last"):
        declared = {"tok": Metric(across_nodes=rule)}
        first, second = aggregate(samples, declared, len(values)), aggregate(shuffled, declared, len(values))
        assert first == second
        assert math.isfinite(first[0][0].value)
