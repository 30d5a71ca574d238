"""Dissimilarity of images, prepared once for a fixed image and evaluated for many warped ones.

A row of `SIMILARITY` takes the fixed image (normalised), a mask (1 where both scanners saw something) and a weight (how
much each voxel counts), all (B, 1, D, H, W), and returns a function from the warped image to a scalar that is to fall.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

Dissimilarity = Callable[[Tensor], Tensor]
Similarity = Callable[[Tensor, Tensor, Tensor], Dissimilarity]

LNCC_RADIUS = 3
_VARIANCE_FLOOR = 1e-5
"""Squared normalised units (about 6 HU): what counts as noise in a window of local correlation."""


def _shares(mask: Tensor, weight: Tensor) -> Tensor:
    """What each voxel contributes to a weighted mean; all zero where nothing counts."""
    counted = mask * weight
    return counted / counted.sum().clamp(min=1.0)


def mse(fixed: Tensor, mask: Tensor, weight: Tensor) -> Dissimilarity:
    """Mean squared difference."""
    share = _shares(mask, weight)
    return lambda warped: (share * (warped - fixed) ** 2).sum()


def lncc(fixed: Tensor, mask: Tensor, weight: Tensor, radius: int = LNCC_RADIUS) -> Dissimilarity:
    """1 − squared local correlation in windows of (2r+1)³ voxels; masked voxels are left out of the windows."""
    windows = _FixedWindows(fixed, mask, weight, 2 * radius + 1)

    def dissimilarity(warped: Tensor) -> Tensor:
        loss: Tensor = _LocalCorrelationLoss.apply(warped, windows)  # type: ignore[no-untyped-call]
        return loss

    return dissimilarity


class _FixedWindows:
    """What local correlation needs of the fixed image: sums over the window around each voxel."""

    def __init__(self, fixed: Tensor, mask: Tensor, weight: Tensor, size: int) -> None:
        self.size, self.mask, self.fixed = size, mask, fixed * mask
        sums = box_sum(torch.cat([mask, self.fixed, self.fixed * self.fixed], dim=1), size)
        self.count = sums[:, :1].clamp(min=1.0)
        self.mean = sums[:, 1:2] / self.count
        self.variance = (sums[:, 2:] / self.count - self.mean**2).clamp_(min=0.0).add_(_VARIANCE_FLOOR)
        self.share = _shares(mask, weight)


class _LocalCorrelationLoss(torch.autograd.Function):
    """The gradient written out: three box sums instead of the graph's six, a third of the time."""

    @staticmethod
    def forward(ctx: Any, warped: Tensor, windows: _FixedWindows) -> Tensor:
        masked = warped * windows.mask
        products = torch.cat([masked, masked * masked, masked * windows.fixed], dim=1)
        means = box_sum(products, windows.size).div_(windows.count)
        mean = means[:, :1]
        variance = (means[:, 1:2] - mean * mean).clamp_(min=0.0).add_(_VARIANCE_FLOOR)
        covariance = means[:, 2:] - mean * windows.mean
        ctx.windows = windows
        ctx.save_for_backward(masked, mean, variance, covariance)
        correlation = covariance * covariance / (variance * windows.variance)
        return ((1.0 - correlation) * windows.share).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        masked, mean, variance, covariance = ctx.saved_tensors
        windows: _FixedWindows = ctx.windows
        scale = -gradients[0] * windows.share / windows.count
        by_covariance = scale * 2.0 * covariance / (variance * windows.variance)
        by_variance = -by_covariance * covariance / (2.0 * variance)
        by_mean = -by_covariance * windows.mean - 2.0 * by_variance * mean
        constant, linear, crossed = box_sum(torch.cat([by_mean, by_variance, by_covariance], 1), windows.size).split(
            1, 1
        )
        return windows.mask * (constant + 2.0 * masked * linear + windows.fixed * crossed), None


def box_sum(image: Tensor, size: int) -> Tensor:
    """Sum over size³ voxels around each voxel (size odd), zeros outside; one axis after the other, by doubling."""
    for axis in (2, 3, 4):
        length = image.shape[axis]
        padding = [0] * 6
        padding[2 * (4 - axis)] = padding[2 * (4 - axis) + 1] = size // 2
        image = _running_sum(F.pad(image, padding), axis, size, length)
    return image


def _running_sum(padded: Tensor, axis: int, size: int, length: int) -> Tensor:
    """out[i] = padded[i] + ... + padded[i + size − 1], from sums of 1, 2, 4, ... neighbors."""
    total: Tensor | None = None
    power, start, width = padded, 0, 1
    while True:
        if size & width:
            part = power.narrow(axis, start, length)
            total = part.clone() if total is None else total.add_(part)
            start += width
        if 2 * width > size:
            break
        shorter = power.shape[axis] - width
        power = power.narrow(axis, 0, shorter) + power.narrow(axis, width, shorter)
        width *= 2
    assert total is not None
    return total


def mind(fixed: Tensor, mask: Tensor, weight: Tensor) -> Dissimilarity:
    """Mean squared difference of MIND-SSC descriptors (Heinrich et al. 2013): for pairs of unlike contrast.

    Only descriptors made of unmasked voxels alone are compared.
    """
    reach = _MIND_RADIUS + _MIND_DILATION
    whole = (box_sum(1.0 - mask, 2 * reach + 1) < 0.5).to(mask.dtype)
    wanted, share = mind_ssc(fixed, whole), _shares(whole, weight)
    return lambda warped: (share * ((mind_ssc(warped, whole) - wanted) ** 2).mean(dim=1, keepdim=True)).sum()


_MIND_RADIUS, _MIND_DILATION = 1, 2


def mind_ssc(image: Tensor, counted: Tensor | None = None) -> Tensor:
    """Self-similarity context, (B, 12, D, H, W) in (0, 1].

    Squared patch distances (3³ voxels) between the pairs of the six neighbors two voxels away that do not oppose each
    other, less their minimum, divided by their mean (kept within 10⁻³ to 10³ of its mean over `counted`), through
    exp(−d).
    """
    radius, dilation = _MIND_RADIUS, _MIND_DILATION
    padded = F.pad(image, (dilation,) * 6, mode="replicate")
    neighbors = [_neighbor(padded, offset, image.shape, dilation) for offset in _NEIGHBORS]
    differences = torch.cat([(neighbors[a] - neighbors[b]) ** 2 for a, b in _NEIGHBOR_PAIRS], dim=1)
    distances = box_sum(differences, 2 * radius + 1) / (2 * radius + 1) ** 3
    distances = distances - distances.min(dim=1, keepdim=True).values
    spread = distances.mean(dim=1, keepdim=True)
    shares = None if counted is None else _shares(counted, torch.ones_like(counted))
    typical = float(spread.detach().mean() if shares is None else (spread.detach() * shares).sum()) + 1e-12
    return torch.exp(-distances / spread.clamp(min=1e-3 * typical, max=1e3 * typical))


def _neighbor(padded: Tensor, offset: tuple[int, int, int], shape: torch.Size, dilation: int) -> Tensor:
    starts = [dilation * (1 + step) for step in offset]
    z, y, x = (slice(start, start + n) for start, n in zip(starts, shape[2:], strict=True))
    return padded[:, :, z, y, x]


_NEIGHBORS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))
_NEIGHBOR_PAIRS = tuple((a, b) for a in range(6) for b in range(a + 1, 6) if a // 2 != b // 2)


SIMILARITY: dict[str, Similarity] = {"mse": mse, "lncc": lncc, "mind": mind}
