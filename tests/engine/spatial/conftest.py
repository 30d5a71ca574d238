"""SimpleITK as the reference: images and transforms made from a geometry without the engine's own converters."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from engine.geometry import Geometry


@pytest.fixture
def to_sitk() -> Callable[[NDArray[np.floating], Geometry], sitk.Image]:
    """Makes an image of (Z, Y, X), or of vectors from (Z, Y, X, 3)."""

    def make(array: NDArray[np.floating], geometry: Geometry) -> sitk.Image:
        image = sitk.GetImageFromArray(array.astype(np.float64), isVector=array.ndim == 4)
        image.SetSpacing(geometry.spacing_xyz_mm)
        image.SetOrigin(geometry.origin_xyz_mm)
        image.SetDirection(np.asarray(geometry.direction).ravel().tolist())
        return image

    return make


@pytest.fixture
def to_affine() -> Callable[[NDArray[np.float64]], sitk.AffineTransform]:
    """Makes a transform of a 4 × 4 matrix."""

    def make(matrix: NDArray[np.float64]) -> sitk.AffineTransform:
        return sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())

    return make
