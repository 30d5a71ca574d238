"""A rigid motion as the six numbers that a hand gives."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from engine.errors import InputError
from engine.geometry import Geometry, Triple, as_triple
from engine.shapes import Matrix

_UPRIGHT = 1e-9
"""Cosine of the turn about x below which turns about y and z are the same one."""


@dataclass(frozen=True, slots=True)
class RigidMotion:
    """How the moving image is moved in the space of the fixed one: M(p) = Rz Rx Ry (p − c) + c + t.

    `shift_mm` t toward the patient's left, back and head (LPS), `turn_deg` right-handed about the same axes through
    `center_mm` c, first about y, then x, then z: ITK's `Euler3DTransform`. The image goes with M, so that the
    registration, which leads from fixed to moving points, is R = M⁻¹.
    """

    center_mm: Triple
    shift_mm: Triple = (0.0, 0.0, 0.0)
    turn_deg: Triple = (0.0, 0.0, 0.0)

    @classmethod
    def of_numbers(cls, numbers: ArrayLike, fixed: Geometry) -> RigidMotion:
        """Shift and turn (6,) about the middle of the fixed image."""
        values = np.asarray(numbers, dtype=np.float64)
        if values.shape != (6,) or not np.isfinite(values).all():
            raise InputError(
                "Expected six numbers for an alignment by hand: three shifts in mm, three turns in degrees."
            )
        return cls(as_triple(fixed.center_xyz_mm()), as_triple(values[:3]), as_triple(values[3:]))

    @classmethod
    def of_rigid(cls, rigid: Matrix, fixed: Geometry) -> RigidMotion:
        """The motion about the middle of the fixed image whose inverse a rigid matrix is."""
        return cls(as_triple(fixed.center_xyz_mm())).with_matrix(_inverse(rigid))

    @property
    def numbers(self) -> tuple[float, ...]:
        """Shift in mm, then turn in degrees."""
        return (*self.shift_mm, *self.turn_deg)

    def matrix(self) -> Matrix:
        """4 × 4 matrix of M."""
        rotation_x, rotation_y, rotation_z = (
            rotation(axis, angle) for axis, angle in zip(np.eye(3), self.turn_deg, strict=True)
        )
        center = np.asarray(self.center_mm)
        matrix = np.eye(4)
        matrix[:3, :3] = rotation_z @ rotation_x @ rotation_y
        matrix[:3, 3] = center + self.shift_mm - matrix[:3, :3] @ center
        return matrix

    def rigid(self) -> Matrix:
        """4 × 4 matrix R = M⁻¹ from fixed to moving points."""
        return _inverse(self.matrix())

    def with_matrix(self, matrix: Matrix) -> RigidMotion:
        """The same center with the six numbers of another M."""
        turned, center = matrix[:3, :3], np.asarray(self.center_mm)
        shift = turned @ center + matrix[:3, 3] - center
        return replace(self, shift_mm=as_triple(shift), turn_deg=_turn_deg(turned))

    def shifted(self, shift_mm: ArrayLike) -> RigidMotion:
        """Moved on by a vector (3,)."""
        return replace(self, shift_mm=as_triple(np.asarray(self.shift_mm) + shift_mm))

    def turned(self, axis: ArrayLike, angle_deg: float, about_mm: ArrayLike) -> RigidMotion:
        """Turned further, right-handed about a unit vector through a point."""
        about = np.asarray(about_mm)
        turn = np.eye(4)
        turn[:3, :3] = rotation(axis, angle_deg)
        turn[:3, 3] = about - turn[:3, :3] @ about
        return self.with_matrix(turn @ self.matrix())


def rotation(axis: ArrayLike, angle_deg: float) -> Matrix:
    """3 × 3 matrix of a right-handed turn about a unit vector (Rodrigues)."""
    x, y, z = np.asarray(axis, dtype=np.float64)
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    angle = np.deg2rad(angle_deg)
    result: Matrix = np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * (cross @ cross)
    return result


def _inverse(matrix: Matrix) -> Matrix:
    inverse: Matrix = np.linalg.inv(matrix).astype(np.float64)
    return inverse


def _turn_deg(matrix: Matrix) -> Triple:
    """The angles of Rz Rx Ry; where x is turned by a right angle, all of the rest is about z."""
    sine_x = float(np.clip(matrix[2, 1], -1.0, 1.0))
    turn_x = np.arcsin(sine_x)
    if np.hypot(matrix[2, 0], matrix[2, 2]) < _UPRIGHT:
        turn_y, turn_z = 0.0, np.arctan2(matrix[1, 0], matrix[0, 0])
    else:
        turn_y = np.arctan2(-matrix[2, 0], matrix[2, 2])
        turn_z = np.arctan2(-matrix[0, 1], matrix[1, 1])
    return as_triple(np.rad2deg([turn_x, turn_y, turn_z]))
