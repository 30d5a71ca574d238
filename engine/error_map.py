"""Where to look next: which regions probably are still wrong, and why.

Means over windows of four signs and a rare fifth: how far edges still lie apart (one Gauss-Newton step on
descriptors, which finds nothing where there is nothing to see); how far two convex searches, one from the present state
and one from the alignment, would move the place on average, and how far they disagree; lack of local correlation, which
is high where the images are unlike and where they show nothing; folding. Each counts in multiples of what is usual for
it, and they add up as squares. The score is told as the mean error that windows of such a score had on phantoms: an
expectation over many cases, no promise about one. How good the proposals are: tests/benchmarks/results/error-map.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from engine.case import Case
from engine.errors import InputError
from engine.fallback import with_enough_memory
from engine.geometry import Geometry
from engine.models import SIZE_MULTIPLE
from engine.models.convex import ConvexRegistration, cost_slopes, coupled_quadratic, seen_features
from engine.optimize.guide import compared
from engine.optimize.iso import on_grid, working_spacing_mm
from engine.optimize.pair_grid import PairGrid, at_spacing, mask_share
from engine.preprocess import body_of
from engine.progress import Job, Progress
from engine.roi import Box
from engine.runtime import Runtime
from engine.shapes import MaskArray
from engine.spatial.jacobian import jacobian_determinant
from engine.spatial.resample import as_array, index_map, mean_of_neighbors
from engine.spatial.self_similarity import box_sum

Values = NDArray[np.float32]

_USUAL = {"motion": 1.5, "searches": 8.3, "disagreement": 9.7, "correlation": 1.6, "folding": 0.02}
"""The window that counts 1, by sign: mm, mm, mm, 1 − correlation, share of voxels.

Medians of the worst windows of 12 phantoms (seeds 2000 to 2011 of tests/benchmarks/phantoms.py) after general and ISO,
over 1, 0.9, 1 and 0.6, which of the weights that were tried found the worst regions and planted errors of those
phantoms best. None of them folds: a fiftieth of a window is a convention.
"""

_ERROR_MM = (-0.28, 4.90)
"""Expected error at score 0 and for each unit of it: a line through windows of 50 mm of the same phantoms.

