from __future__ import annotations

import pytest
from PySide6.QtCore import Qt

from tests.app.driving import CONTROL, press

SENTENCES = (
    "The model was trained on chests, where at least 4 % of the body is lung; both images: 0.2 %.",
    "The model is for voxels of 0.3 to 5 mm; fixed image: 1 × 1 × 8 mm.",
)


@pytest.fixture
def workflow(window):
    window.workflow.sections["general"].content.show()
    return window.workflow


def test_a_pair_like_the_training_shows_no_warning(workflow):
    assert not workflow.model_warning.isVisible()


def test_the_warning_is_one_sentence_and_the_tooltip_all(workflow):
    workflow.warn_of_model(SENTENCES)
    assert workflow.model_warning.isVisible()
    assert workflow.model_warning.text() == f"⚠ {SENTENCES[0]} (1 more)"
    assert workflow.model_warning.toolTip() == "\n".join(SENTENCES)

    workflow.warn_of_model(SENTENCES[1:])
    assert workflow.model_warning.text() == f"⚠ {SENTENCES[1]}"

    workflow.warn_of_model(())
    assert not workflow.model_warning.isVisible()


def test_the_column_stays_narrow_with_a_warning(window, workflow):
    workflow.warn_of_model(SENTENCES)
    window.grab()
    assert workflow.widget().width() <= workflow.viewport().width()
    label = workflow.model_warning
    assert label.height() >= label.heightForWidth(label.width()), "all lines are seen"


def test_images_of_another_place_are_warned_of(window, workflow, fake_engine, volumes, qtbot):
    """A ramp of values in a box of 52 × 60 × 60 mm is no chest."""
    window.store.set_images(*volumes)
    qtbot.waitUntil(lambda: not window.worker.busy, timeout=30_000)
    assert "at least 120 mm along each axis; both images: 52 × 60 × 60 mm" in workflow.model_warning.toolTip()


def test_a_model_that_is_gone_gives_way_to_the_one_shown(workflow, window):
    window.store.set_settings(type(window.store.settings)(model="of another release"))
    workflow.set_models({"general": "", "convex": ""})
    assert window.store.settings.model == workflow.model.currentData() == "general"


def test_the_card_of_the_chosen_model_opens_by_key_and_by_button(window, workflow, qtbot):
    press(window, qtbot, Qt.Key.Key_I, CONTROL)
    assert "general" in window.dialog.windowTitle()
    assert not window.dialog.isModal()
    window.dialog.close()
    qtbot.waitUntil(lambda: window.dialog is None)

    workflow.set_models({"general": "", "unet-paper": ""})
    workflow.model.setCurrentIndex(1)
    qtbot.mouseClick(workflow.about_button, Qt.MouseButton.LeftButton)
    assert "unet-paper" in window.dialog.windowTitle()


def test_the_column_is_wide_enough_for_every_section(window, workflow):
    for section in workflow.sections.values():
        section.content.show()
    window.grab()
    assert workflow.widget().width() <= workflow.viewport().width()
