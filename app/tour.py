"""A first walk through the work on the built-in case: what each step asks, and how the store shows that it was done."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.store import Store
from app.texts import mark, tr
from app.viewer.pictures import box_rmse_hu
from app.viewer.view_state import ViewState
from engine.roi import Box

_DEMO_NAME = "phantom"
_LOOKED_AT_MM = 10.0
"""Half the side of the cube round the cursor whose error is told."""

_CLEARLY_WRONG = 1.5
"""Of the error of the whole image."""


@dataclass(frozen=True, slots=True)
class TourStep:
    """`action`: what the button does, by its name in the table. `done` is asked with the view as the step began.

    `note`: a figure that helps, empty where there is none.
    """

    text: str
    action: str
    done: Callable[[Store, ViewState], bool]
    note: Callable[[Store], str] = lambda _store: ""


def error_at_cursor_hu(store: Store) -> float | None:
    """Error in a small cube round the cursor."""
    if store.pictures is None or store.pictures.stale:
        return None
    geometry = store.pictures.geometry
    ranges = []
    for place, n, spacing in zip(store.view.cursor_zyx, geometry.shape_zyx, geometry.spacing_zyx_mm, strict=True):
        half = max(1, round(_LOOKED_AT_MM / spacing))
        ranges.append((max(0, place - half), min(n, place + half + 1)))
    (z0, z1), (y0, y1), (x0, x1) = ranges
    return box_rmse_hu(store.pictures, Box(x0, x1, y0, y1, z0, z1))


def error_of_box_hu(store: Store) -> float | None:
    """Error in the selected box if it is to be optimised."""
    named = store.selected_box
    if named is None or named.use != "optimise" or store.pictures is None or store.pictures.stale:
        return None
    return box_rmse_hu(store.pictures, named.box)


def error_of_image_hu(store: Store) -> float | None:
    """What the last step of the current state measured."""
    return store.case.current.steps[-1].rmse_hu if store.case is not None and store.case.current.steps else None


def _is_demo(store: Store, _began: ViewState) -> bool:
    return store.case is not None and store.fixed.name.startswith(_DEMO_NAME)


def _ran(name: str) -> Callable[[Store, ViewState], bool]:
    def done(store: Store, _began: ViewState) -> bool:
        return store.case is not None and any(step.name.startswith(name) for step in store.case.current.steps)

    return done


def _sees_difference(store: Store, _began: ViewState) -> bool:
    return store.view.layout != "compare" and store.view.image == "difference"


def _found(store: Store, began: ViewState) -> bool:
    here, image = error_at_cursor_hu(store), error_of_image_hu(store)
    moved = store.view.cursor_zyx != began.cursor_zyx
    return moved and here is not None and image is not None and here >= _CLEARLY_WRONG * image


def _boxed(store: Store, _began: ViewState) -> bool:
    inside, image = error_of_box_hu(store), error_of_image_hu(store)
    return not store.view.drawing_box and inside is not None and image is not None and inside > image


def _looks_back(store: Store, _began: ViewState) -> bool:
    case = store.case
    return (
        case is not None and case.can_redo and case.states[case.followed[case.cursor]].steps[-1].name.startswith("rso")
    )


def _note_at_cursor(store: Store) -> str:
    return _compared(
        mark("Error at the cursor {here_hu:.0f} HU, in the whole image {image_hu:.0f} HU."),
        error_at_cursor_hu(store),
        error_of_image_hu(store),
    )


def _note_of_box(store: Store) -> str:
    return _compared(
        mark("Error in the box {here_hu:.0f} HU, in the whole image {image_hu:.0f} HU."),
        error_of_box_hu(store),
        error_of_image_hu(store),
    )


def _compared(text: str, here_hu: float | None, image_hu: float | None) -> str:
    if here_hu is None or image_hu is None:
        return ""
    return tr(text).format(here_hu=here_hu, image_hu=image_hu)


STEPS: tuple[TourStep, ...] = (
    TourStep("Open the built-in case: an artificial chest as planning CT and cone-beam CT.", "demo", _is_demo),
    TourStep("Align: finds the rigid motion between the two images.", "align", _ran("align")),
    TourStep(
        "General: a pretrained network predicts how the patient has deformed. Compare Fixed and Warped.",
        "general",
        _ran("general"),
    ),
    TourStep(
        "Look at what is left: the difference in three orientations. Even grey is agreement.",
        "show_difference",
        _sees_difference,
    ),
    TourStep(
        "Find a place that is still wrong: turn the wheel, click where it is clearly black or white, as in the spine.",
        "next",
        _found,
        _note_at_cursor,
    ),
    TourStep("Draw a region: press B and drag a box a few centimetres wide over that place.", "draw_box", _boxed,
             _note_of_box),
    TourStep("Optimise the region. Only the box and its margin change; Stop keeps the best so far.", "rso",
             _ran("rso")),
    TourStep(
        "Read the certificate under Quality on the right: what was promised, measured. Then undo, to see it as it was.",
        "undo",
        _looks_back,
    ),
    TourStep("Take the step again: the result is kept. Leave it undone where you liked the state before.", "redo",
             _ran("rso")),
)  # fmt: skip

END = mark("That was the whole way. Draw other boxes, save the case (Ctrl+S), or export the result (Ctrl+E).")
