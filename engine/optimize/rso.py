"""Region-specific optimisation (RSO): one box, the rest of the field untouched to the bit.

`crop` works on box and collar alone: a residual v, faded by a window w, is composed with the present field,
u(x) = w v + u₀(x + w v). `image` is the paper's variant (Bai et al. 2022): the whole image is re-predicted with the
loss in the box, and what it changed in box and collar is kept. Both end in the same guarded commit.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import InputError
from engine.geometry import Triple
from engine.guidance import Guidance
from engine.memory import give_back
from engine.models import Model, find_model
from engine.noise import pair_noise_hu
from engine.optimize.collar import COLLAR_VOX, collared, window, working_crop
from engine.optimize.commit import Share, certify, commit
from engine.optimize.descent import Outcome, Problem, descend
from engine.optimize.general import case_network, network_pair
from engine.optimize.guide import compared, guiding
from engine.optimize.iso import (
    AFTER_STOP,
    on_grid,
    roughness_on,
    told_rmse_hu,
    usual_smoothness,
    whole_preview,
    whole_rmse_hu,
    working_spacing_mm,
)
from engine.optimize.pair_grid import PairGrid, at_spacing, near_patient, on_crop
from engine.optimize.parametrize import ControlGrid, NetworkChange, Parametrization
from engine.optimize.previews import Drawn, Sight, in_hu
from engine.progress import Job, to_its_end
from engine.registration import Certificate, Registration
from engine.roi import Box
from engine.shapes import DisplacementArray, Matrix
from engine.spatial.resample import as_array, as_tensor, index_map, resampled, resized_displacement
from engine.spatial.warp import mapped_indices, sample, voxel_grid
from engine.volume import Volume, hu_from_normalized_rmse

_NETWORK_LEAST = 48
_LEVELS = ((2, 0.4), (1, 0.6))
"""Least voxel of each level, as a multiple of the image's smallest spacing, and its share of the iterations."""

_SETTLES_AFTER = 100
"""Iterations by field: four times as many end where these do, on phantoms and on a real pair
(tests/benchmarks/results.md)."""

_CONTROL_STRIDE = 3
_STIFFER = 1.6
"""Than a whole image: a box has less to go by. Twice as stiff, more boxes find nothing that lowers their error."""

_NOISE_OF_CT_HU, _NOISE_HU = 5.0, 15.0
"""From the first on a box is refined stiffer as noise grows, up to the second (tests/benchmarks/results.md)."""

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
    """What to optimise and how. `smoothness`: λ, or none for the default of the way chosen times `stiffness`.

    `guidance`: what the user knows of the pair.
    """

    box: Box
    iterations: int
    by: str
    scope: str
    similarity: str
    smoothness: float | None
    model: str
    stage: str
    stiffness: float = 1.0
    guidance: Guidance = field(default_factory=Guidance)


class Region:
    """Box and collar at the voxels of the fixed image: what is written and measured in the end."""

    def __init__(
        self, fixed: Volume, moving: Volume, start: Registration, box: Box, crop: Box, device: torch.device
    ) -> None:
        self.fixed, self.moving, self.registration = fixed, moving, start
        self.box, self.crop, self.device = box, crop, device
        self.start = as_tensor(start.displacement_vox[(slice(None), *crop.slices_zyx)], device)
        self.weight: NDArray[np.float32] = window(box, crop, fixed.geometry.shape_zyx)
        self.region = torch.zeros((1, 1, *crop.shape_zyx), device=device)
        self.region[(..., *box.inside(crop).slices_zyx)] = 1.0
        self.voxels = self.on()
        seen = self.voxels.grid.mask(self.start)
        self.seen_in_box = seen * self.region
        if not self.seen_in_box.any():
            raise InputError(
                "The box holds no voxel that both scanners saw; draw it where the two images overlap and "
                "nothing is excluded."
            )
        warped = self.voxels.grid.warped(self.start)
        self.box_mse = self.voxels.grid.mse(warped, self.seen_in_box)
        seen_share = float(seen.sum()) / max(1, int(np.count_nonzero(fixed.valid)))
        self.part_mse = seen_share * self.voxels.grid.mse(warped, seen)

    def on(self, spacing_xyz_mm: Triple | None = None, multiple_of: int = 1, least: int = 1) -> _Working:
        """The same on a grid of another spacing, in sizes that a network takes."""
        around = self.crop.grown(_REACH_VOX, self.fixed.geometry.shape_zyx)
        start = self.registration
        grid = on_crop(
            self.fixed,
            self.moving,
            start.rigid,
            self.crop,
            self.start,
            self.device,
            spacing_xyz_mm,
            multiple_of,
            least,
        )
        fixed = self.fixed.geometry
        return _Working(
            grid,
            as_tensor(start.displacement_vox[(slice(None), *around.slices_zyx)], self.device),
            index_map(grid.geometry, fixed.cropped(around)),
            *(
                resampled(mask, fixed.cropped(self.crop), grid.geometry)
                for mask in (as_tensor(self.weight, self.device), self.region)
            ),
        )

    def residual(self, residual: Tensor, working: _Working) -> Tensor:
        """v of a working grid at the voxels of the crop."""
        if working is self.voxels:
            return residual
        return resized_displacement(residual, working.grid.geometry, self.voxels.grid.geometry)

    def preview(self, working: _Working) -> Sight:
        """Of a residual on a working grid, at the voxels of the crop."""
        grid = self.voxels.grid

        def draw(residual: Tensor) -> Drawn:
            whole = self.voxels.total(limited(self.residual(residual, working)))
            return in_hu(grid.warped(whole)), whole

        return Sight(self.crop, grid.geometry, draw)


