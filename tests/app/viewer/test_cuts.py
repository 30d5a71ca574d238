from __future__ import annotations

import numpy as np
import pytest

from app.viewer.cuts import Cuts
from app.viewer.planes import plane_of
from engine.geometry import Geometry

SHAPE = (5, 7, 90)
VALUES = np.random.default_rng(4).normal(size=SHAPE).astype(np.float32)


@pytest.mark.parametrize("index", [0, 3, 40, 89])
@pytest.mark.parametrize(
    "volume",
    [
        VALUES,
        VALUES > 0,
        VALUES.astype(np.uint8),
        np.asfortranarray(VALUES),
        VALUES[..., ::-1],
        np.broadcast_to(np.float32(-2048), SHAPE),
    ],
)
def test_a_sagittal_slice_is_that_of_the_volume_however_it_lies_in_memory(volume: np.ndarray, index: int) -> None:
    plane, how = plane_of(Geometry(SHAPE, (1.0, 1.0, 1.0)), "sagittal"), "hu"
    wanted = plane.slice_of(volume, index, how)

    assert np.array_equal(Cuts().slice_of("fixed", volume, plane, index, how), wanted)
