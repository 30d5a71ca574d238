"""What cannot be done ends with one line and status 1, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from engine.cli import main

SHAPE_ZYX = (12, 14, 16)


def write(path: Path, array: np.ndarray) -> str:
    sitk.WriteImage(sitk.GetImageFromArray(array), str(path))
    return str(path)


@pytest.fixture
def good(tmp_path: Path) -> str:
    rng = np.random.default_rng(5)
    return write(tmp_path / "good.nii.gz", rng.normal(0, 300, SHAPE_ZYX).astype(np.float32))


def empty_folder(folder: Path) -> str:
    (folder / "empty").mkdir()
    return str(folder / "empty")


def text_file(folder: Path) -> str:
    (folder / "text.nii.gz").write_text("these are words")
    return str(folder / "text.nii.gz")


def not_a_number(folder: Path) -> str:
    array = np.zeros(SHAPE_ZYX, np.float32)
    array[3, 4, 5] = np.nan
    return write(folder / "nan.mha", array)


def flat_image(folder: Path) -> str:
    return write(folder / "flat.mha", np.zeros((14, 16), np.float32))


def single_slice(folder: Path) -> str:
    return write(folder / "single.mha", np.zeros((1, 14, 16), np.float32))


def absent(folder: Path) -> str:
    return str(folder / "nothing here.mha")


@pytest.mark.parametrize("make", [empty_folder, text_file, not_a_number, flat_image, single_slice, absent])
@pytest.mark.parametrize("role", ["FIXED", "MOVING"])
def test_unusable_image(
    make: Callable[[Path], str], role: str, good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad, out = make(tmp_path), tmp_path / "out"
    images = [bad, good] if role == "FIXED" else [good, bad]
    assert main(["register", *images, "--out", str(out)]) == 1
    line = one_line(capsys)
    assert f"regard: {role}:" in line
    assert not out.exists()


@pytest.mark.parametrize("box", ["0:99,0:5,0:5", "5:5,0:5,0:5", "-2:5,0:5,0:5", "one,two,three"])
def test_unusable_box(box: str, good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["register", good, good, "--out", str(out), f"--box={box}"]) == 1
    assert "--box" in one_line(capsys)
    assert not out.exists()


def test_results_are_not_overwritten_unasked(good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    command = ["register", good, good, "--out", str(out), "--align", "none", "--model", "none"]
    assert main(command) == 0
    before = (out / "metrics.json").read_bytes()
    capsys.readouterr()
    assert main(command) == 1
    assert "force" in one_line(capsys)
    assert (out / "metrics.json").read_bytes() == before
    assert main([*command, "--force"]) == 0


def test_a_folder_of_somebody_else_is_never_replaced(good: str, tmp_path: Path) -> None:
    out = tmp_path / "mine"
    out.mkdir()
    (out / "thesis.txt").write_text("years of work")
    assert main(["register", good, good, "--out", str(out), "--align", "none", "--model", "none", "--force"]) == 1
    assert (out / "thesis.txt").read_text() == "years of work"


def test_unwritable_path(good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    command = ["register", good, good, "--out", str(blocked / "out"), "--align", "none", "--model", "none"]
    assert main(command) == 1
    one_line(capsys)
    assert blocked.read_text() == "not a folder"


@pytest.mark.parametrize(
    ("option", "value"),
    [("--model", "unet-stable"), ("--model", "nonsense"), ("--iso", "-3"), ("--weight", "-1"), ("--threads", "0")],
)
def test_unusable_setting(
    option: str, value: str, good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    more = ["--iso", "3"] if option == "--weight" else []
    assert main(["register", good, good, "--out", str(out), "--align", "none", *more, option, value]) == 1
    one_line(capsys)
    assert not out.exists()


def test_wrong_usage_is_status_2() -> None:
    with pytest.raises(SystemExit) as ended:
        main(["register", "only one"])
    assert ended.value.code == 2


def test_points_must_pair_up(good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two, three = tmp_path / "two.txt", tmp_path / "three.txt"
    two.write_text("point\n2\n1 2 3\n4 5 6\n")
    three.write_text("point\n3\n1 2 3\n4 5 6\n7 8 9\n")
    transform = tmp_path / "identity.tfm"
    sitk.WriteTransform(sitk.Euler3DTransform(), str(transform))
    assert main(["evaluate", good, good, str(transform), "--points", str(two), str(three)]) == 1
    assert "2 and 3" in one_line(capsys)


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The error; that fixed and moving are the same image is told before it."""
    lines = capsys.readouterr().err.strip().splitlines()
    lines = [line for line in lines if not line.startswith("regard: warning: Fixed and moving are the same")]
    assert len(lines) == 1
    assert "Traceback" not in lines[0]
    return lines[0]


@pytest.mark.parametrize("option", ["--rigid-mask", "--exclude-mask"])
def test_a_mask_of_another_place(option: str, good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask = sitk.GetImageFromArray(np.ones(SHAPE_ZYX, np.uint8))
    mask.SetOrigin((5.0, 0.0, 0.0))
    sitk.WriteImage(mask, str(tmp_path / "mask.mha"))
    out = tmp_path / "out"

    assert main(["register", good, good, "--out", str(out), option, str(tmp_path / "mask.mha")]) == 1

    assert f"{option}: Expected a mask on the fixed grid" in capsys.readouterr().err
    assert not out.exists()


def test_a_fit_beside_a_weight(good: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--fit", "closer", "--weight", "1", "--iso", "5"]

    assert main(["register", good, good, "--out", str(tmp_path / "out"), *arguments]) == 1

    assert "not both" in capsys.readouterr().err
