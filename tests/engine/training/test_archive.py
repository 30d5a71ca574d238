from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from engine.errors import InputError
from engine.progress import Progress, finish
from engine.training.archive import Archive, WorkingImage, make_real_pair, read_archive

SHAPE_ZYX = (12, 14, 16)


def read(folder: Path | str) -> Archive:
    return finish(read_archive(str(folder), 2.0))


def image(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, 300, SHAPE_ZYX).astype(np.float32).clip(-1000, 1500)


def write(path: Path, array: np.ndarray, origin_xyz_mm: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    made = sitk.GetImageFromArray(array)
    made.SetSpacing((2.0, 2.0, 2.0))
    made.SetOrigin(origin_xyz_mm)
    sitk.WriteImage(made, str(path))
    return path


def write_dicom(folder: Path, seed: int, patient: str, frame: str, modality: str = "CT") -> None:
    """A series of twelve slices, 2 mm apart."""
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid()
    for k, pixels in enumerate(image(seed)):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        values = {
            "SOPClassUID": CTImageStorage,
            "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
            "SeriesInstanceUID": series,
            "Modality": modality,
            "PatientID": patient,
            "FrameOfReferenceUID": frame,
            "Rows": SHAPE_ZYX[1],
            "Columns": SHAPE_ZYX[2],
            "PixelSpacing": [2, 2],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
            "ImagePositionPatient": [0, 0, 2 * k],
            "SamplesPerPixel": 1,
            "PhotometricInterpretation": "MONOCHROME2",
            "BitsAllocated": 16,
            "BitsStored": 16,
            "HighBit": 15,
            "PixelRepresentation": 1,
            "RescaleSlope": 1,
            "RescaleIntercept": 0,
        }
        for key, value in values.items():
            setattr(dataset, key, value)
        dataset.PixelData = pixels.astype("<i2").tobytes()
        dataset.save_as(folder / f"{seed}-{k}.dcm", enforce_file_format=True)


def test_files_of_one_topmost_subfolder_belong_together(tmp_path: Path) -> None:
    for number, name in enumerate(["anna/day1/a.nii.gz", "anna/day2/b.mha", "bert/c.nrrd", "loose.mha", "single.mha"]):
        write(tmp_path / name, image(number))

    archive = read(tmp_path)

    assert sorted(len(group) for group in archive.groups) == [1, 1, 1, 2]
    assert [len(group) for group in archive.pairable] == [2]
    assert len(archive.anatomies) == 5
    expected = (image(0).clip(-1100, 3000) + 1000) / 2000
    np.testing.assert_allclose(archive.pairable[0][0].values, expected, atol=1e-5)
    assert archive.pairable[0][0].seen.all()


def test_dicom_series_belong_together_by_patient_and_frame_wherever_they_lie(tmp_path: Path) -> None:
    frame, other_frame = generate_uid(), generate_uid()
    write_dicom(tmp_path / "one", 1, "A", frame)
    write_dicom(tmp_path / "two", 2, "A", frame)
    write_dicom(tmp_path / "two", 3, "B", frame)
    write_dicom(tmp_path / "two" / "deeper", 4, "A", other_frame)
    write_dicom(tmp_path / "two", 5, "A", frame, modality="PT")

    archive = read(tmp_path)

    assert sorted(len(group) for group in archive.groups) == [1, 1, 2]
    expected = [(np.trunc(image(seed)) + 1000) / 2000 for seed in (1, 2)]
    for found, wanted in zip(archive.pairable[0], expected, strict=True):
        np.testing.assert_allclose(found.values, wanted, atol=1e-3)


def test_images_of_one_patient_lie_on_one_grid(tmp_path: Path) -> None:
    """The second image begins 4 mm, two voxels, further along z: there the first one has its third slice."""
    whole = image(1)
    write(tmp_path / "anna/1.mha", whole)
    write(tmp_path / "anna/2.mha", whole[2:], (0.0, 0.0, 4.0))

    first, second = read(tmp_path).pairable[0]

    np.testing.assert_allclose(second.values[2:], first.values[2:], atol=1e-5)
    assert second.seen[2:].all()
    assert not second.seen[:2].any()


def test_images_that_hardly_overlap_are_no_pair(tmp_path: Path) -> None:
    write(tmp_path / "anna/1.mha", image(1))
    write(tmp_path / "anna/2.mha", image(2), (0.0, 0.0, 18.0))

    archive = read(tmp_path)

    assert archive.pairable == []
    assert [group[0].values.shape for group in archive.groups] == [SHAPE_ZYX, SHAPE_ZYX]


def test_what_is_no_ct_is_passed_over_and_counted_without_names(tmp_path: Path) -> None:
    write(tmp_path / "anna/ct.mha", image(1))
    write(tmp_path / "anna/lungs.mha", (image(1) > 0).astype(np.uint8))
    (tmp_path / "anna" / "broken.nii.gz").write_text("words")

    archive = read(tmp_path)

    assert len(archive.anatomies) == 1
    assert sorted(archive.passed_over.values()) == [1, 1]
    assert not any(word in reason for reason in archive.passed_over for word in ("anna", "lungs", "broken"))


@pytest.mark.parametrize("content", ["nothing", "mask"])
def test_a_folder_without_any_ct_is_refused(content: str, tmp_path: Path) -> None:
    if content == "mask":
        write(tmp_path / "mask.mha", (image(1) > 0).astype(np.uint8))

    with pytest.raises(InputError, match="CT"):
        read(tmp_path)


def test_one_image_may_be_named_by_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "ct.mha", image(1))

    assert len(read(path).anatomies) == 1
    with pytest.raises(InputError, match="nothing at the given path"):
        read(tmp_path / "absent.mha")


