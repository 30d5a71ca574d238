from __future__ import annotations

from dataclasses import replace

import numpy as np
from PySide6.QtCore import QPointF

from app.viewer.drawables import image_of, screen_transform
from app.viewer.pane_state import resolve
from app.viewer.view_state import Slot, ViewState
from engine.geometry import Geometry

VIEW = ViewState(cursor_zyx=(5, 8, 11), overlays=frozenset())


def test_patient_left_is_on_the_right_for_a_flipped_grid(pictures):
    flipped = Geometry(pictures.geometry.shape_zyx, (2.0, 3.0, 5.0), direction=((-1, 0, 0), (0, 1, 0), (0, 0, -1)))
    state = resolve(replace(pictures, geometry=flipped), VIEW, Slot("axial", "fixed"))
    transform = screen_transform(state, 400, 300)
    assert transform.map(QPointF(0, 0)).x() > transform.map(QPointF(10, 0)).x()


def test_the_picture_is_the_slice_through_the_window():
    image = image_of(np.array([[-1000, -250, 500, 9999]], dtype=np.float32), (-1000, 500))
    assert [image.pixelColor(i, 0).red() for i in range(4)] == [0, 127, 255, 255]


def test_a_mask_is_drawn_in_its_one_colour():
    image = image_of(np.array([[True, False]]), None, 0x80FF4000)
    assert [image.pixelColor(i, 0).getRgb() for i in range(2)] == [(255, 64, 0, 128), (0, 0, 0, 0)]
