"""Corresponding points of the real lung pair, found without any registration: by matching blocks of voxels.

    python tests/benchmarks/matched_points.py ../shared/data/lung_ct_pair [--out DIR]

Corners of the fixed lung (Förstner and Gülch 1987: vessels that fork or bend) are looked for in the moving image by
normalised cross-correlation of a block, at every voxel within 30 mm, each point by itself. A point stays when it is
found beyond doubt: high correlation, no second place nearly as good, a larger block that agrees, a search back
from the moving image that returns, and neighbors that moved alike. Nothing is smooth by construction, and no method
that is judged takes part. Writes fixed_points.txt and moving_points.txt for `regard evaluate --points`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from lung_pair import lung_files
from numpy.typing import NDArray
from scipy import ndimage, signal, spatial

from engine.geometry import Geometry
from engine.io.images import read_mask_on, read_volume
from engine.io.points import read_points, write_points
from engine.shapes import HuArray, MaskArray, PointArray
from engine.volume import Volume

_REACH_MM = 30.0
_BLOCK_MM, _LARGER_BLOCK_MM = 8.0, 11.0
"""Half the side of a block."""
_APART_MM, _FROM_EDGE_MM = 8.0, 6.0
_SIGMA_MM = 1.5
_LEAST_CORRELATION, _LEAST_LEAD, _RIVAL_FROM_MM = 0.75, 0.1, 5.0
_RETURN_MM, _AGREE_MM, _NEIGHBOR_MM, _NEIGHBORS = 1.5, 2.0, 4.0, 8

Voxels = NDArray[np.float64]
"""(N, 3) positions z y x."""


@dataclass(frozen=True, slots=True)
class Image:
    """Gray values (Z, Y, X) that blocks are cut from, limited to what lungs and their vessels show."""

    hu: HuArray
    geometry: Geometry

    @classmethod
    def of(cls, volume: Volume) -> Image:
        return cls(np.clip(volume.hu, -1000.0, 200.0), volume.geometry)

    def voxels(self, mm: float) -> NDArray[np.int64]:
        """A length along z, y and x."""
        return np.rint(mm / np.array(self.geometry.spacing_zyx_mm)).astype(np.int64)

    def points_mm(self, voxels: Voxels) -> PointArray:
        """Points (N, 3) x y z of voxels z y x."""
        return self.geometry.points(voxels[:, ::-1])

    def voxels_at(self, points_mm: PointArray) -> Voxels:
        """Continuous voxels z y x of points."""
        return self.geometry.indices(points_mm)[:, ::-1]

    def cut(self, center: NDArray[np.int64], half: NDArray[np.int64]) -> HuArray:
        """A block around a voxel; air where it leaves the image."""
        shape = np.array(self.hu.shape)
        low, high = center - half, center + half + 1
        inside = self.hu[tuple(slice(*ends) for ends in zip(low.clip(0, shape), high.clip(0, shape), strict=True))]
        before, after = (-low).clip(0, 2 * half + 1), (high - shape).clip(0, 2 * half + 1)
        return np.pad(inside, list(zip(before, after, strict=True)), constant_values=-1000.0)


def main() -> None:
    """Find the points, say how many there are and how far they moved, and write them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path())
    arguments = parser.parse_args()
    files = write_matched_points(arguments.data, arguments.out)
    fixed_mm, moving_mm = (np.loadtxt(path, skiprows=2) for path in files)
    moved = np.linalg.norm(moving_mm - fixed_mm - np.median(moving_mm - fixed_mm, axis=0), axis=1)
    print(f"{len(fixed_mm)} points; from their median shift {np.mean(moved):.1f} mm, at most {moved.max():.1f} mm")


def write_matched_points(data: Path, folder: Path) -> tuple[Path, Path]:
    """The files of the points of the fixed and of the moving image."""
    files = folder / "fixed_points.txt", folder / "moving_points.txt"
    for path, points_mm in zip(files, matched_points(data), strict=True):
        write_points(path, points_mm)
    return files


def matched_points(data: Path) -> tuple[PointArray, PointArray]:
    """Points of the fixed image and their counterparts in the moving one, (N, 3) mm."""
    files = lung_files(data)
    assert files.masks is not None
    fixed, moving = (read_volume(path) for path in (files.fixed, files.moving))
    there, back = Image.of(fixed), Image.of(moving)
    coarse_fixed_mm, coarse_moving_mm = (
        read_points(path, volume.geometry) for path, volume in zip(files.points, (fixed, moving), strict=True)
    )
    shift_mm = np.median(coarse_moving_mm - coarse_fixed_mm, axis=0)
    corners = corners_of(there, read_mask_on(files.masks[0], fixed.geometry))
    corners_mm = there.points_mm(corners)

    found, certain = matched(there, back, corners, back.voxels_at(corners_mm + shift_mm), _BLOCK_MM)
    found_mm = back.points_mm(found)
    larger, _ = matched(there, back, corners, back.voxels_at(corners_mm + shift_mm), _LARGER_BLOCK_MM)
    home, _ = matched(back, there, found, there.voxels_at(found_mm - shift_mm), _BLOCK_MM)
    certain &= np.linalg.norm(back.points_mm(larger) - found_mm, axis=1) < _AGREE_MM
    certain &= np.linalg.norm(there.points_mm(home) - corners_mm, axis=1) < _RETURN_MM
    corners_mm, found_mm = corners_mm[certain], found_mm[certain]
    alike = moved_alike(corners_mm, found_mm)
    return corners_mm[alike], found_mm[alike]


