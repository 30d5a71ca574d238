"""Delineated structures of a pair of images, as label images."""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.shapes import LabelArray, MaskArray

Ranges = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]


@dataclass(frozen=True, slots=True, eq=False)
class Structures:
    """Numbers of structures (Z, Y, X) on the grids of the two images, 0 where there is none; none where not known.

    The same number is the same structure in both. They are evidence for the user and steer no step. `numbers`: those
    that have voxels in either.
    """

    fixed: LabelArray | None = None
    moving: LabelArray | None = None
    numbers: tuple[int, ...] = field(init=False)

    def __post_init__(self) -> None:
        found: set[int] = set()
        for labels in (self.fixed, self.moving):
            if labels is not None:
                labels.flags.writeable = False
                found |= voxel_counts(labels).keys()
                occupied_zyx(labels)
        object.__setattr__(self, "numbers", tuple(sorted(found)))

    @property
    def is_empty(self) -> bool:
        return self.fixed is None and self.moving is None

    def checked(self, fixed_shape: tuple[int, int, int], moving_shape: tuple[int, int, int]) -> Structures:
        """Itself, or an `InputError` where labels do not lie on the grid of their image."""
        for name, labels, shape in (("fixed", self.fixed, fixed_shape), ("moving", self.moving, moving_shape)):
            if labels is not None and labels.shape != shape:
                raise InputError(f"Expected labels on the {name} grid {shape} (z, y, x), got {labels.shape}.")
        return self


def voxel_counts(labels: NDArray[np.integer]) -> dict[int, int]:
    """How many voxels each structure has, in the order of their numbers; slice by slice, so that it takes no memory."""
    length = int(labels.max()) + 1
    counts = np.zeros(length, np.int64)
    for plane in labels:
        counts += np.bincount(plane.ravel(), minlength=length)
    return {int(number): int(counts[number]) for number in np.flatnonzero(counts) if number}


_occupied: dict[int, tuple[weakref.ref[Any], Ranges]] = {}


def occupied_zyx(labels: LabelArray) -> Ranges:
    """For z, y and x the first index at which there is a structure and the one after the last; empty where none is.

    Looked for once in each array object; whoever changes labels makes new ones.
    """
    key = id(labels)
    known = _occupied.get(key)
    if known is not None and known[0]() is labels:
        return known[1]
    depth, height, width = labels.shape
    slices, rows, columns = np.zeros(depth, bool), np.zeros(height, bool), np.zeros(width, bool)
    for z, plane in enumerate(labels):
        along_rows = np.bitwise_or.reduce(plane, axis=0) != 0
        slices[z] = along_rows.any()
        if slices[z]:
            columns |= along_rows
            rows |= plane[:, along_rows].any(axis=1)
    ranges = _range(slices), _range(rows), _range(columns)
    _occupied[key] = weakref.ref(labels, lambda _: _occupied.pop(key, None)), ranges
    return ranges


def _range(there: MaskArray) -> tuple[int, int]:
    places = np.flatnonzero(there)
    return (int(places[0]), int(places[-1]) + 1) if places.size else (0, 0)
