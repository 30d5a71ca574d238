"""A thousand things in any order: no exception, nothing left behind, nothing computed where the window lives."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from PySide6.QtWidgets import QApplication

import engine
from app import settings
from app.commands import regions
from engine.errors import RegardError
from tests.app.driving import wait_idle, wait_pictures
from tests.app.monkey import Monkey

ACTS = 1000
LEFT_WIDGETS = 40
"""More than at the start: pages of the file dialog that Qt keeps, buttons of the last message, an editor in a table."""


@pytest.fixture
def computed(monkeypatch, fake_engine):
    """The names of what was computed, each with whether that was on the thread of the window."""
    found = []

    def watched(place, name, function):
        def call(*arguments, **named):
            found.append((name, threading.current_thread() is threading.main_thread()))
            return function(*arguments, **named)

        monkeypatch.setattr(place, name, call)

    for name in ("warped_hu", "proposed_boxes", "save_case", "open_case", "write_results", "unlike_training"):
        watched(engine, name, getattr(engine, name))
    for name in ("masks_of", "holds", "shrunk_to_body"):
        watched(regions, name, getattr(regions, name))
    return found


@pytest.fixture
def small_demo(volumes, monkeypatch):
    pair = SimpleNamespace(fixed=volumes[0], moving=volumes[1])
    monkeypatch.setattr("engine.phantom.thorax.thorax_pair", lambda: pair)


@pytest.mark.parametrize("seed", [20261121])
def test_a_monkey_breaks_nothing(opened, computed, small_demo, tmp_path, qtbot, seed):
    settings.remember_folder(tmp_path)
    opened.commands.save(tmp_path / "case")
    wait_idle(opened, qtbot)
    errors, redrawn = [], []
    opened.commands.failed.connect(errors.append)
    draw = opened.grid.refresh
    opened.grid._due.timeout.disconnect()
    opened.grid._due.timeout.connect(lambda: (redrawn.append(1), draw()))
    before, threads = len(QApplication.allWidgets()), threading.active_count()

    monkey = Monkey(opened, seed)
    for _ in range(ACTS):
        monkey.act()

    opened.commands.cancel()
    wait_idle(opened, qtbot)
    monkey.tidy()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert [error for error in errors if not isinstance(error, RegardError)] == []
    assert len({name.split()[1] for name in monkey.done if name.startswith("action")}) > 40
    assert computed
    assert [name for name, in_window in computed if in_window] == []
    assert len(redrawn) <= 3 * ACTS, "panes are redrawn once for all that one turn of the event loop changes"
    assert len(QApplication.allWidgets()) <= before + LEFT_WIDGETS
    assert threading.active_count() <= threads
    opened.commands.guide()
    wait_idle(opened, qtbot)
    check_store(opened.store)
    opened.store.set_images(opened.store.fixed, opened.store.moving)
    wait_pictures(opened, qtbot)


def check_store(store):
    """What must hold whatever was done."""
    assert store.selected is None or store.selected < len(store.boxes)
    if store.case is None:
        return
    shape = store.case.fixed.geometry.shape_zyx
    assert all(0 <= i < n for i, n in zip(store.view.cursor_zyx, shape, strict=True))
    for named in store.boxes:
        named.box.checked(shape)
    guidance, regions = store.case.guidance, store.case.regions
    if regions is not None and regions.boxes_of("excluded"):
        assert all(guidance.excluded[box.slices_zyx].all() for box in regions.boxes_of("excluded"))
    assert all(np.isfinite(value) for value in store.view.window_hu)
