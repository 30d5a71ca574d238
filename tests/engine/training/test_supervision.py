from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from engine.losses.regularity import grad_l2
from engine.models.pyramid import MatchingPyramid
from engine.models.unet import StableUNet
from engine.spatial.resample import gaussian
from engine.spatial.warp import warp
from engine.training.batches import Batch
from engine.training.settings import TrainingSettings
from engine.training.supervision import (
    dissimilarity,
    field_distance,
    fit_and_roughness,
    predicted,
    target_error_vox,
    weighted_mean,
)


def levels_of(displacement_vox: Tensor, count: int = 4) -> list[Tensor]:
    """What a pyramid would have found, finest (half size) first."""
    levels = [displacement_vox]
    for _ in range(count):
        levels.append(0.5 * torch.nn.functional.avg_pool3d(levels[-1], 2))
    return levels[1:]


def shift(x_vox: float, y_vox: float = 0.0) -> Tensor:
    displacement = torch.zeros(1, 3, 32, 32, 32)
    displacement[:, 1], displacement[:, 2] = y_vox, x_vox
    return displacement


ONES = torch.ones(1, 1, 32, 32, 32)


def test_the_distance_is_least_for_the_true_displacement() -> None:
    """Distance 0 at every level leaves the rounding of the root, √0.001 in voxels of the level: 2, 4, 8, 16 of the
    finest ones, weighted 1, 0.6, 0.4, 0.3.
    """
    distance = field_distance(levels_of(shift(4.0)), shift(4.0), ONES)

    assert distance.item() == pytest.approx(0.001**0.5 * (2 + 0.6 * 4 + 0.4 * 8 + 0.3 * 16), rel=1e-5)


def test_the_distance_counts_in_voxels_of_the_finest_grid() -> None:
    """Off by (0, 3, 4) everywhere: 5 voxels at every level, weighted 1 + 0.6 + 0.4 + 0.3, and a little rounding; a
    network of one level has that alone.
    """
    off, truth = shift(4.0, 3.0), torch.zeros(1, 3, 32, 32, 32)

    assert field_distance(levels_of(off), truth, ONES).item() == pytest.approx(2.3 * 5, rel=0.01)
    assert field_distance([off], truth, ONES).item() == pytest.approx(5.0, rel=0.001)


def test_every_pair_of_a_batch_counts_the_same_whatever_its_weights_add_up_to() -> None:
    """Means 2 and 6 (weights of 10 do not count ten times)."""
    values = torch.stack([torch.full((1, 2, 2, 2), 2.0), torch.full((1, 2, 2, 2), 6.0)])
    weight = torch.stack([torch.full((1, 2, 2, 2), 1.0), torch.full((1, 2, 2, 2), 10.0)])

    assert weighted_mean(values, weight).item() == 4.0


@pytest.fixture(scope="module")
def shifted() -> Batch:
    """A texture that lies three voxels further along x in the moving image; what the network sees is noise alone."""
    generator = torch.Generator().manual_seed(3)
    moving = 10.0 * gaussian(torch.rand(1, 1, 32, 32, 32, generator=generator), [1.5] * 3)
    fixed = warp(moving, shift(3.0))
    noise = torch.rand(2, 1, 32, 32, 32, generator=generator)
    return Batch(noise[:1], noise[1:], fixed, moving, ONES, ONES, ONES, shift(3.0))


def test_clean_images_agree_where_the_field_is_right(shifted: Batch) -> None:
    right, still, wrong = (float(dissimilarity(shift(x), shifted)) for x in (3.0, 0.0, -3.0))

    assert right < 2e-3  # the floor of the variance
    assert min(still, wrong) > 0.3


