"""Where a regular grid of voxels lies in the patient."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from engine.errors import InputError
from engine.shapes import Matrix, PointArray

if TYPE_CHECKING:
    from engine.roi import Box

Triple = tuple[float, float, float]
IDENTITY_DIRECTION: tuple[Triple, Triple, Triple] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
_ORTHONORMAL_TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Geometry:
    """A regular grid in patient space (DICOM LPS, mm). Arrays are (z, y, x), points (x, y, z).

    `direction[row][column]`: column k is the patient direction of grid axis k (x, y, z).
    """

    shape_zyx: tuple[int, int, int]
    spacing_xyz_mm: Triple
    origin_xyz_mm: Triple = (0.0, 0.0, 0.0)
    direction: tuple[Triple, Triple, Triple] = field(default=IDENTITY_DIRECTION)

    def __post_init__(self) -> None:
        if len(self.shape_zyx) != 3 or min(self.shape_zyx) < 1:
            raise InputError(f"Expected a grid of three axes, got shape {self.shape_zyx}.")
        if not np.all(np.isfinite(self.spacing_xyz_mm)) or min(self.spacing_xyz_mm) <= 0:
            raise InputError(f"Expected a positive voxel spacing, got {self.spacing_xyz_mm} mm.")
        axes = np.asarray(self.direction)
        if not np.allclose(axes.T @ axes, np.eye(3), atol=_ORTHONORMAL_TOLERANCE):
            raise InputError("Expected grid axes at right angles; the image's direction matrix is sheared.")

    @property
    def size_xyz(self) -> tuple[int, int, int]:
        z, y, x = self.shape_zyx
        return x, y, z

    @property
    def spacing_zyx_mm(self) -> Triple:
        x, y, z = self.spacing_xyz_mm
        return z, y, x

    def point_from_index(self) -> Matrix:
        """4 × 4 matrix from a continuous voxel index (x, y, z) to a point (x, y, z) in mm."""
        matrix = np.eye(4)
        matrix[:3, :3] = np.asarray(self.direction) @ np.diag(self.spacing_xyz_mm)
        matrix[:3, 3] = self.origin_xyz_mm
        return matrix

    def index_from_point(self) -> Matrix:
        """Inverse of `point_from_index`."""
        inverse: Matrix = np.linalg.inv(self.point_from_index()).astype(np.float64)
        return inverse

    def points(self, index_xyz: ArrayLike) -> PointArray:
        """Points in mm of continuous indices (N, 3)."""
        return transform_points(self.point_from_index(), index_xyz)

    def indices(self, point_xyz_mm: ArrayLike) -> PointArray:
        """Continuous indices (x, y, z) of points (N, 3)."""
        return transform_points(self.index_from_point(), point_xyz_mm)

    def is_close(self, other: Geometry) -> bool:
        """Whether two grids have the same voxels, to a tenth of one."""
        if self.shape_zyx != other.shape_zyx:
            return False
        corners = np.diag(np.maximum(np.asarray(self.size_xyz) - 1, 1))
        ends = np.vstack([np.zeros(3), corners])
        return bool(np.abs(self.points(ends) - other.points(ends)).max() <= 0.1 * min(self.spacing_xyz_mm))

    def center_xyz_mm(self) -> PointArray:
        """The middle of the grid, a point (3,)."""
        center: PointArray = self.points([(np.asarray(self.size_xyz) - 1) / 2])[0]
        return center

    def cropped(self, box: Box) -> Geometry:
        """The part of this grid inside a box."""
        origin = self.points([[box.x0, box.y0, box.z0]])[0]
        return Geometry(box.shape_zyx, self.spacing_xyz_mm, as_triple(origin), self.direction)

    def resampled(self, spacing_xyz_mm: Triple, multiple_of: int = 1, least: int = 1) -> Geometry:
        """A grid of other spacing over the same extent and with the same center, its size rounded up.

        `least`: voxels that it has along each axis even where that is more than the extent, a multiple itself.
        """
        size = [
            max(least, multiple_of * max(1, int(np.ceil(n * old / new / multiple_of - 1e-6))))
            for n, old, new in zip(self.size_xyz, self.spacing_xyz_mm, spacing_xyz_mm, strict=True)
        ]
        half_extent = (np.asarray(size) - 1) / 2 * np.asarray(spacing_xyz_mm)
        origin = self.center_xyz_mm() - np.asarray(self.direction) @ half_extent
        return Geometry((size[2], size[1], size[0]), spacing_xyz_mm, as_triple(origin), self.direction)

    def coarsened(self, least_spacing_mm: float) -> Geometry:
        """The grid itself along axes whose voxels are that large, such voxels along the others."""
        x, y, z = (max(spacing_mm, least_spacing_mm) for spacing_mm in self.spacing_xyz_mm)
        return self.resampled((x, y, z))

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; `from_dict` reads them back."""
        return {
            "size_xyz": list(self.size_xyz),
            "spacing_xyz_mm": list(self.spacing_xyz_mm),
            "origin_xyz_mm": list(self.origin_xyz_mm),
            "direction": [list(row) for row in self.direction],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Geometry:
        x, y, z = values["size_xyz"]
        rows = [as_triple(row) for row in values["direction"]]
        return cls(
            (int(z), int(y), int(x)),
            as_triple(values["spacing_xyz_mm"]),
            as_triple(values["origin_xyz_mm"]),
            (rows[0], rows[1], rows[2]),
        )


def as_triple(values: ArrayLike) -> Triple:
    """Three plain floats."""
    x, y, z = np.asarray(values, dtype=float)
    return float(x), float(y), float(z)


def transform_points(matrix: Matrix, points: ArrayLike) -> PointArray:
    """Apply a 4 × 4 matrix to points (N, 3)."""
    values = np.atleast_2d(np.asarray(points, dtype=np.float64))
    result: PointArray = values @ matrix[:3, :3].T + matrix[:3, 3]
    return result
