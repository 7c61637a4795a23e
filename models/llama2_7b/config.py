"""The shapes of the models, and what follows from a shape by arithmetic: parameters and FLOPs. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LlamaConfig:
    """The shape of one model. `kv_heads` below `heads` is grouped-query attention."""

    dim: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int
    vocab: int
    rope_theta: float = 10000.0
    norm_eps: float = 1e-5

    @property
    def head_dim(self) -> int:
        return self.dim // self.heads

    @property
    def block_params(self) -> int:
        """Parameters of one layer, its two norms included."""
        return (self.matmul_params - self.vocab * self.dim) // self.layers + 2 * self.dim

    @property
    def root_params(self) -> int:
        """Parameters outside the layers: embedding, last norm, head."""
        return 2 * self.vocab * self.dim + self.dim

    @property
    def params(self) -> int:
        """All parameters."""
        return self.layers * self.block_params + self.root_params

    @property
    def matmul_params(self) -> int:
        """N_mm: parameters that take part in a matrix product per token: all but the embedding and the norms.

        The embedding is a table look-up; the head is a product and counts.
        """
        attention = self.dim * self.head_dim * (2 * self.heads + 2 * self.kv_heads)
        return self.layers * (attention + 3 * self.dim * self.ffn) + self.vocab * self.dim

    def train_flops_per_token(self, seq: int, *, causal: bool) -> float:
        """Floating-point operations of forward and backward for one token of a sequence of `seq`.

        6 N_mm + c L (heads head_dim) seq. c = 12 counts the whole attention matrix (PaLM, Chowdhery et al.
        2022, appendix B), c = 6 only the causal half that is needed (Megatron-LM). Recomputation, softmax
        and norms are not counted.
        """
        return 6.0 * self.matmul_params + attention_factor(causal) * self.layers * self.heads * self.head_dim * seq

    def recompute_flops_per_token(self, seq: int, ac: str, *, causal: bool) -> float | None:
        """FLOPs that backward spends on doing forward work again; None where that is not known in advance.

        `full` does the layers' forward twice: a third of their training FLOPs. `selective` keeps every product
        and repeats only what counts for nothing here. A budget leaves the choice to the compiler.
        """
        if ac == "full":
            layers = self.matmul_params - self.vocab * self.dim
            attention = attention_factor(causal) / 3 * self.layers * self.heads * self.head_dim * seq
            return 2.0 * layers + attention
        return 0.0 if ac in ("none", "selective") else None


def attention_factor(causal: bool) -> int:
    """c of the FLOP conventions: 6 for the causal half of attention, 12 for the whole matrix."""
    return 6 if causal else 12


PRESETS = {
    "tiny": LlamaConfig(dim=128, layers=2, heads=4, kv_heads=4, ffn=352, vocab=512),
    # The shape of JackFram/llama-160m.
    "160m": LlamaConfig(dim=768, layers=12, heads=12, kv_heads=12, ffn=3072, vocab=32000),
    # The shape of TinyLlama 1.1B, which has grouped-query attention.
    "1b": LlamaConfig(dim=2048, layers=22, heads=32, kv_heads=4, ffn=5632, vocab=32000),
    "7b": LlamaConfig(dim=4096, layers=32, heads=32, kv_heads=32, ffn=11008, vocab=32000),
}
