"""What may be laid over an image: one file and one row here for each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.viewer.overlays import blend, invalid, jacobian, magnitude
from app.viewer.slicing import Layer, SliceContext


@dataclass(frozen=True, slots=True)
class Overlay:
    """A row of `OVERLAYS`. `always`: asked for its layer whether switched on or not."""

    text: str
    tooltip: str
    key: str
    layer: Callable[[SliceContext], Layer | None]
    always: bool = False


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
}
