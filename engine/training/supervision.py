"""What training minimises: how badly a predicted displacement fits, and how rough it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.losses.regularity import grad_l2
from engine.losses.similarity import lncc
from engine.models.pyramid import MatchingPyramid
from engine.spatial.resample import upsampled
from engine.spatial.warp import sample, voxel_grid
from engine.training.batches import Batch
from engine.training.settings import TrainingSettings

_LEVEL_WEIGHTS = (1.0, 0.6, 0.4, 0.3)
"""Finest level first."""

_VOXELS_PER_DISSIMILARITY = 10.0
"""Images without any local correlation count like a field that is wrong by this much."""

_WHOLLY_SEEN = 0.99


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """`displacement_vox` (B, 3, D, H, W) of the input grid; `levels` finest first, each in voxels of its own grid."""

    displacement_vox: Tensor
    levels: list[Tensor]


def predicted(network: nn.Module, batch: Batch, precision: str = "fp32") -> Prediction:
    """What a network says, in float32 whatever its own precision: with all levels where it has several."""
    with torch.autocast(batch.fixed.device.type, torch.bfloat16, enabled=precision == "bf16"):
        if isinstance(network, MatchingPyramid):
            levels = network.levels(batch.moving, batch.fixed, batch.guess)[::-1]
        else:
            levels = [network(batch.moving, batch.fixed)]
    levels = [level.float() for level in levels]
    return Prediction(upsampled(levels[0]) if isinstance(network, MatchingPyramid) else levels[0], levels)


def fit_and_roughness(network: nn.Module, batch: Batch, settings: TrainingSettings) -> tuple[Tensor, Tensor]:
    """The two losses of a batch: the fit in voxels, the roughness in voxel² (`grad_l2`).

    The fit is the distance to the field where it is known and asked for, plus the dissimilarity of the images where
    that is asked for or nothing else is known. Both are means over the pairs of the batch.
    """
    prediction = predicted(network, batch, settings.precision)
    fit = batch.fixed.new_zeros(())
    if batch.displacement_vox is not None and settings.supervision != "similarity":
        fit = fit + field_distance(prediction.levels, batch.displacement_vox, batch.weight)
    if batch.displacement_vox is None or settings.supervision != "field":
        fit = fit + _VOXELS_PER_DISSIMILARITY * dissimilarity(prediction.displacement_vox, batch)
    return fit, grad_l2(prediction.displacement_vox)


def field_distance(levels: list[Tensor], truth_vox: Tensor, weight: Tensor) -> Tensor:
    """Smooth weighted distance to the known displacement, summed over the levels, in voxels of the finest grid.

    `levels` finest first, of the size of `truth_vox` (B, 3, D, H, W) divided by powers of two.
    """
    total = truth_vox.new_zeros(())
    for factor, level in zip(_LEVEL_WEIGHTS, levels, strict=False):
        ratio = truth_vox.shape[2] // level.shape[2]
        truth, counted = F.avg_pool3d(truth_vox, ratio) / ratio, F.avg_pool3d(weight, ratio)
        distance = torch.sqrt(((level - truth) ** 2).sum(dim=1, keepdim=True) + 1e-3)
        total = total + factor * ratio * weighted_mean(distance, counted)
    return total


def dissimilarity(displacement_vox: Tensor, batch: Batch) -> Tensor:
    """1 − squared local correlation of the clean images, where both scanners saw something; 0 to 1."""
    positions = voxel_grid(tuple(displacement_vox.shape[2:]), displacement_vox) + displacement_vox
    warped = sample(batch.clean_moving, positions)
    with torch.no_grad():
        seen = sample(batch.moving_seen, positions, padding="zeros") > _WHOLLY_SEEN
        mask = batch.fixed_seen * seen
    pairs = zip(*(tensor.split(1) for tensor in (warped, batch.clean_fixed, mask, batch.weight)), strict=True)
    return torch.stack([lncc(fixed, where, weight)(image) for image, fixed, where, weight in pairs]).mean()


def weighted_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of each pair (B, 1, D, H, W), then the mean over the pairs."""
    axes = (1, 2, 3, 4)
    return ((weight * values).mean(axes) / weight.mean(axes)).mean()


@torch.no_grad()
def target_error_vox(network: nn.Module, batch: Batch) -> tuple[float, float]:
    """Mean distance to the known field where there is structure, in voxels: of the network, and of no motion at all."""
    assert batch.displacement_vox is not None
    found = network(batch.moving, batch.fixed, *(() if batch.guess is None else (batch.guess,)))
    distances = [
        (field - batch.displacement_vox).norm(dim=1, keepdim=True) for field in (found, torch.zeros_like(found))
    ]
    error, still = (float(weighted_mean(distance, batch.weight)) for distance in distances)
    return error, still
