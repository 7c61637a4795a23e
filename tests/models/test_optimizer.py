"""AdamW with bf16 moments does what AdamW does, as far as bf16 can hold its moments."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.torch


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def trained(load, torch, state, steps: int = 20):
    """A vector after some steps towards a target, and its optimizer."""
    optimizers = load("optimizer")
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(1000, generator=generator)
    value = torch.nn.Parameter(torch.zeros(1000))
    optimizer = optimizers.build_optimizer([value], state)
    optimizer.param_groups[0]["lr"] = 0.01
    for _ in range(steps):
        ((value - target) ** 2).sum().backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
    return value.detach(), optimizer


def test_bf16_moments_take_the_same_way_as_fp32_moments(load, torch):
    exact, _ = trained(load, torch, torch.float32)
    rough, optimizer = trained(load, torch, torch.bfloat16)
    assert 0.1 < exact.abs().max() < 0.3
    torch.testing.assert_close(rough, exact, rtol=0, atol=2e-3)
    (state,) = optimizer.state.values()
    assert (state["exp_avg"].dtype, state["exp_avg_sq"].dtype) == (torch.bfloat16, torch.bfloat16)
    assert int(state["step"]) == 20


def test_one_update_is_that_of_the_fused_kernel(load, torch):
    exact, _ = trained(load, torch, torch.float32, steps=1)
    rough, _ = trained(load, torch, torch.bfloat16, steps=1)
    torch.testing.assert_close(rough, exact, rtol=1e-6, atol=1e-9)


def test_states_exist_before_the_first_step(load, torch):
    value = torch.nn.Parameter(torch.ones(3))
    for state in (torch.float32, torch.bfloat16):
        optimizer = load("optimizer").build_optimizer([value], state)
        assert set(optimizer.state[value]) == {"step", "exp_avg", "exp_avg_sq"}