class _Working:
    """Box and collar on a working grid, with the present field around them.

    `present`: u₀ at voxels of the fixed image, to which `to_present` leads from those of `grid`. `fading` and `region`:
    the window and the box as shares of each voxel.
    """

    def __init__(self, grid: PairGrid, present: Tensor, to_present: Matrix, fading: Tensor, region: Tensor) -> None:
        self.grid, self.fading, self.region = grid, fading, region
        self.scale = torch.as_tensor(np.diag(to_present)[2::-1].copy()).to(present).view(1, 3, 1, 1, 1)
        self._present = present / self.scale
        self._position = mapped_indices(voxel_grid(grid.geometry.shape_zyx, present), to_present)
        self.start = sample(self._present, self._position)

    def limited(self, residual: Tensor) -> Tensor:
        """v with vectors longer than half the collar shortened to it, so that no ramp is too steep."""
        return limited(residual * self.scale) / self.scale

    def total(self, residual: Tensor) -> Tensor:
        """u(x) = w v(x) + u₀(x + w v(x)) of a limited v."""
        faded = self.fading * residual
        return faded + sample(self._present, self._position + self.scale * faded)

    def unfaded(self, residual: Tensor) -> Tensor:
        """u₀ + v: what is to be smooth, so that v runs on into the collar instead of rising where no image holds it."""
        return self.start + residual


def limited(residual_vox: Tensor) -> Tensor:
    """Vectors longer than half the collar shortened to it; voxels of the fixed image."""
    longest = 0.5 * COLLAR_VOX
    length = torch.sqrt((residual_vox**2).sum(dim=1, keepdim=True) + 1e-12)
    return residual_vox * torch.clamp(longest / length, max=1.0)


def rso(
    fixed: Volume, moving: Volume, start: Registration, settings: RegionalSettings, device: torch.device, preview: bool
) -> Job[Regional]:
    """Refine one box of a registration; the result carries its certificate.

    Raises:
        InputError: the box leaves the fixed image.
    """
    box = settings.box.checked(fixed.geometry.shape_zyx)
    fixed = compared(fixed, settings.guidance)
    if settings.scope == "image":
        proposal = yield from _by_image(fixed, moving, start, settings, device, preview)
    else:
        proposal = yield from _by_crop(fixed, moving, start, settings, device, preview)
    return concluded(fixed, start, box, proposal)


@dataclass(frozen=True, slots=True)
class Proposal:
    """u inside the crop as a function of the share of the correction that is applied.

    `error_may_grow`: whether it is kept where the error in the box does not fall, and no promise is made of that.
    """

    crop: Region
    corrected: Callable[[Share], DisplacementArray]
    iterations: int
    notes: tuple[str, ...] = ()
    error_may_grow: bool = False


def _by_crop(
    fixed: Volume, moving: Volume, start: Registration, settings: RegionalSettings, device: torch.device, preview: bool
) -> Job[Proposal]:
    shape = fixed.geometry.shape_zyx
    if settings.smoothness is None:
        settings = replace(settings, stiffness=settings.stiffness * _stiffer_by_noise(fixed, moving))
    if settings.by == "network":
        row, _ = find_model(settings.model)
        least = [math.ceil(_NETWORK_LEAST * row.spacing_mm / mm) for mm in fixed.geometry.spacing_zyx_mm]
        region = working_crop(settings.box, shape, (least[0], least[1], least[2]))
        crop = Region(fixed, moving, start, settings.box, region, device)
        outcome, working = yield from _crop_by_network(crop, row, settings, preview)
    else:
        crop = Region(fixed, moving, start, settings.box, working_crop(settings.box, shape), device)
        outcome, working = yield from _crop_by_field(crop, settings, preview)
    with torch.no_grad():
        residual = limited(crop.residual(outcome.residual, working))

    def corrected(share: Share) -> DisplacementArray:
        with torch.no_grad():
            return as_array(crop.voxels.total(as_tensor(share, device) * residual))

    return Proposal(crop, corrected, outcome.iterations, outcome.notes)


