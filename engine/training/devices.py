"""One process or several that train one network together, each on a device of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import DeviceError, InputError


def _same(values: Tensor) -> Tensor:
    return values


@dataclass(frozen=True, slots=True, eq=False)
class Team:
    """Process number `rank` of `size`. `mean`: the mean of a tensor over all processes, the same in each of them."""

    device: str = "cpu"
    rank: int = 0
    size: int = 1
    mean: Callable[[Tensor], Tensor] = _same

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return self.rank == 0

    def agreed(self, losses: list[Tensor], parameters: list[Tensor]) -> list[Tensor]:
        """Losses with the gradients of the mean over all processes.

        Each becomes the inner product of its mean gradient with the parameters. So what combines gradients, surgery
        above all, works on the same ones everywhere and need not know of the other processes.
        """
        if self.size == 1:
            return losses
        last = len(losses) - 1
        return [self._linear(loss, parameters, keep_graph=k < last) for k, loss in enumerate(losses)]

    def _linear(self, loss: Tensor, parameters: list[Tensor], keep_graph: bool) -> Tensor:
        found = torch.autograd.grad(loss, parameters, retain_graph=keep_graph, allow_unused=True)
        pairs = list(zip(found, parameters, strict=True))
        flat = torch.cat(
            [p.new_zeros(p.numel()) if gradient is None else gradient.reshape(-1) for gradient, p in pairs]
        )
        return torch.dot(self.mean(flat), torch.cat([parameter.reshape(-1) for parameter in parameters]))


def launch(device: str, count: int) -> Team:
    """Start `count` processes of the present command through Lightning Fabric; each of them comes back from here.

    Raises:
        InputError: Lightning Fabric is not installed.
        DeviceError: there are not as many CUDA devices.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError:
        raise InputError(
            "Expected lightning-fabric for --devices above 1, found none; install Regard with its extra: regard[train]."
        ) from None
    if device == "cuda" and count > torch.cuda.device_count():
        raise DeviceError(f"Expected {count} CUDA devices, found {torch.cuda.device_count()}; choose fewer --devices.")
    fabric = Fabric(accelerator=device, devices=count, strategy="ddp")
    fabric.launch()

    def mean(values: Tensor) -> Tensor:
        reduced: Tensor = fabric.all_reduce(values, reduce_op="mean")
        return reduced

    return Team(str(fabric.device), fabric.global_rank, fabric.world_size, mean)
