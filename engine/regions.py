"""The boxes of a user and the masks that came from files: what the masks of the guidance are made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from engine.errors import InputError
from engine.roi import Box
from engine.shapes import MaskArray

Use = Literal["optimise", "rigid", "excluded"]
MARKS: tuple[Use, ...] = ("rigid", "excluded")
"""The uses that make a mask."""


@dataclass(frozen=True, slots=True)
class NamedBox:
    """A box as the user knows it.

    `reason`: why it was proposed, empty where a hand drew it. `untouched`: a proposal that nobody has renamed,
    reshaped or optimised; the next proposals take its place. `locked`: nothing changes it until it is unlocked.
    """

    name: str
    box: Box
    reason: str = ""
    untouched: bool = False
    use: Use = "optimise"
    locked: bool = False

    def __post_init__(self) -> None:
        if self.use not in get_args(Use):
            raise InputError(f"Expected a region to be for one of {', '.join(get_args(Use))}, got {self.use!r}.")


@dataclass(frozen=True, slots=True, eq=False)
class Regions:
    """All boxes, and on the fixed grid (Z, Y, X) the masks from files: `rigid` and `excluded`, as in `Guidance`.

    The masks of the guidance are these masks and the boxes of the same use together.
    """

    boxes: tuple[NamedBox, ...] = ()
    rigid: MaskArray | None = None
    excluded: MaskArray | None = None

    @property
    def is_empty(self) -> bool:
        return not self.boxes and self.rigid is None and self.excluded is None

    def boxes_of(self, use: Use) -> tuple[Box, ...]:
        return tuple(named.box for named in self.boxes if named.use == use)

    def masks_from_files(self) -> dict[Use, MaskArray]:
        """Those that there are."""
        masks: dict[Use, MaskArray | None] = {"rigid": self.rigid, "excluded": self.excluded}
        return {use: mask for use, mask in masks.items() if mask is not None}

    def marks_like(self, other: Regions) -> bool:
        """Whether the same masks come of both."""
        same_files = self.rigid is other.rigid and self.excluded is other.excluded
        return same_files and all(self.boxes_of(use) == other.boxes_of(use) for use in MARKS)

    def same_as(self, other: Regions) -> bool:
        return self.boxes == other.boxes and self.marks_like(other)

    def checked(self, shape_zyx: tuple[int, int, int]) -> Regions:
        """Itself, or an `InputError` where a box or a mask does not lie on the fixed grid."""
        for named in self.boxes:
            named.box.checked(shape_zyx)
        for use, mask in self.masks_from_files().items():
            if mask.shape != shape_zyx:
                raise InputError(f"Expected the {use} mask on the fixed grid {shape_zyx} (z, y, x), got {mask.shape}.")
        return self