def _stiffer_by_noise(fixed: Volume, moving: Volume) -> float:
    """How many times as stiff as between CTs: streaks look like structure to a box that shows little else."""
    return pair_noise_hu(fixed, moving, _NOISE_OF_CT_HU, _NOISE_HU) / _NOISE_OF_CT_HU


def _crop_problem(
    crop: Region, working: _Working, settings: RegionalSettings, smoothness: float | None, step: int, preview: bool
) -> Problem:
    grid = working.grid
    seen = grid.mask(working.start)
    before = grid.warped(working.start)
    whole_hu = whole_rmse_hu(crop.registration, grid.mse(before, seen), crop.part_mse)
    box_hu = told_rmse_hu(crop.box_mse, crop.box_mse, grid.mse(before, seen * working.region))
    return Problem(
        settings.stage,
        grid,
        working.total,
        working.region,
        working.fading * near_patient(crop.fixed, grid, crop.crop),
        settings.similarity,
        smoothness,
        lambda mse, watched: (whole_hu(watched), box_hu(mse)),
        step,
        crop.preview(working) if preview else None,
        working.limited,
        working.unfaded,
        guiding(settings.guidance, grid, crop.registration, settings.box),
        settings.stiffness,
        relative=settings.by == "field",
        roughness=roughness_on(grid.geometry, settings.by),
        watched=seen,
    )


def _crop_by_network(
    crop: Region, row: Model, settings: RegionalSettings, preview: bool
) -> Job[tuple[Outcome, _Working]]:
    """At the spacing that the network knows."""
    network = case_network(settings.model, crop.registration.weights, crop.device)
    working = crop.on((row.spacing_mm,) * 3, row.size_multiple, _NETWORK_LEAST)
    change: Parametrization = NetworkChange(network, working.grid.warped(working.start), working.grid.fixed)
    problem = _crop_problem(crop, working, settings, settings.smoothness, 1, preview)
    outcome: Outcome = yield from descend(problem, change, settings.iterations)
    return outcome, working


def _crop_by_field(crop: Region, settings: RegionalSettings, preview: bool) -> Job[tuple[Outcome, _Working]]:
    """Coarse to fine, at each level until nothing more is gained.

    STOP at a coarse level still ends with a few iterations at the voxels, where results count.
    """
    voxels = crop.voxels.grid.geometry
    finest_mm = min(voxels.spacing_xyz_mm)
    smoothness = _field_smoothness(crop.fixed, crop.moving, settings, finest_mm)
    found: tuple[Outcome, _Working] | None = None
    notes: dict[str, None] = {}
    done, last, stopped = 0, settings.iterations, False
    for factor, share in _LEVELS:
        count = last - done if stopped else round(share * settings.iterations)
        settles_after = _SETTLES_AFTER
        if factor == 1 and not stopped:
            last = done + count
            settles_after = round(_SETTLES_AFTER * last / settings.iterations)
        if count == 0:
            continue
        working = crop.voxels if factor == 1 else crop.on(voxels.coarsened(factor * finest_mm).spacing_xyz_mm)
        shape, carried = working.grid.geometry.shape_zyx, None
        if found is not None:
            carried = resized_displacement(found[0].residual, found[1].grid.geometry, working.grid.geometry)
        control = ControlGrid(shape, _CONTROL_STRIDE, crop.device, carried)
        problem = _crop_problem(crop, working, settings, smoothness, _CONTROL_STRIDE, preview)
        problem = replace(problem, settles_after=settles_after, ends_when_still=True)
        job = descend(problem, control, count, done, last)
        outcome: Outcome = yield from (to_its_end(job) if stopped else job)
        notes |= dict.fromkeys(outcome.notes)
        found, done = (replace(outcome, notes=tuple(notes)), working), outcome.iterations
        if outcome.stopped:
            last, stopped = min(last, done + AFTER_STOP), True
    assert found is not None
    return found


def _field_smoothness(fixed: Volume, moving: Volume, settings: RegionalSettings, spacing_mm: float) -> float:
    """λ of the bending energy of control points on a grid of that spacing."""
    if settings.smoothness is not None:
        return settings.smoothness
    cell_mm = _CONTROL_STRIDE * spacing_mm
    return _STIFFER * settings.stiffness * usual_smoothness(fixed, moving, settings.similarity, cell_mm)


