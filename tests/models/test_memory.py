"""The predicted peak of memory against measured ones, and the arithmetic of capacities and choices."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from pathlib import Path

import pytest

GIB = 2**30
# Allocator: the steps really ran. Fake: on tensors that have shapes but no memory (the larger models fit nowhere here).
ONE_RANK = ("--preset tiny", "--preset tiny --shard none", "--preset 160m --seq 64 --mbs 1 --grad-accum 2 --shard none")
TWO_RANKS = (
    "--preset tiny",
    "--preset tiny --reshard always",
    "--preset tiny --precision fp32",
    "--preset tiny --grad-accum 1",
    "--preset tiny --shard ddp --grad-accum 1",
    "--preset tiny --shard hsdp",
)
FAKE = (
    "--preset tiny",
    "--preset tiny --shard none",
    "--preset tiny --optim-state bf16",
    "--preset tiny --ac full",
    "--preset tiny --ac selective",
    "--preset tiny --attn math --shard none",
    "--preset 160m --mbs 1",
    "--preset 1b --mbs 1 --grad-accum 2",
    "--preset 7b --grad-accum 2 --reshard always",
)


@pytest.fixture(scope="module")
def measured(shared_cards):
    """Measured and predicted peaks by command line, each set of them measured once."""
    return functools.cache(functools.partial(metered, shared_cards))


def metered(cards, method: str, lines: tuple[str, ...], nproc: int) -> dict[str, dict[str, int]]:
    folder = cards.stage("llama2_7b", f"{method}{nproc}")
    (folder / "memory_meter.py").write_text((Path(__file__).parent / "memory_meter.py").read_text())
    start = ["torchrun", "--nproc_per_node", str(nproc), "--master_port", str(cards.free_port())]
    command = [sys.executable] if nproc == 1 else start
    outcome = cards.wait(cards.start(folder, [*command, "memory_meter.py", method, "out.json", *lines], {}), folder)
    assert outcome.code == 0, outcome.stderr
    return json.loads((folder / "out.json").read_text())


@pytest.mark.torch
@pytest.mark.beside
@pytest.mark.parametrize(
    ("method", "lines", "nproc"),
    [
        ("allocator", ONE_RANK, 1),
        pytest.param("allocator", TWO_RANKS, 2, marks=pytest.mark.long),
        pytest.param("fake", FAKE, 1, marks=pytest.mark.long),
    ],
    ids=["one rank", "two ranks", "fake tensors"],
)
def test_the_prediction_is_within_a_tenth_of_the_measured_peak(measured, method, lines, nproc):
    found = measured(method, lines, nproc)
    assert set(found) == set(lines)
    ratios = {line: sizes["predicted"] / sizes["measured"] for line, sizes in found.items()}
    assert ratios == {line: pytest.approx(1, abs=0.1) for line in lines}, found


@pytest.mark.torch
@pytest.mark.beside
def test_fake_tensors_measure_what_the_allocator_does(measured):
    """Which is what makes the measurements of the models that fit nowhere here worth something."""
    for line in set(ONE_RANK) & set(FAKE):
        real, fake = measured("allocator", ONE_RANK, 1)[line], measured("fake", FAKE, 1)[line]
        assert fake["measured"] == pytest.approx(real["measured"], rel=1e-3)


@pytest.mark.torch
def test_a_run_that_cannot_fit_is_refused_with_its_numbers(cards):
    folder = cards.stage("llama2_7b")
    command = [sys.executable, "train.py", "--preset", "7b", "--data", "synthetic", "--mbs", "512"]
    outcome = cards.wait(cards.start(folder, command, {}), folder)
    assert outcome.code == 2
    assert "REFUSED: 7b would need" in outcome.stdout
    assert "optimizer states             8 B x 6738415616 / 1" in outcome.stdout
    assert "total, as backward begins" in outcome.stdout
    assert outcome.metrics == {}


@pytest.fixture
def h200(load):
    """Layout and prediction of the 7b on one H200, compiled."""
    memory, presets = load("memory"), load("config").PRESETS
    base = memory.Layout(
        seq=4096, mbs=1, grad_accum=16, world=1, shard="fsdp", shard_size=1, bf16=True, optim_bytes=4, ac="none",
        compiled=True, reshard=True, math_attention=False, gpu=True,
    )  # fmt: skip
    return lambda **changes: memory.predict(presets["7b"], dataclasses.replace(base, **changes))


def test_the_7b_on_one_h200_needs_what_the_reference_says(h200):
    parts = {part.name: part.size / GIB for part in h200().parts}
    assert parts["parameters"] + parts["optimizer states"] + parts["gradients"] == pytest.approx(100.4, abs=0.1)
    assert parts["activations"] == pytest.approx(19.3, abs=0.1)
    assert h200().total / GIB == pytest.approx(124, abs=1)


def test_sharding_divides_the_states_and_recomputation_the_activations(h200):
    def part(prediction, name):
        return {part.name: part.size for part in prediction.parts}[name]

    eight = h200(world=8, shard_size=8)
    assert part(eight, "optimizer states") == part(h200(), "optimizer states") // 8
    # Without synchronization between micro-batches every rank keeps whole gradients.
    assert part(eight, "gradients") == part(h200(), "gradients")
    assert part(h200(optim_bytes=2), "optimizer states") * 2 == part(h200(), "optimizer states")
    sizes = [part(h200(ac=ac), "activations") for ac in ("none", "budget:0.9", "budget:0.5", "budget:0.1", "full")]
    assert sizes == sorted(sizes, reverse=True)
    assert part(h200(mbs=2), "activations") == pytest.approx(2 * part(h200(), "activations"), rel=1e-6)


def test_gathered_parameters_are_kept_only_where_they_fit(load, h200):
    memory, config = load("memory"), load("config").PRESETS["7b"]
    layout = memory.Layout(
        seq=4096, mbs=1, grad_accum=16, world=1, shard="fsdp", shard_size=1, bf16=True, optim_bytes=4, ac="none",
        compiled=True, reshard=True, math_attention=False, gpu=True,
    )  # fmt: skip
    assert memory.choose_reshard(config, layout, int(139 * GIB))
    assert not memory.choose_reshard(config, layout, int(190 * GIB))


def test_the_table_adds_up(h200):
    prediction = h200()
    sizes = [float(line.split()[0]) for line in prediction.table().splitlines()]
    assert sum(sizes[:-1]) == pytest.approx(sizes[-1], abs=0.01)


@pytest.mark.parametrize(
    ("budget", "share"), [(0, 0.062), (1, 1), (0.5, 0.394), (0.6, (0.394 + 0.653) / 2), (0.95, 0.878)]
)
def test_a_budget_keeps_a_share_between_the_measured_points(load, budget, share):
    assert load("memory").budget_share(budget) == pytest.approx(share, abs=1e-3)
