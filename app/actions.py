"""Every action of the window in one table: menu, text, key, tooltip, what it does and when it can be done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from app.store import Store
from app.texts import mark, tr
from app.viewer.boxes import USES
from app.viewer.by_hand import NUDGES, Nudge, nudged
from app.viewer.comparisons import COMPARISONS
from app.viewer.overlays import OVERLAYS
from app.viewer.overlays.displacement import QUANTITIES
from app.viewer.planes import is_oblique, plane_of_keys, stepped
from app.viewer.view_state import (
    DIFFERENCE_WINDOW,
    IMAGES,
    IMAGES_IN_SHORT,
    LAYOUTS,
    PLANE_TEXTS,
    PLANES,
    WINDOWS,
    ComparisonName,
    ImageName,
    LayoutName,
    PlaneName,
    Slot,
    WindowHu,
)
from engine.regions import Use

if TYPE_CHECKING:
    from app.main_window import MainWindow

Do = Callable[["MainWindow"], object]
Test = Callable[[Store], bool]


def _always(_store: Store) -> bool:
    return True


def _idle(store: Store) -> bool:
    return not store.running and store.draft is None


def _has_case(store: Store) -> bool:
    return store.case is not None and _idle(store)


def _has_draft(store: Store) -> bool:
    return store.draft is not None and not store.running


def _has_pictures(store: Store) -> bool:
    return store.pictures is not None


def _is_oblique(store: Store) -> bool:
    return store.pictures is not None and is_oblique(store.pictures.geometry)


def _has_box(store: Store) -> bool:
    return store.selected is not None and not store.running


def _has_free_box(store: Store) -> bool:
    return _has_box(store) and not store.selected_box.locked


def _has_region(store: Store) -> bool:
    return _has_case(store) and store.selected_box is not None and store.selected_box.use == "optimise"


def _can_plan(store: Store) -> bool:
    """Whether a step can begin, or wait for the one that runs."""
    return store.case is not None and store.draft is None and (not store.running or store.run.leads_on)


def _can_plan_region(store: Store) -> bool:
    return _can_plan(store) and store.selected_box is not None and store.selected_box.use == "optimise"


def _has_other_state(store: Store) -> bool:
    return _has_case(store) and store.marked_state not in (None, store.case.cursor)


def _has_pair(store: Store) -> bool:
    return _has_case(store) and store.selected_pair is not None


def _stoppable(store: Store) -> bool:
    return store.running and store.run.is_step and store.run.state == "running"


def _cancellable(store: Store) -> bool:
    return _has_draft(store) or (store.running and store.run.state != "cancelling")


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


@dataclass(frozen=True, slots=True)
class Row:
    """One action. `checked` makes it a switch; `held`: one that is off again when its key was held and let go.

    `text` and `tooltip` are shown translated, the tooltip with `numbers` in its braces.
    """

    name: str
    menu: str
    text: str
    key: str
    tooltip: str
    slot: Do
    enabled: Test = _always
    checked: Test | None = None
    held: bool = False
    numbers: tuple[float, ...] = ()

    def shown_tooltip(self) -> str:
        return tr(self.tooltip).format(*self.numbers)


def _go_slices(window: MainWindow, steps: int) -> None:
    store, view = window.store, window.store.view
    store.set_view(stepped(view, plane_of_keys(store.pictures.geometry, view), steps))


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


def _keep_by_hand(window: MainWindow) -> None:
    window.workflow.by_hand.commit()
    window.commands.keep_by_hand()


def _propose(window: MainWindow) -> None:
    window.show_list(window.regions)
    window.commands.propose_regions()


def _leave(window: MainWindow) -> None:
    window.store.change_view(drawing_box=False, marking=False, started_mm=None)


def _change_quantity(window: MainWindow) -> None:
    """The next quantity, with the displacement in colours."""
    view, names = window.store.view, list(QUANTITIES)
    following = names[(names.index(view.quantity) + 1) % len(names)]
    window.store.change_view(quantity=following, overlays=view.overlays | {"magnitude"})


def _enlarge(window: MainWindow) -> None:
    view = window.store.view
    window.store.set_view(view.enlarged(Slot(view.plane, view.image)))


def _zoom(window: MainWindow, factor: float) -> None:
    window.store.set_view(window.store.view.zoomed(factor))


def _fit(window: MainWindow) -> None:
    window.store.change_view(zoom=1.0, pan_zyx_mm=(0.0, 0.0, 0.0))


def _file_rows() -> list[Row]:
    return [
        Row("open", "File", "Open images …", "Ctrl+O",
            "Choose the fixed and the moving image", lambda w: w.ask_images(), _idle),
        Row("browse", "File", "Open folder …", "Ctrl+Alt+O",
            "Look through a folder of series and choose the fixed and the moving image", lambda w: w.ask_folder()),
        Row("open_case", "File", "Open case …", "Ctrl+Shift+O",
            "Go on with a saved case", lambda w: w.ask_case(), _idle),
        Row("demo", "File", "Open demo case", "Ctrl+D",
            "An artificial chest with a known deformation", lambda w: w.commands.open_demo(), _idle),
        Row("swap", "File", "Swap fixed and moving", "",
            "Begin again with the roles exchanged", lambda w: w.commands.swap_images(), _has_case),
        Row("save", "File", "Save case", "Ctrl+S",
            "Keep the case with its whole history in a folder", lambda w: w.save(), _has_case),
        Row("save_as", "File", "Save case as …", "Ctrl+Shift+S",
            "Keep the case in another folder", lambda w: w.ask_save(), _has_case),
        Row("load_rigid", "File", "Load rigid mask …", "",
            "A mask on the fixed grid of what keeps its shape, such as bone, each connected piece by itself",
            lambda w: w.ask_mask("rigid"), _has_case),
        Row("load_excluded", "File", "Load exclusion mask …", "",
            "A mask on the fixed grid of where nothing corresponds, because tissue came or went",
            lambda w: w.ask_mask("excluded"), _has_case),
        Row("forget_masks", "File", "Forget masks from files", "",
            "Drop both masks that were loaded; what regions say stays",
            lambda w: w.commands.forget_masks(), lambda s: _has_case(s) and bool(s.masks)),
        Row("load_fixed_contours", "File", "Load contours of fixed …", "",
            "A label image on the grid of the fixed image: whole numbers, one for each structure",
            lambda w: w.ask_structures("fixed"), _has_case),
        Row("load_moving_contours", "File", "Load contours of moving …", "",
            "A label image on the grid of the moving image; every step carries its structures onto the fixed one",
            lambda w: w.ask_structures("moving"), _has_case),
        Row("forget_contours", "File", "Forget contours", "", "Drop the contours of both images",
            lambda w: w.commands.forget_structures(), lambda s: _has_case(s) and not s.case.structures.is_empty),
        Row("export", "File", "Export …", "Ctrl+E",
            "Write the DVF, the transform and the warped image", lambda w: w.ask_export(), _has_case),
        Row("quit", "File", "Quit", "Ctrl+Q",
            "Close the window; unsaved work is offered at the next start", lambda w: w.close()),
    ]  # fmt: skip


def _edit_rows() -> list[Row]:
    return [
        Row("undo", "Edit", "Undo step", "Ctrl+Z", "Go back to the state before the last step",
            lambda w: w.commands.undo(), lambda s: _has_case(s) and s.case.can_undo),
        Row("redo", "Edit", "Redo step", "Ctrl+Shift+Z", "Take the undone step again",
            lambda w: w.commands.redo(), lambda s: _has_case(s) and s.case.can_redo),
        Row("compare_state", "Edit", "Compare with state", "Ctrl+Shift+C",
            "Hold the current state against the one marked in the history",
            lambda w: w.store.change_view(other_state=w.store.marked_state), _has_other_state),
        Row("stop_comparing", "Edit", "Stop comparing", "Ctrl+Shift+X", "Show the current state alone",
            lambda w: w.store.change_view(other_state=None), lambda s: s.view.other_state is not None),
        Row("draw_box", "Edit", "Draw region", "B", "Drag a box over a place that is still wrong, in any pane",
            _toggle_drawing, lambda s: _has_pictures(s) and not s.running, lambda s: s.view.drawing_box),
        *(_use_row(use, key) for use, key in zip(USES, "OKN", strict=True)),
        Row("add_pair", "Edit", "Add point pair", "P",
            "Click a place in the fixed or warped image, then the same place in the moving one; refinements follow it",
            _toggle_marking, lambda s: _has_case(s) and s.pictures is not None, lambda s: s.view.marking),
        Row("leave", "Edit", "Leave drawing", "Esc",
            "Back to the cursor", _leave, lambda s: s.view.drawing_box or s.view.marking),
        Row("delete_box", "Edit", "Delete region", "Del", "Remove the selected box; the registration stays as it is",
            lambda w: w.store.remove_box(w.store.selected), _has_free_box),
        Row("duplicate_box", "Edit", "Duplicate region", "Ctrl+B",
            "The selected box once more, at the same place and with the same use",
            lambda w: w.store.duplicate_box(w.store.selected), _has_box),
        Row("lock_box", "Edit", "Lock region", "Ctrl+Shift+L",
            "Nothing drags, resizes, renames or deletes a locked box or changes its use",
            lambda w: w.store.lock_box(w.store.selected, not w.store.selected_box.locked), _has_box,
            lambda s: s.selected_box is not None and s.selected_box.locked),
        Row("snap_box", "Edit", "Shrink region to the body", "Ctrl+Shift+B",
            "The smallest box that holds what the selected one holds of the patient",
            lambda w: w.commands.snap_box(), lambda s: _has_case(s) and _has_free_box(s)),
        Row("delete_pair", "Edit", "Delete point pair", "Shift+Del",
            "Remove the selected pair of points; the registration stays as it is (Del in the list)",
            lambda w: w.store.remove_pair(w.store.selected_pair), _has_pair),
    ]  # fmt: skip


def _use_row(use: Use, key: str) -> Row:
    return Row(f"use_{use}", "Edit", _USE_TEXTS[use], key, _OF_USE[use],
               lambda w: w.commands.use_box(use), lambda s: _has_case(s) and _has_free_box(s),
               lambda s: s.selected_box is not None and s.selected_box.use == use)  # fmt: skip


def _run_rows() -> list[Row]:
    return [
        Row("align", "Run", "Align", "Ctrl+1",
            "Find the rigid motion between the two images", lambda w: w.commands.align(), _can_plan),
        Row("by_hand", "Run", "Align by hand", "Ctrl+Shift+A",
            "Move and turn the moving image with the mouse, the arrows or by numbers",
            lambda w: w.commands.begin_by_hand(), lambda s: _has_case(s) and s.pictures is not None),
        Row("keep_by_hand", "Run", "Keep the alignment by hand", "Ctrl+Return",
            "Make it a step of the case, which undo takes back", _keep_by_hand, _has_draft),
        Row("general", "Run", "General model", "Ctrl+2",
            "One pass of the pretrained network", lambda w: w.commands.general(), _can_plan),
        Row("model_card", "Run", "About this model …", "Ctrl+I",
            "What the chosen model is for, what it was trained on and how good it was",
            lambda w: w.show_model_card()),
        Row("iso", "Run", "Optimise image (ISO)", "Ctrl+3",
            "Refine the whole image for this patient", lambda w: w.commands.iso(), _can_plan),
        Row("up_to_iso", "Run", "Run up to ISO", "Ctrl+Shift+3",
            "Run what is missing of align, general and ISO, one after the other",
            lambda w: w.commands.run_up_to_iso(), _has_case),
        Row("rso", "Run", "Optimise region (RSO)", "Ctrl+4",
            "Refine the selected box alone; nothing beyond its margin changes",
            lambda w: w.commands.rso(), _can_plan_region),
        Row("rso_all", "Run", "Optimise all regions", "Ctrl+Shift+4",
            "Refine every box that is meant to be optimised, one after the other",
            lambda w: w.commands.rso_all(), lambda s: _can_plan(s) and bool(s.boxes_of("optimise"))),
        Row("take_back", "Run", "Take region back to state", "Ctrl+Shift+T",
            "Give the selected box the field of the state marked in the history; nothing beyond its margin changes",
            lambda w: w.commands.take_back(w.store.marked_state), lambda s: _has_other_state(s) and _has_region(s)),
        Row("compare_image", "Run", "Compare fits of the image", "Ctrl+Shift+I",
            "Optimise the image closer, balanced and smoother, look at the three, and take one or none",
            lambda w: w.commands.compare_image_fits(), _has_case),
        Row("compare_region", "Run", "Compare fits of the region", "Ctrl+Shift+R",
            "Optimise the selected box closer, balanced and smoother, look at the three, and take one or none",
            lambda w: w.commands.compare_region_fits(), _has_region),
        Row("propose", "Run", "Propose regions", "Ctrl+P",
            "Look for places that probably are still wrong, and draw a box round each with the reason",
            _propose, _has_case),
        Row("stop", "Run", "Stop, keep the best", "Ctrl+.",
            "End the step now with the best result so far", lambda w: w.commands.stop(), _stoppable),
        Row("go_on", "Run", "Go on with waiting steps", "Ctrl+Shift+.",
            "Begin the steps that still wait",
            lambda w: w.commands.go_on(), lambda s: _has_case(s) and bool(s.planned)),
        Row("drop_planned", "Run", "Drop waiting steps", "Ctrl+Shift+Backspace",
            "Forget the steps that wait; the running one goes on",
            lambda w: w.commands.drop_planned(), lambda s: bool(s.planned)),
        Row("cancel", "Run", "Cancel, keep nothing", "Ctrl+Backspace",
            "End the step or the alignment by hand and leave the case as it was",
            lambda w: w.commands.cancel(), _cancellable),
    ]  # fmt: skip


def _view_rows() -> list[Row]:
    layouts = [_layout_row(layout, str(key)) for key, layout in enumerate(LAYOUTS, start=1)]
    pop_out = Row("pop_out", "View", "Images in a window of their own", "Ctrl+Shift+W",
                  "A second window with the same cursor, for a second screen; F11 fills the screen",
                  lambda w: w.pop_out(), _has_pictures)  # fmt: skip
    planes = [_plane_row(plane, key) for plane, key in zip(PLANES, "ACS", strict=True)]
    images = [_image_row(image, key) for image, key in zip(IMAGES, "FMWD", strict=True)]
    axes = Row("along_patient", "View", mark("Along patient axes"), "Shift+A",
               mark("Slices at right angles to the patient, sampled where the image's own are oblique; off: its own"),
               lambda w: _toggle(w, "along_patient"), _is_oblique,
               lambda s: _is_oblique(s) and s.view.along_patient)  # fmt: skip
    return [*layouts, pop_out, *planes, axes, *images]


_OF_LAYOUT: dict[LayoutName, str] = {
    "compare": mark("Fixed, moving, warped and difference in one orientation"),
    "orientations": mark("One image in axial, coronal and sagittal"),
    "sheet": mark("All four images in all three orientations"),
    "single": mark("One image in one orientation; a double click on a pane does the same, and takes it back"),
}
_OF_PLANE: dict[PlaneName, str] = {
    "axial": mark("Show axial slices"),
    "coronal": mark("Show coronal slices"),
    "sagittal": mark("Show sagittal slices"),
}
_OF_IMAGE: dict[ImageName, str] = {
    "fixed": mark("The fixed image in three orientations"),
    "moving": mark("The moving image in three orientations"),
    "warped": mark("The warped image in three orientations"),
    "difference": mark("The difference image in three orientations"),
}


def _layout_row(layout: LayoutName, key: str) -> Row:
    return Row(layout, "View", LAYOUTS[layout], key, _OF_LAYOUT[layout],
               lambda w: w.store.set_view(w.store.view.arranged(layout)),
               checked=lambda s: s.view.layout == layout)  # fmt: skip


def _plane_row(plane: PlaneName, key: str) -> Row:
    return Row(plane, "View", PLANE_TEXTS[plane], key, _OF_PLANE[plane],
               lambda w: w.store.change_view(plane=plane), checked=lambda s: s.view.plane == plane)  # fmt: skip


def _image_row(image: ImageName, key: str) -> Row:
    return Row(f"show_{image}", "View", IMAGES_IN_SHORT[image], f"Shift+{key}", _OF_IMAGE[image],
               lambda w: w.store.change_view(image=image, layout="orientations"),
               checked=lambda s: s.view.image == image)  # fmt: skip


def _move_rows() -> list[Row]:
    return [
        Row("next", "Move", "Next slice", "Down", "One slice on (or turn the wheel)",
            partial(_go_slices, steps=1), _has_pictures),
        Row("back", "Move", "Previous slice", "Up", "One slice back", partial(_go_slices, steps=-1), _has_pictures),
        Row("next_ten", "Move", "Ten slices on", "PgDown", "Ten slices on",
            partial(_go_slices, steps=10), _has_pictures),
        Row("back_ten", "Move", "Ten slices back", "PgUp", "Ten slices back",
            partial(_go_slices, steps=-10), _has_pictures),
        *(_nudge_row(name, *row) for name, row in NUDGES.items()),
        Row("zoom_in", "Move", "Zoom in", "+", "Enlarge all panes (or Ctrl and wheel)", partial(_zoom, factor=1.25)),
        Row("zoom_out", "Move", "Zoom out", "-", "Shrink all panes", partial(_zoom, factor=0.8)),
        Row("fit", "Move", "Fit", "0", "Show the whole image", _fit),
        Row("enlarge", "Move", "Enlarge", "Return", "One pane alone, or all of them again (or double-click it)",
            _enlarge, _has_pictures),
    ]  # fmt: skip


def _nudge_row(name: str, text: str, key: str, tooltip: str, nudge: Nudge) -> Row:
    def slot(window: MainWindow) -> None:
        store = window.store
        store.set_draft(nudged(store, nudge))

    return Row(name, "Move", text, key, tooltip, slot, _has_draft)


def _look_rows() -> list[Row]:
    windows = [_window_row(name, window_hu, f"Alt+{i}") for i, (name, window_hu) in enumerate(WINDOWS.items(), start=1)]
    return [*windows, *_comparison_rows(), *(_overlay_row(name) for name in OVERLAYS), *_color_rows()]


def _comparison_rows() -> list[Row]:
    flicker = Row("flicker", "Compare", "Before", "Z",
                  "In place of the warped image the state chosen in the history, or the alignment alone; "
                  "hold the key, or press it again and again", lambda w: _toggle(w, "flickering"), _has_pictures,
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
            lambda w: _toggle(w, "signed_colors"), checked=lambda s: s.view.signed_colors),
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


def _toggle(window: MainWindow, name: str) -> None:
    window.store.change_view(**{name: not getattr(window.store.view, name)})


def _window_row(name: str, window_hu: WindowHu, key: str) -> Row:
    return Row(f"window_{name}", "HU window", name, key, mark("{0:.0f} to {1:.0f} HU (or drag with the right button)"),
               lambda w: w.store.change_view(window_hu=window_hu, difference_window_hu=DIFFERENCE_WINDOW),
               checked=lambda s: s.view.window_hu == window_hu, numbers=window_hu)  # fmt: skip


def _overlay_row(name: str) -> Row:
    overlay = OVERLAYS[name]
    return Row(name, "Overlays", overlay.text, overlay.key, overlay.tooltip,
               lambda w: w.store.set_view(w.store.view.toggled(name)),
               checked=lambda s: name in s.view.overlays)  # fmt: skip


def _help_rows() -> list[Row]:
    return [
        Row(
            "theme",
            "View",
            "Light or dark",
            "Ctrl+T",
            "Change between the dark and the light theme",
            lambda w: w.toggle_theme(),
        ),
        Row(
            "tour",
            "Help",
            "Tour",
            "F1",
            "Through the work on the built-in case, step by step, in two minutes",
            lambda w: w.tour.start(),
        ),
        Row(
            "keys",
            "Help",
            "Keys and mouse",
            "?",
            "Everything that the keyboard and the mouse do",
            lambda w: w.show_keys(),
        ),
        Row("about", "Help", "About Regard", "", "What this is and what it is not", lambda w: w.show_about()),
    ]


ROWS: tuple[Row, ...] = (
    *_file_rows(), *_edit_rows(), *_run_rows(), *_view_rows(), *_move_rows(), *_look_rows(), *_help_rows(),
)  # fmt: skip
LOCAL_MENU = "Move"
"""Its keys work where an image pane has the focus; elsewhere arrows move through lists and numbers."""

MENUS = (
    mark("File"),
    mark("Edit"),
    mark("Run"),
    mark("View"),
    mark("Move"),
    mark("HU window"),
    mark("Compare"),
    mark("Overlays"),
    mark("Help"),
)
