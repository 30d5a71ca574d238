"""Pairs of points as marks on a plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.viewer.planes import Plane
from app.viewer.view_state import Continuous, ImageName
from engine.case import Case
from engine.geometry import Triple, transform_points
from engine.shapes import Matrix, PointArray

_SEEN_WITHIN = 1.0
_ON_SLICE = 0.5


@dataclass(frozen=True, slots=True)
class Mark:
    """A numbered place (across, down) in mm on a plane, on its slice or on the next one."""

    text: str
    place_mm: tuple[float, float]
    on_slice: bool
    selected: bool


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """Points (N, 3) in fixed patient space: p, and R⁻¹q, where the aligned moving image shows the partner.

    `started_mm`: a point that has no partner yet.
    """

    fixed_mm: PointArray
    aligned_mm: PointArray
    selected: int | None = None
    started_mm: Triple | None = None

    @classmethod
    def of(cls, case: Case, selected: int | None, started_mm: Triple | None, rigid: Matrix | None = None) -> Pairs:
        """Those of a case, its moving image aligned by `rigid`, or as in its current state."""
        guidance = case.guidance
        to_fixed = np.linalg.inv(case.current.rigid if rigid is None else rigid)
        return cls(
            guidance.fixed_points_mm, transform_points(to_fixed, guidance.moving_points_mm), selected, started_mm
        )

    def marks(self, image: ImageName, plane: Plane, cursor_zyx: Continuous) -> tuple[Mark, ...]:
        """Those within one slice of the cursor's."""
        points = list(self.aligned_mm if image == "moving" else self.fixed_mm)
        if self.started_mm is not None and image != "moving":
            points.append(np.asarray(self.started_mm))
        if not points:
            return ()
        marks = []
        on_slice = plane.to_grid(cursor_zyx)[plane.normal]
        for number, (x, y, z) in enumerate(plane.grid.indices(points)):
            index = z, y, x
            away = abs(index[plane.normal] - on_slice)
            if away <= _SEEN_WITHIN:
                across, down = plane.spacing_mm
                place = index[plane.column] * across, index[plane.row] * down
                chosen = number == (self.selected if self.started_mm is None else len(self.fixed_mm))
                marks.append(Mark(str(number + 1), place, bool(away <= _ON_SLICE), chosen))
        return tuple(marks)
