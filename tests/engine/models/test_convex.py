from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.models.convex import (
    ConvexRegistration,
    cost_slopes,
    coupled_convex,
    coupled_quadratic,
    cube,
    matching_cost,
    reversed_cost,
)
from engine.spatial.jacobian import jacobian_determinant
from engine.spatial.resample import gaussian
from engine.spatial.warp import warp

SHAPE = (32, 48, 64)
REGISTRATION = ConvexRegistration()


pytestmark = pytest.mark.usefixtures("one_thread")


def _texture(seed: int = 1, shape: tuple[int, int, int] = SHAPE) -> Tensor:
    """Blobs of a few voxels, 0.1 to 0.9."""
    noise = torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(seed))
    blobs = gaussian(noise, [2.0] * 3)
    return 0.1 + 0.8 * (blobs - blobs.min()) / (blobs.max() - blobs.min())


def _shifted_pair(shift_zyx: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
    """Moving and fixed image with moving(x + shift) = fixed(x), cut from one larger texture."""
    room = [abs(step) for step in shift_zyx]
    large = _texture(shape=tuple(n + r for n, r in zip(SHAPE, room, strict=True)))

    def cut(starts: list[int]) -> Tensor:
        return large[(..., *(slice(start, start + n) for start, n in zip(starts, SHAPE, strict=True)))]

    return cut([max(0, -step) for step in shift_zyx]), cut([max(0, step) for step in shift_zyx])


def _inside(displacement: Tensor, margin: int) -> Tensor:
    z, y, x = (slice(margin, n - margin) for n in SHAPE)
    return displacement[0, :, z, y, x].flatten(1)


def _error_vox(displacement: Tensor, shift_zyx: tuple[int, int, int], margin: int = 8) -> float:
    """Mean distance from the true shift, away from the faces, which show what the other image does not."""
    return (_inside(displacement, margin) - torch.tensor(shift_zyx).view(3, 1)).norm(dim=0).mean().item()


@pytest.mark.parametrize("shift_zyx", [(3, -2, 1), (0, 5, -4)])
def test_a_translation_is_found(shift_zyx: tuple[int, int, int]) -> None:
    assert _error_vox(REGISTRATION(*_shifted_pair(shift_zyx)), shift_zyx) < 0.5


def test_a_large_motion_is_found() -> None:
    """15 voxels are 40 mm at the working spacing of 2.7 mm; beyond x = 48 the moving image shows nothing of it."""
    found = REGISTRATION(*_shifted_pair((0, 0, 15)))

    z, y, x = slice(8, 24), slice(8, 40), slice(8, 40)
    assert (found[0, 2, z, y, x] - 15.0).abs().mean().item() < 0.5
    assert found[0, :2, z, y, x].abs().mean().item() < 0.5


def test_a_translation_between_unlike_contrasts_is_found() -> None:
    """Bright becomes dark, and not in a straight line."""
    shift_zyx = (2, -3, 4)
    moving, fixed = _shifted_pair(shift_zyx)

    assert _error_vox(REGISTRATION(1.0 - 0.9 * moving**2, fixed), shift_zyx) < 0.5


def test_equal_images_need_no_motion() -> None:
    image = _texture()

    assert REGISTRATION(image, image).abs().max().item() < 0.01


def test_images_without_structure_or_without_a_voxel_seen_give_no_motion() -> None:
    flat, unseen = torch.full((1, 1, *SHAPE), 0.5), torch.zeros(1, 1, *SHAPE)

    for moving, fixed in ((flat, flat), (unseen, _texture()), (_texture(), unseen)):
        assert REGISTRATION(moving, fixed).abs().max().item() < 0.01


def test_a_smooth_deformation_is_found_without_folds_and_the_same_way_twice() -> None:
    """Waves of 3 voxels: fixed(x) = moving(x + u(x))."""
    z, y, x = torch.meshgrid(*(torch.linspace(0, 1, n) for n in SHAPE), indexing="ij")
    true = 3.0 * torch.stack([torch.sin(4 * x + y), torch.cos(3 * z - 3 * y), torch.sin(3 * y + 2 * x)]).unsqueeze(0)
    moving = _texture()
    fixed = warp(moving, true)

    found = REGISTRATION(moving, fixed)

    error, before = (_inside(field, 8).norm(dim=0).mean() for field in (found - true, true))
    assert error < 0.25 * before
    assert jacobian_determinant(found[0].numpy()).min() > 0.0
    assert torch.equal(REGISTRATION(moving, fixed), found)


def test_what_was_not_seen_does_not_hold_the_rest_back() -> None:
    """A third of both images is cut off at one place, as by a scanner; the texture moves across that edge."""
    shift_zyx = (3, 2, 0)
    pair = [image.clone() for image in _shifted_pair(shift_zyx)]
    for image in pair:
        image[..., :20] = 0.0

    found = REGISTRATION(*pair)

    assert (found[0, 0, 8:24, 8:40, 24:56] - 3.0).abs().mean().item() < 0.5
    assert (found[0, 1, 8:24, 8:40, 24:56] - 2.0).abs().mean().item() < 0.5


def test_pairs_of_a_batch_do_not_touch_each_other() -> None:
    first, second = _shifted_pair((2, 0, 1)), _shifted_pair((0, -2, 2))

    together = REGISTRATION(torch.cat([first[0], second[0]]), torch.cat([first[1], second[1]]))

    assert torch.equal(together, torch.cat([REGISTRATION(*first), REGISTRATION(*second)]))


def _cells(seed: int, shape: tuple[int, int, int] = (4, 5, 6)) -> Tensor:
    """Two features and the share that was seen, which is zero in one corner and a half in another."""
    features = torch.rand((1, 2, *shape), generator=torch.Generator().manual_seed(seed))
    seen = torch.ones(1, 1, *shape)
    seen[..., :2, :2, :2], seen[..., -1, -1, -1] = 0.0, 0.5
    return torch.cat([features * seen, seen], dim=1)


def test_the_cost_counts_what_was_seen_one_by_one() -> None:
    moving, fixed = _cells(1), _cells(2)
    values, wanted = moving[0].double().numpy(), fixed[0].double().numpy()

    cost = matching_cost(moving, fixed, cube(1))

    assert cost.shape == (27, 4, 5, 6)
    for k, offset in enumerate(np.ndindex(3, 3, 3)):
        for here in np.ndindex(4, 5, 6):
            there = tuple(np.add(here, offset) - 1)
            inside = all(0 <= c < n for c, n in zip(there, (4, 5, 6), strict=True))
            shares = wanted[(2, *here)], values[(2, *there)] if inside else 0.0
            expected = 0.1
            if min(shares) > 0:
                apart = wanted[(slice(2), *here)] / shares[0] - values[(slice(2), *there)] / shares[1]
                expected += shares[0] * shares[1] * ((apart**2).mean() - 0.1)
            assert cost[(k, *here)].item() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("radius", [1, 3])
def test_the_reversed_cost_is_that_of_the_images_exchanged(radius: int) -> None:
    moving, fixed = _cells(1, (2, 5, 6)), _cells(2, (2, 5, 6))

    found = reversed_cost(matching_cost(moving, fixed, cube(radius)), radius)

    torch.testing.assert_close(found, matching_cost(fixed, moving, cube(radius)), atol=1e-6, rtol=0)


def test_the_cheapest_displacement_is_taken_and_no_motion_where_all_cost_the_same() -> None:
    """Offset number 5 of ±1 is (−1, 0, +1)."""
    cost = torch.full((27, 6, 6, 6), 0.1)

    assert not coupled_convex(cost, 1).any()
    cost[5] = 0.0
    torch.testing.assert_close(coupled_convex(cost, 1)[0, :, 3, 3, 3], torch.tensor([-1.0, 0.0, 1.0]))


def test_slope_and_curvature_are_those_of_the_cost() -> None:
    """Features that are straight lines: the cost at a displacement d is c + slope d + curvature d² / 2, exactly."""
    z, y, x = torch.meshgrid(*(torch.arange(6.0) for _ in range(3)), indexing="ij")
    lines = torch.stack([0.3 * z - 0.1 * y, 0.2 * y + 0.4 * x])
    moving, fixed = (torch.cat([features, torch.ones(1, 6, 6, 6)])[None] for features in (lines, lines + 0.25))

    slope, curvature = cost_slopes(moving, fixed)

    costs = matching_cost(moving, fixed, cube(1)).view(3, 3, 3, 6, 6, 6)[..., 3, 3, 3]
    for axis, (back, on) in enumerate(((costs[0, 1, 1], costs[2, 1, 1]), (costs[1, 0, 1], costs[1, 2, 1]))):
        torch.testing.assert_close(slope[axis, 3, 3, 3], 0.5 * (on - back))
        torch.testing.assert_close(curvature[axis, 3, 3, 3], on + back - 2 * costs[1, 1, 1])
    assert not slope[0, 0].any()


def test_fractions_of_a_cell_come_from_slope_and_curvature() -> None:
    """slope d + curvature d² / 2 is least at 0.3, −0.4 and 0."""
    slope = torch.tensor([-0.15, 0.2, 0.0]).view(3, 1, 1, 1).expand(3, 6, 6, 6)

    found = coupled_quadratic(slope, torch.full_like(slope, 0.5))

    torch.testing.assert_close(found[0, :, 3, 3, 3], torch.tensor([0.3, -0.4, 0.0]), atol=0.02, rtol=0)
