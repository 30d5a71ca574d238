from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.case import Case
from engine.errors import InputError
from engine.guidance import Guidance
from engine.volume import Volume


def _case(aligned) -> Case:
    volume = Volume(np.zeros(aligned.shape_zyx, np.float32), aligned, np.ones(aligned.shape_zyx, bool))
    return Case.new(volume, volume)


def test_nothing_is_known_at_first(aligned) -> None:
    assert _case(aligned).guidance.is_empty


def test_guidance_stays_with_the_case_through_its_history(aligned) -> None:
    case = _case(aligned)
    guided = case.guided(Guidance(np.zeros((1, 3)), np.ones((1, 3))))

    later = guided.after(guided.current).undone()

    assert later.guidance is guided.guidance
    assert not later.guidance.is_empty
    assert case.guidance.is_empty


def test_points_that_do_not_pair_up_are_refused() -> None:
    with pytest.raises(InputError, match="as many fixed as moving points, got 2 and 1"):
        Guidance(np.zeros((2, 3)), np.zeros((1, 3)))


@pytest.mark.parametrize("name", ["rigid", "excluded"])
def test_a_mask_on_another_grid_is_refused(name: str, aligned) -> None:
    with pytest.raises(InputError, match=f"{name} mask on the fixed grid"):
        _case(aligned).guided(Guidance(**{name: np.ones((3, 4, 5), bool)}))


def test_masks_cannot_be_written_to() -> None:
    guidance = Guidance(rigid=np.ones((3, 4, 5), bool))

    with pytest.raises(ValueError, match="read-only"):
        guidance.rigid[0] = False


def test_pairs_are_added_at_the_end_and_removed_by_number() -> None:
    guidance = Guidance().with_pair((1.0, 2.0, 3.0), (4.0, 5.0, 6.0)).with_pair((7.0, 8.0, 9.0), (0.0, 0.0, 1.0))

    left = guidance.without_pair(0)

    assert left.fixed_points_mm.tolist() == [[7.0, 8.0, 9.0]]
    assert left.moving_points_mm.tolist() == [[0.0, 0.0, 1.0]]
    assert len(guidance.fixed_points_mm) == 2


def test_the_distance_of_a_pair_is_measured_after_the_map(aligned) -> None:
    """A rigid shift by 3 mm and a partner 4 mm beside where it leads."""
    case = _case(aligned)
    rigid = np.eye(4)
    rigid[0, 3] = 3.0
    shifted = Case(case.fixed, case.moving, (replace(case.current, rigid=rigid),))
    place = tuple(aligned.center_xyz_mm())

    guided = shifted.guided(Guidance().with_pair(place, (place[0] + 3.0, place[1] + 4.0, place[2])))

    assert guided.pair_distances_mm() == pytest.approx([4.0])
    assert case.pair_distances_mm() == []
