from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.viewer.contours import Labels
from app.viewer.overlays import OVERLAYS
from app.viewer.overlays.displacement import values_mm
from app.viewer.overlays.jacobian import colored
from app.viewer.planes import plane_of
from app.viewer.slicing import SliceContext, box_rmse_hu, hu_at, resolve, signed_colors
from app.viewer.view_state import IMAGES, Slot, ViewState, dragged_window
from engine.geometry import Geometry
from engine.regions import NamedBox
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
    view = replace(VIEW, overlays=frozenset({name}))
    moved = np.full_like(pictures.displacement_vox, 0.8)
    masked = replace(pictures, rigid=pictures.fixed_valid, body=pictures.fixed_valid, displacement_vox=moved)
    state = resolve(masked, replace(view, cursor_zyx=(5, 2, 2)), Slot(plane, "warped"))
    base = state.layers[0].draw().shape
    for mine in state.layers[1:]:
        drawn = mine.draw()
        assert np.abs(np.subtract(drawn.shape[:2], base)).max() <= (1 if mine.shift_voxels else 0)
        assert drawn.dtype in (np.float32, np.uint32, bool) if drawn.ndim == 2 else drawn.dtype == np.uint8
    for strokes in state.strokes:
        for stroke in strokes.draw():
            assert stroke.places_mm.shape == (len(stroke.joined), 2)
            assert stroke.joined.any()
    assert len(state.layers) - 1 + len(state.strokes) == 1


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


OBLIQUE = Geometry(
    (12, 20, 26), (2.0, 3.0, 5.0), (-10.0, 25.0, 40.0), ((0.8, -0.6, 0.0), (0.6, 0.8, 0.0), (0.0, 0.0, 1.0))
)


@pytest.mark.parametrize(
    ("quantity", "expected_mm"), [("left", 5.8), ("back", 0.6), ("head", 15.0), ("length", 259**0.5)]
)
def test_directions_of_the_displacement_are_those_of_the_patient(pictures, quantity, expected_mm):
    """u = (3, -1, 2.5) voxels z y x, (5, -3, 15) mm along the grid: left 0.8 · 5 + 0.6 · 3, back 0.6 · 5 - 0.8 · 3."""
    displacement = np.zeros_like(pictures.displacement_vox)
    displacement[:] = np.array([3.0, -1.0, 2.5], np.float32).reshape(3, 1, 1, 1)
    shown = replace(pictures, geometry=OBLIQUE, displacement_vox=displacement)
    context = SliceContext(shown, replace(VIEW, quantity=quantity), plane_of(OBLIQUE, "coronal"), "warped")
    np.testing.assert_allclose(values_mm(context), expected_mm, rtol=1e-5)


def test_what_changed_since_another_state(pictures):
    displacement = np.zeros_like(pictures.displacement_vox)
    displacement[2] = 2.0
    other = displacement.copy()
    other[1, 5] = 1.0
    shown = replace(pictures, displacement_vox=displacement, other_displacement_vox=other)
    values = values_mm(SliceContext(shown, replace(VIEW, quantity="change"), plane_of(OBLIQUE, "sagittal"), "warped"))
    assert np.unique(values).tolist() == [0.0, 3.0]


def test_arrows_begin_at_voxels_of_the_body_and_end_where_the_tissue_is(pictures):
    displacement = np.zeros_like(pictures.displacement_vox)
    displacement[1], displacement[2] = -1.0, 2.0
    body = np.zeros(pictures.fixed_hu.shape, bool)
    body[:, 6:9, 4:20] = True
    view = replace(VIEW, overlays=frozenset({"arrows"}))
    shown = replace(pictures, displacement_vox=displacement, body=body)
    (strokes,) = resolve(shown, view, Slot("axial", "warped")).strokes
    (stroke,) = strokes.draw()
    starts, tips = stroke.places_mm[0::5], stroke.places_mm[1::5]
    np.testing.assert_allclose(tips - starts, [[4.0, -3.0]] * len(starts), atol=1e-5)
    rows, columns = np.unique(starts[:, 1] / 3.0).tolist(), np.unique(starts[:, 0] / 2.0).tolist()
    assert rows == [6, 7, 8]
    assert 4 <= min(columns) <= max(columns) < 20
    longer = resolve(shown, replace(view, arrow_scale=3.0), Slot("axial", "warped")).strokes[0].draw()[0]
    np.testing.assert_allclose(longer.places_mm[1::5] - starts, [[12.0, -9.0]] * len(starts), atol=1e-5)


def test_the_warped_grid_is_where_the_registration_takes_it(pictures):
    displacement = np.zeros_like(pictures.displacement_vox)
    displacement[2, :, 10:] = 1.0
    view = replace(VIEW, overlays=frozenset({"grid"}))
    (strokes,) = resolve(replace(pictures, displacement_vox=displacement), view, Slot("axial", "warped")).strokes
    upright = strokes.draw()[1].places_mm.reshape(-1, 20, 2)
    np.testing.assert_allclose(upright[:, 10:, 0] - upright[:, :10, 0], 2.0, atol=1e-6)
    np.testing.assert_allclose(upright[:, :, 1], np.arange(20) * 3.0 * np.ones((len(upright), 1)), atol=1e-6)


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


def test_signed_colours_are_black_at_zero_orange_above_and_blue_below():
    colors = signed_colors(np.array([[0.0, 500.0, -500.0, -9999.0]], np.float32), (-500, 500))
    assert [hex(value) for value in colors[0]] == ["0xff000000", "0xffff961e", "0xff3c82ff", "0xff3c82ff"]


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
    monkeypatch.setattr("app.viewer.slicing._MOST_VOXELS", 600)
    shown = replace(pictures, warped_hu=pictures.fixed_hu + np.arange(12, dtype=np.float32)[:, None, None])
    box = Box(4, 24, 5, 20, 2, 10)  # 2400 voxels: every fourth slice
    assert box_rmse_hu(shown, box) == pytest.approx(np.sqrt((2**2 + 6**2) / 2), abs=1e-3)


def test_before_shows_no_contours_of_the_present_state(pictures):
    aligned, warped = object(), object()
    shown = replace(pictures, labels=Labels(aligned=aligned, warped=warped))
    assert shown.before().labels.warped is aligned
    assert replace(shown, other_warped_hu=pictures.fixed_hu).before().labels.warped is None
