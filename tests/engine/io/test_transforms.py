"""What is written must mean the same to a reader that shares no code: SimpleITK, and the bare equation in numpy."""

import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from engine.case import Case
from engine.errors import InputError, OutputError
from engine.geometry import Geometry
from engine.io.images import to_sitk_image, write_image
from engine.io.transforms import (
    read_transform,
    rigid_matrix,
    to_sitk_transform,
    total_displacement_mm,
    write_transform,
)
from engine.registration import Registration

MakeRegistration = Callable[[Geometry], Registration]

TOLERANCE_HU = 0.01
"""Images span ±1000 HU with slopes to 250 HU/mm; float32 vectors of some 10 mm are good to 2e-6 mm, NIfTI's to 1e-5."""


def _moving(fixed: Geometry) -> tuple[NDArray[np.float32], Geometry]:
    """Waves of ±1000 HU on another grid that is turned against the fixed one and covers most of it."""
    c, s = np.cos(0.1), np.sin(0.1)
    turned = np.asarray(fixed.direction) @ [[1, 0, 0], [0, c, -s], [0, s, c]]
    rows = [tuple(float(value) for value in row) for row in turned]
    grid = Geometry((19, 25, 27), (1.5, 1.7, 2.3), tuple(np.add(fixed.origin_xyz_mm, [-2.0, -1.5, -1.0])), tuple(rows))  # type: ignore[arg-type]
    z, y, x = np.meshgrid(*(np.arange(n) for n in grid.shape_zyx), indexing="ij")
    return (1000 * np.sin(x / 5) * np.cos(y / 7 + 0.3) * np.sin(z / 6 + 1)).astype(np.float32), grid


def _matrix(geometry: Geometry) -> NDArray[np.float64]:
    return np.asarray(geometry.direction) * geometry.spacing_xyz_mm


def _independently_mapped(registration: Registration, index_xyz: NDArray[np.int64]) -> NDArray[np.float64]:
    """T(x) = R(x + u(x)) at voxels, from the definition: x = origin + Σ spacing · direction · index."""
    axes = _matrix(registration.fixed)
    x = np.array(registration.fixed.origin_xyz_mm) + index_xyz @ axes.T
    u_zyx = np.array([registration.displacement_vox[:, k, j, i] for i, j, k in index_xyz], dtype=np.float64)
    moved = x + u_zyx[:, 2:3] * axes[:, 0] + u_zyx[:, 1:2] * axes[:, 1] + u_zyx[:, 0:1] * axes[:, 2]
    return moved @ registration.rigid[:3, :3].T + registration.rigid[:3, 3]


def _interior_voxels(geometry: Geometry) -> NDArray[np.int64]:
    axes = [np.arange(1, n - 1) for n in geometry.size_xyz]
    return np.stack([axis.ravel() for axis in np.meshgrid(*axes, indexing="ij")], axis=1)


@pytest.mark.parametrize("grid", ["aligned", "oblique"])
@pytest.mark.parametrize("name", ["transform.h5", "dvf.mha", "dvf.nii.gz", "dvf.nrrd"])
def test_simpleitk_resamples_as_the_equation_says(
    tmp_path: Path, make_registration: MakeRegistration, request: pytest.FixtureRequest, grid: str, name: str
) -> None:
    registration = make_registration(request.getfixturevalue(grid))
    fixed = registration.fixed
    moving, moving_grid = _moving(fixed)
    if name.endswith(".h5"):
        write_transform(tmp_path / name, to_sitk_transform(registration))
        transform = sitk.ReadTransform(str(tmp_path / name))
    else:
        write_image(tmp_path / name, total_displacement_mm(registration), fixed)
        image = sitk.ReadImage(str(tmp_path / name), sitk.sitkVectorFloat64)
        transform = sitk.DisplacementFieldTransform(image)

    reference = to_sitk_image(np.zeros(fixed.shape_zyx, dtype=np.float32), fixed)
    image = sitk.Resample(to_sitk_image(moving, moving_grid), reference, transform, sitk.sitkLinear, -9999.0)

    index = _interior_voxels(fixed)
    mapped = _independently_mapped(registration, index)
    moving_index = np.linalg.solve(_matrix(moving_grid), (mapped - moving_grid.origin_xyz_mm).T)
    inside = np.all((moving_index >= 1) & (moving_index <= np.array(moving_grid.size_xyz)[:, None] - 2), axis=0)
    expected = map_coordinates(moving.astype(float), moving_index[::-1, inside], order=1)
    warped = sitk.GetArrayFromImage(image)[tuple(index[inside, ::-1].T)]
    assert inside.mean() > 0.4
    np.testing.assert_allclose(warped, expected, atol=TOLERANCE_HU)


