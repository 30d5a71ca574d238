from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtWidgets import QApplication

import engine
from app.viewer import contours, turns
from app.viewer.contours import Labels, outlined
from app.viewer.drawables import image_of, paths_of
from app.viewer.pane import Pane
from app.viewer.pane_state import resolve
from app.viewer.planes import plane_of
from app.viewer.pop_out import PopOut
from app.viewer.view_state import IMAGES, PLANES, Slot, ViewState
from engine.geometry import Geometry
from engine.roi import Box
from tests.app.driving import turn_wheel

VIEW = ViewState(cursor_zyx=(5, 8, 11), overlays=frozenset())


@pytest.fixture
def pane(qtbot, pictures):
    pane = Pane()
    qtbot.addWidget(pane)
    pane.resize(400, 300)
    pane.show_state(resolve(pictures, VIEW, Slot("axial", "fixed")))
    return pane


@pytest.fixture
def grid(store, pictures, open_grid):
    store.set_pictures(pictures)
    return open_grid(800, 600)


def pixel(pane, index_zyx):
    point = pane.pixel_of(pane.state.plane.place(index_zyx))
    return QPoint(round(point.x()), round(point.y()))


def drag(qtbot, pane, start, end, button=Qt.MouseButton.LeftButton, modifiers=Qt.KeyboardModifier.NoModifier):
    qtbot.mousePress(pane, button, modifiers, start)
    qtbot.mouseMove(pane, (start + end) / 2)
    qtbot.mouseMove(pane, end)
    qtbot.mouseRelease(pane, button, modifiers, end)


def test_millimetres_are_square_on_the_screen(pane):
    origin, right, down = (pane.pixel_of(place) for place in ((0, 0), (10, 0), (0, 10)))
    assert right.x() - origin.x() == pytest.approx(down.y() - origin.y())
    # 26 columns of 2 mm and 20 rows of 3 mm: 60 mm of height fill 300 pixels
    assert right.x() - origin.x() == pytest.approx(50)


def test_the_voxel_under_a_pixel_is_the_one_painted_there(pane, pictures):
    """The screen itself is read: the grey at a voxel's centre is that voxel's HU."""
    window = (float(pictures.fixed_hu.min()), float(pictures.fixed_hu.max()))
    shown = replace(VIEW, window_hu=window, cursor_zyx=(5, 0, 0))
    pane.show_state(resolve(pictures, shown, Slot("axial", "fixed")))
    grab = pane.grab().toImage()
    for index in ((5, 6, 9), (5, 15, 20)):
        at = pixel(pane, index)
        expected = (pictures.fixed_hu[index] - window[0]) / (window[1] - window[0]) * 255
        assert grab.pixelColor(at).red() == pytest.approx(expected, abs=2)  # smooth scaling and rounding


def test_unchanged_layers_are_not_drawn_again(pane, pictures, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        "app.viewer.pane.image_of", lambda pixels, levels, *how: drawn.append(levels) or image_of(pixels, levels, *how)
    )
    pane.show_state(resolve(pictures, replace(VIEW, zoom=2.0), Slot("axial", "fixed")))
    assert not drawn
    pane.show_state(resolve(pictures, replace(VIEW, zoom=2.0, cursor_zyx=(6, 8, 11)), Slot("axial", "fixed")))
    assert len(drawn) == 1


def test_an_empty_pane_paints_its_hint_and_takes_no_gesture(qtbot):
    pane = Pane()
    qtbot.addWidget(pane)
    pane.show_state(resolve(None, VIEW, Slot("axial", "fixed")))
    pane.grab()
    with qtbot.assertNotEmitted(pane.gestured):
        qtbot.mouseClick(pane, Qt.MouseButton.LeftButton)


def test_click_moves_the_cursor_of_all_panes(grid, qtbot, store):
    qtbot.mouseClick(grid.panes[1], Qt.MouseButton.LeftButton, pos=pixel(grid.panes[1], (6, 4, 21)))
    assert store.view.cursor_zyx == (6, 4, 21)
    grid.refresh()
    assert {pane.state.cursor_mm for pane in grid.panes} == {(42.0, 12.0)}


