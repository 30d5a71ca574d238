from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy import ndimage

from engine import error_map
from engine.case import Case
from engine.error_map import ErrorMap, proposed_boxes
from engine.errors import InputError
from engine.geometry import Geometry
from engine.progress import Job, Progress, finish
from engine.registration import Registration
from engine.roi import Box
from engine.runtime import Runtime
from engine.volume import Volume
from tests.conftest import rotation

ONE_THREAD = Runtime("cpu", threads=1)
SHAPE_ZYX, SPACING_XYZ_MM = (44, 52, 60), (3.2, 2.8, 3.6)
PLACE_ZYX = (13, 33, 43)


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def geometry() -> Geometry:
    rows = [tuple(float(value) for value in row) for row in rotation(12.0, -17.0, 23.0)]
    return Geometry(SHAPE_ZYX, SPACING_XYZ_MM, (-37.0, 52.0, -411.0), (rows[0], rows[1], rows[2]))


def textured_hu(noise_hu: float = 0.0) -> NDArray[np.float32]:
    """Soft tissue with structures of about a centimetre everywhere."""
    rng = np.random.default_rng(11)
    texture = ndimage.gaussian_filter(rng.normal(size=SHAPE_ZYX), 1.5)
    return (250.0 * texture / texture.std() + rng.normal(0.0, noise_hu, SHAPE_ZYX)).astype(np.float32)


def bump(peak_mm: float, width_mm: float, place_zyx: tuple[int, int, int] = PLACE_ZYX) -> NDArray[np.float32]:
    """A displacement along y that is largest at a place, with half of it `width_mm` / 2 away."""
    spacing = SPACING_XYZ_MM[::-1]
    axes = [(np.arange(n) - c) * s for n, c, s in zip(SHAPE_ZYX, place_zyx, spacing, strict=True)]
    squares = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij"))
    displacement = np.zeros((3, *SHAPE_ZYX), dtype=np.float32)
    displacement[1] = peak_mm / spacing[1] * np.exp(-4.0 * np.log(2.0) * squares / width_mm**2)
    return displacement


def case_of(hu: NDArray[np.float32], displacement_vox: NDArray[np.float32]) -> Case:
    """An image and itself, registered as given: the identity is right everywhere."""
    volume = Volume(hu, geometry(), np.ones(SHAPE_ZYX, dtype=bool))
    case = Case.new(volume, replace(volume, hu=hu.copy()))
    return case.after(replace(case.current, displacement_vox=displacement_vox))


def found(case: Case, count: int = 3, size_mm: float = 50.0) -> ErrorMap:
    return finish(proposed_boxes(case, ONE_THREAD, count, size_mm))


def holds(box: Box, place_zyx: tuple[int, int, int]) -> bool:
    return all(low <= index < high for index, (low, high) in zip(place_zyx, box.ranges_zyx, strict=True))


@pytest.fixture(scope="module")
def planted() -> ErrorMap:
    with torch.random.fork_rng():
        return found(case_of(textured_hu(20.0), bump(8.0, 35.0)))


def test_an_error_where_there_is_structure_is_proposed_first(planted: ErrorMap) -> None:
    assert holds(planted.proposals[0].box, PLACE_ZYX)
    assert "edges still lie apart" in planted.proposals[0].reason
    assert planted.proposals[0].has_structure
    assert planted.proposals[0].score > 1.3 * planted.proposals[1].score


def test_the_map_is_highest_at_the_error(planted: ErrorMap) -> None:
    """To 20 mm: its voxels have 6 mm, its windows 48 mm."""
    z, y, x = np.unravel_index(int(np.nanargmax(planted.expected_mm)), planted.expected_mm.shape)
    there = planted.geometry.points([[x, y, z]])[0]
    wanted = geometry().points([PLACE_ZYX[::-1]])[0]
    assert np.linalg.norm(there - wanted) < 20.0
    assert planted.proposals[0].score == pytest.approx(float(np.nanmax(planted.expected_mm)))


def test_boxes_are_inside_the_image_of_the_wanted_size_and_apart(planted: ErrorMap) -> None:
    """Sides of 0.6 to 1.6 times 50 mm, to a voxel of 3.6 mm, as far as the image reaches."""
    boxes = [proposal.box.checked(SHAPE_ZYX) for proposal in planted.proposals]
    assert len(boxes) == 3
    for box in boxes:
        sides_mm = np.multiply(box.shape_zyx, SPACING_XYZ_MM[::-1])
        assert (sides_mm > 30.0 - 3.6).all()
        assert (sides_mm < 80.0 + 3.6).all()
    for k, box in enumerate(boxes):
        middle = tuple((low + high) // 2 for low, high in box.ranges_zyx)
        assert not any(holds(other, middle) for other in boxes[:k])


def test_a_region_without_structure_says_so() -> None:
    hu = textured_hu()
    hu[:, :, 34:] = 0.0
    hu += np.random.default_rng(12).normal(0.0, 15.0, SHAPE_ZYX).astype(np.float32)
    volume = Volume(hu, geometry(), np.ones(SHAPE_ZYX, dtype=bool))
    other = hu + np.random.default_rng(13).normal(0.0, 15.0, SHAPE_ZYX).astype(np.float32)
    first = found(Case.new(volume, replace(volume, hu=other)), count=1).proposals[0]
    assert first.box.x0 > 25
    assert "little to go by" in first.reason
    assert not first.has_structure


def test_folding_is_a_reason() -> None:
    displacement = bump(14.0, 12.0)
    assert "folds" in found(case_of(textured_hu(), displacement), count=1).proposals[0].reason


def test_a_right_registration_gets_low_scores(planted: ErrorMap) -> None:
    right = found(case_of(textured_hu(20.0), np.zeros((3, *SHAPE_ZYX), dtype=np.float32)))
    assert right.proposals[0].score < 0.5 * planted.proposals[0].score


def test_no_claim_where_nothing_was_seen() -> None:
    volume = Volume(textured_hu(), geometry(), np.ones(SHAPE_ZYX, dtype=bool))
    away = np.eye(4)
    away[:3, 3] = 1000.0
    identity = Registration.identity(volume.geometry)
    result = found(Case.new(volume, volume).after(replace(identity, rigid=away)))
    assert result.proposals == ()
    assert np.isnan(result.expected_mm).all()


@pytest.mark.parametrize(("count", "size_mm", "expected"), [(0, 50.0, "at least one"), (3, 3.0, "10 to 200 mm")])
def test_wishes_that_cannot_be_met(count: int, size_mm: float, expected: str) -> None:
    with pytest.raises(InputError, match=expected):
        found(case_of(textured_hu(), bump(8.0, 35.0)), count, size_mm)


def test_a_gpu_without_memory_leaves_the_search_to_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    real = error_map._looked_at

    def on_a_small_gpu(case: Case, device: torch.device) -> Job[Any]:
        if device.type == "cuda":
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return (yield from real(case, device))

    monkeypatch.setattr(error_map, "_looked_at", on_a_small_gpu)
    monkeypatch.setattr(Runtime, "torch_device", lambda self: torch.device("cuda"))
    reports: list[Progress] = []

    result = finish(proposed_boxes(case_of(textured_hu(), bump(8.0, 35.0))), reports.append)

    assert any("going on on the CPU" in report.note for report in reports)
    assert holds(result.proposals[0].box, PLACE_ZYX)
