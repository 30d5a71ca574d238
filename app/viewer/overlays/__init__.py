"""What may be laid over an image: one file and one row here for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.viewer.overlays import blend, invalid, jacobian, magnitude, masks
from app.viewer.slicing import Layer, SliceContext


@dataclass(frozen=True, slots=True)
class Overlay:
    """A row of `OVERLAYS`. `always`: asked for its layer whether switched on or not; `in_bar`: has a button there."""

    text: str
    tooltip: str
    key: str
    layer: Callable[[SliceContext], Layer | None]
    always: bool = False
    in_bar: bool = True


OVERLAYS: dict[str, Overlay] = {
    "blend": Overlay("Blend", "Fade the fixed image into the warped one", "X", blend.layer, always=True),
    "jacobian": Overlay(
        "Jacobian",
        "Local change of volume: blue shrinks, orange expands, magenta is folded (impossible in tissue)",
        "J",
        jacobian.layer,
    ),
    "magnitude": Overlay(
        "Displacement",
        "Length of the displacement: dark is 0 mm, yellow is 20 mm and more",
        "G",
        magnitude.layer,
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
        in_bar=False,
    ),
}