def test_wheel_scrolls_and_with_ctrl_zooms_about_the_pointer(grid, store):
    pane = grid.panes[0]
    turn_wheel(pane, -1)
    assert store.view.cursor_zyx[0] == 7
    at = QPointF(90, 70)
    place = pane.place_of(at)
    turn_wheel(pane, 2, Qt.KeyboardModifier.ControlModifier, at)
    grid.refresh()
    assert store.view.zoom > 1.2
    assert pane.place_of(at) == pytest.approx(place, abs=1e-6)


def test_shift_drag_moves_the_picture_with_the_hand(grid, qtbot, store):
    pane = grid.panes[0]
    place = pane.place_of(QPointF(100, 100))
    qtbot.mousePress(pane, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.ShiftModifier, QPoint(100, 100))
    qtbot.mouseMove(pane, QPoint(130, 80))
    grid.refresh()
    assert pane.place_of(QPointF(130, 80)) == pytest.approx(place, abs=1e-6)
    qtbot.mouseRelease(pane, Qt.MouseButton.LeftButton, pos=QPoint(130, 80))


def test_right_drag_changes_the_window_of_images_or_difference(grid, qtbot, store):
    drag(qtbot, grid.panes[0], QPoint(100, 100), QPoint(150, 100), Qt.MouseButton.RightButton)
    assert store.view.window_hu == (-1050, 550)
    assert store.view.difference_window_hu == (-500, 500)
    drag(qtbot, grid.panes[3], QPoint(100, 100), QPoint(100, 90), Qt.MouseButton.RightButton)
    assert store.view.difference_window_hu == (-520, 480)


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_a_drawn_box_covers_exactly_the_voxels_dragged(grid, qtbot, store, plane):
    store.change_view(plane=plane, drawing_box=True)
    grid.refresh()
    pane = grid.panes[2]
    shown = pane.state.plane
    start, end = list(store.view.cursor_zyx), list(store.view.cursor_zyx)
    start[shown.row], end[shown.row] = 3, 8
    start[shown.column], end[shown.column] = 9, 4
    drag(qtbot, pane, pixel(pane, start), pixel(pane, end))
    ranges = store.boxes[0].box.ranges_zyx
    assert (ranges[shown.row], ranges[shown.column]) == ((3, 9), (4, 10))
    assert not store.view.drawing_box


def test_a_click_in_drawing_mode_draws_nothing(grid, qtbot, store):
    store.change_view(drawing_box=True)
    qtbot.mouseClick(grid.panes[0], Qt.MouseButton.LeftButton, pos=QPoint(100, 100))
    assert store.boxes == ()
    assert store.view.drawing_box


@pytest.mark.parametrize("plane", ["axial", "coronal", "sagittal"])
def test_handles_resize_and_move_in_every_orientation(grid, qtbot, store, plane):
    store.change_view(plane=plane, drawing_box=True)
    grid.refresh()
    pane = grid.panes[0]
    shown = pane.state.plane
    start, end = list(store.view.cursor_zyx), list(store.view.cursor_zyx)
    start[shown.row], end[shown.row], start[shown.column], end[shown.column] = 2, 7, 5, 12
    drag(qtbot, pane, pixel(pane, start), pixel(pane, end))
    grid.refresh()
    before = store.boxes[0].box.ranges_zyx
    _drag_handle(qtbot, grid, pane, ((shown.column, 1),), (3, 0))
    _drag_handle(qtbot, grid, pane, (), (-2, 1))
    after = store.boxes[0].box.ranges_zyx
    assert after[shown.column] == (before[shown.column][0] - 2, before[shown.column][1] + 1)
    assert after[shown.row] == (before[shown.row][0] + 1, before[shown.row][1] + 1)
    assert after[shown.normal] == before[shown.normal]


@pytest.mark.parametrize("change", ["remove_box", "other_box"])
def test_a_handle_of_a_box_that_has_changed_since_it_was_drawn_is_not_taken(grid, qtbot, store, change):
    z, y, x = store.view.cursor_zyx
    store.add_box(Box(x - 6, x + 6, y - 5, y + 5, z - 4, z + 4))
    grid.refresh()
    pane, other = grid.panes[0], Box(x - 5, x + 6, y - 5, y + 5, z - 4, z + 4)
    middle = next(handle.place_mm for handle in pane.state.outlines[0].handles if not handle.faces)
    if change == "remove_box":
        store.remove_box(0)
    else:
        store.reshape_box(0, other)
    assert pane.state.outlines[0].handles, "it waits for its turn"
    place = pane.pixel_of(middle).toPoint()
    qtbot.mousePress(pane, Qt.MouseButton.LeftButton, pos=place)
    qtbot.mouseMove(pane, place + QPoint(30, 0))
    qtbot.mouseRelease(pane, Qt.MouseButton.LeftButton, pos=place + QPoint(30, 0))
    assert [named.box for named in store.boxes] == ([] if change == "remove_box" else [other])


