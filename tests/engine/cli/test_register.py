"""The command line from files to files, on a small phantom."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from engine.cli import main
from engine.io.case_folder import open_case
from engine.phantom.canvas import ORGANS

SIZE = ["40", "36", "28"]
SPACING = ["7.5", "8", "9"]
BOX = "10:24,8:22,8:20"


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "phantom"
    assert main(["phantom", "--out", str(folder), "--size", *SIZE, "--spacing", *SPACING]) == 0
    return folder


@pytest.fixture(scope="module")
def results(phantom: Path) -> Path:
    folder = phantom.parent / "results"
    steps = ["--model", "none", "--iso", "12", "--box", BOX, "--rso", "30", "--threads", "1"]
    assert main(["register", *pair(phantom), "--out", str(folder), *steps]) == 0
    return folder


def pair(phantom: Path) -> list[str]:
    return [str(phantom / "fixed.nii.gz"), str(phantom / "moving.nii.gz")]


def points(phantom: Path) -> list[str]:
    return ["--points", str(phantom / "fixed_points.txt"), str(phantom / "moving_points.txt")]


def test_results_hold_what_the_contract_names(results: Path) -> None:
    names = {path.name for path in results.iterdir()}
    assert names == {
        "transform.h5",
        "dvf.nii.gz",
        "dvf.mha",
        "warped.nii.gz",
        "difference.nii.gz",
        "metrics.json",
        "case",
    }
    metrics = json.loads((results / "metrics.json").read_text())
    assert [stage["name"] for stage in metrics["stages"]] == ["align", "iso", "rso 1"]
    assert metrics["device"] in ("cpu", "cuda")
    region = metrics["stages"][-1]
    assert region["box"] == BOX
    assert region["certificate"]["passed"]
    assert region["certificate"]["max_change_outside_mm"] == 0.0
    assert region["box_rmse_hu_after"] <= region["box_rmse_hu_before"]


def test_optimisation_lowers_the_error(results: Path) -> None:
    stages = json.loads((results / "metrics.json").read_text())["stages"]
    assert stages[1]["rmse_hu"] < 0.9 * stages[0]["rmse_hu"]


def test_the_transform_reproduces_the_warped_image(phantom: Path, results: Path) -> None:
    """To 1 HU: half a unit of rounding to whole HU, and single precision."""
    fixed, moving = (sitk.ReadImage(path, sitk.sitkFloat32) for path in pair(phantom))
    transform = sitk.ReadTransform(str(results / "transform.h5"))
    expected = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, transform, sitk.sitkLinear, -2048.0))
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(results / "warped.nii.gz"), sitk.sitkFloat32))
    valid = (warped > -2048) & (expected > -1100)
    assert valid.mean() > 0.5
    assert np.abs(warped - expected)[valid].max() <= 1.0


def test_the_box_leaves_the_rest_alone_bit_by_bit(results: Path) -> None:
    case = open_case(results / "case")
    before, after = case.states[-2].displacement_vox, case.states[-1].displacement_vox
    changed = (before != after).any(axis=0)
    z, _, x = np.nonzero(changed)
    collar = 13
    assert changed.any()
    assert z.min() >= 8 - collar
    assert z.max() < 20 + collar
    assert x.min() >= 0
    assert x.max() < 24 + collar
    assert not changed[:, :, 24 + collar :].any()


def test_evaluate_prints_the_target_error_of_each_step(
    phantom: Path, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "figures.json"
    assert main(["evaluate", *pair(phantom), str(results), *points(phantom), "--out", str(out)]) == 0
    stages = json.loads(out.read_text())["stages"]
    assert [stage["stage"] for stage in stages] == ["align", "iso", "rso 1"]
    assert stages[1]["tre_mm"]["mean"] < stages[0]["tre_mm"]["mean"]
    assert f"mean {stages[2]['tre_mm']['mean']:.2f}" in capsys.readouterr().out


def test_evaluate_of_a_transform_equals_that_of_the_case(phantom: Path, results: Path, tmp_path: Path) -> None:
    figures = []
    for number, transform in enumerate(("transform.h5", "dvf.mha", "case")):
        out = tmp_path / f"{number}.json"
        assert main(["evaluate", *pair(phantom), str(results / transform), *points(phantom), "--out", str(out)]) == 0
        figures.append(json.loads(out.read_text())["stages"][-1])
    assert figures[0]["tre_mm"]["mean"] == pytest.approx(figures[2]["tre_mm"]["mean"], abs=1e-3)
    assert figures[1]["tre_mm"]["mean"] == pytest.approx(figures[2]["tre_mm"]["mean"], abs=1e-3)


def test_evaluate_compares_masks(phantom: Path, results: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks.json"
    masks = ["--masks", str(phantom / "fixed_labels.nii.gz"), str(phantom / "moving_labels.nii.gz")]
    assert main(["evaluate", *pair(phantom), str(results / "transform.h5"), *masks, "--out", str(out)]) == 0
    agreement = json.loads(out.read_text())["stages"][0]["masks"]
    assert 0.8 < agreement["dice"] <= 1.0


@pytest.mark.parametrize(("name", "suffix"), [("nifti", ".nii.gz"), ("mha", ".mha"), ("itk", ".h5")])
def test_export_writes_the_format(results: Path, tmp_path: Path, name: str, suffix: str) -> None:
    out = tmp_path / f"field{suffix}"
    assert main(["export", str(results), "--format", name, "--out", str(out)]) == 0
    assert out.stat().st_size > 1000


def test_warp_carries_images_and_labels(phantom: Path, results: Path, tmp_path: Path) -> None:
    image, labels = tmp_path / "warped.nii.gz", tmp_path / "labels.nii.gz"
    transform, like = str(results / "transform.h5"), ["--like", str(phantom / "fixed.nii.gz")]
    assert main(["warp", str(phantom / "moving.nii.gz"), transform, *like, "--out", str(image)]) == 0
    assert (
        main(["warp", str(phantom / "moving_labels.nii.gz"), transform, *like, "--out", str(labels), "--labels"]) == 0
    )
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(image)))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(results / "warped.nii.gz")))
    assert np.abs(warped.astype(float) - expected)[expected > -1100].max() <= 1.0
    given = set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(phantom / "moving_labels.nii.gz")))))
    assert set(np.unique(sitk.GetArrayFromImage(sitk.ReadImage(str(labels))))) <= given


def test_two_runs_give_the_same_bits(phantom: Path, results: Path, tmp_path: Path) -> None:
    steps = ["--model", "none", "--iso", "12", "--box", BOX, "--rso", "30", "--threads", "1"]
    assert main(["register", *pair(phantom), "--out", str(tmp_path / "again"), *steps]) == 0
    first, second = (open_case(folder / "case").current.displacement_vox for folder in (results, tmp_path / "again"))
    np.testing.assert_array_equal(first, second)


def test_models_lists_every_row(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in ("general", "unet-paper", "unet-stable"))


def test_guidance_from_files_is_followed_and_kept(phantom: Path, tmp_path: Path) -> None:
    """Everything may be given at once; the notes of the step tell what of it was used."""
    labels = sitk.ReadImage(str(phantom / "fixed_labels.nii.gz"))
    masks = [str(tmp_path / "bone.nii.gz"), str(tmp_path / "gone.mha")]
    sitk.WriteImage(labels == ORGANS["ribs"], masks[0])
    gone = np.zeros(sitk.GetArrayViewFromImage(labels).shape, np.uint8)
    gone[8:12, 8:12, 10:14] = 1
    image = sitk.GetImageFromArray(gone)
    image.CopyInformation(labels)
    sitk.WriteImage(image, masks[1])

    guidance = [*points(phantom), "--rigid-mask", masks[0], "--exclude-mask", masks[1]]
    steps = ["--model", "none", "--box", BOX, "--rso", "40", "--fit", "smoother", "--threads", "1"]
    assert main(["register", *pair(phantom), "--out", str(tmp_path / "out"), *steps, *guidance]) == 0

    region = json.loads((tmp_path / "out" / "metrics.json").read_text())["stages"][-1]
    notes = " ".join(region["notes"])
    assert region["settings"]["fit"] == "smoother"
    assert "mm off" in notes
    assert "64 voxels excluded" in notes
    kept = open_case(tmp_path / "out" / "case").guidance
    assert len(kept.fixed_points_mm) > 10
    np.testing.assert_array_equal(kept.excluded, gone == 1)
    assert kept.rigid is not None


def test_alignment_by_numbers_moves_the_moving_image(phantom: Path) -> None:
    """As SimpleITK resamples through the inverse of its Euler transform; to 1 HU, as the warped image is rounded."""
    out = phantom.parent / "by_hand"
    numbers = (6.0, -4.0, 3.5, 2.0, -5.0, 8.0)
    by_hand = ["--align-by", *map(str, numbers)]
    assert main(["register", *pair(phantom), "--out", str(out), *by_hand, "--model", "none", "--threads", "1"]) == 0
    fixed, moving = (sitk.ReadImage(path, sitk.sitkFloat32) for path in pair(phantom))
    center = fixed.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in fixed.GetSize()])
    motion = sitk.Euler3DTransform(center, *np.deg2rad(numbers[3:]), numbers[:3])
    expected = sitk.GetArrayFromImage(sitk.Resample(moving, fixed, motion.GetInverse(), sitk.sitkLinear, -2048.0))
    warped = sitk.GetArrayFromImage(sitk.ReadImage(str(out / "warped.nii.gz"), sitk.sitkFloat32))
    valid = (warped > -2048) & (expected > -1100)
    assert valid.mean() > 0.4
    assert np.abs(warped - expected)[valid].max() <= 1.0


@pytest.mark.parametrize(
    "wrong", [["--align-by", "1", "2"], ["--align-by", *"123456", "--align", "none"], ["--align-by", *"12345", "x"]]
)
def test_numbers_of_an_alignment_that_are_off_are_wrong_usage(phantom: Path, wrong: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["register", *pair(phantom), "--out", str(phantom.parent / "unused"), *wrong])
    assert ended.value.code == 2


def test_structures_are_evaluated_one_by_one(phantom: Path, results: Path, tmp_path: Path) -> None:
    """The lungs by number: the same figures as of a mask that holds one of them alone."""
    labels = [str(phantom / f"{role}_labels.nii.gz") for role in ("fixed", "moving")]
    masks = []
    for path in labels:
        image = sitk.ReadImage(path)
        masks.append(str(tmp_path / Path(path).name))
        sitk.WriteImage(image == ORGANS["lung_left"], masks[-1])
    out = tmp_path / "figures.json"
    chosen = ["--labels", *labels, "--masks", *masks, "--out", str(out)]
    assert main(["evaluate", *pair(phantom), str(results / "transform.h5"), *chosen]) == 0
    (figures,) = json.loads(out.read_text())["stages"]
    assert figures["structures"][str(ORGANS["lung_left"])] == pytest.approx(figures["masks"])
    assert set(figures["structures"]) >= {str(ORGANS[name]) for name in ("body", "lung_right", "heart", "liver")}


def test_an_image_is_no_label_image(phantom: Path, results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    transform = str(results / "transform.h5")
    assert main(["evaluate", *pair(phantom), transform, "--labels", *pair(phantom)]) == 1
    assert "FIXED_LABELS: Expected" in capsys.readouterr().err
