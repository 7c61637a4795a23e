"""What a suite has cost, and what makes it another one."""

import json
from dataclasses import replace

import pytest
from suite_parts import lost, record, suite

from madrun.errors import UsageError
from madrun.suites.account import (
    closing_lines,
    cost_of,
    document,
    exit_code,
    node_seconds,
    rows,
    run_of,
    status_of,
    trouble_lines,
)
from madrun.suites.folder import Journal, SuiteFolder
from madrun.suites.nodes import avoidable, choose, culprit_of
from madrun.suites.progress import Attempt, CaseRun, CaseState, Progress, fold
from madrun.suites.suite import Case, new_cases


def attempt(number=1, **more):
    return Attempt(number=number, **{"status": "success", "nnodes": 2, "seconds": 30.0} | more)


def test_a_changed_case_is_told_with_what_it_was_and_is():
    frozen = suite("a", "b")
    now = (replace(frozen.cases[0], words=("--tags", "a", "--set", "x=1")), Case(name="c", words=("--tags", "c")))
    with pytest.raises(UsageError) as caught:
        new_cases(frozen, now, "suite.yaml")
    assert "suite.yaml: its cases are not those of 20261121T000000Z-trial-abcdef" in str(caught.value)
    assert "a: was --tags a\n      is --tags a --set x=1" in str(caught.value)
    assert "b: is gone" in str(caught.value)


def test_new_cases_alone_are_taken():
    frozen = suite("a", "b")
    new = Case(name="c", words=("--tags", "c"), nnodes=2)
    assert new_cases(frozen, (new, *frozen.cases), "suite.yaml") == (new,)
    assert new_cases(frozen, frozen.cases, "suite.yaml") == ()


def test_a_suite_whose_cases_were_changed_on_disk_is_refused(tmp_path):
    folder = SuiteFolder(tmp_path)
    folder.write(suite("a", "b"))
    assert folder.suite() == suite("a", "b")
    file = tmp_path / "suite.json"
    whole = json.loads(file.read_text())
    file.write_text(json.dumps({**whole, "cases": whole["cases"][:1]}))
    with pytest.raises(UsageError, match="the cases are not those that were frozen there"):
        folder.suite()
    file.write_text(json.dumps({**whole, "format": 2}))
    with pytest.raises(UsageError, match="found format 2, allowed: 1"):
        folder.suite()
    file.write_text("{")
    with pytest.raises(UsageError, match="is no suite that can be read"):
        folder.suite()


def test_a_line_that_was_cut_does_not_spoil_the_next_one(tmp_path):
    folder = SuiteFolder(tmp_path)
    (tmp_path / "journal.jsonl").write_bytes(b'{"event":"begun"}\n{"event":"runn')
    progress = Progress(("a",))
    journal = Journal(folder, progress)
    journal.add("bad node", host="h1", reason="lost")
    journal.close()
    assert [event["event"] for event in folder.events()] == ["begun", "bad node"]
    assert progress.bad == {"h1": "lost"}


def test_lines_of_another_madrun_are_left_out():
    events = [{}, {"event": "ended", "case": "a", "attempt": {"number": "x"}}, {"event": "new", "case": "a"}]
    assert fold(("a",), events).of("a").status == "pending"


@pytest.mark.parametrize(
    ("code", "statuses", "interrupted", "status"),
    [
        (0, ["SUCCESS"], False, "success"),
        (0, [], False, "success"),
        (3, ["SUCCESS", "FAILURE", "INVALID"], False, "failed"),
        (3, ["SUCCESS", "INVALID"], False, "invalid"),
        (0, ["SKIPPED"], False, "skipped"),
        (3, ["SKIPPED"], False, "skipped"),
        (2, ["SKIPPED"], False, "failed"),
        (0, ["SKIPPED", "SUCCESS"], False, "success"),
        (2, [], False, "failed"),
        (-9, [], False, "failed"),
        (4, ["SUCCESS"], False, "failed"),
        (130, ["FAILURE"], False, "interrupted"),
        (3, ["FAILURE"], True, "interrupted"),
    ],
)
def test_the_status_of_an_attempt(code, statuses, interrupted, status):
    runs = [replace(run_of(record()), status=one) for one in statuses]
    assert status_of(code, runs, interrupted) == status