After general and ISO the mean was 1.7 mm at a score of 0.4, 2.7 at 0.6 and 4.1 at 0.9; after general alone 2.2, 3.3 and
5.2, after ISO 1.2, 2.0 and 3.2: of a first registration the line tells too little, of a refined one too much.
"""

_POOLED = 2
"""Working voxels along each axis of a voxel of the map: vectors are averaged before they are measured."""

_FINE_MM = 18.0
"""Windows in which the faces of a box are looked for."""

_SIDE_SHARES = (0.6, 1.6)
"""Of the wanted size: the sides that a box may have."""

_LIMITS_MM = (10.0, 200.0)
_EDGE_SHARE = 0.7
"""Of the highest score along an axis: where a box ends."""

_APART = 0.25
"""Of the wanted size: how far from the faces of one box the next may have its center."""

_WINDOW = 5
_VARIANCE_FLOOR = 1e-4
"""Squared normalised units (20 HU): a window of local correlation that varies less is flat, however little noise."""

_ODD_DETERMINANTS = (0.1, 4.0)
_TOLD_SHARE = 0.2
"""Of the squared score: a sign that has less is no reason."""

_MOSTLY_FLAT = 0.5
_FLAT = "mostly without structure, little to go by: check it by other evidence"


@dataclass(frozen=True, slots=True)
class Proposal:
    """A box of the fixed image, the mean error in mm that such places had on phantoms, and what speaks for it.

    `has_structure`: false where it is mostly flat, so that no refinement has anything to follow.
    """

    box: Box
    score: float
    reason: str
    has_structure: bool


@dataclass(frozen=True, slots=True, eq=False)
class ErrorMap:
    """Expected error in mm on a coarse grid, (Z, Y, X) float32, NaN outside the body and where nothing was seen.

    `proposals`: boxes to look at next, the worst one first.
    """

    geometry: Geometry
    expected_mm: Values
    proposals: tuple[Proposal, ...]


@dataclass(frozen=True, slots=True)
class _Signs:
    """Signs on the coarse grid, the share of each voxel that counts, and the share that shows no structure."""

    geometry: Geometry
    by_name: dict[str, Values]
    counted: Values
    flat: Values


@dataclass(frozen=True, slots=True)
class _Windows:
    """Means of the signs over a window around every voxel, and their score."""

    by_name: dict[str, Values]
    flat: Values
    score: Values

    @classmethod
    def of(cls, signs: _Signs, size: int) -> _Windows:
        by_name = {name: _mean(values, signs.counted, size) for name, values in signs.by_name.items()}
        squares = sum(((values / _USUAL[name]) ** 2 for name, values in by_name.items()), np.zeros_like(signs.flat))
        return cls(by_name, _mean(signs.flat, signs.counted, size), np.sqrt(squares))


def proposed_boxes(case: Case, runtime: Runtime | None = None, count: int = 3, size_mm: float = 50.0) -> Job[ErrorMap]:
    """The map of the case's current state and up to `count` boxes of about `size_mm`; two seconds on two cores.

    Raises:
        InputError: no box can be of that size, or none is wanted.
        DeviceError: the device is absent, or the machine has no memory left.
    """
    if count < 1:
        raise InputError(f"Expected at least one region to propose, got {count}.")
    if not _LIMITS_MM[0] <= size_mm <= _LIMITS_MM[1]:
        raise InputError(f"Expected boxes of {_LIMITS_MM[0]:g} to {_LIMITS_MM[1]:g} mm, got {size_mm:g} mm.")
    device = (runtime or Runtime()).torch_device()
    signs, _ = yield from with_enough_memory(device, lambda device: _looked_at(case, device))
    return _error_map(signs, case.fixed.geometry, count, size_mm)


def _looked_at(case: Case, device: torch.device) -> Job[_Signs]:
    yield Progress("regions", 0, 3, note="comparing")
    spacing_mm = working_spacing_mm(case.fixed)
    grid = at_spacing(
        compared(case.fixed, case.guidance), case.moving, case.current.rigid, spacing_mm, device, SIZE_MULTIPLE
    )
    displacement = on_grid(case.current, grid.geometry, device)
    yield Progress("regions", 1, 3, note="searching again from here")
    with torch.no_grad():
        residual = _search(grid, displacement)
        yield Progress("regions", 2, 3, note="searching again from the alignment")
        independent = _search(grid, torch.zeros_like(displacement))
        return _signs(grid, displacement, (residual, independent - displacement), _body(case, grid))


def _search(grid: PairGrid, start: Tensor) -> Tensor:
    """What convex optimisation finds from a start, in voxels beyond it."""
    found: Tensor = ConvexRegistration()(grid.warped(start) * grid.mask(start), grid.fixed * grid.fixed_valid)
    return found


def _body(case: Case, grid: PairGrid) -> Tensor:
    share = mask_share(body_of(case.fixed), case.fixed.geometry, grid.geometry, grid.fixed.device)
    return (share > 0.5).to(share.dtype)


def _signs(grid: PairGrid, displacement: Tensor, searches: tuple[Tensor, Tensor], body: Tensor) -> _Signs:
    """`searches`: what each of two would add to the displacement."""
    warped, seen = grid.warped(displacement), grid.mask(displacement)
    counted = body * seen
    one_minus, flat = _local_correlation(grid.fixed, warped, seen)
    spacing_mm = grid.geometry.spacing_xyz_mm[0]
    pairs = (warped, seen), (grid.fixed, grid.fixed_valid)
    cells = [seen_features(image * shown, shown) for image, shown in pairs]
    motion = coupled_quadratic(*cost_slopes(*cells))
    tensors = {
        "motion": _length(_pooled(motion, counted)) * spacing_mm,
        "searches": _length(_pooled(0.5 * (searches[0] + searches[1]), counted)) * spacing_mm,
        "disagreement": _length(_pooled(searches[0] - searches[1], counted)) * spacing_mm,
        "correlation": _pooled(one_minus, counted),
        "folding": _pooled(_odd_volume(displacement), counted),
    }
    return _Signs(
        grid.geometry.resampled((_POOLED * spacing_mm,) * 3),
        {name: _array(values) for name, values in tensors.items()},
        _array(F.avg_pool3d(counted, _POOLED)),
        _array(_pooled(flat, counted)),
    )


def _pooled(values: Tensor, counted: Tensor) -> Tensor:
    """Means over blocks of what counts."""
    return F.avg_pool3d(values * counted, _POOLED) / F.avg_pool3d(counted, _POOLED).clamp(min=1e-3)


def _length(vectors: Tensor) -> Tensor:
    return vectors.square().sum(dim=1, keepdim=True).sqrt()


def _array(values: Tensor) -> Values:
    array: Values = values[0, 0].cpu().numpy()
    return array


def _local_correlation(fixed: Tensor, warped: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """1 − correlation in windows of 5³ voxels (1 where it is negative or there is nothing), and 1 where one is flat."""
    a, b = fixed * seen, warped * seen
    sums = box_sum(torch.cat([seen, a, b, a * a, b * b, a * b], dim=1), _WINDOW)
    mean_a, mean_b, square_a, square_b, product = (sums[:, 1:] / sums[:, :1].clamp(min=1.0)).split(1, dim=1)
    variance_a = (square_a - mean_a**2).clamp(min=0.0)
    variance_b = (square_b - mean_b**2).clamp(min=0.0)
    covariance = (product - mean_a * mean_b).clamp(min=0.0)
    correlation = covariance / ((variance_a + _VARIANCE_FLOOR) * (variance_b + _VARIANCE_FLOOR)).sqrt()
    flat = torch.minimum(variance_a, variance_b) < _noise_variance(warped - fixed, seen)
    return 1.0 - correlation, flat.to(fixed.dtype)


def _noise_variance(difference: Tensor, seen: Tensor) -> Tensor:
    """From the finest part of the difference, which structure hardly reaches: its median size over what was seen."""
    finest = (difference - mean_of_neighbors(difference))[seen > 0].abs()
    spread = 1.4826 * finest.median() if finest.numel() else finest.sum()
    return torch.clamp(spread**2, min=_VARIANCE_FLOOR)


def _odd_volume(displacement: Tensor) -> Tensor:
    """1 where the map folds, nearly folds or changes volume more than fourfold."""
    least, most = _ODD_DETERMINANTS
    determinant = jacobian_determinant(as_array(displacement))
    odd = np.pad((determinant <= least) | (determinant > most), [(0, 1)] * 3)
    return torch.from_numpy(odd.astype(np.float32))[None, None].to(displacement.device)


def _mean(values: Values, counted: Values, size: int) -> Values:
    """Over size³ voxels as far as they count."""
    total = ndimage.uniform_filter(values * counted, size, mode="constant")
    share: Values = total / np.maximum(ndimage.uniform_filter(counted, size, mode="constant"), 1e-6)
    return share


def _error_map(signs: _Signs, fixed: Geometry, count: int, size_mm: float) -> ErrorMap:
    inside = signs.counted > 0.5
    pooled_mm = signs.geometry.spacing_xyz_mm[0]
    windows = _Windows.of(signs, max(2, round(size_mm / pooled_mm)))
    fine = _Windows.of(signs, max(1, round(_FINE_MM / pooled_mm)))
    expected = np.where(inside, _expected_mm(windows.score), np.float32(np.nan)).astype(np.float32)
    expected.flags.writeable = False
    left = inside.copy()
    proposals: list[Proposal] = []
    while len(proposals) < count and left.any():
        score = np.where(left, windows.score, -np.inf)
        z, y, x = (int(index) for index in np.unravel_index(int(score.argmax()), score.shape))
        limits = _limits(fine.score * inside, (z, y, x), size_mm / pooled_mm)
        box = _box(limits, _SIDE_SHARES[0] * size_mm, signs.geometry, fixed)
        has_structure = bool(windows.flat[z, y, x] <= _MOSTLY_FLAT)
        proposals.append(Proposal(box, float(expected[z, y, x]), _reason(windows, (z, y, x), inside), has_structure))
        left[tuple(slice(*_widened(*ends, _APART * size_mm / pooled_mm)) for ends in limits)] = False
    return ErrorMap(signs.geometry, expected, tuple(proposals))


def _expected_mm(score: Values) -> Values:
    least, slope = _ERROR_MM
    expected: Values = np.maximum(least + slope * score, 0.0)
    return expected


def _limits(score: Values, center: tuple[int, int, int], size: float) -> list[tuple[float, float]]:
    """For z, y and x where a box around a center begins and ends: where the score falls."""
    core = [slice(max(0, int(c - size / 2)), int(c + size / 2) + 1) for c in center]
    limits = []
    for axis, c in enumerate(center):
        part = score[tuple(slice(None) if k == axis else core[k] for k in range(3))]
        limits.append(_extent(part.mean(axis=tuple(k for k in range(3) if k != axis)), c, size))
    return limits


def _box(limits: list[tuple[float, float]], least_mm: float, geometry: Geometry, fixed: Geometry) -> Box:
    """Limits on the coarse grid as a box of the fixed image."""
    to_fixed = index_map(geometry, fixed)
    ends_xyz = [to_fixed[:3, :3] @ [limit[end] for limit in limits[::-1]] + to_fixed[:3, 3] for end in (0, 1)]
    axes = zip(*ends_xyz, fixed.size_xyz, fixed.spacing_xyz_mm, strict=True)
    ranges = [_range(low, high, n, least_mm / spacing_mm) for low, high, n, spacing_mm in axes]
    (x0, x1), (y0, y1), (z0, z1) = ranges
    return Box(x0, x1, y0, y1, z0, z1)


def _widened(low: float, high: float, margin: float) -> tuple[int, int]:
    return max(0, int(np.ceil(low - margin))), max(0, int(np.floor(high + margin)) + 1)


def _extent(profile: Values, center: int, size: float) -> tuple[float, float]:
    """From face to face, in indices: as far as the profile stays high, a little more or less than `size`."""
    least, most = (max(1, round(0.5 * share * size)) for share in _SIDE_SHARES)
    enough = _EDGE_SHARE * profile[max(0, center - least) : center + least + 1].max()
    steps = []
    for way in (profile[:center][::-1], profile[center + 1 :]):
        falls = np.flatnonzero(way[:most] < enough)
        steps.append(max(least, int(falls[0]) if falls.size else most))
    return center - steps[0], center + steps[1]


def _range(low: float, high: float, length: int, least: float) -> tuple[int, int]:
    """The voxels between two places along an axis, cut at the image's faces; longer to the inside if too few."""
    start, stop = max(0, round(low + 0.5)), min(length, round(high + 0.5))
    count = max(stop - start, min(length, max(1, round(least))))
    start = min(start, length - count)
    return start, start + count


