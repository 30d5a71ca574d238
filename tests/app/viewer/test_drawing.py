"""What a drag draws, against the voxels that the cursor shows where the hand went down and up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PySide6.QtCore import QPoint

from app.viewer.pictures import Pictures
from app.viewer.view_state import PLANES, ZOOM_LIMITS
from engine.geometry import Geometry, as_triple
from tests.app.driving import LEFT
from tests.conftest import rotation

SIZE = (640, 480)
SHAPE_ZYX = (9, 17, 23)
TURNED = tuple(as_triple(row) for row in rotation(12.0, -17.0, 23.0))
GRIDS = {
    "anisotropic": Geometry(SHAPE_ZYX, (1.1, 2.3, 6.0), (-31.0, 12.0, 77.0)),
    "oblique": Geometry(SHAPE_ZYX, (1.1, 2.3, 6.0), (-31.0, 12.0, 77.0), TURNED),
    "flipped and turned": Geometry(SHAPE_ZYX, (3.0, 0.9, 1.7), direction=((-1, 0, 0), (0, 0, 1), (0, 1, 0))),
}
SHARE = st.floats(0.0, 1.0)


@pytest.fixture(params=GRIDS)
def grid(request, store, open_grid):
    geometry = GRIDS[request.param]
    grid = open_grid(*SIZE)
    hu = np.zeros(SHAPE_ZYX, dtype=np.float32)
    store.set_pictures(Pictures(geometry, hu, np.ones(SHAPE_ZYX, dtype=bool), hu, hu, version=1))
    return grid


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plane=st.sampled_from(PLANES),
    places=st.tuples(SHARE, SHARE, SHARE, SHARE),
    zoom=st.floats(ZOOM_LIMITS[0], 6.0),
    cursor_zyx=st.tuples(*(st.integers(0, n - 1) for n in SHAPE_ZYX)),
)
def test_a_drag_takes_the_voxels_of_the_cursor_at_press_and_release(
    grid, store, qtbot, plane, places, zoom, cursor_zyx
):
    store.set_boxes((), None)
    store.change_view(plane=plane, zoom=zoom, cursor_zyx=cursor_zyx, drawing_box=False)
    grid.refresh()
    pane = grid.panes[1]
    width, height = pane.width() - 1, pane.height() - 1
    press = QPoint(round(places[0] * width), round(places[1] * height))
    release = QPoint(round(places[2] * width), round(places[3] * height))
    shown = []
    for pixel in (press, release):
        qtbot.mouseClick(pane, LEFT, pos=pixel)
        shown.append(store.view.cursor_zyx)

    store.change_view(drawing_box=True)
    qtbot.mousePress(pane, LEFT, pos=press)
    qtbot.mouseMove(pane, release)
    qtbot.mouseRelease(pane, LEFT, pos=release)

    drawn = pane.state.plane
    expected = {axis: sorted((shown[0][axis], shown[1][axis])) for axis in (drawn.row, drawn.column)}
    if any(low == high for low, high in expected.values()):
        assert store.boxes == (), "a slip of the hand is no box"
        return
    ranges = store.boxes[0].box.ranges_zyx
    assert {axis: list(range(*ranges[axis])) for axis in expected} == {
        axis: list(range(low, high + 1)) for axis, (low, high) in expected.items()
    }
    assert cursor_zyx[drawn.normal] in range(*ranges[drawn.normal])
