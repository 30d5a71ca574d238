from __future__ import annotations

from app.viewer.view_state import dragged_window


def test_window_drag():
    assert dragged_window((-1000, 500), 100, -50) == (-1100, 500)
    low, high = dragged_window((-1000, 500), -9999, 0)
    assert low < high
