from __future__ import annotations

from itertools import pairwise

import pytest
from PySide6.QtCore import QObject, QTimer

from app.viewer import turns as turns_module
from app.viewer.turns import Turns


@pytest.fixture
def turns(qapp, monkeypatch):
    """One piece a turn."""
    monkeypatch.setattr(turns_module, "_TURN_S", 0)
    parent = QObject()
    yield Turns(parent)
    parent.deleteLater()


def writing(done, name, pieces=2):
    def start():
        for number in range(pieces):
            done.append(f"{name}{number}")
            yield

    return start


def test_the_event_loop_runs_between_pieces(turns, qtbot):
    done = []
    clock = QTimer(turns, interval=0)
    clock.timeout.connect(lambda: done.append("."))
    clock.start()
    turns.ask("a", writing(done, "a", 4))
    qtbot.waitUntil(lambda: "a3" in done)
    places = [done.index(f"a{number}") for number in range(4)]
    assert all("." in done[one:other] for one, other in pairwise(places))


def test_what_is_begun_is_ended_and_what_waits_is_replaced(turns, qtbot):
    done = []
    for name in "ab":
        turns.ask(name, writing(done, name))
    turns.go_on()
    for name in "ab":
        turns.ask(name, writing(done, name.upper()))
    qtbot.waitUntil(lambda: len(done) == 6)
    assert done == ["a0", "a1", "B0", "B1", "A0", "A1"]


def test_who_goes_first_does_not_go_twice_in_a_row(turns, qtbot):
    done = []
    for name in "abc":
        turns.ask(name, writing(done, name, 1), first=name == "c")
    turns.go_on()
    turns.go_on()
    for name in "abc":
        turns.ask(name, writing(done, name, 1), first=name == "c")
    qtbot.waitUntil(lambda: len(done) == 4)
    assert done == ["c0", "a0", "b0", "c0"]


def test_after_a_failure_the_others_have_their_turn(turns, qtbot):
    done = []

    def fails():
        raise ValueError("no picture")
        yield

    turns.ask("a", fails)
    turns.ask("b", writing(done, "b"))
    with pytest.raises(ValueError, match="no picture"):
        turns.go_on()
    qtbot.waitUntil(lambda: done == ["b0", "b1"])


def test_what_is_forgotten_is_not_done(turns, qtbot):
    done = []
    turns.ask("a", writing(done, "a"))
    turns.go_on()
    turns.forget()
    turns.ask("b", writing(done, "b"))
    qtbot.waitUntil(lambda: "b1" in done)
    assert done == ["a0", "b0", "b1"]
