from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from engine.training.curves import Row, drawn, write_curves, write_rows

CURVE = (255, 176, 0)


def curve(picture: np.ndarray) -> np.ndarray:
    return (picture == CURVE).all(axis=-1)


def test_the_table_has_a_header_and_leaves_empty_what_is_not_known(tmp_path: Path) -> None:
    write_rows([Row(50, 1.5, 0.25, 0.5, None), Row(100, 1.25, 0.125, 0.0, 4.0)], tmp_path / "rows.csv")

    assert (tmp_path / "rows.csv").read_text().splitlines() == [
        "step,loss,roughness,conflict_share,error_mm",
        "50,1.50000,0.25000,0.50000,",
        "100,1.25000,0.12500,0.00000,4.00000",
    ]


def test_a_falling_loss_is_drawn_from_the_upper_left_to_the_lower_right() -> None:
    rows = [Row(step, 10.0 - step, 0.5, 0.0, None) for step in range(1, 9)]

    panel = curve(drawn(rows)[:150])

    y, x = np.nonzero(panel)
    assert y[x == x.min()].mean() < y[x == x.max()].mean() - 80
    assert np.polyfit(x, y, 1)[0] > 0
    assert set(np.diff(np.unique(x))) == {1}


def test_what_is_not_known_has_an_empty_panel_and_one_row_is_a_point() -> None:
    picture = drawn([Row(50, 1.5, 0.25, 0.5, None)])

    loss, error_mm, roughness, conflicts = np.split(curve(picture), 4)
    assert not error_mm.any()
    assert [panel.sum() for panel in (loss, roughness, conflicts)] == [2, 2, 2]


def test_no_rows_make_an_empty_picture() -> None:
    assert not curve(drawn([])).any()


@pytest.mark.parametrize("largest", [1e-30, 1.0, 1e30])
def test_figures_of_any_size_stay_in_the_picture(largest: float, tmp_path: Path) -> None:
    rows = [Row(step, largest * np.sin(step), 0.0, 1.0, largest) for step in range(0, 10**7, 10**6)]

    write_curves(rows, tmp_path / "curves.png")

    read = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "curves.png")))
    np.testing.assert_array_equal(read, drawn(rows))
