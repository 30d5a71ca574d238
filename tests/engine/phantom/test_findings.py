from __future__ import annotations

import numpy as np
import pytest

from engine.geometry import Geometry
from engine.phantom.anatomy import random_anatomy
from engine.phantom.canvas import ORGANS
from engine.phantom.findings import Findings, random_findings
from engine.phantom.organs import plumbing
from engine.phantom.render import edge_width, render
from engine.phantom.sampling import Frame, grid_points


@pytest.fixture(scope="module")
def rendered():
    """HU and labels of one patient with given findings, in a field of view with room beside the body."""
    anatomy = random_anatomy(np.random.default_rng(4), vessels_per_lung=40)
    geometry = Geometry((36, 40, 56), (8.0, 8.0, 8.0))
    frame = Frame(Frame.fitted(geometry).center_xyz_mm, np.full(3, 0.95))
    points, edge_mm, tubes = grid_points(geometry, frame), edge_width(geometry, frame), plumbing(anatomy)
    return anatomy, lambda findings: render(anatomy, tubes, points, edge_mm, findings)


def _voxels(labels: np.ndarray, organ: str) -> int:
    return int((labels == ORGANS[organ]).sum())


def test_no_findings_change_nothing(rendered):
    _, render_with = rendered
    for one, other in zip(render_with(None), render_with(Findings()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_collapsed_lung_is_smaller_and_the_other_one_is_not(rendered):
    _, render_with = rendered
    (before_hu, before), (hu, after) = render_with(None), render_with(Findings(lost_mm=(20.0, 0.0)))
    assert _voxels(after, "lung_right") < 0.8 * _voxels(before, "lung_right")
    assert _voxels(after, "lung_left") == _voxels(before, "lung_left")
    lost = (before == ORGANS["lung_right"]) & (after != ORGANS["lung_right"])
    assert np.median(hu[lost]) > -100 > np.median(before_hu[lost])


def test_an_effusion_lies_in_the_back_with_a_level(rendered):
    _, render_with = rendered
    before, (hu, after) = render_with(None)[1], render_with(Findings(fluid_mm=(0.0, 40.0)))
    lost = (before == ORGANS["lung_left"]) & (after != ORGANS["lung_left"])
    left = after == ORGANS["lung_left"]
    assert lost.any()
    assert np.nonzero(lost)[1].min() >= np.nonzero(left)[1].max() - 1, "y grows towards the back"
    assert np.median(hu[lost]) == pytest.approx(12, abs=60)


def test_arms_lie_beside_the_body_and_leave_it_alone(rendered):
    anatomy, render_with = rendered
    reach = anatomy.body_half[0] + 40
    (before_hu, before), (hu, after) = render_with(None), render_with(Findings(arms=((reach, 20.0, 40.0),)))
    inside = before > 0
    assert np.mean(hu[inside] == before_hu[inside]) > 0.97, "but for the skin that an arm touches"
    added = (after > 0) & ~inside
    assert added.any()
    assert np.nonzero(added)[2].min() > inside.shape[2] / 2, "x grows to the left"
    assert hu[added].max() > 200, "a bone"


def test_patients_differ_and_repeat():
    anatomy = random_anatomy(np.random.default_rng(4), vessels_per_lung=40)
    found = [random_findings(np.random.default_rng(seed), anatomy) for seed in range(60)]
    again = [random_findings(np.random.default_rng(seed), anatomy) for seed in range(60)]
    assert [findings for _, findings in found] == [findings for _, findings in again]
    assert any(max(findings.lost_mm) > 0 for _, findings in found)
    assert any(max(findings.fluid_mm) > 0 for _, findings in found)
    assert any(findings.arms for _, findings in found)
    assert any(enhanced.hu["blood"] > anatomy.hu["blood"] + 50 for enhanced, _ in found)
    assert any(findings == Findings() and patient is anatomy for patient, findings in found)
