import numpy as np

from engine.case import Case
from engine.geometry import Geometry
from engine.pictures import THUMBNAIL, state_thumbnail
from engine.registration import Step
from engine.roi import Box
from engine.volume import Volume

GRID = Geometry((6, 60, 30), (2.0, 1.0, 3.0))
BOX = Box(12, 16, 30, 36, 4, 6)


def test_a_thumbnail_shows_the_difference_through_the_box_of_its_step() -> None:
    """The fixed image is brighter in a spot that lies in the box; the middle slice, without a box, does not show it."""
    fixed = np.zeros(GRID.shape_zyx, np.float32)
    fixed[5, 32:34, 13:15] = 500
    volume = Volume(fixed, GRID, np.ones(GRID.shape_zyx, bool))
    case = Case.new(volume, volume)
    warped = np.zeros_like(fixed)
    state = case.current.after(Step("rso 1", {}, 1, 0.1, 1.0, 0.0, 1.0, 0.0, BOX))

    whole, part = state_thumbnail(case, case.current, warped), state_thumbnail(case, state, warped)

    assert whole.shape == (THUMBNAIL, THUMBNAIL, 3)
    assert not whole.any()
    assert max(part.shape) == THUMBNAIL
    assert part[part.shape[0] // 2, part.shape[1] // 2].any()
    assert not part[0].any()
