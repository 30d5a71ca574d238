"""Breathing, a smooth random field and a set-up error: the true displacement, known at any point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.geometry import Geometry
from engine.phantom.anatomy import Anatomy, rotation_matrix
from engine.phantom.sampling import FloatArray, Frame, Points, grid_points, scattered_points
from engine.phantom.surfaces import cage_depth, smoothstep, spine_depth
from engine.shapes import DisplacementArray, PointArray

_KNOT_MM = 40.0
_MARGIN_KNOTS = 3
_LEAST_DETERMINANT = 0.25
_SPLINE_SIGMA = 0.33
"""S.d. of a cubic B-spline field in three dimensions whose coefficients have s.d. 1."""
_SMALL_PATIENT = 0.6
_STRENGTHS = 0.85 ** np.arange(12)
"""Tried in turn until nothing folds."""
_INVERSE_STEPS = 60


@dataclass(frozen=True)
class Motion:
    """T(x) = rigid(x + v(x)), v = strength · (breathing + random), all in mm of the patient.

    `diaphragm_mm` is the largest cranio-caudal motion, at the domes (negative: the fixed image is the fuller breath);
    `wall_mm` the motion of the front of the chest. `knots` (3, K, J, I) are cubic B-spline coefficients in mm,
    components x y z, `knot_origin_xyz_mm` the place of the first. `rotation` (3, 3) turns about `center_xyz_mm`.
    """

    anatomy: Anatomy
    frame: Frame
    diaphragm_mm: float
    wall_mm: float
    knots: NDArray[np.float64]
    knot_origin_xyz_mm: PointArray
    knot_mm: float
    rotation: NDArray[np.float64]
    shift_xyz_mm: PointArray
    center_xyz_mm: PointArray
    strength: float = 1.0

    def displacement_mm(self, points_xyz_mm: PointArray) -> PointArray:
        """The field u (N, 3), x y z in mm, at points (N, 3) in mm."""
        values = np.asarray(points_xyz_mm, dtype=float)
        nominal = scattered_points(self.frame.nominal(values))
        coordinates = ((values - self.knot_origin_xyz_mm) / self.knot_mm).T[::-1]
        soft = [
            wave + ndimage.map_coordinates(knots, coordinates, order=3, prefilter=False, mode="nearest")
            for wave, knots in zip(self._breathing(nominal), self.knots, strict=True)
        ]
        return np.stack(self._with_setup(list(values.T), soft), axis=-1)

    def on_grid(self, geometry: Geometry) -> FloatArray:
        """The field u (3, Z, Y, X), components x y z in mm, on an axis-aligned grid."""
        nominal = grid_points(geometry, self.frame)
        weights = [self._spline_weights(geometry, axis) for axis in range(3)]
        soft = np.empty((3, *geometry.shape_zyx), dtype=np.float32)
        for component, wave in enumerate(self._breathing(nominal)):
            spread = np.einsum("zk,kji->zji", weights[2], self.knots[component])
            spread = np.einsum("yj,zji->zyi", weights[1], spread)
            soft[component] = np.einsum("xi,zyi->zyx", weights[0], spread, optimize=True) + wave
        axes = [
            (origin + np.arange(n) * spacing).reshape([-1 if axis == 2 - k else 1 for k in range(3)])
            for axis, (origin, n, spacing) in enumerate(
                zip(geometry.origin_xyz_mm, geometry.size_xyz, geometry.spacing_xyz_mm, strict=True)
            )
        ]
        return np.stack([part.astype(np.float32) for part in self._with_setup(axes, list(soft))])

    def inverse(self, points_xyz_mm: PointArray, tolerance_mm: float = 1e-6) -> PointArray:
        """The x (N, 3) with x + u(x) = the given points, by fixed-point iteration."""
        target = np.asarray(points_xyz_mm, dtype=float)
        x = target.copy()
        for _ in range(_INVERSE_STEPS):
            step = target - x - self.displacement_mm(x)
            x += step
            if np.abs(step).max(initial=0) < tolerance_mm:
                break
        return x

    def _spline_weights(self, geometry: Geometry, axis: int) -> NDArray[np.float64]:
        start, step = geometry.origin_xyz_mm[axis], geometry.spacing_xyz_mm[axis]
        at = (start + np.arange(geometry.size_xyz[axis]) * step - self.knot_origin_xyz_mm[axis]) / self.knot_mm
        distance = np.abs(at[:, None] - np.arange(self.knots.shape[3 - axis]))
        near = 2 / 3 - distance**2 + distance**3 / 2
        far = np.clip(2 - distance, 0, None) ** 3 / 6
        weights: NDArray[np.float64] = np.where(distance < 1, near, far)
        return weights

    def _breathing(self, points: Points) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Displacement x, y, z in mm at full strength."""
        anatomy = self.anatomy
        top = np.float32(anatomy.apex_z + 15)
        rise = smoothstep((top - points.z) / top)
        fade = 1 / (1 + np.square(np.minimum(points.z + 10, 0) / np.float32(150)))
        along = (0.35 * rise + 0.65 * rise * rise) * fade
        free = smoothstep(cage_depth(points, anatomy) / np.float32(38))
        free = free * smoothstep((8 - spine_depth(points, anatomy)) / np.float32(36))
        middle = np.square((points.x - 5) / 32) + np.square((points.z - 70) / 75)
        free = free * (1 - 0.35 * np.exp(-middle))
        up = np.float32(self.diaphragm_mm) * along * free
        front = smoothstep((40 - points.y) / np.float32(130))
        wall = smoothstep((points.z + 130) / 130) * smoothstep((260 - points.z) / 160)
        forward = np.float32(self.wall_mm) * front * wall
        aside = np.float32(0.25 * self.wall_mm) * wall * np.tanh(points.x / 90)
        return aside, forward, up

    def _with_setup(self, axes: Sequence[FloatArray], soft: Sequence[FloatArray]) -> list[FloatArray]:
        """Rigid(x + strength · soft) - x, component by component."""
        center, shift = self.center_xyz_mm, self.shift_xyz_mm
        away = [axes[k] + self.strength * soft[k] - center[k] for k in range(3)]
        return [
            sum(row[k] * away[k] for k in range(3)) + center[j] + shift[j] - axes[j]
            for j, row in enumerate(self.rotation)
        ]


