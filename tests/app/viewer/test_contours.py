from __future__ import annotations

import numpy as np
import pytest

from app.viewer.contours import Labels, color_of, outlined
from app.viewer.planes import plane_of

SPACING_MM = (2.0, 3.0)


def loops_of(contour):
    """The places of a contour, loop by loop."""
    return np.split(contour.places_mm, np.flatnonzero(~contour.joined)[:-1] + 1)


def areas_mm2(contour):
    """Signed area of each loop (shoelace formula)."""
    return [0.5 * np.sum(loop[:-1, 0] * loop[1:, 1] - loop[1:, 0] * loop[:-1, 1]) for loop in loops_of(contour)]


def test_a_voxel_is_outlined_through_the_middles_of_its_edges():
    labels = np.zeros((4, 5), np.uint8)
    labels[1, 3] = 7
    (contour,) = outlined(labels, SPACING_MM)
    assert contour.number == 7
    places = {tuple(place) for place in contour.places_mm}
    assert places == {(6.0, 1.5), (6.0, 4.5), (5.0, 3.0), (7.0, 3.0)}
    np.testing.assert_array_equal(contour.places_mm[0], contour.places_mm[-1])
    assert contour.joined.tolist() == [True] * 4 + [False]


def test_straight_pieces_are_drawn_as_one():
    labels = np.zeros((40, 50), np.uint8)
    labels[5:25, 10:40] = 1
    (contour,) = outlined(labels, SPACING_MM)
    assert len(contour.places_mm) == 9, "two places at each corner, and the first again"
    low, high = contour.places_mm.min(axis=0), contour.places_mm.max(axis=0)
    np.testing.assert_array_equal(low, [9.5 * 2, 4.5 * 3])
    np.testing.assert_array_equal(high, [39.5 * 2, 24.5 * 3])


def test_structures_that_touch_have_an_outline_each():
    labels = np.zeros((6, 6), np.uint16)
    labels[1:5, 1:3], labels[1:5, 3:5] = 300, 2
    found = outlined(labels, (1.0, 1.0))
    assert [contour.number for contour in found] == [2, 300]
    # eight voxels less four corners of an eighth
    assert [abs(sum(areas_mm2(contour))) for contour in found] == [7.5, 7.5]


def test_a_hole_and_the_border_of_the_image_are_outlined():
    """The outer loop of 6 × 7 voxels goes round one way, the hole of one voxel the other way."""
    labels = np.ones((6, 7), np.uint8)
    labels[2, 3] = 0
    (contour,) = outlined(labels, (1.0, 1.0))
    hole, outer = sorted(areas_mm2(contour), key=abs)
    assert abs(outer) == 41.5
    assert hole * np.sign(outer) == -0.5


def test_voxels_that_touch_at_a_corner_are_outlined_once_each_edge():
    """Eight edges, and half a diagonal of a voxel from the middle of each to that of the next."""
    (contour,) = outlined(np.array([[4, 0], [0, 4]], np.uint8), (1.0, 1.0))
    lengths = [np.linalg.norm(np.diff(loop, axis=0), axis=1).sum() for loop in loops_of(contour)]
    assert sum(lengths) == pytest.approx(8 * np.sqrt(0.5))


def test_slanting_pieces_are_drawn_as_one():
    """A staircase of voxels: its two long sides, and a bend where each end turns."""
    (contour,) = outlined(np.eye(30, dtype=np.uint8) + np.eye(30, k=1, dtype=np.uint8), (1.0, 1.0))
    assert len(contour.places_mm) - 1 == 6


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_outlines_of_noise_enclose_what_they_should(seed):
    """Every edge between a voxel and its surroundings is walked once and every loop is closed.

    Against the voxels' area the bends cut off and add an eighth of a voxel at each convex and concave corner.
    """
    labels = np.random.default_rng(seed).integers(0, 3, (15, 17)).astype(np.uint8)
    for contour in outlined(labels, (1.0, 1.0)):
        mask = np.pad(labels == contour.number, 1)
        blocks = sum(mask[i : 16 + i, j : 18 + j].astype(int) for i in (0, 1) for j in (0, 1))
        crossing = mask[:-1, :-1] & mask[1:, 1:] & ~mask[1:, :-1] & ~mask[:-1, 1:]
        crossing |= ~mask[:-1, :-1] & ~mask[1:, 1:] & mask[1:, :-1] & mask[:-1, 1:]
        convex, concave, saddles = (blocks == 1).sum(), (blocks == 3).sum(), crossing.sum()
        area = abs(sum(areas_mm2(contour)))
        steady = mask.sum() - (convex - concave) / 8
        assert steady - saddles / 4 <= area <= steady + saddles / 4
        for loop in loops_of(contour):
            np.testing.assert_array_equal(loop[0], loop[-1])


def test_an_empty_slice_has_no_outline():
    assert outlined(np.zeros((5, 5), np.uint8), (1.0, 1.0)) == ()


def test_colors_are_all_different_for_eight_structures():
    numbers = (2, 5, 9, 17, 18, 40, 41, 300)
    assert len({color_of(number, numbers) for number in numbers}) == 8


def test_what_each_image_shows(geometry):
    """Carried ones on every image but in the moving one's own place on it; hidden ones nowhere."""
    fixed, moving = np.zeros((2, *geometry.shape_zyx), np.uint8)
    fixed[3, 4:8, 5:9], moving[3, 6:9, 10:14], moving[3, 12, 3] = 1, 1, 4
    labels = Labels(fixed, moving, np.roll(moving, 1, axis=2), (1, 4))
    plane = plane_of(geometry, "axial")

    def shown(image, hidden=frozenset()):
        return [(c.number, c.carried, float(c.places_mm[:, 0].min())) for c in labels.on(image, plane, 3, hidden)]

    # columns of 2 mm, outlined half a voxel before the first of them
    assert shown("moving") == [(1, True, 19.0), (4, True, 5.0)]
    for image in ("fixed", "warped", "difference"):
        assert shown(image) == [(1, False, 9.0), (1, True, 21.0), (4, True, 7.0)]
    assert shown("fixed", frozenset({1})) == [(4, True, 7.0)]
    assert labels.on("fixed", plane, 4, frozenset()) == ()
    colors = {c.number: c.rgb for c in labels.on("fixed", plane, 3, frozenset())}
    assert colors == {1: color_of(1, (1, 4)), 4: color_of(4, (1, 4))}
