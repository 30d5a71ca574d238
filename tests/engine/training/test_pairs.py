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
    return [pair.fixed, pair.moving, pair.displacement_vox, pair.weight, pair.clean_fixed, pair.clean_moving]


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

    assert [tuple(t.shape) for t in _tensors(pair)] == [(channels, *SHAPE) for channels in (1, 1, 3, 1, 1, 1)]
    assert all(torch.isfinite(tensor).all() for tensor in _tensors(pair))
    assert min(pair.fixed.min(), pair.moving.min()) >= -0.05
    assert max(pair.fixed.max(), pair.moving.max()) <= 2.0
    assert 0.5 < pair.weight.mean().item() < 1.01
    assert (pair.weight[pair.fixed != 0] > 0).all()
    assert not torch.equal(pair.fixed, pair.moving)


@pytest.mark.parametrize("index", range(6))
def test_clean_fixed_is_clean_moving_displaced_by_u(anatomies, index: int) -> None:
    """Where x + u(x) lies in the crop. Both images are interpolated, the field is made four times coarser: a tenth of
    what differs without motion and 0.001 are left, and u the wrong way round makes it worse.
    """
    pair = make_pair(anatomies, SHAPE, 5, index)
    moving, displacement = pair.clean_moving.unsqueeze(0), pair.displacement_vox.unsqueeze(0)

    warped, backwards = warp(moving, displacement)[0], warp(moving, -displacement)[0]

    inside = _leads_inside(displacement) & _leads_inside(-displacement)
    assert inside.float().mean() > 0.2
    images = (pair.clean_moving, warped, backwards)
    still, right, wrong = ((image - pair.clean_fixed)[inside].square().mean().sqrt() for image in images)
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


def test_random_shapes_stand_in_for_an_anatomy(monkeypatch: pytest.MonkeyPatch) -> None:
    """They need no anatomy, and are others in every pair."""
    monkeypatch.setattr(pairs, "_SHAPES_SHARE", 1.0)
    first, second = (make_pair([], SHAPE, 2, index).clean_moving for index in (0, 1))

    assert not torch.equal(first, second)
    assert min(first.std(), second.std()) > 0.05


def test_artefacts_are_added_to_one_image_without_the_other(anatomies) -> None:
    """In the corrupted images alone, and not in every pair."""
    bank = np.full((2, 40, 50, 30), 0.5, dtype=np.float16)
    made = [(make_pair(anatomies, SHAPE, 2, i, bank), make_pair(anatomies, SHAPE, 2, i)) for i in range(12)]

    assert all(torch.equal(one.clean_fixed, other.clean_fixed) for one, other in made)
    brighter = [(one.moving.median() - other.moving.median()).item() > 0.05 for one, other in made]
    assert 0 < sum(brighter) < len(brighter)


def test_a_chest_wall_stays_behind_where_the_lungs_breathe() -> None:
    """A lung-like middle in soft tissue: its columns follow the breathing, what lies beside them less."""
    anatomy = torch.full((1, 1, 64, 48, 48), 0.5)
    anatomy[..., 12:36, 12:36] = 0.1
    still = torch.zeros(1, 3, 16, 12, 12)
    shares = [pairs._breathing_part(anatomy, still, torch.Generator().manual_seed(seed))[0, 0, 8] for seed in range(12)]

    assert all(share[6, 6].item() == pytest.approx(1.0, abs=1e-5) for share in shares)
    assert any(share[6, 0] < 0.5 for share in shares)
    assert any(share[6, 0] == 1.0 for share in shares), "now and then everything moves as one"


def test_what_lies_beyond_the_field_of_view_is_black_and_counts_for_nothing(anatomies) -> None:
    """Faces of both images, or of one alone."""
    made = [make_pair(anatomies, SHAPE, 7, index) for index in range(12)]

    black = [[bool((image[0, 0] == 0).all()) for image in (pair.fixed, pair.moving)] for pair in made]
    assert [False, False] in black
    assert any(fixed for fixed, _ in black)
    assert all((pair.weight[0, 0] == 0).all() == fixed for pair, (fixed, _) in zip(made, black, strict=True))
