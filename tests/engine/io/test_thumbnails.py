from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError
from engine.geometry import IDENTITY_DIRECTION, Geometry
from engine.io.catalog import Entry, read_catalog
from engine.io.images import write_image
from engine.io.thumbnails import thumbnail
from engine.progress import finish


def entry_of(folder: Path) -> Entry:
    (entry,) = finish(read_catalog(folder)).entries
    return entry


def write_ramps(folder: Path, direction: tuple[tuple[float, float, float], ...] = IDENTITY_DIRECTION) -> Entry:
    """Slices that are air but for the middle one of seven, which grows along y and x."""
    hu = np.full((7, 30, 40), -1000.0, np.float32)
    y, x = np.mgrid[:30, :40]
    hu[3] = -1000 + 10 * y + 20 * x
    write_image(folder / "ramps.mha", hu, Geometry((7, 30, 40), (1.0, 2.0, 5.0), (0.0, 0.0, 0.0), direction))
    return entry_of(folder)


def test_the_middle_slice_with_square_pixels(tmp_path: Path) -> None:
    """40 columns of 1 mm and 30 rows of 2 mm: 60 mm high, so 48 pixels of 1.25 mm, 32 of them across."""
    picture = thumbnail(write_ramps(tmp_path), 48)

    assert (picture.shape, picture.dtype) == ((48, 32), np.uint8)
    assert picture[0, 0] == 0
    assert (np.diff(picture.astype(int), axis=1) >= 0).all()
    assert picture[-1, -1] == int(255 * (10 * 29 + 20 * 39) / 1500)


def test_the_patient_is_upright_whatever_way_the_file_runs(tmp_path: Path) -> None:
    upright = thumbnail(write_ramps(tmp_path), 48)

    turned = write_ramps(tmp_path, ((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)))

    np.testing.assert_array_equal(thumbnail(turned, 48), upright[::-1, ::-1])


def test_a_dicom_series_shows_its_middle_slice(tmp_path: Path, write_series: Callable[..., list[Path]]) -> None:
    """Slice 2 of 5 holds -600 HU in its corner."""
    write_series(tmp_path, 5)

    assert thumbnail(entry_of(tmp_path), 20)[0, 0] == int(255 * 400 / 1500)


def test_what_cannot_be_opened_has_no_picture(tmp_path: Path, write_series: Callable[..., list[Path]]) -> None:
    write_series(tmp_path, 4)
    entry = entry_of(tmp_path)
    entry.files[2].write_bytes(b"no slice")

    with pytest.raises(InputError, match="cannot be decoded"):
        thumbnail(entry)
    with pytest.raises(InputError, match="cannot be opened"):
        thumbnail(replace(entry, geometry=None))
