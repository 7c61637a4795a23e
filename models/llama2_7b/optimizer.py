"""AdamW with fp32 or bf16 moments; the states exist from the start, so that what fits at step 0 fits later."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

BETAS = (0.9, 0.95)
EPS = 1e-8
WEIGHT_DECAY = 0.1


def build_optimizer(parameters: Iterable[nn.Parameter], state: torch.dtype) -> torch.optim.Optimizer:
    """AdamW (Loshchilov and Hutter 2019) with moments of type `state`, all zero; the learning rate is 0 at first.

    fp32 takes torch's fused kernel. That kernel wants moments of the parameters' type (torch 2.13, CPU), so bf16
    takes `Bf16AdamW`.
    """
    if state == torch.bfloat16:
        optimizer: torch.optim.Optimizer = Bf16AdamW(parameters)
    else:
        optimizer = torch.optim.AdamW(parameters, lr=0.0, betas=BETAS, eps=EPS, weight_decay=WEIGHT_DECAY, fused=True)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            optimizer.state[parameter] = {
                # The fused kernel reads the count on the device.
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, dtype=state),
                "exp_avg_sq": torch.zeros_like(parameter, dtype=state),
            }
    return optimizer


class Bf16AdamW(torch.optim.Optimizer):
    """AdamW that keeps its moments in bf16 and computes in fp32, one parameter at a time."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        super().__init__(parameters, {"lr": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    update(parameter, parameter.grad, self.state[parameter], group["lr"])


def update(parameter: Tensor, gradient: Tensor, state: dict[str, Tensor], lr: float) -> None:
    """One AdamW update in place; the moments are rounded to their own type only when stored."""
    state["step"] += 1
    first, second, step = local(state["exp_avg"]), local(state["exp_avg_sq"]), state["step"]
    value, slope = local(parameter), local(gradient).float()
    m = first.float().lerp_(slope, 1 - BETAS[0])
    v = second.float().mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
    first.copy_(m)
    second.copy_(v)
    denominator = v.div_(1 - BETAS[1] ** step).sqrt_().add_(EPS)
    value.mul_(1 - lr * WEIGHT_DECAY).sub_(m.div_(denominator).mul_(lr / (1 - BETAS[0] ** step)))


def local(tensor: Tensor) -> Tensor:
    """The part of a tensor that this rank holds, sharing its memory."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor
