"""The sanity card on real processes: a sound world passes, each kind of unsound one fails and never hangs."""

from __future__ import annotations

import sys
import time

import pytest

pytestmark = pytest.mark.torch

LIAR = """
import os, runpy
if os.environ["RANK"] == "1":
    os.environ["RANK"] = "0"
runpy.run_path("honest.py", run_name="__main__")
"""


def test_four_ranks_form_a_world_and_print_every_metric(cards):
    (outcome,) = cards.run(cards.stage("sanity"), nproc=4)
    assert outcome.code == 0, outcome.stderr
    assert set(outcome.metrics) == cards.declared_metrics("sanity")
    assert outcome.metrics["ranks"] == 4
    assert outcome.metrics["nodes"] == 1
    assert outcome.stdout.splitlines()[-1].startswith("performance: ")


def test_two_nodes_form_a_world_and_only_the_first_prints(cards):
    first, second = cards.run(cards.stage("sanity", "a"), cards.stage("sanity", "b"), nproc=2)
    assert (first.code, second.code) == (0, 0), first.stderr + second.stderr
    assert (first.metrics["nodes"], first.metrics["ranks"]) == (2, 4)
    assert second.metrics == {}


def test_a_rank_that_lies_about_its_rank_is_refused_at_once(cards):
    folder = cards.stage("sanity")
    (folder / "sanity.py").rename(folder / "honest.py")
    (folder / "sanity.py").write_text(LIAR)
    start = time.monotonic()
    (outcome,) = cards.run(folder, nproc=2)
    assert time.monotonic() - start < 120
    assert outcome.code != 0
    assert "rank 0 was claimed more than once" in outcome.stderr
    assert outcome.metrics == {}


def test_a_rank_that_adds_a_wrong_number_fails_the_sums(cards):
    folder = cards.stage("sanity")
    cards.patch(
        folder / "sanity.py",
        "value = torch.tensor(dist.get_rank(), ",
        "value = torch.tensor(dist.get_rank() * 2, ",
    )
    (outcome,) = cards.run(folder, nproc=2)
    assert outcome.code != 0
    assert "FAILED SUM of the ranks: found 2 [on 2 of 2 ranks (0, 1)], expected 1" in outcome.stderr
    assert outcome.metrics == {}


def test_a_node_with_another_script_is_a_version_mismatch(cards):
    first, second = cards.stage("sanity", "a"), cards.stage("sanity", "b")
    with (second / "measure.py").open("a") as file:
        file.write("# changed\n")
    outcomes = cards.run(first, second)
    assert all(outcome.code != 0 for outcome in outcomes)
    assert "FAILED equal software on all ranks: found {'scripts':" in outcomes[0].stderr


def test_a_world_of_one_in_place_of_two_is_refused(cards):
    folder = cards.stage("sanity")
    plan = {"NNODES": "2", "NPROC_PER_NODE": "1", "WORLD_SIZE": "2"}
    outcome = cards.wait(cards.start(folder, [sys.executable, "sanity.py"], plan), folder)
    assert outcome.code != 0
    assert "this script was started without $MULTI_NODE_RUNNER" in outcome.stderr


def test_a_rank_that_never_comes_is_named_within_the_timeout(cards):
    folder = cards.stage("sanity")
    env = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "1"}
    env |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
    outcome = cards.wait(cards.start(folder, [sys.executable, "sanity.py", "--timeout-s", "2"], env), folder)
    assert outcome.code != 0
    assert "1/2 clients joined" in outcome.stderr
