"""An image in the making: tissues are painted one over the other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from engine.phantom.sampling import FloatArray, Points, Slices
from engine.volume import AIR_HU

ORGANS: dict[str, int] = {
    "body": 1, "lung_right": 2, "lung_left": 3, "heart": 4, "liver": 5, "spine": 6, "ribs": 7, "stomach": 8,
    "spleen": 9, "aorta": 10, "trachea": 11, "spinal_canal": 12, "tumour": 13, "kidneys": 14,
}  # fmt: skip
"""Values of the label images."""


class Canvas:
    """HU and labels at given points; `edge_mm` is the width over which one tissue passes into the next."""

    def __init__(
        self, points: Points, edge_mm: float, hu: FloatArray | None = None, labels: NDArray[np.uint8] | None = None
    ) -> None:
        """`hu` and `labels`: what is painted over, air and nothing if not given."""
        self.points = points
        self.edge_mm = edge_mm
        self.hu: FloatArray = np.full(points.shape, AIR_HU, dtype=np.float32) if hu is None else hu
        self.labels: NDArray[np.uint8] = np.zeros(points.shape, dtype=np.uint8) if labels is None else labels

    def share(self, depth: FloatArray) -> FloatArray:
        """How much of a voxel lies inside a surface, 0..1, from the depth below it in nominal mm."""
        result: FloatArray = np.clip(depth * np.float32(1 / self.edge_mm) + np.float32(0.5), 0, 1)
        return result

    def paint(self, share: FloatArray, hu: float | FloatArray, organ: str = "", part: Slices | None = None) -> None:
        """Cover a part of the image, by `share`, with a tissue."""
        view = self.hu if part is None else self.hu[part]
        view += share * (hu - view)
        if organ:
            labels = self.labels if part is None else self.labels[part]
            labels[np.broadcast_to(share, labels.shape) > 0.5] = ORGANS[organ]
