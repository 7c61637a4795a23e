"""How one run trains: the command line, with each preset's defaults filled in."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass

# What each preset trains with, where the command line does not say otherwise.
DEFAULTS = {
    "tiny": {"seq": 128, "mbs": 4, "grad_accum": 2, "lr": 1e-3, "warmup": 5, "steps": 30},
    "160m": {"seq": 2048, "mbs": 8, "grad_accum": 2, "lr": 6e-4, "warmup": 10, "steps": 30},
    "1b": {"seq": 2048, "mbs": 4, "grad_accum": 4, "lr": 4e-4, "warmup": 10, "steps": 30},
    "7b": {"seq": 4096, "mbs": 1, "grad_accum": 16, "lr": 3e-4, "warmup": 10, "steps": 30},
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The command line, complete: how one run trains."""

    preset: str
    steps: int
    warmup: int
    seq: int
    mbs: int
    grad_accum: int
    lr: float
    seed: int
    precision: str
    shard: str
    compile: bool | None
    """None: where it pays, which is on a GPU."""
    data: str
    attn: str
    timeout_s: float

    @property
    def samples_per_rank(self) -> int:
        """Samples one rank feeds to one optimizer step."""
        return self.mbs * self.grad_accum

    @property
    def total_steps(self) -> int:
        return self.warmup + self.steps


def read_recipe(argv: Sequence[str] | None = None) -> Recipe:
    """The command line with the preset's defaults filled in; a wrong one ends the program, as argparse does."""
    arguments = vars(_parser().parse_args(argv))
    given = {name: value for name, value in arguments.items() if value is not None}
    return Recipe(**(DEFAULTS[given["preset"]] | {"compile": None} | given))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Pre-train a Llama 2 for some steps and say how fast.")
    option = parser.add_argument
    option("--preset", choices=DEFAULTS, required=True, help="size of the model")
    option("--steps", type=_positive, help="measured optimizer steps")
    option("--warmup", type=_positive, help="steps before them, over which the learning rate ramps up")
    option("--seq", type=_positive, help="tokens of a sample")
    option("--mbs", type=_positive, help="samples of a micro-batch, on each rank")
    option("--grad-accum", type=_positive, help="micro-batches of an optimizer step")
    option("--lr", type=float, help="learning rate after the ramp")
    option("--seed", type=int, default=0, help="of the weights and of the order of the data (0)")
    option("--precision", choices=("bf16", "fp32"), default="bf16", help="of the products (bf16)")
    option("--shard", choices=("fsdp", "ddp", "none"), default="fsdp", help="none is for one rank (fsdp)")
    option("--compile", action=argparse.BooleanOptionalAction, help="torch.compile (yes on a GPU)")
    option("--data", choices=("file", "synthetic"), default="file", help="file: the text in $MAD_DATAHOME")
    option("--attn", choices=("auto", "cudnn", "flash", "math"), default="auto", help="kernel (auto: fastest)")
    option("--timeout-s", type=float, default=180, help="longest wait for another rank (180)")
    return parser


def _positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"found {value}, allowed: 1 or more")
    return value
