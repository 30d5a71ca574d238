"""Depths below the surfaces of the body: signed distances in nominal mm, positive inside, near enough to the surface.

Every function takes points and returns an array of their shape (broadcast).
"""

from __future__ import annotations

import numpy as np

from engine.phantom.anatomy import Anatomy, Ellipsoid
from engine.phantom.sampling import FloatArray, Points

_TINY = np.float32(1e-3)
_CAGE_SHOULDER_Z = 25.0
_CAGE_POWER = 2.5


def smoothstep(t: FloatArray) -> FloatArray:
    """0 below 0, 1 above 1, with zero slope at both ends."""
    t = np.clip(t, 0, 1)
    result: FloatArray = t * t * (3 - 2 * t)
    return result


def soft_minimum(first: FloatArray, second: FloatArray, radius_mm: float) -> FloatArray:
    """The smaller of two depths, the edge between them rounded."""
    blend = np.maximum(radius_mm - np.abs(first - second), 0) / np.float32(radius_mm)
    result: FloatArray = np.minimum(first, second) - blend * blend * np.float32(radius_mm / 4)
    return result


def ellipsoid_depth(points: Points, shape: Ellipsoid) -> FloatArray:
    """Depth along the ray to the center."""
    x, y, z = (p - np.float32(c) for p, c in zip((points.x, points.y, points.z), shape.center, strict=True))
    rows = shape.rotation.T.astype(np.float32)
    q = [row[0] * x + row[1] * y + row[2] * z for row in rows]
    square = sum((value / np.float32(half)) ** 2 for value, half in zip(q, shape.half_axes, strict=True))
    distance = np.sqrt(x * x + y * y + z * z) + _TINY
    result: FloatArray = distance * (1 / (np.sqrt(square) + _TINY) - 1)
    return np.minimum(result, np.float32(min(shape.half_axes)))


def body_depth(points: Points, anatomy: Anatomy) -> FloatArray:
    """Depth below the skin."""
    x, y, z = points.x, points.y, points.z
    neck = smoothstep((z - 225) / 60)
    half_x = anatomy.body_half[0] * (1 - 0.13 * smoothstep((z - 110) / 110) - 0.5 * neck)
    half_y = anatomy.body_half[1] * (1 - 0.10 * smoothstep((z - 120) / 100) - 0.28 * neck + 0.04 * smoothstep(-z / 120))
    distance = np.sqrt(x * x + y * y) + _TINY
    cosine, sine = x / distance, y / distance
    a, b, c, d = anatomy.body_harmonics
    outline = 1 + a * cosine + b * cosine * sine + c * sine + d * cosine * (4 * cosine * cosine - 3)
    power = ((np.abs(x) / half_x) ** 2.4 + (np.abs(y) / half_y) ** 2.4) ** np.float32(1 / 2.4) + _TINY
    result: FloatArray = distance * (outline / power - 1)
    return result.astype(np.float32, copy=False)


def cage_depth(points: Points, anatomy: Anatomy) -> FloatArray:
    """Depth below the inner surface of the ribs (negative in the chest wall); open towards the feet."""
    x, y = points.x, points.y - np.float32(anatomy.cage_y)
    up = np.maximum(points.z - np.float32(_CAGE_SHOULDER_Z), 0)
    height = anatomy.apex_z + 4 - _CAGE_SHOULDER_Z
    half_x, half_y = anatomy.cage_half
    power = (np.abs(x) / half_x) ** _CAGE_POWER + (np.abs(y) / half_y) ** _CAGE_POWER + (up / height) ** _CAGE_POWER
    distance = np.sqrt(x * x + y * y + up * up) + _TINY
    result: FloatArray = distance * (1 / (power ** np.float32(1 / _CAGE_POWER) + _TINY) - 1)
    return result.astype(np.float32, copy=False)


def diaphragm_z(x: FloatArray, y: FloatArray, anatomy: Anatomy) -> FloatArray:
    """Height z of the diaphragm over (x, y): two domes and the part under the heart."""
    surface: FloatArray = (
        np.float32(min(dome[2] for dome in anatomy.domes) - 6) - 0.004 * np.square(y + 30) - 0.012 * np.square(x - 12)
    )
    for top_x, top_y, top_z, fall in anatomy.domes:
        across = np.square((x - np.float32(top_x)) / 60)
        along = np.square((y - np.float32(top_y)) / np.where(y > top_y, np.float32(80), np.float32(95)))
        dome = np.float32(top_z) - np.float32(fall) * (across + along)
        surface = -soft_minimum(-surface, -dome, 14.0)
    result: FloatArray = np.maximum(surface, np.float32(-150))
    return result


def diaphragm_height(points: Points, anatomy: Anatomy) -> FloatArray:
    """Distance above (positive) the diaphragm."""
    result: FloatArray = (points.z - diaphragm_z(points.x, points.y, anatomy)) / np.float32(1.25)
    return result


def spine_axis(z: FloatArray, anatomy: Anatomy) -> tuple[FloatArray, FloatArray]:
    """(x, y) of the middle of the vertebral bodies at height z."""
    amplitude, phase, y, _ = anatomy.spine
    bow = np.sin((z - 60) * np.float32(np.pi / 340))
    return np.float32(amplitude) * np.sin(z / 90 + np.float32(phase)), np.float32(y + 8) - 8 * bow * bow


def spine_depth(points: Points, anatomy: Anatomy) -> FloatArray:
    """Depth below the smooth outline of the vertebral bodies and their arches."""
    x, y = spine_axis(points.z, anatomy)
    across, along = points.x - x, points.y - y
    square = np.square(across / 21) + np.square((along - np.maximum(np.minimum(along, 40), 0)) / 17)
    result: FloatArray = 18 * (1 - np.sqrt(square))
    return result


def lung_depths(
    points: Points, anatomy: Anatomy, cage: FloatArray | None = None, above: FloatArray | None = None
) -> tuple[FloatArray, FloatArray]:
    """Depths below the surfaces of the right and of the left lung."""
    cage = cage_depth(points, anatomy) if cage is None else cage
    above = diaphragm_height(points, anatomy) if above is None else above
    common = soft_minimum(cage - 2, above - 1, 9.0)
    common = soft_minimum(common, -ellipsoid_depth(points, anatomy.heart) - 3, 8.0)
    common = soft_minimum(common, -spine_depth(points, anatomy) - 3, 8.0)
    waist = 1 - 0.8 * smoothstep((-points.y - 40) / 30) - 0.35 * smoothstep((points.y - 5) / 40)
    waist = waist + 0.25 * smoothstep((points.z - 150) / 40)
    right, left = anatomy.mediastinum_half
    return (
        soft_minimum(common, -points.x - right * waist, 12.0),
        soft_minimum(common, points.x - 2 - left * waist, 12.0),
    )


def liver_depth(points: Points, anatomy: Anatomy, cage: FloatArray, above: FloatArray) -> FloatArray:
    """Depth below the surface of the liver, which fills the right of the abdomen under the diaphragm."""
    depth = soft_minimum(-above - 3, cage - 5, 10.0)
    edge = (np.float32(anatomy.liver_reach) + 0.75 * (points.z + 20) - points.x - 0.25 * (points.y + 20)) / 1.28
    depth = soft_minimum(depth, edge.astype(np.float32), 16.0)
    return soft_minimum(depth, -spine_depth(points, anatomy) - 9, 10.0)
