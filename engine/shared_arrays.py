"""Large arrays that lie in files and share what they have in common: each page of memory is there once.

A displacement that a regional step changed differs from the one before in a box. Where that one lies in a file, the new
one is a private map of the same file, of which only the pages of that box and of the boxes changed before are written.
"""

from __future__ import annotations

import math
import mmap
import os
import tempfile
import weakref
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from engine.roi import Box
from engine.shapes import DisplacementArray

_LEAST_BYTES = 64 * 2**20
"""What is smaller is copied: quicker than anything else."""

_MOST_OWN = 0.25
"""Share of the rows of an array that are its own, beyond which it gets a file of its own."""


class _OpenFile:
    """A file that stays readable as long as this object lives, also after it has lost its name."""

    def __init__(self, file: BinaryIO) -> None:
        self.descriptor = os.dup(file.fileno())
        weakref.finalize(self, os.close, self.descriptor)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where the values of an array lie: in a file from `offset` on, but for those in `boxes`."""

    file: _OpenFile
    offset: int
    boxes: tuple[Box, ...] = ()


_origins: dict[int, tuple[weakref.ref[DisplacementArray], _Origin]] = {}


def in_file(shape: tuple[int, ...], pieces: Callable[[], Iterable[DisplacementArray]]) -> DisplacementArray:
    """An array of `shape`, put together from `pieces` that follow each other, in a temporary file without a name.

    The file is gone with the last array that shows it. A small array, or any if the disk has no place, lies in memory.
    """
    if 4 * math.prod(shape) >= _LEAST_BYTES:
        with suppress(OSError, ValueError), tempfile.TemporaryFile() as file:
            for piece in pieces():
                file.write(np.ascontiguousarray(piece).data)
            file.flush()
            return _mapped(_Origin(_OpenFile(file), 0), shape, mmap.ACCESS_WRITE)
    array, first = np.empty(math.prod(shape), np.float32), 0
    for piece in pieces():
        array[first : first + piece.size] = piece.ravel()
        first += piece.size
    return array.reshape(shape)


def npy_in_file(path: Path) -> DisplacementArray:
    """An array mapped from a .npy file; pages are read when they are looked at.

    Raises OSError or ValueError where that is none.
    """
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read_header(file)
        offset = file.tell()
        array: DisplacementArray = np.memmap(file, dtype, "r", offset, shape, "F" if is_fortran else "C")
        if array.flags.c_contiguous and array.dtype == np.float32:
            _remember(array, _Origin(_OpenFile(file), offset))
    return array


def with_part(array: DisplacementArray, box: Box, part: DisplacementArray) -> DisplacementArray:
    """An array (3, Z, Y, X) with other values in a box; `array` keeps its own."""
    result = _shared(array, box)
    if result is None:
        result = in_file(array.shape, lambda: array)
    result[(slice(None), *box.slices_zyx)] = part
    return result


def _shared(array: DisplacementArray, box: Box) -> DisplacementArray | None:
    """The same values where nothing but the boxes that were changed so far, and soon `box`, takes memory of its own.

    None where `array` lies in no file, or that would be much of it.
    """
    origin = _origin_of(array)
    if origin is None:
        return None
    others = tuple(other for other in origin.boxes if not box.holds(other))
    rows = sum((one.z1 - one.z0) * (one.y1 - one.y0) for one in (*others, box))
    if rows > _MOST_OWN * array.shape[1] * array.shape[2]:
        return None
    try:
        result = _mapped(_Origin(origin.file, origin.offset, (*others, box)), array.shape, mmap.ACCESS_COPY)
    except (OSError, ValueError):
        return None
    for other in others:
        there = (slice(None), *other.slices_zyx)
        result[there] = array[there]
    return result


def _mapped(origin: _Origin, shape: tuple[int, ...], access: int) -> DisplacementArray:
    count = math.prod(shape)
    pages = mmap.mmap(origin.file.descriptor, origin.offset + 4 * count, access=access)
    array = np.frombuffer(pages, np.float32, count, origin.offset).reshape(shape)
    _remember(array, origin)
    return array


def _origin_of(array: DisplacementArray) -> _Origin | None:
    known = _origins.get(id(array))
    return known[1] if known is not None and known[0]() is array else None


def _remember(array: DisplacementArray, origin: _Origin) -> None:
    key = id(array)
    _origins[key] = (weakref.ref(array, lambda _: _origins.pop(key, None)), origin)
