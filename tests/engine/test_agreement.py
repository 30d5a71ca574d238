from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.agreement import StructureFigures, structure_figures
from engine.case import Case
from engine.errors import InputError
from engine.progress import finish
from engine.structures import Structures, voxel_counts
from engine.volume import Volume


@pytest.fixture
def case(aligned) -> Case:
    """Structure 3 lies two columns (of 1.3 mm) further in the moving image; 5 and 9 are in one image each."""
    fixed, moving = np.zeros((2, *aligned.shape_zyx), np.uint8)
    fixed[4:10, 5:15, 6:16], moving[4:10, 5:15, 8:18] = 3, 3
    fixed[12, 12, :3], moving[1, 1, :2] = 5, 9
    hu, valid = np.zeros(aligned.shape_zyx, np.float32), np.ones(aligned.shape_zyx, bool)
    volumes = Volume(hu, aligned, valid), Volume(hu.copy(), aligned, valid)
    return Case.new(*volumes).delineated(Structures(fixed, moving))


def _figures(case: Case) -> dict[int, StructureFigures]:
    return finish(structure_figures(case))


def test_agreement_is_that_of_the_state(case: Case) -> None:
    """8 of 10 columns overlap; where u is two columns, all of them. A voxel has 1.3 × 1.9 × 2.6 mm³."""
    still = _figures(case)
    u = case.current.displacement_vox.copy()
    u[2] = 2.0
    brought = _figures(case.after(replace(case.current, displacement_vox=u)))

    assert still[3].overlap.dice == pytest.approx(0.8)
    assert still[3].overlap.hd95_mm == pytest.approx(2.6)
    assert brought[3].overlap.dice == 1.0
    assert brought[3].overlap.mda_mm == 0.0
    assert still[3].fixed_cm3 == still[3].moving_cm3 == pytest.approx(600 * 1.3 * 1.9 * 2.6 / 1000)


def test_what_is_in_one_image_alone_has_a_volume_only(case: Case) -> None:
    found = _figures(case)

    assert list(found) == [3, 5, 9]
    assert found[5] == StructureFigures(pytest.approx(3 * 6.422 / 1000), None, None)
    assert found[9] == StructureFigures(None, pytest.approx(2 * 6.422 / 1000), None)


def test_a_structure_that_is_carried_out_of_the_image_has_no_agreement(case: Case) -> None:
    rigid = np.eye(4)
    rigid[0, 3] = 500.0

    found = _figures(case.after(replace(case.current, rigid=rigid)))

    assert found[3].overlap is None
    assert found[3].fixed_cm3 is not None


def test_one_side_alone_has_volumes(case: Case) -> None:
    found = _figures(case.delineated(Structures(moving=case.structures.moving)))

    assert [(number, row.fixed_cm3, row.overlap) for number, row in found.items()] == [(3, None, None), (9, None, None)]


def test_labels_off_the_grid_are_refused(case: Case) -> None:
    with pytest.raises(InputError, match="labels on the moving grid"):
        case.delineated(Structures(moving=np.zeros((3, 3, 3), np.uint8)))


def test_numbers_of_both_sides() -> None:
    fixed, moving = np.zeros((2, 2, 3, 3), np.uint16)
    fixed[0, 0, :2], moving[1, 1, 1] = 700, 2

    assert Structures(fixed, moving).numbers == (2, 700)
    assert voxel_counts(fixed) == {700: 2}
    assert Structures().numbers == ()
