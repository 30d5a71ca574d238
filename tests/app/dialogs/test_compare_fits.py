from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt

from app.dialogs.compare_fits import CompareFitsDialog
from engine.errors import InputError
from engine.roi import Box
from tests.app.driving import CONTROL, LEFT, SHIFT, draw_box, press, turn_wheel, wait_idle

START, END = (6, 4, 6), (6, 14, 18)


@pytest.fixture
def compared(opened, qtbot):
    """The three fits of a region, in the dialog."""
    draw_box(opened, qtbot, START, END)
    press(opened, qtbot, Qt.Key.Key_R, CONTROL | SHIFT)
    return shown(opened, qtbot)


def shown(window, qtbot):
    qtbot.waitUntil(lambda: isinstance(window.dialog, CompareFitsDialog), timeout=30_000)
    wait_idle(window, qtbot)
    qtbot.waitUntil(lambda: all(pane.state is not None for pane in window.dialog.panes.values()))
    return window.dialog


def test_the_fit_is_chosen_in_the_left_column(opened, fake_engine, qtbot):
    for name, index in (("iso", 1), ("rso", 2)):
        getattr(opened.workflow, f"{name}_fit").setCurrentIndex(index)
    opened.commands.iso()
    wait_idle(opened, qtbot)
    draw_box(opened, qtbot, START, END)
    opened.commands.rso()
    wait_idle(opened, qtbot)
    assert [settings.fit for settings in fake_engine.asked] == ["closer", "smoother"]


def test_all_fits_begin_from_the_same_state_and_none_is_kept(opened, fake_engine, compared):
    assert [settings.fit for settings in fake_engine.asked] == ["closer", "balanced", "smoother"]
    assert {settings.box for settings in fake_engine.asked} == {opened.store.boxes[0].box}
    starts = [candidate.registration.steps[:-1] for candidate in compared.comparison.candidates]
    assert starts == [(), (), ()]
    assert len(opened.store.case.states) == 1
    assert not compared.isModal()


def test_pictures_show_the_middle_of_the_box(compared):
    assert compared.view.cursor_zyx[0] == 6
    assert compared.view.zoom >= 1
    levels = [compared.panes[fit, "warped"].state.layers[0].draw() for fit in ("closer", "balanced", "smoother")]
    np.testing.assert_allclose(levels[0] - levels[1], 1.0, atol=1e-3)
    np.testing.assert_allclose(levels[1] - levels[2], 0.5, atol=1e-3)
    assert "difference -500 … 500 HU" in compared.note.text()


def test_the_panes_scroll_together_and_leave_the_main_ones(opened, compared, qtbot):
    before = opened.store.view
    turn_wheel(compared.panes["closer", "warped"], -1, at=QPointF(60, 50))
    panes = compared.panes.values()
    qtbot.waitUntil(lambda: {pane.state.place_text.split("/")[0] for pane in panes} == {"Axial 8 "})
    compared.plane.setCurrentIndex(1)
    qtbot.waitUntil(lambda: {pane.state.slot.plane for pane in panes} == {"coronal"})
    assert opened.store.view == before


def test_taking_one_makes_it_the_next_state(opened, fake_engine, compared, qtbot):
    chosen = compared.comparison.candidates[2].registration
    qtbot.mouseClick(compared.buttons["smoother"], LEFT)
    assert opened.store.case.current is chosen
    assert opened.store.case.cursor == 1
    qtbot.waitUntil(lambda: opened.dialog is None)
    wait_idle(opened, qtbot)
    np.testing.assert_array_equal(opened.store.pictures.warped_hu, fake_engine.warped_hu(opened.store.case))
    press(opened, qtbot, Qt.Key.Key_Z, CONTROL)
    assert opened.store.case.cursor == 0
    wait_idle(opened, qtbot)


def test_closing_keeps_none(opened, compared, qtbot):
    before = opened.store.case
    compared.close()
    qtbot.waitUntil(lambda: opened.dialog is None)
    assert opened.store.case is before


def test_nothing_can_be_taken_from_another_state(opened, compared, qtbot):
    opened.commands.iso()
    wait_idle(opened, qtbot)
    assert not any(button.isEnabled() for button in compared.buttons.values())
    assert "another state" in compared.note.text()
    candidate = compared.comparison.candidates[0]
    opened.commands.take(compared.comparison, candidate)
    assert opened.store.case.current is not candidate.registration
    assert "Go back to the state" in opened.message.text.text()
    opened.commands.undo()
    assert all(button.isEnabled() for button in compared.buttons.values())
    wait_idle(opened, qtbot)


