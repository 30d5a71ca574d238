"""How well structures of the moving image, carried by a registration, agree with those of the fixed one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from engine.case import Case
from engine.geometry import Geometry
from engine.metrics import Overlap, overlap
from engine.progress import Job, Progress
from engine.shapes import LabelArray
from engine.spatial.section import CarriedLabels
from engine.structures import voxel_counts


@dataclass(frozen=True, slots=True)
class StructureFigures:
    """Volume in each image in cm³, none where it is not delineated; agreement on the fixed grid where it is in both.

    `overlap` is none too where nothing of the structure is carried onto the fixed grid.
    """

    fixed_cm3: float | None
    moving_cm3: float | None
    overlap: Overlap | None


def structure_figures(case: Case) -> Job[dict[int, StructureFigures]]:
    """Figures of each structure at the case's current state, by its number."""
    fixed, moving = case.structures.fixed, case.structures.moving
    volumes = [volumes_cm3(fixed, case.fixed.geometry), volumes_cm3(moving, case.moving.geometry)]
    both = sorted(volumes[0].keys() & volumes[1].keys())
    overlaps: dict[int, Overlap] = {}
    if fixed is not None and moving is not None and both:
        carried = yield from _carried(CarriedLabels.of(moving, case.moving.geometry, case.current))
        for done, number in enumerate(both):
            yield Progress("structures", done, len(both))
            found = label_overlap(fixed, carried, number, case.fixed.geometry)
            if found is not None:
                overlaps[number] = found
    numbers = sorted(volumes[0].keys() | volumes[1].keys())
    return {n: StructureFigures(volumes[0].get(n), volumes[1].get(n), overlaps.get(n)) for n in numbers}


def volumes_cm3(labels: LabelArray | None, geometry: Geometry) -> dict[int, float]:
    """Volume of each structure by its number."""
    if labels is None:
        return {}
    voxel_cm3 = float(np.prod(geometry.spacing_xyz_mm)) / 1000
    return {number: count * voxel_cm3 for number, count in voxel_counts(labels).items()}


def label_overlap(fixed: LabelArray, carried: LabelArray, number: int, geometry: Geometry) -> Overlap | None:
    """Agreement of one structure in two label images on one grid; none where one of them does not have it."""
    masks = fixed == number, carried == number
    if not masks[0].any() or not masks[1].any():
        return None
    region = ndimage.find_objects((masks[0] | masks[1]).astype(np.uint8))[0]
    return overlap(masks[0][region], masks[1][region], geometry.spacing_zyx_mm)


def _carried(labels: CarriedLabels) -> Job[LabelArray]:
    """All of the carried labels, slice by slice, so that a job can end in between."""
    shape = labels.fixed.shape_zyx
    whole = np.empty(shape, labels.labels.dtype)
    for z in range(shape[0]):
        yield Progress("structures", z, shape[0])
        whole[z] = labels[z, :, :]
    return whole
