import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import RTStructureSetStorage

from engine.errors import InputError
from engine.io.images import read_volume

Change = Callable[[int, Dataset], object]
WriteSeries = Callable[..., list[Path]]


def test_slices_are_ordered_by_position_and_rescaled(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(tmp_path)

    volume = read_volume(tmp_path)

    z, y, x = np.mgrid[:4, :5, :7]
    np.testing.assert_array_equal(volume.hu, 2 * (1000 + 100 * z + 10 * y + x) - 3000)
    assert volume.modality == "CT"


def test_geometry_comes_from_positions(tmp_path: Path, write_series: WriteSeries) -> None:
    """PixelSpacing is [row spacing 1.9 (y), column spacing 1.3 (x)]; SliceThickness (99) means nothing."""
    write_series(tmp_path)

    geometry = read_volume(tmp_path).geometry

    assert geometry.size_xyz == (7, 5, 4)
    np.testing.assert_allclose(geometry.spacing_xyz_mm, (1.3, 1.9, 2.5), rtol=1e-12)
    row, column = np.array([0.96, 0.28, 0.0]), np.array([-0.28, 0.96, 0.0])
    expected = np.array([10.5, -20.25, -300.0]) + 6 * 1.3 * row + 4 * 1.9 * column + [0, 0, 3 * 2.5]
    np.testing.assert_allclose(geometry.points([[6, 4, 3]])[0], expected, atol=1e-9)


def test_slices_stacked_downwards_are_turned_round(tmp_path: Path, write_series: WriteSeries) -> None:
    def downwards(k: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [10.5, -20.25, -300 - 2.5 * k]

    write_series(tmp_path, change=downwards)

    volume = read_volume(tmp_path)

    assert volume.geometry.origin_xyz_mm == (10.5, -20.25, -307.5)
    assert volume.hu[:, 0, 0].tolist() == [-400, -600, -800, -1000]


def test_a_slope_of_its_own_in_each_slice(tmp_path: Path, write_series: WriteSeries) -> None:
    def rescaled(k: int, dataset: Dataset) -> None:
        dataset.RescaleSlope = 0.5 * (k + 1)

    write_series(tmp_path, change=rescaled)

    expected = [0.5 * (k + 1) * (1000 + 100 * k) - 3000 for k in range(4)]
    np.testing.assert_allclose(read_volume(tmp_path).hu[:, 0, 0], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("tag", "text"), [("SeriesDescription", "Thorax CBCT 4D"), ("ManufacturerModelName", "OBI Cone-beam CT")]
)
def test_cone_beam_ct_is_known_by_what_the_scanner_says(
    tmp_path: Path, write_series: WriteSeries, tag: str, text: str
) -> None:
    write_series(tmp_path, change=lambda _, dataset: setattr(dataset, tag, text))

    assert read_volume(tmp_path).modality == "CBCT"


def test_one_of_several_series_is_chosen_by_number_or_uid(tmp_path: Path, write_series: WriteSeries) -> None:
    def second(k: int, dataset: Dataset) -> None:
        dataset.SeriesNumber, dataset.SeriesInstanceUID, dataset.RescaleIntercept = 4, "1.2.3.4", 0

    write_series(tmp_path, 4, prefix="z")
    write_series(tmp_path, 3, second, prefix="a")

    assert read_volume(f"{tmp_path}#1").geometry.shape_zyx == (4, 5, 7)
    assert read_volume(f"{tmp_path}#2").hu[0, 0, 0] == 2000
    assert read_volume(f"{tmp_path}#1.2.3.4").geometry.shape_zyx == (3, 5, 7)
    for wanted in ("", "#3", "#9.9", "#0"):
        with pytest.raises(InputError, match=r"2 series.*FOLDER#NUMBER.*1: CT, 4 slices of 7×5; 2: CT, 3") as caught:
            read_volume(f"{tmp_path}{wanted}")
        assert "1.2.3.4" not in str(caught.value)


def test_what_lies_beside_slices_by_custom_is_passed_over(tmp_path: Path, write_series: WriteSeries) -> None:
    def structures(_: int, dataset: Dataset) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
        dataset.Modality, dataset.SeriesInstanceUID = "RTSTRUCT", "1.2.3"
        for name in ("Rows", "Columns", "PixelData"):
            delattr(dataset, name)

    write_series(tmp_path)
    write_series(tmp_path, 1, structures, prefix="rs")
    (tmp_path / "DICOMDIR").write_bytes(b"index")
    (tmp_path / ".hidden").write_bytes(b"")

    assert read_volume(tmp_path).geometry.shape_zyx == (4, 5, 7)


def _set(**values: object) -> Change:
    """Spoils the second slice."""

    def change(k: int, dataset: Dataset) -> None:
        for name, value in values.items():
            if k == 1:
                setattr(dataset, name, value)

    return change


def _tilted(k: int, dataset: Dataset) -> None:
    dataset.ImagePositionPatient = [10.5, -20.25 + 0.6 * k, -300 + 2.5 * k]


def _without_position(k: int, dataset: Dataset) -> None:
    if k == 1:
        del dataset.ImagePositionPatient


FAULTS: list[tuple[Change, str]] = [
    (_set(ImagePositionPatient=[10.5, -20.25, -290.0]), "missing or unevenly spaced: they lie"),
    (_set(ImagePositionPatient=[10.5, -20.25, -300.0]), "2 slices of this series lie at places already taken"),
    (_set(ImageOrientationPatient=[1, 0, 0, 0, 0, -1]), "one orientation"),
    (_set(PixelSpacing=[1.3, 1.9]), "one pixel spacing"),
    (_set(Rows=7, Columns=5), "one size"),
    (_set(PixelData=b"\0\0"), r"cannot be (decoded|read)"),
    (_tilted, r"shifted against each other by 1\.8 mm \(gantry tilt"),
    (_without_position, "lacks its position"),
]


@pytest.mark.parametrize(("change", "message"), FAULTS)
def test_what_is_no_regular_stack_is_refused(
    tmp_path: Path, write_series: WriteSeries, change: Change, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path, change=change)
    capfd.readouterr()

    with pytest.raises(InputError, match=message) as caught:
        read_volume(tmp_path)

    assert "\n" not in str(caught.value)
    assert "Confidential" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_missing_slice_is_refused(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(tmp_path, 6)[3].unlink()

    with pytest.raises(
        InputError, match=r"they lie 2\.50 mm apart, but 1 of the 4 gaps differ, the worst with 5\.00 mm"
    ):
        read_volume(tmp_path)


def test_a_single_slice_is_refused(tmp_path: Path, write_series: WriteSeries) -> None:
    paths = write_series(tmp_path, 1)

    with pytest.raises(InputError, match="single slice"):
        read_volume(tmp_path)
    with pytest.raises(InputError, match="several slices"):
        read_volume(paths[0])


def test_other_files_are_refused(tmp_path: Path, write_series: WriteSeries) -> None:
    with pytest.raises(InputError, match="holds no files"):
        read_volume(tmp_path)

    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(InputError, match="none of the 1 files"):
        read_volume(tmp_path)

    write_series(tmp_path)
    with pytest.raises(InputError, match="1 of the 5 files in this folder cannot be read as DICOM"):
        read_volume(tmp_path)


def test_a_truncated_slice_is_refused(tmp_path: Path, write_series: WriteSeries) -> None:
    """At the end of the stack its absence alone would not be noticed."""
    last = write_series(tmp_path)[-1]
    last.write_bytes(last.read_bytes()[:-40])

    with pytest.raises(InputError, match=r"cannot be (read|decoded)"):
        read_volume(tmp_path)


def test_real_ct_with_a_wrong_private_tag(data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wanted = {f"00/00-slice{number:03d}.dcm" for number in (20, 21, 22)}
    with tarfile.open(data / "thorax_ct" / "popi_phase00_dicom.tar.xz") as archive:
        for member in archive:
            if member.name in wanted:
                archive.extract(member, tmp_path, filter="data")
                wanted.remove(member.name)
            if not wanted:
                break

    volume = read_volume(tmp_path / "00")

    assert volume.geometry.shape_zyx == (3, 512, 512)
    np.testing.assert_allclose(volume.geometry.spacing_xyz_mm, (0.9765625, 0.9765625, 2.0))
    assert volume.hu.min() == -1024
    np.testing.assert_allclose(volume.valid.mean(), np.pi / 4, atol=0.002, err_msg="the scan circle touches the sides")
    assert capfd.readouterr() == ("", "")


def test_real_cone_beam_ct(data: Path, tmp_path: Path) -> None:
    """Its circle is hard to tell from the air clipped within it, so all of it stays valid."""
    with zipfile.ZipFile(data / "cbct_catphan" / "CBCT_3.zip") as archive:
        archive.extractall(tmp_path)

    volume = read_volume(tmp_path)

    assert (volume.modality, volume.geometry.size_xyz) == ("CBCT", (512, 512, 64))
    np.testing.assert_allclose(volume.geometry.spacing_xyz_mm, (0.87890625, 0.87890625, 2.5), rtol=1e-6)
    assert volume.geometry.direction[2][0] == pytest.approx(0.0017453, abs=1e-6), "a couch turned by 0.1 degree"
    assert volume.valid.all()
