"""The menu Edit: history, regions and points."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.actions.conditions import (
    has_box,
    has_case,
    has_free_box,
    has_other_branch,
    has_other_state,
    has_pair,
    has_pictures,
)
from app.actions.row import Row
from app.texts import mark
from app.viewer.boxes import USES
from engine.regions import Use

if TYPE_CHECKING:
    from app.main_window import MainWindow


_OF_USE: dict[Use, str] = {
    "optimise": mark("The selected box is a place to optimise"),
    "rigid": mark(
        "Bone in the selected box (200 HU and more) keeps its shape in every refinement, each piece by itself"
    ),
    "excluded": mark("Tissue came or went in the selected box: no refinement compares the images there"),
}
_USE_TEXTS: dict[Use, str] = {
    "optimise": mark("Region: Optimise"),
    "rigid": mark("Region: Keep bone rigid"),
    "excluded": mark("Region: Nothing corresponds"),
}


def rows() -> list[Row]:
    return [
        Row("undo", "Edit", "Undo step", "Ctrl+Z", "Go back to the state before the last step",
            lambda w: w.commands.undo(), lambda s: has_case(s) and s.case.can_undo),
        Row("redo", "Edit", "Redo step", "Ctrl+Shift+Z", "Take the undone step again",
            lambda w: w.commands.redo(), lambda s: has_case(s) and s.case.can_redo),
        Row("compare_state", "Edit", "Compare with state", "Ctrl+Shift+C",
            "Hold the current state against the one marked in the history",
            lambda w: w.store.change_view(other_state=w.store.marked_state), has_other_state),
        Row("stop_comparing", "Edit", "Stop comparing", "Ctrl+Shift+X", "Show the current state alone",
            lambda w: w.store.change_view(other_state=None), lambda s: s.view.other_state is not None),
        Row("delete_branch", "Edit", "Delete this branch …", "Ctrl+Shift+Del",
            "Give up the state marked in the history and all that began from it, where the present one is none of them",
            lambda w: w.ask_delete_branch(), has_other_branch),
        Row("draw_box", "Edit", "Draw region", "B", "Drag a box over a place that is still wrong, in any pane",
            _toggle_drawing, lambda s: has_pictures(s) and not s.running, lambda s: s.view.drawing_box),
        *(_use_row(use, key) for use, key in zip(USES, "OKN", strict=True)),
        Row("add_pair", "Edit", "Add point pair", "P",
            "Click a place in the fixed or warped image, then the same place in the moving one; refinements follow it",
            _toggle_marking, lambda s: has_case(s) and s.pictures is not None, lambda s: s.view.marking),
        Row("leave", "Edit", "Leave drawing", "Esc",
            "Back to the cursor", _leave, lambda s: s.view.drawing_box or s.view.marking),
        Row("delete_box", "Edit", "Delete region", "Del", "Remove the selected box; the registration stays as it is",
            lambda w: w.store.remove_box(w.store.selected), has_free_box),
        Row("duplicate_box", "Edit", "Duplicate region", "Ctrl+B",
            "The selected box once more, at the same place and with the same use",
            lambda w: w.store.duplicate_box(w.store.selected), has_box),
        Row("lock_box", "Edit", "Lock region", "Ctrl+Shift+L",
            "Nothing drags, resizes, renames or deletes a locked box or changes its use",
            lambda w: w.store.lock_box(w.store.selected, not w.store.selected_box.locked), has_box,
            lambda s: s.selected_box is not None and s.selected_box.locked),
        Row("snap_box", "Edit", "Shrink region to the body", "Ctrl+Shift+B",
            "The smallest box that holds what the selected one holds of the patient",
            lambda w: w.commands.snap_box(), lambda s: has_case(s) and has_free_box(s)),
        Row("delete_pair", "Edit", "Delete point pair", "Shift+Del",
            "Remove the selected pair of points; the registration stays as it is (Del in the list)",
            lambda w: w.store.remove_pair(w.store.selected_pair), has_pair),
    ]  # fmt: skip


def _use_row(use: Use, key: str) -> Row:
    return Row(f"use_{use}", "Edit", _USE_TEXTS[use], key, _OF_USE[use],
               lambda w: w.commands.use_box(use), lambda s: has_case(s) and has_free_box(s),
               lambda s: s.selected_box is not None and s.selected_box.use == use)  # fmt: skip


def _toggle_drawing(window: MainWindow) -> None:
    view = window.store.view
    window.store.change_view(drawing_box=not view.drawing_box, marking=False, started_mm=None)
    window.show_list(window.regions)


def _toggle_marking(window: MainWindow) -> None:
    view = window.store.view
    unseen = view.layout in ("orientations", "single") and view.image not in ("fixed", "warped")
    window.store.change_view(
        marking=not view.marking, started_mm=None, drawing_box=False, image="fixed" if unseen else view.image
    )
    window.show_list(window.points)


def _leave(window: MainWindow) -> None:
    window.store.change_view(drawing_box=False, marking=False, started_mm=None)
