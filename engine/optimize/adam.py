"""Adam (Kingma and Ba 2015), the part of it that refinement needs.

`torch.optim` imports torch's compiler with its first optimiser: three seconds before the first iteration of a program
that has just been started, for a page of code that never changes.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


class Adam:
    """Steps of `torch.optim.Adam` with its defaults, on the `.grad` of the given tensors."""

    def __init__(self, parameters: list[Tensor], learning_rate: float) -> None:
        self._parameters, self.learning_rate = parameters, learning_rate
        self._means = [torch.zeros_like(parameter) for parameter in parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in parameters]
        self._steps = 0

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Change every tensor that has a gradient."""
        self._steps += 1
        first, second = (1.0 - beta**self._steps for beta in _BETAS)
        for parameter, mean, square in zip(self._parameters, self._means, self._squares, strict=True):
            if parameter.grad is None:
                continue
            mean.lerp_(parameter.grad, 1.0 - _BETAS[0])
            square.mul_(_BETAS[1]).addcmul_(parameter.grad, parameter.grad, value=1.0 - _BETAS[1])
            scale = square.sqrt().div_(math.sqrt(second)).add_(_EPSILON)
            parameter.addcdiv_(mean, scale, value=-self.learning_rate / first)
