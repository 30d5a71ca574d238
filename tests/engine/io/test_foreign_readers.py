"""The exported fields in the hands of plastimatch and elastix's transformix (Debian packages of those names)."""

import shutil
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from numpy.typing import NDArray

from engine.geometry import Geometry
from engine.io.images import write_image
from engine.io.transforms import to_sitk_transform, total_displacement_mm, write_transform
from engine.registration import Registration

TOLERANCE_HU = 0.02
"""±1000 HU with slopes to 250 HU/mm. Both programs place voxels in float32: 3e-5 mm at 400 mm from the origin."""

RIM_VOXELS = 2
"""Near the faces each program has its own rule for what lies outside."""

DEFAULT_HU = -5000.0


@pytest.fixture(params=["aligned", "oblique"])
def folder(
    request: pytest.FixtureRequest, tmp_path: Path, make_registration: Callable[[Geometry], Registration]
) -> Path:
    """`moving.mha`, three exports of a registration, and `expected.npy`, which SimpleITK makes of `transform.h5`."""
    small = request.getfixturevalue(request.param)
    registration = make_registration(Geometry((31, 37, 43), small.spacing_xyz_mm, small.origin_xyz_mm, small.direction))
    fixed = registration.fixed
    moving_grid = Geometry((33, 40, 45), (1.5, 1.7, 2.3), fixed.origin_xyz_mm, fixed.direction)
    z, y, x = np.meshgrid(*(np.arange(n) for n in moving_grid.shape_zyx), indexing="ij")
    moving = (1000 * np.sin(x / 5) * np.cos(y / 7 + 0.3) * np.sin(z / 6 + 1)).astype(np.float32)
    write_image(tmp_path / "moving.mha", moving, moving_grid)
    write_transform(tmp_path / "transform.h5", to_sitk_transform(registration))
    for name in ("dvf.mha", "dvf.nii.gz"):
        write_image(tmp_path / name, total_displacement_mm(registration), fixed)
    transform, image = sitk.ReadTransform(str(tmp_path / "transform.h5")), sitk.ReadImage(str(tmp_path / "moving.mha"))
    warped = sitk.Resample(image, sitk.ReadImage(str(tmp_path / "dvf.mha")), transform, sitk.sitkLinear, DEFAULT_HU)
    np.save(tmp_path / "expected.npy", sitk.GetArrayFromImage(warped))
    return tmp_path


def _run(*command: str | Path) -> None:
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"needs the program {command[0]} (Debian package plastimatch or elastix)")
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]


def _assert_equal_inside(folder: Path, result: str) -> None:
    expected, theirs = np.load(folder / "expected.npy"), sitk.GetArrayFromImage(sitk.ReadImage(str(folder / result)))
    compared = _eroded(expected != DEFAULT_HU)
    assert compared.mean() > 0.4
    np.testing.assert_allclose(theirs[compared], expected[compared], atol=TOLERANCE_HU)


def _eroded(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    from scipy.ndimage import binary_erosion

    return binary_erosion(mask, np.ones((3, 3, 3)), iterations=RIM_VOXELS)


@pytest.mark.parametrize("name", ["dvf.mha", "dvf.nii.gz"])
def test_plastimatch(folder: Path, name: str) -> None:
    _run(
        *("plastimatch", "warp", "--input", folder / "moving.mha", "--xf", folder / name),
        *("--output-img", folder / "result.mha", "--default-value", str(DEFAULT_HU)),
    )

    _assert_equal_inside(folder, "result.mha")


def test_transformix(folder: Path) -> None:
    field = sitk.ReadImage(str(folder / "dvf.mha"))
    parameters = {
        "Transform": "DeformationFieldTransform",
        "NumberOfParameters": 0,
        "InitialTransformParametersFileName": "NoInitialTransform",
        "HowToCombineTransforms": "Compose",
        "DeformationFieldFileName": str(folder / "dvf.mha"),
        "DeformationFieldInterpolationOrder": 1,
        "FixedImageDimension": 3,
        "MovingImageDimension": 3,
        "FixedInternalImagePixelType": "float",
        "MovingInternalImagePixelType": "float",
        "Size": field.GetSize(),
        "Index": (0, 0, 0),
        "Spacing": field.GetSpacing(),
        "Origin": field.GetOrigin(),
        "Direction": np.reshape(field.GetDirection(), (3, 3)).T.ravel().tolist(),
        "UseDirectionCosines": "true",
        "ResampleInterpolator": "FinalBSplineInterpolator",
        "FinalBSplineInterpolationOrder": 1,
        "Resampler": "DefaultResampler",
        "DefaultPixelValue": DEFAULT_HU,
        "ResultImageFormat": "mha",
        "ResultImagePixelType": "float",
    }
    (folder / "parameters.txt").write_text("".join(f"({key} {_elastix(value)})\n" for key, value in parameters.items()))

    _run(
        *("transformix", "-in", folder / "moving.mha", "-tp", folder / "parameters.txt"),
        *("-out", folder, "-threads", "1"),
    )

    _assert_equal_inside(folder, "result.mha")


def _elastix(value: object) -> str:
    if isinstance(value, str):
        return f'"{value}"'
    return " ".join(map(repr, value)) if isinstance(value, Iterable) else repr(value)
