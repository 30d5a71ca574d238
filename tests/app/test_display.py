from __future__ import annotations

import gc
import weakref
from dataclasses import replace
from functools import partial
from threading import Event

import numpy as np
import pytest

from app.store import Run
from app.viewer import pane
from app.viewer.overlays import OVERLAYS
from app.viewer.pictures import _CUT, box_rmse_hu, hu_at
from app.viewer.planes import Plane
from app.worker import job_of
from engine.progress import Progress
from engine.roi import Box
from engine.structures import Structures
from tests.app.conftest import previewed
from tests.app.driving import wait_idle, wait_pictures


def test_a_preview_of_the_whole_image_is_shown_without_a_copy(opened, qtbot):
    display = opened.commands.display
    before = opened.store.pictures.warped_hu
    preview = previewed(opened.store.case, hu=7)
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
        display.preview(previewed(store.case, box, value))
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
    opened.commands.display.preview(previewed(store.case, box, 7))
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


def test_a_displacement_in_a_file_is_drawn_from_when_it_was_read(opened, tmp_path, qtbot):
    """Undo leads to a state that the autosave has put on disk."""
    store = opened.store
    opened.commands.iso()
    wait_pictures(opened, qtbot)
    opened.commands.iso()
    wait_pictures(opened, qtbot)
    ahead, state = store.pictures, store.case.states[1]
    assert isinstance(state.displacement_vox, np.memmap)
    opened.commands.undo()
    assert store.case.current is state
    assert store.pictures.stale
    for name in ("displacement_vox", "labels"):
        assert getattr(store.pictures, name) is getattr(ahead, name)
    assert store.pictures.warped_hu is opened.commands.display._known_warped(state), "it is known already"
    wait_pictures(opened, qtbot)
    assert store.pictures.displacement_vox is state.displacement_vox
    assert store.pictures.labels.warped is None
    opened.commands.redo()
    assert not store.pictures.stale, "what is in memory is shown at once"


@pytest.fixture
def held(opened, qtbot):
    """A window two steps on, and back at the first while the worker, held up by something else, has not read it."""
    opened.store.change_view(overlays=frozenset({"contours"}))
    shape = opened.store.fixed.geometry.shape_zyx
    labels = np.zeros(shape, np.uint8)
    labels[2:10, 4:16, 6:20] = 1
    opened.store.set_structures(Structures(labels, labels))
    opened.store.add_box(Box(4, 10, 5, 9, 2, 6))
    for _ in range(2):
        opened.commands.iso()
        wait_pictures(opened, qtbot)
    opened.regions.show_errors()
    opened.release = Event()
    opened.worker.submit(job_of(opened.release.wait), lasting=True)
    opened.commands.undo()
    opened.regions.show_errors()
    opened.grid.refresh()
    yield opened
    opened.release.set()
    wait_idle(opened, qtbot)


def let_read(window, qtbot):
    window.release.set()
    wait_pictures(window, qtbot)
    window.regions.show_errors()


def dashed(window):
    """Images on which a contour is shown that comes from the moving image."""
    panes = window.grid.panes
    drawn = {p.state.slot.image: [s.dashed for lines in p.state.strokes for s in lines.draw()] for p in panes}
    return {image for image, strokes in drawn.items() if any(strokes)}


def test_no_figure_or_unmarked_contour_of_another_state_is_shown_while_a_displacement_is_read(held, qtbot):
    readout, now = held.readout.values, held.regions.table.item(0, 2)
    assert held.store.pictures.stale
    assert "moved" not in readout.text()
    assert "warped –   difference – HU" in readout.text()
    assert "fixed –" not in readout.text()
    assert now.text() == "–"
    assert "fixed" not in dashed(held)
    assert "warped" in dashed(held)
    assert "updating" in titles(held)["warped"]
    let_read(held, qtbot)
    assert "moved 5.0 mm" in readout.text()
    assert "–" not in readout.text()
    assert now.text() == f"{box_rmse_hu(held.store.pictures, held.store.boxes[0].box):.0f} HU"
    assert {"fixed", "warped"} <= dashed(held)