@pytest.mark.parametrize("plane", ["axial", "coronal"])
def test_the_pointer_says_how_a_handle_can_be_dragged(grid, qtbot, store, plane):
    """On the screen: coronal slices have the head, where indices end, at the top."""
    store.change_view(plane=plane)
    z, y, x = store.view.cursor_zyx
    store.add_box(Box(x - 6, x + 6, y - 5, y + 5, z - 4, z + 4))
    grid.refresh()
    pane = grid.panes[0]
    shown, seen = pane.state.plane, {}
    for handle in pane.state.outlines[0].handles:
        at = pane.pixel_of(handle.place_mm).toPoint()
        qtbot.mouseMove(pane, at)
        sides = dict(handle.faces)
        right, lower = (sides.get(axis, 0) * (-1 if flip else 1) for axis, flip in
                        ((shown.column, shown.flip_across), (shown.row, shown.flip_down)))  # fmt: skip
        seen[right, lower] = pane.cursor().shape()
    shapes = Qt.CursorShape
    assert seen == {
        (0, 0): shapes.SizeAllCursor,
        **dict.fromkeys([(-1, 0), (1, 0)], shapes.SizeHorCursor),
        **dict.fromkeys([(0, -1), (0, 1)], shapes.SizeVerCursor),
        **dict.fromkeys([(-1, -1), (1, 1)], shapes.SizeFDiagCursor),
        **dict.fromkeys([(-1, 1), (1, -1)], shapes.SizeBDiagCursor),
    }


def _drag_handle(qtbot, grid, pane, faces, voxels):
    handles = pane.state.outlines[0].handles
    across, down = next(handle.place_mm for handle in handles if handle.faces == faces)
    to = across + voxels[0] * pane.state.plane.spacing_mm[0], down + voxels[1] * pane.state.plane.spacing_mm[1]
    drag(qtbot, pane, pane.pixel_of((across, down)).toPoint(), pane.pixel_of(to).toPoint())
    grid.refresh()


def test_hover_reports_the_voxel_or_nothing(grid, qtbot):
    pane = grid.panes[0]
    with qtbot.waitSignal(grid.hovered, check_params_cb=lambda voxel: voxel == (6, 4, 21)):
        qtbot.mouseMove(pane, pixel(pane, (6, 4, 21)))
    with qtbot.waitSignal(grid.hovered, check_params_cb=lambda voxel: voxel is None):
        qtbot.mouseMove(pane, QPoint(1, 1))


def test_three_orientations_of_one_image(grid, store):
    store.change_view(layout="orientations", image="difference", cursor_zyx=(2, 3, 4))
    grid.refresh()
    assert [pane.state.slot for pane in grid.panes] == [Slot(p, "difference") for p in PLANES]
    assert sum(pane.isVisible() for pane in grid.findChildren(Pane)) == 3
    assert grid.panes[1].state.cursor_mm == (8.0, 10.0)


def test_the_sheet_shows_every_image_in_every_orientation(grid, store):
    store.set_view(store.view.arranged("sheet"))
    grid.refresh()
    assert [pane.state.slot for pane in grid.panes] == [Slot(plane, image) for plane in PLANES for image in IMAGES]
    rows = {pane.y() for pane in grid.panes}
    columns = {pane.x() for pane in grid.panes}
    assert (len(rows), len(columns)) == (3, 4)


def test_a_double_click_enlarges_a_pane_and_takes_it_back(grid, qtbot, store):
    store.set_view(store.view.arranged("sheet"))
    grid.refresh()
    qtbot.mouseDClick(grid.panes[6], Qt.MouseButton.LeftButton)
    grid.refresh()
    (pane,) = grid.panes
    assert pane.state.slot == Slot("coronal", "warped")
    qtbot.waitUntil(lambda: pane.width() == grid.width())
    qtbot.mouseDClick(pane, Qt.MouseButton.LeftButton)
    grid.refresh()
    assert (store.view.layout, len(grid.panes)) == ("sheet", 12)


