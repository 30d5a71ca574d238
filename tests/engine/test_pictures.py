from dataclasses import replace

import numpy as np

from engine.case import Case
from engine.geometry import Geometry
from engine.pictures import THUMBNAIL, state_thumbnail
from engine.registration import Step
from engine.roi import Box
from engine.session import warped_hu
from engine.volume import PADDING_HU, Volume

GRID = Geometry((6, 60, 30), (2.0, 1.0, 3.0))
BOX = Box(12, 16, 30, 36, 4, 6)


def test_a_thumbnail_shows_the_difference_through_the_box_of_its_step() -> None:
    """The fixed image is brighter in a spot that lies in the box; the middle slice, without a box, does not show it."""
    fixed = np.zeros(GRID.shape_zyx, np.float32)
    fixed[5, 32:34, 13:15] = 500
    seen = np.ones(GRID.shape_zyx, bool)
    case = Case.new(Volume(fixed, GRID, seen), Volume(np.zeros_like(fixed), GRID, seen))
    state = case.current.after(Step("rso 1", {}, 1, 0.1, 1.0, 0.0, 1.0, 0.0, BOX))

    whole, part = state_thumbnail(case, case.current), state_thumbnail(case, state)

    assert whole.shape == (THUMBNAIL, THUMBNAIL, 3)
    assert not whole.any()
    assert max(part.shape) == THUMBNAIL
    assert part[part.shape[0] // 2, part.shape[1] // 2].any()
    assert not part[0].any()


def test_a_thumbnail_is_warped_as_its_state_says() -> None:
    """What of the moving image comes to a place is what the whole warped image shows there."""
    rng = np.random.default_rng(3)
    moving = rng.normal(0, 200, GRID.shape_zyx).astype(np.float32)
    seen = np.ones(GRID.shape_zyx, bool)
    displacement = rng.uniform(-2, 2, (3, *GRID.shape_zyx)).astype(np.float32)
    plain = Case.new(Volume(np.zeros_like(moving), GRID, seen), Volume(moving, GRID, seen))
    state = replace(plain.current, displacement_vox=displacement)
    known = Case.new(plain.fixed, Volume(np.array(warped_hu(plain, state)), GRID, warped_hu(plain, state) > PADDING_HU))

    pictures = (state_thumbnail(plain, state), state_thumbnail(known, known.current))
    np.testing.assert_allclose(*(picture.astype(int) for picture in pictures), atol=1)