def corners_of(image: Image, mask: MaskArray) -> Voxels:
    """Voxels of a mask round which the image changes in every direction, the strongest first, none near another."""
    spacing = np.array(image.geometry.spacing_zyx_mm)
    slopes = [ndimage.gaussian_filter(image.hu, _SIGMA_MM / spacing, order=order) for order in np.eye(3, dtype=int)]
    slopes = [slope / step for slope, step in zip(slopes, spacing, strict=True)]
    tensor = np.empty((*image.hu.shape, 3, 3), np.float32)
    for row in range(3):
        for column in range(3):
            tensor[..., row, column] = ndimage.gaussian_filter(slopes[row] * slopes[column], _SIGMA_MM / spacing)
    strength = 1.0 / np.trace(np.linalg.inv(tensor + np.eye(3, dtype=np.float32)), axis1=-2, axis2=-1)
    deep = ndimage.distance_transform_edt(mask, sampling=spacing) > _FROM_EDGE_MM
    peaks = np.argwhere(deep & (strength == ndimage.maximum_filter(strength, 3)))
    peaks = peaks[np.argsort(-strength[tuple(peaks.T)])]
    kept: list[NDArray[np.int64]] = []
    for peak in peaks:
        if all(np.linalg.norm((peak - other) * spacing) >= _APART_MM for other in kept):
            kept.append(peak)
    return np.array(kept, dtype=np.float64).reshape(-1, 3)


def matched(
    image: Image, other: Image, voxels: Voxels, guesses: Voxels, block_mm: float
) -> tuple[Voxels, NDArray[np.bool_]]:
    """Where the other image looks most like a block of this one, and whether nowhere else does nearly as much."""
    found, certain = np.empty_like(voxels), np.empty(len(voxels), bool)
    half, reach = image.voxels(block_mm), other.voxels(_REACH_MM)
    rival_zyx = np.ogrid[tuple(slice(-int(n), int(n) + 1) for n in reach)]
    for number, (voxel, guess) in enumerate(zip(voxels, guesses, strict=True)):
        center, middle = np.rint(voxel).astype(np.int64), np.rint(guess).astype(np.int64)
        correlation = correlations(image.cut(center, half), other.cut(middle, reach + half))
        peak = np.array(np.unravel_index(np.argmax(correlation), correlation.shape))
        away = sum(
            ((axis - (at - n)) * step) ** 2
            for axis, at, n, step in zip(rival_zyx, peak, reach, other.geometry.spacing_zyx_mm, strict=True)
        )
        highest = correlation[tuple(peak)]
        rival = correlation[away > _RIVAL_FROM_MM**2].max()
        certain[number] = highest >= _LEAST_CORRELATION and highest - rival >= _LEAST_LEAD
        found[number] = middle - reach + peak + _fraction(correlation, peak) + (voxel - center)
    return found, certain


def correlations(block: HuArray, region: HuArray) -> NDArray[np.float64]:
    """Normalised cross-correlation of a block with every place of a region that holds it whole."""
    pattern = block.astype(np.float64) - block.mean(dtype=np.float64)
    whole = region.astype(np.float64) - region.mean(dtype=np.float64)
    product = signal.correlate(whole, pattern, mode="valid", method="fft")
    ones = np.ones(block.shape)
    total, squares = (signal.correlate(values, ones, mode="valid", method="fft") for values in (whole, whole**2))
    variation = (squares - total**2 / block.size).clip(1e-3)
    return product / np.sqrt(variation * max(float((pattern**2).sum()), 1e-3))


def _fraction(correlation: NDArray[np.float64], peak: NDArray[np.int64]) -> NDArray[np.float64]:
    """From the highest voxel to the top of the parabolas through it and its neighbors; 0 at the edge."""
    fraction = np.zeros(3)
    for axis in range(3):
        if 0 < peak[axis] < correlation.shape[axis] - 1:
            step = np.eye(3, dtype=int)[axis]
            below, here, above = (float(correlation[tuple(peak + n * step)]) for n in (-1, 0, 1))
            curvature = below - 2 * here + above
            fraction[axis] = 0.5 * (below - above) / curvature if curvature < 0 else 0.0
    return fraction


def moved_alike(fixed_mm: PointArray, moving_mm: PointArray) -> NDArray[np.bool_]:
    """Whether a point moved as the median of those around it, which excludes what matched another vessel."""
    moved = moving_mm - fixed_mm
    _, near = spatial.cKDTree(fixed_mm).query(fixed_mm, _NEIGHBORS + 1)
    return np.linalg.norm(moved - np.median(moved[near[:, 1:]], axis=1), axis=1) < _NEIGHBOR_MM


if __name__ == "__main__":
    main()
