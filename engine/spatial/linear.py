"""Linear interpolation along an axis as a matrix. No torch: the window uses it too."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def linear_weights(indices: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """What each of `length` voxels counts at continuous indices along an axis, (M, length); edge values outside."""
    distances = np.abs(np.clip(indices, 0, length - 1)[:, np.newaxis] - np.arange(length))
    weights: NDArray[np.float64] = np.maximum(1.0 - distances, 0.0)
    return weights
