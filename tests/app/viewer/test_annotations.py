"""What is written over an image, as a painter is asked to write it."""

from __future__ import annotations

import itertools

import pytest
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QImage, QPainter, QTransform

from app.viewer import annotations
from app.viewer.annotations import paint_annotations, paint_hint
from app.viewer.pane_state import resolve
from app.viewer.view_state import Slot, ViewState
from engine.regions import NamedBox
from engine.roi import Box

RECT = QRectF(0, 0, 190, 150)
BOX = Box(3, 9, 4, 12, 2, 8)


@pytest.fixture
def painter(qapp):
    image = QImage(190, 150, QImage.Format.Format_RGB32)
    image.fill(Qt.GlobalColor.black)
    painter = QPainter(image)
    yield painter
    painter.end()


def test_names_of_boxes_at_one_place_stand_below_each_other(painter, pictures, monkeypatch):
    written = []
    monkeypatch.setattr(
        annotations, "_draw_text", lambda _painter, rect, _where, text, _color: written.append((text, rect))
    )
    boxes = tuple(NamedBox(name, BOX) for name in ("Heart", "Heart 1", "Heart 2"))
    view = ViewState(cursor_zyx=(5, 8, 5), overlays=frozenset())
    state = resolve(pictures, view, Slot("axial", "fixed"), boxes, 1)

    paint_annotations(painter, RECT, state, QTransform.fromScale(3, 3))

    names = {text: rect for text, rect in written if text.startswith("Heart")}
    assert len(names) == 3
    assert not any(one.intersects(other) for one, other in itertools.combinations(names.values(), 2))


def test_a_hint_is_as_wide_as_its_pane_at_most(painter):
    """In the twelve panes of a small screen: nothing is painted in the outermost pixels."""
    state = resolve(None, ViewState(), Slot("axial", "difference"))
    paint_hint(painter, RECT, state)
    image = painter.device()
    lit = [
        (x, y)
        for x, y in itertools.product(range(image.width()), range(40, image.height()))
        if image.pixelColor(x, y).lightness() > 60
    ]
    assert len(lit) > 200
    assert min(x for x, _ in lit) >= 4
    assert max(x for x, _ in lit) <= 185
