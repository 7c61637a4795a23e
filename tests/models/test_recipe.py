"""The command line of the training card: what is filled in, and what is refused with its reason."""

from __future__ import annotations

import pytest


@pytest.fixture
def recipe(load):
    return load("recipe")


def test_a_preset_fills_in_what_is_not_given(recipe):
    found = recipe.read_recipe(["--preset", "7b", "--mbs", "2"])
    assert (found.seq, found.mbs, found.grad_accum, found.resume, found.reshard) == (4096, 2, 16, "no", "auto")


def test_resume_alone_means_that_there_must_be_a_checkpoint(recipe):
    assert recipe.read_recipe(["--preset", "tiny", "--checkpoint", "d", "--resume"]).resume == "yes"
    assert recipe.read_recipe(["--preset", "tiny", "--checkpoint", "d", "--resume", "auto"]).resume == "auto"


@pytest.mark.parametrize(
    ("args", "text"),
    [
        ("--precision fp8", "float8 products are not implemented"),
        ("--attn flex", "FlexAttention pays for document masks"),
        ("--resume", "need --checkpoint DIR"),
        ("--save-every 5", "need --checkpoint DIR"),
        ("--checkpoint d", "--checkpoint alone does nothing"),
        ("--gbs 8 --grad-accum 2", "--gbs and --grad-accum say the same thing twice"),
        ("--ac budget:1.5", "found 'budget:1.5', allowed: none, selective, full, budget:x with x from 0 to 1"),
        ("--ac budget:x", "found 'budget:x'"),
        ("--ac half", "found 'half'"),
        ("--mbs 0", "found 0, allowed: 1 or more"),
    ],
)
def test_arguments_that_cannot_work_end_with_the_reason(recipe, capsys, args, text):
    with pytest.raises(SystemExit) as ended:
        recipe.read_recipe(["--preset", "tiny", *args.split()])
    assert ended.value.code == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("args", "device", "world", "text"),
    [
        ("--shard none", "cpu", 2, "--shard none trains on one rank; there are 2"),
        ("--attn cudnn", "cpu", 1, "--attn cudnn needs an NVIDIA GPU, the device is cpu"),
        ("--ac budget:0.5", "cpu", 1, "is a choice of the compiler"),
        ("--ac budget:0.5 --no-compile", "cuda", 1, "is a choice of the compiler"),
        ("--gbs 10", "cpu", 2, "--gbs 10 is no multiple of --mbs 4 x 2 ranks = 8"),
        ("--gbs 4", "cpu", 2, "--gbs 4 is no multiple of --mbs 4 x 2 ranks = 8"),
    ],
)
def test_what_cannot_work_on_this_world_is_refused(recipe, args, device, world, text):
    found = recipe.read_recipe(["--preset", "tiny", *args.split()])
    with pytest.raises(recipe.RecipeError) as refused:
        found.on(device=device, world=world)
    assert text in str(refused.value)


def test_the_world_settles_compilation_and_accumulation(recipe):
    found = recipe.read_recipe(["--preset", "tiny", "--gbs", "32"])
    assert (found.on(device="cpu", world=2).grad_accum, found.on(device="cpu", world=2).compile) == (4, False)
    assert found.on(device="cuda", world=8).compile is True


@pytest.mark.parametrize(
    ("budget", "spent", "step", "steps"), [(100, 10, 1, 80), (100, 10, 0.5, 100), (100, 89, 1, 1), (100, 95, 1, -5)]
)
def test_a_budget_shortens_the_window_and_leaves_time_for_the_checks(recipe, budget, spent, step, steps):
    assert recipe.steps_within(budget, spent, step, 100) == steps
