from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.spatial.self_similarity import box_sum, mind_ssc


def _image(seed: int, shape: tuple[int, int, int]) -> Tensor:
    return torch.rand((1, 1, *shape), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [1, 3, 5, 7])
@pytest.mark.parametrize("shape", [(7, 6, 9), (2, 1, 5)])
def test_a_box_sum_counts_every_neighbor_once(size: int, shape: tuple[int, int, int]) -> None:
    image = torch.cat([_image(1, shape=shape), _image(2, shape=shape)], dim=1)
    values, radius = image.double().numpy(), size // 2

    expected = np.zeros_like(values)
    for z, y, x in np.ndindex(*shape):
        window = tuple(slice(max(0, c - radius), c + radius + 1) for c in (z, y, x))
        expected[:, :, z, y, x] = values[(..., *window)].sum(axis=(2, 3, 4))
    np.testing.assert_allclose(box_sum(image, size).numpy(), expected, rtol=1e-5)


def test_mind_does_not_see_inverted_contrast() -> None:
    image = _image(6, shape=(9, 10, 11))

    torch.testing.assert_close(mind_ssc(1.0 - image), mind_ssc(image), atol=1e-5, rtol=0)


def test_mind_compares_the_patches_of_neighbors_that_do_not_oppose_each_other() -> None:
    """At one voxel far from every edge: exp(−(d − least) / mean of (d − least)), d from patches of 3³ at ±2 voxels."""
    image = _image(7, shape=(9, 10, 11))
    values, center = image[0, 0].double().numpy(), np.array([4, 5, 5])
    neighbors = [center + 2 * sign * np.eye(3, dtype=int)[axis] for axis in range(3) for sign in (-1, 1)]
    patches = [values[tuple(slice(c - 1, c + 2) for c in neighbor)] for neighbor in neighbors]
    distances = [((patches[a] - patches[b]) ** 2).mean() for a in range(6) for b in range(a + 1, 6) if a // 2 != b // 2]
    excess = np.array(distances) - min(distances)

    found = mind_ssc(image)

    assert found.shape == (1, 12, 9, 10, 11)
    assert (found > 0).all()
    assert (found <= 1).all()
    np.testing.assert_allclose(found[0, :, *center].numpy(), np.exp(-excess / excess.mean()), atol=1e-4)
