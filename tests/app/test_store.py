from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.plan import Planned
from app.store import Run, RunSettings
from app.viewer.view_state import WINDOWS, ViewState
from engine.case import Case
from engine.progress import Progress
from engine.roi import Box
from engine.volume import NOT_IN_HU, Volume

BOX = Box(2, 9, 3, 8, 1, 6)


def test_a_case_begins_with_the_second_image(store, volumes, qtbot):
    fixed, moving = volumes
    store.set_images(fixed, None)
    assert store.case is None
    with qtbot.waitSignal(store.case_changed):
        store.set_images(fixed, moving)
    assert store.case.states[0].steps == ()
    assert not store.unsaved


def test_a_new_case_forgets_boxes_run_and_folder(store, volumes, tmp_path):
    store.set_images(*volumes)
    store.add_box(BOX)
    store.set_run(Run("x"))
    store.set_saved(store.case, tmp_path)
    store.set_images(*volumes)
    assert (store.boxes, store.selected, store.run, store.folder) == ((), None, None, None)


def test_unsaved_until_saved(store, volumes, make_step, tmp_path):
    store.set_images(*volumes)
    store.set_case(store.case.after(store.case.current.after(make_step("iso"))))
    assert store.unsaved
    store.set_saved(store.case, tmp_path)
    assert not store.unsaved
    store.set_case(store.case.undone())
    assert store.unsaved


def test_an_opened_case_brings_the_boxes_of_its_steps_once(store, volumes, make_step, tmp_path):
    case = Case.new(*volumes)
    for name, box in (("iso", None), ("rso 1", BOX), ("rso 2", BOX), ("rso 3", replace(BOX, x1=12))):
        case = case.after(case.current.after(make_step(name, box=box)))
    store.set_opened(case, tmp_path)
    assert [named.box for named in store.boxes] == [BOX, replace(BOX, x1=12)]
    assert not store.unsaved
    other = case.gone_to(1)
    store.set_opened(other.after(other.current.after(make_step("iso"))), tmp_path)
    assert len(store.boxes) == 2, "those of other branches too"


def test_another_case_has_no_waiting_steps_no_comparison_and_no_thumbnails(store, volumes):
    store.set_images(*volumes)
    store.set_planned((Planned("x", dict),))
    store.set_thumbnail(0, np.zeros((2, 2, 3), np.uint8))
    store.mark_state(0)
    store.change_view(other_state=0)
    store.set_images(*volumes)
    assert (store.planned, store.thumbnails, store.marked_state, store.view.other_state) == ((), {}, None, None)


def test_boxes_are_named_selected_renamed_and_removed(store):
    store.add_box(BOX)
    store.add_box(replace(BOX, x1=12))
    assert [named.name for named in store.boxes] == ["Region 1", "Region 2"]
    assert store.selected == 1
    store.rename_box(0, " heart ")
    store.rename_box(0, "  ")
    assert store.boxes[0].name == "heart"
    store.remove_box(0)
    assert (store.selected, store.selected_box.name) == (0, "Region 2")
    store.add_box(BOX)
    assert store.boxes[1].name == "Region 1"


def test_signals_tell_changes_only(store, qtbot):
    with qtbot.assertNotEmitted(store.view_changed), qtbot.assertNotEmitted(store.settings_changed):
        store.set_view(ViewState())
        store.set_settings(RunSettings())
    with qtbot.waitSignal(store.view_changed):
        store.change_view(zoom=2.0)


def test_cursor_starts_in_the_middle_of_new_pictures(store, pictures):
    store.set_pictures(pictures)
    assert store.view.cursor_zyx == (6, 10, 13)
    store.change_view(cursor_zyx=(1, 2, 3))
    store.set_pictures(replace(pictures, version=2))
    assert store.view.cursor_zyx == (1, 2, 3)


def test_an_image_that_is_not_in_hu_is_shown_from_dark_to_bright(store, volumes, pictures):
    fixed, moving = volumes
    values = np.linspace(0.0, 80.0, fixed.hu.size, dtype=np.float32).reshape(fixed.hu.shape)
    store.set_images(Volume(values, fixed.geometry, fixed.valid, NOT_IN_HU), moving)
    store.set_pictures(pictures)
    shown = np.percentile(values[fixed.valid], (0.5, 99.5))
    assert store.view.window_hu == pytest.approx(shown, abs=1.0)
    assert store.view.difference_window_hu == pytest.approx((-np.ptp(shown) / 2, np.ptp(shown) / 2), abs=1.0)

    store.set_pictures(None)
    store.set_images(*volumes)
    store.set_pictures(pictures)
    assert store.view.window_hu == WINDOWS["Paper"]
    store.change_view(window_hu=WINDOWS["Lung"])
    store.set_pictures(None)
    store.set_pictures(pictures)
    assert store.view.window_hu == WINDOWS["Lung"], "a window for CT stays"


def test_view_stays_in_the_image():
    view = ViewState().at((9, -1, 3), (4, 5, 6))
    assert view.cursor_zyx == (3, 0, 3)
    assert view.zoomed(1e9).zoom == pytest.approx(40.0)


def test_run_collects_curves_and_guesses_the_time_left(monkeypatch):
    seconds = iter(np.arange(100.0, 200.0))
    monkeypatch.setattr("app.store.time.monotonic", lambda: float(next(seconds)))
    run = Run("RSO", is_step=True)
    run.take(Progress("rso 1", 1, 11, rmse_hu=100.0, box_rmse_hu=90.0))
    assert run.seconds_left() is None
    run.take(Progress("rso 1", 2, 11, rmse_hu=95.0))
    assert run.seconds_left() == pytest.approx(9.0)  # one iteration took 1 s of the fake clock, nine remain
    assert (run.iterations, run.error_hu) == ([1, 2], [100.0, 95.0])
    assert (run.box_iterations, run.box_error_hu) == ([1], [90.0])


def test_work_that_begins_again_begins_its_curves_again():
    run = Run("ISO", is_step=True)
    for done, error in ((1, 100.0), (2, 90.0)):
        run.take(Progress("iso", done, 9, rmse_hu=error, box_rmse_hu=error))
    run.take(Progress("memory", 0, 0, note="going on on the CPU"))
    run.take(Progress("iso", 1, 9, rmse_hu=100.0))
    assert (run.iterations, run.error_hu, run.box_iterations) == ([1], [100.0], [])


def test_a_last_report_without_an_error_leaves_the_curve():
    run = Run("ISO", is_step=True)
    run.take(Progress("iso", 9, 9, rmse_hu=90.0))
    run.take(Progress("iso", 1, 1, note="measuring"))
    assert (run.iterations, run.error_hu) == ([9], [90.0])


def test_the_best_state_is_the_last_that_was_told_so_on_the_curve_of_the_box():
    run = Run("RSO", is_step=True)
    assert run.best_point() is None
    for done, image_hu, box_hu, best in ((1, 99.0, 50.0, True), (2, 98.0, 40.0, True), (3, 97.0, 30.0, False)):
        run.take(Progress("rso 1", done, 9, image_hu, box_hu, best=best))
    assert run.best_point() == (2, 40.0)
