"""Folding taken out of a displacement by smoothing it where it folds."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from engine.shapes import DisplacementArray, MaskArray
from engine.spatial.jacobian import jacobian_determinant

_LEAST_DETERMINANT = 0.05
_VOXELS_AT_ONCE = 2**20
_ROUNDS = 40
_WIDENING = 0.1
"""Voxels by which the Gaussian grows from round to round."""


def without_folds(displacement_vox: DisplacementArray) -> tuple[DisplacementArray, int]:
    """The displacement smoothed round voxels with det(I + grad u) ≤ 0.05, and how many there were at first.

    Each round blends a Gaussian mean into the field near what still folds, a little wider every time. What folds after
    the last round stays and shows in the figures. Works in place.
    """
    folded = _folded(displacement_vox)
    found = int(np.count_nonzero(folded))
    for round_number in range(_ROUNDS):
        if not folded.any():
            break
        sigma = 0.8 + _WIDENING * round_number
        region = _surroundings(folded, reach=int(np.ceil(9 * sigma)) + 1)
        part = displacement_vox[(slice(None), *_one_more(region))]
        _smooth_near(part, folded[region], sigma)
        folded[region] = jacobian_determinant(part) <= _LEAST_DETERMINANT
    return displacement_vox, found


def _folded(displacement_vox: DisplacementArray) -> MaskArray:
    """Slab by slab, so that the determinants of all voxels are nowhere at once."""
    depth, rows, columns = displacement_vox.shape[1:]
    folded = np.empty((depth - 1, rows - 1, columns - 1), bool)
    together = max(1, _VOXELS_AT_ONCE // (rows * columns))
    for start in range(0, depth - 1, together):
        part = displacement_vox[:, start : start + together + 1]
        folded[start : start + together] = jacobian_determinant(part) <= _LEAST_DETERMINANT
    return folded


def _surroundings(mask: MaskArray, reach: int) -> tuple[slice, slice, slice]:
    """The bounding box of a mask, larger by `reach` voxels where there is room."""
    ranges = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis)))
        ranges.append(slice(max(0, int(hit[0]) - reach), min(mask.shape[axis], int(hit[-1]) + reach + 1)))
    return ranges[0], ranges[1], ranges[2]


def _one_more(region: tuple[slice, slice, slice]) -> tuple[slice, ...]:
    return tuple(slice(part.start, part.stop + 1) for part in region)


def _smooth_near(part: DisplacementArray, folded: MaskArray, sigma: float) -> None:
    """Blend the Gaussian mean in: wholly within 2 sigma of the folds, fading to nothing over 4 sigma more."""
    away = ndimage.distance_transform_edt(~folded).astype(np.float32)
    distance = np.pad(away, [(0, 1)] * 3, mode="edge")
    share = np.clip(1.5 - distance / (4.0 * sigma), 0.0, 1.0)
    for component in part:
        component += share * (ndimage.gaussian_filter(component, sigma, mode="nearest", truncate=3.0) - component)
