from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.spatial.jacobian import jacobian_determinant
from engine.spatial.resample import gaussian
from engine.spatial.warp import voxel_grid, warp
from engine.training import pairs
from engine.training.pairs import TrainingPair, make_pair, structure_weight

SHAPE = (32, 24, 40)


@pytest.fixture(scope="module")
def anatomies() -> list[np.ndarray]:
    """Two textures that vary over several voxels, of other sizes, one smaller than a crop with its margin."""
    made = []
    for seed, shape in enumerate([(60, 55, 70), (40, 50, 44)]):
        noise = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(seed))
        smooth = gaussian(noise, [3.0] * 3)
        made.append(((smooth - smooth.min()) / (smooth.max() - smooth.min()))[0, 0].numpy())
    return made


def _tensors(pair: TrainingPair) -> list[Tensor]:
    return [pair.fixed, pair.moving, pair.displacement_vox, pair.weight]


def test_a_pair_is_a_function_of_seed_and_index_alone(anatomies) -> None:
    """Whatever torch's own generator did before."""
    torch.manual_seed(1)
    first = make_pair(anatomies, SHAPE, 3, 11)
    torch.manual_seed(2)
    torch.rand(7)

    second, other_index, other_seed = (make_pair(anatomies, SHAPE, *key) for key in ((3, 11), (3, 12), (4, 11)))

    assert all(torch.equal(a, b) for a, b in zip(_tensors(first), _tensors(second), strict=True))
    assert not torch.equal(first.displacement_vox, other_index.displacement_vox)
    assert not torch.equal(first.displacement_vox, other_seed.displacement_vox)


@pytest.mark.parametrize("index", range(4))
def test_a_pair_has_the_promised_shapes_and_ranges(anatomies, index: int) -> None:
    pair = make_pair(anatomies, SHAPE, 0, index)

    assert [tuple(t.shape) for t in _tensors(pair)] == [(1, *SHAPE), (1, *SHAPE), (3, *SHAPE), (1, *SHAPE)]
    assert all(torch.isfinite(tensor).all() for tensor in _tensors(pair))
    assert min(pair.fixed.min(), pair.moving.min()) >= -0.05
    assert max(pair.fixed.max(), pair.moving.max()) <= 2.0
    assert pair.weight.mean().item() == pytest.approx(1.0, rel=1e-4)
    assert pair.weight.min() > 0
    assert not torch.equal(pair.fixed, pair.moving)


@pytest.mark.parametrize("index", range(6))
def test_fixed_is_moving_displaced_by_u_before_corruption(
    anatomies, index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where x + u(x) lies in the crop. Both images are interpolated, the field is made four times coarser: a tenth of
    what differs without motion and 0.001 are left, and u the wrong way round makes it worse.
    """
    monkeypatch.setattr(pairs, "_corrupted", lambda image, generator: image)
    pair = make_pair(anatomies, SHAPE, 5, index)
    moving, displacement = pair.moving.unsqueeze(0), pair.displacement_vox.unsqueeze(0)

    warped, backwards = warp(moving, displacement)[0], warp(moving, -displacement)[0]

    inside = _leads_inside(displacement) & _leads_inside(-displacement)
    assert inside.float().mean() > 0.2
    images = (pair.moving, warped, backwards)
    still, right, wrong = ((image - pair.fixed)[inside].square().mean().sqrt() for image in images)
    assert right < 0.1 * still + 1e-3
    assert wrong > still


def _leads_inside(displacement: Tensor) -> Tensor:
    position = (voxel_grid(SHAPE, displacement) + displacement)[0]
    upper = torch.tensor(SHAPE).view(3, 1, 1, 1) - 1
    return ((position >= 0) & (position <= upper)).all(dim=0, keepdim=True)


def test_motion_reaches_from_hardly_any_to_many_voxels_and_mostly_does_not_fold(anatomies) -> None:
    """Scales from 0.05 to 1, breathing up to 13 voxels with a limited slope and a small affine part."""
    fields = [make_pair(anatomies, SHAPE, 1, index).displacement_vox.numpy() for index in range(12)]
    lengths = [float(np.linalg.norm(field, axis=0).max()) for field in fields]
    folded = [float((jacobian_determinant(field) <= 0).mean()) for field in fields]

    assert min(lengths) < 4
    assert max(lengths) > 6
    assert np.mean(folded) < 0.005


def test_structure_weighs_more_than_none() -> None:
    """A step edge along x in an otherwise constant image; the window reaches two voxels further."""
    image = torch.zeros(1, 1, 12, 12, 24)
    image[..., 12:] = 0.3

    weight = structure_weight(image)[0, 0, 6, 6]

    assert weight[11] > 3 * weight[6]
    assert weight[12] == weight[11]
    assert weight[6] == weight[17]
