"""How one run trains: the command line, with each preset's defaults filled in."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace

# What each preset trains with, where the command line does not say otherwise.
DEFAULTS = {
    "tiny": {"seq": 128, "mbs": 4, "grad_accum": 2, "lr": 1e-3, "warmup": 5, "steps": 30},
    "160m": {"seq": 2048, "mbs": 8, "grad_accum": 2, "lr": 6e-4, "warmup": 10, "steps": 30},
    "1b": {"seq": 2048, "mbs": 4, "grad_accum": 4, "lr": 4e-4, "warmup": 10, "steps": 30},
    "7b": {"seq": 4096, "mbs": 1, "grad_accum": 16, "lr": 3e-4, "warmup": 10, "steps": 30},
}
MIN_WINDOW_STEPS = 10  # fewer say nothing about the median, let alone the tail
SAFETY = 0.9  # of a time budget: the rest is for the checks after the last step

# Known names that cannot work here, and why: naming the reason beats "invalid choice".
REFUSED = {
    ("precision", "fp8"): "float8 products are not implemented: they need a GPU and torch.compile, and no test "
    "on a CPU could tell right from wrong; allowed: bf16, fp32",
    ("attn", "flex"): "FlexAttention pays for document masks, and here is none; on a CPU torch has no backward "
    "for it, so it could not be tested; allowed: auto, cudnn, flash, math",
}


class RecipeError(Exception):
    """The arguments cannot work together on this world; the text says which, and what is allowed."""


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """The command line, complete: how one run trains."""

    preset: str
    steps: int
    warmup: int
    seq: int
    mbs: int
    grad_accum: int
    gbs: int | None
    lr: float
    seed: int
    precision: str
    optim_state: str
    shard: str
    reshard: str
    ac: str
    compile: bool | None
    """None: where it pays, which is on a GPU."""
    data: str
    attn: str
    deterministic: bool
    checkpoint: str | None
    save_every: int | None
    keep: int
    resume: str
    budget_s: float | None
    mamf_tflops: float | None
    memory_check: bool
    out: str
    timeout_s: float

    @property
    def samples_per_rank(self) -> int:
        """Samples one rank feeds to one optimizer step."""
        return self.mbs * self.grad_accum

    @property
    def total_steps(self) -> int:
        return self.warmup + self.steps

    def on(self, *, device: str, world: int) -> Recipe:
        """The recipe for a world of so many ranks on this type of device ("cpu", "cuda").

        Settles `compile` and, where --gbs is given, the accumulation. Raises RecipeError for what cannot work.
        """
        compiled = device == "cuda" if self.compile is None else self.compile
        if self.shard == "none" and world > 1:
            raise RecipeError(f"--shard none trains on one rank; there are {world}, allowed: fsdp, hsdp, ddp")
        if self.ac.startswith("budget:") and not compiled:
            raise RecipeError(f"--ac {self.ac} is a choice of the compiler; give --compile, or --ac selective or full")
        if self.attn == "cudnn" and device != "cuda":
            raise RecipeError(f"--attn cudnn needs an NVIDIA GPU, the device is {device}; allowed: auto, flash, math")
        grad_accum = self.grad_accum
        if self.gbs is not None:
            grad_accum, rest = divmod(self.gbs, self.mbs * world)
            if rest or not grad_accum:
                raise RecipeError(
                    f"--gbs {self.gbs} is no multiple of --mbs {self.mbs} x {world} ranks = {self.mbs * world}"
                )
        return replace(self, compile=compiled, grad_accum=grad_accum)


def read_recipe(argv: Sequence[str] | None = None) -> Recipe:
    """The command line with the preset's defaults filled in; a wrong one ends the program, as argparse does."""
    parser = _parser()
    arguments = vars(parser.parse_args(argv))
    for (name, value), reason in REFUSED.items():
        if arguments[name] == value:
            parser.error(f"--{name} {value}: {reason}")
    if arguments["checkpoint"] is None and (arguments["save_every"] or arguments["resume"] != "no"):
        parser.error("--save-every and --resume need --checkpoint DIR, a folder all ranks see that outlives the run")
    if arguments["checkpoint"] and not arguments["save_every"] and arguments["resume"] == "no":
        parser.error("--checkpoint alone does nothing; give --save-every N, or --resume")
    if arguments["gbs"] is not None and arguments["grad_accum"] is not None:
        parser.error("--gbs and --grad-accum say the same thing twice; give one of them")
    optional = {"compile", "gbs", "checkpoint", "save_every", "budget_s", "mamf_tflops"}
    given = {name: value for name, value in arguments.items() if value is not None or name in optional}
    return Recipe(**(DEFAULTS[given["preset"]] | given))


