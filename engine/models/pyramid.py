"""A coarse-to-fine matching network: one shared encoder, local correlation at every level.

From the coarsest level on, the moving features are warped by the displacement found so far, correlated with the fixed
features over a small neighborhood, and a few convolutions turn correlation, displacement and fixed features into the
residual displacement (Sun et al. 2018, PWC-Net, in three dimensions). A guided network leaves the large motion to
coupled convex optimisation, which needs no training and which training on few images does not beat, and learns what
is left of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise, product
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.models.convex import ConvexRegistration
from engine.models.fast_conv import FastConv3d
from engine.spatial.resample import doubled, gaussian, upsampled
from engine.spatial.warp import warp

_FINAL_SIGMA_VOX = 1.0
"""Of what was learned, on the half-size grid: the finest level is rough for itself."""


class MatchingPyramid(nn.Module):
    """`forward(moving, fixed)`: normalised images (B, 1, D, H, W) to displacement (voxels).

    Sizes are multiples of 8, of 16 with four levels.

    `channels`, `radii`: of the encoder's levels, half size first, and of the search there in voxels of that level.
    """

    def __init__(
        self,
        channels: Sequence[int] = (16, 32, 32, 32),
        radii: Sequence[int] = (1, 2, 2, 2),
        width: int = 32,
        guided: bool = False,
    ) -> None:
        super().__init__()
        self._radii, self.guided = tuple(radii), guided
        self.encoder = nn.ModuleList(_encoder_level(i, o) for i, o in zip((1, *channels[:-1]), channels, strict=True))
        contexts = [width] * (len(channels) - 1) + [0]
        self.estimators = nn.ModuleList(
            _Estimator((2 * radius + 1) ** 3 + features + 6 + context, width)
            for radius, features, context in zip(radii, channels, contexts, strict=True)
        )
        self.sharpness = nn.Parameter(torch.full((len(channels),), 10.0))
        self.share = nn.Parameter(torch.full((len(channels),), 0.0 if guided else 1.0))
        self.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]

    def forward(self, moving: Tensor, fixed: Tensor, guess: Tensor | None = None) -> Tensor:
        """Displacement (B, 3, D, H, W) in voxels of the input grid.

        `guess`: what `first_guess` said of the pair, for one who asks more than once.
        """
        guess = self.first_guess(moving, fixed) if guess is None else guess
        change = self.levels(moving, fixed, guess)[-1] - _halved(guess)
        return guess + upsampled(gaussian(change, [_FINAL_SIGMA_VOX] * 3))

    @torch.no_grad()
    def first_guess(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Where the search begins: a displacement (B, 3, D, H, W) in voxels. Nothing in it is learned."""
        if self.guided:
            with torch.autocast(moving.device.type, enabled=False):
                guess: Tensor = ConvexRegistration()(moving, fixed)
            return guess
        return moving.new_zeros((len(moving), 3, *moving.shape[2:]))

    def levels(self, moving: Tensor, fixed: Tensor, guess: Tensor | None = None) -> list[Tensor]:
        """Displacements of all levels, coarsest first, the last at half size; each in voxels of its own grid."""
        features = self._features(torch.cat([moving, fixed]))
        guesses = [_halved(self.first_guess(moving, fixed) if guess is None else guess)]
        for _ in features[1:]:
            guesses.append(_halved(guesses[-1]))
        found: list[Tensor] = []
        change, context = torch.zeros_like(guesses[-1]), None
        for level in reversed(range(len(features))):
            if found:
                change = upsampled(found[-1] - guesses[level + 1])
            displacement, context = self._refined(level, features[level], guesses[level] + change, context)
            found.append(displacement)
        return found

    def _refined(
        self, level: int, features: Tensor, displacement: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """The displacement of a level after its search, and what the estimator knows of the place."""
        from_moving, from_fixed = features.chunk(2)
        matches = correlation(warp(from_moving, displacement), from_fixed, self._radii[level])
        offset = expected_offset(matches, self.sharpness[level], self._radii[level])
        inputs = [matches, offset, displacement, from_fixed]
        if context is not None:
            inputs.append(doubled(context.float()))
        correction, context = self.estimators[level](torch.cat(inputs, dim=1))
        return displacement + self.share[level] * offset + correction, context

    def _features(self, images: Tensor) -> list[Tensor]:
        features: list[Tensor] = []
        current = images
        for level in self.encoder:
            current = level(current)
            features.append(current.float())  # positions and matches need more digits than autocast leaves
        return features


def _halved(displacement_vox: Tensor) -> Tensor:
    """The same motion on a grid of half the size."""
    return 0.5 * F.avg_pool3d(displacement_vox, 2)


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
    with torch.autocast(matches.device.type, enabled=False):
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


def _encoder_level(inputs: int, outputs: int) -> nn.Module:
    return nn.Sequential(
        FastConv3d(inputs, outputs, 3, stride=2, padding=1),
        nn.InstanceNorm3d(outputs),
        nn.LeakyReLU(0.1),
        FastConv3d(outputs, outputs, 3, padding=1),
        nn.InstanceNorm3d(outputs),
        nn.LeakyReLU(0.1),
    )


class _Estimator(nn.Module):
    """From what was seen at a place to the correction of its displacement, and to features for the next level."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        sizes = (inputs, width, width, width)
        self.body = nn.Sequential(
            *(layer for i, o in pairwise(sizes) for layer in (FastConv3d(i, o, 3, padding=1), nn.LeakyReLU(0.1)))
        )
        self.last = FastConv3d(width, 3, 3, padding=1)
        nn.init.normal_(self.last.weight, std=1e-3)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    def forward(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        context: Tensor = self.body(inputs)
        with torch.autocast(context.device.type, enabled=False):
            return self.last(context.float()), context
