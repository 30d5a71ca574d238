from __future__ import annotations

import numpy as np

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


def test_a_preview_of_a_box_leaves_the_image_of_the_case_alone(opened, qtbot):
    display, box = opened.commands.display, Box(2, 5, 3, 6, 1, 4)
    before = opened.store.pictures.warped_hu
    kept = before.copy()
    display.preview(Preview(box, np.full(box.shape_zyx, 7, dtype=np.float32)))
    shown = opened.store.pictures.warped_hu
    assert (shown[box.slices_zyx] == 7).all()
    assert (shown != kept).sum() <= np.prod(box.shape_zyx)
    np.testing.assert_array_equal(before, kept)
    wait_idle(opened, qtbot)
