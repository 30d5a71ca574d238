"""The 2-D U-Net that GSMorph (Dou et al. 2023) and its comparisons train, and one that takes the weight as an input."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.errors import InputError

MORPH2D_MULTIPLE = 16
"""Both sides of an image are multiples of this: four poolings."""

_SLICES_AT_ONCE = 32
_FLAT = 1e-6

_WIDTHS = (16, 32, 64, 128, 256)
_UP_WIDTHS = _WIDTHS[-2::-1]


class Morph2d(nn.Module):
    """U-Net of widths 16 to 256 with batch normalisation, 1,968,002 parameters in 75 tensors; u starts at zero."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, _WIDTHS[0], 3, padding=1, bias=False)
        inputs = (_WIDTHS[0], *_WIDTHS[:-1])
        self.down = nn.ModuleList(map(_block, inputs, _WIDTHS))
        self.up = nn.ModuleList(_block(low + high, high) for low, high in pairwise(reversed(_WIDTHS)))
        self.flow = nn.Conv2d(_WIDTHS[0], 2, 3, padding=1)
        self.apply(_initialise)
        nn.init.normal_(self.flow.weight, std=1e-5)

    def forward(self, moving: Tensor, fixed: Tensor, modulation: tuple[Tensor, ...] | None = None) -> Tensor:
        """Images (B, 1, H, W) in 0 to 1, sides multiples of 16, to displacement (B, 2, H, W), row, col in pixels.

        `modulation`: for each of the nine blocks scale and shift of its channels, (2C): out · (1 + scale) + shift.

        Raises:
            InputError: a side is no multiple of 16.
        """
        if any(side % MORPH2D_MULTIPLE for side in moving.shape[2:]):
            raise InputError(f"Expected sides that are multiples of {MORPH2D_MULTIPLE}, got {list(moving.shape[2:])}.")
        modulations: Iterator[Tensor | None] = iter(modulation or [None] * (len(self.down) + len(self.up)))
        x = self.stem(torch.cat([moving, fixed], dim=1))
        skips: list[Tensor] = []
        for block in self.down:
            x = F.max_pool2d(skips[-1], 2) if skips else x
            skips.append(_modulated(block(x), next(modulations)))
        x = skips.pop()
        for block in self.up:
            larger = F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
            x = _modulated(block(torch.cat([skips.pop(), larger], dim=1)), next(modulations))
        with torch.autocast(x.device.type, enabled=False):
            displacement: Tensor = self.flow(x.float())
        return displacement


class SliceMorph(Morph2d):
    """Morph2d on the slices of a volume, one by one: nothing moves from slice to slice.

    Its weights are those of a Morph2d.
    """

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:  # type: ignore[override]
        """Images (B, 1, D, H, W) on any scale to displacement (B, 3, D, H, W) in voxels, its z component zero."""
        batch, _, depth, height, width = fixed.shape
        slices = [_to_unit_range(image.reshape(batch * depth, 1, height, width)) for image in (moving, fixed)]
        parts = zip(*(image.split(_SLICES_AT_ONCE) for image in slices), strict=True)
        in_plane = torch.cat([super(SliceMorph, self).forward(*part) for part in parts])
        by_volume = in_plane.view(batch, depth, 2, height, width).transpose(1, 2)
        return torch.cat([torch.zeros_like(by_volume[:, :1]), by_volume], dim=1)


def _to_unit_range(slices: Tensor) -> Tensor:
    low, high = slices.amin(dim=(2, 3), keepdim=True), slices.amax(dim=(2, 3), keepdim=True)
    return (slices - low) / (high - low).clamp(min=_FLAT)


class ConditionalMorph2d(nn.Module):
    """Morph2d for every weight of the smoothness at once (HyperMorph's purpose, Hoopes et al. 2021).

    A perceptron of 1, 32, 64, 1,472 numbers turns the weight into scale and shift of every block's channels (FiLM,
    Perez et al. 2018), where HyperMorph makes every kernel: 97,856 parameters beside the network's, not 124 million.
    `weight`, 0 to 1, is what the next `forward` is for.
    """

    def __init__(self) -> None:
        super().__init__()
        self.network = Morph2d()
        self._channels = [2 * width for width in (*_WIDTHS, *_UP_WIDTHS)]
        last = nn.Linear(64, sum(self._channels))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.film = nn.Sequential(nn.Linear(1, 32), nn.LeakyReLU(), nn.Linear(32, 64), nn.LeakyReLU(), last)
        self.weight = 0.5

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """As `Morph2d.forward`, at `weight`."""
        modulation = self.film(moving.new_tensor([self.weight])).split(self._channels)
        displacement: Tensor = self.network(moving, fixed, modulation)
        return displacement


def _modulated(x: Tensor, modulation: Tensor | None) -> Tensor:
    if modulation is None:
        return x
    scale, shift = modulation.view(2, -1, 1, 1)
    modulated: Tensor = x * (1 + scale) + shift
    return modulated


def _block(inputs: int, outputs: int) -> nn.Module:
    layers: list[nn.Module] = []
    for channels in (inputs, outputs):
        layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.LeakyReLU(0.01)]
    return nn.Sequential(*layers)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)
