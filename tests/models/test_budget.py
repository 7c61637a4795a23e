"""A time budget of the training card; it has the machine to itself, for it is the time that is looked at."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch

SHORT = "--preset tiny --warmup 2 --seq 32 --mbs 2 --grad-accum 1 --timeout-s 20"


def test_a_time_budget_shortens_the_window_on_every_rank(cards):
    for budget_s in (8, 40, 120):  # a busy machine takes fewer steps in 8 s than are needed for a number
        args = f"{SHORT} --steps 100000 --budget-s {budget_s}"
        (outcome,) = cards.run(cards.stage("llama2_7b"), args=args, nproc=2)
        if "FAILED enough measured steps" not in outcome.stdout + outcome.stderr:
            break
    assert outcome.code == 0, outcome.stderr
    assert "of 99998 steps are measured" in outcome.stdout or "of 100000 steps are measured" in outcome.stdout
    assert 12 <= len(outcome.losses) < 100000
