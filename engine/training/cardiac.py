"""Pairs of short-axis slices of the heart, end-diastole fixed and end-systole moving: phantoms, and cine MRI."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from engine.errors import InputError
from engine.phantom.heart import FIELD_OF_VIEW_MM, random_heart

_CINE_CROP_PX = 128
"""Side of the square in the middle of a cine image that holds the heart."""


@dataclass(frozen=True, slots=True, eq=False)
class SlicePair:
    """Images (H, W) in 0 to 1 and their labels; `pixel` is the side of a pixel in the unit of distances."""

    fixed: NDArray[np.float32]
    moving: NDArray[np.float32]
    fixed_labels: NDArray[np.uint8]
    moving_labels: NDArray[np.uint8]
    pixel: float


def phantom_pair(seed: int, index: int, size: int) -> SlicePair:
    """The random heart number `index` of a seed, labels of three structures, distances in mm."""
    rng = np.random.default_rng([seed, index])
    heart = random_heart(rng)
    fixed, moving = (heart.image(size, rng, phase) for phase in (0.0, 1.0))
    return SlicePair(fixed, moving, heart.labels(size, 0.0), heart.labels(size, 1.0), FIELD_OF_VIEW_MM / size)


def cine_pairs(folder: Path, size: int) -> list[SlicePair]:
    """The pairs that `ed_es_pairs.csv` lists, of the left ventricle, resampled to `size`.

    Columns `ed_file` and `es_file` name PNG images in `images` and of equal name in `labels`. PNG tells no spacing:
    distances are in pixels of the original.

    Raises:
        InputError: the list or one of its images cannot be read.
    """
    try:
        with (folder / "ed_es_pairs.csv").open(newline="", encoding="utf-8") as stream:
            rows = [(row["ed_file"], row["es_file"]) for row in csv.DictReader(stream)]
    except (OSError, KeyError, UnicodeDecodeError, csv.Error) as error:
        raise InputError("Expected a folder with ed_es_pairs.csv, columns ed_file and es_file; found none.") from error
    return [_cine_pair(folder, fixed, moving, size) for fixed, moving in rows]


def _cine_pair(folder: Path, fixed: str, moving: str, size: int) -> SlicePair:
    images = [_resampled(_cropped(_gray(folder / "images" / name)), size) for name in (fixed, moving)]
    masks = [_cropped(_gray(folder / "labels" / name)) for name in (fixed, moving)]
    labels = [(_resampled(mask, size) > 0.5 * mask.max()).astype(np.uint8) for mask in masks]
    return SlicePair(_normalised(images[0]), _normalised(images[1]), labels[0], labels[1], _CINE_CROP_PX / size)


def _gray(path: Path) -> NDArray[np.float32]:
    import SimpleITK as sitk

    try:
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    except RuntimeError as error:
        raise InputError("An image that ed_es_pairs.csv names is missing or cannot be read.") from error
    gray: NDArray[np.float32] = array.astype(np.float32)
    return gray if gray.ndim == 2 else gray[..., :3].mean(axis=-1)


def _cropped(image: NDArray[np.float32]) -> NDArray[np.float32]:
    starts = [(n - _CINE_CROP_PX) // 2 for n in image.shape]
    if min(starts) < 0:
        raise InputError(f"Expected cine images of at least {_CINE_CROP_PX} pixels a side, got {image.shape}.")
    return image[tuple(slice(start, start + _CINE_CROP_PX) for start in starts)]


def _resampled(image: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Smoothed to the new pixel, then interpolated at the centers of the new pixels."""
    factor = _CINE_CROP_PX / size
    smooth = ndimage.gaussian_filter(image, 0.5 * np.sqrt(max(factor**2 - 1, 0)))
    at = (np.arange(size) + 0.5) * factor - 0.5
    grid = np.stack(np.meshgrid(at, at, indexing="ij"))
    return np.asarray(ndimage.map_coordinates(smooth, grid, order=1, mode="nearest"), dtype=np.float32)


def _normalised(image: NDArray[np.float32]) -> NDArray[np.float32]:
    low, high = image.min(), image.max()
    return np.asarray((image - low) / max(float(high - low), 1e-6), dtype=np.float32)