def test_a_run_is_kept_with_its_primary_metric_and_the_seconds_of_its_phases():
    kept = run_of(record("a", 7.5))
    assert (kept.value, kept.text, kept.metric, kept.unit, kept.seconds) == (7.5, "7.5", "speed", "tok/s", 10.0)
    assert run_of(record("a", None)).value is None
    assert run_of(record("a", None)).status == "INVALID"
    assert run_of(lost("a", 1)).status == "FAILURE"
    assert run_of(record("a", 7.5, valid=False, status="FAILURE")).value is None


def test_node_hours_count_every_attempt_and_valid_numbers_only_what_counts():
    good, bad = run_of(record("a")), run_of(lost("a", 1))
    state = CaseState(status="success", attempts=(attempt(runs=(bad,)), attempt(2, runs=(good, good))))
    unknown = CaseState(status="failed", attempts=(attempt(seconds=30.0),))
    assert [node_seconds(one) for one in (*state.attempts, *unknown.attempts)] == [20.0, 40.0, 60.0]
    cost = cost_of([state, unknown])
    assert (cost.node_seconds, cost.valid) == (120.0, 2)
    assert cost.node_hours_per_valid == pytest.approx(120 / 3600 / 2)
    assert cost_of([unknown]).node_hours_per_valid is None


def test_the_summary_has_a_row_for_each_case_and_the_cost_below():
    made = suite("a", "b", "c", nnodes=2)
    states = {
        "a": CaseState(status="success", attempts=(attempt(runs=(run_of(record("a")),)),)),
        "b": CaseState(status="failed", reason="node lost: n1 is gone\nmore", attempts=(attempt(), attempt(2))),
    }
    progress = Progress(tuple("abc"), states, {"n1": "node lost: gone (b)"})
    assert rows(made, progress) == [
        ("a", "2", "success", "1.0 tok/s", "1", "20.0 s"),
        ("b", "2", "failed", "node lost: n1 is gone", "2", "2m00s"),
        ("c", "2", "pending", "", "", ""),
    ]
    assert closing_lines(made, progress) == [
        "1 pending, 1 success, 1 failed; 1 valid number",
        "node time 2m20s, 0.0389 node-hours for a valid number",
        "bad node n1: node lost: gone (b)",
    ]
    told = document(made, progress, 3)
    assert told["node_hours_per_valid_number"] == pytest.approx(140 / 3600)
    assert [case["status"] for case in told["cases"]] == ["success", "failed", "pending"]
    assert told["cases"][0]["attempts"][0]["runs"][0]["value"] == 1.0
    json.dumps(told)


def case_run(card="a", value=1.0, status="SUCCESS", unit="tok/s"):
    text = f"{value}" if value else "nothing was measured"
    return CaseRun(
        run_id=f"run-of-{card}", card=card, status=status, nnodes=1, seconds=1.0, value=value, text=text, unit=unit
    )


@pytest.mark.parametrize(
    ("runs", "shown"),
    [
        ([case_run()], "1.0 tok/s"),
        ([case_run(value=4.0), case_run(value=2.0), case_run(value=3.5)], "3.5 tok/s (median of 3, 2 .. 4)"),
        ([case_run(), case_run("b", 7.0, unit="img/s")], "a 1.0 tok/s, b 7.0 img/s"),
        ([case_run(), case_run("b", None, "SKIPPED")], "1.0 tok/s"),
    ],
)
def test_the_value_of_a_case_is_that_of_each_card_and_the_median_of_its_repetitions(runs, shown):
    state = CaseState(status="success", attempts=(attempt(status="success", runs=tuple(runs)),))
    assert rows(suite("a"), Progress(("a",), {"a": state}))[0][3] == shown


