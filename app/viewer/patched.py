"""An image with another part laid over it, put together only where it is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.roi import Box
from engine.shapes import HuArray

if TYPE_CHECKING:
    from engine.spatial.oblique import Section

RisingPart = tuple[Any, Any, Any]
"""Of each axis z, y, x a number, or a slice that counts up."""


@dataclass(frozen=True, slots=True, eq=False)
class Patched:
    """`patch` inside `region`, `base` (Z, Y, X) elsewhere, cut like an array: nothing of the whole is copied."""

    base: HuArray
    region: Box
    patch: HuArray

    def __getitem__(self, part: RisingPart) -> HuArray:
        within: list[slice] = []
        of_patch: list[int | slice] = []
        for count, (start, stop), cut in zip(self.base.shape, self.region.ranges_zyx, part, strict=True):
            indices = np.arange(count)[cut]
            hits = np.flatnonzero((indices >= start) & (indices < stop))
            if not hits.size:
                return self.base[part]
            if indices.ndim:
                first, last = indices[hits[0]] - start, indices[hits[-1]] - start
                within.append(slice(hits[0], hits[-1] + 1))
                of_patch.append(slice(first, last + 1, cut.step))
            else:
                of_patch.append(int(indices) - start)
        laid = np.array(self.base[part])
        laid[tuple(within)] = self.patch[tuple(of_patch)]
        return laid

    def on(self, section: Section) -> HuArray:
        """(rows, columns) of HU at the pixels of a section of the image's grid; no voxel counts across the border."""
        first = [start for start, _ in self.region.ranges_zyx]
        there = section.mapped(np.eye(3), np.negative(first), self.region.shape_zyx)
        pixels: HuArray = np.where(there.seen, there.hu(self.patch), section.hu(self.base))
        return pixels
