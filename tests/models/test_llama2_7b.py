"""The training card on real processes: the tiny preset, parity of all ways to run it, and faults it must see."""

from __future__ import annotations

import json

import pytest

pytestmark = [pytest.mark.torch, pytest.mark.beside]

# Four samples a step however they are shared out, in fp32 so that only the order of sums differs.
PARITY = "--preset tiny --precision fp32 --steps 10 --warmup 2 --seq 64"
BROKEN = "--preset tiny --steps 10 --warmup 2 --seq 32 --mbs 2 --grad-accum 1 --timeout-s 20"


@pytest.fixture(scope="module")
def plain_losses(shared_cards):
    """Losses of one process without any sharding: what every other way must reproduce."""
    args = f"{PARITY} --shard none --mbs 4 --grad-accum 1"
    (outcome,) = shared_cards.run(shared_cards.stage("llama2_7b", "plain"), args=args)
    assert outcome.code == 0, outcome.stderr
    return outcome.losses


def test_the_tiny_variant_prints_every_required_metric_last(cards):
    (outcome,) = cards.run(cards.stage("llama2_7b"), args="--preset tiny", nproc=2)
    assert outcome.code == 0, outcome.stderr
    assert cards.declared_metrics("llama2_7b") <= set(outcome.metrics)
    assert set(outcome.metrics) <= cards.declared_metrics("llama2_7b", required=False)
    assert outcome.metrics["rank_spread_pct"] >= 0
    lines = outcome.stdout.splitlines()
    assert all(line.startswith("performance: ") for line in lines[-len(outcome.metrics) :])
    assert outcome.metrics["loss_last"] < outcome.metrics["loss_first"] - 2
    record = json.loads((outcome.folder / "llama2_7b.json").read_text())
    assert (record["status"], record["invalid_reason"], record["ranks"]) == ("VALID", [], 2)
    assert {name: value for name, value in record["metrics"].items() if value is not None} == pytest.approx(
        outcome.metrics, rel=1e-8
    )
    # What a CPU has not is unknown, not zero.
    assert record["metrics"]["mfu_pct"] is record["metrics"]["energy_j_per_token"] is record["peak"] is None
    assert record["flops"]["full_attention"]["c"] == 12
    assert record["flops"]["n_mm"] == 466944
    assert record["memory"]["predicted_bytes"] == sum(record["memory"]["parts"].values())


@pytest.mark.parametrize(
    ("nodes", "nproc", "how"),
    [
        pytest.param(1, 1, "--shard fsdp --mbs 4 --grad-accum 1", marks=pytest.mark.long),
        pytest.param(1, 2, "--shard fsdp --mbs 1 --grad-accum 2", marks=pytest.mark.long),
        pytest.param(1, 2, "--shard ddp --mbs 1 --grad-accum 2", marks=pytest.mark.long),
        pytest.param(2, 1, "--shard fsdp --mbs 2 --grad-accum 1", marks=pytest.mark.long),
        pytest.param(
            1,
            2,
            "--shard fsdp --mbs 1 --grad-accum 2 --reshard always --ac selective --attn math",
            marks=pytest.mark.long,
        ),
        (2, 2, "--shard hsdp --mbs 1 --grad-accum 1"),
    ],
)
def test_sharding_ranks_nodes_and_accumulation_do_not_change_the_losses(cards, plain_losses, nodes, nproc, how):
    folders = [cards.stage("llama2_7b", f"node{index}") for index in range(nodes)]
    outcome, *others = cards.run(*folders, args=f"{PARITY} {how}", nproc=nproc)
    assert outcome.code == 0, outcome.stderr
    assert outcome.losses == pytest.approx(plain_losses, abs=1e-5)
    assert all(other.code == 0 and other.metrics == {} for other in others)


