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
"""Tissue against other tissue: mean squared difference of descriptors."""


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
    """What local correlation needs of the fixed image: means over the window around each voxel."""

    def __init__(self, fixed: Tensor, mask: Tensor, weight: Tensor, size: int) -> None:
        self.size, self.mask, self.fixed = size, mask, fixed * mask
        self.count = self.sum(mask).clamp_(min=1.0)
        self.mean = self.mean_of(self.fixed)
        self.variance = self.variance_of(self.fixed, self.mean)
        self.share = _shares(mask, weight)

    def sum(self, image: Tensor) -> Tensor:
        """Over the window around each voxel, in a tensor of its own."""
        return box_sum(image, self.size)

    def mean_of(self, masked: Tensor) -> Tensor:
        return self.sum(masked).div_(self.count)

    def variance_of(self, masked: Tensor, mean: Tensor) -> Tensor:
        return self.mean_of(masked * masked).addcmul_(mean, mean, value=-1.0).clamp_(min=0.0).add_(_VARIANCE_FLOOR)


class _LocalCorrelationLoss(torch.autograd.Function):
    """The gradient written out: three box sums instead of the graph's six, a third of the time.

    An image at a time and in place where that may be: less memory to go through, and half the time again.
    """

    @staticmethod
    def forward(ctx: Any, warped: Tensor, windows: _FixedWindows) -> Tensor:
        masked = warped * windows.mask
        mean = windows.mean_of(masked)
        variance = windows.variance_of(masked, mean)
        covariance = windows.mean_of(masked * windows.fixed).addcmul_(mean, windows.mean, value=-1.0)
        ctx.windows = windows
        ctx.save_for_backward(masked, mean, variance, covariance)
        correlation = (covariance * covariance).div_(variance).div_(windows.variance)
        return correlation.neg_().add_(1.0).mul_(windows.share).sum()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        masked, mean, variance, covariance = ctx.saved_tensors
        windows: _FixedWindows = ctx.windows
        by_covariance = (covariance * windows.share).mul_(-2.0 * gradients[0])
        by_covariance.div_(windows.count).div_(variance).div_(windows.variance)
        by_variance = (by_covariance * covariance).div_(variance).mul_(-0.5)
        by_mean = (by_covariance * windows.mean).addcmul_(by_variance, mean, value=2.0).neg_()
        by_warped = windows.sum(by_mean)
        by_warped.addcmul_(masked, windows.sum(by_variance), value=2.0)
        by_warped.addcmul_(windows.fixed, windows.sum(by_covariance))
        return by_warped.mul_(windows.mask), None


def mind(fixed: Tensor, mask: Tensor, weight: Tensor) -> Dissimilarity:
    """Mean squared difference of MIND-SSC descriptors (Heinrich et al. 2013): for pairs of unlike contrast.

    Only descriptors made of unmasked voxels alone are compared.
    """
    squared, share = _descriptor_differences(fixed, mask, weight)
    return lambda warped: (share * squared(warped)).sum()


def robust_mind(fixed: Tensor, mask: Tensor, weight: Tensor) -> Dissimilarity:
    """`mind` in which voxels that nothing corresponds to hardly pull: for pairs with streaks (Geman and McClure 1985).

    Of each squared difference the harmonic mean with that of unlike tissue: doubled where it is small, never more than
    twice the other.
    """
    squared, share = _descriptor_differences(fixed, mask, weight)

    def dissimilarity(warped: Tensor) -> Tensor:
        differences = squared(warped)
        return (share * (2.0 * _UNLIKE_MIND * differences / (differences + _UNLIKE_MIND))).sum()

    return dissimilarity


def _descriptor_differences(fixed: Tensor, mask: Tensor, weight: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Mean squared difference of the descriptors of each voxel, and the share of each voxel in a mean over all."""
    whole = (box_sum(1.0 - mask, 2 * SELF_SIMILARITY_REACH + 1) < 0.5).to(mask.dtype)
    wanted = mind_ssc(fixed, whole)
    return lambda warped: ((mind_ssc(warped, whole) - wanted) ** 2).mean(dim=1, keepdim=True), _shares(whole, weight)


def unlike(name: str, fixed: Tensor, mask: Tensor, weight: Tensor) -> float | Tensor:
    """About what a moving image would score whose structure has nothing to do with that of the fixed one.

    Divided by it, every dissimilarity means the same beside one weight of the roughness. Squared differences: twice the
    mean variance within the windows of local correlation, since air and tissue lie apart whatever their structure.
    """
    if name != "mse":
        return 1.0 if name == "lncc" else _UNLIKE_MIND
    windows = _FixedWindows(fixed, mask, weight, 2 * LNCC_RADIUS + 1)
    return 2.0 * (windows.share * windows.variance).sum().clamp(min=_VARIANCE_FLOOR)


SIMILARITY: dict[str, Similarity] = {"mse": mse, "lncc": lncc, "mind": mind, "robust-mind": robust_mind}
