"""Fixtures for every test: real data where it is present, geometry that hides no swapped axis, and DICOM slices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from engine.geometry import Geometry, as_triple
from engine.registration import Registration

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
ROW = np.array([0.96, 0.28, 0.0])
COLUMN = np.array([-0.28, 0.96, 0.0])


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of real images beside the repository."""
    if not DATA.is_dir():
        pytest.skip("needs the real images in ../shared/data, which lie beside the repository and are not part of it")
    return DATA


@pytest.fixture
def aligned() -> Geometry:
    """An asymmetric, anisotropic grid along the patient axes, its origin off the center."""
    return Geometry((17, 23, 29), (1.3, 1.9, 2.6), (-37.0, 52.0, -411.0))


@pytest.fixture
def oblique() -> Geometry:
    """The same, with all three axes turned."""
    rows = rotation(12.0, -17.0, 23.0)
    direction = (as_triple(rows[0]), as_triple(rows[1]), as_triple(rows[2]))
    return Geometry((17, 23, 29), (1.3, 1.9, 2.6), (-37.0, 52.0, -411.0), direction)


@pytest.fixture
def make_registration() -> Callable[[Geometry], Registration]:
    """Makes a registration with a rotation of a few degrees, a shift of a few mm and smooth waves on a grid."""

    def make(geometry: Geometry) -> Registration:
        return Registration(geometry, small_rigid(geometry), waves_vox(geometry.shape_zyx))

    return make


def rotation(x_deg: float, y_deg: float, z_deg: float) -> NDArray[np.float64]:
    """Rz · Ry · Rx (3 × 3)."""
    (cx, cy, cz), (sx, sy, sz) = (f(np.deg2rad([x_deg, y_deg, z_deg])) for f in (np.cos, np.sin))
    about_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x


def small_rigid(geometry: Geometry) -> NDArray[np.float64]:
    """A rotation about the center of a grid, and a shift (4 × 4)."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation(3.0, -4.0, 5.0)
    center = geometry.center_xyz_mm()
    matrix[:3, 3] = center - matrix[:3, :3] @ center + [1.5, -2.5, 3.5]
    return matrix


def waves_vox(shape_zyx: tuple[int, int, int], amplitude: float = 1.5) -> NDArray[np.float32]:
    """A displacement of waves, other in each component and along each axis (3, Z, Y, X)."""
    z, y, x = np.meshgrid(*(np.linspace(0, 1, n) for n in shape_zyx), indexing="ij")
    waves = [np.sin(3 * x + 2 * y), np.cos(2 * z - 3 * y) - 0.5, np.sin(4 * z + x + 1)]
    return (amplitude * np.stack(waves)).astype(np.float32)


WriteSeries = Callable[..., list[Path]]


@pytest.fixture
def write_series() -> WriteSeries:
    """Writes CT slices of 5 × 7 pixels (y, x), 2.5 mm apart, in files whose names are not in the order of position.

    Slice k holds stored values `1000 + 100 k + 10 y + x`, slope 2, intercept -3000. `change(k, dataset)` may spoil it.
    """

    def write(
        folder: Path, count: int = 4, change: Callable[[int, Dataset], object] | None = None, prefix: str = ""
    ) -> list[Path]:
        folder.mkdir(parents=True, exist_ok=True)
        series = generate_uid()
        paths = []
        for k in range(count):
            dataset = _slice(k, series)
            if change is not None:
                change(k, dataset)
            paths.append(folder / f"{prefix}{(7 * k) % 10}-{k}.dcm")
            dataset.save_as(paths[-1], enforce_file_format=True)
        return paths

    return write


def _slice(k: int, series: str) -> FileDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    values: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "StudyInstanceUID": generate_uid(),
        "SeriesInstanceUID": series,
        "SeriesNumber": 3,
        "InstanceNumber": 20 - k,
        "Modality": "CT",
        "PatientName": "Confidential^Name",
        "PatientID": "SECRET",
        "Rows": 5,
        "Columns": 7,
        "PixelSpacing": [1.9, 1.3],
        "SliceThickness": 99,
        "ImageOrientationPatient": [*ROW, *COLUMN],
        "ImagePositionPatient": [10.5, -20.25, -300 + 2.5 * k],
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
        "RescaleSlope": 2,
        "RescaleIntercept": -3000,
    }
    for key, value in values.items():
        setattr(dataset, key, value)
    y, x = np.mgrid[:5, :7]
    dataset.PixelData = (1000 + 100 * k + 10 * y + x).astype("<u2").tobytes()
    return dataset
