from __future__ import annotations

from pathlib import Path

import pytest
import torch

from engine.errors import InputError
from engine.models import MODELS, find_model, load_network
from engine.models.weights import save_weights


@pytest.mark.parametrize("name", MODELS)
def test_every_row_of_the_table_is_a_network_that_registers(name: str) -> None:
    row = MODELS[name]
    images = torch.rand(2, 1, 1, 32, 32, 32, generator=torch.Generator().manual_seed(0))

    with torch.no_grad():
        displacement = row.build().eval()(*images)

    assert displacement.shape == (1, 3, 32, 32, 32)
    assert torch.isfinite(displacement).all()
    assert row.description
    assert row.spacing_mm > 0


@pytest.mark.parametrize("name", [name for name, row in MODELS.items() if row.learned])
def test_a_displacement_keeps_its_digits_under_autocast(name: str) -> None:
    """In bfloat16 it would be a multiple of 1/64 voxel beyond 2 voxels."""
    torch.manual_seed(0)
    network = MODELS[name].build().eval()
    images = torch.rand(2, 1, 1, 32, 32, 32)

    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        displacement = network(*images)

    assert displacement.dtype == torch.float32
    assert not torch.equal(displacement, displacement.bfloat16().float())


def test_weights_of_one_s_own_follow_the_name(tmp_path: Path) -> None:
    torch.manual_seed(7)
    own = MODELS["general"].build()
    save_weights(own, tmp_path / "mine.safetensors")
    name = f"general={tmp_path / 'mine.safetensors'}"

    network = load_network(name)

    assert find_model(name) == (MODELS["general"], tmp_path / "mine.safetensors")
    assert not network.training
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), own.parameters(), strict=True))


def test_networks_are_loaded_each_for_itself(tmp_path: Path) -> None:
    save_weights(MODELS["general"].build(), tmp_path / "mine.safetensors")
    first, second = (load_network(f"general={tmp_path / 'mine.safetensors'}") for _ in range(2))

    with torch.no_grad():
        first.sharpness.add_(1.0)

    assert not torch.equal(first.sharpness, second.sharpness)


def test_an_unknown_model() -> None:
    with pytest.raises(InputError, match=r"among general, .*, got 'vgg'"):
        find_model("vgg")


def test_a_model_that_is_not_learned_is_ready_and_takes_no_weights() -> None:
    network = load_network("convex")

    assert find_model("convex") == (MODELS["convex"], None)
    assert not list(network.parameters())
    with pytest.raises(InputError, match=r"'convex' has no weights"):
        find_model("convex=mine.safetensors")


def test_a_model_without_weights() -> None:
    with pytest.raises(InputError, match=r"'unet-paper' ships without weights"):
        load_network("unet-paper")
