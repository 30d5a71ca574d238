"""Soft tissues: the wall of the chest, mediastinum, lungs, and the organs of the upper abdomen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from engine.phantom.anatomy import Anatomy, Ellipsoid
from engine.phantom.canvas import Canvas
from engine.phantom.findings import Findings, drawn_back
from engine.phantom.sampling import FloatArray, Slices, interpolated, scattered_points
from engine.phantom.surfaces import (
    cage_depth,
    diaphragm_height,
    diaphragm_z,
    ellipsoid_depth,
    liver_depth,
    lung_depths,
    smoothstep,
    soft_minimum,
)
from engine.phantom.vessels import Tubes, grow_tree, polyline, tube_coverage
from engine.shapes import PointArray

_TEXTURE_STEP = 3.0


@dataclass(frozen=True)
class Plumbing:
    """What is drawn as tubes, and where it branches: all in nominal mm."""

    vessels: Tubes
    aorta: Tubes
    great_vessels: Tubes
    airways: Tubes
    liver_vessels: Tubes
    forks: PointArray
    fork_radii: PointArray
    carina: PointArray
    tumour: Ellipsoid


def plumbing(anatomy: Anatomy) -> Plumbing:
    """Airways, great vessels, the vessel trees of the lungs and of the liver, and the tumour's place."""
    rng = np.random.default_rng(anatomy.tree_seed)
    scale = anatomy.apex_z / 205
    carina = np.array([-1.0 + rng.uniform(-3, 3), 8.0, 118 * scale])
    hila = np.array([[-34.0, 6.0, 98 * scale], [35.0, 8.0, 104 * scale]])
    trees, forks, fork_radii = Tubes(np.zeros((0, 3)), np.zeros((0, 3)), np.zeros(0)), [], []
    for side in (0, 1):
        for share, shift in ((0.6, (0, -3, 8)), (0.4, (0, -10, -14))):
            tips = _inside_lung(anatomy, side, int(share * anatomy.vessels_per_lung), 4.0, rng)
            tubes, where, radii = grow_tree(hila[side] + shift, tips, 0.7, rng)
            trees = trees + tubes
            forks.append(where)
            fork_radii.append(radii)
    return Plumbing(
        vessels=trees,
        aorta=_aorta(anatomy, scale),
        great_vessels=_great_vessels(anatomy, scale, hila),
        airways=_airways(carina, hila, scale),
        liver_vessels=_liver_tree(anatomy, rng),
        forks=np.concatenate(forks),
        fork_radii=np.concatenate(fork_radii),
        carina=carina,
        tumour=_tumour(anatomy, rng),
    )


def _inside_lung(anatomy: Anatomy, side: int, count: int, depth_mm: float, rng: np.random.Generator) -> PointArray:
    """Random points (count, 3) of one lung (0 right, 1 left), that deep below its surface."""
    half_x, half_y = anatomy.cage_half
    low = np.array([-half_x if side == 0 else 0.0, -half_y, -70.0])
    high = np.array([0.0 if side == 0 else half_x, half_y, anatomy.apex_z])
    candidates = rng.uniform(low, high, (count * 8 + 200, 3))
    depth = lung_depths(scattered_points(candidates), anatomy)[side]
    return candidates[depth > depth_mm][:count]


def _tumour(anatomy: Anatomy, rng: np.random.Generator) -> Ellipsoid:
    side = int(rng.integers(2))
    places = _inside_lung(anatomy, side, 120, anatomy.tumour_mm * 0.8 + 2, rng)
    middle = places[(places[:, 2] > 15) & (places[:, 2] < 0.65 * anatomy.apex_z)]
    center = (middle if len(middle) else places)[0]
    half = anatomy.tumour_mm * rng.uniform(0.8, 1.15, 3)
    x, y, z = (float(v) for v in center)
    return Ellipsoid((x, y, z), (float(half[0]), float(half[1]), float(half[2])), np.eye(3))


def _aorta(anatomy: Anatomy, scale: float) -> Tubes:
    spine_y = anatomy.spine[2]
    points = [(4, -18, 70), (-10, -22, 96), (-10, -24, 122), (0, -16, 140), (14, 0, 145), (25, 18, 138),
              (27, spine_y - 22, 118), (24, spine_y - 18, 60), (18, spine_y - 18, 0), (10, spine_y - 22, -60),
              (8, spine_y - 22, -400)]  # fmt: skip
    radii = anatomy.aorta_mm * np.array([1.15, 1.15, 1.1, 1.05, 1.0, 0.97, 0.95, 0.9, 0.85, 0.8])
    return polyline(_stretched(points, scale), radii)


