from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.spatial import warp as warp_module
from engine.spatial.jacobian import jacobian_determinant
from engine.spatial.warp import compose, exponential, mapped_indices, sample, voxel_grid, warp

SHAPE = (7, 9, 11)


def _random(*shape: int, seed: int = 5) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _constant(z: float, y: float, x: float) -> Tensor:
    return torch.tensor([z, y, x], dtype=torch.float32).view(1, 3, 1, 1, 1).expand(1, 3, *SHAPE).clone()


def test_the_voxel_grid_holds_indices_z_y_x() -> None:
    grid = voxel_grid((2, 3, 4), torch.zeros(()))

    assert grid.shape == (1, 3, 2, 3, 4)
    assert grid[0, :, 1, 2, 3].tolist() == [1, 2, 3]
    assert grid[0, :, 1, 0, 2].tolist() == [1, 0, 2]


def test_a_warp_by_an_integer_shift_is_a_slice_of_the_image() -> None:
    """Float32 indices are good to 1e-6 voxel, neighboring values differ by about 3."""
    image = _random(1, 2, *SHAPE)

    warped = warp(image, _constant(1, -2, 3))

    torch.testing.assert_close(warped[:, :, :-1, 2:, :-3], image[:, :, 1:, :-2, 3:], atol=2e-5, rtol=0)


def test_edge_values_continue_outside() -> None:
    image = _random(1, 1, *SHAPE)

    warped = warp(image, _constant(0, 0, 100))

    torch.testing.assert_close(warped, image[..., -1:].expand_as(image), atol=2e-5, rtol=0)


def test_outside_is_zero_where_zeros_are_asked_for() -> None:
    outside = torch.full((1, 3, 1, 1, 1), -1.5)

    assert sample(torch.ones(1, 1, 4, 5, 6), outside, padding="zeros").item() == 0.0


def test_values_between_voxels_are_linear() -> None:
    """Between 10 and 30 along x, a quarter of the way: 15; then half of the way to 40 along z: 27.5."""
    image = torch.zeros(1, 1, 2, 2, 2)
    image[0, 0, 0, :, 0], image[0, 0, 0, :, 1], image[0, 0, 1] = 10, 30, 40

    value = sample(image, torch.tensor([0.5, 0.7, 0.25]).view(1, 3, 1, 1, 1))

    assert value.item() == pytest.approx(27.5, abs=1e-4)


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize("shape", [(8, 5, 7), (5, 8, 7), (5, 7, 8), (5, 7, 9)])
def test_slabs_for_two_threads_change_nothing(shape: tuple[int, int, int]) -> None:
    """An even axis is split in two; where every axis is odd, nothing is."""
    image, index = _random(1, 2, 6, 9, 4), 3 + 3 * _random(1, 3, *shape)
    index = index.requires_grad_()

    split = sample(image, index)
    (split_gradient,) = torch.autograd.grad(split.square().sum(), index)
    torch.set_num_threads(1)
    whole = sample(image, index)
    (whole_gradient,) = torch.autograd.grad(whole.square().sum(), index)

    torch.testing.assert_close(split, whole, atol=1e-6, rtol=0)
    torch.testing.assert_close(split_gradient, whole_gradient, atol=1e-5, rtol=0)


@pytest.mark.usefixtures("two_threads")
def test_the_image_has_its_gradient_with_two_threads() -> None:
    """The sum of all samples at voxel centers has gradient 1 everywhere."""
    image = _random(1, 1, 4, 6, 8).requires_grad_()

    sample(image, voxel_grid((4, 6, 8), image)).sum().backward()

    torch.testing.assert_close(image.grad, torch.ones_like(image), atol=1e-5, rtol=0)


def test_translations_add() -> None:
    composed = compose(_constant(0.5, -1.25, 2.0), _constant(1.5, 0.75, -3.0))

    torch.testing.assert_close(composed, _constant(2.0, -0.5, -1.0), atol=1e-6, rtol=0)


def test_composition_with_zero_changes_nothing() -> None:
    displacement, zero = _random(1, 3, *SHAPE), torch.zeros(1, 3, *SHAPE)

    torch.testing.assert_close(compose(displacement, zero), displacement, atol=1e-5, rtol=0)
    torch.testing.assert_close(compose(zero, displacement), displacement, atol=1e-6, rtol=0)


def test_the_inner_displacement_comes_first() -> None:
    """Shift by 1 along x then stretch by 0.5 x: 1 + 0.5 (x + 1); the other order gives 0.5 x + 1."""
    x = torch.arange(SHAPE[2], dtype=torch.float32).expand(SHAPE)
    shift, stretch = _constant(0, 0, 1), _constant(0, 0, 0)
    stretch[0, 2] = 0.5 * x

    shifted_first, stretched_first = compose(stretch, shift), compose(shift, stretch)

    torch.testing.assert_close(shifted_first[0, 2, ..., :-1], (1 + 0.5 * (x + 1))[..., :-1], atol=1e-5, rtol=0)
    torch.testing.assert_close(stretched_first[0, 2], 0.5 * x + 1, atol=1e-5, rtol=0)


