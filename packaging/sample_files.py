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
from engine.geometry import Geometry, as_triple
from engine.io.case_folder import save_case
from engine.io.images import to_sitk_image, write_image
from engine.phantom.thorax import PhantomPair, thorax_pair
from engine.registration import Step
from engine.session import measured
from engine.volume import Volume

_OUTSIDE_HU = -2048
_LEAST_HU = -1100
_WAVES_VOX = 4.5
_TILT_DEG = (22.0, -9.0)


@dataclass(frozen=True, slots=True)
class Samples:
    """`archive`: two patients, DICOM. `labels`: by role. `folded`: a case whose field folds. `notes`: no image at all.

    `tilted`: fixed and moving series whose grid is oblique to the patient, and `tilted_labels` on it.
    `pairs_mm`: places (x, y, z) in the fixed image and where they are in the moving one.
    """

    archive: Path
    labels: dict[str, Path]
    folded: Path
    notes: Path
    strangers: tuple[Path, Path]
    tilted: tuple[Path, Path]
    tilted_labels: dict[str, Path]
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
    labels = _write_labels(folder, pair.fixed_labels, pair.moving_labels, pair.fixed.geometry)
    tilted = _tilted_grid(pair.fixed.geometry)
    daily, before = (_cut_along(volume, tilted) for volume in (pair.fixed, pair.moving))
    at_cut = [_nearest_on(image, pair.fixed.geometry, tilted) for image in (pair.fixed_labels, pair.moving_labels)]
    return Samples(
        archive,
        labels,
        _write_folded(folder / "Folded", other),
        notes,
        (planning, stranger),
        (
            _write_series(folder / "Tilted" / "1", first, "CBCT fraction 9", "20260121", daily),
            _write_series(folder / "Tilted" / "2", first, "Tilted CT", "20260105", before),
        ),
        _write_labels(folder / "Tilted", *at_cut, tilted),
        _inner_pairs(pair),
    )


def _write_labels(
    folder: Path, fixed: NDArray[np.uint8], moving: NDArray[np.uint8], geometry: Geometry
) -> dict[str, Path]:
    labels = {"fixed": folder / "Labels of fixed.mha", "moving": folder / "Labels of moving.mha"}
    write_image(labels["fixed"], fixed, geometry)
    write_image(labels["moving"], moving, geometry)
    return labels


def _tilted_grid(geometry: Geometry) -> Geometry:
    """As large a grid about the same centre, turned about the patient's left and back."""
    about_left, about_back = np.deg2rad(_TILT_DEG)
    (c, s), (d, e) = ((np.cos(angle), np.sin(angle)) for angle in (about_left, about_back))
    turned = np.array([[d, 0, e], [0, 1, 0], [-e, 0, d]]) @ np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    half = (np.array(geometry.size_xyz) - 1) / 2 * geometry.spacing_xyz_mm
    origin = as_triple(geometry.center_xyz_mm() - turned @ half)
    return Geometry(geometry.shape_zyx, geometry.spacing_xyz_mm, origin, tuple(as_triple(row) for row in turned))


def _cut_along(volume: Volume, grid: Geometry) -> Volume:
    """An image on another grid, between its voxels; padding beyond them."""
    import SimpleITK as sitk

    stored = np.where(volume.valid, volume.hu, _OUTSIDE_HU).astype(np.float32)
    image, like = to_sitk_image(stored, volume.geometry), to_sitk_image(np.zeros(grid.shape_zyx, np.uint8), grid)
    hu = sitk.GetArrayFromImage(sitk.Resample(image, like, sitk.Transform(), sitk.sitkLinear, float(_OUTSIDE_HU)))
    valid = _nearest_on(volume.valid.astype(np.uint8), volume.geometry, grid) > 0
    return Volume(hu, grid, valid & (hu > _LEAST_HU))


def _nearest_on(labels: NDArray[np.uint8], geometry: Geometry, grid: Geometry) -> NDArray[np.uint8]:
    import SimpleITK as sitk

    like = to_sitk_image(np.zeros(grid.shape_zyx, np.uint8), grid)
    resampled = sitk.Resample(to_sitk_image(labels, geometry), like, sitk.Transform(), sitk.sitkNearestNeighbor, 0)
    found: NDArray[np.uint8] = sitk.GetArrayFromImage(resampled)
    return found


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
        "ImageOrientationPatient": [round(float(value), 8) for value in np.asarray(geometry.direction).T[:2].ravel()],
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