def test_the_whole_image_at_the_slice_of_the_cursor(opened, fake_engine, qtbot):
    opened.store.change_view(cursor_zyx=(9, 3, 3))
    press(opened, qtbot, Qt.Key.Key_I, CONTROL | SHIFT)
    dialog = shown(opened, qtbot)
    assert dialog.view.cursor_zyx == (9, 3, 3)
    assert not any(hasattr(settings, "box") for settings in fake_engine.asked)


def test_stop_ends_one_fit_and_the_next_begins(opened, fake_engine, qtbot):
    fake_engine.endless = True
    opened.commands.compare_image_fits()
    for number in (1, 2, 3):
        qtbot.waitUntil(lambda n=number: f"({n} of 3)" in opened.store.run.title and opened.store.run.done > 3)
        qtbot.mouseClick(opened.run_panel.stop_button, LEFT)
    dialog = shown(opened, qtbot)
    assert all(candidate.registration.steps[-1].iterations > 3 for candidate in dialog.comparison.candidates)


def test_cancel_keeps_none_and_runs_no_other(opened, fake_engine, qtbot):
    fake_engine.endless = True
    before, warped = opened.store.case, opened.store.pictures.warped_hu
    opened.commands.compare_image_fits()
    qtbot.waitUntil(lambda: opened.store.run.done > 3)
    qtbot.mouseClick(opened.run_panel.cancel_button, LEFT)
    qtbot.waitUntil(lambda: not opened.store.running)
    wait_idle(opened, qtbot)
    assert (opened.store.case, opened.dialog, len(fake_engine.asked)) == (before, None, 1)
    assert opened.store.pictures.warped_hu is warped


def test_a_fit_that_fails_is_one_line_and_keeps_none(opened, fake_engine, qtbot):
    fake_engine.error = InputError("Expected a box inside the image.")
    before = opened.store.case
    with qtbot.waitSignal(opened.problems.shown):
        opened.commands.compare_image_fits()
    wait_idle(opened, qtbot)
    assert (opened.store.case, opened.dialog) == (before, None)


def test_without_a_region_or_images_there_is_nothing_to_compare(window, opened, qtbot):
    assert not opened.actions_table["compare_region"].isEnabled()
    with qtbot.waitSignal(opened.problems.shown) as told:
        opened.commands.compare_region_fits()
    assert "Expected a region" in told.args[0]
    opened.store.set_images(None, None)
    assert not opened.actions_table["compare_image"].isEnabled()
    with qtbot.waitSignal(opened.problems.shown) as told:
        opened.commands.compare_image_fits()
    assert "Expected two images" in told.args[0]


def test_the_figures_of_each_fit_and_the_small_screen(opened, compared, qtbot):
    texts = [widget.text() for widget in compared.findChildren(type(compared.note))]
    assert texts.count("90.0 → 60.0 HU") == 3
    assert texts.count("✓ kept its promises") == 3
    assert compared.minimumSizeHint().width() <= 1366
    assert compared.minimumSizeHint().height() <= 768 - 30
    assert len({button.accessibleName() for button in compared.buttons.values()}) == 3


def test_a_wide_box_is_seen_whole(opened, qtbot):
    opened.store.add_box(Box.whole(opened.store.case.fixed.geometry.shape_zyx))
    opened.commands.compare_region_fits()
    assert shown(opened, qtbot).view.zoom == 1.0


def test_settings_of_the_fit_survive(opened):
    from app.settings import load_run_settings, save_run_settings

    settings = replace(opened.store.settings, iso_fit="closer", rso_fit="smoother")
    save_run_settings(settings)
    assert load_run_settings() == settings
    opened.store.set_settings(settings)
    assert opened.workflow.rso_fit.currentText() == "Smoother"


def test_notes_of_a_fit_are_shown(opened, compared, qtbot):
    first, *rest = compared.comparison.candidates
    *before, last = first.registration.steps
    noted = replace(first.registration, steps=(*before, replace(last, notes=("2 points: 5.0 → 1.2 mm off",))))
    comparison = replace(compared.comparison, candidates=(replace(first, registration=noted), *rest))
    dialog = CompareFitsDialog(opened.store, comparison, opened)
    texts = [widget.text() for widget in dialog.findChildren(type(dialog.note))]
    assert texts.count("2 points: 5.0 → 1.2 mm off") == 1
    assert "Notes" in texts
    dialog.close()
