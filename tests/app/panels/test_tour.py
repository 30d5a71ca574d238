from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from PySide6.QtCore import Qt

from app import settings
from app.tour import STEPS
from tests.app.driving import LEFT, draw_box, press, wait_idle, wait_pictures

WRONG = np.s_[4:9, 6:13, 8:17]
NAMES = [step.action for step in STEPS]


@pytest.fixture
def demo(volumes, monkeypatch):
    """The built-in case, small, with a block that no step of the fake engine puts right."""
    fixed, moving = volumes
    hu = np.full_like(fixed.hu, -300.0)
    worse = hu.copy()
    worse[WRONG] += 900.0
    pair = replace(fixed, hu=worse, name="phantom 0 CBCT"), replace(moving, hu=hu, name="phantom 0 CT")
    monkeypatch.setattr(
        "engine.phantom.thorax.thorax_pair", lambda: type("Pair", (), {"fixed": pair[0], "moving": pair[1]})
    )
    return pair


@pytest.fixture
def touring(window, fake_engine, demo, qtbot):
    press(window, qtbot, Qt.Key.Key_F1)
    return window


def do(window, qtbot):
    """The button of the strip."""
    qtbot.mouseClick(window.tour.do_button, LEFT)
    wait_idle(window, qtbot)


def wait_step(window, qtbot, name):
    number = len(STEPS) if name == "" else NAMES.index(name)
    qtbot.waitUntil(lambda: window.tour.number == number)


def go_to(window, qtbot, name):
    for step in NAMES[: NAMES.index(name)]:
        wait_step(window, qtbot, step)
        if step in ("demo", "align", "general"):
            do(window, qtbot)
        else:
            qtbot.mouseClick(window.tour.skip_button, LEFT)
    wait_step(window, qtbot, name)
    wait_pictures(window, qtbot)


def test_the_whole_tour_by_mouse(touring, qtbot):
    window, tour = touring, touring.tour
    assert tour.place.text() == "Step 1 of 9"
    assert not tour.skip_button.isEnabled()
    for here, following in pairwise(NAMES[:5]):
        wait_step(window, qtbot, here)
        do(window, qtbot)
        wait_step(window, qtbot, following)
    wait_pictures(window, qtbot)
    window.grid.refresh()
    pane = window.grid.panes[0]
    qtbot.mouseClick(pane, LEFT, pos=pane.pixel_of(pane.state.plane.place((6, 2, 2))).toPoint())
    qtbot.waitUntil(lambda: "Error at the cursor" in tour.text.text())
    assert NAMES[tour.number] == "next", "that place is right"
    qtbot.mouseClick(pane, LEFT, pos=pane.pixel_of(pane.state.plane.place((6, 9, 12))).toPoint())
    wait_step(window, qtbot, "draw_box")
    window.store.change_view(layout="compare")
    draw_box(window, qtbot, (6, 6, 8), (6, 12, 16))
    wait_step(window, qtbot, "rso")
    do(window, qtbot)
    wait_step(window, qtbot, "undo")
    assert "kept its promises" in window.quality.verdict.text()
    do(window, qtbot)
    wait_step(window, qtbot, "redo")
    do(window, qtbot)
    wait_step(window, qtbot, "")
    assert "Ctrl+S" in tour.text.text()
    assert window.store.case.current.steps[-1].name == "rso 1"
    assert not tour.skip_button.isVisible()
    qtbot.mouseClick(tour.leave_button, LEFT)
    assert not tour.isVisible()


def test_a_box_where_nothing_is_wrong_is_not_enough(touring, qtbot):
    go_to(touring, qtbot, "draw_box")
    draw_box(touring, qtbot, (6, 0, 18), (6, 4, 25))
    qtbot.waitUntil(lambda: "Error in the box" in touring.tour.text.text())
    assert NAMES[touring.tour.number] == "draw_box"
    wait_idle(touring, qtbot)


def test_a_step_that_was_cancelled_is_not_done(touring, fake_engine, qtbot):
    go_to(touring, qtbot, "align")
    fake_engine.endless = True
    qtbot.mouseClick(touring.tour.do_button, LEFT)
    qtbot.waitUntil(lambda: touring.store.run.done > 3)
    touring.commands.cancel()
    wait_idle(touring, qtbot)
    touring.tour.look()
    assert NAMES[touring.tour.number] == "align"


def test_what_is_done_already_is_passed_over(opened, demo, qtbot):
    opened.store.set_images(*demo)
    opened.commands.align()
    wait_idle(opened, qtbot)
    opened.actions_table["tour"].trigger()
    assert NAMES[opened.tour.number] == "general"


def test_images_of_ones_own_are_no_demo_and_may_be_kept(opened, qtbot):
    opened.tour.start()
    assert NAMES[opened.tour.number] == "demo"
    qtbot.mouseClick(opened.tour.skip_button, LEFT)
    assert NAMES[opened.tour.number] == "align"


def test_another_case_begins_it_again(touring, volumes, qtbot):
    go_to(touring, qtbot, "undo")
    touring.store.set_images(*volumes)
    wait_step(touring, qtbot, "demo")
    wait_pictures(touring, qtbot)


def test_it_is_offered_once(window, qtbot):
    window.offer_tour()
    assert settings.tour_was_offered()
    qtbot.mouseClick(window.message.button("Start the tour"), LEFT)
    assert window.tour.isVisible()
    assert not window.message.isVisible()
    window.tour.leave()
    window.offer_tour()
    assert not window.message.isVisible()


def test_unsaved_work_comes_first(window):
    window.message.say("Unsaved work of an earlier session was kept.")
    window.offer_tour()
    assert not settings.tour_was_offered()
