"""What the session of the guide works on: the built-in chest as a hospital would hand it over, and what is wrong."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from engine.case import Case
from engine.geometry import Geometry
from engine.io.case_folder import save_case
from engine.io.images import write_image
from engine.phantom.thorax import PhantomPair, thorax_pair
from engine.registration import Step
from engine.session import measured
from engine.volume import Volume

_OUTSIDE_HU = -2048
_WAVES_VOX = 4.5


@dataclass(frozen=True, slots=True)
class Samples:
    """`archive`: two patients, DICOM. `labels`: by role. `folded`: a case whose field folds. `notes`: no image at all.

    `pairs_mm`: places (x, y, z) in the fixed image and where they are in the moving one.
    """

    archive: Path
    labels: dict[str, Path]
    folded: Path
    notes: Path
    strangers: tuple[Path, Path]
    pairs_mm: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]


def write_samples(folder: Path) -> Samples:
    """Everything that the session opens, in a new folder."""
    pair, other = thorax_pair(), thorax_pair(seed=1, size_xyz=(96, 96, 60), spacing_xyz_mm=(3.2, 3.2, 4.5))
    first, second = ("Example^Anna", "EX-1"), ("Sample^Bert", "EX-2")
    archive = folder / "Archive"
    planning = _write_series(archive / "1", first, "Planning CT", "20260105", pair.moving)
    _write_series(archive / "2", first, "CBCT fraction 7", "20260119", pair.fixed)
    stranger = _write_series(archive / "3", second, "CBCT fraction 3", "20260119", other.fixed)
    notes = folder / "Notes.mha"
    notes.write_text("These are words.")
    labels = {"fixed": folder / "Labels of fixed.mha", "moving": folder / "Labels of moving.mha"}
    write_image(labels["fixed"], pair.fixed_labels, pair.fixed.geometry)
    write_image(labels["moving"], pair.moving_labels, pair.moving.geometry)
    return Samples(
        archive, labels, _write_folded(folder / "Folded", other), notes, (planning, stranger), _inner_pairs(pair)
    )


def _write_series(folder: Path, patient: tuple[str, str], description: str, date: str, volume: Volume) -> Path:
    """An image as slices of CT, what it does not show as padding."""
    folder.mkdir(parents=True)
    stored = np.where(volume.valid, volume.hu, _OUTSIDE_HU).astype(np.int16)
    common = {
        "PatientName": patient[0],
        "PatientID": patient[1],
        "Modality": "CT",
        "SeriesDescription": description,
        "StudyDescription": "Thorax",
        "StudyDate": date,
        "SeriesDate": date,
        "StudyInstanceUID": generate_uid(entropy_srcs=[*patient, date]),
        "SeriesInstanceUID": generate_uid(entropy_srcs=[*patient, description]),
        "FrameOfReferenceUID": generate_uid(entropy_srcs=[*patient, date, "frame"]),
        **_grid_tags(volume.geometry),
    }
    for number, plane in enumerate(stored):
        _slice(common, number, plane, volume.geometry).save_as(folder / f"{number:03d}.dcm", enforce_file_format=True)
    return folder


def _grid_tags(geometry: Geometry) -> dict[str, Any]:
    spacing_x, spacing_y, spacing_z = geometry.spacing_xyz_mm
    return {
        "Columns": geometry.size_xyz[0],
        "Rows": geometry.size_xyz[1],
        "PixelSpacing": [spacing_y, spacing_x],
        "SliceThickness": spacing_z,
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 1,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
    }


def _slice(common: dict[str, Any], number: int, plane: NDArray[np.int16], geometry: Geometry) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    place_mm = geometry.points([(0, 0, number)])[0]
    values = {
        **common,
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "InstanceNumber": number + 1,
        "ImagePositionPatient": [round(float(value), 4) for value in place_mm],
        "PixelData": plane.tobytes(),
    }
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def _write_folded(folder: Path, pair: PhantomPair) -> Path:
    """A case after a refinement that went wrong: short waves, too high not to fold."""
    case = Case.new(pair.fixed, pair.moving)
    z, y, x = np.indices(case.fixed.geometry.shape_zyx, dtype=np.float32)
    middle = [n / 2 for n in case.fixed.geometry.shape_zyx]
    away = ((z - middle[0]) / 8) ** 2 + ((y - middle[1]) / 10) ** 2 + ((x - 1.4 * middle[2]) / 10) ** 2
    waves = _WAVES_VOX * np.exp(-away) * np.sin(2 * np.pi * y / 11)
    displacement = np.zeros((3, *waves.shape), np.float32)
    displacement[1] = waves
    changed = case.current.after(Step("align", {}, 1, 1.0, 0.0, 0.0, 1.0, 0.0), displacement_vox=displacement)
    figures = measured(case, changed)
    step = Step("iso", {}, 100, 4.0, figures.rmse_hu, figures.folding_percent, figures.min_jacobian, figures.roughness)
    save_case(case.after(case.current.after(step, displacement_vox=displacement)), folder)
    return folder


def _inner_pairs(pair: PhantomPair) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
    """The three landmarks near the middle that stay nearest to their slice."""
    away_mm = np.linalg.norm(pair.fixed_points_mm - pair.fixed.geometry.center_xyz_mm(), axis=1)
    inner = np.argsort(away_mm)[: len(away_mm) // 3]
    along_mm = np.abs(pair.fixed_points_mm - pair.moving_points_mm)[inner, 2]
    return tuple((pair.fixed_points_mm[i], pair.moving_points_mm[i]) for i in inner[np.argsort(along_mm)[:3]])
