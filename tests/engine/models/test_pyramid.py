from __future__ import annotations

from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.models.convex import ConvexRegistration
from engine.models.pyramid import MatchingPyramid, correlation, expected_offset
from engine.spatial.resample import gaussian, upsampled
from engine.spatial.warp import voxel_grid

OFFSETS = list(product((-1, 0, 1), repeat=3))


def _features(*shape: int, seed: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_the_gradient_of_the_correlation_is_right() -> None:
    moving, fixed = (_features(2, 2, 2, 1, 3, seed=seed, dtype=torch.float64).requires_grad_() for seed in (1, 2))

    assert torch.autograd.gradcheck(lambda m, f: correlation(m, f, 1), [moving, fixed], fast_mode=True)


def test_the_correlation_is_the_cosine_with_each_neighbor() -> None:
    """Channels in the order of the offsets z, y, x, the last fastest; nothing outside matches."""
    moving, fixed = _features(1, 5, 3, 4, 6, seed=1), _features(1, 5, 3, 4, 6, seed=2)

    matches = correlation(moving, fixed, 1)

    assert matches.shape == (1, 27, 3, 4, 6)
    for channel, (dz, dy, dx) in enumerate(OFFSETS):
        neighbor = moving[0, :, 1 + dz, 2 + dy, 3 + dx]
        expected = torch.dot(neighbor, fixed[0, :, 1, 2, 3]) / (neighbor.norm() * fixed[0, :, 1, 2, 3].norm())
        assert matches[0, channel, 1, 2, 3].item() == pytest.approx(expected.item(), abs=1e-5)
    below = [channel for channel, (dz, _, _) in enumerate(OFFSETS) if dz == 1]
    assert not matches[0, below, 2].any()


@pytest.mark.parametrize("offset", [(0, 0, 0), (1, 0, -1), (-1, 1, 1), (0, -1, 0)])
def test_features_shifted_by_an_offset_match_there(offset: tuple[int, int, int]) -> None:
    """fixed(x) = moving(x + offset): the correlation is 1 there, and the expected offset is that one.

    Cosines of 40 random channels stay below 0.8; with sharpness 60 the other 26 weigh less than 26 · exp(−12).
    """
    moving = _features(1, 40, 5, 6, 7)
    fixed = torch.roll(moving, [-step for step in offset], dims=(2, 3, 4))
    inner = (..., slice(1, -1), slice(1, -1), slice(1, -1))

    matches = correlation(moving, fixed, 1)
    found = expected_offset(matches, torch.tensor(60.0), 1)[inner]

    torch.testing.assert_close(matches[:, OFFSETS.index(offset)][inner], torch.ones(1, 3, 4, 5), atol=1e-5, rtol=0)
    expected = torch.tensor(offset, dtype=torch.float32).view(1, 3, 1, 1, 1).expand_as(found)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(("channel", "offset"), [(0, (-2, -2, -2)), (62, (0, 0, 0)), (63, (0, 0, 1)), (119, (2, 1, 2))])
def test_the_expected_offset_of_one_sure_match(channel: int, offset: tuple[int, int, int]) -> None:
    """Number 119 of the 125 offsets is 4 · 25 + 3 · 5 + 4: the offset (2, 1, 2)."""
    matches = torch.zeros(1, 125, 1, 1, 2)
    matches[:, channel] = 1.0

    found = expected_offset(matches, torch.tensor(50.0), 2)

    assert found[0, :, 0, 0, 1].tolist() == pytest.approx(offset, abs=1e-6)


def test_no_match_at_all_means_no_offset() -> None:
    assert expected_offset(torch.zeros(1, 27, 2, 2, 2), torch.tensor(10.0), 1).abs().max() < 1e-6


@pytest.mark.parametrize(
    ("network", "levels"),
    [
        (MatchingPyramid(), ((27, 16, 32), (125, 32, 32), (125, 32, 32), (125, 32, 0))),
        (MatchingPyramid((16, 32), (1, 2), guided=True), ((27, 16, 32), (125, 32, 0))),
    ],
)
def test_the_number_of_parameters(network: MatchingPyramid, levels) -> None:
    """A level's offsets, channels and context from the level below; three convolutions 32 wide and one of 3.

    The encoder: i → o and o → o. An estimator reads all of that, guess and displacement (6). Two scalars a level.
    """
    channels = [features for _, features, _ in levels]
    encoder = sum((27 * i + 1) * o + (27 * o + 1) * o for i, o in zip([1, *channels], channels, strict=False))
    estimators = sum(
        (27 * (offsets + features + 6 + context) + 1) * 32 + 2 * (27 * 32 + 1) * 32 + (27 * 32 + 1) * 3
        for offsets, features, context in levels
    )

    assert sum(parameter.numel() for parameter in network.parameters()) == encoder + estimators + 2 * len(levels)


def test_the_displacement_has_the_size_of_the_images_and_every_level_half_the_next() -> None:
    torch.manual_seed(0)
    network = MatchingPyramid()
    moving, fixed = _features(2, 1, 32, 48, 32, seed=1), _features(2, 1, 32, 48, 32, seed=2)

    with torch.no_grad():
        levels, displacement = network.levels(moving, fixed), network(moving, fixed)

    assert [tuple(level.shape) for level in levels] == [(2, 3, n, 3 * n // 2, n) for n in (2, 4, 8, 16)]
    torch.testing.assert_close(displacement, upsampled(gaussian(levels[-1], [1.0, 1.0, 1.0])))


def test_each_pair_of_a_batch_is_registered_by_itself() -> None:
    """The convolutions of one pair and of two take other paths in torch; displacements reach several voxels."""
    torch.manual_seed(0)
    network = MatchingPyramid().eval()
    moving, fixed = _features(2, 1, 32, 32, 32, seed=1), _features(2, 1, 32, 32, 32, seed=2)

    with torch.no_grad():
        together, alone = network(moving, fixed), network(moving[1:], fixed[1:])

    torch.testing.assert_close(together[1:], alone, atol=1e-3, rtol=0)


def test_a_fresh_network_already_matches_shifted_images() -> None:
    """Texture moved by 8 voxels, one voxel of the level at one eighth: what the matching finds points that way.

    Weights are random and the estimators nearly zero, so the median need only be nearer to 8 than to 0.
    """
    torch.manual_seed(0)
    network = MatchingPyramid().eval()
    texture = F.interpolate(_features(1, 1, 14, 14, 16), scale_factor=4.0, mode="trilinear")
    moving, fixed = texture[..., :48, :48, :48], texture[..., :48, :48, 8:56]

    with torch.no_grad():
        displacement = network(moving, fixed)[..., 16:-16, 16:-16, 16:-16]

    shift = displacement.flatten(2).median(dim=2).values[0]
    assert 4 < shift[2] < 12
    assert shift[:2].abs().max() < 2


def test_upsampling_doubles_size_and_motion_and_keeps_places() -> None:
    """Cell centers: voxel i of the fine grid lies at (i − 0.5) / 2 of the coarse one; linear in between."""
    coarse = torch.zeros(1, 3, 3, 4, 5)
    coarse[0, 1] = 0.25 * voxel_grid((3, 4, 5), coarse)[0, 2] + 1.0

    fine = upsampled(coarse)

    assert fine.shape == (1, 3, 6, 8, 10)
    place = (voxel_grid((6, 8, 10), coarse)[0, 2] - 0.5) / 2
    torch.testing.assert_close(fine[0, 1, ..., 1:-1], (2 * (0.25 * place + 1.0))[..., 1:-1], atol=1e-5, rtol=0)


def test_a_guided_network_begins_as_the_convex_optimisation_that_guides_it() -> None:
    """Estimators nearly zero and no share of the matches: what it adds at first is less than a tenth of a voxel."""
    torch.manual_seed(0)
    network = MatchingPyramid((16, 32), (1, 2), guided=True).eval()
    texture = F.interpolate(_features(1, 1, 14, 14, 16), scale_factor=4.0, mode="trilinear")
    moving, fixed = texture[..., :48, :48, :48], texture[..., :48, :48, 4:52]

    with torch.no_grad():
        guess = network.first_guess(moving, fixed)
        displacement, again = network(moving, fixed), network(moving, fixed, guess)

    torch.testing.assert_close(guess, ConvexRegistration()(moving, fixed))
    torch.testing.assert_close(displacement, guess, atol=0.1, rtol=0)
    torch.testing.assert_close(again, displacement)
    assert guess[0, 2, 16:-16, 16:-16, 16:-16].median().item() == pytest.approx(4.0, abs=0.5)


def test_heads_and_offsets_keep_their_digits_under_autocast() -> None:
    """A displacement in bfloat16 would be a multiple of 1/64 voxel beyond 2 voxels."""
    torch.manual_seed(0)
    network = MatchingPyramid(channels=(8, 16), radii=(1, 1), width=8)
    seen: list[torch.dtype] = []
    for estimator in network.estimators:
        estimator.last.register_forward_hook(lambda layer, inputs, output: seen.extend([inputs[0].dtype, output.dtype]))
    with torch.autocast("cpu", torch.bfloat16):
        matches = torch.rand(1, 27, 8, 8, 8)
        offset = expected_offset(matches, torch.tensor(10.0), 1)
        network(*torch.rand(2, 1, 1, 16, 16, 16))

    assert seen == [torch.float32] * 4
    assert torch.equal(offset, expected_offset(matches, torch.tensor(10.0), 1))
