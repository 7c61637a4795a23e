"""What came of all the runs of one command."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from madrun.cli.summary import Finished, document, spreads_of, summary_lines
from madrun.node.ended import Ended
from madrun.results.rundir import RunDir
from madrun.spec.codec import to_json
from madrun.spec.record import Failure, MetricResult, NodeOutcome


@pytest.fixture
def finished(tmp_path, monkeypatch, make_record, make_test_plan, make_job):
    monkeypatch.chdir(tmp_path)

    def make(value=7.0, card="one", valid=True, record=True, primary=True):
        metrics = (
            MetricResult(metric="ms", value=1.0, text="1", unit="ms"),
            MetricResult(metric="tok", value=value or 0.0, text=str(value), unit="tok/s", primary=primary),
        )
        made = make_record(card=card, metrics=metrics if value is not None else (), valid=valid)
        planned = SimpleNamespace(plan=make_test_plan(make_job(card=card)), notes=(), changes=(), repeats="")
        ended = Ended(
            exit_code=0 if valid else 3,
            run=RunDir(tmp_path / "results" / "runs" / f"{card}-1"),
            outcome=NodeOutcome(node=0, hostname="alpha", script_s=2.5),
            record=made if record else None,
            culprit=None if valid else Failure(kind="script error", text="x", node=0),
        )
        return Finished(planned=planned, ended=ended, again=("madrun", "run"), timings={"script": 2.5})

    return make


def test_one_run_needs_no_summary(finished):
    assert summary_lines([finished()]) == []


def test_several_cards_have_a_row_each(finished):
    head, columns, one, two = summary_lines([finished(), finished(card="second", valid=False)])
    assert head == "summary: 1 SUCCESS, 1 FAILURE"
    assert columns.split() == ["card", "status", "value", "or", "cause", "time", "run"]
    assert one.split() == ["one", "SUCCESS", "7.0", "tok/s", "2.50", "s", "results/runs/one-1"]
    assert two.split() == ["second", "FAILURE", "script", "error", "2.50", "s", "results/runs/second-1"]


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((9.0, 7.0, 8.0), "one: 3 of 3 runs valid, tok median 8 tok/s (7 .. 9, 25.0 % apart)"),
        ((7.0, 9.0), "one: 2 of 2 runs valid, tok median 8 tok/s (7 .. 9, 25.0 % apart)"),
        ((0.0, 0.0), "one: 2 of 2 runs valid, tok median 0 tok/s (0 .. 0, 0.0 % apart)"),
        ((-1.0, -3.0), "one: 2 of 2 runs valid, tok median -2 tok/s (-3 .. -1, 100.0 % apart)"),
    ],
)
def test_repetitions_have_a_median_and_a_spread(finished, values, text):
    assert summary_lines([finished(value) for value in values])[-1].strip() == text


def test_a_run_that_may_not_be_believed_is_no_part_of_the_spread(finished):
    runs = [finished(7.0), finished(100.0, valid=False), finished(9.0)]
    (spread,) = spreads_of(runs)
    assert (spread.runs, spread.values, spread.median) == (3, (7.0, 9.0), 8.0)
    assert "2 of 3 runs valid" in summary_lines(runs)[-1]


def test_repetitions_without_a_valid_run_have_no_median(finished):
    lines = summary_lines([finished(valid=False), finished(valid=False)])
    assert lines[-1].strip() == "one: 0 of 2 runs valid"


def test_another_node_has_no_values(finished):
    assert finished(record=False).primary is None
    lines = summary_lines([finished(record=False)] * 2)
    assert "SUCCESS  -" in " ".join(lines[2].split(" " * 1))
    assert not any("runs valid" in line for line in lines)


def test_without_a_primary_metric_the_first_one_stands_for_the_run(finished):
    assert finished(primary=False).primary.metric == "ms"
    assert finished(None).primary is None


def test_different_cards_have_no_common_spread(finished):
    assert spreads_of([finished(), finished(card="two")]) == []


def test_the_document_of_a_command_is_json_with_every_run(finished):
    runs = [finished(), finished(valid=False)]
    found = json.loads(to_json(document(runs, 3, {"plan": 0.1})))
    assert (found["exit_code"], found["error"], found["timings"]) == (3, "", {"plan": 0.1})
    good, bad = found["runs"]
    assert (good["primary"]["metric"], len(good["metrics"]), good["culprit"]) == ("tok", 2, None)
    assert (bad["primary"], bad["metrics"], bad["culprit"]["kind"]) == (None, [], "script error")
    assert found["spreads"][0]["runs"] == 2


def test_a_spread_is_of_one_job(finished, make_test_plan, make_job):
    other = finished()
    plan = make_test_plan(make_job(args="--other"))
    changed = replace(other, planned=SimpleNamespace(plan=plan, notes=(), changes=(), repeats=""))
    assert spreads_of([other, changed]) == []