def steps_within(budget_s: float, spent_s: float, step_s: float, wanted: int) -> int:
    """Measured steps, at most `wanted`, that end before the budget does; 0 or less where there is no time left."""
    return min(wanted, int((SAFETY * budget_s - spent_s) / step_s))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Pre-train a Llama 2 for some steps and say how fast.")
    option, switch = parser.add_argument, argparse.BooleanOptionalAction
    option("--preset", choices=DEFAULTS, required=True, help="size of the model")
    option("--steps", type=_positive, help="measured optimizer steps")
    option("--warmup", type=_positive, help="steps before them, over which the learning rate ramps up")
    option("--seq", type=_positive, help="tokens of a sample")
    option("--mbs", type=_positive, help="samples of a micro-batch, on each rank")
    option("--grad-accum", type=_positive, help="micro-batches of an optimizer step")
    option("--gbs", type=_positive, help="samples of an optimizer step over all ranks, in place of --grad-accum")
    option("--lr", type=float, help="learning rate after the ramp")
    option("--seed", type=int, default=0, help="of the weights and of the order of the data (0)")
    option("--precision", choices=("bf16", "fp32", "fp8"), default="bf16", help="of the products (bf16)")
    option("--optim-state", choices=("fp32", "bf16"), default="fp32", help="type of AdamW's moments (fp32)")
    option("--shard", choices=("fsdp", "hsdp", "ddp", "none"), default="fsdp", help="hsdp: within nodes (fsdp)")
    option("--reshard", choices=("auto", "always", "never"), default="auto", help="auto: never, where that fits")
    option("--ac", type=_recomputation, default="none", help="none, selective, full or budget:x (none)")
    option("--compile", action=switch, help="torch.compile (yes on a GPU)")
    option("--data", choices=("file", "synthetic"), default="file", help="file: the text in $MAD_DATAHOME")
    option("--attn", choices=("auto", "cudnn", "flash", "flex", "math"), default="auto", help="kernel (auto: fastest)")
    option("--deterministic", action="store_true", help="only operators that repeat to the last bit")
    option("--checkpoint", metavar="DIR", help="where checkpoints are; all ranks must see it")
    option("--save-every", type=_positive, metavar="N", help="save after every N steps, and after the last")
    option("--keep", type=_positive, default=2, metavar="N", help="the newest N checkpoints stay (2)")
    option(
        "--resume", nargs="?", const="yes", choices=("no", "yes", "auto"), default="no", help="auto: if there is one"
    )
    option("--budget-s", type=float, metavar="S", help="shorten the measured window to end within S seconds")
    option("--mamf-tflops", type=float, metavar="X", help="best product rate measured on this GPU, for mamf_pct")
    option("--memory-check", action=switch, default=True, help="refuse a run that cannot fit (yes)")
    option("--out", default=".", metavar="DIR", help="where steps.csv and llama2_7b.json go (.)")
    option("--timeout-s", type=float, default=180, help="longest wait for another rank (180)")
    return parser


def _positive(text: str) -> int:
    """A whole number above 0, for argparse."""
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"found {value}, allowed: 1 or more")
    return value


def _recomputation(text: str) -> str:
    """A way of activation recomputation, for argparse."""
    allowed = "allowed: none, selective, full, budget:x with x from 0 to 1"
    if text in ("none", "selective", "full"):
        return text
    kind, _, share = text.partition(":")
    try:
        if kind == "budget" and 0 <= float(share) <= 1:
            return f"budget:{float(share)}"
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"found {text!r}, {allowed}")
