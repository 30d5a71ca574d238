"""What images lie in a folder and below it: DICOM series, their phases, and image files, by their headers alone.

Names and IDs are read for a screen on which somebody must recognise a patient. They stand in no error, no `repr`, no
command's output and no file.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.geometry import Geometry
from engine.identity import Identity
from engine.io.dicom_image import (
    CONE_BEAM_WORDS,
    WITHOUT_HU,
    SliceHeader,
    damage,
    is_customary_extra,
    kind_of,
    stacked,
    tolerantly_read,
)
from engine.io.images import SUFFIXES, geometry_of, image_reader
from engine.io.phases import phase_in, phase_order, phases_of
from engine.progress import STOP, Job, Progress
from engine.volume import IN_HU

if TYPE_CHECKING:
    from pydicom import Dataset

CASE_FILE = "case.json"
_REPORT_EVERY = 25
_THICK_MM = 5.0
_FEW_SLICES = 10
_DESCRIPTIONS = ("SeriesDescription", "ManufacturerModelName", "ImageType", "ProtocolName")
_PHASE_NAMES = (
    "TemporalPositionIdentifier",
    "NominalPercentageOfCardiacPhase",
    "TriggerTime",
    "AcquisitionNumber",
)
_TAGS = (
    *_DESCRIPTIONS,
    *_PHASE_NAMES,
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "PatientID",
    "PatientName",
    "PatientBirthDate",
    "StudyInstanceUID",
    "StudyDate",
    "StudyDescription",
    "SeriesInstanceUID",
    "SeriesNumber",
    "SeriesDate",
    "FrameOfReferenceUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PixelSpacing",
    "ImagePositionPatient",
    "ImageOrientationPatient",
)


@dataclass(frozen=True, slots=True, repr=False)
class Patient:
    """Who somebody is, as the headers say. Empty for image files."""

    name: str = ""
    id: str = ""
    birth_date: str = ""


@dataclass(frozen=True, slots=True, repr=False)
class Study:
    """A visit. `date` as DICOM has it, YYYYMMDD. For image files the folder is the study."""

    uid: str
    date: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """One image: what its headers say of it. `files` in the order of position where it is one stack.

    `address`: what the command line takes, empty where a series lies in several folders. `phase_set`: what all phases
    of one 4-D image are called together. `problem`: why it cannot be opened; `notes`: what is unusual but does no harm.
    """

    files: tuple[Path, ...] = field(repr=False)
    address: str = field(repr=False)
    modality: str
    count: int
    geometry: Geometry | None = None
    description: str = field(default="", repr=False)
    patient: Patient = field(default=Patient(), repr=False)
    study: Study = field(default=Study(""), repr=False)
    date: str = field(default="", repr=False)
    phase: str = ""
    phase_set: str = field(default="", repr=False)
    identity: Identity = field(default=Identity(), repr=False)
    problem: str = ""
    notes: tuple[str, ...] = ()

    @property
    def is_dicom(self) -> bool:
        return bool(self.study.uid)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The images below a folder, by patient, study, 4-D image and phase.

    `passed_over`: files that are no image. `whole`: not stopped before the end.
    """

    folder: Path = field(repr=False)
    entries: tuple[Entry, ...] = ()
    passed_over: int = 0
    whole: bool = True


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    dataset: Dataset


