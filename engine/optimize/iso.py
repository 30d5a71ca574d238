"""Image-specific optimisation (ISO): the whole image, by field or by network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from engine.geometry import Geometry
from engine.guidance import Guidance
from engine.losses.regularity import bending_energy, grad_l2
from engine.noise import pair_noise_hu
from engine.optimize.descent import Outcome, Problem, descend
from engine.optimize.general import case_network, finished, network_pair
from engine.optimize.guide import compared, guiding
from engine.optimize.pair_grid import PairGrid, at_spacing, near_patient
from engine.optimize.parametrize import ControlGrid, NetworkChange
from engine.optimize.previews import Drawn, Sight, in_hu
from engine.preprocess import body_box
from engine.progress import Job, to_its_end
from engine.registration import Registration
from engine.roi import Box
from engine.shapes import DisplacementArray
from engine.spatial.resample import displacement_on, gaussian, resampled, resized_displacement
from engine.volume import Volume, hu_from_normalized_rmse, normalized_mse_from_hu

_BENDING_MM2_PER_HU = 14.0
"""Weight of the bending energy for each HU of noise in the noisier image: streaks ask for more of it than CT does."""

_NOISE_HU = (3.0, 15.0)
"""Below and beyond these the weight stays."""

_STIFFNESS = {"mse": 0.5}
"""Squared differences are mostly those of a few sharp edges; the rest of the image says little against stiffness."""

WORKING_SPACING_MM = 3.0
"""Half of the coarse level's. Images that are coarser themselves are not refined."""

_FINEST_SPACING_MM, _MOST_VOXELS = 2.0, 1_000_000
"""Of the fine level, where the patient takes no more voxels than that: a limit to the seconds of an iteration."""

_CONTROL_STRIDE = 2
"""Voxels from control point to control point. With the same weight in mm² three are as good on phantoms, and worse on a
real pair."""

AFTER_STOP = 10
"""Iterations at the finest level after STOP at a coarser one, whose state often fits worse at the voxels than the
start."""

_SETTLES_AFTER = 100
"""Iterations by field: more lower the error in HU and lead landmarks of phantoms away (tests/benchmarks/results.md)."""

_START_SIGMA_VOX = 2.0
"""Of the coarse level: the distance of its control points."""

_COARSE_SHARE = 0.6
"""Share of the iterations that goes to the coarse level."""


@dataclass(frozen=True, slots=True)
class Refined:
    """The refined displacement, the iterations that were run, and adapted weights if a network was refined.

    `error_may_grow`: whether it is to be kept where the error of the image does not fall, as guidance may ask for.
    """

    displacement_vox: DisplacementArray
    iterations: int
    weights: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()
    error_may_grow: bool = False

    @classmethod
    def nothing_better(cls, start: Registration, iterations: int, notes: tuple[str, ...] = ()) -> Refined:
        """The start as it was."""
        return cls(start.displacement_vox, iterations, start.weights, ("nothing better found", *notes))


@dataclass(frozen=True, slots=True)
class Watched:
    """A box of the fixed image and its error at the voxels before the refinement, over what both scanners saw."""

    box: Box
    rmse_hu: float


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """How to optimise the whole image. `smoothness`: λ, or none for the default of the way chosen times `stiffness`.

    `watched`: where the error is told beside that of the image. `guidance`: what the user knows.
    """

    iterations: int
    by: str
    similarity: str
    smoothness: float | None
    model: str
    watched: Watched | None = None
    stiffness: float = 1.0
    guidance: Guidance = field(default_factory=Guidance)


def iso(
    fixed: Volume, moving: Volume, start: Registration, settings: ImageSettings, device: torch.device, preview: bool
) -> Job[Refined]:
    """Refine a whole registration."""
    way = _by_network if settings.by == "network" else _by_field
    return (yield from way(compared(fixed, settings.guidance), moving, start, settings, device, preview))


