from __future__ import annotations

import threading

import numpy as np
import pytest
from PySide6.QtCore import QMimeData, QPoint, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QFileDialog

import engine
from app.dialogs.browse_images import BrowseDialog
from app.dialogs.series_tree import entry_of
from app.worker import job_of
from engine.geometry import Geometry
from engine.io.images import write_image
from tests.app.driving import CONTROL, LEFT, choose_path, press, wait_idle, wait_pictures

ALT = Qt.KeyboardModifier.AltModifier


@pytest.fixture
def folder(tmp_path, write_series):
    """A CT in two phases and a CBCT of one patient, a single slice of another, and a file."""
    root = tmp_path / "archive"

    def of(patient, **values):
        def change(_, dataset):
            dataset.PatientID, dataset.PatientName = f"ID{patient}", f"Doe^Nr{patient}"
            dataset.PatientBirthDate, dataset.StudyDate = "19600229", "20260102"
            dataset.StudyInstanceUID, dataset.FrameOfReferenceUID = f"1.2.{patient}", f"1.3.{patient}"
            for name, value in values.items():
                setattr(dataset, name, value)

        return change

    write_series(root / "a", 4, of(1, SeriesDescription="4D 0%"))
    write_series(root / "b", 4, of(1, SeriesDescription="4D 50%", RescaleIntercept=-2500))
    write_series(root / "c", 5, of(1, SeriesDescription="of the day CBCT", RescaleIntercept=-2000))
    write_series(root / "d", 1, of(2))
    write_image(root / "file.mha", np.arange(60.0).reshape(3, 4, 5), Geometry((3, 4, 5), (1.0, 2.0, 3.0)))
    (root / "words.txt").write_text("words")
    return root


@pytest.fixture
def dialog(window, fake_engine, folder, qtbot):
    window.browse(folder)
    qtbot.waitUntil(lambda: len(window.dialog.tree.items) == 5)
    wait_idle(window, qtbot)
    return window.dialog


def item_of(dialog, text):
    return next(item for item in dialog.tree.items if text in item.text(0))


def pick(dialog, qtbot, text):
    item = item_of(dialog, text)
    dialog.tree.scrollToItem(item)
    qtbot.mouseClick(dialog.tree.viewport(), LEFT, pos=dialog.tree.visualItemRect(item).center())
    return entry_of(item)


def path_of(item):
    texts = []
    while item.parent() is not None:
        item = item.parent()
        texts.append(item.text(0))
    return texts[::-1]


def test_the_tree_says_who_when_and_which_phase(dialog):
    assert path_of(item_of(dialog, "50 %")) == [
        "Doe Nr1, ID ID1, born 1960-02-29",
        "Study 2026-01-02",
        "4-D: 4D, 2 phases",
    ]
    cells = [item_of(dialog, "of the day").text(column) for column in range(1, 8)]
    assert cells == ["", "CBCT", "5", "7×5", "1.3×1.9×2.5", "2026-01-02", "only 5 slices"]
    assert path_of(item_of(dialog, "file.mha")) == ["Image files", "Folder archive"]
    assert dialog.status.text() == "5 images, 2 patients, 1 cannot be opened, 1 other file passed over"
    assert not dialog.isModal()


def test_every_image_that_can_be_opened_gets_its_picture(dialog):
    colors = {
        item.text(0): {
            item.icon(0).pixmap(40, 40).toImage().pixelColor(x, y).name() for x in (5, 20, 35) for y in (12, 20, 28)
        }
        for item in dialog.tree.items
    }
    blank = {text for text, seen in colors.items() if len(seen) == 1}
    assert blank == {"in folder d"}


def test_a_pair_chosen_by_mouse_is_opened(dialog, window, qtbot):
    assert not dialog.open_button.isEnabled()
    cbct = pick(dialog, qtbot, "of the day")
    qtbot.mouseClick(dialog.buttons["fixed"], LEFT)
    ct = pick(dialog, qtbot, "0 % · 4D 0%")
    qtbot.mouseClick(dialog.buttons["moving"], LEFT)
    assert dialog.roles == {"fixed": cbct, "moving": ct}
    assert item_of(dialog, "of the day").text(1) == "Fixed"
    assert "Doe Nr1" in dialog.texts["moving"].text()
    assert dialog.guard.isHidden()

    qtbot.mouseClick(dialog.open_button, LEFT)
    wait_pictures(window, qtbot)
    assert (window.store.case.fixed.modality, window.store.case.moving.modality) == ("CBCT", "CT")
    assert window.store.case.moving.hu[0, 0, 0] == -1000
    assert window.dialog is None
    assert not window.message.isVisible()


def test_a_pair_chosen_by_keys_is_warned_of_and_swapped(dialog, window, qtbot):
    dialog.activateWindow()
    qtbot.waitUntil(dialog.isActiveWindow)
    dialog.tree.setCurrentItem(item_of(dialog, "0 % · 4D 0%"))
    dialog.tree.setFocus()
    qtbot.keyClick(dialog.tree, Qt.Key.Key_Return)
    dialog.tree.setCurrentItem(item_of(dialog, "of the day"))
    qtbot.keyClick(dialog.tree, Qt.Key.Key_Return)
    assert "swap the roles" in dialog.guard.text()
    qtbot.keyClick(dialog, Qt.Key.Key_W, ALT)
    qtbot.waitUntil(dialog.guard.isHidden)
    qtbot.keyClick(dialog, Qt.Key.Key_O, ALT)
    wait_pictures(window, qtbot)
    assert window.store.case.fixed.modality == "CBCT"


