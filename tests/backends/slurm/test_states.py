"""SLURM's words for states and reasons; the lines were recorded from SLURM 22.05."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from madrun.backends.slurm.states import JobState, read_accounting, read_queue, waiting, waiting_text

DOWN = "Nodes required for job are DOWN, DRAINED or reserved for jobs in higher priority partitions"


@pytest.mark.parametrize(
    ("line", "state"),
    [
        ("RUNNING|None|n[1-2]|2026-11-21T20:20:42", JobState("RUNNING", "", "n[1-2]", "2026-11-21T20:20:42")),
        ("PENDING|PartitionTimeLimit||N/A", JobState("PENDING", "PartitionTimeLimit")),
        (f"PENDING|{DOWN}||N/A", JobState("PENDING", DOWN)),
        ("PENDING|a|b||N/A", JobState("PENDING", "a|b")),
        (
            "FAILED|NonZeroExitCode|n1|2026-11-21T20:20:16",
            JobState("FAILED", "NonZeroExitCode", "n1", "2026-11-21T20:20:16"),
        ),
        ("", None),
        ("squeue: error: something", None),
    ],
)
def test_a_line_of_squeue_is_read(line, state):
    assert read_queue(line + "\n") == state


@pytest.mark.parametrize(
    ("text", "word", "by"),
    [
        ("CANCELLED by 1000|0:0|n[1-2]\n", "CANCELLED", "1000"),
        ("CANCELLED+|0:0|n1\n", "CANCELLED", ""),
        ("PREEMPTED|0:0|n1\nCOMPLETED|0:0|n1\n", "COMPLETED", ""),
        ("OUT_OF_MEMORY|0:125|n1\n", "OUT_OF_MEMORY", ""),
    ],
)
def test_a_line_of_sacct_is_read(text, word, by):
    state = read_accounting(text)
    assert (state.word, state.by, state.phase) == (word, by, "ended")


@given(st.text())
def test_any_text_is_a_state_or_none(text):
    for state in (read_queue(text), read_accounting(text)):
        assert state is None or state.phase in ("pending", "running", "ended", "lost")


def test_a_word_that_nobody_knows_concludes_nothing():
    assert JobState("HIBERNATING").phase == "lost"


@pytest.mark.parametrize(
    ("reason", "says", "hopeless"),
    [
        ("Priority", "higher priority", False),
        ("Resources", "are busy", False),
        (DOWN, "down, drained or reserved", False),
        ("ReqNodeNotAvail, UnavailableNodes:n2", "sinfo -R", False),
        ("PartitionTimeLimit", "lower --time", True),
        ("BadConstraints", "no node fits", True),
        ("QOSMaxJobsPerUserLimit", "as many jobs as the QOS allows", False),
        ("AssocMaxJobsLimit", "as many jobs as the account allows", False),
        ("QOSMaxCpuPerUserLimit", "one user", False),
        ("QOSMaxNodePerJobLimit", "ask for less", True),
        ("AssocGrpGRES", "your group", False),
        ("launch failed requeued held", "could not start it", False),
    ],
)
def test_a_reason_says_what_it_means_and_whether_waiting_helps(reason, says, hopeless):
    assert says in waiting_text(reason)
    assert waiting_text(reason).startswith(f"{reason}: ")
    assert waiting(reason).hopeless is hopeless


def test_a_reason_that_is_not_known_speaks_for_itself():
    assert waiting_text("FluxCapacitorCold") == "FluxCapacitorCold"
