from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.case import Case
from engine.errors import InputError
from engine.optimize.collar import collared
from engine.progress import finish
from engine.registration import Registration
from engine.roi import Box
from engine.session import RevertSettings, run_step
from engine.spatial.jacobian import jacobian_determinant
from tests.conftest import rotation, waves_vox


@pytest.fixture
def case(pair) -> Case:
    """State 1 moves by up to half a voxel, state 2 by up to one and a half, elsewhere in another way."""
    case, shape = Case.new(pair.fixed, pair.moving), pair.fixed.geometry.shape_zyx
    for field in (waves_vox(shape, 0.5), waves_vox(shape, 1.5)[::-1].copy()):
        case = case.after(replace(case.current, displacement_vox=field))
    return case


def _reverted(case: Case, box: Box, to: int) -> Registration:
    return finish(run_step(case, RevertSettings(box, to)))


@pytest.mark.parametrize("to", [0, 1])
def test_the_box_is_as_it_was_and_outside_box_and_collar_every_bit_is_kept(case: Case, box: Box, to: int) -> None:
    result = _reverted(case, box, to)
    after, before = result.displacement_vox, case.current.displacement_vox
    outside = np.ones(before.shape[1:], bool)
    outside[collared(box, case.fixed.geometry.shape_zyx).slices_zyx] = False

    inside = (slice(None), *box.slices_zyx)
    np.testing.assert_array_equal(after[inside], case.states[to].displacement_vox[inside])
    np.testing.assert_array_equal(after[:, outside], before[:, outside])
    assert outside.any(axis=(1, 2)).all()


def test_it_is_a_step_with_a_certificate_that_is_recomputed(case: Case, box: Box) -> None:
    step = _reverted(case, box, 0).steps[-1]

    assert (step.name, step.box, step.settings) == ("revert", box, {"box": str(box), "to": 0})
    assert step.certificate.passed
    assert step.certificate.box_error_grew == (step.box_rmse_hu_after > step.box_rmse_hu_before)
    assert step.notes[0] == "as in state 0 (start)"


def test_an_error_that_grows_is_told_and_no_broken_promise(case: Case, box: Box, pair) -> None:
    """There and back: one of the two ways the error grows."""
    there = case.after(_reverted(case, box, 1))
    steps = [there.current.steps[-1], _reverted(there, box, 2).steps[-1]]

    assert sorted(step.certificate.box_error_grew for step in steps) == [False, True]
    assert all(step.certificate.passed for step in steps)


def test_a_fold_of_the_earlier_state_does_not_come_back(case: Case, box: Box) -> None:
    folded = case.states[1].displacement_vox.copy()
    z, y, x = (sum(ends) // 2 for ends in box.ranges_zyx)
    folded[0, z, y, x] += 3.0
    states = (case.states[0], replace(case.states[1], displacement_vox=folded), case.states[2])
    result = _reverted(replace(case, states=states), box, 1)

    assert (jacobian_determinant(folded) <= 0).any()
    assert (jacobian_determinant(result.displacement_vox) > 0).all()
    assert result.steps[-1].certificate.new_folds == 0
    assert any("fold guard" in note for note in result.steps[-1].notes)


def test_what_cannot_be_taken_back_is_one_sentence(case: Case, box: Box) -> None:
    rigid = np.eye(4)
    rigid[:3, :3] = rotation(3.0, 0.0, 0.0)
    turned = replace(case, states=(replace(case.states[0], rigid=rigid), *case.states[1:]))

    for refused, to, words in (
        (turned, 0, "aligned otherwise"),
        (case, 2, "the same in both"),
        (case, 3, "from 0 to 2"),
    ):
        with pytest.raises(InputError, match=words):
            _reverted(refused, box, to)
