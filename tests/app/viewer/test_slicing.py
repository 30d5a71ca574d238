from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.viewer.boxes import NamedBox
from app.viewer.overlays import OVERLAYS
from app.viewer.overlays.jacobian import colored
from app.viewer.slicing import box_rmse_hu, hu_at, resolve
from app.viewer.view_state import IMAGES, Slot, ViewState, dragged_window
from engine.roi import Box
from engine.volume import PADDING_HU

VIEW = ViewState(cursor_zyx=(5, 8, 11))


def test_without_images_every_pane_says_what_to_do():
    for image in IMAGES:
        state = resolve(None, VIEW, Slot("axial", image))
        assert state.hint
        assert not state.layers


def test_the_four_images_of_a_slice(pictures):
    pixels = {image: resolve(pictures, VIEW, Slot("axial", image)).layers[0].draw() for image in IMAGES}
    np.testing.assert_array_equal(pixels["fixed"], pictures.fixed_hu[5])
    np.testing.assert_array_equal(pixels["moving"], pictures.moving_hu[5])
    np.testing.assert_array_equal(pixels["warped"], pictures.warped_hu[5])
    expected = np.where(pictures.fixed_valid[5], pictures.fixed_hu[5] - pictures.warped_hu[5], 0)
    np.testing.assert_array_equal(pixels["difference"], expected)


def test_keys_change_with_slice_and_version_and_not_with_zoom(pictures):
    def key(pictures=pictures, **changes):
        return resolve(pictures, replace(VIEW, **changes), Slot("coronal", "fixed")).layers[0].key

    assert key() == key(zoom=3.0) == key(cursor_zyx=(1, 8, 2))
    assert key() != key(cursor_zyx=(5, 9, 11))
    assert key() != key(replace(pictures, version=2))


def test_images_that_are_not_there_yet_are_said_to_be_computed(pictures):
    bare = replace(pictures, warped_hu=None)
    assert "computed" in resolve(bare, VIEW, Slot("axial", "warped")).hint
    assert "updating" in resolve(replace(pictures, stale=True), VIEW, Slot("axial", "warped")).title


def test_captions_name_slice_and_place(pictures):
    state = resolve(pictures, VIEW, Slot("axial", "fixed"))
    assert state.place_text == "Axial 6 / 12   S 65.0 mm"  # 40 + 5 · 5 mm
    assert (
        resolve(pictures, VIEW, Slot("sagittal", "fixed")).place_text == "Sagittal 12 / 26   L 12.0 mm"
    )  # -10 + 11 · 2 mm
    assert state.window_text == "-1000 … 500 HU"


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


def test_outlines_follow_the_selection(pictures):
    boxes = (NamedBox("a", Box(0, 4, 0, 4, 4, 8)), NamedBox("b", Box(0, 4, 0, 4, 0, 2)))
    outlines = resolve(pictures, VIEW, Slot("axial", "fixed"), boxes, 1).outlines
    assert [(shape.selected, shape.on_slice) for shape in outlines] == [(False, True), (True, False)]


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_every_overlay_fits_the_slice(pictures, name, plane):
    view = replace(VIEW, overlays=frozenset({name}), blend=0.4)
    masked = replace(pictures, rigid=pictures.fixed_valid)
    layers = resolve(masked, view, Slot(plane, "warped")).layers
    mine = next(layer for layer in layers if layer.key[0] == name)
    base, drawn = layers[0].draw().shape, mine.draw()
    if drawn is not None:
        assert np.abs(np.subtract(drawn.shape[:2], base)).max() <= (1 if mine.shift_voxels else 0)
        assert drawn.dtype in (np.float32, np.uint32) if drawn.ndim == 2 else drawn.dtype == np.uint8


def test_folding_is_marked_and_no_change_is_clear():
    pixels = colored(np.array([[-0.5, 0.0, 1.0, 0.4, 1.9]], dtype=np.float32))
    assert pixels[0, 0].tolist() == pixels[0, 1].tolist() == [255, 0, 220, 255]
    assert pixels[0, 2, 3] == 0
    assert pixels[0, 3, 2] > pixels[0, 3, 0]
    assert pixels[0, 4, 0] > pixels[0, 4, 2]


def test_jacobian_overlay_marks_the_fold_where_it_is(pictures):
    displacement = np.zeros_like(pictures.displacement_vox)
    displacement[2, :, :, 11] = 2  # voxel 11 moves beyond voxel 12: the cell between them folds
    view = replace(VIEW, overlays=frozenset({"jacobian"}))
    for plane, row in (("axial", 8), ("coronal", 5)):
        state = resolve(replace(pictures, displacement_vox=displacement), view, Slot(plane, "warped"))
        pixels = next(layer for layer in state.layers if layer.key[0] == "jacobian").draw()
        folded = (pixels == (255, 0, 220, 255)).all(axis=2)
        assert folded[row, 11]
        assert folded.sum() == folded.shape[0]


def test_window_drag():
    assert dragged_window((-1000, 500), 100, -50) == (-1100, 500)
    low, high = dragged_window((-1000, 500), -9999, 0)
    assert low < high