def _reason(windows: _Windows, center: tuple[int, int, int], inside: MaskArray) -> str:
    """The signs that made the score, the strongest first, each beside the body's mean."""
    here = {name: float(values[center]) for name, values in windows.by_name.items()}
    usual = {name: float(values[inside].mean()) for name, values in windows.by_name.items()}
    squares = {name: (value / _USUAL[name]) ** 2 for name, value in here.items()}
    told = sorted(squares, key=squares.__getitem__, reverse=True)
    enough = _TOLD_SHARE * sum(squares.values())
    texts = [_TEXTS[name](here[name], usual[name]) for name in told if squares[name] >= enough]
    return "; ".join([*texts, _FLAT] if windows.flat[center] > _MOSTLY_FLAT else texts)


def _motion(here_mm: float, usual_mm: float) -> str:
    return f"edges still lie apart: {here_mm:.1f} mm (body {usual_mm:.1f} mm)"


def _searches(here_mm: float, usual_mm: float) -> str:
    return f"two other searches would move it by {here_mm:.1f} mm on average (body {usual_mm:.1f} mm)"


def _disagreement(here_mm: float, usual_mm: float) -> str:
    return f"two other searches disagree by {here_mm:.1f} mm (body {usual_mm:.1f} mm)"


def _unlike(here: float, usual: float) -> str:
    return f"the images look unlike: local correlation {1 - here:.2f} (body {1 - usual:.2f})"


def _folding(here: float, usual: float) -> str:
    return f"{100 * here:.1f} % folds, nearly folds or changes its volume fourfold (body {100 * usual:.1f} %)"


_TEXTS: dict[str, Callable[[float, float], str]] = {
    "motion": _motion,
    "searches": _searches,
    "disagreement": _disagreement,
    "correlation": _unlike,
    "folding": _folding,
}
