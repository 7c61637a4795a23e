"""A whole run of one node in this process: real driver, process runtime, run directory, record, row."""

import errno
import json
import threading
import time

import pytest

from madrun.errors import ExitCode
from madrun.node import workspace
from madrun.node.channel.link import SoloLink
from madrun.node.conduct import conduct
from madrun.node.joining.join import Party
from madrun.node.joining.judges import JUDGES
from madrun.node.task import Interrupt, Task
from madrun.planning import driver
from madrun.registry.cardtree import tree_hash
from madrun.results import perfcsv
from madrun.results.rundir import read_record
from madrun.runtimes.process import ProcessBox
from madrun.spec.card import Metric

pytestmark = pytest.mark.slow  # real processes or commands in most of them


class Quiet:
    """A reporter that remembers."""

    def __init__(self):
        self.phases, self.lines = [], []
        self.phase, self.line = self.phases.append, self.lines.append
        self.running = threading.Event()

    def follow(self, _console):
        self.running.set()

    def unfollow(self):
        pass


@pytest.fixture
def run(tmp_path, make_job, make_test_plan, make_facts):
    """Runs a script as node 0 of one; gives how it ended, the task and the reporter."""

    def start(script, *, interrupt=None, secrets=None, index=0, link=None, more=None, **job):
        source = tmp_path / "run.sh"
        source.write_text(script)
        files = {"run.sh": source}
        for name, text in (more or {}).items():
            files[name] = tmp_path / name
            files[name].write_text(text)
        grace = job.get("grace_s", 1.0)
        values = {
            "script_hash": tree_hash(files),
            "driver": driver.render("one", driver.run_line("run.sh", ""), grace),
        } | job
        task = Task(
            plan=make_test_plan(make_job(**values)),
            index=index,
            results=tmp_path / "results",
            secrets=secrets or {},
            facts=make_facts(),
            files=files,
            image_context={},
            lock_dir=tmp_path / "locks",
            engine=None,
            command=("madrun", "run"),
            provenance=lambda: {"machine_name": "alpha"},
            notes=("runtime process",),
        )
        reporter = Quiet()
        ended = conduct(task, Party(link or SoloLink(JUDGES)), interrupt or Interrupt(), reporter)
        return ended, task, reporter

    return start


def test_a_good_run_leaves_plan_log_output_record_and_row(run):
    ended, task, reporter = run("echo performance: 007 tok; echo 1 >made.txt\n", metrics={"tok": Metric()})
    path = ended.run.path
    assert ended.exit_code == 0
    assert (path / "node-0" / "console.log").read_text() == "performance: 007 tok\n"
    assert (path / "node-0" / "output" / "made.txt").read_text() == "1\n"
    assert not (path / "node-0" / "box").exists()
    assert read_record(path) == ended.record
    assert ended.record.status == "SUCCESS"
    assert ended.record.notes == ("runtime process",)
    assert json.loads((path / "plan.json").read_text())["job_hash"] == task.plan.job_hash
    (row,) = perfcsv.read(task.results / "perf.csv")
    assert (row["performance"], row["status"], row["run_id"]) == ("007", "SUCCESS", path.name)
    assert reporter.phases[-1] == "running"
    events = [json.loads(line)["event"] for line in (path / "journal.jsonl").read_text().splitlines()]
    assert (events[0], events[-1]) == ("begin", "record")


@pytest.mark.parametrize(
    ("script", "kind", "text"),
    [
        ("echo why; exit 3\n", "script error", "exit code 3 on node 0"),
        ("kill -9 $$\n", "killed", "signal 9 (SIGKILL) on node 0"),
        ("exit 255\n", "script error", "exit code 255 on node 0"),
        ("exit 193\n", "script error", "exit code 193 on node 0"),
        ("exit 163\n", "script error", "signal 35 on node 0"),
    ],
)
def test_a_failing_script_is_the_culprit_with_its_last_lines(run, script, kind, text):
    ended, _, _ = run(script)
    assert ended.exit_code == ExitCode.RUN_FAILED
    assert ended.culprit.kind == kind
    assert text in ended.culprit.text
    if "why" in script:
        assert ended.culprit.last_lines == ("why",)
    assert ended.record.status == "FAILURE"
    assert ended.record.metrics == ()


def test_a_failing_run_does_not_stand_against_the_next_on_the_same_link(run):
    link = SoloLink(JUDGES)
    assert run("exit 3\n", link=link)[0].exit_code == 3
    assert run("echo performance: 1 x\n", link=link, index=1)[0].exit_code == 0


def test_a_number_printed_by_a_failing_script_is_no_result(run):
    ended, task, _ = run("echo performance: 5 tok; exit 1\n")
    (row,) = perfcsv.read(task.results / "perf.csv")
    assert (row["performance"], row["status"]) == ("", "FAILURE")
    assert not ended.record.valid


def test_the_time_limit_ends_the_script_and_what_it_started(run, tmp_path):
    began = time.monotonic()
    ended, _, _ = run("(trap '' TERM; sleep 1200) & sleep 1200\n", timeout_s=0.3, grace_s=0.3)
    assert time.monotonic() - began < 120
    assert (ended.exit_code, ended.culprit.kind) == (3, "timeout")
    assert "0.30 s" in ended.culprit.text


def test_a_script_that_ends_at_term_is_not_waited_for(run):
    began = time.monotonic()
    ended, _, _ = run("trap 'exit 0' TERM\nwhile :; do sleep 0.05; done\n", timeout_s=0.3, grace_s=600.0)
    assert time.monotonic() - began < 60
    assert ended.culprit.kind == "timeout"


