"""A coarse-to-fine matching network: one shared encoder, local correlation at every level.

From the coarsest level on, the moving features are warped by the displacement found so far, correlated with the fixed
features over a small neighborhood, and a few convolutions turn correlation, displacement and fixed features into the
residual displacement.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.fast_conv import FastConv3d
from engine.spatial.resample import gaussian
from engine.spatial.warp import warp

ENCODER_CHANNELS = (16, 32, 32, 32)
CORRELATION_RADII = (1, 2, 2, 2)
"""Finest level first, in voxels of that level."""

_FINAL_SIGMA_VOX = 1.0
"""Of the half-size grid; lowers the target error on phantoms by a few percent and takes most folds away."""


class MatchingPyramid(nn.Module):
    """`forward(moving, fixed)`: normalised images (B, 1, D, H, W), sizes multiples of 16, to displacement (voxels)."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        inputs = (1, *ENCODER_CHANNELS[:-1])
        self.encoder = nn.ModuleList(_encoder_level(i, o) for i, o in zip(inputs, ENCODER_CHANNELS, strict=True))
        self.estimators = nn.ModuleList(
            _estimator((2 * radius + 1) ** 3 + channels + 6, width)
            for radius, channels in zip(CORRELATION_RADII, ENCODER_CHANNELS, strict=True)
        )
        self.sharpness = nn.Parameter(torch.full((len(ENCODER_CHANNELS),), 10.0))
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Displacement (B, 3, D, H, W) in voxels of the input grid; smoothed, the last level being rough for itself."""
        return upsampled(gaussian(self.levels(moving, fixed)[-1], [_FINAL_SIGMA_VOX] * 3))

    def levels(self, moving: Tensor, fixed: Tensor) -> list[Tensor]:
        """Displacements of all levels, coarsest first, the last at half size; each in voxels of its own grid."""
        features = self._features(torch.cat([moving, fixed]))
        count = moving.shape[0]
        displacement = features[-1].new_zeros((count, 3, *features[-1].shape[2:]))
        found: list[Tensor] = []
        for level in reversed(range(len(features))):
            if found:
                displacement = upsampled(displacement)
            from_moving, from_fixed = features[level][:count], features[level][count:]
            matches = correlation(warp(from_moving, displacement), from_fixed, CORRELATION_RADII[level])
            guess = expected_offset(matches, self.sharpness[level], CORRELATION_RADII[level])
            correction = self.estimators[level](torch.cat([matches, guess, displacement, from_fixed], dim=1))
            displacement = displacement + guess + correction
            found.append(displacement)
        return found

    def _features(self, images: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        current = images
        for level in self.encoder:
            current = level(current)
            features.append(current.float())  # positions and matches need more digits than autocast leaves
        return features


def correlation(moving: Tensor, fixed: Tensor, radius: int) -> Tensor:
    """Cosine similarity of each fixed feature with the moving features within ±radius voxels, (B, (2r+1)³, D, H, W)."""
    matches: Tensor = _ShiftedProducts.apply(  # type: ignore[no-untyped-call]
        F.normalize(moving, dim=1).contiguous(), F.normalize(fixed, dim=1).contiguous(), radius
    )
    return matches


def expected_offset(matches: Tensor, sharpness: Tensor, radius: int) -> Tensor:
    """Mean offset (B, 3, D, H, W), components z, y, x, where softmax(sharpness · correlation) weighs the offsets."""
    steps = torch.arange(-radius, radius + 1, dtype=matches.dtype, device=matches.device)
    offsets = torch.stack(torch.meshgrid(steps, steps, steps, indexing="ij")).reshape(3, -1)
    return torch.einsum("ck,bkdhw->bcdhw", offsets, torch.softmax(sharpness * matches, dim=1))


class _ShiftedProducts(torch.autograd.Function):
    """Sum over channels of fixed(x) · moving(x + offset) for every offset; zero outside.

    Written out because autograd keeps every product and copies every slice: twice the time of one training step.
    """

    @staticmethod
    def forward(ctx: Any, moving: Tensor, fixed: Tensor, radius: int) -> Tensor:
        padded = F.pad(moving, (radius,) * 6)
        out = fixed.new_empty((fixed.shape[0], (2 * radius + 1) ** 3, *fixed.shape[2:]))
        product_buffer = torch.empty_like(fixed)
        for k, window in enumerate(_windows(fixed.shape, radius)):
            torch.mul(fixed, padded[window], out=product_buffer)
            torch.sum(product_buffer, dim=1, out=out[:, k])
        ctx.save_for_backward(padded, fixed)
        ctx.radius = radius
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        padded, fixed = ctx.saved_tensors
        gradient = gradients[0].contiguous()
        to_moving, to_fixed = torch.zeros_like(padded), torch.zeros_like(fixed)
        for k, window in enumerate(_windows(fixed.shape, ctx.radius)):
            share = gradient[:, k : k + 1]
            to_fixed.addcmul_(padded[window], share)
            to_moving[window].addcmul_(fixed, share)
        inner = tuple(slice(ctx.radius, ctx.radius + n) for n in fixed.shape[2:])
        return to_moving[(slice(None), slice(None), *inner)], to_fixed, None


def _windows(shape: torch.Size, radius: int) -> Iterator[tuple[slice, ...]]:
    for offset in product(range(2 * radius + 1), repeat=3):
        spatial = (slice(start, start + n) for start, n in zip(offset, shape[2:], strict=True))
        yield (slice(None), slice(None), *spatial)


def upsampled(displacement_vox: Tensor) -> Tensor:
    """Twice the size, cell centers kept, and twice the voxel count for the same motion."""
    return 2.0 * F.interpolate(displacement_vox, scale_factor=2.0, mode="trilinear", align_corners=False)


def _encoder_level(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        FastConv3d(inputs, outputs, 3, stride=2, padding=1),
        nn.InstanceNorm3d(outputs),
        nn.LeakyReLU(0.1),
        FastConv3d(outputs, outputs, 3, padding=1),
        nn.InstanceNorm3d(outputs),
        nn.LeakyReLU(0.1),
    )


def _estimator(inputs: int, width: int) -> nn.Module:
    last = FastConv3d(width, 3, 3, padding=1)
    nn.init.normal_(last.weight, std=1e-3)
    nn.init.zeros_(last.bias if last.bias is not None else torch.zeros(0))
    return nn.Sequential(
        FastConv3d(inputs, width, 3, padding=1),
        nn.LeakyReLU(0.1),
        FastConv3d(width, width, 3, padding=1),
        nn.LeakyReLU(0.1),
        FastConv3d(width, width, 3, padding=1),
        nn.LeakyReLU(0.1),
        last,
    )
