from __future__ import annotations

from dataclasses import replace

import numpy as np

from app.viewer.layers import signed_colors
from app.viewer.pane_state import resolve
from app.viewer.view_state import IMAGES, Slot, ViewState

VIEW = ViewState(cursor_zyx=(5, 8, 11))


def test_the_four_images_of_a_slice(pictures):
    pixels = {image: resolve(pictures, VIEW, Slot("axial", image)).layers[0].draw() for image in IMAGES}
    np.testing.assert_array_equal(pixels["fixed"], pictures.fixed_hu[5])
    np.testing.assert_array_equal(pixels["moving"], pictures.moving_hu[5])
    np.testing.assert_array_equal(pixels["warped"], pictures.warped_hu[5])
    expected = np.where(pictures.fixed_valid[5], pictures.fixed_hu[5] - pictures.warped_hu[5], 0)
    np.testing.assert_array_equal(pixels["difference"], expected)


def test_keys_change_with_slice_and_version_and_not_with_zoom(pictures):
    def key(pictures=pictures, **changes):
        return resolve(pictures, replace(VIEW, **changes), Slot("coronal", "fixed")).layers[0].key

    assert key() == key(zoom=3.0) == key(cursor_zyx=(1, 8, 2))
    assert key() != key(cursor_zyx=(5, 9, 11))
    assert key() != key(replace(pictures, version=2))


def test_signed_colours_are_black_at_zero_orange_above_and_blue_below():
    colors = signed_colors(np.array([[0.0, 500.0, -500.0, -9999.0]], np.float32), (-500, 500))
    assert [hex(value) for value in colors[0]] == ["0xff000000", "0xffff961e", "0xff3c82ff", "0xff3c82ff"]