def test_an_alignment_by_hand_that_is_cancelled_is_not_shown_while_a_displacement_is_read(held, qtbot):
    store, aligned = held.store, held.store.pictures.moving_hu
    held.commands.begin_by_hand()
    store.set_draft(store.draft.shifted((1.0, 2.0, 3.0)))
    assert not np.array_equal(store.pictures.labels.aligned.rigid, store.case.current.rigid)
    held.commands.cancel()
    assert store.pictures.stale
    assert store.pictures.moving_hu is aligned
    assert store.pictures.warped_hu is held.commands.display._known_warped(store.case.current)
    np.testing.assert_array_equal(store.pictures.labels.aligned.rigid, store.case.current.rigid)
    assert store.pictures.labels.warped is None, "the hand's is not laid over what is warped"
    let_read(held, qtbot)
    assert store.pictures.labels.warped is not None


def test_comparing_with_many_states_leaves_the_current_one_read(opened, qtbot):
    store = opened.store
    for _ in range(5):
        opened.commands.iso()
        wait_pictures(opened, qtbot)
    opened.commands.go_to(1)
    wait_pictures(opened, qtbot)
    for other in (2, 3, 4):
        store.change_view(other_state=other)
        wait_idle(opened, qtbot)
    opened.commands.begin_by_hand()
    opened.commands.cancel()
    assert not store.pictures.stale
    opened.commands.go_to(4)
    wait_pictures(opened, qtbot)
    opened.commands.go_to(1)
    assert not store.pictures.stale, "the state that was left last is still read"
    wait_idle(opened, qtbot)


def test_a_displacement_that_rests_on_a_file_is_let_go(opened, qtbot):
    made = []
    for _ in range(3):
        opened.commands.iso()
        wait_pictures(opened, qtbot)
        made.append(weakref.ref(opened.store.case.current.displacement_vox))
    gc.collect()
    assert [array() is not None for array in made] == [False, False, True]


def test_what_was_cut_of_an_image_that_is_gone_is_let_go(opened, qtbot):
    opened.store.change_view(layout="sheet")
    opened.grid.refresh()
    opened.commands.iso()
    wait_pictures(opened, qtbot)
    wait_idle(opened, qtbot)
    sources = {id(cut.source) for cut in opened.store.pictures._cuts._slices.values()}
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


def test_a_deleted_state_is_let_go_with_its_images(opened, qtbot):
    """What maps its file keeps Windows from removing it."""
    store, commands = opened.store, opened.commands
    for act in (commands.iso, partial(commands.go_to, 0), commands.iso, partial(commands.go_to, 1)):
        act()
        wait_pictures(opened, qtbot)
    assert isinstance(store.case.current.displacement_vox, np.memmap)
    gone = weakref.ref(store.case.current.displacement_vox)
    commands.go_to(2)
    wait_pictures(opened, qtbot)
    commands.delete_branch(store.case.id, (1,))
    wait_idle(opened, qtbot)
    opened.grid.refresh()
    gc.collect()
    assert gone() is None


def titles(window):
    window.grid.refresh()
    return {pane.state.slot.image: pane.state.title for pane in window.grid.panes}


def test_a_moving_image_in_an_earlier_alignment_is_said_to_be_old(opened, make_step, qtbot):
    store, rigid = opened.store, np.eye(4)
    rigid[:3, 3] = (-6.0, 3.0, -5.0)
    other = replace(store.case.current, rigid=rigid)
    store.set_case(store.case.after(other.after(make_step("align"))))
    assert "updating" in titles(opened)["moving"]
    assert hu_at(store.pictures, store.view.cursor_zyx)["moving"] is None
    wait_pictures(opened, qtbot)
    assert "updating" not in titles(opened)["moving"]
    assert hu_at(store.pictures, store.view.cursor_zyx)["moving"] is not None