def _by_field(
    fixed: Volume, moving: Volume, start: Registration, settings: ImageSettings, device: torch.device, preview: bool
) -> Job[Refined]:
    """Optimise the displacement itself, coarse to fine; what is kept is the best state at the finest level.

    STOP at the coarse level still ends with a few iterations at the fine one. The search sets out from a smooth image
    of the start, since its own field could not take the roughness of the start away again: from the start as it is, the
    target error ends higher (tests/benchmarks/results.md).
    """
    coarse = round(settings.iterations * _COARSE_SHARE)
    found: Tensor | None = None
    geometry: Geometry | None = None
    done, last, stopped, better, is_guided = 0, settings.iterations, False, False, False
    notes: dict[str, None] = {}
    finest_mm = finest_spacing_mm(fixed)
    smoothness = settings.smoothness
    if smoothness is None:
        cell_mm = _CONTROL_STRIDE * finest_mm
        smoothness = settings.stiffness * usual_smoothness(fixed, moving, settings.similarity, cell_mm)
    levels = ((2 * working_spacing_mm(fixed), coarse), (finest_mm, settings.iterations - coarse))
    for spacing_mm, planned in levels:
        count = last - done if stopped else planned
        if count == 0:
            continue
        grid = at_spacing(fixed, moving, start.rigid, spacing_mm, device)
        begin = _Begin.on(grid, start)
        if found is None or geometry is None:
            carried = gaussian(begin.displacement_vox, [_START_SIGMA_VOX] * 3)
        else:
            carried = resized_displacement(found, geometry, grid.geometry)
        problem = _problem(fixed, start, begin, lambda whole: whole, settings, smoothness, preview)
        problem = replace(problem, coarse_step=_CONTROL_STRIDE, settles_after=_SETTLES_AFTER)
        control = ControlGrid(grid.geometry.shape_zyx, _CONTROL_STRIDE, device, carried)
        job = descend(problem, control, count, done, last)
        outcome: Outcome = yield from (to_its_end(job) if stopped else job)
        found, geometry, notes = outcome.residual, grid.geometry, notes | dict.fromkeys(outcome.notes)
        done, is_guided = outcome.iterations, problem.guiding is not None
        better = outcome.mse < begin.mse or _follows_better(problem, begin.displacement_vox, outcome.residual)
        if outcome.stopped:
            last, stopped = min(last, done + AFTER_STOP), True
    if found is None or geometry is None or not better:
        return Refined.nothing_better(start, done, tuple(notes))
    displacement, folded = finished(found, geometry, start.fixed)
    return Refined(displacement, done, None, (*fold_notes(folded), *notes), is_guided)


def _follows_better(problem: Problem, before: Tensor, after: Tensor) -> bool:
    """Whether a displacement goes less against the guidance than the one before."""
    return problem.guiding is not None and float(problem.guiding(after)) < float(problem.guiding(before))


@dataclass(frozen=True, slots=True)
class _Begin:
    """The start of the optimisation on a working grid: u, where both scanners saw something, and its squared error."""

    grid: PairGrid
    displacement_vox: Tensor
    seen: Tensor
    mse: float

    @classmethod
    def on(cls, grid: PairGrid, start: Registration) -> _Begin:
        displacement = on_grid(start, grid.geometry, grid.fixed.device)
        seen = grid.mask(displacement)
        return cls(grid, displacement, seen, grid.mse(grid.warped(displacement), seen))


def _problem(
    fixed: Volume,
    start: Registration,
    begin: _Begin,
    total: Callable[[Tensor], Tensor],
    settings: ImageSettings,
    smoothness: float | None,
    preview: bool,
) -> Problem:
    """To find what `total` turns into the best displacement."""
    grid, seen = begin.grid, begin.seen
    everywhere = torch.ones_like(grid.fixed)
    whole_hu = whole_rmse_hu(start, begin.mse)
    box, box_hu = None, None
    if settings.watched is not None:
        box = grid.holding(settings.watched.box, fixed.geometry) * seen
        known_mse = normalized_mse_from_hu(settings.watched.rmse_hu)
        box_hu = told_rmse_hu(known_mse, known_mse, grid.mse(grid.warped(begin.displacement_vox), box))
    guidance = guiding(settings.guidance, grid, start)
    return Problem(
        "iso",
        grid,
        total,
        everywhere,
        near_patient(fixed, grid),
        settings.similarity,
        smoothness,
        lambda mse, watched: (whole_hu(mse), None if box_hu is None else box_hu(watched)),
        preview=whole_preview(grid, fixed, total) if preview else None,
        guiding=guidance,
        stiffness=settings.stiffness,
        error_may_grow=guidance is not None,
        relative=settings.by == "field",
        roughness=roughness_on(grid.geometry, settings.by),
        watched=box,
    )


def told_rmse_hu(known_mse: float, part_mse: float, start_mse: float) -> Callable[[float], float]:
    """From the squared error of a part on a working grid to the RMSE in HU that is told of an image that holds it.

    `known_mse`: of the image at its voxels before, `part_mse`: how much of that is the part's, `start_mse`: of the part
    before on the working grid, which knows no more than how its own error changes in proportion: what is fine is
    blurred there.
    """
    rest, share = max(0.0, known_mse - part_mse), part_mse / start_mse if start_mse else 0.0
    return lambda mse: hu_from_normalized_rmse(rest + share * mse)


