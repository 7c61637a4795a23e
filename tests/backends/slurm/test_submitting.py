"""Handing a script to sbatch; what it says was recorded from SLURM 22.05."""

import re
import threading
import time

import pytest

from madrun.backends.slurm.client import Answer, Job
from madrun.backends.slurm.submitting import check_and_submit, refusal
from madrun.errors import ContextError, UsageError

BUSY = "echo 'sbatch: error: Unable to contact slurm controller (connect failure)' >&2; exit 1"

POLICY = "allocation failure: Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


@pytest.fixture
def submit(slurm, head, tmp_path, monkeypatch):
    """Submits a script with these lines that sbatch reads."""
    monkeypatch.setattr("madrun.backends.slurm.submitting._PAUSE_S", 0.0)
    script = tmp_path / "job.sh"

    def submit(lines="#SBATCH --time=0-01:00:00", hidden=("HF_TOKEN",)):
        script.write_text(f"#!/bin/sh\n{lines}\n")
        return check_and_submit(script, "madrun-one-a1b2c3", hidden, head)

    return submit


def test_it_is_asked_first_and_submitted_then(submit, slurm):
    slurm.answers("sbatch", "exit 0", "echo 12")
    assert submit() == Job("12")
    assert [call.split()[1] for call in slurm.calls] == ["--version", "--test-only", "--parsable"]


def test_the_name_of_a_cluster_is_kept(submit, slurm):
    slurm.answers("sbatch", "exit 0", "echo 'a message of the site'; echo '12;east'")
    assert submit() == Job("12", "east")


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (
            "sbatch: error: invalid partition specified: nope\nallocation failure: Invalid partition name specified",
            r"slurm.partition: refused by sbatch: invalid partition specified: nope; Invalid partition name specified",
        ),
        ("allocation failure: Invalid feature specification", r"slurm.constraint: refused"),
        ("allocation failure: Requested reservation is invalid", r"slurm.reservation: refused"),
        ("allocation failure: Invalid node name specified", r"slurm.nodelist: refused"),
        ("sbatch: error: Invalid generic resource (gres) specification", r"slurm.gpus_per_node: refused"),
        ("sbatch: unrecognized option '--bogus=1'", r"slurm.sbatch: refused"),
        ("allocation failure: Invalid account or account/partition combination specified", r"slurm.account: refused"),
        ("allocation failure: Access denied to requested reservation", r"slurm.reservation: refused"),
        (f"sbatch: error: QOSMaxNodePerJobLimit\n{POLICY}", r"slurm.nodes: refused by sbatch: QOSMaxNodePerJobLimit"),
        (f"sbatch: error: AssocMaxWallDurationPerJobLimit\n{POLICY}", r"slurm.time: refused"),
        (f"sbatch: error: QOSMaxSubmitJobPerUserLimit\n{POLICY}", r"slurm.qos: refused"),
        ("allocation failure: Job violates something new", r"slurm: refused by sbatch: Job violates something new"),
    ],
)
def test_a_refusal_names_the_key_that_says_it(said, message):
    assert re.match(message, str(refusal(Answer(1, "", said), "")))


@pytest.mark.parametrize(
    ("lines", "key"),
    [("#SBATCH --exclude=n9\n", "exclude"), ("#SBATCH --nodelist=n9\n", "nodelist")]
    + [("#SBATCH --nodelist=n1\n#SBATCH --exclude=n9\n", "nodelist or slurm.exclude")],
)
def test_an_unknown_node_is_of_the_key_that_the_script_has(lines, key):
    said = refusal(Answer(1, "", "allocation failure: Invalid node name specified"), lines)
    assert str(said).startswith(f"slurm.{key}: refused by sbatch: Invalid node name specified")


def test_what_is_refused_is_not_submitted(submit, slurm):
    slurm.answers("sbatch", "echo 'allocation failure: Invalid qos specification' >&2; exit 1")
    with pytest.raises(ContextError, match=r"slurm.qos: refused by sbatch"):
        submit()
    assert not any("--parsable" in call for call in slurm.calls)


def test_nodes_that_are_down_for_now_are_left_to_sbatch_itself(submit, slurm, head):
    none = "echo 'allocation failure: Requested node configuration is not available' >&2; exit 1"
    slurm.answers("sbatch", none, "echo 12")
    assert submit() == Job("12")
    assert head.said == ["as the cluster is now, no nodes fit the job; submitting it all the same"]
    slurm.answers("sbatch", none, none, none, none)
    with pytest.raises(ContextError, match=r"no nodes of the partition have so many CPUs"):
        submit()


NO_NODES = "echo 'allocation failure: Requested node configuration is not available' >&2; exit 1"