def test_what_a_scanner_did_not_see_is_not_compared(shifted: Batch) -> None:
    """Half of one image is spoilt; known to be so, it changes nothing."""
    spoilt, seen = torch.zeros(1, 1, 32, 32, 32), ONES.clone()
    spoilt[..., :16] = shifted.clean_moving[..., :16]
    seen[..., 16:] = 0.0
    in_moving = replace(shifted, clean_moving=spoilt)
    in_fixed = replace(shifted, clean_fixed=torch.where(seen > 0, shifted.clean_fixed, 0.0))

    assert float(dissimilarity(shift(3.0), in_moving)) > 0.05
    assert float(dissimilarity(shift(3.0), replace(in_moving, moving_seen=seen))) < 2e-3
    assert float(dissimilarity(shift(3.0), in_fixed)) > 0.05
    assert float(dissimilarity(shift(3.0), replace(in_fixed, fixed_seen=seen))) < 2e-3


class Says(nn.Module):
    """Finds the same displacement whatever it sees."""

    def __init__(self, displacement_vox: Tensor) -> None:
        super().__init__()
        self.displacement_vox = nn.Parameter(displacement_vox)

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        return self.displacement_vox + 0.0 * (moving + fixed)


def test_each_supervision_looks_at_its_own(shifted: Batch) -> None:
    """Displaced by 1 instead of 3 voxels: a distance of 2, a dissimilarity that counts tenfold, and their sum."""
    network = Says(shift(1.0))

    def fit(supervision: str, batch: Batch = shifted) -> float:
        return fit_and_roughness(network, batch, TrainingSettings(supervision=supervision))[0].item()

    unlike = 10.0 * dissimilarity(shift(1.0), shifted).item()
    assert fit("field") == pytest.approx(2.0, rel=1e-3)
    assert fit("similarity") == pytest.approx(unlike)
    assert fit("both") == pytest.approx(2.0 + unlike, rel=1e-3)
    unknown = replace(shifted, displacement_vox=None)
    assert [fit(supervision, unknown) for supervision in ("similarity", "both")] == pytest.approx([unlike, unlike])


def test_descending_the_similarity_finds_the_motion(shifted: Batch) -> None:
    """From 1.5 voxels off; Adam changes the one vector by about 0.1 a step and comes back when it went too far."""
    network = Says(torch.tensor([0.0, 0.0, 1.5]).view(1, 3, 1, 1, 1))
    optimizer = torch.optim.Adam(network.parameters(), lr=0.1)
    for _ in range(20):
        optimizer.zero_grad()
        fit_and_roughness(network, shifted, TrainingSettings(supervision="similarity"))[0].backward()
        optimizer.step()

    assert network.displacement_vox.detach().flatten().tolist() == pytest.approx([0.0, 0.0, 3.0], abs=0.5)


def test_roughness_is_that_of_the_displacement_at_full_size(shifted: Batch) -> None:
    waves = torch.sin(torch.arange(32.0) / 3).expand(1, 3, 32, 32, 32).clone()

    roughness = fit_and_roughness(Says(waves), shifted, TrainingSettings())[1]

    assert roughness.item() == pytest.approx(grad_l2(waves).item())


@pytest.mark.parametrize("build", [MatchingPyramid, StableUNet])
def test_in_bfloat16_a_network_says_nearly_the_same_and_its_loss_is_float32(build, shifted: Batch) -> None:
    """8 bits: the features differ by about a hundredth, what they add up to hardly by more."""
    torch.manual_seed(1)
    network = build()

    exact, rounded = (predicted(network, shifted, precision).displacement_vox for precision in ("fp32", "bf16"))

    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    assert (exact - rounded).norm() < 0.05 * exact.norm()


def test_gradients_in_bfloat16_are_numbers_down_to_the_coarsest_level(shifted: Batch) -> None:
    """The coarsest level of 32³ voxels has 2³, where oneDNN's gradients are not."""
    torch.manual_seed(1)
    network = MatchingPyramid()
    for _ in range(3):
        fit_and_roughness(network, shifted, TrainingSettings(precision="bf16"))[0].backward()

    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_the_target_error_is_the_distance_where_there_is_structure(shifted: Batch) -> None:
    """2 voxels of 3 are missing; where nothing counts the field may be anything."""
    field, weight = shift(1.0), ONES.clone()
    field[..., :8], weight[..., :8] = 50.0, 0.0

    error, still = target_error_vox(Says(field), replace(shifted, weight=weight))

    assert (error, still) == pytest.approx((2.0, 3.0), rel=1e-5)
