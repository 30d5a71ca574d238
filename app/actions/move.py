"""The menu Move: through the slices, nearer and farther, and the alignment by hand."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from app.actions.conditions import has_draft, has_pictures
from app.actions.row import Row
from app.viewer.by_hand import NUDGES, Nudge, nudged
from app.viewer.planes import stepped

if TYPE_CHECKING:
    from app.main_window import MainWindow


def rows() -> list[Row]:
    return [
        Row("next", "Move", "Next slice", "Down", "One slice on (or turn the wheel)",
            partial(_go_slices, steps=1), has_pictures),
        Row("back", "Move", "Previous slice", "Up", "One slice back", partial(_go_slices, steps=-1), has_pictures),
        Row("next_ten", "Move", "Ten slices on", "PgDown", "Ten slices on",
            partial(_go_slices, steps=10), has_pictures),
        Row("back_ten", "Move", "Ten slices back", "PgUp", "Ten slices back",
            partial(_go_slices, steps=-10), has_pictures),
        *(_nudge_row(name, *row) for name, row in NUDGES.items()),
        Row("zoom_in", "Move", "Zoom in", "+", "Enlarge all panes (or Ctrl and wheel)", partial(_zoom, factor=1.25)),
        Row("zoom_out", "Move", "Zoom out", "-", "Shrink all panes", partial(_zoom, factor=0.8)),
        Row("fit", "Move", "Fit", "0", "Show the whole image", _fit),
        Row("enlarge", "Move", "Enlarge", "Return", "One pane alone, or all of them again (or double-click it)",
            lambda w: w.grid_in_front().enlarge(), has_pictures),
    ]  # fmt: skip


def _nudge_row(name: str, text: str, key: str, tooltip: str, nudge: Nudge) -> Row:
    def slot(window: MainWindow) -> None:
        store = window.store
        store.set_draft(nudged(store, nudge))

    return Row(name, "Move", text, key, tooltip, slot, has_draft)


def _go_slices(window: MainWindow, steps: int) -> None:
    store = window.store
    store.set_view(stepped(store.view, window.grid_in_front().plane_of_keys(), steps))


def _zoom(window: MainWindow, factor: float) -> None:
    window.store.set_view(window.store.view.zoomed(factor))


def _fit(window: MainWindow) -> None:
    window.store.change_view(zoom=1.0, pan_zyx_mm=(0.0, 0.0, 0.0))
