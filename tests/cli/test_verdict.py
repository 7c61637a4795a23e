"""What a user reads at the end of a run."""

from dataclasses import replace

import pytest

from madrun.cli.verdict import quoted, timing_lines, verdict_lines
from madrun.node.ended import Ended
from madrun.results.rundir import RunDir
from madrun.spec.record import Failure, MetricResult, NodeOutcome
from madrun.spec.transport import RunTransport

COMMAND = ("madrun", "run", "--tags", "one")
CULPRIT = Failure(kind="script error", text="exit code 3 on node 1\nand more", node=1, last_lines=("a", "  b"))


@pytest.fixture
def ended(tmp_path, monkeypatch, make_record):
    monkeypatch.chdir(tmp_path)
    metrics = (
        MetricResult(metric="step_ms", value=3.0, text="3", unit="ms"),
        MetricResult(metric="tok", value=7.0, text="007", unit="tok/s", primary=True),
    )
    return Ended(
        exit_code=0,
        run=RunDir(tmp_path / "results" / "runs" / "r1"),
        outcome=NodeOutcome(node=0, hostname="alpha", script_s=12.3),
        record=make_record(metrics=metrics, notes=("memlock left out",)),
    )


def test_a_success_shows_the_primary_metric_first_its_notes_and_the_run_directory(ended, make_test_plan):
    lines = verdict_lines(ended, make_test_plan(), COMMAND, ())
    assert lines[0] == "SUCCESS one  1 node x 1  process  12.3 s"
    assert lines[1].split() == ["tok", "007", "tok/s", "(primary)"]
    assert lines[2].split() == ["step_ms", "3", "ms"]
    assert "  note: memlock left out" in lines
    assert lines[-1].strip() == "results/runs/r1"


def test_a_note_that_was_shown_before_the_run_is_not_repeated(ended, make_test_plan):
    lines = verdict_lines(ended, make_test_plan(), COMMAND, ("memlock left out",))
    assert not any("memlock" in line for line in lines)


def test_another_node_says_where_the_record_is(ended, make_test_plan):
    lines = verdict_lines(replace(ended, record=None), make_test_plan(), COMMAND, ())
    assert any("the record is on node 0" in line for line in lines)


def test_a_failure_shows_one_culprit_its_last_lines_the_log_and_the_command(ended, make_test_plan):
    failed = replace(ended, exit_code=3, culprit=CULPRIT, reasons=("script error: x", "node 1: y"))
    lines = verdict_lines(failed, make_test_plan(), COMMAND, ())
    assert lines[0].startswith("FAILURE one")
    assert lines[1:3] == ["  script error: exit code 3 on node 1", "  and more"]
    assert lines[3:6] == ["  last lines of node 1:", "    a", "      b"]
    assert lines[-2].strip() == "log: results/runs/r1"
    assert lines[-1].strip() == "again: madrun run --tags one"


def test_who_pressed_ctrl_c_is_not_shown_how_launchers_complain_of_it(ended, make_test_plan):
    stopped = replace(CULPRIT, kind="interrupted", text="interrupted by SIGINT on node 1")
    lines = verdict_lines(replace(ended, exit_code=130, culprit=stopped), make_test_plan(), COMMAND, ())
    assert lines[1].strip() == "interrupted: interrupted by SIGINT on node 1"
    assert len(lines) == 4


def test_the_log_is_the_culprits_console_where_it_is_here(ended, make_test_plan):
    console = ended.run.node(1) / "console.log"
    console.parent.mkdir(parents=True)
    console.touch()
    lines = verdict_lines(replace(ended, exit_code=3, culprit=CULPRIT), make_test_plan(), COMMAND, ())
    assert lines[-2].strip() == "log: results/runs/r1"  # nobody looks into a file that is empty
    console.write_text("x\n")
    lines = verdict_lines(replace(ended, exit_code=3, culprit=CULPRIT), make_test_plan(), COMMAND, ())
    assert lines[-2].strip() == "log: results/runs/r1/node-1/console.log"


def test_an_invalid_run_without_a_culprit_lists_every_reason(ended, make_test_plan):
    failed = replace(ended, exit_code=3, reasons=("nothing was measured", "b"))
    lines = verdict_lines(failed, make_test_plan(), COMMAND, ())
    assert lines[1:3] == ["  invalid: nothing was measured", "  invalid: b"]