def test_a_second_window_has_the_same_cursor_and_a_layout_of_its_own(grid, qtbot, store):
    pop_out = PopOut(store, grid)
    qtbot.addWidget(pop_out)
    pop_out.show()
    pop_out.arrangement.setCurrentIndex(pop_out.arrangement.findData("single"))
    pop_out.arrangement.activated.emit(pop_out.arrangement.currentIndex())
    pop_out.image.setCurrentIndex(pop_out.image.findData("difference"))
    pop_out.image.activated.emit(pop_out.image.currentIndex())
    qtbot.mouseClick(grid.panes[1], Qt.MouseButton.LeftButton, pos=pixel(grid.panes[1], (6, 4, 21)))
    pop_out.grid.refresh()
    (pane,) = pop_out.grid.panes
    assert (pane.state.slot.image, pane.state.cursor_mm) == ("difference", (42.0, 12.0))
    assert store.view.layout == "compare"
    assert len(grid.panes) == 4


def test_panes_that_take_long_are_drawn_one_after_the_other_that_under_the_hand_first(grid, qtbot, monkeypatch):
    monkeypatch.setattr(turns, "_TURN_S", 0)
    before = grid.panes[2].state.place_text
    turn_wheel(grid.panes[2], 1)
    grid._draw()
    for _ in range(4 * len(grid.panes[2].state.layers) + 4):
        if grid.panes[2].state.place_text == before:
            grid._turns.go_on()
    assert [pane.state.place_text == before for pane in grid.panes] == [True, True, False, True]
    qtbot.waitUntil(lambda: all(pane.state.place_text != before for pane in grid.panes))


def test_a_pane_of_another_image_shows_nothing_until_it_is_drawn(grid, qtbot, store, monkeypatch):
    monkeypatch.setattr(turns, "_TURN_S", 0)
    store.change_view(layout="sheet")
    grid._draw()
    shown = [pane.state and pane.state.slot for pane in grid.panes]
    assert shown == [Slot("axial", image) for image in IMAGES] + [None] * 8
    qtbot.waitUntil(lambda: [pane.state and pane.state.slot for pane in grid.panes] == list(grid.view.slots()))


def test_a_pane_that_still_shows_other_images_takes_no_gesture(grid, qtbot, store, pictures):
    pane = grid.panes[2]
    corner = pixel(pane, (6, 18, 24))
    store.change_view(comparison="spyglass", pointer_zyx=None)
    grid.refresh()
    qtbot.mousePress(pane, Qt.MouseButton.LeftButton, pos=corner)
    small = Geometry((4, 6, 8), (2.0, 3.0, 5.0))
    hu = np.zeros(small.shape_zyx, np.float32)
    store.set_pictures(replace(pictures, geometry=small, fixed_hu=hu, fixed_valid=hu == 0, moving_hu=hu, warped_hu=hu))
    store.change_view(pointer_zyx=None)
    view = store.view
    assert pane.state.plane.voxels == pictures.geometry
    with qtbot.assertNotEmitted(grid.hovered):
        qtbot.mouseRelease(pane, Qt.MouseButton.LeftButton, pos=corner)
        qtbot.mouseClick(pane, Qt.MouseButton.LeftButton, pos=corner)
        turn_wheel(pane, 1)
    assert store.view == view
    grid.refresh()
    qtbot.mouseClick(pane, Qt.MouseButton.LeftButton, pos=pixel(pane, (2, 5, 7)))
    assert store.view.cursor_zyx == (2, 5, 7)
    store.set_pictures(None)
    qtbot.mouseClick(pane, Qt.MouseButton.LeftButton)
    assert store.view.cursor_zyx == (2, 5, 7)


def test_a_pane_of_another_size_is_painted_anew_outside_of_its_paint_event(grid, qtbot):
    pane = grid.panes[1]
    grid.grab()
    before = pane._painted
    grid.resize(900, 500)
    grid.grab()
    assert pane._painted is before
    qtbot.waitUntil(lambda: pane._painted.size == pane.size())
    assert grid.grab().toImage() != before.pixmap.toImage()


