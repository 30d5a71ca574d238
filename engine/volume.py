"""An image: Hounsfield units on a grid."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from engine.errors import InputError
from engine.geometry import Geometry
from engine.identity import Identity
from engine.roi import Box
from engine.shapes import HuArray, MaskArray

PADDING_HU = -2048.0
"""What is written where no image exists."""

AIR_HU = -1000.0

IN_HU = ("CT", "CBCT")
"""Modalities whose values are Hounsfield units."""

NOT_IN_HU = "OT"
"""Modality of a file that does not tell its own and whose values are not those of a CT."""


@dataclass(frozen=True, slots=True, eq=False, weakref_slot=True)
class Volume:
    """Voxels in HU with their geometry and the part of them that the scanner saw.

    `hu` float32 (z, y, x), read-only, as read (padding included). `valid` (z, y, x): false where the value
    is padding or outside the scan circle; such voxels take part in no loss and no metric. `modality`: CT, CBCT,
    NOT_IN_HU or as DICOM says. `identity`: what tells patients and frames of reference apart.
    """

    hu: HuArray
    geometry: Geometry
    valid: MaskArray
    modality: str = "CT"
    name: str = field(default="", repr=False)
    identity: Identity = field(default=Identity(), repr=False)

    def __post_init__(self) -> None:
        if self.hu.shape != self.geometry.shape_zyx or self.valid.shape != self.geometry.shape_zyx:
            raise InputError(f"Expected voxels of shape {self.geometry.shape_zyx}, got {self.hu.shape}.")
        if not np.isfinite(self.hu).all():
            raise InputError(
                "The image holds values that are not numbers (NaN or infinite); export it again without them."
            )
        self.hu.flags.writeable = False
        self.valid.flags.writeable = False

    def cropped(self, box: Box) -> Volume:
        """The part inside a box."""
        hu, valid = self.hu[box.slices_zyx], self.valid[box.slices_zyx]
        return replace(self, hu=hu, geometry=self.geometry.cropped(box), valid=valid)

    def filled_hu(self) -> HuArray:
        """`filled_hu` of all of it."""
        return filled_hu(self.hu, self.valid)


def filled_hu(hu: HuArray, valid: MaskArray) -> HuArray:
    """HU with air where the scanner saw nothing, so that padding bends no interpolation or filter."""
    return np.where(valid, hu, np.float32(AIR_HU)).astype(np.float32, copy=False)


def normalized(hu: HuArray) -> HuArray:
    """(HU + 1000) / 2000, limited to [-0.05, 2] so that metal does not dominate (Bai et al. 2022)."""
    values: HuArray = np.clip((hu + np.float32(1000)) / np.float32(2000), np.float32(-0.05), np.float32(2.0))
    return values


def hu_from_normalized_rmse(mse: float) -> float:
    """RMSE in HU from a mean squared error of normalised values."""
    return 2000.0 * float(np.sqrt(mse))


def normalized_mse_from_hu(rmse_hu: float) -> float:
    """The mean squared error of normalised values from an RMSE in HU."""
    return (rmse_hu / 2000.0) ** 2
