"""What a cone-beam CT does to a clean image: shading, noise, streaks of few views, and a cylinder of view.

Every function takes HU (Z, Y, X), leaves it untouched and returns a new float32 array. None knows any anatomy.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse

from engine.errors import InputError
from engine.geometry import Geometry
from engine.phantom.sampling import interpolated
from engine.shapes import HuArray, MaskArray
from engine.volume import AIR_HU, PADDING_HU

_STREAK_PIXELS = 72
_FULL_SCAN_VIEWS = 60
_REFERENCE_VIEWS = 180


def cone_beam(
    hu: HuArray, geometry: Geometry, rng: np.random.Generator, projections: int | None = None
) -> tuple[HuArray, MaskArray]:
    """A cone-beam CT of a clean image, and where it is valid.

    `projections` is the number of views of the phase shown; None stands for a full scan, with faint streaks only.
    Outside the cylinder the image is `PADDING_HU`. `InputError` for fewer than one projection.
    """
    if projections is not None and projections < 1:
        raise InputError(f"Expected at least one projection, got {projections}.")
    views = _FULL_SCAN_VIEWS if projections is None else projections
    strength = 0.25 if projections is None else 1.0
    spacing = geometry.spacing_xyz_mm
    seen = in_cylinder(geometry)
    image = with_streaks(hu, spacing, views, rng, strength)
    image = with_scatter(image, spacing, rng)
    image = with_cupping(image, geometry, rng)
    image = with_noise(image, rng, sigma_hu=28.0, blur_voxels=0.6)
    image[~seen] = PADDING_HU
    return image, seen


def with_noise(hu: HuArray, rng: np.random.Generator, sigma_hu: float, blur_voxels: float = 0.0) -> HuArray:
    """Gaussian noise of s.d. `sigma_hu`, correlated over `blur_voxels` (s.d. of the blur)."""
    noise = rng.standard_normal(hu.shape, dtype=np.float32)
    if blur_voxels > 0:
        noise = ndimage.gaussian_filter(noise, blur_voxels, mode="wrap", truncate=2.5)
        noise /= noise.std()
    result: HuArray = hu + np.float32(sigma_hu) * noise
    return result


def with_cupping(hu: HuArray, geometry: Geometry, rng: np.random.Generator, depth_hu: float = 70.0) -> HuArray:
    """Too dark in the middle, too bright at the rim of the cylinder, in proportion to the density."""
    _, y, x = np.ogrid[tuple(slice(n) for n in hu.shape)]
    center = np.asarray(geometry.size_xyz) / 2 - 0.5 + rng.uniform(-0.03, 0.03, 3) * np.asarray(geometry.size_xyz)
    radius = cylinder_radius_mm(geometry)
    spacing = geometry.spacing_xyz_mm
    square = (((x - center[0]) * spacing[0]) ** 2 + ((y - center[1]) * spacing[1]) ** 2) / radius**2
    bowl = depth_hu * rng.uniform(0.6, 1.2) * (square - 0.55)
    result: HuArray = hu + (bowl * _density(hu)).astype(np.float32)
    return result


def with_scatter(hu: HuArray, spacing_xyz_mm: tuple[float, float, float], rng: np.random.Generator) -> HuArray:
    """Low-frequency shading: less contrast where much tissue is near, and a drift along the body."""
    coarse = [max(1, round(10 / s)) for s in spacing_xyz_mm[::-1]]
    small = _density(hu)[:: coarse[0], :: coarse[1], :: coarse[2]]
    reach = [45.0 / (step * s) for step, s in zip(coarse, spacing_xyz_mm[::-1], strict=True)]
    load = ndimage.gaussian_filter(small, reach, mode="nearest", truncate=2.5)
    bias = ndimage.gaussian_filter(rng.standard_normal(small.shape, dtype=np.float32), reach, mode="reflect")
    shade = -rng.uniform(60, 120) * load + 18 * bias / (bias.std() + 1e-6)
    zoom = [np.linspace(0, n - 1, full) for n, full in zip(small.shape, hu.shape, strict=True)]
    full = interpolated(shade, zoom)
    result: HuArray = hu + full * np.clip(_density(hu) + 0.15, 0, 1)
    return result


def with_streaks(
    hu: HuArray,
    spacing_xyz_mm: tuple[float, float, float],
    projections: int,
    rng: np.random.Generator,
    strength: float = 1.0,
) -> HuArray:
    """Add the streaks of filtered back-projection from few parallel views: few views minus many, slice by slice.

    The difference is worked out on about 72 × 72 pixels and added to the sharp image. Views come in pairs, as the
    views of one breathing phase do, at random gaps.
    """
    small, zoom = _shrunk(hu, spacing_xyz_mm)
    columns = np.ascontiguousarray(small.reshape(len(small), -1).T) + np.float32(1000)
    few = filtered_back_projection(columns, small.shape[1:], _phase_angles(projections, rng))
    many = filtered_back_projection(columns, small.shape[1:], np.arange(_REFERENCE_VIEWS) * np.pi / _REFERENCE_VIEWS)
    streaks = (few - many).T.reshape(small.shape)
    result: HuArray = hu + np.float32(strength) * interpolated(streaks, zoom)
    return result


def in_cylinder(geometry: Geometry) -> MaskArray:
    """True inside the reconstructed cylinder about the middle of the grid."""
    _, y, x = np.ogrid[tuple(slice(n) for n in geometry.shape_zyx)]
    middle, spacing = (np.asarray(geometry.size_xyz) - 1) / 2, geometry.spacing_xyz_mm
    square = ((x - middle[0]) * spacing[0]) ** 2 + ((y - middle[1]) * spacing[1]) ** 2
    return np.ascontiguousarray(np.broadcast_to(square <= cylinder_radius_mm(geometry) ** 2, geometry.shape_zyx))


def cylinder_radius_mm(geometry: Geometry) -> float:
    """Radius of the cylinder: a little less than half the wider side, so that it clips a patient set up askew."""
    x, y, _ = (n * s for n, s in zip(geometry.size_xyz, geometry.spacing_xyz_mm, strict=True))
    return 0.47 * max(x, y)


def _density(hu: HuArray) -> HuArray:
    """0 in air, 1 in water and above."""
    result: HuArray = np.clip((hu + np.float32(1000)) / np.float32(1000), 0, 1)
    return result


def _shrunk(hu: HuArray, spacing_xyz_mm: tuple[float, float, float]) -> tuple[HuArray, list[NDArray[np.float64]]]:
    """Each slice on a coarse square-pixel grid, and the indices that bring it back to full size."""
    _, rows, cols = hu.shape
    pixel = max(rows * spacing_xyz_mm[1], cols * spacing_xyz_mm[0]) / _STREAK_PIXELS
    size = [max(8, round(rows * spacing_xyz_mm[1] / pixel)), max(8, round(cols * spacing_xyz_mm[0] / pixel))]
    blur = [0.0, 0.4 * max(1.0, rows / size[0]), 0.4 * max(1.0, cols / size[1])]
    soft = ndimage.gaussian_filter(np.maximum(hu, np.float32(AIR_HU)), blur, truncate=2.0)
    pick = [np.linspace(0, n - 1, m) for n, m in zip((rows, cols), size, strict=True)]
    every = np.arange(hu.shape[0], dtype=np.float64)
    small = interpolated(soft, [every, *pick])
    back = [np.linspace(0, m - 1, n) for n, m in zip((rows, cols), size, strict=True)]
    return small, [every, *back]


def _phase_angles(projections: int, rng: np.random.Generator) -> NDArray[np.float64]:
    cycles = max(1, (projections + 1) // 2)
    first = (np.arange(cycles) + rng.uniform(-0.2, 0.2, cycles)) * np.pi / cycles
    pairs = np.concatenate([first, first + 0.2 * np.pi / cycles])
    return pairs[:projections]


def filtered_back_projection(columns: HuArray, shape: tuple[int, ...], angles: NDArray[np.float64]) -> HuArray:
    """Filtered back-projection of slices, pixels × slices, from parallel views at `angles` (rad).

    Every view counts alike, whatever the gaps between them.
    """
    matrix = _projector(shape, angles)
    bins = matrix.shape[0] // len(angles)
    views = (matrix @ columns).reshape(len(angles), bins, -1)
    spectrum = np.fft.rfft(views, 2 * bins, axis=1) * _ramp(2 * bins)[:, None]
    filtered = np.fft.irfft(spectrum, 2 * bins, axis=1)[:, :bins].astype(np.float32)
    filtered *= np.float32(np.pi / len(angles))
    result: HuArray = matrix.T @ filtered.reshape(len(angles) * bins, -1)
    return result


def _ramp(n: int) -> NDArray[np.float32]:
    """The band-limited ramp filter, from its exact samples in space (Kak and Slaney 1988, eq. 3.61)."""
    k = np.fft.fftfreq(n, 1 / n)
    odd = np.abs(k) % 2 == 1
    space = np.zeros(n)
    space[0] = 0.25
    space[odd] = -1 / (np.pi * k[odd]) ** 2
    return np.fft.rfft(space).real.astype(np.float32)


def _projector(shape: tuple[int, ...], angles: NDArray[np.float64]) -> sparse.csr_matrix:
    """Pixel-driven projection: rows are (view, bin), columns pixels, each pixel shared by two bins."""
    rows, cols = shape
    bins = int(np.ceil(np.hypot(rows, cols))) + 3
    y, x = (axis.ravel() - (n - 1) / 2 for axis, n in zip(np.mgrid[:rows, :cols], shape, strict=True))
    at = np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * y + (bins - 1) / 2
    low = np.floor(at).astype(np.int64)
    share = (at - low).astype(np.float32)
    first = low + bins * np.arange(len(angles))[:, None]
    pixel = np.broadcast_to(np.arange(rows * cols), first.shape)
    where = (np.stack([first, first + 1]).ravel(), np.stack([pixel, pixel]).ravel())
    values = np.stack([1 - share, share]).ravel()
    return sparse.csr_matrix((values, where), shape=(len(angles) * bins, rows * cols), dtype=np.float32)
