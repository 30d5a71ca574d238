"""A folder of DICOM slices as one image in HU.

Pixels come from GDCM through SimpleITK. Order and geometry come from the positions and orientations in the headers,
strictly: what is not one regular stack of slices is refused, and nothing is repaired.
"""

from __future__ import annotations

import os
import struct
import warnings
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.geometry import Geometry, as_triple
from engine.identity import Identity
from engine.io.phases import PHASE_TAGS, phases_of
from engine.io.quiet import quiet
from engine.shapes import HuArray

if TYPE_CHECKING:
    import SimpleITK as sitk
    from pydicom import Dataset

_SPACING_TOLERANCE = 0.05
"""Largest departure of one slice gap from the mean gap, as a share of it: headers round, a missing slice is 1."""

_SHEAR_TOLERANCE = 0.2
"""Largest drift of the stack in the plane of its slices, in pixels."""

CONE_BEAM_WORDS = ("cbct", "cone-beam", "cone beam", "conebeam", "xvi", "on-board imager")
_DESCRIPTIONS = ("0008|103e", "0008|1090", "0008|0008", "0018|1030")
_IDENTITY_TAGS = ("0010|0020", "0010|0010", "0020|0052")
_PIXEL_TAG = b"\xe0\x7f\x10\x00"
WITHOUT_HU = {"RTDOSE", "RTIMAGE", "SEG", "OT", "PR", "SC", "US", "XA", "CR", "DX"}


@dataclass(frozen=True, eq=False)
class SliceHeader:
    """What the header of one slice says. `orientation` (2, 3): directions of a row and of a column.

    `phase_keys`: the values of `PHASE_TAGS`.
    """

    path: Path
    series: str
    series_number: int
    modality: str
    position: NDArray[np.float64]
    orientation: NDArray[np.float64]
    pixel_spacing_yx: tuple[float, float]
    size_xy: tuple[int, int]
    is_cone_beam: bool
    phase_keys: tuple[str, ...]
    identity: Identity


class DicomImage(NamedTuple):
    """`modality`: "CT", "CBCT", or as DICOM says."""

    hu: HuArray
    geometry: Geometry
    modality: str
    identity: Identity


def read_series(folder: Path, series: str | None = None) -> DicomImage:
    """A series in a folder, HU (Z, Y, X).

    `series`: a Series Instance UID, or a number from the list that the error message gives when the folder holds
    several images. Raises InputError for everything that is not one regular stack of slices.
    """
    return _read(_chosen(_by_series(_headers(folder)), series))


def read_slices(files: Sequence[Path]) -> DicomImage:
    """The image that these slices make, whatever else lies beside them. Raises InputError as `read_series` does."""
    return _read(_headers_of(files))


def _read(slices: list[SliceHeader]) -> DicomImage:
    ordered, geometry = stacked(slices)
    first = ordered[0]
    return DicomImage(_pixels(ordered, geometry), geometry, kind_of(first), first.identity)


def kind_of(header: SliceHeader) -> str:
    """`CBCT`, or the modality as DICOM says."""
    return "CBCT" if header.is_cone_beam else header.modality


def _headers(folder: Path) -> list[SliceHeader]:
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not is_customary_extra(path))
    except OSError as error:
        raise InputError(f"The folder cannot be read ({(error.strerror or 'unknown error').lower()}).") from error
    if not files:
        raise InputError("Expected a folder of DICOM slices; this one holds no files.")
    return _headers_of(files)


def _headers_of(files: Sequence[Path]) -> list[SliceHeader]:
    """The slices among files. Objects without an image (structures, plans) and planar images are passed over."""
    import SimpleITK as sitk

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    slices, unreadable = [], 0
    for path in files:
        reader.SetFileName(str(path))
        try:
            with quiet():
                reader.ReadImageInformation()
        except RuntimeError:
            unreadable += not _is_object_without_image(path)
            continue
        if not _holds_its_pixels(path, reader):
            unreadable += 1
        elif _tag(reader, "0008|0060") not in WITHOUT_HU:
            slices.append(_header(path, reader))
    if unreadable and not slices:
        raise InputError(f"Expected DICOM slices; none of the {len(files)} files in this folder can be read as one.")
    if unreadable:
        raise InputError(
            f"{unreadable} of the {len(files)} files in this folder cannot be read as DICOM (damaged, or something "
            "else); export the series again, or move those files elsewhere."
        )
    return slices


