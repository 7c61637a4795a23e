"""Llama 2 as published (Touvron et al. 2023): RMSNorm, rotary positions, SwiGLU, no biases, untied head.

    with torch.device("meta"):
        model = Llama(PRESETS["7b"])
    model.to_empty(device="cuda")
    model.init_weights(seed=0)

Query, key and value are one matrix, and so are gate and up: the same parameters and the same mathematics in
two large products instead of five smaller ones.
"""

from __future__ import annotations

import math
import zlib
from functools import partial

import torch
import torch.nn.functional as F
from config import PRESETS, LlamaConfig
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

__all__ = ["PRESETS", "Attention", "Block", "Llama", "LlamaConfig", "rotary_table", "rotate"]


class RMSNorm(nn.Module):
    """Scale by the reciprocal root mean square (Zhang and Sennrich 2019), computed in fp32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


def rotary_table(seq: int, head_dim: int, theta: float, device: torch.device) -> Tensor:
    """cos and sin of position times frequency (Su et al. 2021), fp32, shape [2, seq, head_dim / 2]."""
    frequency = theta ** (-torch.arange(0, head_dim, 2, device=device, dtype=torch.float32) / head_dim)
    angle = torch.outer(torch.arange(seq, device=device, dtype=torch.float32), frequency)
    return torch.stack((angle.cos(), angle.sin()))


def rotate(x: Tensor, table: Tensor) -> Tensor:
    """Turn the pairs (i, i + head_dim / 2) of x [batch, heads, seq, head_dim] by their position's angle.

    In fp32, since bf16 cannot tell angles of neighbouring late positions apart.
    """
    cos, sin = table
    a, b = x.float().chunk(2, dim=-1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), dim=-1).to(x.dtype)


class Attention(nn.Module):
    """Causal self-attention through torch's fused scaled_dot_product_attention."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = config.heads, config.kv_heads, config.head_dim
        self.qkv = nn.Linear(config.dim, (self.heads + 2 * self.kv_heads) * self.head_dim, bias=False)
        self.out = nn.Linear(self.heads * self.head_dim, config.dim, bias=False)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        batch, seq, _ = x.shape
        qkv = self.qkv(x).view(batch, seq, -1, self.head_dim).transpose(1, 2)
        q, k, v = qkv.split((self.heads, self.kv_heads, self.kv_heads), dim=1)
        y = F.scaled_dot_product_attention(
            rotate(q, table), rotate(k, table), v, is_causal=True, enable_gqa=self.kv_heads != self.heads
        )
        return self.out(y.transpose(1, 2).reshape(batch, seq, -1))


class FeedForward(nn.Module):
    """SwiGLU (Shazeer 2020): down(silu(gate x) * up x)."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.dim, 2 * config.ffn, bias=False)
        self.down = nn.Linear(config.ffn, config.dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)


def _keep_products(_: object, operator: object, *args: object, **kwargs: object) -> CheckpointPolicy:
    """Selective recomputation: keep what matrix products and attention kernels made, repeat the rest."""
    name = str(operator)
    kept = name.startswith(("aten.mm", "aten.addmm", "aten.bmm")) or "scaled_dot_product" in name
    return CheckpointPolicy.MUST_SAVE if kept else CheckpointPolicy.PREFER_RECOMPUTE


class Block(nn.Module):
    """One pre-norm transformer layer; the unit that is compiled and sharded."""

    recompute = "none"
    """What backward computes again instead of keeping it: none, selective (all but the products), full."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.attention_norm = RMSNorm(config.dim, config.norm_eps)
        self.attention = Attention(config)
        self.ffn_norm = RMSNorm(config.dim, config.norm_eps)
        self.ffn = FeedForward(config)

    def forward(self, x: Tensor, table: Tensor) -> Tensor:
        # Nothing here draws random numbers, so their state need not be kept.
        if self.recompute == "full":
            return checkpoint(self.layer, x, table, use_reentrant=False, preserve_rng_state=False)
        if self.recompute == "selective":
            contexts = partial(create_selective_checkpoint_contexts, _keep_products)
            return checkpoint(self.layer, x, table, use_reentrant=False, preserve_rng_state=False, context_fn=contexts)
        return self.layer(x, table)

    def layer(self, x: Tensor, table: Tensor) -> Tensor:
        x = x + self.attention(self.attention_norm(x), table)
        return x + self.ffn(self.ffn_norm(x))


class Llama(nn.Module):
    """Token ids [batch, seq] in, logits [batch, seq, vocab] out."""

    def __init__(self, config: LlamaConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab, config.dim)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = RMSNorm(config.dim, config.norm_eps)
        self.head = nn.Linear(config.dim, config.vocab, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        table = rotary_table(tokens.shape[1], self.config.head_dim, self.config.rope_theta, tokens.device)
        x = self.embedding(tokens)
        for block in self.blocks:
            x = block(x, table)
        return self.head(self.norm(x))

    @torch.no_grad()
    def init_weights(self, seed: int) -> None:
        """Fill every parameter; the values depend on `seed` and the parameter's name, not on the sharding.

        Each rank draws whole tensors, one at a time, and keeps its shard. That costs no communication, and
        any number of ranks starts from the same model, which is what makes their losses comparable.
        """
        for name, parameter in self.named_parameters():
            full = _initial_value(name, parameter.shape, self.config, seed, parameter.device)
            if isinstance(parameter, DTensor):
                full = distribute_tensor(full, parameter.device_mesh, parameter.placements, src_data_rank=None)
            parameter.copy_(full)


def _initial_value(name: str, shape: torch.Size, config: LlamaConfig, seed: int, device: torch.device) -> Tensor:
    """Normal with std 0.02; less for what adds to the residual stream (GPT-2) and for the head; norms are 1.

    The head's std gives logits of variance 1/16, so the first loss is ln(vocab) + 1/32 at any width. With
    0.02 it would be ln(vocab) + 0.8 at width 4096, and the first loss could not be checked against ln(vocab).
    """
    if name.endswith("norm.weight"):
        return torch.ones(shape, device=device)
    std = 0.02
    if name == "head.weight":
        std = 0.25 / math.sqrt(config.dim)
    elif name.endswith(("out.weight", "down.weight")):
        std = 0.02 / math.sqrt(2 * config.layers)
    generator = torch.Generator(device).manual_seed(zlib.crc32(f"{seed} {name}".encode()))
    return torch.randn(shape, generator=generator, device=device) * std
