"""What is drawn while slices follow each other, and what once they rest."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtGui import QImage
from PySide6.QtWidgets import QApplication

from app.viewer.contours import Labels
from app.viewer.grid import Grid
from app.viewer.pictures import Pictures
from app.viewer.view_state import Slot
from engine.geometry import Geometry


@pytest.fixture
def scrolled(qtbot, store):
    """Panes of 240 × 200 pixels over 400 × 400 voxels of 1 mm with a disc, scrolled by two slices; their outlines."""
    geometry = Geometry((9, 400, 400), (1.0, 1.0, 1.0))
    row, column = np.ogrid[:400, :400]
    disc = np.broadcast_to((row - 200) ** 2 + (column - 190) ** 2 < 121**2, geometry.shape_zyx).astype(np.uint8)
    hu = np.random.default_rng(0).normal(0, 100, geometry.shape_zyx).astype(np.float32)
    grid = Grid(store)
    store.set_pictures(Pictures(geometry, hu, np.ones(hu.shape, bool), labels=Labels(disc, numbers=(1,))))
    qtbot.addWidget(grid)
    grid.resize(240, 200)
    grid.show()
    store.change_view(layout="single", image="fixed", overlays=frozenset({"contours"}))
    for z in (3, 4, 5):
        store.change_view(cursor_zyx=(z, 200, 200))
        grid.refresh()
    return grid


def traced(pane):
    (((*_, is_sketch), [(stroke, _), *_]),) = pane._paths.values()
    return is_sketch, stroke.places_mm


def test_outlines_are_sketched_while_slices_follow_each_other_and_drawn_when_they_rest(scrolled, qtbot):
    """Of a voxel that is half a pixel of the screen: a sketch is less than a pixel off where a voxel is 0.75."""
    (pane,) = scrolled.panes
    is_sketch, sketched_mm = traced(pane)
    assert is_sketch

    qtbot.waitUntil(lambda: not traced(pane)[0])

    _, drawn_mm = traced(pane)
    assert len(sketched_mm) < 0.7 * len(drawn_mm)
    for places_mm in (sketched_mm, drawn_mm):
        np.testing.assert_allclose(np.hypot(*(places_mm - (190, 200)).T), 120.6, atol=1.33)


@pytest.mark.parametrize(
    ("spacing_mm", "steps"),
    [((1.0, 1.0), (2, 2)), ((1.0, 2.5), (1, 2)), ((0.5, 1.0), (2, 3)), ((1.0, 0.4), (5, 2))],
)
def test_no_more_pixels_are_made_than_a_screen_shows_while_slices_follow_each_other(
    spacing_mm, steps, scrolled, store, qtbot
):
    """A bright rectangle is in the same place, and all voxels are painted once slices rest."""
    geometry = Geometry((9, round(400 / spacing_mm[1]), round(400 / spacing_mm[0])), (*spacing_mm, 1.0))
    hu = np.full(geometry.shape_zyx, -1000, np.float32)
    row, column = (geometry.shape_zyx[axis] for axis in (1, 2))
    hu[:, row // 4 : row // 2, column // 8 : column // 2] = 1000
    store.set_pictures(Pictures(geometry, hu, np.ones(hu.shape, bool)))
    for z in (3, 4):
        store.change_view(cursor_zyx=(z, row // 2, column // 2))
        scrolled.refresh()
    (pane,) = scrolled.panes

    def bright():
        image = pane._painted.pixmap.toImage().convertToFormat(QImage.Format.Format_Grayscale8)
        lit = np.asarray(image.constBits()).reshape(image.height(), image.bytesPerLine())[:, : image.width()] > 127
        lit[:40], lit[-40:] = False, False  # captions
        return np.array([ends for axis in (0, 1) for ends in np.flatnonzero(lit.any(axis))[[0, -1]]])

    def size():
        image = next(iter(pane._images.values())).image
        return image.height(), image.width()

    thinned = bright()
    assert size() == (math.ceil(row / steps[0]), math.ceil(column / steps[1]))
    qtbot.waitUntil(lambda: size() == (row, column))
    qtbot.waitUntil(lambda: pane._smooth)
    QApplication.processEvents()
    np.testing.assert_allclose(thinned, bright(), atol=1)


def test_where_voxels_are_seen_outlines_are_drawn_at_once(scrolled, store):
    store.change_view(zoom=3.0, cursor_zyx=(6, 200, 200))
    scrolled.refresh()
    (pane,) = scrolled.panes
    assert pane._is_hurried
    assert not traced(pane)[0]


def test_outlines_that_are_drawn_stay_drawn_while_the_window_changes(scrolled, store, qtbot):
    (pane,) = scrolled.panes
    qtbot.waitUntil(lambda: not traced(pane)[0])
    for high in (300.0, 350.0, 400.0):
        store.change_view(window_hu=(-500.0, high))
        scrolled.refresh()
        assert pane._is_hurried
        assert not traced(pane)[0]


def test_no_sketch_stays_that_began_before_the_rest_and_was_shown_after_it(scrolled, store, qtbot):
    """Other lines on the same image, half drawn when the pane comes to rest."""
    (pane,) = scrolled.panes
    store.set_pictures(replace(store.pictures, labels=replace(store.pictures.labels, numbers=(1, 2))))
    drawing = pane.drawing(scrolled._resolved(Slot("axial", "fixed")))
    next(drawing)
    next(drawing)
    pane._turns.rest.stop()
    pane._turns.rest.timeout.emit()
    for _ in drawing:
        pass
    qtbot.waitUntil(lambda: not traced(pane)[0])


def every(pane):
    return {known.every for known in pane._images.values()}


def test_hatching_stays_as_dense_while_slices_follow_each_other(scrolled, store):
    """Stripes come again every eight pixels."""
    (pane,) = scrolled.panes
    for zoom in (1.0, 0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.25):
        for z in (2, 3):
            store.change_view(zoom=zoom, cursor_zyx=(z, 200, 200))
            scrolled.refresh()
        assert all(step > 1 and step % 4 for steps in every(pane) for step in steps)


def test_a_pane_made_again_across_the_rest_ends_with_all_pixels(scrolled, qtbot):
    """As on a resize in the midst of a scroll."""
    (pane,) = scrolled.panes
    assert every(pane) != {(1, 1)}
    making = pane._make_again()
    next(making)
    pane._turns.rest.stop()
    pane._turns.rest.timeout.emit()
    for _ in making:
        pass
    qtbot.waitUntil(lambda: every(pane) == {(1, 1)} and not pane._has_sketches())


def test_a_pane_that_was_hidden_at_the_rest_ends_with_all_pixels(scrolled, store, qtbot):
    scrolled.hide()
    (pane,) = scrolled.panes
    pane._painted = None
    for z in (2, 3):
        store.change_view(cursor_zyx=(z, 200, 200))
        scrolled.refresh()
    qtbot.waitUntil(lambda: not pane._is_hurried)
    assert every(pane) != {(1, 1)}
    scrolled.show()
    qtbot.waitUntil(lambda: every(pane) == {(1, 1)})


def test_the_rest_comes_while_the_picture_is_moved(scrolled, store, qtbot):
    (pane,) = scrolled.panes
    assert pane._is_hurried
    pan = iter(range(1000))

    def rests_while_moved():
        store.change_view(pan_zyx_mm=(0.0, 0.0, 0.1 * next(pan)))
        scrolled.refresh()
        return not pane._is_hurried and every(pane) == {(1, 1)}

    qtbot.waitUntil(rests_while_moved)


def test_one_step_is_drawn_with_all_pixels_in_all_panes(scrolled, store, qtbot):
    store.set_view(store.view.arranged("sheet"))
    scrolled.refresh()
    qtbot.waitUntil(lambda: not any(pane._is_hurried for pane in scrolled.panes))
    store.change_view(cursor_zyx=(2, 201, 201))
    scrolled.refresh()
    shown = [pane for pane in scrolled.panes if pane._images]
    assert len(shown) == 3
    assert all(every(pane) == {(1, 1)} and pane._smooth for pane in shown)
