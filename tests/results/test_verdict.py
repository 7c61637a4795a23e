"""The verdict: SUCCESS means measured, complete and plausible; else the reasons say why not."""

from dataclasses import replace

import pytest

from madrun.results.verdict import RunFacts, judge
from madrun.spec.card import Metric
from madrun.spec.record import Failure, NodeOutcome, Sample

FACTS = RunFacts(
    run_id="r1",
    started_at="2026-11-21T00:00:00Z",
    ended_at="2026-11-21T00:00:09Z",
    command=("madrun", "run"),
    backend="local",
    notes=("runtime process",),
    provenance={"machine_name": "alpha"},
)
SAMPLE = Sample(node=0, metric="tok", value=7.0, text="7", source="console.log:1")
GOOD = NodeOutcome(node=0, hostname="alpha", exit_code=0, end_marker=True, samples=(SAMPLE,), timings={"script": 1.0})
CULPRIT = Failure(kind="script error", text="the script ended with exit code 3 on node 1\nmore", node=1, exit_code=3)


@pytest.fixture
def judged(make_test_plan, make_job):
    def run(*outcomes, culprit=None, **job):
        values = {"metrics": {"tok": Metric()}, "nnodes": max(1, len(outcomes))} | job
        return judge(make_test_plan(make_job(**values)), FACTS, outcomes, culprit)

    return run


def test_a_run_that_ended_well_with_its_metric_is_a_success(judged):
    record = judged(GOOD)
    assert (record.status, record.valid, record.reasons, record.exit_code) == ("SUCCESS", True, (), 0)
    assert [metric.text for metric in record.metrics] == ["7"]
    assert all(check.passed for check in record.checks)


def test_the_record_says_where_the_number_comes_from(judged, make_test_plan, make_job):
    record = judged(GOOD)
    assert record.plan_hash == make_test_plan(make_job(metrics={"tok": Metric()})).job_hash
    assert (record.run_id, record.command, record.backend) == ("r1", ("madrun", "run"), "local")
    assert record.provenance == {"machine_name": "alpha"}
    assert record.timings == {"script": 1.0}
    assert record.notes == ("runtime process",)


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"exit_code": 3}, "exit code 3"),
        ({"end_marker": False}, "exit code 0, no end marker"),
        ({"exit_code": None, "started_at": 5.0}, "did not end by itself"),
        ({"exit_code": None}, "was not started"),
        ({"samples": ()}, "nothing was measured"),
        ({"samples": (replace(SAMPLE, value=float("nan"), text="nan"),)}, "nan, which is not finite"),
        ({"samples": (replace(SAMPLE, metric="other"),)}, "declared metrics are missing: tok"),
        ({"findings": ("out.csv: column model is missing",)}, "column model is missing"),
    ],
)
def test_a_run_that_cannot_be_believed_is_a_failure_with_its_reason(judged, change, part):
    record = judged(replace(GOOD, **change))
    assert (record.status, record.valid, record.exit_code) == ("FAILURE", False, 3)
    assert any(part in reason for reason in record.reasons)


def test_every_node_must_end_well(judged):
    good = replace(GOOD, node=1, samples=())
    assert judged(GOOD, good).valid
    record = judged(GOOD, replace(good, exit_code=1))
    assert not record.valid
    assert "node 1" in record.reasons[0]


def test_a_node_that_did_not_report_is_a_reason(judged):
    record = judged(GOOD, nnodes=2)
    assert not record.valid
    assert len(record.reasons) == 1
    assert "node 1" in record.reasons[0]


def test_the_culprit_is_the_first_reason_in_one_line(judged):
    record = judged(GOOD, culprit=CULPRIT)
    assert record.reasons[0] == "script error: the script ended with exit code 3 on node 1"
    assert record.culprit == CULPRIT
    assert record.status == "FAILURE"


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        ("interrupted", 130),
        ("internal", 1),
        ("image", 2),
        ("engine", 2),
        ("data", 2),
        ("script error", 3),
        ("timeout", 3),
        ("node lost", 3),
        ("gate", 3),
    ],
)
def test_the_kind_of_failure_decides_the_exit_code(judged, kind, code):
    assert judged(GOOD, culprit=replace(CULPRIT, kind=kind)).exit_code == code


def test_a_culprit_without_words_is_still_a_reason(judged):
    assert judged(GOOD, culprit=replace(CULPRIT, text="")).reasons[0].startswith("script error")


def test_a_metric_printed_twice_is_a_note_of_the_record(judged):
    twice = replace(GOOD, samples=(SAMPLE, replace(SAMPLE, value=8.0, text="8")))
    record = judged(twice)
    assert record.valid
    assert "printed tok 2 times" in record.notes[-1]


def test_notes_and_refusals_of_the_nodes_are_notes_of_the_record_once(judged):
    noted = replace(GOOD, deviations=("memlock was refused",), notes=("pipe is not kept",))
    record = judged(noted, replace(noted, node=1, samples=()))
    assert record.valid
    assert record.notes[1:4] == ("memlock was refused", "node 0: pipe is not kept", "node 1: pipe is not kept")
    assert len(record.notes) == 4


ERROR = ("console.log:7: RuntimeError: boom (error pattern 'RuntimeError:')",)


def test_an_error_in_the_log_decides_where_nothing_was_measured(judged):
    record = judged(replace(GOOD, samples=(), log_errors=ERROR), metrics={})
    assert (record.status, record.exit_code) == ("FAILURE", 3)
    assert any("the log has an error: node 0, console.log:7: RuntimeError: boom" in text for text in record.reasons)


def test_an_error_in_the_log_is_only_told_where_a_number_stands_against_it(judged):
    record = judged(replace(GOOD, log_errors=ERROR))
    assert (record.status, record.reasons) == ("SUCCESS", ())
    assert "an error in the log: node 0, " + ERROR[0] in record.notes


def test_a_script_that_was_not_to_be_started_is_skipped(judged):
    record = judged(NodeOutcome(node=0, hostname="alpha", skipped="asked for"), metrics={})
    assert (record.status, record.valid, record.exit_code, record.reasons) == ("SKIPPED", False, 0, ("asked for",))
    failed = judged(NodeOutcome(node=0, hostname="alpha", skipped="asked for"), culprit=CULPRIT, metrics={})
    assert failed.status == "FAILURE"


@pytest.fixture
def judged_unmeasured(make_test_plan, make_job):
    def run(outcome):
        facts = replace(FACTS, unmeasured="MAD_COLLECT_METRICS is false")
        return judge(make_test_plan(make_job()), facts, (outcome,), None)

    return run


def test_a_run_that_need_not_measure_is_no_success_without_a_number(judged_unmeasured):
    record = judged_unmeasured(replace(GOOD, samples=()))
    assert (record.status, record.valid, record.exit_code) == ("SKIPPED", False, 0)
    assert record.reasons == ("not measured: MAD_COLLECT_METRICS is false",)
    assert judged_unmeasured(GOOD).status == "SUCCESS"
    assert judged_unmeasured(replace(GOOD, samples=(), end_marker=False)).status == "FAILURE"


def test_a_row_without_a_number_leaves_the_others_standing(judged):
    missing = replace(SAMPLE, model="b", value=float("nan"), text="", missing="b tok has no number: x")
    record = judged(replace(GOOD, samples=(replace(SAMPLE, model="a"), missing)), metrics={})
    assert (record.status, record.exit_code, record.partial) == ("FAILURE", 3, True)
    assert record.reasons == ("b tok has no number: x",)
    assert not judged(replace(GOOD, samples=(missing,), end_marker=False), metrics={}).partial