def whole_rmse_hu(start: Registration, start_mse: float, part_mse: float | None = None) -> Callable[[float], float]:
    """`told_rmse_hu` of the whole image as the last step left it. `part_mse`: all of its error if none is given."""
    if not start.steps:
        return told_rmse_hu(start_mse, start_mse, start_mse)
    known_mse = normalized_mse_from_hu(start.steps[-1].rmse_hu)
    return told_rmse_hu(known_mse, known_mse if part_mse is None else min(part_mse, known_mse), start_mse)


def working_spacing_mm(fixed: Volume) -> float:
    """Spacing of the grid on which a displacement of this image is optimised."""
    return max(WORKING_SPACING_MM, min(fixed.geometry.spacing_xyz_mm))


def finest_spacing_mm(fixed: Volume) -> float:
    """Spacing of the grid on which the displacement of a whole image is optimised last."""
    size_mm = np.array(body_box(fixed).shape_zyx) * fixed.geometry.spacing_zyx_mm
    affordable_mm = float(np.cbrt(size_mm.prod() / _MOST_VOXELS))
    return max(min(max(_FINEST_SPACING_MM, affordable_mm), WORKING_SPACING_MM), min(fixed.geometry.spacing_xyz_mm))


def usual_smoothness(fixed: Volume, moving: Volume, similarity: str, cell_mm: float) -> float:
    """λ of the bending energy of control points that far apart."""
    noise_hu = pair_noise_hu(fixed, moving, *_NOISE_HU)
    return _STIFFNESS.get(similarity, 1.0) * _BENDING_MM2_PER_HU * noise_hu / cell_mm**2


def roughness_on(geometry: Geometry, by: str) -> Callable[[Tensor], Tensor]:
    """What makes a displacement on a grid rough: for a field its bending energy."""
    if by == "network":
        return grad_l2
    least_mm = min(geometry.spacing_zyx_mm)
    z, y, x = (mm / least_mm for mm in geometry.spacing_zyx_mm)
    return lambda displacement_vox: bending_energy(displacement_vox, (z, y, x))


def _by_network(
    fixed: Volume, moving: Volume, start: Registration, settings: ImageSettings, device: torch.device, preview: bool
) -> Job[Refined]:
    """Fine-tune a copy of the network on this pair (Bai et al. 2022): u = u₀ + net(θ) − net(θ₀).

    Where u₀ is the network's own prediction this is the paper's u = net(θ). Without a smoothness weight the two losses
    are combined by gradient surgery with a roughness budget.
    """
    network = case_network(settings.model, start.weights, device)
    grid, aligned = network_pair(settings.model, fixed, moving, start.rigid, device)
    begin = _Begin.on(grid, start)
    problem = _problem(
        fixed, start, begin, lambda change: begin.displacement_vox + change, settings, settings.smoothness, preview
    )
    change = NetworkChange(network, aligned, grid.fixed * grid.fixed_valid)
    outcome: Outcome = yield from descend(problem, change, settings.iterations)
    if not outcome.residual.any():
        return Refined.nothing_better(start, outcome.iterations, outcome.notes)
    displacement, folded = finished(outcome.residual, grid.geometry, fixed.geometry, start.displacement_vox)
    notes = (*fold_notes(folded), *outcome.notes)
    is_guided = problem.guiding is not None
    return Refined(displacement, outcome.iterations, weights_at(outcome, network), notes, is_guided)


def weights_at(outcome: Outcome, network: torch.nn.Module) -> dict[str, Any]:
    """The network's weights at the best state, on the CPU."""
    names = (name for name, _ in network.named_parameters())
    return {name: tensor.cpu() for name, tensor in zip(names, outcome.parameters, strict=True)}


def fold_notes(folded: int) -> tuple[str, ...]:
    """What to say of folds that were smoothed away."""
    return (f"smoothed {folded} voxels that were about to fold",) if folded else ()


def on_grid(start: Registration, geometry: Geometry, device: torch.device) -> Tensor:
    """The displacement of a registration on a working grid."""
    return displacement_on(start.displacement_vox, start.fixed, geometry).to(device)


def whole_preview(grid: PairGrid, fixed: Volume, total: Callable[[Tensor], Tensor]) -> Sight:
    """Shows what a residual of a working grid makes of the moving image, where the fixed grid holds the patient."""
    region = body_box(fixed)
    target = fixed.geometry.cropped(region)

    def draw(residual: Tensor) -> Drawn:
        whole = total(residual)
        return in_hu(resampled(grid.warped(whole), grid.geometry, target)), whole

    return Sight(region, grid.geometry, draw)