@pytest.mark.parametrize(
    ("partition", "sizes", "said"),
    [
        ("--partition=gpu", "gpu|4", r"slurm.nodes: found 9, allowed: at most 4, for partition gpu has no more"),
        ("--partition=gpu,big", "gpu|4\nbig|8", r"slurm.nodes: found 9, allowed: at most 8, for partition gpu,big has"),
        ("--time=0-01:00:00", "gpu|4\nbig|8", r"slurm.nodes: found 9, allowed: at most 8, for no partition has more"),
    ],
)
def test_more_nodes_than_there_are_is_an_error_at_once(submit, slurm, partition, sizes, said):
    slurm.answers("sbatch", NO_NODES, "echo 12")
    slurm.answers("sinfo", f"printf '{sizes}\n'")
    with pytest.raises(ContextError, match=said):
        submit(f"#SBATCH --nodes=9\n#SBATCH {partition}")
    assert not any("--parsable" in call for call in slurm.calls)


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("#SBATCH --nodes=2\n#SBATCH --exclude=h0", r"slurm.exclude: found h0, which leaves 1 of 2 nodes; .* least 2"),
        ("#SBATCH --nodes=1\n#SBATCH --exclude=h[0-1]", r"slurm.exclude: found h\[0-1\], which leaves 0 of 2 nodes"),
    ],
)
def test_too_many_nodes_left_out_are_an_error_at_once(submit, slurm, lines, said):
    slurm.answers("sbatch", NO_NODES, "echo 12")
    slurm.answers("sinfo", "echo 'gpu|2'", "printf 'h0\\nh1\\nh1\\n'")
    with pytest.raises(ContextError, match=said):
        submit(lines)
    assert not any("--parsable" in call for call in slurm.calls)


def test_a_refusal_says_what_is_allowed(submit, slurm):
    slurm.answers("sbatch", "echo 'sbatch: error: invalid partition specified: nope' >&2; exit 1")
    slurm.answers("sinfo", "printf 'gpu\\nbig\\n'")
    with pytest.raises(ContextError, match=r"specified: nope; found nope, allowed: gpu, big$"):
        submit("#SBATCH --partition=nope")


@pytest.mark.parametrize("sizes", ["printf 'gpu|9\\n'", "exit 1", "exit 0", "echo nonsense"])
def test_where_there_may_be_enough_nodes_sbatch_decides(submit, slurm, sizes):
    slurm.answers("sbatch", NO_NODES, "echo 12")
    slurm.answers("sinfo", sizes)
    assert submit("#SBATCH --nodes=9") == Job("12")


def test_a_busy_controller_is_asked_again_and_that_is_said_once(submit, slurm, head):
    slurm.answers("sbatch", BUSY, BUSY, "exit 0", "echo 12")
    assert submit() == Job("12")
    assert len(head.said) == 1
    assert "does not answer" in head.said[0]


def test_a_job_that_was_taken_without_an_answer_is_not_submitted_twice(submit, slurm):
    slurm.answers("sbatch", "exit 0", BUSY, "echo 13")
    slurm.answers("squeue", "echo 12")
    assert submit() == Job("12")
    assert sum("--parsable" in call for call in slurm.calls) == 1
    assert "squeue --noheader --states=all --me --name=madrun-one-a1b2c3 --format=%F" in slurm.calls


@pytest.mark.parametrize("tries", [1, 4])
def test_a_job_that_was_taken_by_the_last_try_or_before_an_interrupt_is_found(submit, slurm, head, tries):
    slurm.answers("sbatch", "exit 0", BUSY)
    slurm.answers("squeue", *["exit 0"] * (tries - 1), "echo 12")
    if tries == 1:
        interrupt_as_it_speaks(head)
    assert submit() == Job("12")


def test_an_interrupt_ends_the_asking(submit, slurm, head):
    slurm.answers("sbatch", BUSY)
    interrupt_as_it_speaks(head)
    with pytest.raises(UsageError, match=r"in 1 tries; try later"):
        submit()


def test_after_an_interrupt_nothing_is_submitted(submit, slurm, head):
    slurm.answers("sbatch", "exit 0", "echo 12")
    head.interrupt()
    with pytest.raises(UsageError, match=r"nothing was submitted"):
        submit()
    assert not any("--parsable" in call for call in slurm.calls)


def test_a_second_interrupt_leaves_an_sbatch_that_hangs_and_names_the_job(submit, slurm, head):
    slurm.answers("sbatch", "exit 0", f"touch {slurm.scene}/asked; sleep 60")

    def twice():
        while not (slurm.scene / "asked").exists():
            time.sleep(0.02)
        head.interrupt()
        head.interrupt()

    threading.Thread(target=twice, daemon=True).start()
    with pytest.raises(UsageError, match=r"squeue --me --name=madrun-one-a1b2c3 shows whether it became a job"):
        submit()


def test_a_controller_that_never_answers_is_an_error(submit, slurm):
    slurm.answers("sbatch", BUSY)
    with pytest.raises(UsageError, match=r"found no answer of the SLURM controller in 4 tries"):
        submit()


def test_without_sbatch_the_message_says_what_to_do(submit, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(UsageError, match=r"found no sbatch on this host; .* madrun render --on slurm"):
        submit()


def test_neither_secrets_nor_what_overrules_a_line_reach_slurm(submit, slurm, monkeypatch):
    for name in ("HF_TOKEN", "SBATCH_TIMELIMIT", "SBATCH_PARTITION", "SBATCH_ARRAY_INX"):
        monkeypatch.setenv(name, "found")
    slurm.answers("sbatch", "exit 0", f"env >{slurm.scene}/env; echo 12")
    submit()
    seen = (slurm.scene / "env").read_text()
    assert "SBATCH_PARTITION=found" in seen  # the script has no line that it would overrule
    assert not any(name in seen for name in ("HF_TOKEN", "SBATCH_TIMELIMIT", "SBATCH_ARRAY_INX"))


def interrupt_as_it_speaks(head):
    """A signal to the command as soon as it says something."""
    head.say = lambda _text: head.interrupt()