def read_catalog(folder: str | Path) -> Job[Catalog]:
    """The images in a folder and below it. STOP ends with what was found so far.

    Saved cases, hidden folders and links to folders are passed over. Raises InputError where there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise InputError("Expected a folder with images; there is none at the given path.")
    yield Progress("looking", 0, 0)
    paths = list(_files_below(root))
    found: list[_File] = []
    entries: list[Entry] = []
    passed_over, whole = 0, True
    for number, path in enumerate(paths):
        if number % _REPORT_EVERY == 0:
            note = f"{number} of {len(paths)} files"
            if (yield Progress("looking", number, len(paths), note=note)) is STOP:
                whole = False
                break
        if path.name.lower().endswith(SUFFIXES):
            entries.append(_of_file(path, root))
        elif (dataset := _dataset(path)) is not None:
            found.append(_File(path, dataset))
        else:
            passed_over += 1
    dicom, others = _of_dicom(found)
    yield Progress("looking", len(paths), len(paths))
    ordered = sorted(_with_phase_sets([*dicom, *entries]), key=_order)
    return Catalog(root, tuple(ordered), passed_over + others, whole)


def _files_below(root: Path) -> Iterator[Path]:
    for place, folders, names in os.walk(root):
        if CASE_FILE in names:
            folders.clear()
            continue
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(place, name)
            if not is_customary_extra(path) and os.path.isfile(path):
                yield path


def _order(entry: Entry) -> tuple[Any, ...]:
    patient, study = entry.patient, entry.study
    return (
        not entry.is_dicom,
        (patient.name.casefold(), patient.id),
        (study.date, study.uid),
        entry.phase_set or entry.description,
        phase_order(entry.phase),
        entry.address,
    )


def _of_file(path: Path, root: Path) -> Entry:
    """An image in a file of its own."""
    geometry, problem = None, ""
    notes: tuple[str, ...] = ()
    try:
        reader = image_reader(path)
        geometry = geometry_of(reader)
        if "8-bit" in _pixel_type(reader.GetPixelID()):
            notes = ("8-bit values: a mask?",)
    except InputError as error:
        problem = str(error)
    place = str(path.parent.relative_to(root))
    study = Study("", description="" if place == "." else place)
    count = 0 if geometry is None else geometry.shape_zyx[0]
    return Entry((path,), str(path), "", count, geometry, path.name, study=study, problem=problem, notes=notes)


def _pixel_type(identifier: int) -> str:
    import SimpleITK as sitk

    return str(sitk.GetPixelIDValueAsString(identifier))


def _dataset(path: Path) -> Dataset | None:
    """The header of a DICOM object, one without a preamble too if its name says that it is DICOM."""
    dataset = tolerantly_read(path, *_TAGS, force=path.suffix.lower() == ".dcm")
    return dataset if dataset is not None and "SOPClassUID" in dataset else None


def _of_dicom(files: Sequence[_File]) -> tuple[list[Entry], int]:
    """The images that DICOM objects make, and the number of objects that are none."""
    with warnings.catch_warnings(action="ignore"):
        images = [file for file in files if _is_image(file.dataset)]
        series: dict[str, dict[str, _File]] = {}
        for file in images:
            uid = _text(file.dataset, "SeriesInstanceUID") or str(file.path)
            series.setdefault(uid, {}).setdefault(_text(file.dataset, "SOPInstanceUID") or str(file.path), file)
        entries = [entry for one in series.values() for entry in _of_series(list(one.values()))]
    return _with_addresses(entries, series), len(files) - len(images)


def _is_image(dataset: Dataset) -> bool:
    return "Rows" in dataset and _text(dataset, "Modality") not in WITHOUT_HU


def _of_series(files: Sequence[_File]) -> list[Entry]:
    """One image, or one for each phase of it."""
    blank = _blank(files)
    try:
        headers = [_header(file) for file in files]
    except InputError as error:
        return [replace(blank, problem=str(error))]
    phases = phases_of(headers)
    if len(phases) == 1:
        return [_of_stack(blank, headers)]
    phase_set = ", ".join(part for part in (blank.description, f"series {headers[0].series_number}") if part)
    return [replace(_of_stack(blank, slices), phase=phase, phase_set=phase_set) for phase, slices in phases]


def _blank(files: Sequence[_File]) -> Entry:
    """What the first slice says for all."""
    dataset = files[0].dataset
    name, patient_id = _text(dataset, "PatientName"), _text(dataset, "PatientID")
    study = Study(
        _text(dataset, "StudyInstanceUID") or "unknown", _text(dataset, "StudyDate"), _text(dataset, "StudyDescription")
    )
    return Entry(
        tuple(sorted(file.path for file in files)),
        "",
        _text(dataset, "Modality") or "OT",
        len(files),
        description=_text(dataset, "SeriesDescription"),
        patient=Patient(" ".join(name.replace("^", " ").split()), patient_id, _text(dataset, "PatientBirthDate")),
        study=study,
        date=_text(dataset, "SeriesDate") or study.date,
        identity=Identity.of(patient_id, name, _text(dataset, "FrameOfReferenceUID")),
    )


def _of_stack(blank: Entry, slices: Sequence[SliceHeader]) -> Entry:
    entry = replace(
        blank, files=tuple(header.path for header in slices), modality=kind_of(slices[0]), count=len(slices)
    )
    try:
        ordered, geometry = stacked(slices)
    except InputError as error:
        return replace(entry, problem=str(error))
    files = tuple(header.path for header in ordered)
    entry = replace(entry, files=files, geometry=geometry)
    return replace(entry, notes=tuple(_notes(entry, geometry)))


def _notes(entry: Entry, geometry: Geometry) -> Iterator[str]:
    gap_mm = geometry.spacing_xyz_mm[2]
    if entry.modality not in IN_HU:
        yield f"{entry.modality} is not in HU"
    if gap_mm > _THICK_MM:
        yield f"slices {gap_mm:.1f} mm apart"
    if entry.count < _FEW_SLICES:
        yield f"only {entry.count} slices"
    if not entry.identity.patient_id and not entry.identity.patient_name:
        yield "names no patient"


def _header(file: _File) -> SliceHeader:
    """As the reader's own header, from pydicom. Raises InputError where what every slice needs is missing."""
    dataset = file.dataset
    if _whole(dataset, "NumberOfFrames", 1) > 1:
        raise InputError("Expected one slice in each file; this is a multi-frame object. Export it as single slices.")
    if _whole(dataset, "SamplesPerPixel", 1) > 1:
        raise InputError("Expected one value in each pixel; this is a color image.")
    row_spacing, column_spacing = _numbers(dataset, "PixelSpacing", 2)
    words = " ".join(_text(dataset, name) for name in _DESCRIPTIONS).lower()
    return SliceHeader(
        file.path,
        _text(dataset, "SeriesInstanceUID"),
        _whole(dataset, "SeriesNumber", 0),
        _text(dataset, "Modality") or "OT",
        _numbers(dataset, "ImagePositionPatient", 3),
        _numbers(dataset, "ImageOrientationPatient", 6).reshape(2, 3),
        (float(row_spacing), float(column_spacing)),
        (_whole(dataset, "Columns", 0), _whole(dataset, "Rows", 0)),
        any(word in words for word in CONE_BEAM_WORDS),
        tuple(_text(dataset, name) for name in _PHASE_NAMES),
        Identity(),
    )


