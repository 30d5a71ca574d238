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
    """Steps of `torch.optim.Adam` with its defaults, on the `.grad` of the given tensors.

    `begin` says to the device what differs from step to step, `apply` needs no more of the host: a recording of it can
    be replayed.
    """

    def __init__(self, parameters: list[Tensor], learning_rate: float) -> None:
        self._parameters, self.learning_rate = parameters, learning_rate
        self._means = [torch.zeros_like(parameter) for parameter in parameters]
        self._squares = [torch.zeros_like(parameter) for parameter in parameters]
        self._rate, self._correction = (parameters[0].new_zeros(()).detach() for _ in range(2))
        self._steps = 0

    def moments(self) -> list[Tensor]:
        """What a step changes beside the parameters."""
        return [*self._means, *self._squares]

    def step(self) -> None:
        """Change every tensor that has a gradient."""
        self.begin()
        self.apply()

    def begin(self) -> None:
        """Count one step further."""
        self._steps += 1
        first, second = (1.0 - beta**self._steps for beta in _BETAS)
        self._rate.fill_(-self.learning_rate / first)
        self._correction.fill_(math.sqrt(second))

    @torch.no_grad()
    def apply(self) -> None:
        """Change every tensor that has a gradient by the step that was begun."""
        for parameter, mean, square in zip(self._parameters, self._means, self._squares, strict=True):
            if parameter.grad is None:
                continue
            mean.lerp_(parameter.grad, 1.0 - _BETAS[0])
            square.mul_(_BETAS[1]).addcmul_(parameter.grad, parameter.grad, value=1.0 - _BETAS[1])
            scale = square.sqrt().div_(self._correction).add_(_EPSILON)
            parameter.addcdiv_(mean * self._rate, scale)
