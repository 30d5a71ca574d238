from __future__ import annotations

import numpy as np
import pytest

from app.viewer.slicing import box_rmse_hu
from engine.progress import Preview
from engine.roi import Box
from tests.app.driving import wait_idle


def test_a_preview_of_the_whole_image_is_shown_without_a_copy(opened, qtbot):
    display, shape = opened.commands.display, opened.store.fixed.geometry.shape_zyx
    before = opened.store.pictures.warped_hu
    preview = Preview(Box.whole(shape), np.full(shape, 7, dtype=np.float32))
    display.preview(preview)
    assert opened.store.pictures.warped_hu is preview.warped_hu
    display.end_preview()
    assert opened.store.pictures.warped_hu is before
    wait_idle(opened, qtbot)


def test_a_preview_of_a_box_leaves_the_image_of_the_case_alone_and_copies_nothing_of_it(opened, qtbot):
    display, store = opened.commands.display, opened.store
    before = store.pictures.warped_hu
    kept = before.copy()
    for box, value in ((Box(2, 5, 3, 6, 1, 4), 7), (Box(3, 6, 3, 6, 1, 4), 9)):
        display.preview(Preview(box, np.full(box.shape_zyx, value, dtype=np.float32)))
        shown = store.pictures.warped_hu
        assert shown.base is before
        assert (shown[box.slices_zyx] == value).all()
        assert (shown[:, :, :] != kept).sum() <= np.prod(box.shape_zyx)
    np.testing.assert_array_equal(before, kept)
    for plane in ("axial", "coronal", "sagittal"):
        store.change_view(plane=plane, cursor_zyx=(2, 4, 4))
        opened.grid.refresh()
        assert (opened.grid.panes[2].state.layers[0].draw() == 9).sum() == 9
    assert box_rmse_hu(store.pictures, box) == pytest.approx(
        np.sqrt(np.mean((9 - store.fixed.hu[box.slices_zyx][store.fixed.valid[box.slices_zyx]]) ** 2))
    )
    display.end_preview()
    assert store.pictures.warped_hu is before
    wait_idle(opened, qtbot)
