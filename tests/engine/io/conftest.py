"""A small asymmetric case, DICOM slices with chosen faults, and a disk that takes little."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from engine.case import Case
from engine.geometry import Geometry
from engine.registration import Certificate, Registration, Step
from engine.roi import Box
from engine.volume import Volume

ROW = np.array([0.96, 0.28, 0.0])
COLUMN = np.array([-0.28, 0.96, 0.0])


@pytest.fixture
def steps() -> tuple[Step, Step]:
    """A plain step, and one with everything that a step may record."""
    certificate = Certificate(0.0, 0, 0.03125, box_error_grew=False, passed=True, scaled_by_fold_guard=0.5)
    box = Box(1, 4, 2, 9, 3, 7)
    return (
        Step("align", {"method": "rigid"}, 40, 1.25, 260.5, 0.0, 1.0, 0.0),
        Step(
            "rso 1",
            {"box": str(box), "by": "field"},
            100,
            2.5,
            75.25,
            0.125,
            0.375,
            0.0625,
            box,
            90.5,
            60.25,
            certificate,
            ("a note",),
        ),
    )


@pytest.fixture
def case(oblique: Geometry, make_registration: Callable[[Geometry], Registration], steps: tuple[Step, Step]) -> Case:
    """Identity, a rigid step, a deformable step: fixed of whole HU, moving with fractions, on other grids."""
    rng = np.random.default_rng(5)
    hu = rng.integers(-1000, 1500, oblique.shape_zyx).astype(np.float32)
    hu[:, :2, :3] = -2048
    fixed = Volume(hu, oblique, hu > -1200, "CBCT", "fixed image")
    other = Geometry((19, 21, 31), (1.5, 1.7, 2.3), (-40.0, 50.0, -412.0))
    moving_hu = rng.normal(0, 300, other.shape_zyx).astype(np.float32)
    moving = Volume(moving_hu, other, np.ones(other.shape_zyx, dtype=bool))
    deformed = make_registration(oblique)
    new = Case.new(fixed, moving)
    rigid = new.after(new.current.after(steps[0], rigid=deformed.rigid))
    return rigid.after(rigid.current.after(steps[1], displacement_vox=deformed.displacement_vox, model="general"))


WriteSeries = Callable[..., list[Path]]


@pytest.fixture
def write_series() -> WriteSeries:
    """Writes CT slices of 5 × 7 pixels (y, x), 2.5 mm apart, in files whose names are not in the order of position.

    Slice k holds stored values `1000 + 100 k + 10 y + x`, slope 2, intercept -3000. `change(k, dataset)` may spoil it.
    """

    def write(
        folder: Path, count: int = 4, change: Callable[[int, Dataset], object] | None = None, prefix: str = ""
    ) -> list[Path]:
        folder.mkdir(exist_ok=True)
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


@pytest.fixture
def small_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Files may not grow beyond so many bytes, as on a disk that is full."""
    if sys.platform == "win32":
        pytest.skip("needs resource limits, which Windows does not have")
    import resource

    @contextmanager
    def limited(byte_count: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture
def larger_case(case: Case) -> Case:
    """A case whose arrays pass 300 kB."""
    geometry = Geometry((40, 50, 60), (1.0, 1.0, 1.0))
    hu = np.zeros(geometry.shape_zyx, dtype=np.float32)
    volume = Volume(hu, geometry, np.ones(hu.shape, dtype=bool))
    new = Case.new(volume, volume)
    ones = np.ones((3, *hu.shape), dtype=np.float32)
    return new.after(replace(new.current, displacement_vox=ones, steps=case.current.steps))
