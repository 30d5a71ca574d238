import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from engine.case import Case
from engine.errors import InputError, OutputError
from engine.io.export import EXPORTERS, export

NAMES = list(EXPORTERS)


@pytest.mark.parametrize("name", NAMES)
def test_every_format_holds_the_current_state(tmp_path: Path, case: Case, name: str) -> None:
    """Contract of a row: SimpleITK reads the file and maps a fixed point to where the registration maps it."""
    path = tmp_path / f"export{EXPORTERS[name].suffix}"

    export(case, name, path)

    transform = _transform(path)
    point = case.fixed.geometry.points([[13.0, 9.0, 7.0]])
    expected = case.current.map_points(point)[0]
    np.testing.assert_allclose(transform.TransformPoint(tuple(point[0])), expected, atol=1e-4, err_msg="mm")
    assert os.listdir(tmp_path) == [path.name]
    assert EXPORTERS[name].description


def _transform(path: Path) -> sitk.Transform:
    if path.suffix == ".h5":
        return sitk.ReadTransform(str(path))
    return sitk.DisplacementFieldTransform(sitk.ReadImage(str(path), sitk.sitkVectorFloat64))


def test_an_earlier_state_is_exported_after_undo(tmp_path: Path, case: Case) -> None:
    export(case.undone(), "mha", tmp_path / "dvf.mha")

    point = case.fixed.geometry.points([[13.0, 9.0, 7.0]])
    expected = (case.states[1].rigid @ [*point[0], 1.0])[:3]
    np.testing.assert_allclose(_transform(tmp_path / "dvf.mha").TransformPoint(tuple(point[0])), expected, atol=1e-4)


def test_unknown_formats_and_suffixes_are_refused(tmp_path: Path, case: Case) -> None:
    with pytest.raises(InputError, match="out of nifti, mha, itk"):
        export(case, "dicom", tmp_path / "dvf.dcm")
    with pytest.raises(InputError, match=r"ends in \.nii\.gz"):
        export(case, "nifti", tmp_path / "dvf.nii")


@pytest.mark.parametrize("name", NAMES)
def test_a_full_disk_keeps_the_old_file(
    tmp_path: Path, larger_case: Case, name: str, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    path = tmp_path / f"export{EXPORTERS[name].suffix}"
    path.write_text("old")

    with pytest.raises(OutputError, match="cannot be written"), small_disk(100_000):
        export(larger_case, name, path)

    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == [path.name]


@pytest.mark.parametrize("name", NAMES)
def test_a_place_that_cannot_be_written(tmp_path: Path, case: Case, name: str) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="cannot be written"):
        export(case, name, tmp_path / "file" / f"export{EXPORTERS[name].suffix}")
