"""Where the two images still differ most."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from engine.roi import Box
from engine.shapes import HuArray, MaskArray

_CAP_HU = 400.0


def worst_box(fixed_hu: HuArray, warped_hu: HuArray, counted: MaskArray, size_zyx: tuple[int, int, int]) -> Box:
    """The box of a size inside the grid with the largest mean squared difference (capped at 400 HU) over `counted`."""
    shape = fixed_hu.shape
    size = [min(wanted, n) for wanted, n in zip(size_zyx, shape, strict=True)]
    difference = np.where(counted, np.clip(fixed_hu - warped_hu, -_CAP_HU, _CAP_HU), np.float32(0))
    error = ndimage.uniform_filter(difference**2, size, mode="constant")
    reachable = tuple(slice(s // 2, n - (s - s // 2) + 1) for s, n in zip(size, shape, strict=True))
    peak = np.unravel_index(int(np.argmax(error[reachable])), error[reachable].shape)
    z, y, x = (int(value) for value in peak)
    return Box(x, x + size[2], y, y + size[1], z, z + size[0])
