from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from engine.io.phases import PHASE_TAGS, phase_in, phase_order, phases_of


@dataclass(frozen=True, eq=False)
class Header:
    position: NDArray[np.float64]
    phase_keys: tuple[str, ...]


def header(z_mm: float, **keys: str) -> Header:
    names = ("position", "percent", "ms", "acquisition")
    assert len(names) == len(PHASE_TAGS)
    return Header(np.array([1.0, 2.0, z_mm]), tuple(keys.get(name, "") for name in names))


def test_slices_at_places_of_their_own_are_one_image() -> None:
    slices = [header(2.0 * k, acquisition=str(k)) for k in range(4)]

    assert phases_of(slices) == [("", slices)]


def test_the_first_tag_that_tells_repetitions_apart_counts() -> None:
    """Acquisition counts on from slice to slice here and would tell nothing; the temporal position is constant."""
    slices = [header(2.0 * k, position="1", ms=str(t), acquisition=str(k)) for k in range(3) for t in (100, 20)]

    phases = phases_of(slices)

    assert [name for name, _ in phases] == ["20 ms", "100 ms"]
    assert [slice_.position[2] for slice_ in phases[0][1]] == [0.0, 2.0, 4.0]


def test_repetitions_that_no_tag_tells_apart_stay_together() -> None:
    slices = [header(2.0 * (k // 2)) for k in range(4)]

    assert phases_of(slices) == [("", slices)]


@pytest.mark.parametrize(
    ("description", "phase", "rest"),
    [
        ("Thorax 4D 0% In", "0 % in", "Thorax 4D"),
        ("Gated, 50.0%", "50 %", "Gated"),
        ("CT T90 lung", "90 %", "CT lung"),
        ("case1_T00.mha", "0 %", "case1_ .mha"),
        ("4DCT phase 3", "phase 3", "4DCT"),
        ("4DCT AIP", "average", "4DCT"),
        ("4DCT_MinIP", "MinIP", "4DCT"),
        ("T2 TSE", "", "T2 TSE"),
        ("Head 1250%", "", "Head 1250%"),
    ],
)
def test_a_phase_in_words(description: str, phase: str, rest: str) -> None:
    assert phase_in(description) == (phase, rest)


def test_phases_are_sorted_by_number() -> None:
    assert sorted(["MIP", "100 %", "20 %", "0 %"], key=phase_order) == ["0 %", "20 %", "100 %", "MIP"]
