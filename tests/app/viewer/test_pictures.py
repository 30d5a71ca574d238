from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.viewer.contours import Labels
from app.viewer.pane_state import resolve
from app.viewer.pictures import box_rmse_hu, hu_at
from app.viewer.planes import plane_of
from app.viewer.view_state import Slot, ViewState
from engine.roi import Box
from engine.volume import PADDING_HU

VIEW = ViewState(cursor_zyx=(5, 8, 11))


def test_hu_under_the_cursor(pictures):
    values = hu_at(pictures, (5, 8, 11))
    assert values["fixed"] == pytest.approx(float(pictures.fixed_hu[5, 8, 11]))
    assert values["difference"] == pytest.approx(values["fixed"] - values["warped"])
    assert hu_at(pictures, (5, 0, 0))["fixed"] is None
    assert hu_at(pictures, (5, 0, 0))["difference"] is None


def test_box_error_leaves_out_invalid_voxels(pictures):
    warped = pictures.fixed_hu + 10
    warped[0, 10:12, 10:12] = PADDING_HU
    shown = replace(pictures, warped_hu=warped)
    assert box_rmse_hu(shown, Box(0, 20, 0, 20, 0, 4)) == pytest.approx(10, abs=1e-3)  # float32 sums of HU
    assert box_rmse_hu(shown, Box(0, 4, 0, 4, 0, 4)) is None
    assert box_rmse_hu(replace(pictures, warped_hu=None), Box(0, 4, 0, 4, 0, 4)) is None


def test_box_error_leaves_out_what_is_excluded(pictures):
    warped, excluded = pictures.fixed_hu + 10, np.zeros(pictures.fixed_hu.shape, bool)
    warped[1], excluded[1] = pictures.fixed_hu[1] + 500, True
    shown = replace(pictures, warped_hu=warped, excluded=excluded)
    assert box_rmse_hu(shown, Box(4, 20, 4, 20, 0, 4)) == pytest.approx(10, abs=1e-3)


def test_before_shows_the_chosen_state_or_the_alignment_alone(pictures):
    view = replace(VIEW, flickering=True)
    shown = resolve(pictures, view, Slot("axial", "warped"))
    np.testing.assert_array_equal(shown.layers[0].draw(), pictures.moving_hu[5])
    assert shown.title == "Before: aligned"
    other = pictures.fixed_hu + 7
    chosen = replace(pictures, other_warped_hu=other, other_name="ISO 100")
    state = resolve(chosen, view, Slot("axial", "difference"))
    np.testing.assert_allclose(state.layers[0].draw()[6:, 6:], -7.0, atol=1e-3)
    assert state.title == "Before: ISO 100"
    assert shown.layers[0].key != resolve(pictures, VIEW, Slot("axial", "warped")).layers[0].key


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_every_slice_is_that_of_the_volume(pictures, plane):
    shown = plane_of(pictures.geometry, plane)
    count = shown.shape_zyx[shown.normal]
    for index in (*range(count), *reversed(range(count))):
        np.testing.assert_array_equal(
            pictures.slice_of("warped", shown, index), shown.slice_of(pictures.warped_hu, index)
        )
        np.testing.assert_array_equal(
            pictures.valid_slice_of(shown, index), shown.slice_of(pictures.fixed_valid, index)
        )


def test_a_large_box_is_sampled(pictures, monkeypatch):
    monkeypatch.setattr("app.viewer.pictures._MOST_VOXELS", 600)
    shown = replace(pictures, warped_hu=pictures.fixed_hu + np.arange(12, dtype=np.float32)[:, None, None])
    box = Box(4, 24, 5, 20, 2, 10)  # 2400 voxels: every fourth slice
    assert box_rmse_hu(shown, box) == pytest.approx(np.sqrt((2**2 + 6**2) / 2), abs=1e-3)


def test_before_shows_no_contours_of_the_present_state(pictures):
    aligned, warped = object(), object()
    shown = replace(pictures, labels=Labels(aligned=aligned, warped=warped))
    assert shown.before().labels.warped is aligned
    assert replace(shown, other_warped_hu=pictures.fixed_hu).before().labels.warped is None
