from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QApplication, QDialogButtonBox, QPushButton

import engine
from app import settings, theme
from app.actions import ROWS
from app.autosave import unsaved_cases
from app.problems import message_of
from app.viewer.comparisons import COMPARISONS
from app.viewer.pop_out import PopOut
from app.viewer.view_state import WINDOWS, Slot
from engine.errors import InputError
from engine.io.images import write_image
from engine.progress import Progress
from engine.registration import Step
from engine.roi import Box
from tests.app.driving import CONTROL, LEFT, SHIFT, click_stage, draw_box, press, told_problem, wait_idle, wait_pictures

START, END = (6, 4, 6), (6, 14, 18)
"""Voxels z, y, x between which a box is drawn."""


@pytest.fixture
def files(tmp_path, volumes):
    """The pair on disk."""
    paths = [tmp_path / "fixed.mha", tmp_path / "moving.mha"]
    for path, volume in zip(paths, volumes, strict=True):
        write_image(path, volume.hu, volume.geometry)
    return paths


@pytest.fixture
def opened(window, fake_engine, files, qtbot):
    """A window with the pair open and drawn."""
    window.commands.open_pair(*files)
    wait_pictures(window, qtbot)
    return window


def run(window, qtbot, name):
    """Click the button of a stage and wait for its end."""
    states = len(window.store.case.states)
    click_stage(window, qtbot, name)
    qtbot.waitUntil(lambda: len(window.store.case.states) > states, timeout=30_000)
    wait_idle(window, qtbot)
    window.grid.refresh()


def begin_endless(window, qtbot, fake_engine, name):
    fake_engine.endless = True
    click_stage(window, qtbot, name)
    qtbot.waitUntil(lambda: window.store.run.done > 3)


def test_empty_window_says_what_to_do(window):
    assert "Ctrl+O" in window.grid.panes[0].state.hint
    assert window.workflow.sections["images"].content.isVisible()
    assert not window.workflow.sections["align"].main_buttons[0].isEnabled()


def test_every_action_has_a_menu_and_a_tooltip_and_no_key_is_used_twice(window):
    keys = [row.key for row in ROWS if row.key]
    assert len(keys) == len(set(keys))
    actions = [action for menu in window.menuBar().actions() for action in menu.menu().actions()]
    assert all(action.toolTip() and action.text() for action in actions)


@pytest.mark.parametrize("size", [(1366, 768), (1920, 1080)])
def test_nothing_asks_for_more_than_a_small_screen(opened, qtbot, size):
    for section in opened.workflow.sections.values():
        section.content.show()
    draw_box(opened, qtbot, START, END)
    run(opened, qtbot, "rso")
    opened.store.propose_boxes(
        {Box(2, 9, 3, 8, 1, 6): "two other searches would move it by 5.1 mm (body 1.2 mm); " * 3}
    )
    opened.resize(*size)
    assert (opened.width(), opened.height()) == size
    for layout in ("compare", "orientations"):
        opened.store.change_view(layout=layout)
        assert opened.minimumSizeHint().width() <= 1366
        assert opened.minimumSizeHint().height() <= 768 - 30  # a title bar


def test_open_dialog(window, fake_engine, files, qtbot):
    press(window, qtbot, Qt.Key.Key_O, CONTROL)
    dialog = window.dialog
    open_button = dialog.buttons.button(QDialogButtonBox.StandardButton.Open)
    qtbot.keyClicks(dialog.fixed.edit, str(files[1]))
    assert not open_button.isEnabled()
    qtbot.keyClicks(dialog.moving.edit, str(files[0]))
    dialog._swap()
    qtbot.mouseClick(open_button, LEFT)
    wait_pictures(window, qtbot)
    expected = engine.read_volume(files[0]).hu
    np.testing.assert_array_equal(window.store.case.fixed.hu, expected)


def test_dropping_one_image_after_the_other(window, fake_engine, files, qtbot):
    drop(window, files[:1])
    qtbot.waitUntil(lambda: window.store.fixed is not None)
    assert window.store.case is None
    assert "moving" in window.workflow.sections["images"].note.text()
    drop(window, files[1:])
    wait_pictures(window, qtbot)
    drop(window, files[1:])
    assert window.message.isVisible()
    qtbot.mouseClick(window.message.button("As fixed"), LEFT)
    wait_idle(window, qtbot)
    np.testing.assert_array_equal(window.store.case.fixed.hu, window.store.case.moving.hu)


