"""Convolutions that always take oneDNN's path on the CPU.

torch 2.13 sends a 3-D convolution of one image whose C·D·H is 20480 or less to a plain implementation, about eight
times slower, forward and backward. `torch.mkldnn_convolution` has no such threshold, but its gradient has; a batch of
two passes the threshold in both directions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

_PLAIN_PATH_UP_TO = 20480

_LEAST_IN_BFLOAT16 = 3
"""Voxels along each axis: on the CPU the weights' gradient in bfloat16 is not a number now and then for two."""


class FastConv3d(nn.Conv3d):
    """`nn.Conv3d` with zero padding; equal to it but for rounding."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  torch's own name
        if torch.is_autocast_enabled("cpu") and min(input.shape[2:]) < _LEAST_IN_BFLOAT16:
            with torch.autocast("cpu", enabled=False):
                return self.forward(input.float())
        if isinstance(self.padding, str) or not self._takes_plain_path(input):
            return super().forward(input)
        if torch.is_grad_enabled():
            return super().forward(input.expand(2, *input.shape[1:]))[:1]
        result: Tensor = torch.mkldnn_convolution(
            input, self.weight, self.bias, self.padding, self.stride, self.dilation, self.groups
        )
        return result

    def _takes_plain_path(self, images: Tensor) -> bool:
        return (
            images.device.type == "cpu"
            and images.dtype == torch.float32
            and images.shape[0] == 1
            and images[0, ..., 0].numel() <= _PLAIN_PATH_UP_TO
            and torch.backends.mkldnn.is_available()
            and not torch.is_autocast_enabled("cpu")
        )


def with_fast_convolutions(network: nn.Module) -> nn.Module:
    """Turn every `Conv3d` of a network into a `FastConv3d`, in place; the weights stay."""
    for module in network.modules():
        if type(module) is nn.Conv3d:
            module.__class__ = FastConv3d
    return network