def _by_image(
    fixed: Volume, moving: Volume, start: Registration, settings: RegionalSettings, device: torch.device, preview: bool
) -> Job[Proposal]:
    """The paper's variant: weights or control points of the whole image, compared inside the box only."""
    crop = Region(fixed, moving, start, settings.box, working_crop(settings.box, fixed.geometry.shape_zyx), device)
    what: Parametrization
    smoothness = settings.smoothness
    if settings.by == "network":
        network = case_network(settings.model, start.weights, device)
        grid, aligned = network_pair(settings.model, fixed, moving, start.rigid, device)
        what, step = NetworkChange(network, aligned, grid.fixed * grid.fixed_valid), 1
    else:
        grid, step = at_spacing(fixed, moving, start.rigid, working_spacing_mm(fixed), device), _CONTROL_STRIDE
        what = ControlGrid(grid.geometry.shape_zyx, step, device)
        smoothness = _field_smoothness(fixed, moving, settings, working_spacing_mm(fixed))
    base = on_grid(start, grid.geometry, device)
    in_box, seen = grid.holding(settings.box, fixed.geometry), grid.mask(base)
    before = grid.warped(base)
    whole_hu = whole_rmse_hu(start, grid.mse(before, seen))
    box_hu = told_rmse_hu(crop.box_mse, crop.box_mse, grid.mse(before, seen * in_box))
    problem = Problem(
        settings.stage,
        grid,
        lambda residual: base + residual,
        in_box,
        in_box * near_patient(fixed, grid),
        settings.similarity,
        smoothness,
        lambda mse, watched: (whole_hu(watched), box_hu(mse)),
        step,
        whole_preview(grid, fixed, lambda residual: base + residual) if preview else None,
        guiding=guiding(settings.guidance, grid, start, settings.box),
        stiffness=settings.stiffness,
        relative=settings.by == "field",
        roughness=roughness_on(grid.geometry, settings.by),
        watched=seen,
    )
    outcome: Outcome = yield from descend(problem, what, settings.iterations)
    change = resized_displacement(outcome.residual, grid.geometry, crop.voxels.grid.geometry)
    faded = as_tensor(crop.weight, device) * change

    def corrected(share: Share) -> DisplacementArray:
        return as_array(crop.start + as_tensor(share, device) * faded)

    notes = () if (in_box * seen).any() else ("the box holds no voxel of the working grid; refine the box alone",)
    notes = (*outcome.notes, *notes, _elsewhere(crop, grid, outcome.residual))
    return Proposal(crop, corrected, outcome.iterations, notes)


def _elsewhere(crop: Region, grid: PairGrid, residual: Tensor) -> str:
    """What the paper's variant would have changed beyond box and collar, had it been kept."""
    fixed = crop.fixed.geometry
    outside = 1.0 - grid.holding(collared(crop.box, fixed.shape_zyx), fixed)
    spacing_mm = torch.tensor(grid.geometry.spacing_zyx_mm).to(residual).view(1, 3, 1, 1, 1)
    largest_mm = float((torch.linalg.vector_norm(residual * spacing_mm, dim=1, keepdim=True) * outside).max())
    return f"up to {largest_mm:.1f} mm of change elsewhere left out"


def concluded(fixed: Volume, start: Registration, box: Box, proposal: Proposal) -> Regional:
    """Write a proposal as far as no voxel folds and the seam is smooth, and measure what came of it."""
    give_back()
    crop, iterations = proposal.crop, proposal.iterations
    allowed = collared(box, fixed.geometry.shape_zyx)
    spacing = fixed.geometry.spacing_zyx_mm
    committed = commit(start.displacement_vox, crop.crop, crop.weight, proposal.corrected, allowed, spacing)
    grid = crop.voxels.grid
    before = hu_from_normalized_rmse(crop.box_mse)
    inside = (slice(None), *crop.crop.slices_zyx)
    after = grid.rmse_hu(grid.warped(as_tensor(committed.displacement_vox[inside], crop.device)), crop.seen_in_box)
    displacement, share, notes = committed.displacement_vox, committed.share, list(proposal.notes)
    if after >= before and not proposal.error_may_grow:
        displacement, after, share = start.displacement_vox, before, 0.0
        notes.append("nothing better found")
    elif share < 1.0:
        notes.append(f"fold guard kept {100 * share:.0f} % of the correction")
    certificate = certify(
        start.displacement_vox, displacement, allowed, spacing, share, before, after, proposal.error_may_grow
    )
    return Regional(displacement, certificate, before, after, iterations, tuple(notes))
