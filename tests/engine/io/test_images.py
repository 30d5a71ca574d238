import os
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from engine.errors import InputError, OutputError
from engine.geometry import Geometry
from engine.io.images import read_labels, read_labels_on, read_mask_on, read_volume, write_image
from engine.volume import NOT_IN_HU

SUFFIXES = [".nii.gz", ".nii", ".mha", ".nrrd"]


def _hu(geometry: Geometry) -> np.ndarray:
    return np.random.default_rng(1).integers(-1000, 2000, geometry.shape_zyx).astype(np.int16)


def _assert_close(a: Geometry, b: Geometry) -> None:
    assert a.shape_zyx == b.shape_zyx
    np.testing.assert_allclose(a.spacing_xyz_mm, b.spacing_xyz_mm, rtol=1e-6, err_msg="NIfTI keeps float32")
    np.testing.assert_allclose(a.origin_xyz_mm, b.origin_xyz_mm, atol=5e-5, err_msg="mm, NIfTI keeps float32")
    np.testing.assert_allclose(a.direction, b.direction, atol=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_image_comes_back_as_it_was(tmp_path: Path, oblique: Geometry, suffix: str) -> None:
    hu = _hu(oblique)

    write_image(tmp_path / f"image{suffix}", hu, oblique)
    volume = read_volume(tmp_path / f"image{suffix}", name="fixed")

    np.testing.assert_array_equal(volume.hu, hu)
    assert (volume.hu.dtype, volume.modality, volume.name) == (np.float32, "CT", "fixed")
    assert volume.valid.all()
    _assert_close(volume.geometry, oblique)


def test_every_format_lies_at_the_same_place(tmp_path: Path, oblique: Geometry) -> None:
    """NIfTI says RAS in the file; what is read is LPS, as ITK has it."""
    for suffix in SUFFIXES:
        write_image(tmp_path / f"image{suffix}", _hu(oblique), oblique)
        image = sitk.ReadImage(str(tmp_path / f"image{suffix}"))
        point = image.TransformContinuousIndexToPhysicalPoint((3.5, 11.25, 7.0))
        np.testing.assert_allclose(point, oblique.points([[3.5, 11.25, 7.0]])[0], atol=1e-4, err_msg="mm")


def test_padding_is_invalid(tmp_path: Path, aligned: Geometry) -> None:
    hu = _hu(aligned)
    hu[:, :3, :4] = -2048
    write_image(tmp_path / "image.mha", hu, aligned)

    volume = read_volume(tmp_path / "image.mha")

    np.testing.assert_array_equal(volume.valid, hu > -2000)
    assert volume.hu.min() == -2048


def test_vectors_in_nifti_are_marked_as_vectors(tmp_path: Path, oblique: Geometry) -> None:
    """dim [5, x, y, z, 1, 3] and intent 1007 (vector), from the header's bytes; never 1006 (displacement)."""
    import gzip

    vectors = np.random.default_rng(2).normal(size=(*oblique.shape_zyx, 3)).astype(np.float32)
    write_image(tmp_path / "dvf.nii.gz", vectors, oblique)

    content = gzip.decompress((tmp_path / "dvf.nii.gz").read_bytes())

    assert struct.unpack_from("<8h", content, 40) == (5, 29, 23, 17, 1, 3, 1, 1)
    assert struct.unpack_from("<h", content, 68) == (1007,)
    assert struct.unpack_from("<h", content, 70) == (16,), "float32"
    offset = int(struct.unpack_from("<f", content, 108)[0])
    components = np.frombuffer(content, "<f4", offset=offset).reshape(3, *oblique.shape_zyx)
    np.testing.assert_array_equal(
        components, np.moveaxis(vectors, 3, 0), err_msg="components stay LPS: no sign changes"
    )


def test_labels_are_whole_numbers(tmp_path: Path, aligned: Geometry) -> None:
    labels = np.random.default_rng(1).integers(0, 5, aligned.shape_zyx)
    write_image(tmp_path / "labels.nii.gz", labels.astype(np.uint8), aligned)
    write_image(tmp_path / "masks.nii.gz", labels > 2, aligned)
    write_image(tmp_path / "fractions.nii.gz", labels * np.float32(0.3), aligned)

    read, geometry = read_labels(tmp_path / "labels.nii.gz")

    np.testing.assert_array_equal(read, labels)
    np.testing.assert_array_equal(read_labels(tmp_path / "masks.nii.gz")[0], labels > 2)
    _assert_close(geometry, aligned)
    with pytest.raises(InputError, match="whole numbers"):
        read_labels(tmp_path / "fractions.nii.gz")


def _flat(path: Path) -> None:
    sitk.WriteImage(sitk.Image(8, 9, sitk.sitkInt16), str(path))


def _single_slice(path: Path) -> None:
    sitk.WriteImage(sitk.Image(8, 9, 1, sitk.sitkInt16), str(path))


def _four_dimensional(path: Path) -> None:
    sitk.WriteImage(sitk.Image([8, 9, 5, 3], sitk.sitkInt16), str(path))


def _vectors(path: Path) -> None:
    sitk.WriteImage(sitk.Image([8, 9, 5], sitk.sitkVectorFloat32, 3), str(path))


def _not_a_number(path: Path) -> None:
    values = np.zeros((5, 9, 8), dtype=np.float32)
    values[2, 3, 4] = np.nan
    sitk.WriteImage(sitk.GetImageFromArray(values), str(path))


def _text(path: Path) -> None:
    path.write_text("This is no image.\n")


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _truncated(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(np.random.default_rng(0).normal(size=(9, 9, 9))), str(path))
    path.write_bytes(path.read_bytes()[:500])


def _absent(path: Path) -> None:
    pass


def _sheared(path: Path) -> None:
    header = "ObjectType = Image\nNDims = 3\nTransformMatrix = 1 0 0 0.3 1 0 0 0 1\nDimSize = 4 4 4\n"
    header += "ElementSpacing = 1 1 1\nElementType = MET_SHORT\nElementDataFile = LOCAL\n"
    path.write_bytes(header.encode() + bytes(128))


BAD: list[tuple[Callable[[Path], None], str, str]] = [
    (_flat, ".mha", "Expected a 3-D image, got 2-D of size 8×9"),
    (_single_slice, ".nii.gz", "several slices"),
    (_four_dimensional, ".nii.gz", "got 4-D of size 8×9×5×3"),
    (_vectors, ".mha", "one value in each voxel, got 3"),
    (_not_a_number, ".nii.gz", "NaN"),
    (_not_a_number, ".nii", "NaN"),
    (_text, ".nii.gz", r"not a readable \.nii\.gz image"),
    (_text, ".mha", r"not a readable \.mha image"),
    (_text, ".txt", "Expected an image"),
    (_empty, ".nii.gz", r"not a readable \.nii\.gz image"),
    (_truncated, ".mha", r"not a readable \.mha image"),
    (_truncated, ".nii.gz", r"not a readable .*cut short"),
    (_truncated, ".nii", r"not a readable .*cut short"),
    (_not_a_number, ".mha", "NaN"),
    (_absent, ".nii.gz", "nothing at the given path"),
    (_sheared, ".mha", r"readable|sheared"),
]


@pytest.mark.parametrize(("make", "suffix", "message"), BAD)
def test_bad_input_is_one_clear_line(
    tmp_path: Path, make: Callable[[Path], None], suffix: str, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / f"Confidential^Name{suffix}"
    make(path)
    capfd.readouterr()

    with pytest.raises(InputError, match=message) as caught:
        read_volume(path)

    assert "\n" not in str(caught.value)
    assert "Confidential" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_file_that_may_not_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "image.mha").write_bytes(b"")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match="permission denied"):
        read_volume(tmp_path / "image.mha")


