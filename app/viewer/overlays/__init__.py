"""What may be laid over an image: one file and one row here for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.viewer.layers import ColorBar, Layer, SliceContext, Strokes
from app.viewer.overlays import arrows, contours, displacement, grid_lines, invalid, jacobian, masks


@dataclass(frozen=True, slots=True)
class Overlay:
    """A row of `OVERLAYS`: pixels, lines, and what their colours mean.

    `of_field`: only where a displacement says something about the image.
    """

    text: str
    tooltip: str
    key: str
    layer: Callable[[SliceContext], Layer | None] | None = None
    strokes: Callable[[SliceContext], Strokes] | None = None
    bar: Callable[[SliceContext], ColorBar] | None = None
    of_field: bool = False


OVERLAYS: dict[str, Overlay] = {
    "jacobian": Overlay(
        "Jacobian",
        "Local change of volume in the body: blue shrinks, orange expands, magenta is folded (impossible in tissue)",
        "J",
        jacobian.layer,
        bar=jacobian.bar,
        of_field=True,
    ),
    "magnitude": Overlay(
        "Displacement",
        "Displacement inside the body in colours; Shift+G changes from its length to one direction, or to what changed",
        "G",
        displacement.layer,
        bar=displacement.bar,
        of_field=True,
    ),
    "arrows": Overlay(
        "Arrows",
        "From a place in the fixed image to where the same tissue is in the aligned moving image",
        "R",
        strokes=arrows.strokes,
        bar=arrows.bar,
        of_field=True,
    ),
    "grid": Overlay(
        "Warped grid",
        "A regular grid of the fixed image, drawn where the registration takes it",
        "L",
        strokes=grid_lines.strokes,
        of_field=True,
    ),
    "contours": Overlay(
        "Contours",
        "Outline structures: solid those of the fixed image, dashed those carried from the moving one",
        "Ctrl+L",
        strokes=contours.strokes,
    ),
    "invalid": Overlay(
        "Outside the scan",
        "Hatch what a scanner did not see; nothing is computed or claimed there",
        "I",
        invalid.layer,
    ),
    "masks": Overlay(
        "Rigid and excluded",
        "Tint what is kept rigid (blue) and where nothing corresponds (pink)",
        "U",
        masks.layer,
    ),
}