def _holds_its_pixels(path: Path, reader: sitk.ImageFileReader) -> bool:
    """Whether an uncompressed slice holds as many bytes of pixels as its header says; GDCM makes up what is missing.

    The pixels usually end the file, so their element's tag and length stand just so far from its end.
    """
    width, height = reader.GetSize()[:2]
    byte_count = width * height * reader.GetNumberOfComponents() * int(_tag(reader, "0028|0100") or 16) // 8
    with path.open("rb") as file:
        file.seek(-min(path.stat().st_size, byte_count + 12), os.SEEK_END)
        head = file.read(12)
    length = byte_count.to_bytes(4, "little")
    if head in (_PIXEL_TAG + b"OW\0\0" + length, _PIXEL_TAG + b"OB\0\0" + length) or head[4:] == _PIXEL_TAG + length:
        return True
    dataset = tolerantly_read(path, "PixelData")
    if dataset is None or dataset.file_meta.TransferSyntaxUID.is_compressed:
        return True
    return bool(len(dataset.PixelData) >= byte_count)


def is_customary_extra(path: Path) -> bool:
    return path.name.startswith(".") or path.name.upper() in {"DICOMDIR", "THUMBS.DB"}


def _is_object_without_image(path: Path) -> bool:
    """Whether a file is a DICOM object that has no pixels by design, such as a structure set or a plan."""
    dataset = tolerantly_read(path, "SOPClassUID", "Rows")
    return dataset is not None and "SOPClassUID" in dataset and "Rows" not in dataset


def tolerantly_read(path: Path, *names: str, force: bool = False) -> Dataset | None:
    """The named elements by pydicom, or none where it cannot read the file either. `force`: without a preamble too."""
    import pydicom

    try:
        with warnings.catch_warnings(action="ignore"):
            return pydicom.dcmread(
                path, specific_tags=list(names), stop_before_pixels="PixelData" not in names, force=force
            )
    except damage():
        return None


def damage() -> tuple[type[Exception], ...]:
    """What pydicom raises about a file that is damaged or no DICOM, when it reads and when a value is looked at."""
    from pydicom.errors import BytesLengthException, InvalidDicomError

    return (
        InvalidDicomError, BytesLengthException, OSError, EOFError, ValueError, TypeError, LookupError, ArithmeticError,
        AttributeError, NotImplementedError, RecursionError, MemoryError, struct.error, zlib.error,
    )  # fmt: skip


def _header(path: Path, reader: sitk.ImageFileReader) -> SliceHeader:
    position, orientation = _numbers(reader, "0020|0032", 3), _numbers(reader, "0020|0037", 6)
    row_spacing, column_spacing = _numbers(reader, "0028|0030", 2)
    size = reader.GetSize()
    if len(size) > 2 and size[2] > 1:
        raise InputError("The folder holds a file of several frames; a folder is read as a series of single slices.")
    return SliceHeader(
        path,
        _tag(reader, "0020|000e"),
        int(_tag(reader, "0020|0011") or 0),
        _tag(reader, "0008|0060") or "OT",
        position,
        orientation.reshape(2, 3),
        (float(row_spacing), float(column_spacing)),
        (size[0], size[1]),
        any(word in _tag(reader, key).lower() for key in _DESCRIPTIONS for word in CONE_BEAM_WORDS),
        tuple(_tag(reader, key) for key in PHASE_TAGS),
        Identity.of(*(_tag(reader, key) for key in _IDENTITY_TAGS)),
    )


def _tag(reader: sitk.ImageFileReader, key: str) -> str:
    return str(reader.GetMetaData(key)).strip(" \0") if reader.HasMetaDataKey(key) else ""


def _numbers(reader: sitk.ImageFileReader, key: str, count: int) -> NDArray[np.float64]:
    try:
        values = np.array([float(value) for value in _tag(reader, key).split("\\")])
    except ValueError:
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all():
        tag = key.replace("|", ",")
        raise InputError(f"A slice in this folder lacks its position, orientation or pixel spacing (DICOM {tag}).")
    return values


def _by_series(slices: Sequence[SliceHeader]) -> list[list[SliceHeader]]:
    series: dict[tuple[int, str], list[SliceHeader]] = {}
    for header in slices:
        series.setdefault((header.series_number, header.series), []).append(header)
    return [phase for key in sorted(series) for _, phase in phases_of(series[key])]


def _chosen(all_series: list[list[SliceHeader]], wanted: str | None) -> list[SliceHeader]:
    if not all_series:
        raise InputError("Expected CT or CBCT slices in this folder; its DICOM objects hold no such image.")
    if wanted is None and len(all_series) == 1:
        return all_series[0]
    if wanted is not None:
        by_uid = [slices for slices in all_series if slices[0].series == wanted]
        by_number = all_series[int(wanted) - 1 : int(wanted)] if wanted.isdecimal() and int(wanted) > 0 else []
        if len(by_uid or by_number) == 1:
            return (by_uid or by_number)[0]
        problem = "several of them are phases of the one asked for" if by_uid else "none of them is the one asked for"
    else:
        problem = "give one"
    listed = "; ".join(f"{number}: {_described(slices)}" for number, slices in enumerate(all_series, 1))
    several_uids = len({slices[0].series for slices in all_series}) == len(all_series)
    count = f"{len(all_series)} series" if several_uids else f"{len(all_series)} series or phases"
    raise InputError(f"The folder holds {count}, {problem} as FOLDER#NUMBER or FOLDER#SERIES_UID. {listed}.")


