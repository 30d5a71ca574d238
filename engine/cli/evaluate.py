"""`regard evaluate`: landmarks, masks, image error and Jacobian of a transform, or of each step of a case."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.cli.inputs import named, opened_case, read_case, read_mask, read_point_pairs
from engine.errors import InputError
from engine.field import displacement_vox_from_mm
from engine.geometry import Geometry
from engine.io.atomic import whole_file
from engine.io.images import read_labels, to_sitk_image
from engine.io.transforms import read_transform, to_sitk_transform
from engine.metrics import field_figures, overlap, rmse_hu, target_registration_error
from engine.preprocess import body_of
from engine.shapes import DisplacementArray, HuArray, MaskArray, PointArray
from engine.volume import PADDING_HU, Volume

if TYPE_CHECKING:
    import SimpleITK as sitk


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    case = read_case(arguments.fixed, arguments.moving)
    geometries = case.fixed.geometry, case.moving.geometry
    points = read_point_pairs(arguments.points, *geometries) if arguments.points else None
    masks = _masks(arguments, case.fixed.geometry)
    stages = []
    for name, transform in _transforms(arguments.transform, case.fixed.geometry):
        figures = {"stage": name, **_figures(case.fixed, case.moving, transform, points, masks)}
        print("\n".join(_lines(figures)), flush=True)
        stages.append(figures)
    if arguments.out:
        with whole_file(arguments.out) as temporary:
            temporary.write_text(json.dumps({"stages": stages}, indent=2) + "\n", encoding="utf-8")


def _transforms(path: str, fixed: Geometry) -> list[tuple[str, sitk.Transform]]:
    if not Path(path).is_dir():
        return [("transform", named("TRANSFORM", lambda: read_transform(path)))]
    case = named("TRANSFORM", lambda: opened_case(path))
    if case.fixed.geometry != fixed:
        raise InputError("TRANSFORM: expected a case of this fixed image; the case was made on another grid.")
    states = [case.states[number] for number in case.way_to(case.cursor)]
    return [(state.steps[-1].name, to_sitk_transform(state)) for state in states if state.steps]


def _masks(arguments: argparse.Namespace, fixed: Geometry) -> tuple[MaskArray, sitk.Image] | None:
    if not arguments.masks:
        return None
    fixed_mask = read_mask("FIXED_MASK", arguments.masks[0], fixed)
    moving_labels, moving_geometry = named("MOVING_MASK", lambda: read_labels(arguments.masks[1]))
    return fixed_mask, to_sitk_image((moving_labels != 0).astype(np.uint8), moving_geometry)


def _figures(
    fixed: Volume,
    moving: Volume,
    transform: sitk.Transform,
    points: tuple[PointArray, PointArray] | None,
    masks: tuple[MaskArray, sitk.Image] | None,
) -> dict[str, Any]:
    warped = resampled_hu(moving, transform, fixed.geometry)
    looked_at = masks[0] if masks else body_of(fixed)
    values: dict[str, Any] = {
        "rmse_hu": rmse_hu(fixed.hu, warped, fixed.valid & (warped > PADDING_HU)),
        "jacobian_inside": "mask" if masks else "body",
        **asdict(field_figures(_total_displacement(transform, fixed.geometry), looked_at)),
    }
    if masks:
        warped_mask = resampled_labels(masks[1], transform, fixed.geometry)
        values["masks"] = asdict(overlap(masks[0], warped_mask > 0, fixed.geometry.spacing_zyx_mm))
        inside = masks[0] & fixed.valid & (warped > PADDING_HU)
        values["mask_rmse_hu"] = rmse_hu(fixed.hu, warped, inside)
    if points:
        mapped = np.array([transform.TransformPoint(tuple(point)) for point in points[0]])
        values["tre_mm"] = asdict(target_registration_error(mapped, points[1]))
    return values


def _total_displacement(transform: sitk.Transform, geometry: Geometry) -> DisplacementArray:
    """T(x) − x in voxels of the fixed grid, whatever kind of transform T is."""
    import SimpleITK as sitk

    x, y, z = geometry.size_xyz
    direction = [value for row in geometry.direction for value in row]
    field = sitk.TransformToDisplacementField(
        transform, sitk.sitkVectorFloat64, (x, y, z), geometry.origin_xyz_mm, geometry.spacing_xyz_mm, direction
    )
    return displacement_vox_from_mm(sitk.GetArrayViewFromImage(field), geometry)


def resampled_hu(moving: Volume, transform: sitk.Transform, like: Geometry) -> HuArray:
    """The moving image on a grid, linear, `PADDING_HU` outside and where it is invalid."""
    import SimpleITK as sitk

    reference = to_sitk_image(np.zeros(like.shape_zyx, np.uint8), like)
    image = to_sitk_image(np.array(moving.hu), moving.geometry)
    warped: HuArray = sitk.GetArrayFromImage(sitk.Resample(image, reference, transform, sitk.sitkLinear, PADDING_HU))
    if not moving.valid.all():
        valid = to_sitk_image(moving.valid.astype(np.float32), moving.geometry)
        seen = sitk.GetArrayViewFromImage(sitk.Resample(valid, reference, transform, sitk.sitkLinear, 0.0))
        warped[seen <= 0.999] = PADDING_HU
    return warped


def resampled_labels(labels: sitk.Image, transform: sitk.Transform, like: Geometry) -> NDArray[Any]:
    """Labels on a grid, nearest neighbor, 0 outside."""
    import SimpleITK as sitk

    reference = to_sitk_image(np.zeros(like.shape_zyx, np.uint8), like)
    warped: NDArray[Any] = sitk.GetArrayFromImage(
        sitk.Resample(labels, reference, transform, sitk.sitkNearestNeighbor, 0)
    )
    return warped


def _lines(figures: dict[str, Any]) -> list[str]:
    lines = [f"{figures['stage']}"]
    if "tre_mm" in figures:
        tre = figures["tre_mm"]
        lines.append(
            f"  TRE (mm, {tre['count']} points)   mean {tre['mean']:.2f}   median {tre['median']:.2f}   "
            f"95 % {tre['percentile_95']:.2f}   max {tre['maximum']:.2f}"
        )
    if "masks" in figures:
        agreement = figures["masks"]
        lines.append(
            f"  Masks   Dice {agreement['dice']:.4f}   HD95 {agreement['hd95_mm']:.2f} mm   "
            f"MDA {agreement['mda_mm']:.2f} mm   RMSE inside {figures['mask_rmse_hu']:.1f} HU"
        )
    lines.append(
        f"  Jacobian inside {figures['jacobian_inside']}   folding {figures['folding_percent']:.4f} %   "
        f"min {figures['min_jacobian']:.3f}   SD(log) {figures['sd_log_jacobian']:.3f}"
    )
    lines.append(f"  Image RMSE {figures['rmse_hu']:.1f} HU")
    return lines