def _great_vessels(anatomy: Anatomy, scale: float, hila: PointArray) -> Tubes:
    cava = polyline(_stretched([(-20, -20, 60), (-22, -20, 130), (-18, -22, 165), (-30, -18, 205)], scale), 8.5)
    lower = polyline(_stretched([(-18, 4, 40), (-20, 14, -20), (-20, 22, -60), (-20, 22, -400)], scale), 10.0)
    trunk = polyline(_stretched([(10, -34, 70), (13, -22, 104), (16, -6, 110)], scale), 12.0)
    right = polyline([_stretched([(14, -12, 108)], scale)[0], hila[0] + (0, -6, 6)], 9.0)
    left = polyline([_stretched([(16, -8, 110)], scale)[0], hila[1] + (0, -4, 8)], 9.0)
    carotid = polyline(_stretched([(4, -12, 143), (16, -8, 180), (24, -10, 300)], scale), 4.5)
    first = polyline(_stretched([(-4, -16, 140), (-16, -10, 172), (-24, -10, 300)], scale), 5.5)
    gullet = polyline(_stretched([(3, 22, 300), (5, 24, 100), (8, 18, 20), (22, 4, -20), (38, -6, -45)], scale), 6.5)
    return cava + lower + trunk + right + left + carotid + first + gullet


def _airways(carina: PointArray, hila: PointArray, scale: float) -> Tubes:
    windpipe = polyline(carina + np.array([(0, 0, 0), (1, -6, 70 * scale), (0, -14, 250)]), 8.5)
    right = polyline([carina, hila[0] + (4, 2, -2), hila[0] + (-16, 4, -30)], [6.8, 5.0])
    left = polyline([carina, hila[1] + (-4, 2, -6), hila[1] + (16, 6, -30)], [6.2, 4.6])
    return windpipe + right + left


def _liver_tree(anatomy: Anatomy, rng: np.random.Generator) -> Tubes:
    tips = rng.uniform((-95, -50, -120), (10, 45, -25), (60, 3))
    points = scattered_points(tips)
    depth = liver_depth(points, anatomy, cage_depth(points, anatomy), diaphragm_height(points, anatomy))
    return grow_tree(np.array([-20.0, 10.0, -35.0]), tips[depth > 6], 1.5, rng)[0]


def _stretched(points: object, scale: float) -> PointArray:
    """The chest's part (z > 0) lengthened or shortened along z."""
    values = np.array(points, dtype=float)
    values[:, 2] = np.where(values[:, 2] > 0, values[:, 2] * scale, values[:, 2])
    return values


def paint_wall(canvas: Canvas, anatomy: Anatomy, depth: FloatArray, cage: FloatArray) -> FloatArray:
    """Skin, fat and muscle, from the depths below the skin and below the ribs; returns the body's share."""
    points = canvas.points
    body = canvas.share(depth)
    canvas.paint(body, 10.0, "body")
    canvas.paint(canvas.share(depth - 2.5), anatomy.hu["fat"])
    back, chest = smoothstep(points.y / 45), smoothstep(-points.y / 50)
    thickness = 13 + 16 * back * smoothstep((75 - np.abs(points.x)) / 40)
    thickness = thickness + 9 * chest * smoothstep((points.z - 60) / 50) * smoothstep((np.abs(points.x) - 15) / 25)
    thickness = thickness + 22 * smoothstep((points.z - 70) / 80) * smoothstep((np.abs(points.x) - 60) / 50)
    canvas.paint(canvas.share(soft_minimum(cage + thickness, depth - anatomy.fat_mm, 6.0)), anatomy.hu["muscle"])
    return body


def paint_chest(
    canvas: Canvas, anatomy: Anatomy, findings: Findings, tubes: Plumbing, cage: FloatArray, above: FloatArray
) -> FloatArray:
    """Mediastinum, heart, great vessels, airways, lungs with their vessels, tumour. Returns the lungs' share."""
    hu = anatomy.hu
    canvas.paint(canvas.share(cage - 1), hu["mediastinum"])
    heart = canvas.share(ellipsoid_depth(canvas.points, anatomy.heart)) * canvas.share(above)
    canvas.paint(heart, hu["heart"], "heart")
    canvas.paint(canvas.share(ellipsoid_depth(canvas.points, anatomy.ventricle)), hu["blood"] - 8)
    chest = canvas.share(cage + 2)
    _paint_tubes(canvas, tubes.great_vessels, hu["blood"])
    _paint_tubes(canvas, tubes.aorta, hu["blood"] + 6, "aorta")
    depths = lung_depths(canvas.points, anatomy, cage, above)
    right, left = drawn_back(canvas, anatomy, findings, depths)
    lungs = np.zeros(canvas.points.shape, dtype=np.float32)
    density = hu["lung"] + 45 * smoothstep((canvas.points.y + 20) / 90)
    for depth, organ in ((right, "lung_right"), (left, "lung_left")):
        share = canvas.share(depth)
        canvas.paint(share, density, organ)
        np.maximum(lungs, share, out=lungs)
    covered = tube_coverage(canvas.points, tubes.vessels, canvas.edge_mm)
    canvas.paint(covered * chest * canvas.share(above - 1), hu["vessel"])
    canvas.paint(tube_coverage(canvas.points, tubes.airways, canvas.edge_mm), -985.0, "trachea")
    _paint_ellipsoid(canvas, tubes.tumour, hu["tumour"], "tumour", 3.0)
    return lungs


