from __future__ import annotations

import numpy as np
import pytest

from app.viewer import pane
from app.viewer.planes import Plane
from app.viewer.slicing import _CUT, box_rmse_hu
from engine.progress import Preview
from engine.roi import Box
from tests.app.driving import wait_idle, wait_pictures


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


def test_a_preview_cuts_and_paints_anew_only_what_it_changes(opened, monkeypatch, qtbot):
    store, box, cut, drawn = opened.store, Box(2, 5, 3, 6, 1, 4), [], []
    store.change_view(layout="sheet", cursor_zyx=(2, 4, 4), overlays=frozenset({"invalid", "displacement"}))
    opened.grid.refresh()
    slice_of, image_of = Plane.slice_of, pane.image_of
    monkeypatch.setattr(Plane, "slice_of", lambda *given: (cut.append(given[0].name), slice_of(*given))[1])
    monkeypatch.setattr(pane, "image_of", lambda *given: (drawn.append(1), image_of(*given))[1])
    before = [dict(one._images) for one in opened.grid.panes]
    opened.commands.display.preview(Preview(box, np.full(box.shape_zyx, 7, dtype=np.float32)))
    opened.grid.refresh()
    assert sorted(cut) == ["axial", "coronal", "sagittal"]
    images = [one.state.slot.image for one in opened.grid.panes]
    same = [
        all(one._images[name] is known[name] for name in known)
        for one, known in zip(opened.grid.panes, before, strict=True)
    ]
    assert same == [image in ("fixed", "moving") for image in images]
    assert drawn
    wait_idle(opened, qtbot)


def test_what_was_cut_of_an_image_that_is_gone_is_let_go(opened, qtbot):
    opened.store.change_view(layout="sheet")
    opened.grid.refresh()
    opened.commands.iso()
    wait_pictures(opened, qtbot)
    wait_idle(opened, qtbot)
    sources = {id(cut.source) for cut in opened.store.pictures._slices.values()}
    shown = opened.store.pictures
    assert sources <= {id(getattr(shown, name)) for name in _CUT}


def test_a_hand_that_rests_sees_every_voxel(opened, qtbot):
    opened.commands.begin_by_hand()
    assert opened.store.pictures.moving_hu.is_sketch
    opened.store.set_draft(opened.store.draft.shifted((1.0, 2.0, 3.0)))
    assert opened.store.pictures.moving_hu.is_sketch
    qtbot.waitUntil(lambda: not opened.store.pictures.moving_hu.is_sketch)
    assert opened.store.pictures.warped_hu is opened.store.pictures.moving_hu
    np.testing.assert_array_equal(opened.store.pictures.moving_hu.rigid, opened.store.draft.rigid())
    opened.commands.cancel()
    wait_pictures(opened, qtbot)
    assert not opened.store.pictures.is_draft


@pytest.mark.parametrize(("most_bytes", "kept"), [(10**9, 3), (2, 2), (1, 1), (0, 1)])
def test_fewer_warped_images_are_remembered_the_larger_they_are(
    opened, monkeypatch, make_step, qtbot, most_bytes, kept
):
    display, case = opened.commands.display, opened.store.case
    size = case.fixed.hu.nbytes
    monkeypatch.setattr("app.display._REMEMBERED_BYTES", most_bytes * size)
    states = [case.current.after(make_step("iso")) for _ in range(5)]
    for state in states:
        display.remember(state, case.fixed.hu + 1)
    known = [display._known_warped(state) is not None for state in states]
    assert known == [False] * (5 - kept) + [True] * kept
    wait_idle(opened, qtbot)
