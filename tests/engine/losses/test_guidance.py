from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.losses.guidance import point_distance, rigidity
from tests.conftest import rotation

SHAPE = (7, 8, 9)
SPACING_ZYX_MM = torch.tensor([3.0, 2.0, 0.5]).view(1, 3, 1, 1, 1)


def _linear(matrix_zyx: np.ndarray) -> torch.Tensor:
    """u in voxels whose x + u in mm is `matrix_zyx` times x."""
    spacing = SPACING_ZYX_MM.flatten().numpy()
    index = np.stack(np.meshgrid(*(np.arange(n) for n in SHAPE), indexing="ij"))
    moved_mm = np.einsum("ij,jzyx->izyx", matrix_zyx - np.eye(3), index * spacing.reshape(3, 1, 1, 1))
    return torch.tensor(moved_mm / spacing.reshape(3, 1, 1, 1), dtype=torch.float32)[None]


def test_the_distance_is_in_millimeters_and_between_voxels() -> None:
    displacement = torch.zeros(1, 3, *SHAPE)
    displacement[:, 0] = torch.arange(9.0) / 9.0
    index = torch.tensor([[2.0, 3.0, 4.5], [1.0, 1.0, 0.0]]).T.reshape(1, 3, 2, 1, 1)
    wanted = torch.tensor([[1.5, 1.0, -2.0], [0.0, 0.0, 0.0]]).T.reshape(1, 3, 2, 1, 1)

    found = point_distance(displacement, index, wanted, SPACING_ZYX_MM)

    expected = ((0.5 - 1.5) * 3) ** 2 + (1 * 2) ** 2 + (2 * 0.5) ** 2
    assert found.item() == pytest.approx(expected / 2, rel=1e-5)


def test_a_rotation_and_a_shift_keep_shapes_on_flat_voxels() -> None:
    turned = _linear(rotation(20.0, -35.0, 50.0)) + torch.tensor([1.0, -2.0, 3.0]).view(1, 3, 1, 1, 1)

    assert rigidity(turned, torch.ones(1, 1, *SHAPE), SPACING_ZYX_MM).item() < 1e-8


def test_strain_is_told_as_the_squared_norm_of_green_and_lagrange() -> None:
    """Twice as long along x, sheared along y by z: FᵀF − I by hand."""
    matrix = np.array([[1.0, 0.0, 0.0], [0.3, 1.0, 0.0], [0.0, 0.0, 2.0]])
    strain = matrix.T @ matrix - np.eye(3)

    found = rigidity(_linear(matrix), torch.ones(1, 1, *SHAPE), SPACING_ZYX_MM)

    assert found.item() == pytest.approx((strain**2).sum(), rel=1e-4)


def test_only_the_mask_counts() -> None:
    displacement = torch.zeros(1, 3, *SHAPE)
    displacement[..., 5:, :, :] = torch.randn(1, 3, 2, 8, 9, generator=torch.Generator().manual_seed(0))
    mask = torch.zeros(1, 1, *SHAPE)
    mask[:, :, :4] = 1.0

    assert rigidity(displacement, mask, SPACING_ZYX_MM).item() == 0.0
    assert rigidity(displacement, 1.0 - mask, SPACING_ZYX_MM).item() > 0.1


def test_a_single_slice_can_be_strained_too() -> None:
    stretched = torch.zeros(1, 3, 1, 8, 9)
    stretched[:, 2] = 0.5 * torch.arange(9.0)

    found = rigidity(stretched, torch.ones(1, 1, 1, 8, 9), SPACING_ZYX_MM)

    assert found.item() == pytest.approx((1.5**2 - 1) ** 2, rel=1e-4)
