"""Outlines of structures on a plane, through the middles of the voxel edges that part them from what is around."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from app.viewer.planes import Plane
from app.viewer.view_state import ImageName
from engine.shapes import LabelArray

if TYPE_CHECKING:
    from engine.spatial.section import CarriedLabels

RGB = tuple[int, int, int]
Cut = Callable[["LabelArray | CarriedLabels", Plane, float, int], LabelArray]
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


def _cut(labels: LabelArray | CarriedLabels, plane: Plane, index: float, step: int) -> LabelArray:
    return plane.slice_of(labels, index)[::step, ::step]


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """On the fixed grid: labels of the fixed image, those of the moving one as it is aligned, and as it is warped.

    `numbers`: all structures there are.
    """

    fixed: LabelArray | None = None
    aligned: CarriedLabels | None = None
    warped: CarriedLabels | None = None
    numbers: tuple[int, ...] = ()
    _known: dict[tuple[Side, str, int], tuple[tuple[Plane, float], tuple[Contour, ...]]] = field(
        default_factory=dict, init=False, repr=False
    )

    def on(
        self, image: ImageName, plane: Plane, index: float, hidden: frozenset[int], cut: Cut = _cut, step: int = 1
    ) -> tuple[Contour, ...]:
        """What is drawn over a slice of an image. `cut` gives that slice of labels, every `step`-th pixel each way."""
        found = [contour for side in _SIDES[image] for contour in self._of(side, plane, index, cut, step)]
        return tuple(contour for contour in found if contour.number not in hidden)

    def _of(self, side: Side, plane: Plane, index: float, cut: Cut, step: int) -> tuple[Contour, ...]:
        """The last slice of each plane is remembered."""
        if side == "warped" and self.warped is self.aligned:
            side = "aligned"
        labels = getattr(self, side)
        if labels is None:
            return ()
        known = self._known.get((side, plane.name, step))
        if known is None or known[0] != (plane, index):
            across, down = plane.spacing_mm
            contours = tuple(
                Contour(
                    contour.number,
                    contour.places_mm,
                    contour.joined,
                    color_of(contour.number, self.numbers),
                    side != "fixed",
                )
                for contour in outlined(cut(labels, plane, index, step), (step * across, step * down))
            )
            known = self._known[side, plane.name, step] = (plane, index), contours
        return known[1]


def outlined(labels: NDArray[np.integer], spacing_mm: tuple[float, float]) -> tuple[Contour, ...]:
    """Closed outlines of all structures of a slice (rows, columns); `spacing_mm` across and down."""
    number, start, end = _steps(labels)
    if not number.size:
        return ()
    bends, following = _bends(_following(number, start, end), end - start)
    order, first = _walked(following)
    closes = np.append(first[1:], order.size)
    closed = bends[np.insert(order, closes, order[first])]
    last = closes + np.arange(first.size)
    joined = np.ones(closed.size, dtype=bool)
    joined[last] = False
    (row, column), (next_row, next_column) = (np.divmod(corner[closed], labels.shape[1] + 2) for corner in (start, end))
    places_mm = np.stack([(column + next_column - 1) / 2, (row + next_row - 1) / 2], axis=1) * spacing_mm
    numbers = number[bends[order[first]]]
    opened = np.r_[0, last[np.flatnonzero(np.diff(numbers))] + 1, closed.size].tolist()
    parts = (slice(*ends) for ends in pairwise(opened))
    return tuple(
        Contour(n, places_mm[part], joined[part]) for n, part in zip(np.unique(numbers).tolist(), parts, strict=True)
    )


def _steps(labels: NDArray[np.integer]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Voxel edges between a structure and anything else, each walked with the structure to the left.

    Its number (N,), in ascending order, and the corners (N,) where the edge begins and ends; with `columns` of labels,
    corner `i * (columns + 2) + j` is the upper left one of voxel (i, j).
    """
    rows, columns = labels.shape
    width = columns + 2
    around = np.zeros((rows + 2, width), labels.dtype)
    around[1:-1, 1:-1] = labels
    flat = around.ravel()
    below, beside = np.flatnonzero(flat[:-width] != flat[width:]), np.flatnonzero(flat[:-1] != flat[1:])
    found = [
        (flat[below], below - 1, below),
        (flat[below + width], below, below - 1),
        (flat[beside + 1], beside - width, beside),
        (flat[beside], beside, beside - width),
    ]
    number, start, end = (np.concatenate(parts) for parts in zip(*found, strict=True))
    order = np.argsort(number, kind="stable")
    order = order[np.searchsorted(number[order], 0, "right") :]
    return number[order].astype(np.int64), start[order], end[order]


def _following(number: NDArray[np.int64], start: NDArray[np.int64], end: NDArray[np.int64]) -> NDArray[np.int64]:
    """For each step the one of the same structure that begins where it ends."""
    corners = int(end.max()) + 1
    following = np.empty_like(number)
    following[np.argsort(number * corners + end, kind="stable")] = np.argsort(number * corners + start, kind="stable")
    return following


def _bends(following: NDArray[np.int64], direction: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The steps in the middle of which outlines bend, and for each of them which of these comes next.

    What lies on a straight piece between others, slanting ones included, need not be drawn.
    """
    onward = direction + direction[following]
    turned = np.empty(following.size, dtype=bool)
    turned[following] = onward[following] != onward
    bends = np.flatnonzero(turned)
    reached = np.where(turned, np.arange(following.size), following)
    while not turned[reached].all():
        reached = reached[reached]
    return bends, (np.cumsum(turned) - 1)[reached[following[bends]]]


def _walked(following: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All of a chain in the order of its loops, and where in it each loop begins."""
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
