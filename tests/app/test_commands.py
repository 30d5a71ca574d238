from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import current_thread, main_thread

import pytest

import engine
from app.autosave import unsaved_cases
from app.commands import Commands
from app.store import Store
from app.worker import Worker
from engine.roi import Box
from tests.app.driving import told_problem, wait_idle, wait_pictures


@pytest.fixture
def commands(store: Store, fake_engine) -> Iterator[Commands]:
    worker = Worker()
    commands = Commands(store, worker)
    yield commands
    worker.shut_down()
    commands.deleteLater()
    worker.deleteLater()


@pytest.fixture
def asked(monkeypatch) -> list:
    """What was asked of the engine about images and models, and on which thread."""
    questions = []

    def answer(model, fixed, moving):
        questions.append((model, fixed, moving, current_thread()))
        return (f"unlike what {model} was trained on",)

    monkeypatch.setattr(engine, "unlike_training", answer, raising=False)
    return questions


@pytest.fixture
def told(commands) -> list:
    sentences = []
    commands.unlike_training.connect(sentences.append)
    return sentences


def wait(commands, qtbot):
    qtbot.waitUntil(lambda: not commands.worker.busy, timeout=30_000)


def test_a_pair_is_compared_with_the_training_in_the_background(commands, asked, told, volumes, qtbot):
    commands.store.set_images(volumes[0], None)
    assert asked == []
    commands.store.set_images(*volumes)
    wait(commands, qtbot)
    ((model, fixed, moving, thread),) = asked
    assert (model, fixed, moving) == ("general", *volumes)
    assert thread is not main_thread()
    assert told == [(), ("unlike what general was trained on",)]


def test_another_model_is_another_question_and_a_later_step_is_none(commands, asked, told, volumes, qtbot):
    store = commands.store
    store.set_images(*volumes)
    wait(commands, qtbot)
    store.set_case(store.case.after(store.case.current))
    store.set_settings(replace(store.settings, iso_iterations=7))
    wait(commands, qtbot)
    assert len(asked) == 1
    store.set_settings(replace(store.settings, model="other"))
    wait(commands, qtbot)
    assert [model for model, *_ in asked] == ["general", "other"]
    assert told[-2:] == [(), ("unlike what other was trained on",)]


def test_an_answer_that_comes_too_late_is_not_told(commands, asked, told, volumes, qtbot):
    store = commands.store
    store.set_images(*volumes)
    store.set_settings(replace(store.settings, model="other"))
    wait(commands, qtbot)
    assert told == [(), (), ("unlike what other was trained on",)]


def test_nothing_is_told_of_images_that_are_gone(commands, asked, told, volumes, qtbot):
    commands.store.set_images(*volumes)
    wait(commands, qtbot)
    commands.store.set_images(volumes[0], None)
    wait(commands, qtbot)
    assert told[-1] == ()
    assert len(asked) == 1


def test_another_case_says_how_to_go_back_to_unsaved_work(opened, qtbot):
    """Also to what was drawn a moment ago, and before the worker has written it."""
    opened.commands.iso()
    wait_pictures(opened, qtbot)
    opened.store.add_box(Box(2, 9, 3, 8, 1, 6))
    left = opened.store.case
    opened.commands.swap_images()
    assert opened.store.case.id != left.id
    assert not opened.store.unsaved
    opened.message.button("Go back to it").click()
    qtbot.waitUntil(lambda: opened.store.case.id == left.id)
    wait_pictures(opened, qtbot)
    assert [step.name for step in opened.store.case.current.steps] == ["iso"]
    assert [named.box for named in opened.store.boxes] == [Box(2, 9, 3, 8, 1, 6)]
    assert opened.store.unsaved


@pytest.mark.parametrize("use", ["optimise", "excluded"])
def test_a_box_that_was_just_drawn_is_kept_with_the_work(opened, qtbot, use):
    """Its masks are made first, also where nothing else was done."""
    opened.store.add_box(Box(2, 9, 3, 8, 1, 6))
    opened.store.change_box(0, use=use)
    left = opened.store.case
    opened.commands.swap_images()
    qtbot.waitUntil(lambda: opened.store.case.id != left.id)
    opened.message.button("Go back to it").click()
    qtbot.waitUntil(lambda: opened.store.case.id == left.id)
    assert [(named.box, named.use) for named in opened.store.boxes] == [(Box(2, 9, 3, 8, 1, 6), use)]
    assert (opened.store.case.guidance.excluded is not None) is (use == "excluded")
    wait_idle(opened, qtbot)


def test_work_on_a_saved_case_that_is_opened_again_can_be_gone_back_to(opened, qtbot, tmp_path):
    """It gets an id of its own, so that what is done with the saved state takes nothing from it."""
    opened.commands.save(tmp_path / "case")
    wait_idle(opened, qtbot)
    opened.commands.iso()
    wait_pictures(opened, qtbot)
    worked_on = opened.store.case
    opened.commands.open_case(tmp_path / "case")
    qtbot.waitUntil(lambda: len(opened.store.case.states) == 1)
    opened.store.add_box(Box(2, 9, 3, 8, 1, 6))
    opened.commands.guide()
    wait_idle(opened, qtbot)
    opened.commands.save(tmp_path / "case")
    wait_idle(opened, qtbot)

    (folder,) = unsaved_cases()
    opened.commands.open_case(folder, as_unsaved=True)
    qtbot.waitUntil(lambda: len(opened.store.case.states) == 2)
    assert opened.store.case.id != worked_on.id
    assert opened.store.case.current.steps == worked_on.current.steps
    wait_pictures(opened, qtbot)


def test_several_things_are_said_at_once(opened, qtbot):
    """What was dropped can still be swapped, and the work before gone back to."""
    opened.message.say("first", {"Swap roles": lambda: None})
    opened.message.add("second", {"Go back to it": lambda: None})
    assert opened.message.text.text() == "first\nsecond"
    assert opened.message.button("Swap roles").isEnabled()
    assert opened.message.button("Go back to it").isEnabled()
    opened.message.button("Close").click()
    opened.message.add("third", {})
    assert opened.message.text.text() == "third"


def test_nothing_is_said_of_work_that_is_saved_or_was_not_begun(opened, qtbot, tmp_path):
    opened.commands.swap_images()
    assert opened.message.isHidden()
    opened.commands.iso()
    wait_pictures(opened, qtbot)
    opened.commands.save(tmp_path / "case")
    wait_idle(opened, qtbot)
    opened.commands.open_case(tmp_path / "case")
    wait_pictures(opened, qtbot)
    assert opened.message.isHidden()


def test_unsaved_work_that_is_gone_is_one_line(opened, qtbot):
    opened.commands.reopen("nobody")
    wait_idle(opened, qtbot)
    assert "no longer kept" in told_problem(opened)


def test_what_was_said_is_over_when_something_else_begins(opened, qtbot):
    """A refusal does not stay over the next step, nor an offer to swap images that have been worked on."""
    opened.commands.rso()
    assert told_problem(opened)
    opened.commands.iso()
    assert opened.message.isHidden()
    wait_pictures(opened, qtbot)


def test_drawing_ends_where_a_step_begins(opened, qtbot):
    opened.store.change_view(drawing_box=True)
    opened.commands.iso()
    assert not opened.store.view.drawing_box
    wait_pictures(opened, qtbot)
