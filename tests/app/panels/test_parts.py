from __future__ import annotations

from engine.roi import Box
from tests.app.driving import wait_idle

LONG = "Spine beside the left lower lobe, seen on the fourth fraction of the week"


def test_a_long_name_leaves_the_left_column_as_wide_as_it_is(opened, qtbot):
    opened.store.add_box(Box(2, 9, 3, 8, 1, 6))
    opened.store.rename_box(0, LONG)
    opened.workflow.sections["rso"].content.show()
    wait_idle(opened, qtbot)
    assert opened.workflow.region_text.text() == LONG
    assert opened.workflow.horizontalScrollBar().maximum() == 0


def test_a_long_word_in_a_message_leaves_the_window_as_wide_as_it_is(opened):
    opened.message.say("Saved.")
    width = opened.minimumSizeHint().width()
    text = f"Saved in /{'planning' * 40}/case."
    opened.message.say(text)
    assert opened.message.text.text() == text
    assert opened.minimumSizeHint().width() == width