def drop(window, paths):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path)) for path in paths])
    copy, no_key = Qt.DropAction.CopyAction, Qt.KeyboardModifier.NoModifier
    QApplication.sendEvent(window, QDragEnterEvent(QPoint(5, 5), copy, mime, LEFT, no_key))
    QApplication.sendEvent(window, QDropEvent(QPointF(5, 5), copy, mime, LEFT, no_key))


def test_whole_way_by_mouse_and_keys(opened, fake_engine, qtbot, tmp_path):
    window, store = opened, opened.store
    for name in ("align", "general", "iso"):
        run(window, qtbot, name)
    draw_box(window, qtbot, START, END)
    assert store.boxes[0].box.ranges_zyx[1:] == ((4, 15), (6, 19))
    run(window, qtbot, "rso")
    assert [step.name for step in store.case.current.steps] == ["align", "general", "iso", "rso 1"]
    assert store.case.current.steps[-1].box == store.boxes[0].box
    assert "kept its promises" in window.quality.verdict.text()
    assert window.history.list.count() == 5
    assert window.workflow.sections["export"].content.isVisible()

    press(window, qtbot, Qt.Key.Key_Z, CONTROL)
    assert store.case.cursor == 3
    wait_pictures(window, qtbot)
    np.testing.assert_array_equal(store.pictures.warped_hu, fake_engine.warped_hu(store.case))
    press(window, qtbot, Qt.Key.Key_Z, CONTROL | SHIFT)
    assert store.case.cursor == 4
    item = window.history.list.item(1)
    qtbot.mouseClick(window.history.list.viewport(), LEFT, pos=window.history.list.visualItemRect(item).center())
    assert store.case.cursor == 1
    wait_pictures(window, qtbot)


def test_stop_keeps_the_best_and_undo_redo_walk_over_it(opened, fake_engine, qtbot):
    draw_box(opened, qtbot, START, END)
    begin_endless(opened, qtbot, fake_engine, "rso")
    assert not opened.actions_table["undo"].isEnabled()
    qtbot.mouseClick(opened.run_panel.stop_button, LEFT)
    qtbot.waitUntil(lambda: not opened.store.running)
    assert opened.store.run.state == "done"
    assert opened.store.case.current.steps[-1].name == "rso 1"
    assert len(opened.store.run.box_error_hu) >= 4
    wait_idle(opened, qtbot)


def test_cancel_leaves_the_case_as_it_was(opened, fake_engine, qtbot):
    before, warped = opened.store.case, opened.store.pictures.warped_hu
    begin_endless(opened, qtbot, fake_engine, "iso")
    qtbot.waitUntil(lambda: opened.store.pictures.warped_hu is not warped)
    qtbot.mouseClick(opened.run_panel.cancel_button, LEFT)
    qtbot.waitUntil(lambda: not opened.store.running)
    assert opened.store.run.state == "cancelled"
    assert opened.store.case is before
    assert opened.store.pictures.warped_hu is warped
    assert fake_engine.closed == 1


def test_the_viewer_answers_during_a_run(opened, fake_engine, qtbot):
    begin_endless(opened, qtbot, fake_engine, "iso")
    press(opened, qtbot, Qt.Key.Key_Down)
    press(opened, qtbot, Qt.Key.Key_C)
    assert opened.store.view.cursor_zyx[0] == 7
    assert opened.store.view.plane == "coronal"
    opened.commands.cancel()
    wait_idle(opened, qtbot)