@pytest.mark.parametrize("grid", ["aligned", "oblique"])
def test_simpleitk_maps_points_as_the_registration_does(
    tmp_path: Path, make_registration: MakeRegistration, request: pytest.FixtureRequest, grid: str
) -> None:
    """Inside, in the half voxel around the grid, and beyond it."""
    registration = make_registration(request.getfixturevalue(grid))
    index = np.random.default_rng(4).uniform(-3, np.array(registration.fixed.size_xyz) + 2, (300, 3))
    points = registration.fixed.points(index)
    write_transform(tmp_path / "transform.h5", to_sitk_transform(registration))

    transform = sitk.ReadTransform(str(tmp_path / "transform.h5"))

    theirs = np.array([transform.TransformPoint(tuple(point)) for point in points])
    np.testing.assert_allclose(registration.map_points(points), theirs, atol=1e-5, err_msg="mm")


def test_a_voxel_of_motion_is_its_spacing_in_the_file(tmp_path: Path) -> None:
    """By hand: grid x runs along patient y; one voxel of 2 mm along grid x, then a shift of the rigid part."""
    geometry = Geometry(
        (3, 4, 5), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0), ((0.0, -1.0, 0.0), (1.0, 0.0, 0.0), (0.0, 0.0, 1.0))
    )
    displacement = np.zeros((3, 3, 4, 5), dtype=np.float32)
    displacement[2] = 1
    rigid = np.eye(4)
    rigid[:3, 3] = [0.5, 0.25, -7.0]
    write_image(tmp_path / "dvf.mha", total_displacement_mm(Registration(geometry, rigid, displacement)), geometry)

    vector = sitk.ReadImage(str(tmp_path / "dvf.mha"))[2, 1, 1]

    assert vector == (0.5, 2.25, -7.0)


@pytest.mark.parametrize("name", ["transform.h5", "dvf.mha", "dvf.nii.gz"])
def test_what_was_written_is_read(tmp_path: Path, case: Case, name: str) -> None:
    registration = case.current
    if name.endswith(".h5"):
        write_transform(tmp_path / name, to_sitk_transform(registration))
    else:
        write_image(tmp_path / name, total_displacement_mm(registration), registration.fixed)

    transform = read_transform(tmp_path / name)

    point = registration.fixed.points([[13.0, 9.0, 7.0]])
    np.testing.assert_allclose(transform.TransformPoint(tuple(point[0])), registration.map_points(point)[0], atol=1e-4)


def test_the_rigid_part_of_a_transform_file(tmp_path: Path) -> None:
    euler = sitk.Euler3DTransform((5.0, -6.0, 7.0), 0.1, -0.2, 0.3, (1.0, 2.0, 3.0))
    sitk.WriteTransform(euler, str(tmp_path / "rigid.tfm"))

    matrix = rigid_matrix(read_transform(tmp_path / "rigid.tfm"))

    expected = euler.TransformPoint((11.0, -12.0, 13.0))
    np.testing.assert_allclose(matrix @ [11.0, -12.0, 13.0, 1.0], [*expected, 1.0], atol=1e-9)


def test_only_a_rigid_transform_aligns(case: Case) -> None:
    scaling = sitk.AffineTransform(3)
    scaling.Scale(1.1)

    with pytest.raises(InputError, match="scales"):
        rigid_matrix(scaling)
    with pytest.raises(InputError, match="deforms"):
        rigid_matrix(to_sitk_transform(case.current))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.h5", b"no transform", "not a transform that ITK can read"),
        ("t.tfm", b"", "not a transform that ITK can read"),
        ("t.mat", b"1 0 0 0\n0 1 0 0\n", "not a transform that ITK can read"),
        ("t.mha", b"no image", "readable displacement"),
        ("t.nii.gz", b"no image", "not a readable"),
        ("t.pdf", b"", "Expected a transform"),
        ("absent.h5", None, "there is none"),
    ],
)
def test_what_is_no_transform_is_refused(
    tmp_path: Path, name: str, content: bytes | None, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)

    with pytest.raises(InputError, match=message) as caught:
        read_transform(tmp_path / name)

    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_an_image_of_one_component_is_no_field(tmp_path: Path, aligned: Geometry) -> None:
    write_image(tmp_path / "image.mha", np.zeros(aligned.shape_zyx, dtype=np.float32), aligned)

    with pytest.raises(InputError, match="three components"):
        read_transform(tmp_path / "image.mha")


@pytest.mark.parametrize("name", ["field.mha", "field.nii.gz"])
def test_a_field_with_holes_is_refused(tmp_path: Path, aligned: Geometry, name: str) -> None:
    vectors = np.zeros((*aligned.shape_zyx, 3), dtype=np.float32)
    vectors[3, 4, 5, 1] = np.nan
    write_image(tmp_path / name, vectors, aligned)

    with pytest.raises(InputError, match="not numbers"):
        read_transform(tmp_path / name)


def test_a_full_disk_leaves_no_transform(
    tmp_path: Path,
    larger_case: Case,
    small_disk: Callable[[int], AbstractContextManager[None]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    transform = to_sitk_transform(larger_case.current)

    with pytest.raises(OutputError, match="cannot be written"), small_disk(100_000):
        write_transform(tmp_path / "transform.h5", transform)

    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")