def test_a_rough_and_a_smooth_displacement_without_folds_compose_without_folds() -> None:
    """Determinants multiply, but for what interpolation mixes of neighboring voxels."""
    shape = (20, 22, 24)
    z, y, x = voxel_grid(shape, torch.zeros(()))[0]
    rough = 0.1 * _random(1, 3, *shape)
    smooth = 2.0 * torch.stack([torch.sin(x / 6), torch.sin((z + y) / 7), torch.cos(y / 6)]).unsqueeze(0)
    assert min(jacobian_determinant(u[0].numpy()).min() for u in (rough, smooth)) > 0.2

    inner = jacobian_determinant(compose(rough, smooth)[0].numpy())[3:-3, 3:-3, 3:-3]

    assert inner.min() > 0


def test_the_exponential_of_a_constant_velocity_is_that_shift() -> None:
    torch.testing.assert_close(exponential(_constant(0.7, -2.0, 3.1)), _constant(0.7, -2.0, 3.1), atol=1e-5, rtol=0)


def test_the_exponential_of_a_contraction_is_a_power() -> None:
    """v = a (y − c): 64 steps of 1 + a/64 each, and linear interpolation of a linear field is exact."""
    rate = -0.6
    from_center = (torch.arange(SHAPE[1]) - 4.0).view(1, -1, 1).expand(SHAPE)
    velocity = _constant(0, 0, 0)
    velocity[0, 1] = rate * from_center

    displacement = exponential(velocity, steps=6)

    expected = ((1 + rate / 64) ** 64 - 1) * from_center
    torch.testing.assert_close(displacement[0, 1], expected, atol=2e-5, rtol=0)
    assert not displacement[0, [0, 2]].any()


def test_an_index_map_acts_on_x_y_z() -> None:
    """x' = 2 x + 10, y' = x − z, z' = y + 0.5 at (x, y, z) = (3, 2, 1): (16, 2, 2.5), returned as z, y, x."""
    matrix = np.array([[2.0, 0, 0, 10], [1, 0, -1, 0], [0, 1, 0, 0.5], [0, 0, 0, 1]])

    mapped = mapped_indices(torch.tensor([1.0, 2.0, 3.0]).view(1, 3, 1, 1, 1), matrix)

    assert mapped.flatten().tolist() == [2.5, 2.0, 16.0]


@pytest.mark.parametrize("shape", [(6, 9), (7, 9)])
def test_a_warp_in_two_dimensions(shape: tuple[int, int], two_threads: None) -> None:
    """Row +2, col −1: out[r, c] = image[r + 2, c − 1]; edge values or zeros come in from outside."""
    image = _random(1, 1, *shape)
    displacement = torch.tensor([2.0, -1.0]).view(1, 2, 1, 1).expand(1, 2, *shape)

    edge, zeros = (warp(image, displacement, padding=padding)[0, 0] for padding in ("border", "zeros"))

    torch.testing.assert_close(edge[:-2, 1:], image[0, 0, 2:, :-1], rtol=0, atol=1e-5)
    torch.testing.assert_close(edge[-1, 1:], image[0, 0, -1, :-1], rtol=0, atol=1e-5)
    assert not zeros[-2:].any()
    assert not zeros[:, 0].any()


@pytest.mark.parametrize("padding", ["border", "zeros"])
def test_the_repeatable_gradient_is_that_of_grid_sample(padding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Places up to two voxels beyond the faces; two images at once."""
    wanted = _gradients(padding)
    monkeypatch.setattr(warp_module, "ANY_ORDER_ON", {"cpu"})

    for found, expected in zip(_gradients(padding), wanted, strict=True):
        torch.testing.assert_close(found, expected, atol=2e-5, rtol=1e-5)


def test_places_that_are_not_numbers_spoil_the_gradient_of_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warp_module, "ANY_ORDER_ON", {"cpu"})
    image, places = _random(1, 2, *SHAPE).requires_grad_(), torch.full((1, 3, 1, 1, 3), 2.0)
    for axis in range(3):
        places[0, axis, 0, 0, axis] = float("nan")

    sample(image, places).sum().backward()

    assert image.grad is not None
    assert image.grad.shape == image.shape


def _gradients(padding: str) -> tuple[Tensor, ...]:
    image = _random(2, 3, *SHAPE).requires_grad_()
    spread = torch.rand(2, 3, 6, 5, 8, generator=torch.Generator().manual_seed(1))
    places = ((torch.tensor(SHAPE) + 3.0).view(3, 1, 1, 1) * spread - 2.0).requires_grad_()
    values = sample(image, places, padding=padding)
    return values, *torch.autograd.grad((values * _random(*values.shape, seed=2)).sum(), (image, places))


def test_the_repeatable_gradient_does_not_depend_on_the_order_of_places(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand places in 60 voxels: floats added in another order have another sum."""
    image, places = _random(1, 2, 3, 4, 5), torch.rand(1, 3, 1, 1, 1000) * 3.0
    weights, order = _random(1, 2, 1, 1, 1000, seed=8), torch.randperm(1000, generator=torch.Generator().manual_seed(3))

    def gradient(index: Tensor) -> Tensor:
        leaf = image.clone().requires_grad_()
        (sample(leaf, places[..., index]) * weights[..., index]).sum().backward()
        assert leaf.grad is not None
        return leaf.grad

    straight = torch.arange(1000)
    assert not torch.equal(gradient(straight), gradient(order))

    monkeypatch.setattr(warp_module, "ANY_ORDER_ON", {"cpu"})
    assert torch.equal(gradient(straight), gradient(order))
