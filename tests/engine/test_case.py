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


def test_a_step_after_undo_drops_what_could_be_redone() -> None:
    case = _with_step(_with_step(_with_step(_case(), "align"), "iso").undone(), "general")

    assert _names(case) == ["align", "general"]
    assert len(case.states) == 3
    assert not case.can_redo


@pytest.mark.parametrize("index", [-1, 1])
def test_there_is_nothing_beyond_the_ends(index: int) -> None:
    with pytest.raises(InputError, match="Expected a state"):
        _case().gone_to(index)
