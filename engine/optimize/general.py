"""The general model: one forward pass on the aligned pair at the model's working spacing."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from engine.geometry import Geometry
from engine.memory import give_back
from engine.models import find_model, load_network
from engine.optimize.folds import without_folds
from engine.optimize.pair_grid import PairGrid, at_spacing
from engine.progress import Job, Progress
from engine.shapes import DisplacementArray, Matrix
from engine.shared_arrays import in_file
from engine.spatial.resample import as_array, displacement_pieces
from engine.volume import Volume


def network_pair(
    model: str, fixed: Volume, moving: Volume, rigid: Matrix, device: torch.device
) -> tuple[PairGrid, Tensor]:
    """The pair on the model's working grid, and the moving image resampled onto that grid through the rigid part."""
    row, _ = find_model(model)
    grid = at_spacing(fixed, moving, rigid, row.spacing_mm, device, row.size_multiple)
    no_motion = torch.zeros((1, 3, *grid.geometry.shape_zyx), device=device)
    return grid, grid.warped(no_motion) * grid.mask(no_motion)


def case_network(model: str, weights: dict[str, Tensor] | None, device: torch.device) -> nn.Module:
    """A copy of the network for one case: with the weights adapted to the case, or those it ships with."""
    network = load_network(model)
    if weights is not None:
        network.load_state_dict(weights)
    return network.to(device)


def general_displacement(
    model: str, fixed: Volume, moving: Volume, rigid: Matrix, device: torch.device
) -> Job[tuple[DisplacementArray, int]]:
    """u on the fixed grid, and how many folded voxels were smoothed away."""
    yield Progress("general", 0, 1, note="reading the model")
    network = case_network(model, None, device)
    grid, aligned = network_pair(model, fixed, moving, rigid, device)
    yield Progress("general", 0, 1, note="predicting")
    with torch.no_grad():
        displacement = network(aligned, grid.fixed * grid.fixed_valid)
    return finished(displacement, grid.geometry, fixed.geometry)


def finished(
    residual: Tensor, working: Geometry, fixed: Geometry, start: DisplacementArray | None = None
) -> tuple[DisplacementArray, int]:
    """A displacement of a working grid on the fixed grid, added to `start` and free of folds where that was.

    A large one lies in a file, so that the states of its regions share it.
    """
    give_back()
    values, row = as_array(residual), (-1, *fixed.shape_zyx[1:])

    def pieces() -> Iterator[DisplacementArray]:
        first = 0
        for piece in displacement_pieces(values, working, fixed):
            if start is not None:
                piece += start.reshape(row)[first : first + len(piece)]
            first += len(piece)
            yield piece

    return without_folds(in_file((3, *fixed.shape_zyx), pieces))
