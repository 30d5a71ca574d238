from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from threading import current_thread, main_thread

import pytest

import engine
from app.commands import Commands
from app.store import Store
from app.worker import Worker


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
