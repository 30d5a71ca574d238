import pytest
import torch
from torch import Tensor

from engine.losses.regularity import bending_energy, fold_penalty, grad_l1, grad_l2


def _along(axis: int, slope: float, component: int, shape: tuple[int, int, int] = (4, 5, 6)) -> Tensor:
    """u with one component that rises along one axis."""
    sizes = [1, 1, 1]
    sizes[axis] = shape[axis]
    displacement = torch.zeros(1, 3, *shape)
    displacement[0, component] = slope * torch.arange(shape[axis], dtype=torch.float32).view(sizes)
    return displacement


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_roughness_is_the_mean_square_of_the_slopes(axis: int) -> None:
    """One of three components has slope 0.6 along one of three axes: 0.36 / 3 / 3."""
    assert grad_l2(_along(axis, 0.6, component=1)).item() == pytest.approx(0.04, rel=1e-5)


def test_roughness_of_a_step() -> None:
    """3 × (1, 1, 4) values; x jumps by 2 once among three differences: mean 4 / 9 over components, x the only axis."""
    step = torch.zeros(1, 3, 1, 1, 4)
    step[0, 2, 0, 0, 2:] = 2.0

    assert grad_l2(step).item() == pytest.approx(4 / 9)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_roughness_is_the_mean_size_of_the_slopes(axis: int) -> None:
    """One of three components has slope −0.6 along one of three axes: 0.6 / 3 / 3."""
    assert grad_l1(_along(axis, -0.6, component=2)).item() == pytest.approx(0.6 / 9, rel=1e-5)


def test_roughness_in_two_dimensions() -> None:
    """Component col rises by 2 along the rows: mean 2 (squared 4) over two components and two axes."""
    field = torch.zeros(1, 2, 3, 4)
    field[0, 1] = 2.0 * torch.arange(3.0).view(3, 1)

    assert grad_l1(field).item() == pytest.approx(0.5)
    assert grad_l2(field).item() == pytest.approx(1.0)


def test_bending_energy_of_a_curve_and_a_twist() -> None:
    """One of three components is y² + 3 x z: second differences 2 along y, 3 across x and z, which count twice."""
    z, _, x = (torch.arange(float(n)) for n in (4, 5, 6))
    field = torch.zeros(1, 3, 4, 5, 6)
    field[0, 1] = (torch.arange(5.0) ** 2).view(1, 5, 1) + 3.0 * z.view(4, 1, 1) * x

    assert bending_energy(field).item() == pytest.approx((2.0**2 + 2 * 3.0**2) / 3)


def test_bending_energy_means_the_same_on_thick_slices() -> None:
    """u_x = 0.01 z² mm: a second derivative of 0.02 per mm in one of three components, on slices of 1 and of 5 mm."""
    for thick in (1.0, 5.0):
        z_mm = thick * torch.arange(9.0)
        field = torch.zeros(1, 3, 9, 4, 4)
        field[0, 2] = (0.01 * z_mm**2).view(9, 1, 1)
        assert bending_energy(field, (thick, 1.0, 1.0)).item() == pytest.approx(0.02**2 / 3, rel=1e-3)


def test_an_even_stretch_bends_nothing() -> None:
    assert bending_energy(_along(0, 0.6, 1) + _along(2, -0.3, 2)).item() == pytest.approx(0.0, abs=1e-10)


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 2, 1), (1, 5, 1)])
def test_bending_energy_of_thin_images(shape: tuple[int, int, int]) -> None:
    field = torch.rand(1, 3, *shape, requires_grad=True)

    bending_energy(field).backward()

    assert torch.isfinite(field.grad).all()


def test_a_shift_is_smooth() -> None:
    assert grad_l2(torch.full((1, 3, 3, 4, 5), 2.5)).item() == 0.0


@pytest.mark.parametrize("displacement", [torch.zeros(1, 3, 3, 4, 5), torch.full((1, 3, 3, 4, 5), 4.0)])
def test_no_penalty_where_nothing_folds(displacement: Tensor) -> None:
    assert fold_penalty(displacement).item() == 0.0


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_penalty_of_a_reflection(axis: int) -> None:
    """Determinant −1 everywhere, 1.3 short of 0.3."""
    assert fold_penalty(_along(axis, -2.0, component=axis)).item() == pytest.approx(1.69, rel=1e-5)


def test_the_penalty_sees_shear_of_two_axes() -> None:
    """u_y = x, u_x = y: det of ((1, 1), (1, 1)) is 0, 0.3 short; either shear alone has determinant 1."""
    y_along_x, x_along_y = _along(2, 1.0, component=1), _along(1, 1.0, component=2)

    assert fold_penalty(y_along_x).item() == 0.0
    assert fold_penalty(y_along_x + x_along_y).item() == pytest.approx(0.09, rel=1e-5)


def test_a_single_slice_cannot_fold() -> None:
    flat = torch.zeros(1, 3, 1, 4, 5, requires_grad=True)

    fold_penalty(flat).backward()

    assert not flat.grad.any()


def test_one_voxel_is_smooth() -> None:
    voxel = torch.ones(1, 3, 1, 1, 1, requires_grad=True)

    for roughness in (grad_l2(voxel), grad_l1(voxel)):
        roughness.backward()
        assert roughness.item() == 0.0
