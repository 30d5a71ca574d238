"""The collar of a box: where a regional correction fades to zero."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.roi import Box

LARGEST_RESIDUAL_VOX = 4.0
"""The residual motion that the collar is made for; twice that cannot fold it yet."""

COLLAR_VOX = max(8, int(np.ceil(np.pi * LARGEST_RESIDUAL_VOX)))


def collared(box: Box, shape_zyx: tuple[int, int, int]) -> Box:
    """Box and collar."""
    return box.grown(COLLAR_VOX, shape_zyx)


def window(box: Box, crop: Box, shape_zyx: tuple[int, int, int]) -> NDArray[np.float32]:
    """1 in the box, a raised cosine over the collar, 0 from its outer face on; over the voxels of `crop`.

    A side whose collar reaches a face of the image has no ramp: the weight stays 1 up to that face.
    """
    profiles = [
        _profile(inner, outer, size)
        for inner, outer, size in zip(box.ranges_zyx, crop.ranges_zyx, shape_zyx, strict=True)
    ]
    z, y, x = profiles
    return (z[:, None, None] * y[None, :, None] * x[None, None, :]).astype(np.float32)


def _profile(inner: tuple[int, int], outer: tuple[int, int], size: int) -> NDArray[np.float64]:
    index = np.arange(*outer)
    below = np.maximum(inner[0] - index, 0) if inner[0] - COLLAR_VOX >= 0 else np.zeros(index.size)
    above = np.maximum(index - (inner[1] - 1), 0) if inner[1] + COLLAR_VOX <= size else np.zeros(index.size)
    inward = np.clip(1.0 - np.maximum(below, above) / COLLAR_VOX, 0.0, 1.0)
    profile: NDArray[np.float64] = 0.5 - 0.5 * np.cos(np.pi * inward)
    profile[inward == 0.0] = 0.0
    return profile


def working_crop(box: Box, shape_zyx: tuple[int, int, int], least_zyx: tuple[int, int, int] | None = None) -> Box:
    """Box and collar, grown inside the image to a least size where there is room."""
    ranges = [
        _grown(start, stop, size, least)
        for (start, stop), size, least in zip(
            collared(box, shape_zyx).ranges_zyx, shape_zyx, least_zyx or (1, 1, 1), strict=True
        )
    ]
    (z0, z1), (y0, y1), (x0, x1) = ranges
    return Box(x0, x1, y0, y1, z0, z1)


def _grown(start: int, stop: int, size: int, least: int) -> tuple[int, int]:
    wanted = min(size, max(least, stop - start))
    start = max(0, min(start - (wanted - (stop - start)) // 2, size - wanted))
    return start, max(stop, start + wanted)