def test_the_second_window_stays_on_the_only_screen(grid, qtbot, store):
    pop_out = PopOut(store, grid)
    qtbot.addWidget(pop_out)
    assert grid.screen().availableGeometry().contains(pop_out.geometry())


def test_split_and_spyglass_follow_the_pointer_in_every_pane(grid, qtbot, store):
    store.set_view(store.view.compared("split"))
    grid.refresh()
    qtbot.mouseMove(grid.panes[0], pixel(grid.panes[0], (6, 4, 21)))
    grid.refresh()
    assert grid.panes[2].state.split_mm == pytest.approx(42.0, abs=0.5)
    store.set_view(store.view.compared("spyglass"))
    grid.refresh()
    assert grid.panes[2].state.glass_mm[:2] == pytest.approx((42.0, 12.0), abs=0.5), "where the pointer rests"
    qtbot.mouseMove(grid.panes[0], pixel(grid.panes[0], (6, 8, 5)))
    grid.refresh()
    assert grid.panes[2].state.glass_mm[:2] == pytest.approx((10.0, 24.0), abs=0.5)
    QApplication.sendEvent(grid.panes[0], QEvent(QEvent.Type.Leave))
    assert store.view.pointer_zyx is None


@pytest.fixture
def outlined_slices(monkeypatch):
    """The shape of every slice of which outlines are made."""
    found = []

    def seen(labels, spacing_mm):
        found.append(labels.shape)
        return outlined(labels, spacing_mm)

    monkeypatch.setattr(contours, "outlined", seen)
    return found


def test_twelve_panes_share_the_outlines_of_a_slice(grid, store, pictures, outlined_slices):
    """Outlines of one plane alone follow the cursor, one of each side, and each is traced once for all its panes."""
    geometry, u = pictures.geometry, np.ones((3, *pictures.geometry.shape_zyx), np.float32)
    own, other = (np.zeros(geometry.shape_zyx, np.uint8) for _ in range(2))
    own[2:9, 5:9, 6:12], other[2:9, 4:12, 9:15] = 1, 2
    aligned = engine.CarriedLabels(other, geometry, geometry, np.eye(4))
    labels = Labels(own, aligned, replace(aligned, displacement_vox=u), (1, 2))
    store.set_pictures(replace(pictures, displacement_vox=u, labels=labels))
    store.set_view(store.view.arranged("sheet"))
    store.change_view(overlays=frozenset({"contours"}), cursor_zyx=(5, 7, 10))
    grid.refresh()
    assert len(outlined_slices) == 9
    outlined_slices.clear()
    traced = paths_of.cache_info().misses

    store.change_view(cursor_zyx=(6, 7, 10))
    grid.refresh()

    assert outlined_slices == [(20, 26)] * 3
    assert paths_of.cache_info().misses == traced + 3
    assert [len(pane.state.strokes[0].draw()) for pane in grid.panes[:4]] == [2, 1, 2, 2]


@pytest.mark.parametrize("plane", PLANES)
def test_labels_are_carried_by_the_slices_of_the_displacement(pictures, plane):
    """On a grid whose rows are the columns of its planes, too."""
    for direction in (np.eye(3), np.eye(3)[[1, 2, 0]]):
        geometry = replace(pictures.geometry, direction=tuple(map(tuple, direction)))
        rng = np.random.default_rng(4)
        u = rng.uniform(-2, 2, (3, *geometry.shape_zyx)).astype(np.float32)
        numbers = rng.integers(0, 4, geometry.shape_zyx).astype(np.uint8)
        carried = engine.CarriedLabels(numbers, geometry, geometry, np.eye(4), u)
        shown = plane_of(geometry, plane)
        expected = shown.slice_of(carried[:, :, :], 6)
        for known in (u, np.zeros_like(u)):
            found = replace(pictures, geometry=geometry, displacement_vox=known).labels_slice_of(carried, shown, 6)
            np.testing.assert_array_equal(found, expected)
        for known in (u, np.zeros_like(u)):
            cut = replace(pictures, geometry=geometry, displacement_vox=known).labels_slice_of
            np.testing.assert_array_equal(cut(carried, shown, 6, 2), expected[::2, ::2])
            np.testing.assert_array_equal(cut(numbers, shown, 6, 2), shown.slice_of(numbers, 6)[::2, ::2])