def test_a_device_is_no_image() -> None:
    with pytest.raises(InputError, match=r"neither|nothing"):
        read_volume("/dev/null")


@pytest.mark.parametrize("suffix", [".png", ".mhd", ""])
def test_formats_that_cannot_be_written_whole_are_refused(tmp_path: Path, aligned: Geometry, suffix: str) -> None:
    with pytest.raises(OutputError, match="ends in one of"):
        write_image(tmp_path / f"image{suffix}", _hu(aligned), aligned)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_full_disk_leaves_nothing(
    tmp_path: Path,
    suffix: str,
    small_disk: Callable[[int], AbstractContextManager[None]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    values = np.random.default_rng(0).normal(size=(30, 40, 50)).astype(np.float32)

    with pytest.raises(OutputError, match="cannot be written"), small_disk(100_000):
        write_image(tmp_path / f"image{suffix}", values, Geometry((30, 40, 50), (1.0, 1.0, 1.0)))

    assert os.listdir(tmp_path) == []
    assert capfd.readouterr() == ("", "")


def test_real_images(data: Path) -> None:
    volume = read_volume(data / "lung_ct_pair" / "3DCT_lung_baseline.mha")

    assert volume.geometry.size_xyz == (115, 157, 129)
    assert volume.geometry.spacing_xyz_mm == (1.366, 1.366, 2.5)
    assert 0.98 < volume.valid.mean() < 0.995, "two corners lie outside the scan circle"
    assert volume.hu[volume.valid].min() > -1200


def test_a_file_whose_values_are_not_hu_is_not_taken_for_a_ct(tmp_path: Path) -> None:
    """MR, or the stored values of a CT without its intercept: nothing in it is as low as air."""
    image = sitk.GetImageFromArray(np.arange(60, dtype=np.float32).reshape(3, 4, 5))
    sitk.WriteImage(image, str(tmp_path / "mr.nii.gz"))
    sitk.WriteImage(image - 1000.0, str(tmp_path / "ct.nii.gz"))

    assert read_volume(tmp_path / "mr.nii.gz").modality == NOT_IN_HU
    assert read_volume(tmp_path / "ct.nii.gz").modality == "CT"


def test_a_mask_is_whatever_is_not_zero_on_the_same_grid(tmp_path: Path, aligned: Geometry) -> None:
    labels = np.random.default_rng(1).integers(0, 3, aligned.shape_zyx)
    write_image(tmp_path / "labels.mha", labels.astype(np.uint8), aligned)

    np.testing.assert_array_equal(read_mask_on(tmp_path / "labels.mha", aligned), labels > 0)
    x, y, z = aligned.origin_xyz_mm
    with pytest.raises(InputError, match=r"on the fixed grid .* got one elsewhere in space; resample"):
        read_mask_on(tmp_path / "labels.mha", replace(aligned, origin_xyz_mm=(x + 50, y, z)))


@pytest.mark.parametrize(("highest", "kind"), [(255, np.uint8), (65535, np.uint16)])
def test_labels_on_a_grid_are_as_small_as_they_can_be(tmp_path: Path, aligned: Geometry, highest, kind) -> None:
    labels = np.zeros(aligned.shape_zyx, np.uint16)
    labels[1, 2:4, 3], labels[0, 0, 0] = highest, 6
    write_image(tmp_path / "labels.mha", labels, aligned)

    read = read_labels_on(tmp_path / "labels.mha", "moving", aligned)

    np.testing.assert_array_equal(read, labels)
    assert read.dtype == kind


@pytest.mark.parametrize(
    ("values", "reason"), [((-5, 3), "from 0 to 65535, got -5 to 3"), ((0, 70_000), "0 to 70000"), ((0, 400), "400")]
)
def test_an_image_is_no_label_image(tmp_path: Path, aligned: Geometry, values, reason) -> None:
    """Numbers below zero, too large ones, and every number from 1 to 400."""
    low, high = values
    labels = np.zeros(aligned.shape_zyx, np.int32)
    labels.flat[:401] = np.arange(401) if high == 400 else np.resize([low, high], 401)
    write_image(tmp_path / "image.mha", labels, aligned)

    with pytest.raises(InputError, match=reason):
        read_labels_on(tmp_path / "image.mha", "fixed", aligned)
