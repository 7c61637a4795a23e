"""From a recipe to a model on its ranks: does it fit, then sharding, precision, compilation, attention kernels."""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from bench import World, gather
from capacity import Capacity, host_capacity
from data import DataError, FileText, SyntheticText, Text
from memory import GIB, Layout, Prediction, choose_reshard, predict
from model import PRESETS, Llama
from recipe import Recipe, RecipeError
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

# By measured speed on current GPUs; each is taken where the device and the shapes allow it.
GPU_ATTENTION = (
    SDPBackend.CUDNN_ATTENTION,
    SDPBackend.FLASH_ATTENTION,
    SDPBackend.EFFICIENT_ATTENTION,
    SDPBackend.MATH,
)
ATTENTION = {
    "cudnn": SDPBackend.CUDNN_ATTENTION,
    "flash": SDPBackend.FLASH_ATTENTION,
    "math": SDPBackend.MATH,
}


def open_text(recipe: Recipe, world: World) -> Text:
    """The samples, enough of them for one step without a repeat."""
    needed = recipe.samples_per_rank * world.size
    if recipe.data == "synthetic":
        samples = needed * recipe.total_steps
        return SyntheticText(samples, recipe.seq, PRESETS[recipe.preset].vocab, recipe.seed)
    if "MAD_DATAHOME" not in os.environ:
        raise SystemExit("MAD_DATAHOME is not set; it must name the folder of the text, or use --data synthetic")
    try:
        text = FileText(Path(os.environ["MAD_DATAHOME"]), recipe.seq)
    except DataError as error:
        raise SystemExit(str(error)) from None
    if len(text) < needed:
        raise SystemExit(
            f"the text has {len(text)} samples at --seq {recipe.seq}, one step needs {needed} "
            "different ones: use fewer ranks, a smaller --mbs or --grad-accum, or --data synthetic"
        )
    return text


def shard_size(recipe: Recipe, world: World) -> int:
    """Ranks that share one copy of the parameters."""
    return {"fsdp": world.size, "hsdp": world.launch.local_size}.get(recipe.shard, 1)


def layout_of(recipe: Recipe, world: World) -> Layout:
    """What the prediction of memory has to know, with gathered parameters given back as the recipe says."""
    return Layout(
        seq=recipe.seq,
        mbs=recipe.mbs,
        grad_accum=recipe.grad_accum,
        world=world.size,
        shard=recipe.shard,
        shard_size=shard_size(recipe, world),
        bf16=recipe.precision == "bf16",
        optim_bytes=2 if recipe.optim_state == "bf16" else 4,
        ac=recipe.ac,
        compiled=bool(recipe.compile),
        reshard=recipe.reshard != "never",
        math_attention=recipe.attn == "math",
        gpu=world.device.type == "cuda",
    )


def plan_memory(recipe: Recipe, world: World) -> tuple[Recipe, Prediction, Capacity | None]:
    """The recipe with --reshard settled, the predicted peak of a rank, and what the tightest rank has for it.

    Ends the program on every rank, with the numbers, where the peak would not fit on one of them.
    """
    config, layout = PRESETS[recipe.preset], layout_of(recipe, world)
    found = [capacity for capacity in gather(world, rank_capacity(world)) if capacity is not None]
    tightest = min(found, key=lambda capacity: capacity.free, default=None)
    if recipe.reshard == "auto":
        always = tightest is not None and choose_reshard(config, layout, tightest.free)
        recipe = replace(recipe, reshard="always" if always else "never")
        layout = layout_of(recipe, world)
    prediction = predict(config, layout)
    if recipe.memory_check and tightest is not None and prediction.total > tightest.free:
        if world.rank == 0:
            print(refusal(recipe, prediction, tightest), flush=True)
        raise SystemExit(2)
    return recipe, prediction, tightest


def refusal(recipe: Recipe, prediction: Prediction, capacity: Capacity) -> str:
    """Why the run is not started, in numbers, and what would need less."""
    return (
        f"REFUSED: {recipe.preset} would need {prediction.total / GIB:.3f} GiB on each rank, "
        f"{capacity.free / GIB:.3f} GiB are free ({capacity.limit})\n{prediction.table()}\n"
        "  less is needed with: more ranks (fsdp), a smaller --mbs or --seq, --ac selective or full, "
        "--optim-state bf16;\n  --no-memory-check starts it all the same"
    )


def rank_capacity(world: World) -> Capacity | None:
    """Bytes this rank may take: what its GPU has free, or its share of what the host has."""
    if world.device.type == "cuda":
        return Capacity(torch.cuda.mem_get_info(world.device)[0], "free on the GPU")
    capacity = host_capacity()
    share = world.launch.local_size
    if capacity is None or share == 1:
        return capacity
    return Capacity(capacity.free // share, f"a share of 1/{share} of {capacity.limit}")


def build_model(recipe: Recipe, world: World) -> tuple[nn.Module, Llama]:
    """The model as it is called, and the Llama in it, with its first weights; under FSDP no rank holds all of it."""
    with torch.device("meta"):
        model = Llama(PRESETS[recipe.preset])
    if recipe.ac.startswith("budget:"):
        torch._functorch.config.activation_memory_budget = float(recipe.ac[len("budget:") :])
    for block in model.blocks:
        block.recompute = recipe.ac
        if recipe.compile:
            block.compile(fullgraph=True)
    if recipe.shard in ("fsdp", "hsdp"):
        shard_model(model, recipe, build_mesh(recipe, world))
    model.to_empty(device=world.device)
    model.init_weights(recipe.seed)
    if recipe.shard == "ddp":
        return DistributedDataParallel(model, gradient_as_bucket_view=True), model
    return model, model


def build_mesh(recipe: Recipe, world: World) -> DeviceMesh:
    """All ranks in a row for fsdp; for hsdp a row for each node: sharded along it, replicated across."""
    if recipe.shard == "fsdp":
        return init_device_mesh(world.device.type, (world.size,), mesh_dim_names=("shard",))
    size = shard_size(recipe, world)
    sizes = sorted(set(gather(world, world.launch.local_size)))
    if sizes != [size]:
        raise RecipeError(f"--shard hsdp wants as many ranks on each node; found nodes with {sizes}")
    return init_device_mesh(world.device.type, (world.size // size, size), mesh_dim_names=("replicate", "shard"))


def shard_model(model: Llama, recipe: Recipe, mesh: DeviceMesh) -> None:
    """FSDP2: each block is one unit of gathering and scattering, the root holds the rest."""
    policy = MixedPrecisionPolicy()
    if recipe.precision == "bf16":
        # The embedding already makes bf16 activations; casting inputs would also cut the rotary table to bf16.
        policy = MixedPrecisionPolicy(torch.bfloat16, torch.float32, cast_forward_inputs=False)
    for block in model.blocks:
        fully_shard(block, mesh=mesh, mp_policy=policy, reshard_after_forward=recipe.reshard == "always")
    fully_shard(model, mesh=mesh, mp_policy=policy, reshard_after_forward=False)


def products_in(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """Mixed precision where FSDP does not do it itself: autocast."""
    if recipe.shard in ("fsdp", "hsdp") or recipe.precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


def attention_in(recipe: Recipe, device: torch.device) -> AbstractContextManager[object]:
    """The choice of attention kernel; on a CPU `auto` leaves it to torch."""
    if recipe.attn != "auto":
        return sdpa_kernel(ATTENTION[recipe.attn])
    return sdpa_kernel(list(GPU_ATTENTION), set_priority=True) if device.type == "cuda" else nullcontext()
