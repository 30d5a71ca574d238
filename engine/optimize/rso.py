"""Region-specific optimisation (RSO): one box, the rest of the field untouched to the bit.

`crop` works on box and collar alone: a residual v, faded by a window w, is composed with the present field,
u(x) = w v + u₀(x + w v). `image` is the paper's variant (Bai et al. 2022): the whole image is re-predicted with the
loss in the box, and what it changed in box and collar is kept. Both end in the same guarded commit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import InputError
from engine.models import SIZE_MULTIPLE
from engine.optimize.collar import COLLAR_VOX, collared, window, working_crop
from engine.optimize.commit import Share, certify, commit
from engine.optimize.descent import Outcome, Problem, descend
from engine.optimize.general import case_network, network_pair
from engine.optimize.iso import on_grid, whole_preview, working_spacing_mm
from engine.optimize.pair_grid import PairGrid, at_spacing, on_crop
from engine.optimize.parametrize import ControlGrid, NetworkChange, Parametrization
from engine.progress import Job, Preview
from engine.registration import Certificate, Registration
from engine.roi import Box
from engine.shapes import DisplacementArray
from engine.spatial.resample import as_array, as_tensor, resized_displacement
from engine.spatial.warp import sample, voxel_grid
from engine.volume import Volume, hu_from_normalized_rmse

_NETWORK_LEAST = 48
_CONTROL_STRIDES = (4, 3)
_FIELD_SMOOTHNESS = 2.5
"""λ of the roughness at the voxels of the image: with less the box follows streaks and ends at the fold guard."""

_REACH_VOX = 16
"""How far beyond the crop the present field is read."""


@dataclass(frozen=True, slots=True)
class Regional:
    """The refined displacement with its certificate; errors are RMSE in HU over the valid voxels of the box."""

    displacement_vox: DisplacementArray
    certificate: Certificate
    box_rmse_hu_before: float
    box_rmse_hu_after: float
    iterations: int
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RegionalSettings:
    """What to optimise and how. `smoothness`: λ, or none for the default of the way chosen."""

    box: Box
    iterations: int
    by: str
    scope: str
    similarity: str
    smoothness: float | None
    model: str
    stage: str


def limited(residual: Tensor) -> Tensor:
    """v with vectors longer than half the collar shortened to it, so that no ramp is too steep."""
    longest = 0.5 * COLLAR_VOX
    length = torch.sqrt((residual**2).sum(dim=1, keepdim=True) + 1e-12)
    return residual * torch.clamp(longest / length, max=1.0)


def _squares_of_last_step(start: Registration, fixed: Volume) -> float:
    """Sum of squared differences (normalised) over the valid voxels of the fixed image."""
    rmse_hu = start.steps[-1].rmse_hu if start.steps else 0.0
    return (rmse_hu / 2000.0) ** 2 * int(np.count_nonzero(fixed.valid))


class _Crop:
    """Box and collar at the voxels of the fixed image, with the present field around them."""

    def __init__(
        self, fixed: Volume, moving: Volume, start: Registration, box: Box, crop: Box, device: torch.device
    ) -> None:
        shape = fixed.geometry.shape_zyx
        self.box, self.crop, self.device = box, crop, device
        self._around = crop.grown(_REACH_VOX, shape)
        self._present = as_tensor(start.displacement_vox[(slice(None), *self._around.slices_zyx)], device)
        self.start = as_tensor(start.displacement_vox[(slice(None), *crop.slices_zyx)], device)
        self.grid: PairGrid = on_crop(fixed, moving, start.rigid, crop, self.start, device)
        self.weight: NDArray[np.float32] = window(box, crop, shape)
        self.fading = as_tensor(self.weight, device)
        self.region = torch.zeros_like(self.fading)
        self.region[(..., *box.inside(crop).slices_zyx)] = 1.0
        offset = [(c - a) for (c, _), (a, _) in zip(crop.ranges_zyx, self._around.ranges_zyx, strict=True)]
        self._position = voxel_grid(crop.shape_zyx, self.fading)
        self._offset = torch.tensor(offset, device=device, dtype=torch.float32).view(1, 3, 1, 1, 1)
        self._seen = self.grid.mask(self.start)
        if not (self._seen * self.region).any():
            raise InputError("The box holds no voxel that both scanners saw; draw it where the two images overlap.")
        self._elsewhere = _squares_of_last_step(start, fixed) - self._squares(self.grid.warped(self.start))
        self._voxels = max(1, int(np.count_nonzero(fixed.valid)))

    def whole_rmse_hu(self, warped: Tensor) -> float:
        """Error of the whole image: what the last step measured, with this part of it renewed."""
        return hu_from_normalized_rmse(max(0.0, self._elsewhere + self._squares(warped)) / self._voxels)

    def _squares(self, warped: Tensor) -> float:
        return float(((warped - self.grid.fixed) ** 2 * self._seen).sum())

    def total(self, residual: Tensor) -> Tensor:
        """u(x) = w v(x) + u₀(x + w v(x))."""
        faded = self.fading * limited(residual)
        return faded + sample(self._present, self._position + self._offset + faded)

    def unfaded(self, residual: Tensor) -> Tensor:
        """u₀ + v: what is to be smooth, so that v runs on into the collar instead of rising where no image holds it."""
        return self.start + limited(residual)

    def preview(self, warped: Tensor) -> Preview:
        return Preview(self.crop, (warped[0, 0].cpu() * 2000.0 - 1000.0).numpy())


def rso(
    fixed: Volume, moving: Volume, start: Registration, settings: RegionalSettings, device: torch.device, preview: bool
) -> Job[Regional]:
    """Refine one box of a registration; the result carries its certificate.

    Raises:
        InputError: the box leaves the fixed image.
    """
    box = settings.box.checked(fixed.geometry.shape_zyx)
    if settings.scope == "image":
        proposal = yield from _by_image(fixed, moving, start, settings, device, preview)
    else:
        proposal = yield from _by_crop(fixed, moving, start, settings, device, preview)
    return _concluded(fixed, start, box, proposal)


@dataclass(frozen=True, slots=True)
class _Proposal:
    """u inside the crop as a function of the share of the correction that is applied."""

    crop: _Crop
    corrected: Callable[[Share], DisplacementArray]
    iterations: int


def _by_crop(
    fixed: Volume, moving: Volume, start: Registration, settings: RegionalSettings, device: torch.device, preview: bool
) -> Job[_Proposal]:
    shape = fixed.geometry.shape_zyx
    if settings.by == "network":
        region = working_crop(settings.box, shape, SIZE_MULTIPLE, _NETWORK_LEAST)
        crop = _Crop(fixed, moving, start, settings.box, region, device)
        outcome = yield from _crop_by_network(crop, start, settings, preview)
    else:
        crop = _Crop(fixed, moving, start, settings.box, working_crop(settings.box, shape), device)
        outcome = yield from _crop_by_field(crop, settings, preview)

    def corrected(share: Share) -> DisplacementArray:
        with torch.no_grad():
            return as_array(crop.total(as_tensor(share, device) * limited(outcome.residual)))

    return _Proposal(crop, corrected, outcome.iterations)


def _crop_problem(
    crop: _Crop, settings: RegionalSettings, smoothness: float | None, step: int, preview: bool
) -> Problem:
    return Problem(
        settings.stage,
        crop.grid,
        crop.total,
        crop.region,
        crop.fading,
        settings.similarity,
        smoothness,
        lambda warped, box_hu: (crop.whole_rmse_hu(warped), box_hu),
        step,
        crop.preview if preview else None,
        crop.unfaded,
    )


def _crop_by_network(crop: _Crop, start: Registration, settings: RegionalSettings, preview: bool) -> Job[Outcome]:
    network = case_network(settings.model, start.weights, crop.device)
    padded = _Padded(crop.crop.shape_zyx)
    change: Parametrization = NetworkChange(
        network, padded(crop.grid.warped(crop.start)), padded(crop.grid.fixed), padded.cut
    )
    problem = _crop_problem(crop, settings, settings.smoothness, 1, preview)
    return (yield from descend(problem, change, settings.iterations))


class _Padded:
    """Edge values repeated up to sizes that a network takes, where the image itself is too small for them."""

    def __init__(self, shape_zyx: tuple[int, int, int]) -> None:
        self._shape = shape_zyx
        wanted = [max(_NETWORK_LEAST, -(-n // SIZE_MULTIPLE) * SIZE_MULTIPLE) for n in shape_zyx]
        self._padding = [
            side for n, m in zip(reversed(shape_zyx), reversed(wanted), strict=True) for side in (0, m - n)
        ]

    def __call__(self, image: Tensor) -> Tensor:
        return torch.nn.functional.pad(image, self._padding, mode="replicate")

    def cut(self, displacement: Tensor) -> Tensor:
        z, y, x = self._shape
        return displacement[:, :, :z, :y, :x]


def _crop_by_field(crop: _Crop, settings: RegionalSettings, preview: bool) -> Job[Outcome]:
    """Control points on every 4th, then on every 3rd voxel."""
    smoothness = _FIELD_SMOOTHNESS if settings.smoothness is None else settings.smoothness
    problem = _crop_problem(crop, settings, smoothness, 2, preview)
    coarse, fine = _halves(settings.iterations)
    control = ControlGrid(crop.crop.shape_zyx, _CONTROL_STRIDES[0], crop.device)
    first: Outcome = yield from descend(problem, control, coarse, 0, settings.iterations)
    if first.stopped:
        return first
    control = ControlGrid(crop.crop.shape_zyx, _CONTROL_STRIDES[1], crop.device, first.residual)
    return (yield from descend(problem, control, fine, coarse, settings.iterations))


def _halves(iterations: int) -> tuple[int, int]:
    return iterations // 2, iterations - iterations // 2


def _by_image(
    fixed: Volume, moving: Volume, start: Registration, settings: RegionalSettings, device: torch.device, preview: bool
) -> Job[_Proposal]:
    """The paper's variant: weights or control points of the whole image, compared inside the box only."""
    crop = _Crop(fixed, moving, start, settings.box, working_crop(settings.box, fixed.geometry.shape_zyx), device)
    what: Parametrization
    smoothness = settings.smoothness
    if settings.by == "network":
        network = case_network(settings.model, start.weights, device)
        grid, aligned = network_pair(settings.model, fixed, moving, start.rigid, device)
        what, step = NetworkChange(network, aligned, grid.fixed * grid.fixed_valid), 1
    else:
        grid, step = at_spacing(fixed, moving, start.rigid, working_spacing_mm(fixed), device), 2
        what = ControlGrid(grid.geometry.shape_zyx, step, device)
        smoothness = _FIELD_SMOOTHNESS if smoothness is None else smoothness
    base = on_grid(start, grid.geometry, device)
    in_box, seen = grid.holding(settings.box, fixed.geometry), grid.mask(base)
    problem = Problem(
        settings.stage,
        grid,
        lambda residual: base + residual,
        in_box,
        in_box,
        settings.similarity,
        smoothness,
        lambda warped, box_hu: (grid.rmse_hu(warped, seen), box_hu),
        step,
        whole_preview(grid, fixed) if preview else None,
    )
    outcome: Outcome = yield from descend(problem, what, settings.iterations)
    change = resized_displacement(outcome.residual, grid.geometry, crop.grid.geometry)
    faded = as_tensor(crop.weight, device) * change

    def corrected(share: Share) -> DisplacementArray:
        return as_array(crop.start + as_tensor(share, device) * faded)

    return _Proposal(crop, corrected, outcome.iterations)


def _concluded(fixed: Volume, start: Registration, box: Box, proposal: _Proposal) -> Regional:
    crop, iterations = proposal.crop, proposal.iterations
    allowed = collared(box, fixed.geometry.shape_zyx)
    spacing = fixed.geometry.spacing_zyx_mm
    committed = commit(start.displacement_vox, crop.crop, crop.weight, proposal.corrected, allowed, spacing)
    mask = crop.region * crop.grid.mask(crop.start)
    before = crop.grid.rmse_hu(crop.grid.warped(crop.start), mask)
    inside = (slice(None), *crop.crop.slices_zyx)
    after = crop.grid.rmse_hu(crop.grid.warped(as_tensor(committed.displacement_vox[inside], crop.device)), mask)
    displacement, share, notes = committed.displacement_vox, committed.share, []
    if after >= before:
        displacement, after, share = start.displacement_vox, before, 0.0
        notes.append("nothing better found")
    elif share < 1.0:
        notes.append(f"fold guard kept {100 * share:.0f} % of the correction")
    certificate = certify(start.displacement_vox, displacement, allowed, spacing, share, before, after)
    return Regional(displacement, certificate, before, after, iterations, tuple(notes))
