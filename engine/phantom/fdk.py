"""Real cone-beam physics: forward projection of a clean image and Feldkamp reconstruction from the views of one phase.

The projector and the reconstruction are RTK's (Rit et al. 2014), an optional package; everything else of the product
does with the lighter model of `cone_beam`.
"""

from __future__ import annotations

from concurrent.futures import Executor, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.errors import InputError
from engine.shapes import HuArray

_SOURCE_TO_AXIS_MM, _SOURCE_TO_DETECTOR_MM = 1000.0, 1536.0
_PIXEL_MM = 4.0
_WATER_PER_MM = 0.019
_HIGHEST_HU = 2500.0
_HANN_CUT = 0.8


def reconstructing() -> Executor:
    """A process in which `fdk_cone_beam` can run: beside Qt's bindings ITK's crash as they are imported."""
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


def fdk_cone_beam(
    hu: HuArray, spacing_mm: float, rng: np.random.Generator, projections: int, photons: float = 2e4
) -> HuArray:
    """What a cone-beam scanner makes of a clean image (Z, Y, X) on an isotropic grid: HU float32 on the same grid.

    `projections` views in one cluster for each breath, as one phase of a 4-D scan has them; scatter, and the noise of
    `photons` per pixel. HU are scaled to fit the clean image on the whole, as a calibration would.

    Raises:
        InputError: RTK is not installed, or there is no projection.
    """
    if projections < 1:
        raise InputError(f"Expected at least one projection, got {projections}.")
    itk = _itk()
    attenuation = np.maximum((np.clip(hu, -1000, _HIGHEST_HU) + 1000) / 1000 * _WATER_PER_MM, 0).astype(np.float32)
    volume = _image(itk, attenuation.transpose(1, 0, 2), (spacing_mm,) * 3)
    geometry = itk.RTK.ThreeDCircularProjectionGeometry.New()
    for angle in phase_angles_degrees(projections, rng):
        geometry.AddProjection(_SOURCE_TO_AXIS_MM, _SOURCE_TO_DETECTOR_MM, float(angle))
    lines = _line_integrals(itk, volume, geometry, projections)
    measured = _measured(lines, rng, photons)
    found = _reconstructed(itk, volume, geometry, measured).transpose(1, 0, 2)
    slope, offset = np.polyfit(found[::2, ::2, ::2].ravel(), attenuation[::2, ::2, ::2].ravel(), 1)
    result: HuArray = ((slope * found + offset) / _WATER_PER_MM * 1000 - 1000).astype(np.float32)
    return result


def phase_angles_degrees(projections: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Gantry angles of one breathing phase: a few views in every breath of a full turn, ascending."""
    breaths = min(projections, int(rng.integers(12, 21)))
    starts = (np.arange(breaths) + rng.uniform(-0.2, 0.2, breaths)) * 360 / breaths + rng.uniform(0, 360)
    inside = rng.uniform(0, 0.25 * 360 / breaths, projections)
    return np.sort((starts[np.arange(projections) % breaths] + inside) % 360)


def _itk() -> Any:
    try:
        import itk
        from itk import RTK  # noqa: F401
    except ImportError as error:
        raise InputError(
            'Expected the package itk-rtk for cone-beam reconstruction; pip install "regard[cone-beam]" brings it.'
        ) from error
    return itk


def _image(itk: Any, values: NDArray[np.float32], spacing: tuple[float, ...]) -> Any:
    """An ITK image centered on the origin."""
    image = itk.image_from_array(np.ascontiguousarray(values))
    image.SetSpacing(list(spacing))
    image.SetOrigin([-(n - 1) / 2 * s for n, s in zip(values.shape[::-1], spacing, strict=True)])
    return image


def _constant(itk: Any, like: Any, size: list[int], origin: list[float], spacing: list[float]) -> Any:
    source = itk.RTK.ConstantImageSource[type(like)].New()
    source.SetSize(size)
    source.SetOrigin(origin)
    source.SetSpacing(spacing)
    source.SetConstant(0.0)
    source.Update()
    return source.GetOutput()


def _line_integrals(itk: Any, volume: Any, geometry: Any, projections: int) -> Any:
    size = [round(extent * _SOURCE_TO_DETECTOR_MM / (_SOURCE_TO_AXIS_MM - extent / 2) / _PIXEL_MM) for extent in
            (_diagonal(volume), _height(volume))]  # fmt: skip
    origin = [-(n - 1) / 2 * _PIXEL_MM for n in size]
    empty = _constant(itk, volume, [*size, projections], [*origin, 0.0], [_PIXEL_MM, _PIXEL_MM, 1.0])
    projector = itk.RTK.JosephForwardProjectionImageFilter[type(volume), type(volume)].New()
    projector.SetGeometry(geometry)
    projector.SetInput(0, empty)
    projector.SetInput(1, volume)
    projector.Update()
    return projector.GetOutput()


def _diagonal(volume: Any) -> float:
    size, spacing = _size(volume), volume.GetSpacing()
    return float(np.hypot(size[0] * spacing[0], size[2] * spacing[2]))


def _height(volume: Any) -> float:
    return float(_size(volume)[1] * volume.GetSpacing()[1])


def _size(image: Any) -> list[int]:
    """Voxels along x, y, z."""
    return [int(n) for n in image.GetLargestPossibleRegion().GetSize()]


def _measured(lines: Any, rng: np.random.Generator, photons: float) -> NDArray[np.float32]:
    """Line integrals as a detector finds them: photons that scattered on the way, and counting noise."""
    values = np.asarray(lines, dtype=np.float32)
    primary = np.exp(-values)
    spread = ndimage.gaussian_filter(primary, (0, 12, 12), mode="nearest", truncate=2.0)
    scattered = rng.uniform(0.0, 0.03) * spread + rng.uniform(0.0, 0.006)
    counts = rng.poisson((primary + scattered) * photons) / photons
    result: NDArray[np.float32] = -np.log(np.maximum(counts, 1 / photons)).astype(np.float32)
    return result


def _reconstructed(itk: Any, volume: Any, geometry: Any, measured: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = measured.shape[1:]
    views = itk.image_from_array(measured)
    views.SetSpacing([_PIXEL_MM, _PIXEL_MM, 1.0])
    views.SetOrigin([-(columns - 1) / 2 * _PIXEL_MM, -(rows - 1) / 2 * _PIXEL_MM, 0.0])
    empty = _constant(itk, volume, _size(volume), list(volume.GetOrigin()), list(volume.GetSpacing()))
    filtered = itk.RTK.FDKConeBeamReconstructionFilter[type(volume)].New()
    filtered.SetInput(0, empty)
    filtered.SetInput(1, views)
    filtered.SetGeometry(geometry)
    filtered.GetRampFilter().SetTruncationCorrection(0.0)
    filtered.GetRampFilter().SetHannCutFrequency(_HANN_CUT)
    filtered.Update()
    return np.array(filtered.GetOutput(), dtype=np.float32)
