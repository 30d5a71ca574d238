from dataclasses import replace

import numpy as np
import pytest

from engine.geometry import Geometry
from engine.identity import Identity
from engine.pairing import label_findings, overlap, pair_findings
from engine.volume import Volume


@pytest.fixture
def fixed(aligned: Geometry) -> Volume:
    hu = np.random.default_rng(3).normal(0, 300, aligned.shape_zyx).astype(np.float32)
    return Volume(hu, aligned, np.ones(hu.shape, dtype=bool), "CBCT", identity=Identity.of("1", "A^B", "1.2"))


@pytest.fixture
def moving(fixed: Volume) -> Volume:
    return replace(fixed, hu=fixed.hu + np.float32(1), modality="CT")


def kinds(fixed: Volume, moving: Volume) -> list[str]:
    return [finding.kind for finding in pair_findings(fixed, moving)]


def test_a_planning_ct_for_a_cone_beam_ct_of_one_patient_raises_nothing(fixed: Volume, moving: Volume) -> None:
    assert kinds(fixed, moving) == []


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        (Identity.of("2", "A^B", "1.2"), ["patient"]),
        (Identity.of("1", "C^D", "1.2"), ["patient"]),
        (Identity.of("", "A^B", ""), []),
        (Identity(), ["patient"]),
        (Identity.of("1", "A^B", "1.3"), ["frame"]),
        (Identity.of("2", "C^D", "1.3"), ["patient", "frame"]),
    ],
)
def test_labels_are_compared_where_both_have_them(
    fixed: Volume, moving: Volume, identity: Identity, expected: list[str]
) -> None:
    assert kinds(fixed, replace(moving, identity=identity)) == expected


def test_a_frame_of_reference_is_something_to_know_and_a_patient_a_warning(fixed: Volume, moving: Volume) -> None:
    other = replace(moving, identity=Identity.of("2", "A^B", "1.3"))

    assert [finding.is_warning for finding in pair_findings(fixed, other)] == [True, False]


def test_a_patient_that_one_image_alone_names_is_no_warning(fixed: Volume, moving: Volume) -> None:
    nobody = replace(moving, identity=Identity())

    (finding,) = pair_findings(fixed, nobody)
    assert not finding.is_warning
    assert kinds(replace(fixed, identity=Identity()), nobody) == []


def test_swapped_roles_are_suspected(fixed: Volume, moving: Volume) -> None:
    assert kinds(moving, fixed) == ["roles"]
    assert label_findings(Identity(), Identity(), "CT", "CT") == ()


def test_one_image_twice_is_seen_by_its_voxels(fixed: Volume, aligned: Geometry) -> None:
    again = replace(fixed, hu=fixed.hu.copy())
    elsewhere = replace(again, geometry=replace(aligned, origin_xyz_mm=(-30.0, 52.0, -411.0)))

    assert kinds(fixed, again) == ["same"]
    assert kinds(fixed, elsewhere) == []


def test_images_that_lie_apart_are_told_unless_their_frames_differ(fixed: Volume, moving: Volume) -> None:
    far = replace(moving, geometry=replace(moving.geometry, origin_xyz_mm=(-37.0, 52.0, 400.0)))

    (finding,) = pair_findings(fixed, far)
    assert finding.kind == "overlap"
    assert "0 %" in finding.text
    assert kinds(fixed, replace(far, identity=Identity.of("1", "A^B", "9"))) == ["frame"]


def test_overlap_is_a_share_of_the_fixed_grid(aligned: Geometry) -> None:
    """Moved along x by half of its 29 columns of 1.3 mm, half of 24 probed columns stay inside."""
    moved = replace(aligned, origin_xyz_mm=(-37.0 + 14.5 * 1.3, 52.0, -411.0))

    assert overlap(aligned, aligned) == 1.0
    assert overlap(aligned, moved) == pytest.approx(0.5, abs=1 / 24)
