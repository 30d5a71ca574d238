"""Rigid alignment by image content (SimpleITK, Mattes mutual information)."""

from __future__ import annotations

import numpy as np
import SimpleITK as sitk

from engine.errors import InputError
from engine.geometry import Geometry
from engine.io.images import to_sitk_image
from engine.io.transforms import rigid_matrix
from engine.progress import Job, Progress
from engine.shapes import Matrix
from engine.volume import AIR_HU, Volume

_LEVELS = ((8.0, 4.0), (4.0, 1.0))
"""Working spacing in mm and first step in mm, coarse to fine."""

_SAMPLES = 20_000
_HIGHEST_HU = 500.0
_ITERATIONS = 100
_SEED = 1


def rigid_alignment(fixed: Volume, moving: Volume) -> Job[Matrix]:
    """4 × 4 matrix from fixed to moving points (mm, LPS), started with the image centers on each other.

    Voxels that the scanner did not see take no part. One thread and fixed seeds: ITK adds up the parts of its metric in
    the order in which threads finish, and everything after the alignment is to be repeatable to the bit.
    """
    transform = sitk.Euler3DTransform()
    transform.SetCenter(fixed.geometry.center_xyz_mm().tolist())
    transform.SetTranslation((moving.geometry.center_xyz_mm() - fixed.geometry.center_xyz_mm()).tolist())
    for done, (spacing_mm, step_mm) in enumerate(_LEVELS):
        yield Progress("align", done, len(_LEVELS), note=f"{spacing_mm:g} mm")
        method = _method(spacing_mm, step_mm, fixed, moving)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(_reduced(fixed, spacing_mm), _reduced(moving, spacing_mm))
        except RuntimeError as error:
            raise InputError(
                "Rigid alignment found too little overlap of the two images; "
                "align by a file, or check that they show the same region."
            ) from error
    yield Progress("align", len(_LEVELS), len(_LEVELS))
    return rigid_matrix(transform)


def _method(spacing_mm: float, step_mm: float, fixed: Volume, moving: Volume) -> sitk.ImageRegistrationMethod:
    method = sitk.ImageRegistrationMethod()
    method.SetNumberOfThreads(1)
    method.SetNumberOfWorkUnits(1)
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricFixedMask(_mask(fixed, spacing_mm))
    method.SetMetricMovingMask(_mask(moving, spacing_mm))
    voxels = np.prod(_shrunk_size(fixed.geometry, spacing_mm))
    if voxels > _SAMPLES:
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(float(_SAMPLES / voxels), _SEED)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(step_mm, 0.01, _ITERATIONS, 0.6, 1e-6)
    method.SetOptimizerScalesFromPhysicalShift()
    return method


def _factors(geometry: Geometry, spacing_mm: float) -> list[int]:
    return [
        max(1, min(round(spacing_mm / spacing), size))
        for spacing, size in zip(geometry.spacing_xyz_mm, geometry.size_xyz, strict=True)
    ]


def _shrunk_size(geometry: Geometry, spacing_mm: float) -> list[int]:
    return [size // factor for size, factor in zip(geometry.size_xyz, _factors(geometry, spacing_mm), strict=True)]


def _reduced(volume: Volume, spacing_mm: float) -> sitk.Image:
    hu = np.clip(volume.filled_hu(), AIR_HU, _HIGHEST_HU)
    image = to_sitk_image(hu, volume.geometry)
    return sitk.BinShrink(image, _factors(volume.geometry, spacing_mm))


def _mask(volume: Volume, spacing_mm: float) -> sitk.Image:
    return sitk.Shrink(
        to_sitk_image(volume.valid.astype(np.uint8), volume.geometry), _factors(volume.geometry, spacing_mm)
    )
