"""The menus HU window, Compare and Overlays: how images are drawn, and what over them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.actions.conditions import has_pictures
from app.actions.row import Row, toggle
from app.texts import mark
from app.viewer.comparisons import COMPARISONS
from app.viewer.overlays import OVERLAYS
from app.viewer.overlays.displacement import QUANTITIES
from app.viewer.view_state import DIFFERENCE_WINDOW, WINDOWS, ComparisonName, WindowHu

if TYPE_CHECKING:
    from app.main_window import MainWindow


def rows() -> list[Row]:
    windows = [_window_row(name, window_hu, f"Alt+{i}") for i, (name, window_hu) in enumerate(WINDOWS.items(), start=1)]
    return [*windows, *_comparison_rows(), *(_overlay_row(name) for name in OVERLAYS), *_color_rows()]


def _comparison_rows() -> list[Row]:
    flicker = Row("flicker", "Compare", "Before", "Z",
                  "In place of the warped image the state chosen in the history, or the alignment alone; "
                  "hold the key, or press it again and again", lambda w: toggle(w, "flickering"), has_pictures,
                  lambda s: s.view.flickering, held=True)  # fmt: skip
    return [*(_comparison_row(name) for name in COMPARISONS), flicker]


def _comparison_row(name: ComparisonName) -> Row:
    row = COMPARISONS[name]
    return Row(name, "Compare", row.text, row.key, row.tooltip, lambda w: w.store.set_view(w.store.view.compared(name)),
               checked=lambda s: s.view.comparison == name, held=True)  # fmt: skip


def _color_rows() -> list[Row]:
    return [
        Row("signed_colors", "Overlays", "Difference in colours", "T",
            "Orange where the fixed image is brighter, blue where the warped one is",
            lambda w: toggle(w, "signed_colors"), checked=lambda s: s.view.signed_colors),
        Row("quantity", "Overlays", "Next quantity of the displacement", "Shift+G",
            "Its length, its part to the left, to the back or to the head, or what changed since the state before",
            _change_quantity),
        Row("longer_arrows", "Overlays", "Longer arrows", "Shift+R",
            "Arrows three times as long as the displacement, for small motion",
            lambda w: w.store.change_view(arrow_scale=4.0 - w.store.view.arrow_scale),
            checked=lambda s: s.view.arrow_scale > 1),
        Row("next_fold", "Overlays", "Next folded place", "Ctrl+J",
            "Put the cursor on the next place where the displacement folds, the largest first",
            lambda w: w.store.go_to_next_fold(), lambda s: bool(s.folded)),
    ]  # fmt: skip


def _window_row(name: str, window_hu: WindowHu, key: str) -> Row:
    return Row(f"window_{name}", "HU window", name, key, mark("{0:.0f} to {1:.0f} HU (or drag with the right button)"),
               lambda w: w.store.change_view(window_hu=window_hu, difference_window_hu=DIFFERENCE_WINDOW),
               checked=lambda s: s.view.window_hu == window_hu, numbers=window_hu)  # fmt: skip


def _overlay_row(name: str) -> Row:
    overlay = OVERLAYS[name]
    return Row(name, "Overlays", overlay.text, overlay.key, overlay.tooltip,
               lambda w: w.store.set_view(w.store.view.toggled(name)),
               checked=lambda s: name in s.view.overlays)  # fmt: skip


def _change_quantity(window: MainWindow) -> None:
    """The next quantity, with the displacement in colours."""
    view, names = window.store.view, list(QUANTITIES)
    following = names[(names.index(view.quantity) + 1) % len(names)]
    window.store.change_view(quantity=following, overlays=view.overlays | {"magnitude"})