def test_an_interrupt_writes_the_record_and_ends_with_130(run):
    interrupt = Interrupt()
    threading.Timer(0.4, interrupt.set, ["interrupted by SIGINT"]).start()
    ended, _, reporter = run("sleep 300\n", interrupt=interrupt)
    assert ended.exit_code == ExitCode.INTERRUPTED
    assert read_record(ended.run.path).culprit.kind == "interrupted"
    assert reporter.running.is_set()


def test_files_that_changed_since_the_plan_end_the_run_before_the_script(run):
    ended, _, _ = run("echo hello\n", script_hash="0" * 64)
    assert ended.exit_code == 3
    assert "files changed since the plan was made" in ended.culprit.text
    assert not (ended.run.path / "node-0" / "console.log").exists()


def test_the_results_file_of_the_script_is_read(run):
    script = "printf 'model,performance,metric,batch\\nm1,007,tok,4\\n' >out.csv\n"
    ended, task, _ = run(script, multiple_results="out.csv")
    assert ended.exit_code == 0
    (row,) = perfcsv.read(task.results / "perf.csv")
    assert (row["model"], row["performance"], row["batch"]) == ("one_m1", "007", "4")


def test_a_results_file_that_this_run_did_not_make_does_not_count(run):
    ended, _, _ = run("echo performance: 1 x\n", multiple_results="out.csv")
    assert ended.exit_code == 3
    assert any("made no out.csv" in reason for reason in ended.reasons)


def test_a_secret_that_the_script_prints_is_in_no_file(run, make_node):
    secret = "hf_very_secret_value"
    ended, task, _ = run("echo token is hf_very_secret_value; echo performance: 1 x\n", secrets={"HF_TOKEN": secret})
    assert ended.exit_code == 0
    console = (ended.run.path / "node-0" / "console.log").read_text()
    assert "token is ***" in console
    kept = [path for path in task.results.rglob("*") if path.is_file() and path.name != "run.sh"]
    assert len(kept) > 5
    assert [path for path in kept if secret in path.read_text()] == []


ROWS = "model,performance,metric\nm1,007,tok\n"


def test_a_results_file_of_the_card_that_was_only_touched_does_not_count(run):
    ended, _, _ = run(
        "sleep 0.02; touch out.csv; echo performance: 1 x\n", multiple_results="out.csv", more={"out.csv": ROWS}
    )
    assert ended.exit_code == 3
    assert any(
        "out.csv lay in the card's folder before the run and was not written by it" in why for why in ended.reasons
    )
    assert [metric.metric for metric in ended.record.metrics] == ["x"]


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        ("mkfifo out.csv", "a FIFO"),
        ("ln -s /etc/passwd out.csv", "a symbolic link"),
        ("mkdir out.csv", "a directory"),
        ("mkdir out.csv; echo 1 >out.csv/x", "a directory"),
    ],
)
def test_a_results_file_that_is_no_file_is_a_reason(run, make, kind):
    ended, _, _ = run(f"{make}; echo performance: 1 x\n", multiple_results="out.csv")
    assert ended.exit_code == 3
    assert ended.reasons == (f"node 0: multiple_results: out.csv is {kind}, allowed: a regular file",)


def test_a_pipe_left_behind_is_a_note_and_no_reason(run):
    ended, _, _ = run("mkfifo pipe; echo performance: 1 x\n")
    assert (ended.exit_code, ended.record.notes[-1]) == (0, "node 0: pipe is a FIFO and is not kept")


def test_what_could_not_be_kept_is_named_and_not_called_missing(run):
    ended, _, _ = run("echo 1 >out.csv; touch ../../output; echo performance: 1 x\n", multiple_results="out.csv")
    assert ended.exit_code == 3
    (reason,) = ended.reasons
    assert "work/out.csv could not be moved to" in reason
    assert (ended.run.path / "node-0" / "box" / "work" / "out.csv").exists()


def test_a_full_disk_is_said_in_words(run, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "/r/run.sh")

    monkeypatch.setattr(workspace, "lay_out", full)
    ended, _, _ = run("echo performance: 1 x\n")
    assert ended.culprit.kind == "disk"
    assert ended.culprit.text == "/r/run.sh on alpha: No space left on device; free space or name another --results"


def test_another_error_of_the_system_is_still_a_defect(run, monkeypatch):
    def broken(*_):
        raise FileNotFoundError(errno.ENOENT, "No such file or directory", "x")

    monkeypatch.setattr(workspace, "lay_out", broken)
    assert run("echo performance: 1 x\n")[0].culprit.kind == "internal"


def test_what_the_engine_refused_is_said_at_once_and_in_the_record(run, monkeypatch):
    monkeypatch.setattr(ProcessBox, "deviations", ("memlock was refused",))
    ended, _, reporter = run("echo performance: 1 x\n")
    assert reporter.lines == ["memlock was refused"]
    assert ended.record.notes == ("runtime process", "memlock was refused")


def test_a_metric_whose_name_is_a_number_fails_the_run(run):
    ended, _, _ = run("echo performance: 12 345 tok/s; echo performance: 3 x\n")
    assert ended.exit_code == 3
    assert any("the metric's name is a number" in reason for reason in ended.reasons)


def test_a_script_that_traces_itself_has_its_results_once(run):
    ended, _, _ = run("set -x\necho 'performance: 5 tok'\n")
    assert ended.exit_code == 0
    assert [metric.metric for metric in ended.record.metrics] == ["tok"]
