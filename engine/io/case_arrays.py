"""The arrays of a case's states and guidance in files, each array once, known again by a digest of its bytes."""

from __future__ import annotations

import hashlib
import re
import weakref
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import InputError
from engine.geometry import Geometry
from engine.io.atomic import reserve, whole_file
from engine.io.images import array_of, read_image, to_sitk_image, write_sitk_image
from engine.regions import MARKS
from engine.shapes import DisplacementArray, LabelArray, MaskArray
from engine.shared_arrays import npy_in_file

ZERO = "zero"
"""Digest of a displacement that is zero everywhere, bit for bit."""

_HEADER_BYTES = 1024
_NUMBERED = re.compile(r"(?:state|weights|mask|labels)_(\d+)\.(?:npy|safetensors|mha)")

FileEntry = dict[str, str]
"""`{"file": name, "digest": digest}`, as case.json has it."""


class ArrayFiles:
    """The array files of one case folder: writes what is not there yet and remembers what is in use."""

    def __init__(self, folder: Path, present: dict[str, Any]) -> None:
        """`present`: what case.json says so far, or nothing."""
        self._folder = folder
        entries = [state.get(kind) for state in present.get("states", []) for kind in ("displacement", "weights")]
        entries += [present.get(part, {}).get(use) for part in ("guidance", "regions") for use in MARKS]
        entries += [present.get("structures", {}).get(kind) for kind in ("fixed", "moving")]
        self._by_digest: dict[str, FileEntry] = {
            entry["digest"]: entry for entry in entries if entry and (folder / entry["file"]).is_file()
        }
        self._used: set[str] = set()
        self._written: list[Path] = []
        self._weights_seen: dict[int, FileEntry] = {}

    def displacement(self, array: DisplacementArray) -> FileEntry | None:
        """The entry of a displacement, written now if it is new; none for one that is zero everywhere."""
        digest = digest_of(array)
        if digest == ZERO:
            return None
        if digest not in self._by_digest:
            name = self._new_name("state", ".npy")
            with whole_file(self._folder / name) as temporary:
                reserve(temporary, array.nbytes + _HEADER_BYTES)
                np.save(temporary, array, allow_pickle=False)
            self._remember(name, digest)
        return self._entry_in_use(digest)

    def weights(self, tensors: dict[str, Any]) -> FileEntry:
        """The entry of a network's weights, written now if they are new."""
        from safetensors.torch import save

        if id(tensors) in self._weights_seen:
            return self._weights_seen[id(tensors)]
        data = save({key: tensor.detach().cpu().contiguous() for key, tensor in tensors.items()})
        digest = hashlib.sha1(data, usedforsecurity=False).hexdigest()
        if digest not in self._by_digest:
            name = self._new_name("weights", ".safetensors")
            with whole_file(self._folder / name) as temporary:
                temporary.write_bytes(data)
            self._remember(name, digest)
        self._weights_seen[id(tensors)] = self._entry_in_use(digest)
        return self._weights_seen[id(tensors)]

    def mask(self, mask: MaskArray, geometry: Geometry) -> FileEntry:
        """The entry of a mask on a grid, written now if it is new."""
        digest = hashlib.sha1(np.packbits(mask).data, usedforsecurity=False).hexdigest()
        if digest not in self._by_digest:
            name = self._new_name("mask", ".mha")
            write_sitk_image(self._folder / name, to_sitk_image(mask, geometry), compressed=True)
            self._remember(name, digest)
        return self._entry_in_use(digest)

    def labels(self, labels: LabelArray, geometry: Geometry) -> FileEntry:
        """The entry of a label image on a grid, written now if it is new."""
        digest = hashlib.sha1(np.ascontiguousarray(labels).data, usedforsecurity=False).hexdigest()
        if digest not in self._by_digest:
            name = self._new_name("labels", ".mha")
            write_sitk_image(self._folder / name, to_sitk_image(labels, geometry), compressed=True)
            self._remember(name, digest)
        return self._entry_in_use(digest)

    def remove_written(self) -> None:
        """Take back what was written, after an error."""
        for path in self._written:
            path.unlink(missing_ok=True)

    def remove_unused(self) -> None:
        """Remove the arrays that no state of the case just saved refers to; what cannot go yet goes the next time."""
        for path in self._folder.iterdir():
            if _NUMBERED.fullmatch(path.name) and path.name not in self._used:
                with suppress(OSError):
                    path.unlink()

    def _entry_in_use(self, digest: str) -> FileEntry:
        entry = self._by_digest[digest]
        self._used.add(entry["file"])
        return entry

    def _remember(self, name: str, digest: str) -> None:
        self._written.append(self._folder / name)
        self._by_digest[digest] = {"file": name, "digest": digest}

    def _new_name(self, kind: str, suffix: str) -> str:
        numbers = [int(match[1]) for path in self._folder.iterdir() if (match := _NUMBERED.fullmatch(path.name))]
        return f"{kind}_{max(numbers, default=0) + 1:03d}{suffix}"


def read_displacement(folder: Path, entry: FileEntry) -> DisplacementArray:
    """Map a displacement from its file; pages are read when they are looked at."""
    array = npy_in_file(_inside(folder, entry))
    _keep_digest(array, entry["digest"])
    return array


def read_weights(folder: Path, entry: FileEntry) -> dict[str, Any]:
    """Read the weights of a network from their file."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Any] = load_file(_inside(folder, entry))
    except SafetensorError as error:
        raise InputError("The weights of a state cannot be read.") from error
    return tensors


def read_mask(folder: Path, entry: FileEntry) -> MaskArray:
    """Read a mask from its file."""
    mask: MaskArray = array_of(read_image(_inside(folder, entry), "sitkUInt8")) != 0
    return mask


def read_label_array(folder: Path, entry: FileEntry) -> LabelArray:
    """Read a label image from its file."""
    labels: LabelArray = array_of(read_image(_inside(folder, entry), "sitkUInt16"))
    return labels if labels.max() > 255 else labels.astype(np.uint8)


def _inside(folder: Path, entry: FileEntry) -> Path:
    name = entry["file"]
    if not _NUMBERED.fullmatch(name):
        raise InputError("Expected an array file inside the case folder.")
    return folder / name


_digests: dict[int, tuple[weakref.ref[Any], str]] = {}


def digest_of(array: DisplacementArray) -> str:
    """SHA-1 of an array's bytes, or `ZERO`. Computed once for each array object, since displacements are read-only."""
    known = _digests.get(id(array))
    if known is not None and known[0]() is array:
        return known[1]
    contiguous = np.ascontiguousarray(array)
    is_zero = not contiguous.view(np.uint32).any()
    digest = ZERO if is_zero else hashlib.sha1(contiguous.data, usedforsecurity=False).hexdigest()
    _keep_digest(array, digest)
    return digest


def _keep_digest(array: DisplacementArray, digest: str) -> None:
    key = id(array)
    _digests[key] = (weakref.ref(array, lambda _: _digests.pop(key, None)), digest)
