from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.identity import Identity
from tests.app.driving import LEFT, wait_idle, wait_pictures


@pytest.fixture
def strangers(volumes):
    """A CT of one patient as fixed and a CBCT of another as moving."""
    fixed, moving = volumes
    return (
        replace(fixed, identity=Identity.of("SECRET-1", "", "1.2")),
        replace(moving, modality="CBCT", identity=Identity.of("SECRET-2", "", "1.3")),
    )


def test_an_odd_pair_is_told_once_and_stays_marked(window, fake_engine, strangers, qtbot):
    window.store.set_images(*strangers)
    wait_idle(window, qtbot)

    lines = window.message.text.text().splitlines()
    assert [line.split(" ")[-1] for line in lines] == ["patient.", "that.", "else."]
    warning = window.workflow.pair_warning
    assert warning.isVisible()
    assert warning.text() == "⚠ The images name different patient IDs. (1 more)"
    assert "frames of reference" in warning.toolTip()
    assert "SECRET" not in window.message.text.text()

    qtbot.mouseClick(window.message.button("Close"), LEFT)
    window.store.set_case(window.store.case.gone_to(0))
    wait_idle(window, qtbot)
    assert not window.message.isVisible()
    assert warning.isVisible()


def test_swapping_the_roles_settles_them(window, fake_engine, strangers, qtbot):
    fixed, moving = strangers
    window.store.set_images(fixed, replace(moving, identity=fixed.identity))
    wait_idle(window, qtbot)

    qtbot.mouseClick(window.message.button("Swap roles"), LEFT)
    wait_pictures(window, qtbot)

    assert window.store.case.fixed.modality == "CBCT"
    assert not window.message.isVisible()
    assert not window.workflow.pair_warning.isVisible()


def test_a_reopened_case_is_checked_too(window, fake_engine, strangers, qtbot, tmp_path):
    window.store.set_images(*strangers)
    wait_idle(window, qtbot)
    window.commands.save(tmp_path / "case")
    wait_idle(window, qtbot)
    window.store.set_images(None, None)
    assert not window.workflow.pair_warning.isVisible()

    window.commands.open_case(tmp_path / "case")
    qtbot.waitUntil(lambda: window.workflow.pair_warning.isVisible())
    wait_idle(window, qtbot)
    assert "patient IDs" in window.message.text.text()


def test_what_was_said_goes_with_the_pair_and_other_words_stay(window, fake_engine, strangers, qtbot):
    for words, stay in (("", False), ("Something else.", True)):
        window.store.set_images(*strangers)
        wait_idle(window, qtbot)
        assert window.message.isVisible()
        if words:
            window.message.say(words)
        window.store.set_images(None, None)
        assert window.message.isVisible() is stay


def test_one_image_in_both_roles(window, fake_engine, volumes, qtbot):
    fixed, _ = volumes
    window.store.set_images(fixed, replace(fixed, hu=np.array(fixed.hu)))
    wait_idle(window, qtbot)
    assert "same image" in window.workflow.pair_warning.text()


def test_a_good_pair_raises_nothing(opened):
    assert not opened.workflow.pair_warning.isVisible()
    assert not opened.message.isVisible()
