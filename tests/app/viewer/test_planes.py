from __future__ import annotations

import numpy as np
import pytest

from app.viewer.planes import letters, plane_of
from engine.geometry import Geometry

SHAPE = (12, 20, 26)


@pytest.mark.parametrize(
    ("name", "axes", "flips", "edges"),
    [
        ("axial", (0, 1, 2), (False, False), ("R", "L", "A", "P")),
        ("coronal", (1, 0, 2), (False, True), ("R", "L", "S", "I")),
        ("sagittal", (2, 0, 1), (False, True), ("A", "P", "S", "I")),
    ],
)
def test_planes_of_a_plain_grid(name, axes, flips, edges):
    plane = plane_of(Geometry(SHAPE, (2.0, 3.0, 5.0)), name)
    assert (plane.normal, plane.row, plane.column) == axes
    assert (plane.flip_across, plane.flip_down) == flips
    assert plane.edges == edges


def test_edges_stay_anatomical_when_the_grid_is_turned():
    prone = Geometry(SHAPE, (2.0, 3.0, 5.0), direction=((-1, 0, 0), (0, -1, 0), (0, 0, 1)))
    plane = plane_of(prone, "axial")
    assert plane.edges == ("R", "L", "A", "P")
    assert plane.flip_across
    assert plane.flip_down


def test_a_sagittal_acquisition_is_shown_as_what_it_is():
    sagittal = Geometry(SHAPE, (1.0, 1.0, 4.0), direction=((0, 0, 1), (1, 0, 0), (0, -1, 0)))
    plane = plane_of(sagittal, "sagittal")
    assert plane.normal == 0
    assert plane.edges == ("A", "P", "S", "I")
    assert not plane.flip_down


def test_oblique_edges_name_both_directions():
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    tilted = Geometry(SHAPE, (2.0, 3.0, 5.0), direction=((c, -s, 0), (s, c, 0), (0, 0, 1)))
    assert plane_of(tilted, "axial").edges == ("RA", "LP", "AL", "PR")
    assert letters((0.1, 0.2, -0.9)) == "I"


@pytest.mark.parametrize("name", ["axial", "coronal", "sagittal"])
def test_slice_place_and_voxel_agree(name):
    volume = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    plane = plane_of(Geometry(SHAPE, (2.0, 3.0, 5.0)), name)
    index = (3, 7, 11)
    pixels = plane.slice_of(volume, index[plane.normal])
    assert pixels[index[plane.row], index[plane.column]] == volume[index]
    assert plane.pixel(plane.place(index), index) == index
    across, down = plane.place(index)
    assert plane.pixel((across + 0.49 * plane.spacing_mm[0], down - 0.49 * plane.spacing_mm[1]), index) == index
    assert plane.extent_mm == (pixels.shape[1] * plane.spacing_mm[0], pixels.shape[0] * plane.spacing_mm[1])
