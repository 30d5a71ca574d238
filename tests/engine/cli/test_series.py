from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from engine.cli import main
from engine.geometry import Geometry
from engine.io.images import write_image

WriteSeries = Callable[..., list[Path]]


def of(patient: str, **values: object) -> Callable[[int, Dataset], None]:
    def change(_: int, dataset: Dataset) -> None:
        dataset.PatientID, dataset.PatientName, dataset.StudyInstanceUID = patient, f"{patient}^Name", f"1.2.{patient}"
        for name, value in values.items():
            setattr(dataset, name, value)

    return change


@pytest.fixture
def folder(tmp_path: Path, write_series: WriteSeries) -> Path:
    write_series(tmp_path / "one", 4, of("77", SeriesDescription="plan"))
    write_series(tmp_path / "two", 4, of("88", SeriesDescription="of the day CBCT", RescaleIntercept=-2000))
    write_series(tmp_path / "bad", 1, of("88"))
    write_image(tmp_path / "file.mha", np.zeros((3, 4, 5)), Geometry((3, 4, 5), (1.0, 1.0, 1.0)))
    return tmp_path


def test_a_table_that_names_nobody(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["series", str(folder)]) == 0

    out = capsys.readouterr().out
    lines = out.splitlines()
    assert lines[0].split()[:3] == ["patient", "study", "image"]
    assert len(lines) == 5
    assert lines[1].split()[:3] == ["1", "1", "CT"]
    assert "7×5×4" in lines[1]
    assert lines[1].split()[-3:] == ["only", "4", "slices"]
    assert "single slice" in lines[2]
    assert not any(word in out for word in ("77", "88", "Name", "1.2."))


def test_json_says_what_register_takes(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["series", str(folder), "--json"]) == 0

    rows = json.loads(capsys.readouterr().out)["images"]
    assert [(row["patient"], row["study"], row["can_be_opened"]) for row in rows] == [
        (1, 1, True),
        (2, 1, False),
        (2, 1, True),
        (None, None, True),
    ]
    assert rows[2]["image"] == str(folder / "two")
    assert rows[2]["modality"] == "CBCT"


def test_no_images(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["series", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("no images")
    assert main(["series", str(tmp_path / "absent")]) == 1
    assert (
        capsys.readouterr().err == "regard: FOLDER: Expected a folder with images; there is none at the given path.\n"
    )


@pytest.fixture
def transform(tmp_path: Path) -> str:
    path = tmp_path / "identity.tfm"
    path.write_text(
        "#Insight Transform File V1.0\n#Transform 0\nTransform: AffineTransform_double_3_3\n"
        "Parameters: 1 0 0 0 1 0 0 0 1 0 0 0\nFixedParameters: 0 0 0\n"
    )
    return str(path)


def test_an_odd_pair_is_told_and_goes_on(folder: Path, transform: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", str(folder / "one"), str(folder / "two"), transform]) == 0

    told = capsys.readouterr().err
    assert "regard: warning: The images name different patient IDs." in told
    assert "regard: warning: The fixed image is a CT and the moving one a CBCT." in told

    out = str(folder / "warped.mha")
    assert main(["warp", str(folder / "two"), transform, "--like", str(folder / "one"), "--out", out]) == 0
    told = capsys.readouterr().err
    assert "patient IDs" in told
    assert "CBCT" not in told
