"""From an anatomy and points to an image and its labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.geometry import Geometry
from engine.phantom.anatomy import Anatomy
from engine.phantom.canvas import Canvas
from engine.phantom.findings import Findings, paint_arms
from engine.phantom.organs import Plumbing, add_texture, paint_abdomen, paint_chest, paint_wall
from engine.phantom.sampling import FloatArray, Frame, Points, Slices
from engine.phantom.skeleton import paint_cage, paint_spine
from engine.phantom.surfaces import body_depth, cage_depth, diaphragm_height
from engine.shapes import HuArray
from engine.volume import AIR_HU

_FOCUS_MM = 1.5
"""Blur of the scanner, joined to that of the voxel."""


def edge_width(geometry: Geometry, frame: Frame) -> float:
    """Width in nominal mm of the edge between tissues: the voxel and the scanner's own blur together."""
    voxel = float(np.prod(geometry.spacing_xyz_mm)) ** (1 / 3)
    return float(np.hypot(voxel, _FOCUS_MM) / frame.scale_xyz.mean())


def render(
    anatomy: Anatomy, tubes: Plumbing, points: Points, edge_mm: float, findings: Findings | None = None
) -> tuple[HuArray, NDArray[np.uint8]]:
    """HU float32 and labels uint8 (`canvas.ORGANS`) at the points, in the shape of their grid."""
    hu: HuArray = np.full(points.shape, AIR_HU, dtype=np.float32)
    labels = np.zeros(points.shape, dtype=np.uint8)
    findings = findings or Findings()
    depth = body_depth(points, anatomy)
    part = _around(depth > -edge_mm)
    canvas = Canvas(points.inside(part), edge_mm)
    _paint(canvas, anatomy, findings, tubes, depth[part])
    hu[part], labels[part] = canvas.hu, canvas.labels
    if findings.arms:
        around = Canvas(points, edge_mm, hu, labels)
        paint_arms(around, anatomy, findings, depth)
    return hu, labels


def _around(mask: NDArray[np.bool_]) -> Slices:
    """The slices that hold all of a mask."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    return found[0] if found else (slice(0, 1),) * 3


def _paint(canvas: Canvas, anatomy: Anatomy, findings: Findings, tubes: Plumbing, depth: FloatArray) -> None:
    cage = cage_depth(canvas.points, anatomy)
    above = diaphragm_height(canvas.points, anatomy)
    body = paint_wall(canvas, anatomy, depth, cage)
    lungs = paint_chest(canvas, anatomy, findings, tubes, cage, above)
    paint_abdomen(canvas, anatomy, tubes, cage, above)
    paint_cage(canvas, anatomy, cage)
    paint_spine(canvas, anatomy)
    add_texture(canvas, anatomy, body, lungs)