def test_a_preview_is_said_to_be_live_and_leaves_no_mark(opened, qtbot):
    display = opened.commands.display
    plain = titles(opened)
    display.preview(previewed(opened.store.case, iteration=40))
    shown = titles(opened)
    assert shown["warped"] == "Warped, live: iteration 40"
    assert shown["difference"].endswith(", live: iteration 40")
    assert (shown["fixed"], shown["moving"]) == (plain["fixed"], plain["moving"])
    opened.store.change_view(flickering=True)
    assert titles(opened)["warped"] == "Before: aligned"
    opened.store.change_view(flickering=False)
    display.end_preview()
    wait_idle(opened, qtbot)
    assert titles(opened) == plain


def test_a_step_that_ends_leaves_no_mark(opened, fake_engine, qtbot):
    plain = titles(opened)
    fake_engine.endless = True
    opened.commands.iso()
    qtbot.waitUntil(lambda: "live" in titles(opened)["warped"])
    opened.commands.stop()
    qtbot.waitUntil(lambda: not opened.store.running)
    assert titles(opened)["warped"] in (plain["warped"], "Warped (updating …)")
    wait_pictures(opened, qtbot)
    assert titles(opened) == plain
    opened.commands.iso()
    qtbot.waitUntil(lambda: "live" in titles(opened)["warped"])
    opened.commands.cancel()
    qtbot.waitUntil(lambda: not opened.store.running)
    wait_pictures(opened, qtbot)
    assert titles(opened) == plain


def test_a_preview_from_a_gpu_tells_the_iteration_that_it_shows(opened):
    """It is reported some iterations later, once it is there."""
    opened.store.set_run(Run("ISO"))
    reports = [Progress("iso", 42, 100, preview=previewed(opened.store.case, iteration=40)), Progress("iso", 43, 100)]
    opened.commands._take_reports(reports)
    assert titles(opened)["warped"] == "Warped, live: iteration 40"


def test_contours_and_displacement_follow_a_preview(opened, qtbot):
    """Tissue comes from one voxel on, so the structure is drawn one voxel further back, and inside the box alone."""
    store, display = opened.store, opened.commands.display
    shape = store.fixed.geometry.shape_zyx
    moving = np.zeros(shape, np.uint8)
    moving[4:8, 5:11, 8:16] = 3
    store.set_structures(Structures(moving=moving))
    store.change_view(overlays=frozenset({"contours"}))
    wait_idle(opened, qtbot)
    before = store.pictures.labels
    display.preview(previewed(store.case))
    carried = store.pictures.labels.warped
    assert store.pictures.labels.aligned is not carried
    np.testing.assert_array_equal(carried[5, :, :], np.roll(moving, -1, (1, 2))[6])
    assert float(store.pictures.displacement_vox[2][5, 9, 12]) == 1
    store.case_changed.emit()
    assert store.pictures.labels.warped is carried, "what else changes meanwhile does not take the live contours away"
    display.preview(previewed(store.case, Box(0, 10, 0, 20, 0, 12)))
    shown = store.pictures.labels.warped[5, :, :]
    np.testing.assert_array_equal(shown[:, :10], np.roll(moving, -1, (1, 2))[6][:, :10])
    np.testing.assert_array_equal(shown[:, 10:], moving[5][:, 10:])
    opened.grab()
    display.end_preview()
    assert store.pictures.labels.warped.displacement_vox is store.case.current.displacement_vox
    np.testing.assert_array_equal(store.pictures.labels.warped[5, :, :], before.warped[5, :, :])
    wait_idle(opened, qtbot)


def test_every_overlay_follows_a_preview_in_every_orientation(opened, qtbot):
    store = opened.store
    store.change_view(layout="sheet", overlays=frozenset(OVERLAYS), quantity="change")
    opened.commands.display.preview(previewed(store.case, Box(2, 20, 3, 16, 1, 9)))
    for cursor in ((0, 0, 0), (5, 9, 12), (11, 19, 25)):
        store.change_view(cursor_zyx=cursor)
        opened.grid.refresh()
        opened.grab()
    assert "moved" in opened.readout.values.text()
    wait_idle(opened, qtbot)
