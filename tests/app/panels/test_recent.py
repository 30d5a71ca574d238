from __future__ import annotations

import shutil

import pytest

from app import settings
from tests.app.driving import wait_idle, wait_pictures


@pytest.fixture
def make_case(tmp_path):
    """A folder that looks like a saved case."""

    def make(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "case.json").write_text("{}")
        return folder

    return make


def test_the_newest_comes_first_and_nothing_twice(make_case):
    a, b = make_case("a"), make_case("b")
    for folder in (a, b, a):
        settings.remember_case(folder)
    assert settings.recent_cases() == [a, b]
    assert not settings.remember_case(a)


def test_a_single_case_is_remembered(make_case):
    folder = make_case("only")
    settings.remember_case(folder)
    assert settings.recent_cases() == [folder]


def test_eight_at_most_and_none_that_is_gone(make_case):
    folders = [make_case(str(number)) for number in range(10)]
    for folder in folders:
        settings.remember_case(folder)
    assert settings.recent_cases() == folders[:1:-1]
    shutil.rmtree(folders[9])
    assert settings.recent_cases() == folders[8:0:-1]


def test_a_saved_case_is_offered_in_the_menu_and_in_the_images_section(opened, qtbot, tmp_path):
    assert not opened.recent.menuAction().isEnabled()
    assert opened.workflow.recent_button.isHidden()
    opened.commands.save(tmp_path / "day & night")
    wait_idle(opened, qtbot)

    assert opened.recent.menuAction().isEnabled()
    assert not opened.workflow.recent_button.isHidden()
    opened.recent.fill()
    (action,) = opened.recent.actions()
    assert "day && night" in action.text()

    case = opened.store.case
    opened.store.set_images(None, None)
    action.trigger()
    qtbot.waitUntil(lambda: opened.store.case is not None)
    wait_pictures(opened, qtbot)
    assert opened.store.case.id == case.id
    assert opened.store.folder == tmp_path / "day & night"
    assert opened.recent in [action.menu() for action in opened.menuBar().actions()[0].menu().actions()]


def test_a_case_that_vanished_leaves_the_menu_when_it_opens(window, make_case, qtbot):
    folder = make_case("gone")
    settings.remember_case(folder)
    window.recent.fill()
    assert len(window.recent.actions()) == 1
    shutil.rmtree(folder)
    window.recent.aboutToShow.emit()
    assert window.recent.actions() == []
    assert window.workflow.recent_button.isHidden()


def test_work_that_was_left_unsaved_is_offered_in_the_menu(opened, qtbot):
    """But for that on the case that is open; it comes back without a home."""
    opened.commands.iso()
    wait_pictures(opened, qtbot)
    left = opened.store.case
    assert not opened.recent.menuAction().isEnabled()
    opened.commands.swap_images()
    wait_pictures(opened, qtbot)
    opened.menuBar().actions()[0].menu().aboutToShow.emit()
    assert opened.recent.menuAction().isEnabled()
    heading, action = opened.recent.actions()
    assert heading.isSeparator()
    action.trigger()
    qtbot.waitUntil(lambda: opened.store.case.id == left.id)
    wait_pictures(opened, qtbot)
    assert (opened.store.folder, opened.store.unsaved) == (None, True)


def test_an_opened_case_is_remembered_and_named_at_once(opened, qtbot, tmp_path, monkeypatch):
    opened.commands.save(tmp_path / "case")
    wait_idle(opened, qtbot)
    settings.stored().remove("recent")
    opened.commands.open_case(tmp_path / "case")
    wait_pictures(opened, qtbot)
    assert settings.recent_cases() == [tmp_path / "case"]
    assert opened.windowTitle() == "case – Regard"
