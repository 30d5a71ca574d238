"""A case: two images and every registration of them so far, as a tree that undo, redo and branches walk in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from uuid import uuid4

import numpy as np

from engine.errors import InputError
from engine.guidance import Guidance
from engine.regions import Regions
from engine.registration import Registration
from engine.shapes import PointArray
from engine.structures import Structures
from engine.volume import Volume

_FIRST_STEPS = ("align", "general")


def _new_id() -> str:
    return uuid4().hex


@dataclass(frozen=True)
class Case:
    """An immutable value. `states[0]` is the identity, each later state is the result of its own `steps[-1]`.

    `parents`: the number of the state that each one began from, itself for the first; one after the other if not given.
    `followed`: the state that redo leads to from each one, itself where nothing follows.
    `guidance`: what the user knows of the pair; every refinement from now on follows it. `regions`: the boxes and the
    files that its masks are made of, `None` where nobody has said: then all its masks came from files.
    `structures`: what was delineated in the images. `deleted`: numbers of states that are no more; the first state
    stands in their places, so that all others keep their numbers and none is given twice.
    """

    fixed: Volume
    moving: Volume
    states: tuple[Registration, ...]
    cursor: int = 0
    id: str = field(default_factory=_new_id)
    guidance: Guidance = field(default_factory=Guidance, repr=False)
    structures: Structures = field(default_factory=Structures, repr=False)
    parents: tuple[int, ...] = ()
    followed: tuple[int, ...] = ()
    regions: Regions | None = field(default=None, repr=False)
    deleted: frozenset[int] = frozenset()

    def __post_init__(self) -> None:
        count = len(self.states)
        if not self.parents:
            object.__setattr__(self, "parents", tuple(max(0, i - 1) for i in range(count)))
        if not self.followed:
            object.__setattr__(self, "followed", _last_children(self.parents))
        if not _is_tree(self.parents, self.followed, count):
            raise InputError("Expected every state to follow one before it.")
        if not 0 <= self.cursor < len(self.states):
            raise InputError(f"Expected a state from 0 to {len(self.states) - 1}, got {self.cursor}.")
        if not self._keeps_what_leads_on():
            raise InputError("Expected only whole branches beside the current state to be deleted.")
        self.guidance.checked(self.fixed.geometry.shape_zyx)
        self.structures.checked(self.fixed.geometry.shape_zyx, self.moving.geometry.shape_zyx)
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
    def numbers(self) -> tuple[int, ...]:
        """Those of the states that there are, in the order in which they came."""
        return tuple(number for number in range(len(self.states)) if number not in self.deleted)

    def state(self, number: int) -> Registration:
        """The state with a number; an `InputError` where there is none."""
        if not 0 <= number < len(self.states):
            raise InputError(f"Expected a state from 0 to {len(self.states) - 1}, got {number}.")
        if number in self.deleted:
            raise InputError(f"State {number} was deleted.")
        return self.states[number]

    @property
    def can_undo(self) -> bool:
        return self.cursor > 0

    @property
    def can_redo(self) -> bool:
        return self.followed[self.cursor] != self.cursor

    def way_to(self, index: int) -> tuple[int, ...]:
        """The numbers of the states from the first one to `index`, each begun from the one before."""
        way = [index]
        while way[-1]:
            way.append(self.parents[way[-1]])
        return tuple(reversed(way))

    def line(self) -> tuple[int, ...]:
        """The way to the current state and on to where redo leads in the end."""
        end = self.cursor
        while self.followed[end] != end:
            end = self.followed[end]
        return self.way_to(end)

    def branch(self, number: int) -> tuple[int, ...]:
        """The numbers of a state and of all that were begun from it or from those."""
        found = [number]
        for child in self.numbers:
            if child > number and self.parents[child] in found:
                found.append(child)
        return tuple(found)

    def without_branch(self, number: int) -> Case:
        """Without a state and all that were begun from it; an `InputError` where that is the line one is on."""
        self.state(number)
        if number in self.line():
            raise InputError(f"State {number} leads to the current one or on from it; go to another branch first.")
        gone = self.branch(number)
        kept = [child for child in self.numbers if child not in gone]
        followed = tuple(
            max((child for child in kept if child > i and self.parents[child] == i), default=i)
            if then in gone
            else then
            for i, then in enumerate(self.followed)
        )
        states = tuple(self.states[0] if i in gone else state for i, state in enumerate(self.states))
        return replace(self, states=states, followed=followed, deleted=self.deleted.union(gone))

    def unrefined(self) -> Registration:
        """The last state on the way to the current one that nothing but alignment and a model has touched."""
        way = (self.states[number] for number in reversed(self.way_to(self.cursor)))
        return next(s for s in way if all(step.name.split()[0] in _FIRST_STEPS for step in s.steps))

    def pair_distances_mm(self, map_points: Callable[[PointArray], PointArray] | None = None) -> list[float]:
        """|T(p) − q| in mm of each pair of points of the guidance, by the T of the current state if none is given."""
        fixed_mm, moving_mm = self.guidance.fixed_points_mm, self.guidance.moving_points_mm
        if not len(fixed_mm):
            return []
        mapped_mm = (map_points or self.current.map_points)(fixed_mm)
        return [float(d) for d in np.linalg.norm(mapped_mm - moving_mm, axis=1)]

    def after(self, registration: Registration) -> Case:
        """With one more state, begun from the current one. Where others began there too, it is a branch beside them."""
        new = len(self.states)
        followed = (*(new if i == self.cursor else then for i, then in enumerate(self.followed)), new)
        parents = (*self.parents, self.cursor)
        return replace(self, states=(*self.states, registration), cursor=new, parents=parents, followed=followed)

    def guided(self, guidance: Guidance) -> Case:
        """With other guidance; an `InputError` where its masks do not lie on the fixed grid."""
        return replace(self, guidance=guidance)

    def delineated(self, structures: Structures) -> Case:
        """With other structures; an `InputError` where they do not lie on the grids of the images."""
        return replace(self, structures=structures)

    def marked(self, regions: Regions, guidance: Guidance) -> Case:
        """With other regions and the guidance that they make; an `InputError` where they leave the fixed grid."""
        return replace(self, regions=regions, guidance=guidance)

    def undone(self) -> Case:
        """At the state that the current one began from; an `InputError` where there is none."""
        return self.gone_to(self.parents[self.cursor] if self.can_undo else -1)

    def redone(self) -> Case:
        """One state on, along the branch that was visited last; an `InputError` where there is none."""
        return self.gone_to(self.followed[self.cursor] if self.can_redo else len(self.states))

    def gone_to(self, index: int) -> Case:
        """At the given state, with the history kept; redo will lead along its branch."""
        self.state(index)
        followed = list(self.followed)
        for state in self.way_to(index)[1:]:
            followed[self.parents[state]] = state
        return replace(self, cursor=index, followed=tuple(followed))

    def _keeps_what_leads_on(self) -> bool:
        left = self.numbers
        reached = {0, self.cursor, *(self.parents[i] for i in left), *(self.followed[i] for i in left)}
        return self.deleted.issubset(range(len(self.states))) and not reached & self.deleted


def _last_children(parents: tuple[int, ...]) -> tuple[int, ...]:
    """For each state the last of those that began from it, itself where none did."""
    last = list(range(len(parents)))
    for child, parent in enumerate(parents):
        last[parent] = child
    return tuple(last)


def _is_tree(parents: tuple[int, ...], followed: tuple[int, ...], count: int) -> bool:
    if len(parents) != count or len(followed) != count or (count and parents[0] != 0):
        return False
    comes_before = all(0 <= parent < child for child, parent in enumerate(parents) if child)
    return comes_before and all(
        i <= child < count and (child == i or parents[child] == i) for i, child in enumerate(followed)
    )
