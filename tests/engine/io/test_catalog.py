from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import DeflatedExplicitVRLittleEndian, RTStructureSetStorage

from engine.errors import InputError
from engine.geometry import Geometry
from engine.io.catalog import Catalog, read_catalog
from engine.io.images import read_files, read_volume, write_image
from engine.progress import STOP, Job, finish

WriteSeries = Callable[..., list[Path]]


def of_patient(number: int, **values: object) -> Callable[[int, Dataset], None]:
    """Slices of one study of a patient; their series and other elements as given."""

    def change(_: int, dataset: Dataset) -> None:
        dataset.PatientID, dataset.PatientName = f"ID-{number}", f"Name^{number}"
        dataset.StudyInstanceUID = f"1.2.{number}"
        for name, value in values.items():
            setattr(dataset, name, value)

    return change


def catalog(folder: Path) -> Catalog:
    return finish(read_catalog(folder))


def test_series_of_patients_and_files_at_any_depth(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(tmp_path / "b" / "deep", change=of_patient(2, SeriesDescription="head"))
    write_series(tmp_path / "a", 3, of_patient(1, SeriesDescription="Thorax CBCT", StudyDate="20260102"))
    write_image(tmp_path / "c.nii.gz", np.ones((3, 4, 5), np.uint8), Geometry((3, 4, 5), (1.0, 2.0, 3.0)))
    (tmp_path / "notes.txt").write_text("words")

    found = catalog(tmp_path)

    first, second, third = found.entries
    assert [entry.patient.name for entry in found.entries] == ["Name 1", "Name 2", ""]
    assert (first.modality, first.count, first.description, first.date) == ("CBCT", 3, "Thorax CBCT", "20260102")
    assert second.geometry == read_volume(tmp_path / "b" / "deep").geometry
    assert second.address == str(tmp_path / "b" / "deep")
    assert third.geometry == Geometry((3, 4, 5), (1.0, 2.0, 3.0))
    assert third.notes == ("8-bit values: a mask?",)
    assert (found.passed_over, found.whole) == (1, True)
    assert not any(word in repr(found) for word in ("Name", "ID-", "1.2.1", "head"))


def test_an_entry_is_read_from_its_own_files(tmp_path: Path, write_series: WriteSeries) -> None:
    """What lies beside them may be anything: `read_volume` of the folder refuses that."""
    write_series(tmp_path, change=of_patient(1))
    (tmp_path / "export.log").write_text("words")

    (entry,) = catalog(tmp_path).entries
    volume = read_files(entry.files)

    assert volume.hu[:, 0, 0].tolist() == [-1000, -800, -600, -400]
    assert volume.identity == entry.identity
    with pytest.raises(InputError):
        read_volume(tmp_path)


def test_addresses_are_those_of_the_reader(tmp_path: Path, write_series: WriteSeries) -> None:
    write_series(tmp_path, 4, of_patient(1, SeriesNumber=9, RescaleIntercept=0), prefix="a")
    write_series(tmp_path, 5, of_patient(1, SeriesNumber=3), prefix="b")

    for entry in catalog(tmp_path).entries:
        assert read_volume(entry.address).geometry == entry.geometry


def test_phases_in_one_series(tmp_path: Path, write_series: WriteSeries) -> None:
    series = "1.2.3.4"
    for phase in (1, 0):
        change = of_patient(1, SeriesInstanceUID=series, TemporalPositionIdentifier=phase, RescaleIntercept=phase)
        write_series(tmp_path, 4, change, prefix=f"p{phase}-")

    first, second = catalog(tmp_path).entries

    assert [first.phase, second.phase] == ["position 0", "position 1"]
    assert first.phase_set == second.phase_set != ""
    assert [read_volume(entry.address).hu[0, 0, 0] for entry in (first, second)] == [2000, 2001]
    assert read_files(second.files).hu[0, 0, 0] == 2001
    with pytest.raises(InputError, match=r"2 series or phases, several of them are phases of the one asked for"):
        read_volume(f"{tmp_path}#{series}")


def test_phases_in_series_of_their_own(tmp_path: Path, write_series: WriteSeries) -> None:
    for percent in (50, 0, 100):
        write_series(tmp_path / str(percent), 4, of_patient(1, SeriesDescription=f"4D {percent}%"))
    write_series(tmp_path / "other", 4, of_patient(1, SeriesDescription="Head ASiR 40%"))

    found = {entry.description: (entry.phase, entry.phase_set) for entry in catalog(tmp_path).entries}

    assert list(found.items()) == [
        ("4D 0%", ("0 %", "4D")),
        ("4D 50%", ("50 %", "4D")),
        ("4D 100%", ("100 %", "4D")),
        ("Head ASiR 40%", ("", "")),
    ]


def _missing(k: int, dataset: Dataset) -> None:
    if k > 1:
        dataset.ImagePositionPatient = [10.5, -20.25, -300 + 2.5 * (k + 1)]


def _tilted(k: int, dataset: Dataset) -> None:
    dataset.ImagePositionPatient = [10.5, -20.25 + k, -300 + 2.5 * k]


def _without_position(k: int, dataset: Dataset) -> None:
    if k == 1:
        del dataset.ImagePositionPatient


def _mixed(k: int, dataset: Dataset) -> None:
    dataset.PixelSpacing = [1.9, 1.3 + k]


def _multi_frame(_: int, dataset: Dataset) -> None:
    dataset.NumberOfFrames = 2


@pytest.mark.parametrize(
    ("change", "count", "words"),
    [
        (_missing, 5, "missing or unevenly spaced"),
        (_tilted, 4, "gantry tilt"),
        (_without_position, 4, "lacks its position"),
        (_mixed, 4, "one pixel spacing"),
        (_multi_frame, 4, "multi-frame"),
        (None, 1, "single slice"),
    ],
)
def test_what_is_no_regular_stack_says_why(
    tmp_path: Path,
    write_series: WriteSeries,
    change: Callable[[int, Dataset], None] | None,
    count: int,
    words: str,
) -> None:
    write_series(tmp_path, count, change)

    (entry,) = catalog(tmp_path).entries

    assert words in entry.problem
    assert entry.count == count


def test_what_is_unusual_is_noted(tmp_path: Path, write_series: WriteSeries) -> None:
    def thick(k: int, dataset: Dataset) -> None:
        dataset.ImagePositionPatient = [0.0, 0.0, 7.5 * k]
        dataset.Modality, dataset.PatientID, dataset.PatientName = "MR", "", ""

    write_series(tmp_path, 4, thick)

    (entry,) = catalog(tmp_path).entries
    assert entry.notes == ("MR is not in HU", "slices 7.5 mm apart", "only 4 slices", "names no patient")


def test_one_series_over_two_folders_is_one_image(tmp_path: Path, write_series: WriteSeries) -> None:
    """As some archives export; the copy of a slice counts once."""
    paths = write_series(tmp_path / "a", 6, of_patient(1))
    (tmp_path / "b").mkdir()
    for path in paths[3:]:
        path.rename(tmp_path / "b" / path.name)
    (tmp_path / "b" / "copy.dcm").write_bytes(paths[0].read_bytes())

    (entry,) = catalog(tmp_path).entries

    assert (entry.count, entry.address, entry.problem) == (6, "", "")
    assert "lies in 2 folders" in entry.notes
    assert read_files(entry.files).hu[:, 0, 0].tolist() == [-1000 + 200 * k for k in range(6)]


def test_other_objects_cases_and_hidden_folders_are_passed_over(tmp_path: Path, write_series: WriteSeries) -> None:
    def structures(_: int, dataset: Dataset) -> None:
        dataset.SOPClassUID = dataset.file_meta.MediaStorageSOPClassUID = RTStructureSetStorage
        dataset.Modality = "RTSTRUCT"
        for name in ("Rows", "Columns", "PixelData"):
            delattr(dataset, name)

    write_series(tmp_path / "rs", 1, structures)
    write_series(tmp_path / ".cache", 4)
    (tmp_path / "case" / "inner").mkdir(parents=True)
    (tmp_path / "case" / "case.json").write_text("{}")
    write_image(tmp_path / "case" / "inner" / "fixed.mha", np.ones((3, 4, 5)), Geometry((3, 4, 5), (1.0, 1.0, 1.0)))

    found = catalog(tmp_path)

    assert (found.entries, found.passed_over) == ((), 1)


def test_damaged_headers_are_passed_over_and_nothing_of_them_is_told(tmp_path: Path, write_series: WriteSeries) -> None:
    """A length that no number has, a stream that cannot be inflated, and a header cut short."""

    def deflated(_: int, dataset: Dataset) -> None:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian

    (odd,) = write_series(tmp_path / "odd", 1)
    (stream,) = write_series(tmp_path / "stream", 1, deflated)
    (cut,) = write_series(tmp_path / "cut", 1)
    header = bytearray(odd.read_bytes())
    header[138] = 3
    odd.write_bytes(header)
    stream.write_bytes(stream.read_bytes()[:-120] + bytes(range(120)))
    cut.write_bytes(cut.read_bytes()[:150])

    found = catalog(tmp_path)

    assert found.passed_over == 3
    assert found.entries == ()


def test_stop_keeps_what_was_found(tmp_path: Path, write_series: WriteSeries) -> None:
    for number in range(8):
        write_series(tmp_path / f"{number}", 5, of_patient(number))
    job = read_catalog(tmp_path)
    first_reports = [next(job) for _ in range(3)]

    found = finish(_stopped(job))

    assert (first_reports[-1].done, first_reports[-1].total) == (25, 40)
    assert (found.whole, len(found.entries)) == (False, 5)


def _stopped(job: Job[Catalog]) -> Job[Catalog]:
    try:
        while True:
            yield job.send(STOP)
    except StopIteration as end:
        result: Catalog = end.value
        return result


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none at the given path"):
        catalog(tmp_path / "absent")


def test_real_series(data: Path) -> None:
    found = catalog(data)

    lungs = [entry for entry in found.entries if entry.description == "3DCT_lung_baseline.mha"]
    assert [entry.geometry.size_xyz for entry in lungs if entry.geometry] == [(115, 157, 129)]
    assert all(entry.problem for entry in found.entries if "dicom_odd" in str(entry.files[0]))
