from __future__ import annotations

import numpy as np

from engine.geometry import Geometry
from engine.phantom.sampling import Frame, grid_points
from engine.phantom.vessels import grow_tree, polyline, tube_coverage

FRAME_OF_MILLIMETRES = Frame(np.zeros(3), np.ones(3))


def test_tree_reaches_every_tip_and_thins_towards_it():
    rng = np.random.default_rng(2)
    tips = rng.uniform(20, 90, (31, 3))
    tubes, forks, radii = grow_tree(np.zeros(3), tips, 0.8, rng)
    for tip in tips:
        assert np.linalg.norm(tubes.end - tip, axis=1).min() < 1e-9
    assert len(forks) == 30
    assert radii.max() == tubes.radius_mm[0]
    assert tubes.radius_mm.min() == 0.8


def test_each_fork_joins_one_parent_and_two_children():
    rng = np.random.default_rng(2)
    tubes, forks, _ = grow_tree(np.zeros(3), rng.uniform(20, 90, (17, 3)), 0.8, rng)
    for fork in forks:
        assert np.sum(np.all(tubes.end == fork, axis=1)) == 1
        assert np.sum(np.all(tubes.start == fork, axis=1)) == 2


def test_tube_has_the_volume_of_its_cylinder():
    geometry = Geometry((31, 37, 41), (1.3, 1.1, 1.2), (-26.0, -20.0, -18.0))
    points = grid_points(geometry, FRAME_OF_MILLIMETRES)
    tube = polyline([(-60.0, 1.0, -2.0), (60.0, 1.0, -2.0)], 6.0)
    covered = tube_coverage(points, tube, edge_mm=1.5)
    area = covered[:, :, 20].sum() * 1.1 * 1.2
    # A linear edge of 1.5 mm adds pi w^2 / 12 to the area, 0.5 %; the grid's own error is of that order.
    assert abs(area / (np.pi * 36) - 1) < 0.02


def test_tube_outside_the_grid_touches_nothing():
    geometry = Geometry((8, 9, 10), (2.0, 2.0, 2.0))
    far = polyline([(500.0, 500.0, 500.0), (510.0, 500.0, 500.0)], 3.0)
    assert not tube_coverage(grid_points(geometry, FRAME_OF_MILLIMETRES), far, 2.0).any()
