from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.viewer.comparisons import COMPARISONS, gray
from app.viewer.pane_state import resolve
from app.viewer.view_state import Slot, ViewState
from engine.geometry import Geometry

WINDOW = (-1000.0, 500.0)
VIEW = ViewState(cursor_zyx=(5, 8, 11), overlays=frozenset(), window_hu=WINDOW)


def drawn(pictures, comparison, plane="axial", image="warped", **view):
    shown = replace(VIEW, comparison=comparison, **view)
    return resolve(pictures, shown, Slot(plane, image)).layers[0].draw()


@pytest.fixture
def black_and_white(pictures):
    """The fixed image white, the others black."""
    white, black = np.full_like(pictures.fixed_hu, 500), np.full_like(pictures.fixed_hu, -1000)
    return replace(pictures, fixed_hu=white, moving_hu=black, warped_hu=black)


def test_the_window_gives_the_gray_of_a_pane():
    values = np.array([[-1000, -250, 500, 9999]], np.float32)
    assert gray(values, WINDOW).tolist() == [[0, 127, 255, 255]]


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_every_comparison_fits_the_slice_and_leaves_fixed_image_and_difference_alone(pictures, comparison, plane):
    view = replace(VIEW, comparison=comparison, pointer_zyx=(5.0, 8.0, 11.0))
    for image in ("fixed", "warped", "difference"):
        layer, mine = (resolve(pictures, shown, Slot(plane, image)).layers[0] for shown in (VIEW, view))
        assert mine.draw().shape == layer.draw().shape
        assert (mine.key == layer.key) == (image != "warped")
    assert COMPARISONS[comparison].text in resolve(pictures, view, Slot(plane, "warped")).title


@pytest.mark.parametrize(("blend", "expected"), [(0.0, 0), (0.5, 127), (1.0, 255)])
def test_blend_mixes_gray_values(black_and_white, blend, expected):
    assert np.abs(drawn(black_and_white, "blend", blend=blend).astype(int) - expected).max() <= 1


def test_squares_are_square_in_millimetres_and_alternate(black_and_white):
    """A slice of 52 × 60 mm, nine squares along the longer side: 3.3 columns of 2 mm, 2.2 rows of 3 mm."""
    board = drawn(black_and_white, "checkerboard") > 127
    assert board[8, 11], "the cursor is in a square of the fixed image"
    columns, rows = np.diff(np.flatnonzero(np.diff(board[8]))), np.diff(np.flatnonzero(np.diff(board[:, 11])))
    assert set(columns) == {3, 4}
    assert set(rows) == {2, 3}
    finer = drawn(black_and_white, "checkerboard", zoom=2.0) > 127
    assert np.diff(finer[8]).sum() > np.diff(board[8]).sum()


@pytest.mark.parametrize("flipped", [False, True])
def test_the_fixed_image_is_left_of_the_pointer_on_the_screen(black_and_white, flipped):
    sign = -1 if flipped else 1
    geometry = Geometry((12, 20, 26), (2.0, 3.0, 5.0), direction=((sign, 0, 0), (0, 1, 0), (0, 0, sign)))
    halves = drawn(replace(black_and_white, geometry=geometry), "split", pointer_zyx=(5.0, 8.0, 10.5)) > 127
    expected = np.arange(26) > 10.5 if flipped else np.arange(26) < 10.5
    np.testing.assert_array_equal(halves, np.broadcast_to(expected, halves.shape))


def test_the_spyglass_is_a_circle_in_millimetres_under_the_pointer(black_and_white):
    """0.14 of 60 mm."""
    inside = drawn(black_and_white, "spyglass", pointer_zyx=(5.0, 9.0, 12.0)) > 127
    row, column = np.nonzero(inside)
    expected = ((np.arange(20)[:, None] - 9) * 3.0) ** 2 + ((np.arange(26) - 12) * 2.0) ** 2 < 8.4**2
    assert len(row) == len(column) > 10
    np.testing.assert_array_equal(inside, expected)
    assert not drawn(black_and_white, "spyglass").any()


def test_two_colours_are_red_where_only_the_fixed_image_is_bright_and_gray_where_both_agree(black_and_white):
    assert set(drawn(black_and_white, "complementary").ravel().tolist()) == {0xFFFF0000}
    same = replace(black_and_white, warped_hu=black_and_white.fixed_hu)
    assert set(drawn(same, "complementary").ravel().tolist()) == {0xFFFFFFFF}
    other_way = replace(black_and_white, fixed_hu=black_and_white.warped_hu, warped_hu=black_and_white.fixed_hu)
    assert set(drawn(other_way, "complementary").ravel().tolist()) == {0xFF00FFFF}


def test_edges_of_the_fixed_image_lie_where_it_has_a_step(black_and_white):
    stepped = black_and_white.fixed_hu.copy()
    stepped[:, :, :10] = -1000
    colors = drawn(replace(black_and_white, fixed_hu=stepped), "edges")
    marked = colors == 0xFFFF8C28
    assert marked[1:-1].any(axis=1).all()
    assert set(np.nonzero(marked)[1]) <= {9, 10}
    assert set(colors[~marked].tolist()) == {0xFF000000}
