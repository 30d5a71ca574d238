from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from app.viewer.marks import Mark, Pairs
from app.viewer.planes import plane_of
from engine.case import Case
from engine.guidance import Guidance

INDEX_ZYX = (5.0, 8.0, 11.0)
POINT = (-10.0 + 11 * 2, 25.0 + 8 * 3, 40.0 + 5 * 5)
"""The voxel above in the geometry of the tests."""

SHIFT = (6.0, -3.0, 10.0)


@pytest.fixture
def case(volumes):
    """A rigid part that shifts by whole voxels, and a pair whose partner lies one further along x."""
    case = Case.new(*volumes)
    rigid = np.eye(4)
    rigid[:3, 3] = SHIFT
    moving = np.array(POINT) + SHIFT + (2.0, 0.0, 0.0)
    moved = replace(case, states=(replace(case.current, rigid=rigid),))
    return moved.guided(Guidance(np.array([POINT]), moving[None]))


@pytest.mark.parametrize(
    ("image", "across_mm"), [("fixed", 22.0), ("warped", 22.0), ("difference", 22.0), ("moving", 24.0)]
)
def test_a_pair_is_at_its_place_in_each_image(case, geometry, image, across_mm):
    marks = Pairs.of(case, None, None).marks(image, plane_of(geometry, "axial"), (5, 0, 0))
    assert marks == (Mark("1", (pytest.approx(across_mm), pytest.approx(24.0)), on_slice=True, selected=False),)


@pytest.mark.parametrize(("slice_index", "seen"), [(3, []), (4, [False]), (5, [True]), (6, [False]), (7, [])])
def test_marks_are_seen_within_one_slice(case, geometry, slice_index, seen):
    marks = Pairs.of(case, 0, None).marks("fixed", plane_of(geometry, "axial"), (slice_index, 0, 0))
    assert [mark.on_slice for mark in marks] == seen
    assert all(mark.selected for mark in marks)


def test_a_point_without_partner_is_marked_in_the_fixed_images_only(case, geometry):
    pairs = Pairs.of(case, 0, (POINT[0] + 4, *POINT[1:]))
    axial = plane_of(geometry, "axial")
    assert [(m.text, m.selected) for m in pairs.marks("fixed", axial, (5, 0, 0))] == [
        ("1", False),
        ("2", True),
    ]
    assert [m.text for m in pairs.marks("moving", axial, (5, 0, 0))] == ["1"]


def test_no_pairs_no_marks(volumes, geometry):
    pairs = Pairs.of(Case.new(*volumes), None, None)
    assert pairs.marks("moving", plane_of(geometry, "coronal"), (5, 0, 0)) == ()
