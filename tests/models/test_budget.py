"""A time budget of the training card; it has the machine to itself, for it is the time that is looked at."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch

SHORT = "--preset tiny --warmup 2 --seq 32 --mbs 2 --grad-accum 1 --timeout-s 20"


def test_a_time_budget_shortens_the_window_on_every_rank(cards):
    args = f"{SHORT} --steps 100000 --budget-s 8"
    (outcome,) = cards.run(cards.stage("llama2_7b"), args=args, nproc=2)
    assert outcome.code == 0, outcome.stderr
    assert "of 99998 steps are measured" in outcome.stdout or "of 100000 steps are measured" in outcome.stdout
    assert 12 <= len(outcome.losses) < 100000
