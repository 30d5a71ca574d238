"""A phantom small enough for tests: odd sizes, three unequal spacings."""

from __future__ import annotations

import pytest

from engine.phantom.thorax import PhantomPair, thorax_pair

SIZE_XYZ = (61, 52, 45)
SPACING_XYZ_MM = (5.3, 5.6, 6.5)


@pytest.fixture(scope="session")
def pair() -> PhantomPair:
    return thorax_pair(3, SIZE_XYZ, SPACING_XYZ_MM, projections=40)
