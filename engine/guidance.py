"""What a user knows of a pair beyond its images."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np

from engine.errors import InputError
from engine.geometry import Triple
from engine.shapes import MaskArray, PointArray


def _no_points() -> PointArray:
    return np.empty((0, 3))


@dataclass(frozen=True, slots=True, eq=False)
class Guidance:
    """Hints for every refinement, empty where nothing is known.

    `fixed_points_mm`, `moving_points_mm` (N, 3): the same places in both images. On the fixed grid (Z, Y, X):
    `rigid`, what keeps its shape (bone), each connected piece by itself; `excluded`, where nothing corresponds because
    tissue appeared or vanished.
    """

    fixed_points_mm: PointArray = field(default_factory=_no_points)
    moving_points_mm: PointArray = field(default_factory=_no_points)
    rigid: MaskArray | None = None
    excluded: MaskArray | None = None

    def __post_init__(self) -> None:
        if self.fixed_points_mm.shape != self.moving_points_mm.shape or self.fixed_points_mm.shape[1:] != (3,):
            raise InputError(
                f"Expected as many fixed as moving points, got {len(self.fixed_points_mm)} and "
                f"{len(self.moving_points_mm)}."
            )
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None:
                value.flags.writeable = False

    @property
    def is_empty(self) -> bool:
        return not len(self.fixed_points_mm) and self.rigid is None and self.excluded is None

    def with_pair(self, fixed_xyz_mm: Triple, moving_xyz_mm: Triple) -> Guidance:
        """With one more pair of points at the end."""
        fixed_mm = np.vstack([self.fixed_points_mm, fixed_xyz_mm])
        return replace(
            self, fixed_points_mm=fixed_mm, moving_points_mm=np.vstack([self.moving_points_mm, moving_xyz_mm])
        )

    def without_pair(self, number: int) -> Guidance:
        """Without one pair of points, counted from 0."""
        kept = np.arange(len(self.fixed_points_mm)) != number
        return replace(self, fixed_points_mm=self.fixed_points_mm[kept], moving_points_mm=self.moving_points_mm[kept])

    def checked(self, shape_zyx: tuple[int, int, int]) -> Guidance:
        """Itself, or an `InputError` where a mask does not lie on the fixed grid."""
        for name, mask in (("rigid", self.rigid), ("excluded", self.excluded)):
            if mask is not None and mask.shape != shape_zyx:
                raise InputError(f"Expected the {name} mask on the fixed grid {shape_zyx} (z, y, x), got {mask.shape}.")
        return self
