from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from engine.errors import InputError
from engine.phantom.heart import FIELD_OF_VIEW_MM
from engine.training.cardiac import cine_pairs, phantom_pair


def write_cine(folder: Path, shape: tuple[int, int] = (160, 144)) -> Path:
    """One pair of color PNG images of a bright disk, its label off the middle by (−10, +6) px at end-diastole."""
    row, col = np.indices(shape)
    for name, radius in (("ed.png", 20), ("es.png", 12)):
        disk = np.hypot(row - shape[0] / 2 + 10, col - shape[1] / 2 - 6) < radius
        for kind, value in (("images", 200), ("labels", 255)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            color = np.repeat((value * disk).astype(np.uint8)[..., None], 3, axis=-1)
            sitk.WriteImage(sitk.GetImageFromArray(color, isVector=True), str(folder / kind / name))
    (folder / "ed_es_pairs.csv").write_text("patient,slice,ed_file,es_file\nA,1,ed.png,es.png\n")
    return folder


def test_a_phantom_pair_is_a_function_of_seed_and_index() -> None:
    first, again, other = phantom_pair(1, 2, 32), phantom_pair(1, 2, 32), phantom_pair(1, 3, 32)

    np.testing.assert_array_equal(first.fixed, again.fixed)
    np.testing.assert_array_equal(first.moving_labels, again.moving_labels)
    assert not np.array_equal(first.fixed, other.fixed)
    assert first.pixel == FIELD_OF_VIEW_MM / 32


def test_end_diastole_is_fixed() -> None:
    pair = phantom_pair(0, 0, 48)

    assert (pair.fixed_labels == 3).sum() > (pair.moving_labels == 3).sum()


def test_cine_pairs_show_the_middle_of_the_image(tmp_path: Path) -> None:
    """128 px become 64: a disk of radius 20 px about pixel (54, 70) becomes one of 10 about (26.75, 34.75).

    Areas are those of circles but for the pixels that the rim cuts.
    """
    (pair,) = cine_pairs(write_cine(tmp_path), 64)

    row, col = np.argwhere(pair.fixed_labels == 1).mean(axis=0)
    assert (row, col) == (pytest.approx(26.75, abs=0.3), pytest.approx(34.75, abs=0.3))
    assert pair.fixed_labels.sum() == pytest.approx(np.pi * 100, rel=0.05)
    assert pair.moving_labels.sum() == pytest.approx(np.pi * 36, rel=0.1)
    assert (pair.fixed.min(), pair.fixed.max()) == (0.0, 1.0)
    assert pair.pixel == 2.0


def test_a_folder_without_a_list_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"ed_es_pairs\.csv"):
        cine_pairs(tmp_path, 32)


def test_an_image_that_is_missing_is_refused(tmp_path: Path) -> None:
    (write_cine(tmp_path) / "labels" / "es.png").unlink()

    with pytest.raises(InputError, match="missing"):
        cine_pairs(tmp_path, 32)


def test_images_that_are_too_small_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 128"):
        cine_pairs(write_cine(tmp_path, (100, 200)), 32)
