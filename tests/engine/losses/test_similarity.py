from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.losses.similarity import SIMILARITY, lncc, mse, unlike

SHAPE = (7, 6, 9)
VARIANCE_FLOOR = 1e-5


def _image(seed: int, dtype: torch.dtype = torch.float32, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    return torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(seed), dtype=dtype)


def _mask(seed: int = 9, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """About four fifths of the voxels, a whole corner missing."""
    mask = (_image(seed, shape=shape) < 0.8).float()
    mask[..., :2, :2, :3] = 0.0
    return mask


def test_mse_is_a_weighted_mean_over_the_mask() -> None:
    """Differences 1, 2, 3 with weights 1, 2, 1 and a masked 4: (1 + 2 · 4 + 9) / 4 = 4.5."""
    fixed = torch.full((1, 1, 1, 2, 2), 0.5)
    warped = fixed + torch.tensor([[1.0, -2.0], [3.0, 4.0]])
    mask, weight = torch.tensor([[1.0, 1.0], [1.0, 0.0]]), torch.tensor([[1.0, 2.0], [1.0, 5.0]])

    assert mse(fixed, mask.view_as(fixed), weight.view_as(fixed))(warped).item() == pytest.approx(4.5)


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_lncc_is_that_of_windows_counted_one_by_one(radius: int) -> None:
    fixed, warped, mask, weight = _image(1), 0.5 * _image(1) + 0.5 * _image(2), _mask(), _image(3)

    loss = lncc(fixed, mask, weight, radius)(warped)

    expected = _lncc_by_hand(*(t[0, 0].double().numpy() for t in (fixed, warped, mask, weight)), radius)
    assert loss.item() == pytest.approx(expected, abs=1e-5), "float32 sums of at most 343 values below 1"


def _lncc_by_hand(fixed: np.ndarray, warped: np.ndarray, mask: np.ndarray, weight: np.ndarray, radius: int) -> float:
    total = 0.0
    for center in zip(*np.nonzero(mask), strict=True):
        window = tuple(slice(max(0, c - radius), c + radius + 1) for c in center)
        seen = mask[window] == 1
        f, w = fixed[window][seen], warped[window][seen]
        covariance = (f * w).mean() - f.mean() * w.mean()
        correlation = covariance**2 / ((f.var() + VARIANCE_FLOOR) * (w.var() + VARIANCE_FLOOR))
        total += weight[center] * (1 - correlation)
    return total / (mask * weight).sum()


def test_the_gradient_of_lncc_is_right() -> None:
    shape = (4, 3, 5)
    fixed, warped, weight = (_image(seed, torch.float64, shape) for seed in (1, 2, 3))
    dissimilarity = lncc(fixed, _mask(shape=shape).double(), weight, radius=1)

    assert torch.autograd.gradcheck(dissimilarity, [warped.requires_grad_()])


@pytest.mark.parametrize(("gain", "offset"), [(0.5, 0.3), (3.0, -1.0), (-1.5, 0.7)])
def test_lncc_does_not_see_a_linear_change_of_intensity(gain: float, offset: float) -> None:
    """Local variances are about 0.08, the floor of 1e-5 is a ten-thousandth of that; at half gain four."""
    fixed, warped, ones = _image(1), 0.7 * _image(1) + 0.3 * _image(2), torch.ones(1, 1, *SHAPE)
    dissimilarity = lncc(fixed, ones, ones)

    assert dissimilarity(gain * warped + offset).item() == pytest.approx(dissimilarity(warped).item(), abs=1e-3)
    assert dissimilarity(gain * fixed + offset).item() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("name", SIMILARITY)
def test_masked_voxels_have_no_influence(name: str) -> None:
    fixed, warped, weight, mask = _image(1), _image(2), _image(3), _mask()
    seen = mask.bool()
    other_fixed, other_warped = torch.where(seen, fixed, _image(4) - 7), torch.where(seen, warped, 50 * _image(5))

    loss, gradient = _loss_and_gradient(name, fixed, warped, mask, weight)
    other_loss, other_gradient = _loss_and_gradient(name, other_fixed, other_warped, mask, weight)

    assert loss == other_loss
    assert torch.equal(gradient, other_gradient)
    assert not gradient[~seen].any()


def _loss_and_gradient(name: str, fixed: Tensor, warped: Tensor, mask: Tensor, weight: Tensor) -> tuple[float, Tensor]:
    warped = warped.clone().requires_grad_()
    loss = SIMILARITY[name](fixed, mask, weight)(warped)
    (gradient,) = torch.autograd.grad(loss, warped)
    return loss.item(), gradient


@pytest.mark.parametrize("name", SIMILARITY)
def test_every_dissimilarity_is_least_for_equal_images_and_leads_there(name: str) -> None:
    fixed, ones = _image(1), torch.ones(1, 1, *SHAPE)
    dissimilarity = SIMILARITY[name](fixed, ones, ones)
    warped = (0.6 * fixed + 0.4 * _image(2)).requires_grad_()

    loss = dissimilarity(warped)
    (gradient,) = torch.autograd.grad(loss, warped)

    assert dissimilarity(fixed).item() == pytest.approx(0.0, abs=1e-3), "lncc: the floor of the variance"
    assert loss.item() > 0.01
    assert dissimilarity(warped - 1e-3 * gradient / gradient.abs().max()).item() < loss.item()


@pytest.mark.parametrize("place", [(3, 3, 4), (0, 5, 8), (6, 2, 2)])
def test_robust_descriptors_count_by_the_harmonic_mean_with_those_of_unlike_tissue(place: tuple[int, int, int]) -> None:
    fixed, warped, ones, alone = _image(1), _image(2), torch.ones(1, 1, *SHAPE), torch.zeros(1, 1, *SHAPE)
    alone[(0, 0, *place)] = 1.0
    squared = SIMILARITY["mind"](fixed, ones, alone)(warped).item()
    usual = unlike("mind", fixed, ones, alone)

    robust = SIMILARITY["robust-mind"](fixed, ones, alone)(warped).item()

    assert squared > 0.01
    assert robust == pytest.approx(2.0 / (1.0 / squared + 1.0 / usual), rel=1e-5)


@pytest.mark.parametrize("name", SIMILARITY)
def test_nothing_to_compare_is_no_error(name: str) -> None:
    loss, gradient = _loss_and_gradient(name, _image(1), _image(2), torch.zeros(1, 1, *SHAPE), _image(3))

    assert loss == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("name", sorted(SIMILARITY))
def test_images_that_have_nothing_in_common_score_about_what_is_said(name: str) -> None:
    """Noise smoothed to blobs, as tissue is, against other such noise; within a factor of two."""
    shape = (24, 24, 24)
    fixed, moving = (torch.nn.functional.avg_pool3d(_image(seed, shape=shape), 3, stride=1) for seed in (1, 2))
    ones = torch.ones_like(fixed)

    score = SIMILARITY[name](fixed, ones, ones)(moving).item()

    assert 0.5 < score / unlike(name, fixed, ones, ones) < 2.0
