"""A phantom so small that a network takes it in one crop of 48³, and networks that start at no motion or anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.models import MODELS
from engine.models.weights import save_weights
from engine.phantom.thorax import PhantomPair, thorax_pair
from engine.roi import Box

SIZE_XYZ = (43, 40, 36)
SPACING_XYZ_MM = (3.0, 3.1, 3.4)


@pytest.fixture(autouse=True)
def _always_one_thread(one_thread: None) -> None:
    """The same bits whatever the machine has."""


@pytest.fixture(scope="session")
def pair() -> PhantomPair:
    return thorax_pair(3, SIZE_XYZ, SPACING_XYZ_MM)


@pytest.fixture(scope="session")
def box() -> Box:
    """A box at one dome of the diaphragm; box and collar leave a part of the image outside on every axis."""
    return Box(22, 32, 12, 22, 8, 16)


@pytest.fixture(scope="session")
def stable_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an untrained U-Net that starts at the identity."""
    return _saved("unet-stable", tmp_path_factory.mktemp("weights"))


@pytest.fixture(scope="session")
def random_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of an untrained matching network."""
    return _saved("general", tmp_path_factory.mktemp("weights"))


def _saved(name: str, folder: Path) -> str:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        save_weights(MODELS[name].build(), folder / f"{name}.safetensors")
    return f"{name}={folder / name}.safetensors"