def test_reading_tells_how_far_it_is(tmp_path: Path) -> None:
    for number in range(2):
        write(tmp_path / f"{number}.mha", image(number))
    told: list[Progress] = []

    finish(read_archive(str(tmp_path), 2.0), told.append)

    assert [(progress.done, progress.total) for progress in told] == [(0, 2), (1, 2)]


@pytest.fixture(scope="module")
def groups() -> list[list[WorkingImage]]:
    """Three images that are their own z, y and x coordinate in hundreds of voxels; the far end of z was not seen."""
    coordinates = np.stack(np.meshgrid(*(np.arange(n) for n in (40, 44, 50)), indexing="ij")).astype(np.float32) / 100
    seen = np.tile(np.arange(40)[:, None, None] < 30, (1, 44, 50))
    return [[WorkingImage(np.ascontiguousarray(values), seen) for values in coordinates]]


def test_a_real_pair_is_a_function_of_seed_and_index(groups) -> None:
    first, again, other = (make_real_pair(groups, (16, 16, 16), 3, index) for index in (5, 5, 6))

    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first.fixed, other.fixed)
    assert [tuple(tensor.shape) for tensor in first] == [(1, 16, 16, 16)] * 4


def test_real_pairs_are_two_images_turned_and_zoomed_within_the_limits(groups) -> None:
    """Each image grows along its own axis by the zoom, 0.9 to 1.1 shared times 0.99 to 1.01, and little along others:
    both rotations add up to 0.06 rad at most, and to second order in products.
    """
    slopes = []
    for index in range(40):
        pair = make_real_pair(groups, (8, 8, 8), 0, index)
        for values in (pair.fixed[0], pair.moving[0]):
            slope = torch.stack([100 * torch.diff(values, dim=axis).mean() for axis in range(3)])
            slopes.append(slope)
            own = int(slope.argmax())
            assert 0.9 * 0.99 * 0.995 < slope[own] < 1.1 * 1.01 * 1.001
            assert sum(slope[axis].abs() > 0.07 for axis in range(3)) == 1
        assert int(slopes[-1].argmax()) != int(slopes[-2].argmax())
    assert {int(slope.argmax()) for slope in slopes} == {0, 1, 2}
    assert max(slope.max() for slope in slopes) > 1.05
    assert min(slope.max() for slope in slopes) < 0.95


def test_rotation_is_largest_about_the_body_axis(groups) -> None:
    """What rises along x does so along y by the angle about z (0.06 at most), along z by that about y (0.02)."""
    about_y, about_z = [], []
    for index in range(60):
        pair = make_real_pair(groups, (8, 8, 8), 1, index)
        for values in (pair.fixed[0], pair.moving[0]):
            slope = [100 * float(torch.diff(values, dim=axis).mean()) for axis in range(3)]
            if int(np.argmax(slope)) == 2:
                about_y.append(abs(slope[0]))
                about_z.append(abs(slope[1]))

    assert max(about_y) < 0.025
    assert 0.03 < max(about_z) < 0.07


def test_a_real_pair_shows_nearly_the_same_place_twice(groups) -> None:
    """One image twice: the moving one is shifted by up to a voxel, and 4 voxels off the middle by 0.04 more for the
    zoom of 1 % and 0.04 for each turn of 0.01 rad, all up to a tenth larger by the shared zoom.
    """
    apart = []
    for index in range(20):
        pair = make_real_pair([[groups[0][0]] * 2], (8, 8, 8), 0, index)
        apart.append(100 * float((pair.fixed - pair.moving).abs().max()))

    assert max(apart) < 1.0 + 1.1 * 0.12
    assert min(apart) > 0
    assert max(apart) > 0.5


def test_what_was_not_seen_or_lies_outside_is_marked(groups) -> None:
    """A crop longer than the image along z (40), whose last 10 slices were not seen."""
    pair = make_real_pair(groups, (48, 16, 16), 0, 0)

    seen = pair.fixed_seen[0].mean(dim=(1, 2))
    assert seen[:2].max() == 0
    assert seen[-12:].max() == 0
    assert seen[10:25].min() == 1
