"""Commands of SLURM as processes: nothing stands still for them, and no Ctrl-C reaches them."""

import os
import time
from contextlib import suppress
from pathlib import Path

import pytest

from madrun.backends.slurm.client import Job, Unanswered, ask, look

pytestmark = pytest.mark.slow
HANGS = "echo $$ >{scene}/pid; sleep 60"


def test_a_command_that_hangs_is_left_once_its_answer_is_of_no_use_and_all_of_it_ends(slurm):
    slurm.answers("squeue", HANGS.format(scene=slurm.scene))
    calls = []

    def beside():
        calls.append(1)
        return len(calls) < 3 or not (slurm.scene / "pid").exists()

    with pytest.raises(Unanswered, match=r"squeue gave no answer in \d s"):
        look(Job("7"), beside)
    assert len(calls) >= 3
    limit = time.monotonic() + 10
    while int((slurm.scene / "pid").read_text()) in groups():
        assert time.monotonic() < limit
        time.sleep(0.02)


def test_a_command_has_as_long_as_it_may_take_and_no_longer(slurm):
    slurm.answers("squeue", "sleep 60")
    assert ask(["squeue"], limit_s=0.3).code == 124


def test_ctrl_c_on_the_terminal_does_not_reach_a_command_of_slurm(slurm):
    slurm.answers("squeue", "cut -d' ' -f6 /proc/self/stat")
    assert int(ask(["squeue"]).out) != os.getsid(0)


def groups():
    """The process group of every process that is no zombie."""
    found = set()
    for pid in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - names alone
        with suppress(OSError):  # it has just ended
            state, _, group = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
            found |= {int(group)} if state not in "ZX" else set()
    return found