def test_of_a_case_of_several_cards_the_one_that_failed_is_named_and_the_files_of_its_run():
    runs = (case_run(), case_run("b", None, "INVALID"), case_run("c", None, "FAILURE"))
    reason = "gpu-oom: the script ended\nsmaller batch"
    failed = CaseState(status="failed", reason=reason, attempts=(attempt(status="failed", runs=runs, launch="l-1"),))
    early = CaseState(status="failed", reason="no rights", attempts=(attempt(status="failed", launch="l-2"),))
    states = {"all": failed, "early": early, "well": CaseState(status="success", attempts=(attempt(),))}
    made, progress = suite("all", "early", "well"), Progress(("all", "early", "well"), states)
    assert [row[3] for row in rows(made, progress)] == ["c: gpu-oom: the script ended", "no rights", ""]
    assert trouble_lines(made, progress, lambda kind, name: f"{kind} {name}") == [
        *("failed: all", "  c: gpu-oom: the script ended", "  smaller batch", "  run run-of-c"),
        *("failed: early", "  no rights", "  launch l-2"),
    ]


def test_of_many_failed_cases_ten_are_told_and_how_many_more_there_are():
    names = [str(number) for number in range(12)]
    states = {name: CaseState(status="failed", reason="x", attempts=(attempt(),)) for name in names}
    lines = trouble_lines(suite(*names), Progress(tuple(names), states), lambda kind, name: name)
    assert [line for line in lines if line.startswith("failed: ")] == [f"failed: {name}" for name in names[:10]]
    assert lines[-1] == "and 2 more; --status --json shows all"


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        (("success", "skipped"), 0),
        (("success", "failed"), 3),
        (("invalid", "success"), 3),
        (("success", "pending"), 3),
        (("failed", "interrupted"), 130),
    ],
)
def test_the_exit_code_is_that_of_the_worst_case(statuses, code):
    made = suite("a", "b")
    progress = Progress(("a", "b"), {name: CaseState(status=one) for name, one in zip("ab", statuses, strict=True)})
    assert exit_code(made, progress) == code


def test_the_culprit_is_named_as_the_backend_knows_it():
    assert culprit_of(lost("a", 1), ("h0", "u@h1")) == ("u@h1", "node lost: node 1 was lost")
    assert culprit_of(lost("a", 1), ()) == ("n1", "node lost: node 1 was lost")
    assert culprit_of(lost("a", 1, "gate"), ("h0", "h1")) == ("h1", "gate: node 1 was lost")
    assert culprit_of(lost("a", 1, "script error"), ("h0", "h1")) is None
    assert culprit_of(record("a"), ("h0", "h1")) is None


def test_bad_hosts_are_taken_last():
    assert choose(["a", "b", "c"], {"a": ""}, 2) == ("b", "c")
    assert choose(["a", "b", "c"], {"a": ""}, 3) == ("b", "c", "a")


def test_as_many_bad_nodes_are_excluded_as_leave_enough():
    bad = {"a": "", "b": ""}
    assert avoidable(bad, 2, None) == ("a", "b")
    assert avoidable(bad, 2, 4) == ("a", "b")
    assert avoidable(bad, 2, 3) == ("b",)
    assert avoidable(bad, 2, 2) == ()


def test_an_attempt_that_needs_no_driver_goes_on_without_one():
    states = {
        "a": CaseState(status="running", attempts=(attempt(status="running", launch="launch-1"),)),
        "b": CaseState(status="running", attempts=(attempt(status="running"),)),
    }
    progress = Progress(("a", "b", "c"), states)
    assert [name for name, _ in progress.launched()] == ["a"]
    assert [name for name, _ in progress.driver_died()] == ["b"]
    assert progress.due() == ["b", "c"]
