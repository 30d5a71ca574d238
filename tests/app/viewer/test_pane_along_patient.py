"""Panes along the patient's axes of an image whose own are oblique: what the hand does in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPointF

from app.panels.readout import readout_text
from app.viewer.comparisons import COMPARISONS
from app.viewer.contours import Labels
from app.viewer.overlays import OVERLAYS
from app.viewer.pane_state import resolve
from app.viewer.pictures import hu_at
from app.viewer.planes import plane_of, section_of, stepped
from app.viewer.view_state import PLANES
from engine.roi import Box
from engine.spatial.section import CarriedLabels
from tests.app.driving import LEFT, turn_wheel
from tests.app.viewer.oblique import CURSOR, GRID, NEXT, known_hu, pixel_points, volume_of


@pytest.fixture
def grid(store, shown, open_grid):
    store.set_pictures(shown)
    store.change_view(cursor_zyx=CURSOR, along_patient=True, layout="orientations", image="fixed")
    return open_grid(900, 700)


def test_the_readout_says_what_is_painted_under_the_pointer(grid, qtbot, store):
    for pane in grid.panes:
        pixels = pane.state.layers[0].draw()
        for share in (0.4, 0.5, 0.6):
            at = QPointF(pane.width() * share, pane.height() * share).toPoint()
            with qtbot.waitSignal(grid.hovered, check_params_cb=lambda index: index is not None) as heard:
                qtbot.mouseMove(pane, at)
            (index,) = heard.args
            across, down = pane.place_of(QPointF(at))
            painted = pixels[
                round(down / pane.state.plane.spacing_mm[1]), round(across / pane.state.plane.spacing_mm[0])
            ]
            found = hu_at(store.pictures, index)
            assert found["fixed"] == pytest.approx(float(painted), abs=0.02)
            point = GRID.points([index[::-1]])[0]
            assert found["fixed"] == pytest.approx(known_hu(point), abs=0.02)
            assert f"{found['fixed']:.0f}" in readout_text(store.pictures, index)


def test_a_click_takes_all_panes_through_the_pixel(grid, qtbot, store):
    pane = grid.panes[1]
    at = QPointF(pane.width() * 0.55, pane.height() * 0.45).toPoint()
    qtbot.mouseClick(pane, LEFT, pos=at)
    grid.refresh()
    for shown_pane in grid.panes:
        clicked = pane.state.plane.voxels.points([store.view.place_zyx[::-1]])[0]
        plane = shown_pane.state.plane
        slice_points = pixel_points(plane, plane.index(store.view))
        assert slice_points[0, 0, NEXT[plane.name]] == pytest.approx(clicked[NEXT[plane.name]], abs=0.01)
    near = pane.pixel_of(pane.state.cursor_mm)
    pixel = max(pane.state.plane.spacing_mm) * pane.transform().m11()
    assert abs(near.x() - at.x()) <= abs(pixel)
    assert abs(near.y() - at.y()) <= abs(pixel)


@pytest.mark.parametrize("share", [-3.0, 4.0])
def test_a_drag_out_of_the_picture_leaves_the_cursor_at_its_edge(grid, qtbot, store, share):
    pane = grid.panes[1]
    far = QPointF(pane.width() * share, pane.height() * share).toPoint()
    qtbot.mousePress(pane, LEFT, pos=pane.rect().center())
    qtbot.mouseMove(pane, far)
    qtbot.mouseRelease(pane, LEFT, pos=far)
    grid.refresh()
    across, down = (share > 0) != pane.state.plane.flip_across, (share > 0) != pane.state.plane.flip_down
    at = pane.state.plane.to_grid(store.view.place_zyx)
    for axis, is_high in ((pane.state.plane.column, across), (pane.state.plane.row, down)):
        assert at[axis] == pytest.approx((pane.state.plane.shape_zyx[axis] - 1) * is_high, abs=1e-6)
    for shown_pane in grid.panes:
        plane = shown_pane.state.plane
        assert 0 <= plane.index(store.view) <= plane.shape_zyx[plane.normal] - 1


@pytest.mark.parametrize("comparison", [None, *COMPARISONS])
@pytest.mark.parametrize("name", PLANES)
def test_both_ends_are_drawn_with_all_that_there_is(grid, store, name, comparison):
    masks = volume_of(lambda points: points[:, 0] > points[:, 0].mean()) > 0
    carried = CarriedLabels(masks.astype(np.uint8), GRID, GRID, np.eye(4), store.pictures.displacement_vox)
    labels = Labels(fixed=masks.astype(np.uint8), warped=carried, numbers=(1,))
    everything = {"rigid": masks, "excluded": ~masks, "body": masks, "fixed_valid": masks, "labels": labels}
    store.set_pictures(replace(store.pictures, **everything, version=2))
    store.change_view(overlays=frozenset(OVERLAYS), comparison=comparison, image="warped")
    store.change_view(pointer_zyx=CURSOR)
    plane, seen = plane_of(GRID, name, True), []
    for steps in (-10_000, 10_000):
        store.set_view(stepped(store.view, plane, steps))
        grid.refresh()
        grid.grab()
        assert [pane.state.place_text for pane in grid.panes] == [
            resolve(store.pictures, store.view, slot).place_text for slot in store.view.slots()
        ]
        seen.append(section_of(plane, plane.index(store.view)).seen.any())
    assert name == "axial" or not all(seen), "slices without a voxel are among those drawn"


def test_the_wheel_goes_one_slice_along_the_patient(grid, store):
    pane = grid.panes[0]
    before = GRID.points([store.view.place_zyx[::-1]])[0]
    turn_wheel(pane, -1)
    moved = GRID.points([store.view.place_zyx[::-1]])[0] - before
    np.testing.assert_allclose(np.abs(moved), (0, 0, pane.state.plane.grid.spacing_xyz_mm[2]), atol=1e-9)


def test_a_drawn_rectangle_becomes_the_smallest_box_that_holds_it(grid, qtbot, store):
    store.change_view(drawing_box=True)
    grid.refresh()
    pane = grid.panes[0]
    plane = pane.state.plane
    middle = plane.place(CURSOR)
    first, last = ((middle[0] - 4, middle[1] - 5), (middle[0] + 5, middle[1] + 6))
    start, end = (pane.pixel_of(place).toPoint() for place in (first, last))
    qtbot.mousePress(pane, LEFT, pos=start)
    qtbot.mouseMove(pane, end)
    qtbot.mouseRelease(pane, LEFT, pos=end)
    (named,) = store.boxes
    corners = [plane.index_at((across, down), CURSOR) for across in (first[0], last[0]) for down in (first[1], last[1])]
    for axis, (low, high) in enumerate(named.box.ranges_zyx):
        assert low - 0.5 <= min(corner[axis] for corner in corners)
        assert high - 0.5 >= max(corner[axis] for corner in corners)
    assert not store.view.drawing_box
    grid.refresh()
    assert pane.state.outlines[0].cut_mm
    grid.grab()
    store.change_view(drawing_box=True)
    grid.refresh()
    qtbot.mouseClick(pane, LEFT, pos=start)
    assert len(store.boxes) == 1, "a click draws nothing"


@pytest.mark.parametrize("name", PLANES)
def test_a_box_is_reshaped_and_moved_where_slices_are_sampled(grid, qtbot, store, name):
    store.add_box(Box(8, 15, 5, 11, 4, 9))
    grid.refresh()
    pane = grid.panes[PLANES.index(name)]
    plane = pane.state.plane
    for is_whole in (False, True):
        before = store.boxes[0].box.ranges_zyx
        handle = next(h for h in pane.state.outlines[0].handles if len(h.faces) == (0 if is_whole else 1))
        start = pane.pixel_of(handle.place_mm).toPoint()
        x, y = pane.place_of(QPointF(start))
        ((axis, side),) = handle.faces or ((plane.column, 1),)
        spacing_mm = plane.voxels.spacing_zyx_mm[axis]
        out = handle.outward if handle.faces else (1.0, 0.0)
        end = pane.pixel_of((x + 2 * spacing_mm * out[0], y + 2 * spacing_mm * out[1])).toPoint()
        qtbot.mousePress(pane, LEFT, pos=start)
        qtbot.mouseMove(pane, end)
        qtbot.mouseRelease(pane, LEFT, pos=end)
        grid.refresh()
        now = pane.place_of(QPointF(end))
        steps = [round(way) for way in plane.way((now[0] - x, now[1] - y))]
        expected = [list(faces) for faces in before]
        for each in range(3):
            for end_of in (0, 1):
                if is_whole or (each, 2 * end_of - 1) == (axis, side):
                    expected[each][end_of] += steps[each]
        assert [list(faces) for faces in store.boxes[0].box.ranges_zyx] == expected
        assert any(steps)


@pytest.mark.parametrize("name", PLANES)
def test_a_rectangle_where_the_slice_shows_nothing_becomes_no_box(grid, qtbot, store, name):
    store.change_view(drawing_box=True)
    pane = grid.panes[PLANES.index(name)]
    plane = pane.state.plane
    store.set_view(stepped(store.view, plane, -10_000))
    store.set_view(stepped(store.view, plane, 2))
    grid.refresh()
    seen = section_of(plane, plane.index(store.view)).seen
    rows, columns = seen.shape
    row, column = next(
        (row, column)
        for row in (0, rows - 4)
        for column in (0, columns - 4)
        if not seen[row : row + 4, column : column + 4].any()
    )
    across, down = plane.spacing_mm
    places = ((column, row), (column + 3, row + 3))
    start, end = (pane.pixel_of((x * across, y * down)).toPoint() for x, y in places)
    qtbot.mousePress(pane, LEFT, pos=start)
    qtbot.mouseMove(pane, end)
    qtbot.mouseRelease(pane, LEFT, pos=end)
    assert not store.boxes
    assert store.view.drawing_box