def paint_abdomen(canvas: Canvas, anatomy: Anatomy, tubes: Plumbing, cage: FloatArray, above: FloatArray) -> None:
    """Diaphragm, liver with vessels, stomach with gas, spleen and kidneys."""
    hu = anatomy.hu
    inside = canvas.share(cage - 1)
    canvas.paint(inside * canvas.share(-above), hu["muscle"])
    canvas.paint(canvas.share(np.minimum(cage - 3, -above - 3)), hu["fat"])
    for kidney in anatomy.kidneys:
        _paint_ellipsoid(canvas, kidney, hu["kidney"], "kidneys")
    limit = np.minimum(cage - 4, -above - 3.5)
    _paint_ellipsoid(canvas, anatomy.spleen, hu["spleen"], "spleen", within=limit)
    _paint_ellipsoid(canvas, anatomy.stomach, hu["stomach"], "stomach", within=limit)
    _paint_ellipsoid(canvas, anatomy.gas, -960.0, "stomach", within=limit - 2)
    liver = canvas.share(liver_depth(canvas.points, anatomy, cage, above))
    canvas.paint(liver, hu["liver"], "liver")
    canvas.paint(liver * tube_coverage(canvas.points, tubes.liver_vessels, canvas.edge_mm), hu["liver"] + 45)


def _paint_tubes(canvas: Canvas, tubes: Tubes, hu: float, organ: str = "") -> None:
    canvas.paint(tube_coverage(canvas.points, tubes, canvas.edge_mm), hu, organ)


def _paint_ellipsoid(
    canvas: Canvas, shape: Ellipsoid, hu: float, organ: str, bumps_mm: float = 0.0, within: FloatArray | None = None
) -> None:
    reach = max(shape.half_axes) + canvas.edge_mm + bumps_mm
    part: Slices = canvas.points.box(np.array(shape.center) - reach, np.array(shape.center) + reach)
    points = canvas.points.inside(part)
    depth = ellipsoid_depth(points, shape)
    if bumps_mm:
        x, y, z = (p - np.float32(c) for p, c in zip((points.x, points.y, points.z), shape.center, strict=True))
        depth = depth + np.float32(bumps_mm / 2) * np.sin(x / 4) * np.sin(y / 5 + 1) * np.cos(z / 4.5)
    if within is not None:
        depth = soft_minimum(depth, within[part], 5.0)
    canvas.paint(canvas.share(depth), hu, organ, part)


def add_texture(canvas: Canvas, anatomy: Anatomy, body: FloatArray, lungs: FloatArray) -> None:
    """Smooth variations of density inside the body: 9 HU s.d. in soft tissue, 28 HU in the lungs."""
    points = canvas.points
    amplitude = body * (9 + 19 * lungs)
    if points.aligned:
        at = [axis.ravel().astype(float) / _TEXTURE_STEP for axis in (points.z, points.y, points.x)]
        canvas.hu += amplitude * interpolated(anatomy.texture, at, wrap=True)
        return
    seen = amplitude > 0
    axes = (np.broadcast_to(axis, points.shape)[seen] for axis in (points.z, points.y, points.x))
    where = np.stack([axis * np.float32(1 / _TEXTURE_STEP) for axis in axes])
    noise = ndimage.map_coordinates(anatomy.texture, where, order=1, mode="grid-wrap", output=np.float32)
    canvas.hu[seen] += amplitude[seen] * noise


def dome_tops(anatomy: Anatomy) -> PointArray:
    """The tops of the right and of the left half of the diaphragm, nominal (2, 3)."""
    xy = np.array([dome[:2] for dome in anatomy.domes], dtype=np.float32)
    return np.column_stack([xy, diaphragm_z(xy[:, 0], xy[:, 1], anatomy)]).astype(float)
