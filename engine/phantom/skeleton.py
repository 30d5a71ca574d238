"""Ribs, sternum, shoulder blades and spine."""

from __future__ import annotations

import numpy as np

from engine.phantom.anatomy import Anatomy
from engine.phantom.canvas import Canvas
from engine.phantom.sampling import FloatArray, Points
from engine.phantom.surfaces import smoothstep, spine_axis
from engine.shapes import MaskArray

_PITCH = 26.0
_TOP_RIB_Z = 196.0
_RIB_ENDS = np.array([0.86, 0.9, 0.93, 0.94, 0.94, 0.94, 0.94, 0.82, 0.76, 0.68, 0.45, 0.3], np.float32)
"""How far round each of the twelve ribs reaches: 0 at the spine, 1 at the sternum."""


def paint_cage(canvas: Canvas, anatomy: Anatomy, cage: FloatArray) -> None:
    """Ribs with their cartilage, the sternum and the shoulder blades, in the wall outside the cage."""
    shell = (cage < 2) & (cage > -30) & (canvas.points.z < 235)
    x, y, z = (np.broadcast_to(a, cage.shape)[shell] for a in (canvas.points.x, canvas.points.y, canvas.points.z))
    out = -cage[shell]
    around = np.arctan2(np.abs(x), y - np.float32(anatomy.cage_y)) / np.float32(np.pi)
    away = np.hypot(x, y - np.float32(anatomy.cage_y))
    depth, cartilage = _ribs(anatomy, x, z, out, around, away)
    _paint_shell(canvas, shell, depth, np.where(cartilage, anatomy.hu["cartilage"], anatomy.hu["bone"]), "ribs")
    breastbone = np.minimum(15 - np.abs(x - 2), 5 - np.abs(out - 6.5))
    breastbone = np.minimum(breastbone, np.minimum(z - 2, 158 - z) / 2)
    breastbone = np.where(y < 0, breastbone, np.float32(-9))
    _paint_shell(canvas, shell, breastbone, 0.6 * anatomy.hu["bone"], "ribs")
    blade = np.minimum(2.6 - np.abs(out - 17), 200 * (0.09 - np.abs(around - 0.29)))
    blade = np.minimum(blade, np.minimum(np.minimum(z - 85, 195 - z) / 2, away - 60))
    _paint_shell(canvas, shell, blade, 0.9 * anatomy.hu["bone"], "")


def _ribs(
    anatomy: Anatomy, x: FloatArray, z: FloatArray, out: FloatArray, around: FloatArray, away: FloatArray
) -> tuple[FloatArray, MaskArray]:
    """Depth in the nearest rib, and whether that place is cartilage."""
    fall = 108 * np.minimum(around / np.float32(0.78), 1) - 32 * smoothstep((around - 0.78) / np.float32(0.2))
    offset = np.where(x < 0, np.float32(0), np.float32(anatomy.rib_offsets[1]))
    below_top = (np.float32(_TOP_RIB_Z + anatomy.rib_offsets[0] / 8) + offset - z - fall) / np.float32(_PITCH)
    number = np.clip(np.rint(below_top), 0, len(_RIB_ENDS) - 1).astype(np.int64)
    off_axis = 0.86 * _PITCH * (below_top - number)
    depth = 5 * (1 - np.sqrt(np.square(off_axis / 5.2) + np.square((out - 5) / 3.9)))
    depth = np.minimum(depth, 180 * (_RIB_ENDS[number] - around))
    depth = np.minimum(depth, 180 * (around - 0.06))
    depth = np.minimum(depth, away - 42)
    return depth.astype(np.float32), around > 0.84


def _paint_shell(canvas: Canvas, shell: MaskArray, depth: FloatArray, hu: float | FloatArray, organ: str) -> None:
    share = np.zeros(canvas.hu.shape, dtype=np.float32)
    value = np.zeros(canvas.hu.shape, dtype=np.float32)
    share[shell], value[shell] = canvas.share(depth), hu
    canvas.paint(share, value, organ)


def paint_spine(canvas: Canvas, anatomy: Anatomy) -> None:
    """Vertebral bodies with discs, arches and processes, and the canal."""
    part = canvas.points.box((-50, 8, -400), (50, 125, 500))
    points = canvas.points.inside(part)
    axis_x, axis_y = spine_axis(points.z, anatomy)
    across, back = np.abs(points.x - axis_x), points.y - axis_y
    level = points.z / np.float32(_PITCH) + np.float32(anatomy.spine[3])
    bone, marrow = anatomy.hu["bone"], anatomy.hu["marrow"]
    for depth in _processes(points, across, back, level):
        canvas.paint(canvas.share(depth), 0.85 * bone, "spine", part)
    step = level - np.rint(level)
    radius = 18.5 - 2.0 * np.square(np.cos(np.pi * step))
    body = radius * (1 - np.sqrt(np.square(across / 1.2) + np.square(back)) / radius)
    disc = anatomy.hu["cartilage"] - 30
    canvas.paint(canvas.share(body), np.where(np.abs(step) > 0.40, disc, bone), "spine", part)
    plate = _PITCH * (0.34 - np.abs(step))
    canvas.paint(canvas.share(np.minimum(body - 2.5, plate)), marrow, "spine", part)
    canal = 7.5 - np.sqrt(np.square(across) + np.square(back - 25))
    canvas.paint(canvas.share(canal), 22.0, "spinal_canal", part)


def _processes(points: Points, across: FloatArray, back: FloatArray, level: FloatArray) -> list[FloatArray]:
    """Depths in the arch, the spinous and the transverse processes."""
    step = np.abs(level - np.rint(level))
    ring = np.sqrt(np.square(across) + np.square(back - 25))
    arch = np.minimum(13 - ring, _PITCH * (0.36 - step))
    slant = level + (back - 34) * np.float32(0.6 / _PITCH)
    slant_step = np.abs(slant - np.rint(slant))
    spinous = np.minimum(3.6 - across, np.minimum(back - 33, 56 - back))
    spinous = np.minimum(spinous, _PITCH * (0.26 - slant_step))
    lateral = back - 24 - 0.25 * across
    transverse = np.minimum(5 - np.abs(lateral), np.minimum(across - 8, 34 - across))
    transverse = np.minimum(transverse, _PITCH * (0.2 - step))
    return [arch, spinous, transverse]