@pytest.mark.long
def test_compiled_steps_have_the_losses_of_eager_ones(cards, plain_losses):
    args = f"{PARITY} --shard fsdp --mbs 4 --grad-accum 1 --compile --ac selective"
    (outcome,) = cards.run(cards.stage("llama2_7b"), args=args)
    assert outcome.code == 0, outcome.stderr
    assert outcome.losses == pytest.approx(plain_losses, abs=1e-4)
    assert outcome.metrics["compile_s"] > 1


def test_the_same_seed_gives_the_same_losses_to_the_last_bit(cards, plain_losses):
    args = f"{PARITY} --shard none --mbs 4 --grad-accum 1"
    (outcome,) = cards.run(cards.stage("llama2_7b"), args=args)
    assert outcome.losses == plain_losses


@pytest.mark.long
def test_synthetic_data_needs_no_file_and_attention_kernels_agree(cards):
    args = f"{BROKEN} --data synthetic --attn math --shard none"
    (outcome,) = cards.run(cards.stage("llama2_7b"), args=args)
    assert outcome.code == 0, outcome.stderr
    assert outcome.metrics["loss_first"] == pytest.approx(6.24, abs=0.3)


def test_a_learning_rate_of_zero_fails_the_checks_by_name(cards):
    (outcome,) = cards.run(cards.stage("llama2_7b"), args=f"{BROKEN} --lr 0", nproc=2)
    assert outcome.code != 0
    assert outcome.metrics == {}
    assert "FAILED loss on a fixed batch falls" in outcome.stderr
    assert "FAILED parameters change in the first step: found 0 of 15 tensors changed" in outcome.stderr
    record = json.loads((outcome.folder / "llama2_7b.json").read_text())
    assert record["status"] == "INVALID"
    assert any(reason.startswith("loss on a fixed batch falls: found") for reason in record["invalid_reason"])


@pytest.mark.long  # tests/e2e/test_cards.py has it in a container
def test_a_loader_that_ignores_its_rank_fails(cards):
    folder = cards.stage("llama2_7b")
    cards.patch(folder / "data.py", "* self.world + self.rank)", "* self.world)")
    (outcome,) = cards.run(folder, args=BROKEN, nproc=2)
    assert outcome.code != 0
    assert outcome.metrics == {}
    assert "FAILED every rank saw different data" in outcome.stderr


def test_a_loader_that_knows_only_its_local_rank_fails_on_two_nodes(cards):
    folders = [cards.stage("llama2_7b", name) for name in ("a", "b")]
    for folder in folders:
        cards.patch(
            folder / "job.py",
            "world=world.size, rank=world.rank,",
            "world=world.launch.local_size, rank=world.launch.local_rank,",
        )
    outcomes = cards.run(*folders, args=BROKEN)
    assert all(outcome.code != 0 and outcome.metrics == {} for outcome in outcomes)
    assert "FAILED every rank saw different data" in outcomes[0].stderr


def test_replicas_that_drift_apart_fail(cards):
    folder = cards.stage("llama2_7b")
    cards.patch(folder / "train.py", "meet = last or job.world.size == 1", "meet = False")
    (outcome,) = cards.run(folder, args=f"{BROKEN} --shard ddp", nproc=2)
    assert outcome.code != 0
    assert "FAILED parameters are equal on all ranks" in outcome.stderr


@pytest.mark.long
def test_too_short_a_window_is_no_measurement(cards):
    (outcome,) = cards.run(cards.stage("llama2_7b"), args=f"{BROKEN} --steps 9 --shard none")
    assert outcome.code != 0
    assert "FAILED enough measured steps: found 9, expected at least 10" in outcome.stderr
    assert outcome.metrics == {}


@pytest.mark.long
def test_more_samples_in_a_step_than_the_text_has_is_refused(cards):
    (outcome,) = cards.run(cards.stage("llama2_7b"), args=f"{BROKEN} --grad-accum 100000")
    assert outcome.code != 0
    assert "one step needs 200000 different ones" in outcome.stderr
