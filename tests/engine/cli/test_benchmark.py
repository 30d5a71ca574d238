from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from engine.cli import main
from engine.cli.benchmark import RowCache, markdown_table
from engine.cli.benchmark_gsmorph import METHODS
from engine.cli.slice_methods import demons, figures, jacobian_2d, one_by_one, still, syn
from engine.errors import InputError
from engine.training.cardiac import SlicePair, cine_pairs, phantom_pair


def _disks() -> SlicePair:
    """A disk of label 1 moved by (2, −3) px, in pixels of 1.5 mm."""
    row, col = np.indices((48, 40))
    images = [np.clip(9 - np.hypot(row - r, col - c), 0, 1) for r, c in ((22, 19), (24, 16))]
    labels = [(image > 0.5).astype(np.uint8) for image in images]
    return SlicePair(images[0].astype(np.float32), images[1].astype(np.float32), labels[0], labels[1], 1.5)


def _shift(row: float, col: float) -> np.ndarray:
    return np.stack([np.full((48, 40), row), np.full((48, 40), col)]).astype(np.float32)


def test_the_true_shift_leaves_no_error() -> None:
    found = figures([_disks()], [_shift(2, -3)])

    assert (found.dice, found.hd95, found.folding_percent) == (1.0, 0.0, 0.0)
    assert found.mse == pytest.approx(0.0, abs=1e-9)


def test_distances_are_in_the_unit_of_the_pixel() -> None:
    """Off by 4 px along the rows: the rims of the disks are at most 4 px = 6 mm apart."""
    found = figures([_disks()], [_shift(-2, -3)])

    assert 3.0 < found.hd95 <= 6.0
    assert found.dice < 1.0
    assert found.mse > 0.0


def test_a_structure_that_vanished_has_no_overlap_and_no_distance() -> None:
    found = figures([_disks()], [_shift(100, 0)])

    assert found.dice == 0.0
    assert np.isnan(found.hd95)


def test_folding_by_hand() -> None:
    """u = −2 r along the rows of the upper half turns it over; determinants are 1 − 2 there and 1 below."""
    field = np.zeros((2, 9, 5), np.float32)
    field[0, :5] = -2.0 * np.arange(5)[:, None]
    field[0, 5:] = -8.0

    determinant = jacobian_2d(field)

    assert determinant.shape == (8, 4)
    np.testing.assert_array_equal(determinant, np.repeat([[-1.0], [1.0]], 4, axis=0) * np.ones((8, 4)))


def test_a_shear_keeps_areas() -> None:
    field = np.zeros((2, 6, 7), np.float32)
    field[0] = 0.5 * np.arange(7)

    np.testing.assert_allclose(jacobian_2d(field), 1.0)


def test_demons_recover_most_of_a_shift() -> None:
    pair = _disks()

    (field,), (seconds,) = one_by_one(lambda pair: demons(pair, threads=1))([pair])

    assert seconds > 0
    assert figures([pair], [field]).dice > 0.95 > figures([pair], [still(pair)]).dice


def test_a_python_without_ants_is_told(tmp_path: Path) -> None:
    for python in (sys.executable, str(tmp_path / "none")):
        with pytest.raises(InputError, match="antspyx"):
            syn(python, seed=0, threads=1)([_disks()])


def test_a_row_is_computed_once(tmp_path: Path) -> None:
    calls: list[int] = []

    def compute() -> list[dict[str, str | int | float]]:
        calls.append(1)
        return [{"method": "λ", "dice": 0.5}]

    rows = [RowCache(tmp_path, {"steps": 3}).row("λ", compute) for _ in range(2)]

    assert rows[0] == rows[1] == [{"method": "λ", "dice": 0.5}]
    assert len(calls) == 1
    assert RowCache(tmp_path, {"steps": 3}).row("absent", lambda: None) is None


def test_rows_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    RowCache(tmp_path, {"steps": 3})

    with pytest.raises(InputError, match="other settings"):
        RowCache(tmp_path, {"steps": 4})


def test_a_table() -> None:
    assert markdown_table(["a", "b"], [["1", "2"]]) == "| a | b |\n| --- | --- |\n| 1 | 2 |\n"


def test_the_comparison_from_start_to_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two steps of each training on small phantoms; a second run takes every row from the first."""
    monkeypatch.setattr("engine.cli.benchmark_gsmorph._TEST_PAIRS", 2)
    monkeypatch.setattr("engine.cli.benchmark_gsmorph._VALIDATION_PAIRS", 1)
    out = tmp_path / "out"
    command = ["benchmark", "gsmorph", "--out", str(out), "--steps", "2", "--batch", "2", "--size", "32"]
    command += ["--threads", "1", "--device", "cpu"]

    assert main(command) == 0

    with (out / "results.csv").open(newline="") as stream:
        rows = {row["method"]: row for row in csv.DictReader(stream)}
    assert list(rows) == [name for name in METHODS if name != "SyN"]
    assert {row["seed"] for row in rows.values()} == {"0"}
    assert {row["steps"] for row in rows.values()} == {"2"}
    assert rows["GSMorph"]["parameters"] == "1968002"
    assert rows["HyperMorph (FiLM)"]["parameters"] == "2065858"
    assert "weight" in rows["HyperMorph (FiLM)"]["note"]
    table = (out / "results.md").read_text()
    assert "| SyN | not run |" in table
    assert "Cine MRI: not run" in table

    kept = out / "rows" / "GSMorph.json"
    records = json.loads(kept.read_text())
    records[0]["dice"] = 0.125
    kept.write_text(json.dumps(records))
    assert main(command) == 0
    assert "| GSMorph | 12.50 |" in (out / "results.md").read_text()


@pytest.mark.parametrize(
    ("option", "value"),
    [("--steps", "0"), ("--batch", "1"), ("--size", "40"), ("--size", "16"), ("--seed", "-1"), ("--data", "nowhere")],
)
def test_unusable_settings(option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["benchmark", "gsmorph", "--out", str(tmp_path / "out"), option, value]) == 1

    assert len(capsys.readouterr().err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_training_and_test_phantoms_differ() -> None:
    first, second, third = (phantom_pair(part, 0, 32) for part in range(3))

    assert not np.array_equal(first.fixed, second.fixed)
    assert not np.array_equal(first.fixed, third.fixed)


def test_the_cine_images_of_the_data_folder(data: Path) -> None:
    pairs = cine_pairs(data / "cine_mri", 64)

    assert len(pairs) == 26
    assert all(pair.fixed_labels.sum() > pair.moving_labels.sum() > 0 for pair in pairs)