def test_what_cannot_be_opened_says_why_and_takes_no_role(dialog, qtbot):
    pick(dialog, qtbot, "in folder d")
    assert "single slice" in dialog.detail.text()
    assert not any(button.isEnabled() for button in dialog.buttons.values())
    dialog.choose("fixed")
    assert dialog.roles == {"fixed": None, "moving": None}


def test_one_image_takes_one_role(dialog, qtbot):
    entry = pick(dialog, qtbot, "of the day")
    dialog.choose("fixed")
    dialog.choose("moving")
    assert dialog.roles == {"fixed": None, "moving": entry}


def test_a_role_without_a_choice_keeps_its_image(dialog, window, folder, qtbot):
    moving = engine.read_volume(folder / "c")
    window.store.set_images(moving, moving)
    wait_pictures(window, qtbot)
    pick(dialog, qtbot, "of the day")
    dialog.choose("fixed")
    assert dialog.texts["moving"].text() == "stays as it is (CBCT, 7 × 5 × 5)"
    qtbot.mouseClick(dialog.open_button, LEFT)
    qtbot.waitUntil(lambda: window.store.fixed is not moving)
    wait_pictures(window, qtbot)
    assert window.store.moving is moving


def test_choices_outlast_another_folder(dialog, window, qtbot, tmp_path):
    entry = pick(dialog, qtbot, "of the day")
    dialog.choose("fixed")
    (tmp_path / "empty").mkdir()
    dialog.look_through(tmp_path / "empty")
    wait_idle(window, qtbot)
    assert dialog.empty.isVisible()
    assert dialog.empty.text().startswith("No images here")
    assert dialog.roles["fixed"] is entry
    assert dialog.open_button.isEnabled()


def test_a_folder_that_is_gone(dialog, window, qtbot, tmp_path):
    dialog.look_through(tmp_path / "gone")
    wait_idle(window, qtbot)
    assert dialog.empty.text() == "Expected a folder with images; there is none at the given path."


def test_dropping_a_folder_opens_the_browser_and_a_results_folder_its_case(window, fake_engine, folder, qtbot, volumes):
    drop(window, folder)
    assert isinstance(window.dialog, BrowseDialog)
    assert window.store.run is None
    qtbot.waitUntil(lambda: len(window.dialog.tree.items) == 5)
    drop(window.dialog, folder / "a")
    qtbot.waitUntil(lambda: len(window.dialog.tree.items) == 1)
    wait_idle(window, qtbot)
    window.dialog.close()

    window.store.set_images(*volumes)
    results = folder.parent / "results"
    results.mkdir()
    engine.save_case(window.store.case, results / "case")
    drop(window, results)
    qtbot.waitUntil(lambda: window.store.folder == results / "case")
    wait_pictures(window, qtbot)


def test_the_menu_asks_for_a_folder(window, fake_engine, folder, qtbot):
    press(window, qtbot, Qt.Key.Key_O, CONTROL | ALT)
    assert isinstance(window.dialog, QFileDialog)
    choose_path(window, qtbot, folder)
    qtbot.waitUntil(lambda: isinstance(window.dialog, BrowseDialog))
    wait_idle(window, qtbot)


def test_closing_while_it_looks_ends_the_search(window, fake_engine, folder, qtbot, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr(engine, "read_catalog", lambda _: job_of(gate.wait, 20)(), raising=False)
    window.browse(folder)
    assert window.dialog.stop_button.isVisible()
    window.dialog.close()
    gate.set()
    wait_idle(window, qtbot)
    assert window.dialog is None


def test_stop_shows_what_was_found(window, fake_engine, folder, qtbot, monkeypatch):
    real, gate = engine.read_catalog, threading.Event()

    def held(path):
        job = real(path)
        yield next(job)
        gate.wait(20)
        return (yield from job)

    monkeypatch.setattr(engine, "read_catalog", held, raising=False)
    window.browse(folder)
    qtbot.mouseClick(window.dialog.stop_button, LEFT)
    gate.set()
    qtbot.waitUntil(lambda: window.dialog.status.text().endswith("Stopped: there may be more."))
    wait_idle(window, qtbot)


def test_nothing_opens_while_a_step_runs(dialog, window, volumes, fake_engine, qtbot):
    window.store.set_images(*volumes)
    wait_pictures(window, qtbot)
    pick(dialog, qtbot, "of the day")
    dialog.choose("fixed")
    fake_engine.endless = True
    window.commands.iso()
    assert not dialog.open_button.isEnabled()
    window.commands.cancel()
    wait_idle(window, qtbot)
    assert dialog.open_button.isEnabled()


def drop(widget, path):
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(path))])
    widget.dropEvent(
        QDropEvent(
            QPointF(QPoint(9, 9)),
            Qt.DropAction.CopyAction,
            mime,
            Qt.MouseButton.LeftButton,
            Qt.KeyboardModifier.NoModifier,
        )
    )
