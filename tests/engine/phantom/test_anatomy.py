from __future__ import annotations

import numpy as np
import pytest

from engine.phantom.anatomy import random_anatomy, rotation_matrix


def test_same_seed_same_patient():
    first, again = (random_anatomy(np.random.default_rng(7)) for _ in range(2))
    assert first.body_half == again.body_half
    assert first.hu == again.hu
    np.testing.assert_array_equal(first.texture, again.texture)


def test_another_seed_is_another_patient():
    first, other = (random_anatomy(np.random.default_rng(seed)) for seed in (7, 8))
    assert first.body_half != other.body_half
    assert first.apex_z != other.apex_z


def test_texture_has_unit_spread():
    texture = random_anatomy(np.random.default_rng(0)).texture
    assert texture.std() == pytest.approx(1, abs=1e-3)
    assert abs(texture.mean()) < 0.1


def test_rotation_about_z_takes_x_to_y():
    np.testing.assert_allclose(rotation_matrix(0, 0, np.pi / 2) @ [1, 0, 0], [0, 1, 0], atol=1e-12)
