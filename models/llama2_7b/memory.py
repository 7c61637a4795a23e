"""How much memory one rank will need at its peak, worked out before anything is allocated. No torch.

    prediction = predict(PRESETS["7b"], Layout(seq=4096, mbs=1, ...))
    print(prediction.table())

Arithmetic over the model's shape: the states of training, and what forward keeps for backward. The terms were read
off the allocations of real steps on CPU (torch 2.13); tests hold the sum against the peak of such steps.
A kept tensor's size follows from the operators of model.py, so a change there belongs here too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from config import LlamaConfig

GIB = 2**30
FP32, BF16 = 4, 2  # bytes
GPU_RESERVE = 2 * GIB  # estimate: workspaces of the libraries, buffers of NCCL, what the allocator cannot reuse
NEAR = 0.95  # of the capacity: what is a matter of choice stays below it

# Share of the compiled activations that torch's `activation_memory_budget` leaves, for a layer of the 7b shape:
# 19.3 GiB without a budget, then 14.6, 12.6, 7.6, 6.2, 1.2 (saved-tensor hooks, CPU).
BUDGET_SHARE = ((0.0, 0.062), (0.2, 0.321), (0.5, 0.394), (0.7, 0.653), (0.9, 0.756), (1.0, 1.0))


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Everything besides the model's shape that decides how much memory a rank needs."""

    seq: int
    mbs: int
    grad_accum: int
    world: int
    shard: str
    """none, ddp, fsdp or hsdp."""
    shard_size: int
    """Ranks that share one copy of the parameters: 1 for none and ddp."""
    bf16: bool
    optim_bytes: int
    """Bytes of each of AdamW's two moments: 4 or 2."""
    ac: str
    """none, selective, full or budget:x."""
    compiled: bool
    reshard: bool
    """FSDP gives the gathered parameters of a layer back after each use."""
    math_attention: bool
    gpu: bool


@dataclass(frozen=True)
class Part:
    """One share of the peak: what it is, how many bytes, by which formula."""

    name: str
    size: int
    formula: str


@dataclass(frozen=True)
class Prediction:
    """The peak of one rank, part by part, at the moment of a step at which it is highest."""

    moment: str
    parts: tuple[Part, ...]

    @property
    def total(self) -> int:
        """Bytes."""
        return sum(part.size for part in self.parts)

    def table(self) -> str:
        """The parts in GiB (MiB where all is small), one a line, with their formulas; the total last."""
        unit, divisor = ("GiB", GIB) if self.total >= GIB else ("MiB", 2**20)
        rows = [*self.parts, Part(f"total, {self.moment}", self.total, "")]
        return "\n".join(
            f"  {part.size / divisor:9.3f} {unit}  {part.name:<28} {part.formula}".rstrip() for part in rows
        )


def predict(config: LlamaConfig, layout: Layout) -> Prediction:
    """The largest of the three moments of a step that can be the peak."""
    moments = (
        Prediction("as backward begins", _as_backward_begins(config, layout)),
        Prediction("as backward ends", _as_backward_ends(config, layout)),
        Prediction("in the optimizer", _in_the_optimizer(config, layout)),
    )
    return max(moments, key=lambda moment: moment.total)


def choose_reshard(config: LlamaConfig, layout: Layout, capacity: int) -> bool:
    """Whether FSDP must give gathered parameters back: only where keeping them would come near `capacity` bytes."""
    return predict(config, replace(layout, reshard=False)).total > NEAR * capacity


