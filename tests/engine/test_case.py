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


def _branched() -> Case:
    """0 – align 1 – iso 2 – rso 3, and general 4 – iso 5 and rso 6 both from 4; 6 is current."""
    case = _with_step(_with_step(_with_step(_case(), "align"), "iso"), "rso 1").gone_to(1)
    case = _with_step(_with_step(case, "general"), "iso")
    return _with_step(case.undone(), "rso 1")


def test_a_branch_goes_and_all_others_keep_their_numbers() -> None:
    case = _branched()
    assert (case.branch(2), case.branch(4)) == ((2, 3), (4, 5, 6))

    left = case.without_branch(2)

    assert left.numbers == (0, 1, 4, 5, 6)
    assert all(left.states[number] is case.states[number] for number in left.numbers)
    assert (left.id, left.cursor, left.line()) == (case.id, 6, (0, 1, 4, 6))
    assert _with_step(left, "iso").cursor == 7
    assert left.without_branch(5).numbers == (0, 1, 4, 6)
    assert case.numbers == tuple(range(7)), "a case is a value"


def test_what_is_last_can_go_and_its_number_is_not_given_again() -> None:
    left = _branched().gone_to(5).without_branch(6)

    assert _with_step(left, "rso 1").numbers == (0, 1, 2, 3, 4, 5, 7)


def test_redo_leads_to_what_is_left_of_the_branches() -> None:
    case = _with_step(_branched().gone_to(2), "rso 2")  # 7 beside 3
    assert case.gone_to(4).redone().cursor == 6

    elsewhere = case.gone_to(3).without_branch(6)
    assert elsewhere.gone_to(4).redone().cursor == 5
    assert not elsewhere.without_branch(5).gone_to(4).can_redo
    assert elsewhere.without_branch(7).gone_to(2).redone().cursor == 3


@pytest.mark.parametrize("number", [0, 1, 4, 6])
def test_the_line_one_is_on_stays(number: int) -> None:
    with pytest.raises(InputError, match=f"State {number} leads to the current one"):
        _branched().without_branch(number)
    if number:
        with pytest.raises(InputError, match="on from it"):
            _branched().gone_to(1).gone_to(0).without_branch(number)


def test_a_deleted_state_is_nowhere() -> None:
    left = _branched().without_branch(2)

    for ask in (left.gone_to, left.without_branch, left.state):
        with pytest.raises(InputError, match="State 3 was deleted"):
            ask(3)


@pytest.mark.parametrize("deleted", [{0}, {2}, {6}, {4, 5, 6}, {9}])
def test_only_whole_branches_can_be_missing(deleted: set[int]) -> None:
    """2 leaves 3 behind."""
    with pytest.raises(InputError, match="whole branches"):
        replace(_branched(), deleted=frozenset(deleted))
