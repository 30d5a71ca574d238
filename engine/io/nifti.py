"""What ITK does not say about a NIfTI file: it reads what is cut off, and values that are no numbers, as zero."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from engine.errors import InputError

_FLOAT_TYPES = {16: "f4", 64: "f8"}
_BLOCK_BYTES = 1 << 23


def refuse_damaged_nifti(path: Path) -> None:
    """Raise InputError for a `.nii` or `.nii.gz` that is cut short or holds NaN or infinite values."""
    try:
        _check(path)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        suffix = ".nii.gz" if path.name.lower().endswith(".gz") else ".nii"
        raise InputError(
            f"The file is not a readable {suffix} image (damaged, cut short, or no image at all)."
        ) from error


def _check(path: Path) -> None:
    with _opened(path) as file:
        header = file.read(348)
        order = "<" if struct.unpack("<i", header[:4]) == (348,) else ">"
        if struct.unpack(order + "i", header[:4]) != (348,):
            return
        dimensions = struct.unpack_from(order + "8h", header, 40)
        kind, bits = struct.unpack_from(order + "2h", header, 70)
        (start,) = struct.unpack_from(order + "f", header, 108)
        byte_count = math.prod(max(1, n) for n in dimensions[1 : 1 + dimensions[0]]) * bits // 8
        if kind not in _FLOAT_TYPES and _unpacked_bytes(path) >= start + byte_count:
            return
        file.seek(int(start))
        for block in _blocks(file, byte_count):
            if kind in _FLOAT_TYPES and not np.isfinite(np.frombuffer(block, order + _FLOAT_TYPES[kind])).all():
                raise InputError(
                    "The image holds values that are not numbers (NaN or infinite); export it without them."
                )


def _opened(path: Path) -> BinaryIO:
    return cast(BinaryIO, gzip.open(path, "rb")) if path.name.lower().endswith(".gz") else path.open("rb")


def _unpacked_bytes(path: Path) -> int:
    """The size of the contents; of a packed file what its last four bytes say, which is at least a good sign."""
    if not path.name.lower().endswith(".gz"):
        return path.stat().st_size
    with path.open("rb") as file:
        file.seek(-4, os.SEEK_END)
        return int(struct.unpack("<I", file.read(4))[0])


def _blocks(file: BinaryIO, byte_count: int) -> Iterator[bytes]:
    while byte_count > 0:
        block = file.read(min(byte_count, _BLOCK_BYTES))
        if not block:
            raise EOFError
        byte_count -= len(block)
        yield block
