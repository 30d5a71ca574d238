"""Image-specific optimisation (ISO): the whole image, by field or by network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.geometry import Geometry
from engine.optimize.descent import Outcome, Problem, descend
from engine.optimize.general import case_network, finished, network_pair
from engine.optimize.pair_grid import PairGrid, at_spacing
from engine.optimize.parametrize import ControlGrid, NetworkChange
from engine.progress import Job, Preview
from engine.registration import Registration
from engine.roi import Box
from engine.shapes import DisplacementArray
from engine.spatial.resample import as_tensor, resampled, resized_displacement
from engine.volume import Volume

FIELD_SMOOTHNESS = 0.4

WORKING_SPACING_MM = 3.0
"""Of the fine level; the coarse one is twice that. Images that are coarser themselves are not refined."""

_CONTROL_STRIDE = 2
_COARSE_SHARE = 0.6
"""Share of the iterations that goes to the coarse level."""


@dataclass(frozen=True, slots=True)
class Refined:
    """The refined displacement, the iterations that were run, and adapted weights if a network was refined."""

    displacement_vox: DisplacementArray
    iterations: int
    weights: dict[str, Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageSettings:
    """How to optimise the whole image. `smoothness`: λ, or none for the default of the way chosen.

    `watched`: a box of the fixed image whose error is told beside that of the image.
    """

    iterations: int
    by: str
    similarity: str
    smoothness: float | None
    model: str
    watched: Box | None = None


def iso(
    fixed: Volume, moving: Volume, start: Registration, settings: ImageSettings, device: torch.device, preview: bool
) -> Job[Refined]:
    """Refine a whole registration."""
    way = _by_network if settings.by == "network" else _by_field
    return (yield from way(fixed, moving, start, settings, device, preview))


def _by_field(
    fixed: Volume, moving: Volume, start: Registration, settings: ImageSettings, device: torch.device, preview: bool
) -> Job[Refined]:
    """Optimise the displacement itself, coarse to fine; what is kept is the best state at the finest level reached."""
    coarse = round(settings.iterations * _COARSE_SHARE)
    smoothness = FIELD_SMOOTHNESS if settings.smoothness is None else settings.smoothness
    found: Tensor | None = None
    geometry: Geometry | None = None
    before = 0
    finest_mm = working_spacing_mm(fixed)
    for spacing_mm, count in ((2 * finest_mm, coarse), (finest_mm, settings.iterations - coarse)):
        if count == 0:
            continue
        grid = at_spacing(fixed, moving, start.rigid, spacing_mm, device)
        base = on_grid(start, grid.geometry, device)
        carried = (
            torch.zeros_like(base)
            if found is None or geometry is None
            else resized_displacement(found, geometry, grid.geometry)
        )
        show = whole_preview(grid, fixed.geometry) if preview else None
        problem = _problem(grid, base, settings, smoothness, _CONTROL_STRIDE, fixed.geometry, show)
        control = ControlGrid(grid.geometry.shape_zyx, _CONTROL_STRIDE, device, carried)
        outcome: Outcome = yield from descend(problem, control, count, before, settings.iterations)
        found, geometry = outcome.residual, grid.geometry
        before = outcome.iterations
        if outcome.stopped:
            break
    return _refined(found, geometry, start, before)


def _problem(
    grid: PairGrid,
    base: Tensor,
    settings: ImageSettings,
    smoothness: float | None,
    coarse_step: int,
    fixed: Geometry,
    preview: Callable[[Tensor], Preview] | None,
) -> Problem:
    everywhere = torch.ones_like(grid.fixed)
    watched = None
    if settings.watched is not None:
        watched = grid.holding(settings.watched, fixed) * grid.mask(base)

    def errors_hu(warped: Tensor, whole_hu: float) -> tuple[float, float | None]:
        seen = watched is not None and bool(watched.any())
        return whole_hu, grid.rmse_hu(warped, watched) if watched is not None and seen else None

    return Problem(
        "iso",
        grid,
        lambda residual: base + residual,
        everywhere,
        everywhere,
        settings.similarity,
        smoothness,
        errors_hu,
        coarse_step,
        preview,
    )


def working_spacing_mm(fixed: Volume) -> float:
    """Spacing of the grid on which a displacement of this image is optimised."""
    return max(WORKING_SPACING_MM, min(fixed.geometry.spacing_xyz_mm))


def _refined(found: Tensor | None, geometry: Geometry | None, start: Registration, iterations: int) -> Refined:
    if found is None or geometry is None or not found.any():
        return Refined(start.displacement_vox, iterations, notes=("nothing better found",))
    displacement, folded = finished(found, geometry, start.fixed, start.displacement_vox)
    return Refined(displacement, iterations, notes=fold_notes(folded))


def _by_network(
    fixed: Volume, moving: Volume, start: Registration, settings: ImageSettings, device: torch.device, preview: bool
) -> Job[Refined]:
    """Fine-tune a copy of the network on this pair (Bai et al. 2022): u = u₀ + net(θ) − net(θ₀).

    Where u₀ is the network's own prediction this is the paper's u = net(θ). Without a smoothness weight the two losses
    are combined by gradient surgery with a roughness budget.
    """
    network = case_network(settings.model, start.weights, device)
    grid, aligned = network_pair(settings.model, fixed, moving, start.rigid, device)
    base = on_grid(start, grid.geometry, device)
    show = whole_preview(grid, fixed.geometry) if preview else None
    problem = _problem(grid, base, settings, settings.smoothness, 1, fixed.geometry, show)
    change = NetworkChange(network, aligned, grid.fixed * grid.fixed_valid)
    outcome: Outcome = yield from descend(problem, change, settings.iterations)
    if not outcome.residual.any():
        return Refined(start.displacement_vox, outcome.iterations, start.weights, ("nothing better found",))
    displacement, folded = finished(outcome.residual, grid.geometry, fixed.geometry, start.displacement_vox)
    return Refined(displacement, outcome.iterations, weights_at(outcome, network), fold_notes(folded))


def weights_at(outcome: Outcome, network: torch.nn.Module) -> dict[str, Any]:
    """The network's weights at the best state, on the CPU."""
    names = (name for name, _ in network.named_parameters())
    return {name: tensor.cpu() for name, tensor in zip(names, outcome.parameters, strict=True)}


def fold_notes(folded: int) -> tuple[str, ...]:
    """What to say of folds that were smoothed away."""
    return (f"smoothed {folded} voxels that were about to fold",) if folded else ()


def on_grid(start: Registration, geometry: Geometry, device: torch.device) -> Tensor:
    """The displacement of a registration on a working grid."""
    return resized_displacement(as_tensor(start.displacement_vox), start.fixed, geometry).to(device)


def whole_preview(grid: PairGrid, fixed: Geometry) -> Callable[[Tensor], Preview]:
    """Shows a warped image of a working grid on the whole fixed grid."""
    region = Box.whole(fixed.shape_zyx)

    def preview(warped: Tensor) -> Preview:
        image = resampled(warped.cpu(), grid.geometry, fixed)[0, 0]
        return Preview(region, (image * 2000.0 - 1000.0).numpy())

    return preview
