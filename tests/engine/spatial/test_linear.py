import numpy as np
import pytest

from engine.spatial.linear import linear_weights


@pytest.mark.parametrize("length", [1, 2, 7])
def test_values_are_those_of_linear_interpolation_with_edge_values_outside(length: int) -> None:
    values = np.random.default_rng(0).normal(size=length)
    indices = np.linspace(-2.0, length + 1.0, 23)
    found = linear_weights(indices, length) @ values
    np.testing.assert_allclose(found, np.interp(indices, np.arange(length), values), atol=1e-12)
