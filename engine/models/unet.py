"""The 3-D U-Net of the RSO paper (Bai et al. 2022): MONAI UNet, channels 16 to 256, strides 2, two residual units."""

from __future__ import annotations

from typing import cast

import torch
from monai.networks.nets import UNet
from torch import Tensor, nn

from engine.models.fast_conv import FastConv3d, with_fast_convolutions

_CHANNELS = (16, 32, 64, 128, 256)
_STRIDES = (2, 2, 2, 2)


def _unet(out_channels: int) -> nn.Module:
    return with_fast_convolutions(UNet(3, 2, out_channels, _CHANNELS, _STRIDES, num_res_units=2))


class PaperUNet(nn.Module):
    """Exactly the paper's network, 4,808,346 parameters. A fresh one does not start at the identity."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = _unet(out_channels=3)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Images (B, 1, D, H, W), sizes multiples of 16, to displacement (B, 3, D, H, W) in voxels."""
        *body, head = cast(nn.Sequential, self.unet.model)
        features = torch.cat([fixed, moving], dim=1)
        for layer in body:
            features = layer(features)
        with torch.autocast(features.device.type, enabled=False):
            displacement: Tensor = head(features.float())
        return displacement


class StableUNet(nn.Module):
    """The same body with 16 output channels and VoxelMorph's flow layer: zero displacement at the start."""

    def __init__(self) -> None:
        super().__init__()
        self.unet = _unet(out_channels=16)
        self.flow = FastConv3d(16, 3, 3, padding=1)
        nn.init.normal_(self.flow.weight, std=1e-5)
        if self.flow.bias is not None:
            nn.init.zeros_(self.flow.bias)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Images (B, 1, D, H, W), sizes multiples of 16, to displacement (B, 3, D, H, W) in voxels."""
        features: Tensor = self.unet(torch.cat([fixed, moving], dim=1))
        with torch.autocast(features.device.type, enabled=False):
            displacement: Tensor = self.flow(features.float())
        return displacement
