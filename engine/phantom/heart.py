"""A beating heart in a short-axis slice, as cine MRI shows it, with labels and motion known at every phase.

Phase 0 is end-diastole, 1 end-systole. The anatomy is written at end-systole, in mm from the middle of the slice,
components row, col (the left ventricle a little to the right, the right ventricle to its left); any other phase is that
anatomy seen through the displacement, so that frame(x) = end-systole(x + u(x)) before noise.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FloatArray = NDArray[np.floating[Any]]

HEART_LABELS: dict[str, int] = {"right_ventricle": 1, "myocardium": 2, "left_ventricle": 3}
"""Values of the label images, as ACDC numbers them."""

FIELD_OF_VIEW_MM = 160.0

_REACH_MM = 16.0
"""How far from the wall of a chamber the tissue round it moves along."""
_SHIFT_REACH_MM = 45.0
_TEXTURE_KNOTS = 64


@dataclass(frozen=True, slots=True)
class Chamber:
    """An oval blood pool with its wall, lengths in mm, pairs are end-diastole and end-systole.

    The wall's area grows from the first phase to the last by the factor `wall_growth`, since the heart shortens
    along its axis. The outline is radius · (1 + `ovalness` · cos 2(angle − `tilt`)).
    """

    center_mm: tuple[float, float]
    radius_mm: tuple[float, float]
    wall_mm: float
    wall_growth: float
    ovalness: float
    tilt: float

    def inner_mm(self, phase: float) -> float:
        """Radius of the blood pool."""
        return (1 - phase) * self.radius_mm[0] + phase * self.radius_mm[1]

    def outer_mm(self, phase: float) -> float:
        """Radius with the wall."""
        area = (self.radius_mm[0] + self.wall_mm) ** 2 - self.radius_mm[0] ** 2
        return float(np.sqrt(self.inner_mm(phase) ** 2 + self._growth(phase) * area))

    def radius(self, points_mm: FloatArray) -> FloatArray:
        """Distance (H, W) from the center, in mm along the mean radius."""
        row, col = self._offset(points_mm)
        outline = 1 + self.ovalness * np.cos(2 * (np.arctan2(row, col) - self.tilt))
        return np.asarray(np.hypot(row, col) / outline)

    def at_end_systole(self, points_mm: FloatArray, phase: float) -> FloatArray:
        """Where tissue at `points_mm` (2, H, W) of a phase lies at end-systole.

        The pool shrinks in proportion, the wall keeps its area but for the growth, what is outside follows less and
        less: radius → radius − (outer − outer at the end) · exp(−distance / 16 mm).
        """
        inner, outer = self.inner_mm(phase), self.outer_mm(phase)
        last_inner, last_outer = self.inner_mm(1.0), self.outer_mm(1.0)
        radius = np.maximum(self.radius(points_mm), 1e-6)
        growth = self._growth(1.0) / self._growth(phase)
        wall = np.sqrt(last_inner**2 + growth * np.maximum(radius**2 - inner**2, 0))
        outside = radius - (outer - last_outer) * np.exp(-np.maximum(radius - outer, 0) / _REACH_MM)
        moved = np.where(radius < inner, radius * last_inner / inner, np.where(radius < outer, wall, outside))
        return np.reshape(self.center_mm, (2, 1, 1)) + self._offset(points_mm) * moved / radius

    def _growth(self, phase: float) -> float:
        return 1 + phase * (self.wall_growth - 1)

    def _offset(self, points_mm: FloatArray) -> FloatArray:
        return np.asarray(points_mm - np.reshape(self.center_mm, (2, 1, 1)))


@dataclass(frozen=True, slots=True, eq=False)
class Heart:
    """One anatomy. Displacements of a chamber add up to those of the beating heart.

    `shift_mm` (row, col) and `twist` (radian) are the motion from the first phase to the last; `diaphragm_mm` is the
    row under which the liver lies, rising by `slope` to the left; `chest_mm` the distance of the chest wall from the
    middle; `brightness` that of blood, muscle, fat, liver and lung; `texture` (64, 64) is noise that moves with
    the tissue; `coil` (64, 64) makes the bias field, which stays where it is.
    """

    left: Chamber
    right: Chamber
    shift_mm: tuple[float, float]
    twist: float
    diaphragm_mm: float
    slope: float
    chest_mm: float
    brightness: dict[str, float]
    texture: FloatArray
    coil: FloatArray

    def displacement_px(self, size: int, phase: float = 0.0) -> NDArray[np.float32]:
        """u (2, size, size), components row, col in pixels, from the frame at `phase` to end-systole."""
        points = _grid_mm(size)
        displacement_mm = self._at_end_systole(points, phase) - points
        return np.asarray(displacement_mm * (size / FIELD_OF_VIEW_MM), dtype=np.float32)

    def labels(self, size: int, phase: float = 0.0) -> NDArray[np.uint8]:
        """(size, size), values of `HEART_LABELS`."""
        points = self._at_end_systole(_grid_mm(size), phase)
        left, right = self.left.radius(points), self.right.radius(points)
        labels = np.zeros((size, size), np.uint8)
        labels[right < self.right.inner_mm(1.0)] = HEART_LABELS["right_ventricle"]
        labels[left < self.left.outer_mm(1.0)] = HEART_LABELS["myocardium"]
        labels[left < self.left.inner_mm(1.0)] = HEART_LABELS["left_ventricle"]
        return labels

    def image(self, size: int, rng: np.random.Generator, phase: float = 0.0) -> NDArray[np.float32]:
        """(size, size) in 0 to 1: tissue, blood that flows anew, the bias field and Rician noise."""
        grid = _grid_mm(size)
        clean = self._tissue(self._at_end_systole(grid, phase), rng.standard_normal((_TEXTURE_KNOTS,) * 2), size)
        bias = np.exp(0.25 * _smooth_noise(self.coil, grid, 70.0))
        noise = 0.02 * rng.standard_normal((2, size, size))
        measured = np.hypot(bias * clean + noise[0], noise[1])
        low, high = measured.min(), measured.max()
        return np.asarray((measured - low) / (high - low), dtype=np.float32)

    def _at_end_systole(self, points_mm: FloatArray, phase: float) -> FloatArray:
        """The shift, then the right ventricle as far as it is not septum, then the left one and its twist."""
        away = points_mm - np.reshape(self.left.center_mm, (2, 1, 1))
        window = np.exp(-0.5 * (away**2).sum(axis=0) / _SHIFT_REACH_MM**2)
        points = points_mm + (1 - phase) * np.reshape(self.shift_mm, (2, 1, 1)) * window
        free = np.clip((self.left.radius(points) - self.left.outer_mm(phase)) / _REACH_MM, 0, 1)
        points = points + free * (self.right.at_end_systole(points, phase) - points)
        return self._untwisted(self.left.at_end_systole(points, phase), phase)

    def _untwisted(self, points_mm: FloatArray, phase: float) -> FloatArray:
        center = np.reshape(self.left.center_mm, (2, 1, 1))
        row, col = points_mm - center
        angle = (1 - phase) * self.twist * np.exp(-0.5 * (row**2 + col**2) / self.left.outer_mm(1.0) ** 2)
        sine, cosine = np.sin(angle), np.cos(angle)
        return np.asarray(center + np.stack([cosine * row + sine * col, cosine * col - sine * row]))

    def _tissue(self, points_mm: FloatArray, flow: FloatArray, size: int) -> FloatArray:
        """Brightness of the tissue at points of end-systole, painted from the back to the front."""
        edge_mm = 1.2 * FIELD_OF_VIEW_MM / size
        fine, coarse = (_smooth_noise(self.texture, points_mm, scale) for scale in (3.5, 9.0))
        row, col = points_mm
        left, right = self.left.radius(points_mm), self.right.radius(points_mm)
        chest = np.hypot(0.9 * (row - 20), col - 15)
        blood = self.brightness["blood"] * (1 + 0.08 * _smooth_noise(flow, points_mm, 8.0))
        muscle = self.brightness["muscle"] * (1 + 0.12 * fine)
        fat, liver = (self.brightness[name] * (1 + 0.1 * coarse + 0.08 * fine) for name in ("fat", "liver"))
        vessels = self.brightness["lung"] + 0.5 * np.clip(fine - 1.4, 0, 1)
        layers = [
            (row + self.slope * col - self.diaphragm_mm, liver),
            (chest - self.chest_mm, fat),
            (chest - self.chest_mm - 9, muscle),
            (self.right.outer_mm(1.0) + 4 - right, fat),
            (self.left.outer_mm(1.0) + 3 - left, fat),
            (self.right.outer_mm(1.0) - right, muscle),
            (self.right.inner_mm(1.0) - right, blood),
            (self.left.outer_mm(1.0) - left, muscle),
            (self.left.inner_mm(1.0) - left, blood),
            (self._papillary_depth(points_mm), muscle),
        ]
        image = vessels
        for depth_mm, value in layers:
            share = np.clip(depth_mm / edge_mm + 0.5, 0, 1)
            image = image + share * (value - image)
        return np.asarray(np.maximum(image, 0))

    def _papillary_depth(self, points_mm: FloatArray) -> FloatArray:
        """Depth in mm inside the nearer of the two papillary muscles, which stand in the left ventricle."""
        row, col = points_mm - np.reshape(self.left.center_mm, (2, 1, 1))
        inner = self.left.inner_mm(1.0)
        depths = [
            0.2 * inner - np.hypot(row - 0.62 * inner * np.sin(angle), col - 0.62 * inner * np.cos(angle))
            for angle in (self.left.tilt + 0.9, self.left.tilt + 2.6)
        ]
        return np.asarray(np.maximum(*depths))


def random_heart(rng: np.random.Generator) -> Heart:
    """An adult heart, large, small or thick-walled; its left ventricle ejects 25 % to 75 % of its area."""
    center = (float(rng.uniform(-8, 8)), float(rng.uniform(2, 16)))
    radius, wall, contraction = rng.uniform(17, 29), rng.uniform(6.5, 12), rng.uniform(0.5, 0.86)
    left = Chamber(
        center,
        (float(radius), float(contraction * radius)),
        float(wall),
        float(rng.uniform(1.0, 1.25)),
        float(rng.uniform(-0.08, 0.08)),
        float(rng.uniform(0, np.pi)),
    )
    septal, reach = rng.uniform(-0.5, 0.3), 0.86 * (radius + wall)
    right_radius = rng.uniform(21, 28)
    right = Chamber(
        (center[0] + float(reach * np.sin(septal)), center[1] - float(reach * np.cos(septal))),
        (float(right_radius), float(rng.uniform(0.72, 0.92) * right_radius)),
        float(rng.uniform(2.0, 3.5)),
        1.0,
        float(rng.uniform(0.05, 0.2)),
        float(rng.uniform(1.2, 1.9)),
    )
    brightness = {
        "blood": float(rng.uniform(0.6, 0.85)),
        "muscle": float(rng.uniform(0.2, 0.32)),
        "fat": float(rng.uniform(0.5, 0.95)),
        "liver": float(rng.uniform(0.25, 0.42)),
        "lung": float(rng.uniform(0.03, 0.1)),
    }
    return Heart(
        left,
        right,
        (float(rng.uniform(-3, 3)), float(rng.uniform(-3, 3))),
        float(rng.uniform(-0.05, 0.2)),
        float(rng.uniform(36, 55)),
        float(rng.uniform(-0.1, 0.35)),
        float(rng.uniform(74, 92)),
        brightness,
        rng.standard_normal((_TEXTURE_KNOTS,) * 2),
        rng.standard_normal((_TEXTURE_KNOTS,) * 2),
    )


def _grid_mm(size: int) -> FloatArray:
    """Centers of the pixels, (2, size, size), components row, col."""
    axis = (np.arange(size) - (size - 1) / 2) * FIELD_OF_VIEW_MM / size
    return np.stack(np.meshgrid(axis, axis, indexing="ij"))


def _smooth_noise(knots: FloatArray, points_mm: FloatArray, scale_mm: float) -> FloatArray:
    """Noise of s.d. about 1 that varies over `scale_mm`, (H, W), from knots (64, 64) that repeat."""
    return np.asarray(1.5 * ndimage.map_coordinates(knots, points_mm / scale_mm, order=1, mode="grid-wrap"))