def test_closing_during_a_run_cancels_it(opened, fake_engine, qtbot):
    begin_endless(opened, qtbot, fake_engine, "iso")
    opened.close()
    assert opened.isVisible()
    qtbot.waitUntil(lambda: not opened.isVisible(), timeout=10_000)
    assert fake_engine.closed == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (InputError("Expected a box inside the image."), "Expected a box inside the image."),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "not enough memory"),
        (ValueError("secret"), "ValueError"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_an_error_is_one_clear_line_and_the_window_goes_on(opened, fake_engine, qtbot, error, words):
    fake_engine.error = error
    with qtbot.waitSignal(opened.problems.shown):
        opened.commands.iso()
    assert words in told_problem(opened)
    assert "secret" not in told_problem(opened)
    assert "\n" not in message_of(error)
    assert opened.store.run.state == "failed"
    details = [button.text() for button in opened.message.findChildren(QPushButton) if button.text() == "Details"]
    assert bool(details) == (not isinstance(error, InputError))
    if details:
        qtbot.mouseClick(opened.message.button("Details"), LEFT)
        assert type(error).__name__ in opened.problems.dialog.text()
        assert "run_step" in opened.problems.dialog.text()
        assert str(error) not in opened.problems.dialog.text()
    fake_engine.error = None
    run(opened, qtbot, "iso")
    assert len(opened.store.case.states) == 2


def test_bad_images_are_refused_in_one_line(window, fake_engine, files, qtbot, tmp_path):
    bad = tmp_path / "notes.nii.gz"
    bad.write_text("no image")
    empty = tmp_path / "empty"
    empty.mkdir()
    for path in (bad, empty, tmp_path / "absent.mha"):
        with qtbot.waitSignal(window.problems.shown) as shown:
            window.commands.open_pair(path, files[1])
        assert "\n" not in shown.args[0]
        assert window.store.case is None
    window.commands.open_pair(*files)
    wait_pictures(window, qtbot)


def test_save_reopen_and_go_on(opened, fake_engine, qtbot, tmp_path):
    run(opened, qtbot, "iso")
    draw_box(opened, qtbot, START, END)
    run(opened, qtbot, "rso")
    assert len(unsaved_cases()) == 1
    case, folder = opened.store.case, tmp_path / "saved"
    opened.commands.save(folder)
    wait_idle(opened, qtbot)
    assert not opened.store.unsaved
    assert not unsaved_cases()
    assert opened.windowTitle().startswith("saved")
    drop(opened, [folder])
    qtbot.waitUntil(lambda: opened.store.case is not case)
    wait_pictures(opened, qtbot)
    again = opened.store.case
    assert [state.steps for state in again.states] == [state.steps for state in case.states]
    np.testing.assert_array_equal(again.current.displacement_vox, case.current.displacement_vox)
    assert [named.box for named in opened.store.boxes] == [case.current.steps[-1].box]
    run(opened, qtbot, "iso")
    press(opened, qtbot, Qt.Key.Key_S, CONTROL)
    wait_idle(opened, qtbot)
    assert not opened.store.unsaved


def test_unsaved_work_is_offered_again(opened, fake_engine, qtbot):
    run(opened, qtbot, "iso")
    steps = opened.store.case.current.steps
    opened.store.set_images(None, None)
    opened.offer_unsaved()
    qtbot.mouseClick(opened.message.button("Reopen"), LEFT)
    wait_pictures(opened, qtbot)
    assert opened.store.case.current.steps == steps
    assert opened.store.unsaved
    assert opened.store.folder is None


def test_export_dialog_writes_the_chosen_format(opened, fake_engine, qtbot, tmp_path):
    run(opened, qtbot, "iso")
    press(opened, qtbot, Qt.Key.Key_E, CONTROL)
    dialog = opened.dialog
    dialog.choices["mha"].setChecked(True)
    assert dialog.path.text().endswith(".mha")
    dialog.path.clear()
    qtbot.keyClicks(dialog.path, str(tmp_path / "field.nii.gz"))
    dialog.choices["itk"].setChecked(True)
    assert dialog.path.text() == str(tmp_path / "field.h5")
    qtbot.mouseClick(dialog.buttons.button(QDialogButtonBox.StandardButton.Save), LEFT)
    wait_idle(opened, qtbot)
    assert (tmp_path / "field.h5").is_file()
    assert "Exported" in opened.message.text.text()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_export_to_a_place_that_cannot_be_written(opened, qtbot, tmp_path):
    tmp_path.chmod(0o500)
    with qtbot.waitSignal(opened.problems.shown):
        opened.commands.export("itk", tmp_path / "a.h5")


def test_export_below_a_file_is_one_line(opened, fake_engine, files, qtbot):
    with qtbot.waitSignal(opened.problems.shown) as shown:
        opened.commands.export("itk", files[0] / "a.h5")
    assert "\n" not in shown.args[0]


def test_device_and_models_are_found_in_the_background(window, fake_engine, qtbot):
    window.commands.find_device()
    wait_idle(window, qtbot)
    assert "CPU, 1 thread" in window.readout.device.text()
    assert [window.workflow.model.itemText(i) for i in range(2)] == ["general", "other"]
    window.workflow.model.setCurrentIndex(1)
    assert window.store.settings.model == "other"


def test_readout_follows_the_pointer(opened, qtbot):
    pane = opened.grid.panes[0]
    qtbot.mouseMove(pane, pane.pixel_of(pane.state.plane.place((6, 5, 9))).toPoint())
    text = opened.readout.values.text()
    assert text.startswith("voxel 9, 5, 6   |   L 8.0  P 40.0  S 70.0 mm")
    assert f"fixed {opened.store.case.fixed.hu[6, 5, 9]:.0f}" in text
    qtbot.mouseMove(pane, QPoint(1, 1))
    assert opened.readout.values.text().startswith("voxel 13, 10, 6")


def test_view_controls(opened, qtbot):
    store = opened.store
    for key, overlay in ((Qt.Key.Key_J, "jacobian"), (Qt.Key.Key_G, "magnitude")):
        press(opened, qtbot, key)
        assert overlay in store.view.overlays
    for key, comparison in zip("XHVQYE", COMPARISONS, strict=True):
        press(opened, qtbot, getattr(Qt.Key, f"Key_{key}"))
        assert store.view.comparison == comparison
    press(opened, qtbot, Qt.Key.Key_E)
    assert store.view.comparison is None
    press(opened, qtbot, Qt.Key.Key_2)
    assert store.view.layout == "orientations"
    press(opened, qtbot, Qt.Key.Key_2, Qt.KeyboardModifier.AltModifier)
    assert store.view.window_hu == (-1350, 150)
    press(opened, qtbot, Qt.Key.Key_B)
    press(opened, qtbot, Qt.Key.Key_Escape)
    assert not store.view.drawing_box


def test_regions_table(opened, qtbot):
    draw_box(opened, qtbot, START, END)
    table = opened.regions.table
    opened.regions.show_errors()
    before, now = (table.item(0, column) for column in (1, 2))
    assert before.text() == now.text() != "–"
    run(opened, qtbot, "rso")
    wait_pictures(opened, qtbot)
    opened.regions.show_errors()
    unrefined_hu = np.float32(opened.store.case.moving.hu - opened.store.case.fixed.hu)
    part = opened.store.boxes[0].box.slices_zyx
    expected = [np.sqrt(np.mean((unrefined_hu[part] + shift) ** 2)) for shift in (0, 1)]  # the fake RSO adds 1 HU
    assert [before.text(), now.text()] == [f"{error:.0f} HU" for error in expected]
    assert now.toolTip() == "RSO 1: 90 → 60 HU in the box"
    assert "mm" in opened.regions.size_text.text()
    table.item(0, 0).setText("bronchus")
    assert opened.store.boxes[0].name == "bronchus"
    opened.store.change_view(cursor_zyx=(0, 0, 0))
    qtbot.mouseClick(table.viewport(), LEFT, pos=table.visualItemRect(table.item(0, 1)).center())
    assert opened.store.view.cursor_zyx == (6, 9, 12)
    press(opened, qtbot, Qt.Key.Key_Delete)
    assert opened.store.boxes == ()


def test_the_other_theme(opened, qapp, qtbot):
    def corner() -> str:
        return opened.grab().toImage().pixelColor(opened.width() - 1, opened.height() - 1).name()

    dark, sheet = corner(), qapp.styleSheet()
    opened.toggle_theme()
    assert not opened.updatesEnabled()
    qtbot.waitUntil(opened.updatesEnabled)
    assert corner() == theme.THEMES["light"].window != dark
    assert theme.THEMES["light"].accent in qapp.styleSheet()
    opened.toggle_theme()
    opened.toggle_theme()
    opened.toggle_theme()
    qtbot.waitUntil(opened.updatesEnabled)
    assert (corner(), qapp.styleSheet()) == (dark, sheet)


def test_the_sheet_of_keys(opened, qtbot):
    press(opened, qtbot, Qt.Key.Key_Question)
    assert opened.dialog is not None
    opened.dialog.close()


def test_settings_survive(opened, qtbot, monkeypatch):
    from app.settings import load_run_settings, save_run_settings

    opened.workflow.rso_iterations.setValue(55)
    opened.workflow.rso_by.setCurrentIndex(1)
    save_run_settings(opened.store.settings)
    assert load_run_settings() == opened.store.settings
    assert load_run_settings().rso_by == "network"


def test_progress_is_told(opened):
    from app.panels.run import duration, figures_text, progress_text
    from app.store import Run

    run = Run("RSO", is_step=True)
    run.take(Progress("rso 1", 3, 400, 120.4, 99.0))
    assert "3 of 400" in progress_text(run)
    assert figures_text(run) == "image 120.4 HU · box 99.0 HU"
    run.take(Progress("rso 1", 4, 400, 120.1, 97.0, best=True))
    assert figures_text(run) == "image 120.1 HU · box 97.0 HU · best 97.0 at 4"
    assert (duration(59.6), duration(125)) == ("1 min 00 s", "2 min 05 s")


def test_folder_of_results_goes_through_the_engine(opened, fake_engine, qtbot, tmp_path, monkeypatch):
    written: list[Path] = []
    monkeypatch.setattr(engine, "write_results", lambda case, path, *_: written.append(path), raising=False)
    opened.commands.export("results", tmp_path / "out")
    wait_idle(opened, qtbot)
    assert written == [tmp_path / "out"]


def test_a_held_key_shows_the_state_before_and_lets_it_go(opened, qtbot, monkeypatch):
    clock = iter((0.0, 0.1, 10.0, 11.0))
    monkeypatch.setattr("app.menus.time.monotonic", lambda: next(clock))
    for shown_after_letting_go in (True, False):
        opened.store.change_view(flickering=False)
        opened.grid.panes[0].setFocus()
        qtbot.keyPress(opened, Qt.Key.Key_Z)
        assert opened.store.view.flickering
        qtbot.keyRelease(opened, Qt.Key.Key_Z)
        assert opened.store.view.flickering is shown_after_letting_go


def test_folded_places_are_listed_and_gone_to(opened, qtbot):
    store, case = opened.store, opened.store.case
    displacement = np.zeros_like(case.current.displacement_vox)
    displacement[2, 3, 5, 9] = displacement[2, 6:8, 12, 20] = 2.0
    folded = replace(case.current, displacement_vox=displacement)
    step = Step("iso", {}, 1, 0.1, 100.0, 0.5, -1.0, 0.1)
    store.set_case(case.after(folded.after(step)))
    qtbot.waitUntil(lambda: opened.quality.folded.count() == 2)
    assert opened.quality.folded.item(0).text() == "2 voxels fold at 20, 12, 6, J -1.00"
    press(opened, qtbot, Qt.Key.Key_J, CONTROL)
    assert store.view.cursor_zyx == (6, 12, 20)
    press(opened, qtbot, Qt.Key.Key_J, CONTROL)
    assert store.view.cursor_zyx == (3, 5, 9)
    opened.quality.folded.setCurrentRow(0)
    assert store.view.cursor_zyx == (6, 12, 20)
    store.change_view(cursor_zyx=(1, 1, 1))
    first = opened.quality.folded.visualItemRect(opened.quality.folded.item(0)).center()
    qtbot.mouseClick(opened.quality.folded.viewport(), LEFT, pos=first)
    assert store.view.cursor_zyx == (6, 12, 20)
    press(opened, qtbot, Qt.Key.Key_Z, CONTROL)
    qtbot.waitUntil(lambda: not opened.quality.folded.isVisible())
    assert store.folded == ()


def test_the_arrangement_of_the_images_is_remembered(opened, qtbot):
    view = opened.store.view
    opened.store.set_view(
        replace(
            view.arranged("sheet"),
            overlays=frozenset({"grid"}),
            plane="coronal",
            quantity="head",
            window_hu=WINDOWS["Bone"],
        )
    )
    opened.store.set_view(opened.store.view.enlarged(Slot("sagittal", "fixed")))
    opened.close()
    view = settings.load_view()
    assert (view.layout, view.plane, view.image, view.quantity) == ("sheet", "sagittal", "fixed", "head")
    assert (view.overlays, view.window_hu) == ({"grid"}, WINDOWS["Bone"])
    settings.save_view(replace(view, window_hu=(-333.0, 77.0)))
    assert settings.load_view().window_hu == WINDOWS["Bone"]
    settings.stored().setValue("view/layout", "nonsense")
    settings.stored().setValue("view/overlays", "grid,nonsense")
    assert (settings.load_view().layout, settings.load_view().overlays) == ("compare", {"grid"})


def test_there_is_one_second_window_at_most(opened, qtbot):
    for _ in range(2):
        opened.actions_table["pop_out"].trigger()
    (window,) = opened.findChildren(PopOut)
    assert len(window.grid.panes) == 12
    window.close()


def test_a_smaller_case_under_the_pointer(opened, volumes, qtbot):
    opened.readout.hover((11, 19, 25))
    part = Box(0, 10, 0, 10, 0, 6)
    smaller = [
        replace(v, hu=v.hu[part.slices_zyx], geometry=v.geometry.cropped(part), valid=v.valid[part.slices_zyx])
        for v in volumes
    ]
    opened.store.set_images(*smaller)
    wait_pictures(opened, qtbot)
    assert opened.readout.values.text().startswith("voxel 5, 5, 3")
