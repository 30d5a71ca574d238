"""Outlines of structures on a plane, through the middles of the voxel edges that part them from what is around."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from app.viewer.planes import Plane
from app.viewer.view_state import ImageName
from engine.shapes import LabelArray

if TYPE_CHECKING:
    from engine.spatial.section import CarriedLabels

RGB = tuple[int, int, int]
Side = Literal["fixed", "aligned", "warped"]
_SIDES: dict[ImageName, tuple[Side, ...]] = {
    "fixed": ("fixed", "warped"),
    "moving": ("aligned",),
    "warped": ("fixed", "warped"),
    "difference": ("fixed", "warped"),
}
_COLORS = (
    (230, 159, 0), (86, 180, 233), (0, 190, 140), (240, 228, 66),
    (90, 140, 255), (255, 110, 60), (230, 140, 190), (255, 255, 255),
)  # fmt: skip
"""After Okabe and Ito, told apart by the colour-blind too; the darker ones lightened for dark images."""


def color_of(number: int, numbers: tuple[int, ...]) -> RGB:
    """Of a structure among all there are."""
    return _COLORS[numbers.index(number) % len(_COLORS)]


@dataclass(frozen=True, slots=True, eq=False)
class Contour:
    """The outline of a structure on a slice: places (N, 2) across and down in mm, and which are joined to the next.

    `carried`: it comes from the moving image.
    """

    number: int
    places_mm: NDArray[np.float64]
    joined: NDArray[np.bool_]
    rgb: RGB = _COLORS[0]
    carried: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """On the fixed grid: labels of the fixed image, those of the moving one as it is aligned, and as it is warped.

    `numbers`: all structures there are.
    """

    fixed: LabelArray | None = None
    aligned: CarriedLabels | None = None
    warped: CarriedLabels | None = None
    numbers: tuple[int, ...] = ()
    _known: dict[tuple[Side, str], tuple[tuple[Plane, float], tuple[Contour, ...]]] = field(
        default_factory=dict, init=False, repr=False
    )

    def on(self, image: ImageName, plane: Plane, index: float, hidden: frozenset[int]) -> tuple[Contour, ...]:
        """What is drawn over a slice of an image."""
        found = [contour for side in _SIDES[image] for contour in self._of(side, plane, index)]
        return tuple(contour for contour in found if contour.number not in hidden)

    def _of(self, side: Side, plane: Plane, index: float) -> tuple[Contour, ...]:
        """The last slice of each plane is remembered."""
        if side == "warped" and self.warped is self.aligned:
            side = "aligned"
        labels = getattr(self, side)
        if labels is None:
            return ()
        known = self._known.get((side, plane.name))
        if known is None or known[0] != (plane, index):
            contours = outlined(plane.slice_of(labels, index), plane.spacing_mm)
            known = (
                (plane, index),
                tuple(
                    replace(contour, rgb=color_of(contour.number, self.numbers), carried=side != "fixed")
                    for contour in contours
                ),
            )
            self._known[side, plane.name] = known
        return known[1]


def outlined(labels: NDArray[np.integer], spacing_mm: tuple[float, float]) -> tuple[Contour, ...]:
    """Closed outlines of all structures of a slice (rows, columns); `spacing_mm` across and down."""
    number, start, end = _steps(labels)
    if not number.size:
        return ()
    order, first = _walked(_following(number, start, end))
    places_mm = ((start + end - 1) / 2)[order, ::-1] * spacing_mm
    bends = _bends((end - start)[order], first)
    loop_of = np.repeat(np.arange(first.size), np.diff(first, append=order.size))[bends]
    opens, closes = (np.searchsorted(loop_of, np.arange(first.size), side) for side in ("left", "right"))
    places_mm = places_mm[bends]
    closed_mm = np.insert(places_mm, closes, places_mm[opens], axis=0)
    last = closes + np.arange(first.size)
    joined = np.ones(len(closed_mm), dtype=bool)
    joined[last] = False
    numbers = number[order][first]
    cuts = last[np.flatnonzero(np.diff(numbers))] + 1
    parts = zip(np.split(closed_mm, cuts), np.split(joined, cuts), strict=True)
    return tuple(Contour(int(n), *part) for n, part in zip(np.unique(numbers), parts, strict=True))


def _steps(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Voxel edges between a structure and anything else, each walked with the structure to the left.

    Its number (N,), in ascending order, and the corners (N, 2) where the edge begins and ends; corner (i, j) is the
    upper left one of voxel (i, j).
    """
    around = np.pad(labels, 1)
    found = []
    for one, other, along in (
        (around[:-1, 1:-1], around[1:, 1:-1], (0, 1)),
        (around[1:-1, 1:], around[1:-1, :-1], (1, 0)),
    ):
        edges = np.nonzero(one != other)
        low = np.column_stack(edges)
        high = low + along
        found += [(one[edges], low, high), (other[edges], high, low)]
    number, start, end = (np.concatenate(parts).astype(np.int64) for parts in zip(*found, strict=True))
    order = np.argsort(number, kind="stable")
    order = order[number[order] > 0]
    return number[order], start[order], end[order]


def _following(number: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each step the one of the same structure that begins where it ends."""
    rows, columns = end.max(axis=0) + 1
    starts, ends = ((number * rows + corner[:, 0]) * columns + corner[:, 1] for corner in (start, end))
    following = np.empty_like(number)
    following[np.argsort(ends, kind="stable")] = np.argsort(starts, kind="stable")
    return following


def _walked(following: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All steps in the order of their loops, and where in it each loop begins."""
    left, order, first = following.tolist(), [], []
    for begin in range(len(left)):
        step, onward = begin, left[begin]
        if onward >= 0:
            first.append(len(order))
        while onward >= 0:
            order.append(step)
            left[step] = -1
            step, onward = onward, left[onward]
    return np.array(order), np.array(first)


def _bends(direction: NDArray[np.int64], first: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether the outline bends at a step; what lies on a straight piece between others need not be drawn."""
    last = np.r_[first[1:], len(direction)] - 1
    before = np.arange(-1, len(direction) - 1)
    before[first] = last
    turned = (direction != direction[before]).any(axis=1)
    after = np.arange(1, len(direction) + 1)
    after[last] = first
    bends: NDArray[np.bool_] = turned | turned[after]
    return bends
