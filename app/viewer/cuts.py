"""Slices of volumes, cut once for all that is drawn from them."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from app.viewer.patched import Patched
from app.viewer.planes import How, Plane

_LAST_AXIS = 2
_LINE_BYTES = 64
"""Of the processor's cache."""

_PAYS_FROM_BYTES = 4

_SLABS = ("fixed", "moving", "warped", "u0", "u1", "u2", "body", "valid", "labels")

Made = TypeVar("Made")


@dataclass(frozen=True, slots=True, eq=False)
class _Cut:
    """Some of a volume, and where it is from."""

    source: object
    at: object
    values: Any


class Cuts:
    """The last slice of each volume on each plane, and the last of each thing that was made from slices there.

    Slices of every few rows and columns beside those of all.
    """

    def __init__(self) -> None:
        self._slices: dict[tuple[object, ...], _Cut] = {}
        self._made: dict[tuple[object, ...], tuple[tuple[object, ...], Any]] = {}

    def take_over(self, before: Cuts, volumes: Collection[object]) -> None:
        """Keep what was cut from some volumes."""
        kept = {id(volume) for volume in volumes}
        self._slices.update({name: cut for name, cut in before._slices.items() if id(cut.source) in kept})

    def slice_of(
        self, name: str, source: Any, plane: Plane, index: float, how: How, part: Callable[[], Any] | None = None
    ) -> Any:
        """(rows, columns) of a volume, or of the part of it that has a name of its own."""
        key = name, plane.name, plane.every
        known = self._slices.get(key)
        if known is None or known.source is not source or known.at != (plane, index):
            volume, at = source if part is None else part(), index
            if plane.normal == _LAST_AXIS and isinstance(volume, (np.ndarray, Patched)) and not plane.is_sampled:
                volume, at = self._slab(name, source, volume, int(index))
            values = np.ascontiguousarray(plane.slice_of(volume, at, how))
            known = self._slices[key] = _Cut(source, (plane, index), values)
        return known.values

    def _slab(self, name: str, source: Any, volume: Any, index: int) -> tuple[Any, int]:
        """Some columns of a volume and the place of one among them: as many as a line of the cache holds of each row.

        One alone takes as long to gather. Slabs of different volumes end at different columns, so that no slice has
        to wait for all.
        """
        shift = _SLABS.index(name)
        count = _LINE_BYTES // (volume.itemsize if isinstance(volume, np.ndarray) else 4)
        first = (index + shift) // count * count - shift
        key = name, "slab"
        known = self._slices.get(key)
        if known is None or known.source is not source or known.at != first:
            known = self._slices[key] = _Cut(source, first, _copied(volume[:, :, max(first, 0) : first + count]))
        return known.values, index - max(first, 0)

    def once(self, key: tuple[object, ...], plane: Plane, make: Callable[[], Made]) -> Made:
        """What is made from a slice, kept until something else by its name (the first of the key) is on that plane."""
        slot = key[0], plane.name, plane.every
        known = self._made.get(slot)
        if known is None or known[0] != key:
            known = self._made[slot] = key, make()
        made: Made = known[1]
        return made


def _copied(columns: Any) -> Any:
    """A copy of some columns, each of them in one piece of memory where values are large enough for that to pay."""
    if columns.itemsize < _PAYS_FROM_BYTES:
        return _lines_copied(columns)
    depth, rows, count = columns.shape
    apart = np.empty((count, depth, rows), columns.dtype)
    for z in range(depth):
        apart[:, z] = columns[z].T
    return apart.transpose(1, 2, 0)


def _lines_copied(columns: Any) -> Any:
    """A line of the cache at once where they fill one, in two thirds of the time."""
    if columns.shape[-1] * columns.itemsize != _LINE_BYTES or columns.strides[-1] != columns.itemsize:
        return columns.copy()
    return columns.view(np.dtype((np.void, _LINE_BYTES))).copy().view(columns.dtype)
