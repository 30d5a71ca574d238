"""A smooth anatomy, settings of a run of seconds, and torch as it was before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.training.archive import WorkingImage
from engine.training.batches import TrainingData
from engine.training.settings import TrainingSettings


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def settings() -> TrainingSettings:
    """Four steps on 32³ voxels, a row after each."""
    return TrainingSettings(
        steps=4, batch=1, crop_zyx=(32, 32, 32), seed=2, validate_every=1, validation_pairs=1, workers=0
    )


@pytest.fixture(scope="session")
def quick(settings: TrainingSettings) -> TrainingSettings:
    """Two steps and no validation."""
    return replace(settings, steps=2, validation_pairs=0)


@pytest.fixture(scope="session")
def anatomies() -> list[np.ndarray]:
    """Two waves of one wavelength, of the same size; other along each axis."""
    z, y, x = np.meshgrid(*(np.linspace(0, 9, n) for n in (56, 60, 52)), indexing="ij")
    return [(0.5 + 0.4 * np.sin(x + y + k) * np.cos(z - 0.5 * y)).astype(np.float32) for k in (0.0, 0.3)]


@pytest.fixture(scope="session")
def data(anatomies: list[np.ndarray]) -> TrainingData:
    """Single images only."""
    return TrainingData(anatomies[:1])


@pytest.fixture(scope="session")
def paired(anatomies: list[np.ndarray]) -> TrainingData:
    """Two images of one patient."""
    return TrainingData(anatomies, groups=[[WorkingImage(image, image > -1) for image in anatomies]])
