"""The registration T(x) = R(x + u(x)) as an immutable value that knows how it came about."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from engine.errors import InputError
from engine.geometry import Geometry, transform_points
from engine.roi import Box
from engine.shapes import DisplacementArray, Matrix, PointArray


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a region-specific optimisation promises, as measured on its result (DESIGN: contract of RSO)."""

    max_change_outside_mm: float
    new_folds: int
    seam_gradient_jump: float
    box_error_grew: bool
    passed: bool
    scaled_by_fold_guard: float = 1.0


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step and its figures: what undo labels, metrics.json and "do it again" are made from."""

    name: str
    settings: dict[str, Any]
    iterations: int
    seconds: float
    rmse_hu: float
    folding_percent: float
    min_jacobian: float
    roughness: float
    box: Box | None = None
    box_rmse_hu_before: float | None = None
    box_rmse_hu_after: float | None = None
    certificate: Certificate | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Registration:
    """T(x) = R(x + u(x)), x in fixed patient space (LPS, mm).

    `rigid`: 4 × 4 matrix of R, fixed to moving. `displacement_vox`: u on the fixed grid, (3, Z, Y, X) float32 in
    voxels, components z, y, x, read-only. `weights`: the network's weights adapted to this case, or none.
    """

    fixed: Geometry
    rigid: Matrix
    displacement_vox: DisplacementArray
    steps: tuple[Step, ...] = ()
    model: str | None = None
    weights: dict[str, Any] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.displacement_vox.shape != (3, *self.fixed.shape_zyx) or self.displacement_vox.dtype != np.float32:
            raise InputError(
                f"Expected a float32 displacement of shape {(3, *self.fixed.shape_zyx)}, "
                f"got {self.displacement_vox.dtype} {self.displacement_vox.shape}."
            )
        self.displacement_vox.flags.writeable = False
        self.rigid.flags.writeable = False

    @classmethod
    def identity(cls, fixed: Geometry) -> Registration:
        """T(x) = x."""
        return cls(fixed, np.eye(4), np.zeros((3, *fixed.shape_zyx), dtype=np.float32))

    def after(self, step: Step, **changes: Any) -> Registration:
        """A new registration with `changes` (rigid, displacement_vox, model, weights) and the step on record."""
        return replace(self, steps=(*self.steps, step), **changes)

    def rest_on(self, displacement_vox: DisplacementArray) -> None:
        """Hold the same values of u in another array, such as one mapped from a file; nobody can tell them apart."""
        displacement_vox.flags.writeable = False
        object.__setattr__(self, "displacement_vox", displacement_vox)

    def map_points(self, point_xyz_mm: PointArray) -> PointArray:
        """T of points (N, 3) in fixed patient space; u is linear between voxels and zero outside the grid."""
        points = np.atleast_2d(np.asarray(point_xyz_mm, dtype=np.float64))
        index_zyx = self.fixed.indices(points)[:, ::-1]
        offset_zyx = _interpolated(self.displacement_vox, index_zyx)
        linear = self.fixed.point_from_index()[:3, :3]
        return transform_points(self.rigid, points + offset_zyx[:, ::-1] @ linear.T)


def _interpolated(displacement_vox: DisplacementArray, index_zyx: PointArray) -> PointArray:
    """Linear between voxels, constant for half a voxel around the grid (as in ITK), zero beyond."""
    from scipy.ndimage import map_coordinates

    sizes = np.asarray(displacement_vox.shape[1:])
    components = [
        map_coordinates(component, index_zyx.T, order=1, mode="nearest", output=np.float64)
        for component in displacement_vox
    ]
    inside = np.all((index_zyx >= -0.5) & (index_zyx <= sizes - 0.5), axis=1, keepdims=True)
    return np.where(inside, np.stack(components, axis=1), 0.0)