def _text(dataset: Dataset, name: str) -> str:
    """An element's value in words, empty where it is missing or cannot be understood."""
    try:
        value = dataset.get(name)
        return "" if value is None else str(value).strip(" \0")
    except damage():
        return ""


def _whole(dataset: Dataset, name: str, default: int) -> int:
    try:
        return int(float(_text(dataset, name) or default))
    except (ValueError, OverflowError):
        return default


def _numbers(dataset: Dataset, name: str, count: int) -> NDArray[np.float64]:
    try:
        values = np.array([float(value) for value in dataset.get(name) or ()])
    except damage():
        values = np.empty(0)
    if len(values) != count or not np.isfinite(values).all():
        raise InputError("A slice of this series lacks its position, orientation or pixel spacing.")
    return values


def _with_addresses(entries: list[Entry], series: dict[str, dict[str, _File]]) -> list[Entry]:
    """Numbered as the reader numbers the images of a folder: by series number, UID and phase."""
    keys = {
        file.path: (_whole(file.dataset, "SeriesNumber", 0), uid)
        for uid, files in series.items()
        for file in files.values()
    }
    by_folder: dict[Path, list[int]] = {}
    for index, entry in enumerate(entries):
        for folder in {path.parent for path in entry.files}:
            by_folder.setdefault(folder, []).append(index)
    addressed = list(entries)
    for folder, members in by_folder.items():
        members.sort(key=lambda index: keys[entries[index].files[0]])
        for number, index in enumerate(members, start=1):
            addressed[index] = _addressed(addressed[index], folder, number, len(members))
    return addressed


def _addressed(entry: Entry, folder: Path, number: int, count: int) -> Entry:
    folders = {path.parent for path in entry.files}
    if len(folders) > 1:
        note = f"lies in {len(folders)} folders"
        return entry if note in entry.notes else replace(entry, notes=(*entry.notes, note))
    return replace(entry, address=f"{folder}#{number}" if count > 1 else str(folder))


def _with_phase_sets(entries: list[Entry]) -> list[Entry]:
    """Images of one study that differ in nothing but the phase that their descriptions name are one 4-D image."""
    sets: dict[tuple[object, ...], list[int]] = {}
    for index, entry in enumerate(entries):
        phase, rest = phase_in(entry.description)
        if phase and not entry.phase and entry.geometry is not None:
            key = (entry.patient, entry.study, entry.modality, entry.identity.frame_of_reference, rest)
            sets.setdefault((*key, entry.geometry.shape_zyx[1:]), []).append(index)
    result = list(entries)
    for members in sets.values():
        phases = [phase_in(entries[index].description)[0] for index in members]
        if len(members) > 1 and len(set(phases)) == len(phases):
            for index, phase in zip(members, phases, strict=True):
                rest = phase_in(entries[index].description)[1]
                result[index] = replace(entries[index], phase=phase, phase_set=rest or "series")
    return result
