from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.errors import InputError
from engine.geometry import Geometry
from engine.models import load_network
from engine.optimize.general import case_network, finished, general_displacement, network_pair
from engine.progress import finish
from engine.spatial.jacobian import jacobian_determinant

CPU = torch.device("cpu")


def test_the_working_grid_fits_the_network(pair, stable_model: str) -> None:
    grid, aligned = network_pair(stable_model, pair.fixed, pair.moving, np.eye(4), CPU)

    assert grid.geometry.spacing_xyz_mm == (2.7, 2.7, 2.7)
    assert all(n % 16 == 0 for n in grid.geometry.shape_zyx)
    assert aligned.shape == grid.fixed.shape == (1, 1, *grid.geometry.shape_zyx)


def test_a_network_that_finds_no_motion_gives_none(pair, stable_model: str) -> None:
    """The stable network starts below 1e-3 voxel of 2.7 mm."""
    displacement, folded = finish(general_displacement(stable_model, pair.fixed, pair.moving, np.eye(4), CPU))

    assert displacement.shape == (3, *pair.fixed.geometry.shape_zyx)
    assert np.abs(displacement).max() < 1e-3
    assert folded == 0


def test_adapted_weights_replace_those_of_the_file(stable_model: str) -> None:
    shipped = load_network(stable_model)
    adapted = {name: tensor + 1.0 for name, tensor in shipped.state_dict().items()}

    network, untouched = case_network(stable_model, adapted, CPU), case_network(stable_model, None, CPU)

    assert all(torch.equal(tensor, adapted[name]) for name, tensor in network.state_dict().items())
    assert all(torch.equal(a, b) for a, b in zip(shipped.parameters(), untouched.parameters(), strict=True))


def test_a_prediction_is_scaled_to_the_voxels_of_the_fixed_grid_and_added() -> None:
    """One working voxel of 3 mm along x is 2 voxels of 1.5 mm, along z one of 3 mm; 0.25 voxel was there before."""
    working, fixed = Geometry((4, 5, 6), (3.0, 3.0, 3.0)), Geometry((4, 7, 12), (1.5, 2.0, 3.0))
    start = np.full((3, *fixed.shape_zyx), 0.25, np.float32)

    total, folded = finished(torch.ones(1, 3, *working.shape_zyx), working, fixed, start)

    np.testing.assert_allclose(total[:, 1, 2, 3], [1.25, 1.75, 2.25], atol=1e-6)
    assert folded == 0
    assert (start == 0.25).all()


def test_a_prediction_that_folds_is_smoothed() -> None:
    grid = Geometry((30, 32, 34), (2.0, 2.0, 2.0))
    folding = torch.zeros(1, 3, *grid.shape_zyx)
    folding[0, 1, 15, 16, 17] = -2.0

    total, folded = finished(folding, grid, grid)

    assert folded > 0
    assert jacobian_determinant(total).min() > 0.05


def test_a_model_without_weights_is_refused(pair) -> None:
    with pytest.raises(InputError, match="ships without weights"):
        finish(general_displacement("unet-paper", pair.fixed, pair.moving, np.eye(4), CPU))
