import errno
import gc
import io
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from engine import shared_arrays
from engine.roi import Box
from engine.shared_arrays import npy_in_file, with_part

SHAPE = (3, 5, 6, 7)
BOX = Box(1, 4, 2, 5, 0, 2)


def in_file(array: np.ndarray) -> np.ndarray:
    """In three pieces."""
    return shared_arrays.in_file(array.shape, lambda: iter(array))


@pytest.fixture(autouse=True)
def nothing_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_arrays, "_LEAST_BYTES", 0)


def some(seed: int = 0, shape: tuple[int, ...] = SHAPE) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def part_of(seed: int, box: Box) -> np.ndarray:
    return some(seed, (3, *box.shape_zyx))


def patched(array: np.ndarray, box: Box, part: np.ndarray) -> np.ndarray:
    result = array.copy()
    result[(slice(None), *box.slices_zyx)] = part
    return result


def test_an_array_in_a_file_has_the_same_bits() -> None:
    array = some()
    np.testing.assert_array_equal(in_file(array), array)


def test_what_is_small_lies_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_arrays, "_LEAST_BYTES", 10**6)
    array = in_file(some())
    assert shared_arrays._origin_of(array) is None
    np.testing.assert_array_equal(array, some())


def test_an_array_lies_in_memory_when_the_disk_is_full(monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(io.BytesIO):
        def write(self, data: object) -> int:
            raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(tempfile, "TemporaryFile", FullDisk)
    array = in_file(some())
    assert shared_arrays._origin_of(array) is None
    np.testing.assert_array_equal(array, some())


def test_what_was_written_to_a_new_array_is_part_of_those_that_follow() -> None:
    """Folds are smoothed in the file itself."""
    first = in_file(some())
    first[:, 4] = 7.0
    after = with_part(first, BOX, part_of(1, BOX))
    np.testing.assert_array_equal(after[:, 4], 7.0)
    np.testing.assert_array_equal(after[:, 2:4], some()[:, 2:4])


@pytest.mark.parametrize("place", [in_file, np.array])
def test_a_part_is_replaced_in_the_new_array_alone(place) -> None:
    array, part = some(), part_of(1, BOX)
    before = place(array)
    after = with_part(before, BOX, part)
    np.testing.assert_array_equal(after, patched(array, BOX, part))
    np.testing.assert_array_equal(before, array)


@pytest.mark.parametrize("second", [BOX, Box(0, 7, 0, 6, 0, 5), Box(2, 3, 3, 4, 1, 2), Box(3, 7, 0, 3, 1, 5)])
def test_parts_on_parts_add_up(second: Box) -> None:
    array, first = some(), in_file(some())
    once = with_part(first, BOX, part_of(1, BOX))
    twice = with_part(once, second, part_of(2, second))
    beside = with_part(once, Box(6, 7, 5, 6, 4, 5), np.zeros((3, 1, 1, 1), np.float32))
    wanted = patched(array, BOX, part_of(1, BOX))
    np.testing.assert_array_equal(once, wanted)
    np.testing.assert_array_equal(twice, patched(wanted, second, part_of(2, second)))
    np.testing.assert_array_equal(beside[:, 0], wanted[:, 0])


def test_what_lies_in_memory_is_shared_from_the_first_part_on() -> None:
    once = with_part(some(), BOX, part_of(1, BOX))
    other = Box(5, 7, 0, 1, 4, 5)
    twice = with_part(once, other, part_of(2, other))
    assert shared_arrays._origin_of(once).file is shared_arrays._origin_of(twice).file
    np.testing.assert_array_equal(twice, patched(patched(some(), BOX, part_of(1, BOX)), other, part_of(2, other)))


def test_an_array_of_which_much_is_its_own_gets_a_file_of_its_own() -> None:
    first, wanted = in_file(some()), some()
    changed = first
    for number in range(5):
        box = Box(number, number + 2, number, number + 2, 0, 2)
        changed = with_part(changed, box, part_of(number, box))
        wanted = patched(wanted, box, part_of(number, box))
        origin = shared_arrays._origin_of(changed)
        assert sum(4 for _ in origin.boxes) <= shared_arrays._MOST_OWN * SHAPE[1] * SHAPE[2]
    assert origin.file is not shared_arrays._origin_of(first).file
    np.testing.assert_array_equal(changed, wanted)
    np.testing.assert_array_equal(first, some())


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "too many"), ValueError("file too short")])
def test_where_nothing_can_be_mapped_a_part_is_replaced_in_a_copy(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = in_file(some())

    def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(shared_arrays.mmap, "mmap", refused)
    after = with_part(before, BOX, part_of(1, BOX))
    np.testing.assert_array_equal(after, patched(some(), BOX, part_of(1, BOX)))


def test_what_is_written_to_an_array_with_a_part_stays_its_own() -> None:
    before = in_file(some())
    after = with_part(before, BOX, part_of(1, BOX))
    after[:] = 0.0
    np.testing.assert_array_equal(before, some())
    np.testing.assert_array_equal(with_part(before, BOX, part_of(2, BOX)), patched(some(), BOX, part_of(2, BOX)))


def test_the_file_is_closed_with_the_last_array_that_shows_it() -> None:
    first = in_file(some())
    origin = shared_arrays._origin_of(first)
    assert origin is not None
    descriptor = origin.file.descriptor
    del origin
    second = with_part(first, BOX, part_of(1, BOX))
    view = second[:, 1:]
    del first, second
    gc.collect()
    np.testing.assert_array_equal(view, patched(some(), BOX, part_of(1, BOX))[:, 1:])
    with pytest.raises(OSError, match="descriptor"):
        os.fstat(descriptor)


@pytest.mark.skipif(sys.platform == "win32", reason="a mapped file cannot be removed on Windows")
def test_a_saved_array_is_shared_after_its_file_was_replaced(tmp_path: Path) -> None:
    path = tmp_path / "state.npy"
    np.save(path, some())
    array = npy_in_file(path)
    path.unlink()
    np.save(path, some(3))
    after = with_part(array, BOX, part_of(1, BOX))
    np.testing.assert_array_equal(after, patched(some(), BOX, part_of(1, BOX)))


def test_a_saved_array_in_another_order_is_copied(tmp_path: Path) -> None:
    np.save(tmp_path / "state.npy", np.asfortranarray(some()))
    after = with_part(npy_in_file(tmp_path / "state.npy"), BOX, part_of(1, BOX))
    np.testing.assert_array_equal(after, patched(some(), BOX, part_of(1, BOX)))


@pytest.mark.skipif(sys.platform != "linux", reason="memory is looked at as Linux tells it")
def test_ten_regions_take_the_memory_of_their_boxes() -> None:
    state = in_file(np.ones((3, 40, 256, 256), np.float32))
    before, states = private_mib(), [state]
    for number in range(10):
        box = Box(8, 24, 20 * number, 20 * number + 16, 4, 20)
        states.append(with_part(states[-1], box, np.full((3, *box.shape_zyx), number, np.float32)))
    assert sum(other.nbytes for other in states[1:]) == 10 * 30 * 2**20
    assert private_mib() - before < 60.0


def private_mib() -> float:
    gc.collect()
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("Pss_Anon")]
    return float(line.split()[1]) / 1024
