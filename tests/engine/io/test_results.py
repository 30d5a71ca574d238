import json
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from engine.case import Case
from engine.errors import OutputError
from engine.io.case_folder import open_case
from engine.io.results import write_results

FILES = {"transform.h5", "dvf.nii.gz", "dvf.mha", "warped.nii.gz", "difference.nii.gz", "metrics.json", "case"}
INFO = {"regard": "0.1.0", "device": "cpu", "seed": 0}


def _warped(case: Case) -> np.ndarray:
    warped = np.random.default_rng(6).normal(0, 400, case.fixed.hu.shape).astype(np.float32)
    warped[-2:] = -2048
    return warped


def _values(path: Path) -> np.ndarray:
    return sitk.GetArrayFromImage(sitk.ReadImage(str(path)))


def test_the_folder_holds_all_that_was_promised(tmp_path: Path, case: Case) -> None:
    write_results(case, tmp_path / "out", INFO, _warped(case))

    assert set(os.listdir(tmp_path / "out")) == FILES
    assert os.listdir(tmp_path) == ["out"]
    assert open_case(tmp_path / "out" / "case").id == case.id


def test_images_are_good_to_half_a_hu(tmp_path: Path, case: Case) -> None:
    warped = _warped(case)
    write_results(case, tmp_path / "out", INFO, warped)

    np.testing.assert_allclose(_values(tmp_path / "out" / "warped.nii.gz"), warped, atol=0.5)
    compared = case.fixed.valid & (warped != -2048)
    expected = np.where(compared, case.fixed.hu - warped, 0)
    difference = _values(tmp_path / "out" / "difference.nii.gz")
    np.testing.assert_allclose(difference, expected, atol=0.5)
    assert not difference[~compared].any()


def test_transform_and_fields_agree(tmp_path: Path, case: Case) -> None:
    write_results(case, tmp_path / "out", INFO, _warped(case))

    transform = sitk.ReadTransform(str(tmp_path / "out" / "transform.h5"))
    for name in ("dvf.mha", "dvf.nii.gz"):
        field = sitk.ReadImage(str(tmp_path / "out" / name))
        point = field.TransformIndexToPhysicalPoint((13, 9, 7))
        mapped = np.add(point, field[13, 9, 7])
        np.testing.assert_allclose(mapped, transform.TransformPoint(point), atol=1e-4, err_msg="mm")


def test_metrics_have_the_keys_of_the_contract(tmp_path: Path, case: Case) -> None:
    write_results(case, tmp_path / "out", INFO, _warped(case))

    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())

    assert list(metrics) == ["regard", "device", "seed", "fixed", "moving", "stages"]
    assert metrics["fixed"]["size_xyz"] == [29, 23, 17]
    assert [stage["name"] for stage in metrics["stages"]] == ["align", "rso 1"]
    assert metrics["stages"][1]["certificate"]["passed"] is True


def test_results_are_replaced_only_by_force(tmp_path: Path, case: Case) -> None:
    write_results(case, tmp_path / "out", INFO, _warped(case))

    with pytest.raises(OutputError, match="--force"):
        write_results(case.undone(), tmp_path / "out", INFO, _warped(case))
    assert len(json.loads((tmp_path / "out" / "metrics.json").read_text())["stages"]) == 2

    write_results(case.undone(), tmp_path / "out", INFO, _warped(case), force=True)
    assert len(json.loads((tmp_path / "out" / "metrics.json").read_text())["stages"]) == 1


@pytest.mark.parametrize("byte_count", [50_000, 400_000, 1_000_000, 2_000_000])
def test_a_full_disk_leaves_nothing(
    tmp_path: Path,
    larger_case: Case,
    byte_count: int,
    small_disk: Callable[[int], AbstractContextManager[None]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The largest file is transform.h5 with 2.9 MB; limits below stop at the case, at the field or at that."""
    warped = np.zeros(larger_case.fixed.hu.shape, dtype=np.float32)

    with pytest.raises(OutputError, match="cannot be written") as caught, small_disk(byte_count):
        write_results(larger_case, tmp_path / "out", INFO, warped)

    assert os.listdir(tmp_path) == []
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_an_unwritable_place_is_one_line(tmp_path: Path, case: Case) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match="cannot be written"):
        write_results(case, tmp_path / "file" / "out", INFO, _warped(case))
