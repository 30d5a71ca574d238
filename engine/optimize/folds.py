"""Folding taken out of a displacement by smoothing it where it folds."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from engine.shapes import DisplacementArray
from engine.spatial.jacobian import jacobian_determinant

_LEAST_DETERMINANT = 0.05
_ROUNDS = 12
_REACH = 6
"""Voxels round a fold that one round of smoothing touches."""


def without_folds(displacement_vox: DisplacementArray) -> tuple[DisplacementArray, int]:
    """The displacement smoothed round voxels with det(I + grad u) ≤ 0.05, and how many there were at first.

    Each round blends a Gaussian mean into the field near the folds, a little wider every time. What still folds after
    the last round stays and shows in the figures. Works in place.
    """
    folded = jacobian_determinant(displacement_vox) <= _LEAST_DETERMINANT
    found = int(folded.sum())
    for round_number in range(_ROUNDS):
        if not folded.any():
            break
        sigma = 1.0 + 0.25 * round_number
        for region in _regions(folded):
            _smooth(displacement_vox, folded, region, sigma)
        folded = jacobian_determinant(displacement_vox) <= _LEAST_DETERMINANT
    return displacement_vox, found


def _regions(folded: np.ndarray) -> list[tuple[slice, ...]]:
    labels, _ = ndimage.label(ndimage.binary_dilation(folded, iterations=_REACH) if folded.size < 2**24 else folded)
    return [
        tuple(slice(max(0, s.start - _REACH), s.stop + _REACH + 1) for s in region)
        for region in ndimage.find_objects(labels)
    ]


def _smooth(displacement_vox: DisplacementArray, folded: np.ndarray, region: tuple[slice, ...], sigma: float) -> None:
    part = displacement_vox[(slice(None), *region)]
    seeds = np.zeros(part.shape[1:], np.float32)
    inner = folded[region]
    seeds[tuple(slice(0, n) for n in inner.shape)] = inner
    share = ndimage.gaussian_filter(np.minimum(ndimage.maximum_filter(seeds, 3), 1.0), 1.5)
    share = np.clip(2.0 * share, 0.0, 1.0)
    for component in part:
        component += share * (ndimage.gaussian_filter(component, sigma, mode="nearest") - component)
