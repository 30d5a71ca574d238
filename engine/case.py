"""A case: two images and every registration of them so far, with a cursor that undo and redo move."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from uuid import uuid4

import numpy as np

from engine.errors import InputError
from engine.guidance import Guidance
from engine.regions import Regions
from engine.registration import Registration
from engine.volume import Volume


def _new_id() -> str:
    return uuid4().hex


@dataclass(frozen=True)
class Case:
    """An immutable value. `states[0]` is the identity, each later state is the result of its own `steps[-1]`.

    `guidance`: what the user knows of the pair; every refinement from now on follows it. `regions`: the boxes and the
    files that its masks are made of, `None` where nobody has said: then all its masks came from files.
    """

    fixed: Volume
    moving: Volume
    states: tuple[Registration, ...]
    cursor: int = 0
    id: str = field(default_factory=_new_id)
    guidance: Guidance = field(default_factory=Guidance, repr=False)
    regions: Regions | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.cursor < len(self.states):
            raise InputError(f"Expected a state from 0 to {len(self.states) - 1}, got {self.cursor}.")
        self.guidance.checked(self.fixed.geometry.shape_zyx)
        if self.regions is not None:
            self.regions.checked(self.fixed.geometry.shape_zyx)
        if any(state.fixed != self.fixed.geometry for state in self.states):
            raise InputError("Expected every state on the grid of the fixed image; one lies on another grid.")

    @classmethod
    def new(cls, fixed: Volume, moving: Volume) -> Case:
        """A case with one state, the identity, and no steps."""
        return cls(fixed, moving, (Registration.identity(fixed.geometry),))

    @property
    def current(self) -> Registration:
        return self.states[self.cursor]

    @property
    def can_undo(self) -> bool:
        return self.cursor > 0

    @property
    def can_redo(self) -> bool:
        return self.cursor < len(self.states) - 1

    def pair_distances_mm(self) -> list[float]:
        """|T(p) − q| of each pair of points of the guidance at the current state."""
        fixed_mm, moving_mm = self.guidance.fixed_points_mm, self.guidance.moving_points_mm
        if not len(fixed_mm):
            return []
        return [float(d) for d in np.linalg.norm(self.current.map_points(fixed_mm) - moving_mm, axis=1)]

    def after(self, registration: Registration) -> Case:
        """With one more state behind the current one; what could be redone is dropped."""
        kept = self.states[: self.cursor + 1]
        return replace(self, states=(*kept, registration), cursor=len(kept))

    def guided(self, guidance: Guidance) -> Case:
        """With other guidance; an `InputError` where its masks do not lie on the fixed grid."""
        return replace(self, guidance=guidance)

    def marked(self, regions: Regions, guidance: Guidance) -> Case:
        """With other regions and the guidance that they make; an `InputError` where they leave the fixed grid."""
        return replace(self, regions=regions, guidance=guidance)

    def undone(self) -> Case:
        """One state back; an `InputError` where there is none."""
        return self.gone_to(self.cursor - 1)

    def redone(self) -> Case:
        """One state on; an `InputError` where there is none."""
        return self.gone_to(self.cursor + 1)

    def gone_to(self, index: int) -> Case:
        """At the given state, with the history kept."""
        return replace(self, cursor=index)
