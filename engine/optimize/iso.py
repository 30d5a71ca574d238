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


def iso_by_field(
    fixed: Volume,
    moving: Volume,
    start: Registration,
    iterations: int,
    similarity: str,
    smoothness: float | None,
    device: torch.device,
    preview: bool,
) -> Job[Refined]:
    """Optimise the displacement itself, coarse to fine; what is kept is the best state at the finest level reached."""
    coarse = round(iterations * _COARSE_SHARE)
    found: Tensor | None = None
    geometry: Geometry | None = None
    before = 0
    finest_mm = working_spacing_mm(fixed)
    for spacing_mm, count in ((2 * finest_mm, coarse), (finest_mm, iterations - coarse)):
        if count == 0:
            continue
        grid = at_spacing(fixed, moving, start.rigid, spacing_mm, device)
        base = on_grid(start, grid.geometry, device)
        carried = (
            torch.zeros_like(base)
            if found is None or geometry is None
            else resized_displacement(found, geometry, grid.geometry)
        )
        problem = Problem(
            "iso",
            grid,
            _sum_with(base),
            torch.ones_like(grid.fixed),
            torch.ones_like(grid.fixed),
            similarity,
            FIELD_SMOOTHNESS if smoothness is None else smoothness,
            _CONTROL_STRIDE,
            whole_preview(grid, fixed.geometry) if preview else None,
        )
        control = ControlGrid(grid.geometry.shape_zyx, _CONTROL_STRIDE, device, carried)
        outcome: Outcome = yield from descend(problem, control, count, before, iterations)
        found, geometry = outcome.residual, grid.geometry
        before = outcome.iterations
        if outcome.stopped:
            break
    return _refined(found, geometry, start, before)


def working_spacing_mm(fixed: Volume) -> float:
    """Spacing of the grid on which a displacement of this image is optimised."""
    return max(WORKING_SPACING_MM, min(fixed.geometry.spacing_xyz_mm))


def _refined(found: Tensor | None, geometry: Geometry | None, start: Registration, iterations: int) -> Refined:
    if found is None or geometry is None or not found.any():
        return Refined(start.displacement_vox, iterations, notes=("nothing better found",))
    displacement, folded = finished(found, geometry, start.fixed, start.displacement_vox)
    return Refined(displacement, iterations, notes=fold_notes(folded))


def iso_by_network(
    model: str,
    fixed: Volume,
    moving: Volume,
    start: Registration,
    iterations: int,
    similarity: str,
    smoothness: float | None,
    device: torch.device,
    preview: bool,
) -> Job[Refined]:
    """Fine-tune a copy of the network on this pair (Bai et al. 2022): u = u₀ + net(θ) − net(θ₀).

    Where u₀ is the network's own prediction this is the paper's u = net(θ). Without a smoothness weight the two losses
    are combined by gradient surgery with a roughness budget.
    """
    network = case_network(model, start.weights, device)
    grid, aligned = network_pair(model, fixed, moving, start.rigid, device)
    problem = Problem(
        "iso",
        grid,
        _sum_with(on_grid(start, grid.geometry, device)),
        torch.ones_like(grid.fixed),
        torch.ones_like(grid.fixed),
        similarity,
        smoothness,
        1,
        whole_preview(grid, fixed.geometry) if preview else None,
    )
    change = NetworkChange(network, aligned, grid.fixed * grid.fixed_valid)
    outcome: Outcome = yield from descend(problem, change, iterations)
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


def _sum_with(base: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda residual: base + residual


def whole_preview(grid: PairGrid, fixed: Geometry) -> Callable[[Tensor], Preview]:
    """Shows a warped image of a working grid on the whole fixed grid."""
    region = Box.whole(fixed.shape_zyx)

    def preview(warped: Tensor) -> Preview:
        image = resampled(warped.cpu(), grid.geometry, fixed)[0, 0]
        return Preview(region, (image * 2000.0 - 1000.0).numpy())

    return preview