def _described(slices: list[SliceHeader]) -> str:
    first = slices[0]
    return f"{kind_of(first)}, {len(slices)} slices of {first.size_xy[0]}×{first.size_xy[1]}"


def stacked(slices: Sequence[SliceHeader]) -> tuple[list[SliceHeader], Geometry]:
    """The slices in the order of their position along the normal, and the grid that they make.

    Raises InputError with the reason where they are not one regular stack.
    """
    first = slices[0]
    _refuse_mixed(slices)
    row, column = first.orientation / np.linalg.norm(first.orientation, axis=1, keepdims=True)
    normal = np.cross(row, column)
    ordered = sorted(slices, key=lambda header: float(normal @ header.position))
    positions = np.array([header.position for header in ordered])
    spacing_y, spacing_x = first.pixel_spacing_yx
    spacing_z = _regular_gap(positions @ normal)
    drift_mm = float(np.linalg.norm(np.ptp(positions @ np.stack([row, column]).T, axis=0)))
    if drift_mm > _SHEAR_TOLERANCE * min(spacing_x, spacing_y):
        raise InputError(
            f"The slices are shifted against each other by {drift_mm:.1f} mm (gantry tilt, or two acquisitions); "
            "resample the series to a straight stack first."
        )
    rows = np.stack([row, column, normal], axis=1)
    geometry = Geometry(
        (len(ordered), first.size_xy[1], first.size_xy[0]),
        (spacing_x, spacing_y, spacing_z),
        as_triple(positions[0]),
        (as_triple(rows[0]), as_triple(rows[1]), as_triple(rows[2])),
    )
    return ordered, geometry


def _refuse_mixed(slices: Sequence[SliceHeader]) -> None:
    first = slices[0]
    if len(slices) < 2:
        raise InputError("Expected a series of several slices, got a single slice; a volume is needed.")
    if any(other.size_xy != first.size_xy for other in slices):
        raise InputError("Expected slices of one size; this series mixes several (a scout image among them?).")
    if any(not np.allclose(other.orientation, first.orientation, atol=1e-4) for other in slices):
        raise InputError("Expected slices of one orientation; this series mixes several (a scout image among them?).")
    if any(not np.allclose(other.pixel_spacing_yx, first.pixel_spacing_yx, rtol=1e-4) for other in slices):
        raise InputError("Expected one pixel spacing; the slices of this series differ in theirs.")


def _regular_gap(along_normal_mm: NDArray[np.float64]) -> float:
    """The gap between neighboring slices in mm, or an InputError where the gaps differ."""
    gaps = np.diff(along_normal_mm)
    usual, mean = float(np.median(gaps)), float(gaps.mean())
    if gaps.min() <= 0.01:
        raise InputError(
            f"{int((gaps <= 0.01).sum()) + 1} slices of this series lie at places already taken (several phases or "
            "repetitions in one series?); give a folder with one image."
        )
    worst = gaps[np.abs(gaps - usual).argmax()]
    if abs(worst - usual) > _SPACING_TOLERANCE * usual:
        count = int((np.abs(gaps - usual) > _SPACING_TOLERANCE * usual).sum())
        raise InputError(
            f"Slices are missing or unevenly spaced: they lie {usual:.2f} mm apart, but {count} of the "
            f"{len(gaps)} gaps differ, the worst with {worst:.2f} mm. Export the series again."
        )
    return mean


def _pixels(slices: list[SliceHeader], geometry: Geometry) -> HuArray:
    """Rescaled values, read slice by slice in the given order."""
    import SimpleITK as sitk

    reader = sitk.ImageSeriesReader()
    reader.SetFileNames([str(header.path) for header in slices])
    reader.SetOutputPixelType(sitk.sitkFloat32)
    try:
        with quiet():
            image = reader.Execute()
    except RuntimeError as error:
        raise InputError("A slice of this series cannot be decoded (damaged or truncated); export it again.") from error
    hu: HuArray = sitk.GetArrayFromImage(image)
    if hu.shape != geometry.shape_zyx:
        raise InputError(f"Expected one value in each pixel on {geometry.shape_zyx}, got an array of shape {hu.shape}.")
    return hu
