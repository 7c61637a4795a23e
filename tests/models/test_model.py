"""The model is Llama 2: its size, its mathematics, its cost."""

from __future__ import annotations

import math

import pytest

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def model(load, torch):
    return load("model")


@pytest.fixture
def tiny(model, torch):
    llama = model.Llama(model.PRESETS["tiny"])
    llama.init_weights(seed=0)
    return llama


@pytest.mark.parametrize(
    ("preset", "parameters"),
    [("tiny", 533_120), ("160m", 162_417_408), ("1b", 1_100_048_384), ("7b", 6_738_415_616)],
)
def test_each_preset_has_exactly_its_published_number_of_parameters(model, torch, preset, parameters):
    with torch.device("meta"):
        llama = model.Llama(model.PRESETS[preset])
    assert sum(parameter.numel() for parameter in llama.parameters()) == parameters
    config = model.PRESETS[preset]
    norms = (2 * config.layers + 1) * config.dim
    assert config.matmul_params == parameters - config.vocab * config.dim - norms


def test_flops_of_the_7b_are_those_of_the_two_conventions(model):
    config = model.PRESETS["7b"]
    assert config.train_flops_per_token(4096, causal=False) == pytest.approx(46.09e9, rel=1e-3)
    assert config.train_flops_per_token(4096, causal=True) == pytest.approx(42.87e9, rel=1e-3)


def test_counted_flops_are_those_torch_counts(model, torch):
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    config = model.PRESETS["tiny"]
    with torch.device("meta"):
        llama, tokens = model.Llama(config), torch.zeros(2, 64, dtype=torch.long)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        llama(tokens).sum().backward()
    assert counter.get_total_flops() == pytest.approx(2 * 64 * config.train_flops_per_token(64, causal=False), rel=1e-6)


def test_a_later_token_changes_no_earlier_prediction(tiny, torch):
    tokens = torch.arange(32).reshape(1, 32)
    changed = tokens.clone()
    changed[0, 20] = 400
    with torch.no_grad():
        a, b = tiny(tokens), tiny(changed)
    assert torch.equal(a[:, :20], b[:, :20])
    assert not torch.allclose(a[:, 20:], b[:, 20:])


def test_rotated_products_depend_on_the_distance_only(model, torch):
    table = model.rotary_table(64, 16, 10000.0, torch.device("cpu"))
    q, k = torch.randn(16), torch.randn(16)
    places = torch.ones(1, 1, 64, 1)
    scores = model.rotate(q * places, table)[0, 0] @ model.rotate(k * places, table)[0, 0].T
    assert scores[5, 2] == pytest.approx(float(scores[45, 42]), abs=1e-4)
    assert scores[9, 9] == pytest.approx(float(q @ k), abs=1e-4)


def test_grouped_queries_are_heads_that_share_keys(model, torch):
    config = model.LlamaConfig(dim=32, layers=1, heads=4, kv_heads=2, ffn=64, vocab=16)
    wide = model.LlamaConfig(dim=32, layers=1, heads=4, kv_heads=4, ffn=64, vocab=16)
    grouped, full = model.Attention(config), model.Attention(wide)
    q, k, v = grouped.qkv.weight.data.split((32, 16, 16))
    k, v = (part.view(2, 8, 32).repeat_interleave(2, dim=0).view(32, 32) for part in (k, v))
    full.qkv.weight.data = torch.cat((q, k, v))
    full.out.weight.data = grouped.out.weight.data
    x, table = torch.randn(2, 8, 32), model.rotary_table(8, 8, 10000.0, torch.device("cpu"))
    with torch.no_grad():
        torch.testing.assert_close(grouped(x, table), full(x, table))


def test_the_first_loss_is_that_of_guessing_at_any_width(model, torch):
    for dim in (64, 1024):
        config = model.LlamaConfig(dim=dim, layers=1, heads=4, kv_heads=4, ffn=64, vocab=512)
        llama = model.Llama(config)
        llama.init_weights(seed=0)
        tokens = torch.randint(512, (4, 65), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            logits = llama(tokens[:, :-1]).flatten(0, 1)
        loss = torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten())
        assert float(loss) == pytest.approx(math.log(512), abs=0.1)


def test_weights_follow_from_seed_and_name(model, torch, tiny):
    again, other = (model.Llama(model.PRESETS["tiny"]) for _ in range(2))
    again.init_weights(seed=0)
    other.init_weights(seed=1)
    for a, b in zip(tiny.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    assert not torch.equal(tiny.head.weight, other.head.weight)
    assert not torch.equal(tiny.blocks[0].ffn.down.weight, tiny.blocks[1].ffn.down.weight)


@pytest.mark.parametrize("recompute", ["selective", "full"])
def test_recomputation_changes_no_gradient(model, torch, tiny, recompute):
    tokens = torch.arange(64).reshape(2, 32)
    tiny(tokens).square().sum().backward()
    kept = [parameter.grad.clone() for parameter in tiny.parameters()]
    tiny.zero_grad()
    for block in tiny.blocks:
        block.recompute = recompute
    tiny(tokens).square().sum().backward()
    assert all(torch.equal(a, b.grad) for a, b in zip(kept, tiny.parameters(), strict=True))


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 0.05)])
def test_attention_kernels_agree(model, torch, tiny, dtype, tolerance):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    tiny.to(getattr(torch, dtype))
    found = []
    for kernel in (SDPBackend.FLASH_ATTENTION, SDPBackend.MATH):
        with sdpa_kernel(kernel), torch.no_grad():
            found.append(tiny(torch.arange(64).reshape(2, 32)).float())
    torch.testing.assert_close(*found, rtol=0, atol=tolerance)


def test_work_done_twice_is_a_third_of_the_layers_work(model):
    config = model.PRESETS["7b"]
    head = 6 * config.vocab * config.dim
    layers = config.train_flops_per_token(4096, causal=False) - head
    assert config.recompute_flops_per_token(4096, "full", causal=False) == pytest.approx(layers / 3)
    assert config.recompute_flops_per_token(4096, "selective", causal=True) == 0
    assert config.recompute_flops_per_token(4096, "budget:0.5", causal=True) is None


def test_parameters_are_counted_without_a_model(model):
    assert model.PRESETS["7b"].params == 6_738_415_616
    assert model.PRESETS["1b"].params == 1_100_048_384
