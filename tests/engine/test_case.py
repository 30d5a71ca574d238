from dataclasses import replace

import numpy as np
import pytest

from engine.case import Case
from engine.errors import InputError
from engine.geometry import Geometry
from engine.registration import Step
from engine.volume import Volume

GRID = Geometry((3, 4, 5), (1.0, 2.0, 3.0))


def _case() -> Case:
    volume = Volume(np.zeros((3, 4, 5), dtype=np.float32), GRID, np.ones((3, 4, 5), dtype=bool))
    return Case.new(volume, volume)


def _with_step(case: Case, name: str) -> Case:
    return case.after(case.current.after(Step(name, {}, 1, 0.1, 1.0, 0.0, 1.0, 0.0)))


def _names(case: Case) -> list[str]:
    return [step.name for step in case.current.steps]


def test_a_new_case_has_the_identity_and_nothing_to_undo() -> None:
    case = _case()

    assert not case.current.displacement_vox.any()
    assert (case.can_undo, case.can_redo) == (False, False)
    assert case.id != _case().id


def test_undo_and_redo_move_along_the_history() -> None:
    case = _with_step(_with_step(_case(), "align"), "iso")

    assert _names(case) == ["align", "iso"]
    assert _names(case.undone()) == ["align"]
    assert _names(case.undone().undone()) == []
    assert _names(case.undone().redone()) == ["align", "iso"]
    assert case.undone().can_redo
    assert _names(case.gone_to(1)) == ["align"]
    assert case.gone_to(0).id == case.id


def test_a_step_after_undo_is_a_branch_beside_what_could_be_redone() -> None:
    """0 – align 1 – iso 2, and general 3 from align as well, rso 4 after it."""
    case = _with_step(_with_step(_with_step(_case(), "align"), "iso").undone(), "general")

    assert _names(case) == ["align", "general"]
    assert not case.can_redo
    assert _names(case.gone_to(2)) == ["align", "iso"]

    case = _with_step(case, "rso 1")
    assert case.parents == (0, 0, 1, 1, 3)
    assert case.way_to(4) == (0, 1, 3, 4)
    assert case.undone().undone().line() == (0, 1, 3, 4)


def test_what_refinement_began_from() -> None:
    case = _with_step(_with_step(_case(), "align"), "general")
    assert case.unrefined() is case.states[2]
    refined = _with_step(_with_step(case, "iso"), "general")
    assert refined.unrefined() is case.states[2]
    assert refined.gone_to(1).unrefined() is case.states[1]
    assert _with_step(_case(), "rso 1").unrefined().steps == ()


def test_redo_follows_the_branch_that_was_visited_last() -> None:
    case = _with_step(_with_step(_with_step(_case(), "align"), "iso").undone(), "general")

    assert case.undone().redone().cursor == 3
    other = case.gone_to(2)
    assert not other.can_redo
    assert other.undone().redone().cursor == 2
    assert other.undone().undone().line() == (0, 1, 2)


def test_there_is_nothing_to_undo_at_the_start_nor_to_redo_at_an_end() -> None:
    with pytest.raises(InputError, match="Expected a state"):
        _case().undone()
    with pytest.raises(InputError, match="Expected a state"):
        _with_step(_case(), "align").redone()


@pytest.mark.parametrize(
    ("parents", "followed"),
    [((0, 1, 1), ()), ((0, 2, 1), ()), ((1, 0, 1), ()), ((0, 0), ()), ((0, 0, 1), (2, 1, 2)), ((0, 0, 0), (1, 2, 2))],
)
def test_what_is_no_tree_is_refused(parents: tuple[int, ...], followed: tuple[int, ...]) -> None:
    case = _with_step(_with_step(_case(), "align"), "iso")

    with pytest.raises(InputError, match="follow one before"):
        replace(case, parents=parents, followed=followed)


@pytest.mark.parametrize("index", [-1, 1])
def test_there_is_nothing_beyond_the_ends(index: int) -> None:
    with pytest.raises(InputError, match="Expected a state"):
        _case().gone_to(index)
