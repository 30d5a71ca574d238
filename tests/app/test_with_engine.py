"""The window and the real engine together, on a small phantom read from disk."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialogButtonBox

import engine
from app.dialogs.compare_fits import CompareFitsDialog
from engine import cli
from engine.geometry import transform_points
from engine.guidance import Guidance
from engine.io.images import write_image
from engine.phantom.thorax import thorax_pair
from engine.roi import Box
from tests.app.driving import CONTROL, LEFT, SHIFT, choose_path, click_stage, draw_box, press, told_problem

BOX = Box(8, 20, 8, 20, 6, 16)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    pair = thorax_pair(size_xyz=(32, 28, 24), spacing_xyz_mm=(9.0, 9.5, 11.0))
    folder = tmp_path_factory.mktemp("pair")
    for name, volume in (("fixed", pair.fixed), ("moving", pair.moving)):
        write_image(folder / f"{name}.mha", volume.hu, volume.geometry)
    return folder / "fixed.mha", folder / "moving.mha"


@pytest.fixture
def opened(window, files, qtbot):
    window.commands.open_pair(*files)
    wait(window, qtbot)
    store = window.store
    store.set_settings(replace(store.settings, iso_iterations=2, iso_by="field", rso_iterations=3, rso_by="field"))
    return window


def wait(window, qtbot):
    qtbot.waitUntil(lambda: not window.worker.busy and not window.store.running, timeout=60_000)
    qtbot.waitUntil(lambda: not window.worker.busy, timeout=60_000)
    window.grid.refresh()
    assert told_problem(window) == ""


def test_the_whole_way_by_mouse_and_keys(window, files, qtbot, tmp_path):
    """Every step as a hand does it: typed paths, clicked buttons, a dragged box, keys."""
    store = window.store
    press(window, qtbot, Qt.Key.Key_O, CONTROL)
    dialog = window.dialog
    for field, path in zip((dialog.fixed, dialog.moving), files, strict=True):
        qtbot.keyClicks(field.edit, str(path))
    qtbot.mouseClick(dialog.buttons.button(QDialogButtonBox.StandardButton.Open), LEFT)
    qtbot.waitUntil(lambda: store.case is not None, timeout=60_000)
    wait(window, qtbot)
    for name in ("align", "general"):
        click_stage(window, qtbot, name)
        wait(window, qtbot)

    draw_box(window, qtbot, (12, 8, 8), (12, 19, 19))
    drawn = store.boxes[0].box
    assert drawn.ranges_zyx[1:] == ((8, 20), (8, 20))
    window.workflow.rso_iterations.setFocus()
    window.workflow.rso_iterations.selectAll()
    qtbot.keyClicks(window.workflow.rso_iterations, "5000")
    qtbot.keyClick(window.workflow.rso_iterations, Qt.Key.Key_Return)
    click_stage(window, qtbot, "rso")
    qtbot.waitUntil(lambda: len(store.run.box_error_hu) > 30, timeout=60_000)
    qtbot.mouseClick(window.run_panel.stop_button, LEFT)
    wait(window, qtbot)
    refined = store.case
    step = refined.current.steps[-1]
    assert (step.name, step.box, step.certificate.passed) == ("rso 1", drawn, True)
    assert 0 < step.iterations < 5000
    assert step.box_rmse_hu_after <= step.box_rmse_hu_before

    press(window, qtbot, Qt.Key.Key_Z, CONTROL)
    wait(window, qtbot)
    assert store.case.cursor == 2
    np.testing.assert_array_equal(store.pictures.warped_hu, engine.warped_hu(store.case))
    press(window, qtbot, Qt.Key.Key_Z, CONTROL | SHIFT)
    wait(window, qtbot)
    assert store.case.cursor == 3

    press(window, qtbot, Qt.Key.Key_E, CONTROL)
    dialog = window.dialog
    dialog.choices["mha"].setChecked(True)
    dialog.path.clear()
    qtbot.keyClicks(dialog.path, str(tmp_path / "field.mha"))
    qtbot.mouseClick(dialog.buttons.button(QDialogButtonBox.StandardButton.Save), LEFT)
    wait(window, qtbot)
    exported = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "field.mha")))
    assert exported.shape == (*refined.fixed.geometry.shape_zyx, 3)

    press(window, qtbot, Qt.Key.Key_S, CONTROL)
    choose_path(window, qtbot, tmp_path / "case")
    qtbot.waitUntil(lambda: not store.unsaved, timeout=10_000)
    wait(window, qtbot)
    press(window, qtbot, Qt.Key.Key_O, CONTROL | SHIFT)
    choose_path(window, qtbot, tmp_path / "case")
    qtbot.waitUntil(lambda: store.case is not refined, timeout=60_000)
    wait(window, qtbot)
    np.testing.assert_array_equal(store.case.current.displacement_vox, refined.current.displacement_vox)
    assert store.case.current.steps == refined.current.steps

    click_stage(window, qtbot, "iso")
    qtbot.waitUntil(lambda: len(store.run.box_error_hu) > 1, timeout=60_000)
    window.close()
    qtbot.waitUntil(lambda: not window.isVisible(), timeout=60_000)
    assert not window.worker.busy
    again = engine.open_case(tmp_path / "case")
    np.testing.assert_array_equal(again.current.displacement_vox, refined.current.displacement_vox)


def test_the_whole_loop(opened, qtbot, tmp_path):
    store, commands = opened.store, opened.commands
    for step in (commands.align, commands.iso):
        step()
        wait(opened, qtbot)
    store.add_box(BOX)
    before = store.case.current.displacement_vox
    commands.rso()
    wait(opened, qtbot)
    assert [step.name for step in store.case.current.steps] == ["align", "iso", "rso 1"]
    certificate = store.case.current.steps[-1].certificate
    assert certificate.passed == ("kept its promises" in opened.quality.verdict.text())
    np.testing.assert_array_equal(store.case.states[2].displacement_vox, before)
    np.testing.assert_array_equal(store.pictures.warped_hu, engine.warped_hu(store.case))

    for name, suffix in (("itk", ".h5"), ("nifti", ".nii.gz"), ("results", "")):
        commands.export(name, tmp_path / f"out{suffix}")
        wait(opened, qtbot)
    assert (tmp_path / "out" / "transform.h5").is_file()

    case = store.case
    commands.save(tmp_path / "case")
    wait(opened, qtbot)
    commands.open_case(tmp_path / "case")
    wait(opened, qtbot)
    np.testing.assert_array_equal(store.case.current.displacement_vox, case.current.displacement_vox)
    np.testing.assert_array_equal(store.pictures.warped_hu, engine.warped_hu(case))


def test_the_window_and_the_command_line_give_the_same_bits(opened, files, qtbot, tmp_path):
    """Align, general, ISO and a box, the same seed and device: not one bit differs."""
    opened.store.add_box(BOX)
    for step in (opened.commands.align, opened.commands.general, opened.commands.iso, opened.commands.rso):
        step()
        wait(opened, qtbot)
    steps = ["--iso", "2", "--box", str(BOX), "--rso", "3", "--by", "field"]
    assert cli.main(["register", *map(str, files), "--out", str(tmp_path / "out"), *steps]) == 0
    typed = engine.open_case(tmp_path / "out" / "case")
    assert [step.name for step in typed.current.steps] == ["align", "general", "iso", "rso 1"]
    for clicked, state in zip(opened.store.case.states, typed.states, strict=True):
        np.testing.assert_array_equal(clicked.rigid, state.rigid)
        np.testing.assert_array_equal(clicked.displacement_vox, state.displacement_vox)


def test_stop_midway_keeps_the_best_and_cancel_keeps_nothing(opened, qtbot):
    store = opened.store
    store.set_settings(replace(store.settings, iso_iterations=5000))
    opened.commands.iso()
    qtbot.waitUntil(lambda: len(store.run.error_hu) > 2, timeout=60_000)
    opened.commands.cancel()
    wait(opened, qtbot)
    assert len(store.case.states) == 1
    opened.commands.iso()
    qtbot.waitUntil(lambda: len(store.run.error_hu) > 2, timeout=60_000)
    opened.commands.stop()
    wait(opened, qtbot)
    assert store.run.state == "done"
    assert 0 < store.case.current.steps[-1].iterations < 5000


def test_a_box_outside_the_image_is_one_line(opened, qtbot):
    opened.store.add_box(Box(8, 20, 8, 20, 6, 99))
    with qtbot.waitSignal(opened.problems.shown, timeout=60_000) as shown:
        opened.commands.rso()
    assert "\n" not in shown.args[0]
    assert "box" in shown.args[0]
    opened.message.hide()


def test_what_the_user_says_reaches_the_engine(opened, qtbot):
    """A pair, an excluded box and a fit, set in the window: the same bits as from the engine alone."""
    store, commands = opened.store, opened.commands
    commands.align()
    wait(opened, qtbot)
    aligned = store.case
    center = tuple(aligned.fixed.geometry.center_xyz_mm())
    store.add_pair(center, (center[0] + 12.0, *center[1:]))
    store.add_box(BOX)
    commands.use_box("excluded")
    store.set_settings(replace(store.settings, iso_fit="smoother"))
    commands.iso()
    wait(opened, qtbot)

    excluded = np.zeros(aligned.fixed.hu.shape, dtype=bool)
    excluded[BOX.slices_zyx] = True
    partner = transform_points(aligned.current.rigid, [(center[0] + 12.0, *center[1:])])
    guided = aligned.guided(Guidance(np.array([center]), partner, excluded=excluded))
    expected = engine.finish(engine.run_step(guided, engine.IsoSettings(iterations=2, fit="smoother")))
    np.testing.assert_array_equal(store.case.current.displacement_vox, expected.displacement_vox)
    assert store.case.current.steps[-1].notes == expected.steps[-1].notes
    assert f"{excluded.sum()} voxels excluded" in opened.quality.notes.text()
    assert opened.points.table.item(0, 1).text() == f"{store.case.pair_distances_mm()[0]:.1f} mm"


def test_all_regions_and_one_of_them_back_keep_every_bit_elsewhere(opened, qtbot):
    store, commands = opened.store, opened.commands
    store.set_settings(replace(store.settings, rso_iterations=30))
    commands.run_up_to_iso()
    wait(opened, qtbot)
    assert [step.name for step in store.case.current.steps] == ["align", "general", "iso"]
    for box in (BOX, Box(20, 28, 8, 16, 6, 12)):
        store.add_box(box)
    commands.rso_all()
    wait(opened, qtbot)
    assert [step.name for step in store.case.current.steps[3:]] == ["rso 1", "rso 2"]

    before = store.case
    store.set_boxes(store.boxes, 0)
    commands.take_back(3)
    wait(opened, qtbot)
    now, iso = (store.case.current.displacement_vox, before.states[3].displacement_vox)
    step = store.case.current.steps[-1]
    assert (step.name, step.certificate.passed, step.certificate.scaled_by_fold_guard) == ("revert", True, 1.0)
    np.testing.assert_array_equal(now[(slice(None), *BOX.slices_zyx)], iso[(slice(None), *BOX.slices_zyx)])
    outside = np.ones(now.shape[1:], bool)
    outside[BOX.grown(13, store.case.fixed.geometry.shape_zyx).slices_zyx] = False
    np.testing.assert_array_equal(now[:, outside], before.current.displacement_vox[:, outside])
    assert "as in state 3" in opened.quality.notes.text()
    np.testing.assert_array_equal(store.pictures.warped_hu, engine.warped_hu(store.case))


def test_proposals_and_fits_of_one_of_them(opened, qtbot):
    store, commands = opened.store, opened.commands
    commands.align()
    wait(opened, qtbot)
    commands.propose_regions()
    wait(opened, qtbot)
    shape_zyx = store.case.fixed.geometry.shape_zyx
    assert store.boxes
    assert all(named.box.checked(shape_zyx) and "mm" in named.reason for named in store.boxes)

    before = store.case
    commands.compare_region_fits()
    qtbot.waitUntil(lambda: opened.dialog is not None, timeout=60_000)
    wait(opened, qtbot)
    candidates = opened.dialog.comparison.candidates
    assert [candidate.registration.steps[-1].settings["fit"] for candidate in candidates] == [
        "closer",
        "balanced",
        "smoother",
    ]
    assert store.case is before
    qtbot.mouseClick(opened.dialog.buttons["closer"], LEFT)
    assert store.case.current is candidates[0].registration
    wait(opened, qtbot)
    np.testing.assert_array_equal(store.pictures.warped_hu, engine.warped_hu(store.case))


def test_a_fit_that_fails_leaves_those_before_it(opened, qtbot, monkeypatch):
    real = engine.run_step

    def fails_when_smoother(case, settings, *rest, **named):
        if settings.fit == "smoother":
            raise engine.DeviceError("The machine has no memory left.")
        return real(case, settings, *rest, **named)

    monkeypatch.setattr(engine, "run_step", fails_when_smoother)
    opened.store.set_settings(replace(opened.store.settings, iso_iterations=2))
    opened.commands.compare_image_fits()
    qtbot.waitUntil(lambda: isinstance(opened.dialog, CompareFitsDialog), timeout=60_000)
    assert list(opened.dialog.buttons) == ["closer", "balanced"]
    assert "no memory" in told_problem(opened)