def test_a_failed_image_names_its_build_log(ended, make_test_plan):
    failed = replace(ended, exit_code=2, culprit=replace(CULPRIT, kind="image"))
    assert any("node-1/build.log" in line for line in verdict_lines(failed, make_test_plan(), COMMAND, ()))


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("a", "b c"), "a 'b c'"),
        (("-c", "{'a': 1}"), "-c \"{'a': 1}\""),
        (("-c", "{'a': '$x'}"), "-c '{'\"'\"'a'\"'\"': '\"'\"'$x'\"'\"'}'"),
    ],
)
def test_the_command_can_be_typed_again(words, text):
    assert quoted(words) == text


def test_timings_add_up():
    lines = timing_lines({"plan": 0.25, "script": 1.0})
    assert [line.split() for line in lines[1:]] == [
        ["plan", "0.250", "s"],
        ["script", "1.000", "s"],
        ["total", "1.250", "s"],
    ]


@pytest.mark.parametrize("kind", ["stalled", "timeout"])
def test_a_run_that_was_looked_at_shows_where_each_rank_was_and_where_the_evidence_is(ended, make_test_plan, kind):
    for node, lines in (
        (0, ["rank 0 pid 5 sleeping: train.py:41 step -> all_reduce"]),
        (10, ["rank 80 pid 5: x"] * 20),
    ):
        folder = ended.run.node(node) / "evidence"
        folder.mkdir(parents=True)
        (folder / "ranks.txt").write_text("\n".join(lines) + "\n")
    (ended.run.node(2) / "evidence").mkdir(parents=True)
    culprit = Failure(kind=kind, text="nothing has moved", node=0)
    lines = verdict_lines(replace(ended, exit_code=3, culprit=culprit), make_test_plan(), COMMAND, ())
    lines = [line for line in lines if "--timeout" not in line]
    assert lines[2] == "  node 0 rank 0 pid 5 sleeping: train.py:41 step -> all_reduce"
    assert lines[3] == "  evidence: results/runs/r1/node-0/evidence"
    assert lines[4] == "  node 2 its processes could not be seen from here"
    assert sum(line.startswith("  node 10 rank 80") for line in lines) == 16
    assert "  node 10: 4 more in ranks.txt" in lines


def test_evidence_of_another_kind_of_end_is_not_shown(ended, make_test_plan):
    (ended.run.node(0) / "evidence").mkdir(parents=True)
    lines = verdict_lines(replace(ended, exit_code=3, culprit=CULPRIT), make_test_plan(), COMMAND, ())
    assert not any("evidence" in line for line in lines)


def test_what_the_ranks_talked_over_is_one_line_and_what_was_missed_is_a_warning(ended, make_test_plan, make_record):
    missed = "node 1 (beta): NCCL used NET/Socket on eth0 though mlx5_0 is ACTIVE there"
    transport = RunTransport(text="NCCL 2.21.5, NET/Socket on eth0; eth0 31 GiB", warnings=(missed,))
    record = make_record(notes=("memlock left out", missed), transport=transport)
    lines = verdict_lines(replace(ended, record=record), make_test_plan(), COMMAND, ())
    assert [line for line in lines if "NET/Socket" in line] == [
        "  transport  NCCL 2.21.5, NET/Socket on eth0; eth0 31 GiB",
        f"  warning: {missed}",
    ]
    assert "  note: memlock left out" in lines


def test_an_invalid_run_shows_what_the_ranks_talked_over(ended, make_test_plan, make_record):
    reason = "node 0 (alpha): TRANSPORT rdma was asked for, and NCCL used NET/Socket on eth0"
    record = make_record(transport=RunTransport(asked="rdma", text="NCCL 2.21.5, NET/Socket on eth0"))
    failed = replace(ended, exit_code=3, record=record, reasons=(reason,))
    lines = verdict_lines(failed, make_test_plan(), COMMAND, ())
    assert lines[1:3] == [f"  invalid: {reason}", "  transport  NCCL 2.21.5, NET/Socket on eth0"]