def random_motion(
    rng: np.random.Generator, anatomy: Anatomy, frame: Frame, geometry: Geometry
) -> tuple[Motion, FloatArray]:
    """A motion of 6 to 22 mm at the diaphragm, up or down, that folds nowhere, and its `on_grid`.

    In a field of view so small that the patient is shrunk below 0.6 of adult size the motion shrinks as well.
    """
    size = float(frame.scale_xyz.mean())
    scale = min(1.0, size / _SMALL_PATIENT)
    diaphragm = scale * rng.uniform(6, 22) * rng.choice([-1.0, 1.0])
    knot_mm = _KNOT_MM * size
    extent = np.asarray(geometry.size_xyz) * np.asarray(geometry.spacing_xyz_mm)
    count = np.ceil(extent / knot_mm).astype(int) + 2 * _MARGIN_KNOTS
    sigma = scale * rng.uniform(1.0, 2.5) / _SPLINE_SIGMA
    motion = Motion(
        anatomy=anatomy,
        frame=frame,
        diaphragm_mm=float(diaphragm),
        wall_mm=float(diaphragm * rng.uniform(0.12, 0.25)),
        knots=sigma * rng.standard_normal((3, count[2], count[1], count[0])),
        knot_origin_xyz_mm=geometry.center_xyz_mm() - (count - 1) / 2 * knot_mm,
        knot_mm=knot_mm,
        rotation=rotation_matrix(*np.deg2rad(rng.uniform(-1.5, 1.5, 3))),
        shift_xyz_mm=scale * rng.uniform(-3, 3, 3),
        center_xyz_mm=geometry.center_xyz_mm(),
    )
    return _without_folds(motion, geometry)


def to_voxels(displacement_xyz_mm: FloatArray, geometry: Geometry) -> DisplacementArray:
    """(3, Z, Y, X) in mm, components x y z, on an axis-aligned grid -> voxels, components z y x."""
    spacing = np.asarray(geometry.spacing_zyx_mm, dtype=np.float32).reshape(3, 1, 1, 1)
    return displacement_xyz_mm[::-1] / spacing


def least_determinant(displacement_vox: DisplacementArray) -> float:
    """The smallest det(I + grad u) by forward differences."""
    columns = [np.diff(displacement_vox, axis=axis + 1)[(slice(None), *_shortened(axis))] for axis in range(3)]
    a, b, c = (column + np.eye(3, dtype=np.float32)[k].reshape(3, 1, 1, 1) for k, column in enumerate(columns))
    return float(np.min(np.sum(a * np.cross(b, c, axis=0), axis=0)))


def _shortened(axis: int) -> tuple[slice, ...]:
    """What remains to be cut after differences along one axis, so that all three have the same shape."""
    return tuple(slice(None) if k == axis else slice(None, -1) for k in range(3))


def _without_folds(motion: Motion, geometry: Geometry) -> tuple[Motion, FloatArray]:
    for strength in (*_STRENGTHS, 0.0):
        motion = replace(motion, strength=float(strength))
        displacement = motion.on_grid(geometry)
        if least_determinant(to_voxels(displacement, geometry)) > _LEAST_DETERMINANT:
            break
    return motion, displacement