def _states(config: LlamaConfig, layout: Layout) -> list[Part]:
    params, n = config.params, layout.shard_size
    parts = [
        Part("parameters", FP32 * params // n, f"4 B x {params} / {n}"),
        Part("optimizer states", 2 * layout.optim_bytes * params // n, f"{2 * layout.optim_bytes} B x {params} / {n}"),
    ]
    if layout.gpu:
        parts.append(Part("libraries and allocator", GPU_RESERVE, "an estimate"))
    return parts


def _as_backward_begins(config: LlamaConfig, layout: Layout) -> tuple[Part, ...]:
    """Of the last micro-batch: all activations are kept, and gradients of the micro-batches before it."""
    tokens = layout.seq * layout.mbs
    kept = int(_kept_per_token(config, layout) * tokens)
    # The products of the loss: log-softmax, its gradient, the gradient of the logits. Later, with
    # recomputation, the activations of the one layer at work.
    logits, layer = 3 * FP32 * config.vocab * tokens, int(_recomputed_per_token(config, layout) * tokens)
    work = Part("logits and loss", logits, f"12 B x {config.vocab} x {tokens} tokens")
    if layer > logits:
        work = Part("layer computed again", layer, f"{layer // tokens} B x {tokens} tokens")
    gradients = _waiting_gradients(config, layout)
    return (
        *_states(config, layout),
        Part("gradients", gradients, "4 B each, of the micro-batches before" if gradients else "none yet"),
        _copies(config, layout),
        Part("activations", kept, f"{kept // tokens} B x {tokens} tokens, {config.layers} layers"),
        work,
    )


def _as_backward_ends(config: LlamaConfig, layout: Layout) -> tuple[Part, ...]:
    """All gradients are there, and those of embedding and head are being added up or sent."""
    root, accumulates = FP32 * config.root_params, layout.grad_accum > 1
    if layout.shard in ("fsdp", "hsdp"):
        gradients = FP32 * config.params // layout.shard_size
        work = root + (root // layout.shard_size if accumulates else 0)
        if layout.world > 1 and accumulates:
            work += root  # the whole gradients of the micro-batches before
        copies = 0 if layout.reshard else _element(layout) * config.params
    else:
        gradients = max(FP32 * config.params, _waiting_gradients(config, layout))
        work = FP32 * config.vocab * config.dim if accumulates or layout.shard == "ddp" else 0
        copies = 0
    return (
        *_states(config, layout),
        Part("gradients", gradients, f"4 B x {config.params} / {layout.shard_size}"),
        Part("whole parameters", copies, "gathered"),
        Part("gradients on their way", work, "of embedding and head"),
    )


def _in_the_optimizer(config: LlamaConfig, layout: Layout) -> tuple[Part, ...]:
    largest = max(config.vocab * config.dim, 2 * config.ffn * config.dim)
    # bf16 moments are worked on in fp32, one parameter at a time.
    work = 2 * FP32 * largest // layout.shard_size if layout.optim_bytes == BF16 else 0
    return (
        *_states(config, layout),
        Part("gradients", FP32 * config.params // layout.shard_size, f"4 B x {config.params} / {layout.shard_size}"),
        Part("moments in fp32", work, f"8 B x {largest} / {layout.shard_size}" if work else "none"),
    )


def _waiting_gradients(config: LlamaConfig, layout: Layout) -> int:
    """Bytes of gradients that are there when the last micro-batch's backward begins."""
    if layout.shard == "ddp":
        # The buckets, from the start; what is accumulated before they meet is kept beside them.
        return FP32 * config.params * (1 if layout.grad_accum == 1 else 2)
    if layout.grad_accum == 1:
        return 0
    # Between micro-batches nothing is sent on several ranks, so each keeps whole gradients.
    whole = layout.world > 1 or layout.shard == "none"
    return FP32 * config.params // (1 if whole else layout.shard_size)


def _copies(config: LlamaConfig, layout: Layout) -> Part:
    """Parameters in the form the products need: gathered by FSDP, or cast by autocast and kept for backward."""
    if layout.shard in ("fsdp", "hsdp"):
        count = config.root_params if layout.reshard else config.params
        return Part("whole parameters", _element(layout) * count, f"{_element(layout)} B x {count}, gathered")
    count = config.matmul_params if layout.bf16 else 0
    return Part("parameters in bf16", BF16 * count, f"2 B x {count}, cast" if count else "none: fp32")


def _element(layout: Layout) -> int:
    """Bytes of an element of activations and gathered parameters."""
    return BF16 if layout.bf16 else FP32


def _stream(layout: Layout) -> int:
    """Bytes of an element of the residual stream: autocast leaves it in fp32."""
    return BF16 if layout.bf16 and layout.shard in ("fsdp", "hsdp") else FP32


def _kept_per_token(config: LlamaConfig, layout: Layout) -> float:
    """Bytes that all layers and the last norm keep of one token from forward to backward."""
    last_norm = _norm(config, layout)
    if layout.ac == "full":
        return config.layers * _stream(layout) * config.dim + last_norm
    if layout.ac == "selective":
        return config.layers * _products(config, layout) + last_norm
    if layout.ac.startswith("budget:"):
        return config.layers * _layer(config, layout) * budget_share(float(layout.ac[len("budget:") :])) + last_norm
    return config.layers * _layer(config, layout) + last_norm


def _recomputed_per_token(config: LlamaConfig, layout: Layout) -> float:
    """Bytes of the one layer that backward has just computed again."""
    return 0 if layout.ac == "none" else _layer(config, layout)


def _norm(config: LlamaConfig, layout: Layout) -> float:
    """RMSNorm, eager: input and normalized input in fp32, output, and the reciprocal root."""
    return (2 * FP32 + _element(layout)) * config.dim + FP32


def _attention(config: LlamaConfig, layout: Layout) -> float:
    """qkv whole (for v), q and k turned, the result in two layouts, log-sum-exp; scores where they are kept."""
    q, kv = config.heads * config.head_dim, config.kv_heads * config.head_dim
    kept = _element(layout) * ((q + 2 * kv) + (q + kv) + 2 * q) + FP32 * config.heads
    if layout.math_attention:
        kept += _element(layout) * config.heads * layout.seq
    return kept


def _layer(config: LlamaConfig, layout: Layout) -> float:
    """One layer, without recomputation. Compiled, the norms keep less and silu(gate) is not kept."""
    element = _element(layout)
    if layout.compiled:
        norms = 2 * ((_stream(layout) + element) * config.dim + FP32)
        return norms + _attention(config, layout) + element * 3 * config.ffn
    return 2 * _norm(config, layout) + _attention(config, layout) + element * 4 * config.ffn


def _products(config: LlamaConfig, layout: Layout) -> float:
    """One layer that keeps its input and the results of its four products and of attention alone."""
    q, kv, element = config.heads * config.head_dim, config.kv_heads * config.head_dim, _element(layout)
    products = (q + 2 * kv) + q + config.dim + 2 * config.ffn + config.dim
    return _stream(layout) * config.dim + element * products + FP32 * config.heads


def budget_share(budget: float) -> float:
    """The share of compiled activations kept under a budget of 0 to 1, linear between measured points."""
    for (x0, y0), (x1, y1) in zip(BUDGET_SHARE, BUDGET_SHARE[1:], strict=False):
        if budget <= x1:
            return y0 + (y1 - y0) * (budget - x0) / (x1 - x0)
    return 1.0
