"""The middle slice of an image as a small picture, without reading the rest."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.geometry import Geometry
from engine.io.catalog import Entry
from engine.io.images import array_of, image_reader
from engine.io.quiet import quiet
from engine.volume import AIR_HU, IN_HU

_WINDOW_HU = (-1000.0, 500.0)
_PERCENTILES = (1.0, 99.0)

Picture = NDArray[np.uint8]


def thumbnail(entry: Entry, side: int = 96) -> Picture:
    """Gray levels (height, width) of the middle slice, the longer side `side` pixels.

    Front and right of the patient are up and left where the slice is axial. Raises InputError where there is none.
    """
    if entry.geometry is None:
        raise InputError("This image cannot be opened, so there is no picture of it.")
    try:
        with quiet():
            values = _dicom_slice(entry.files[len(entry.files) // 2]) if entry.is_dicom else _slice(entry.files[0])
    except RuntimeError as error:
        raise InputError("The middle slice of this image cannot be decoded.") from error
    if values.ndim != 2:
        raise InputError("Expected one value in each pixel of the middle slice.")
    return _small(_gray(values, entry.modality), entry.geometry, side)


def _dicom_slice(path: Path) -> NDArray[np.float32]:
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path), sitk.sitkFloat32, "GDCMImageIO")
    values: NDArray[np.float32] = array_of(image)[0]
    return values


def _slice(path: Path) -> NDArray[np.float32]:
    import SimpleITK as sitk

    reader = image_reader(path)
    size = reader.GetSize()
    reader.SetOutputPixelType(sitk.sitkFloat32)
    reader.SetExtractIndex([0, 0, size[2] // 2, *[0 for _ in size[3:]]])
    reader.SetExtractSize([size[0], size[1], *[0 for _ in size[2:]]])
    values: NDArray[np.float32] = array_of(reader.Execute())
    return values


def _gray(values: NDArray[np.float32], modality: str) -> Picture:
    in_hu = modality in IN_HU or (not modality and values.min() <= 0.5 * AIR_HU)
    low, high = _WINDOW_HU if in_hu else np.percentile(values, _PERCENTILES)
    level = np.nan_to_num((values - low) / max(high - low, 1e-6))
    gray: Picture = (255.0 * np.clip(level, 0.0, 1.0)).astype(np.uint8)
    return gray


def _small(gray: Picture, geometry: Geometry, side: int) -> Picture:
    """Nearest-neighbor to square pixels."""
    height_mm, width_mm = (n * s for n, s in zip(gray.shape, geometry.spacing_zyx_mm[1:], strict=True))
    pixel_mm = max(height_mm, width_mm) / side
    rows, columns = (
        np.minimum(((np.arange(max(1, round(extent / pixel_mm))) + 0.5) * n * pixel_mm / extent).astype(int), n - 1)
        for n, extent in zip(gray.shape, (height_mm, width_mm), strict=True)
    )
    (x_along, _, _), (_, y_along, _), _ = geometry.direction
    small: Picture = gray[rows if y_along >= 0 else rows[::-1]][:, columns if x_along >= 0 else columns[::-1]]
    return np.ascontiguousarray(small)
