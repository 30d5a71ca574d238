from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.viewer.layers import SliceContext
from app.viewer.overlays import OVERLAYS
from app.viewer.overlays.displacement import colored as displacement_colored
from app.viewer.overlays.displacement import values_mm
from app.viewer.overlays.jacobian import colored
from app.viewer.pane_state import resolve
from app.viewer.planes import plane_of
from app.viewer.view_state import Slot, ViewState
from engine.geometry import Geometry

VIEW = ViewState(cursor_zyx=(5, 8, 11))
OBLIQUE = Geometry(
    (12, 20, 26), (2.0, 3.0, 5.0), (-10.0, 25.0, 40.0), ((0.8, -0.6, 0.0), (0.6, 0.8, 0.0), (0.0, 0.0, 1.0))
)


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


def test_colours_run_evenly_through_their_stops_and_are_clear_beside_the_body():
    values = np.array([[-9.0, 0.0, 5.0, 10.0, 20.0, 99.0]], dtype=np.float32)
    stops = ((0, 0, 0), (100, 200, 50), (250, 0, 100))
    pixels = displacement_colored(values, stops, 0.0, 20.0, np.array([[True, True, True, True, True, False]]))
    expected = [(0, 0, 0), (0, 0, 0), (50, 100, 25), (100, 200, 50), (250, 0, 100)]
    np.testing.assert_allclose(pixels[0, :5, :3], expected, atol=1)
    assert np.unique(pixels[0, :5, 3]).size == 1
    assert pixels[0, 5, 3] == 0


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
