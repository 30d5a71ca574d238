"""Dissimilarity of images, prepared once for a fixed image and evaluated for many warped ones.

A row of `SIMILARITY` takes the fixed image (normalised), a mask (1 where both scanners saw something) and a weight (how
much each voxel counts), all (B, 1, D, H, W), and returns a function from the warped image to a scalar that is to fall.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from engine.spatial.self_similarity import SELF_SIMILARITY_REACH, box_sum, mind_ssc

Dissimilarity = Callable[[Tensor], Tensor]
Similarity = Callable[[Tensor, Tensor, Tensor], Dissimilarity]

LNCC_RADIUS = 2
_VARIANCE_FLOOR = 1e-5
"""Squared normalised units (about 6 HU): what counts as noise in a window of local correlation."""


_UNLIKE_MIND = 0.1
"""Tissue against other tissue."""


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


def mind(fixed: Tensor, mask: Tensor, weight: Tensor) -> Dissimilarity:
    """Mean squared difference of MIND-SSC descriptors (Heinrich et al. 2013): for pairs of unlike contrast.

    Only descriptors made of unmasked voxels alone are compared.
    """
    whole = (box_sum(1.0 - mask, 2 * SELF_SIMILARITY_REACH + 1) < 0.5).to(mask.dtype)
    wanted, share = mind_ssc(fixed, whole), _shares(whole, weight)
    return lambda warped: (share * ((mind_ssc(warped, whole) - wanted) ** 2).mean(dim=1, keepdim=True)).sum()


def unlike(name: str, fixed: Tensor, mask: Tensor, weight: Tensor) -> float | Tensor:
    """About what a moving image would score whose structure has nothing to do with that of the fixed one.

    Divided by it, every dissimilarity means the same beside one weight of the roughness. Squared differences: twice the
    mean variance within the windows of local correlation, since air and tissue lie apart whatever their structure.
    """
    if name != "mse":
        return {"lncc": 1.0, "mind": _UNLIKE_MIND}[name]
    windows = _FixedWindows(fixed, mask, weight, 2 * LNCC_RADIUS + 1)
    return 2.0 * (windows.share * windows.variance).sum().clamp(min=_VARIANCE_FLOOR)


SIMILARITY: dict[str, Similarity] = {"mse": mse, "lncc": lncc, "mind": mind}
