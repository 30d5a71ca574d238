from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.errors import InputError
from engine.models.weights import load_weights, save_weights


def _network(width: int = 3) -> nn.Module:
    return nn.Sequential(nn.Conv3d(1, width, 3), nn.PReLU())


def test_weights_come_back_bit_by_bit(tmp_path: Path) -> None:
    written, read = _network().to(memory_format=torch.channels_last_3d), _network()

    save_weights(written, tmp_path / "net.safetensors")
    load_weights(read, tmp_path / "net.safetensors")

    assert all(torch.equal(a, b) for a, b in zip(written.parameters(), read.parameters(), strict=True))
    assert [file.name for file in tmp_path.iterdir()] == ["net.safetensors"]


def test_missing_weights(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"found no such file"):
        load_weights(_network(), tmp_path / "none.safetensors")


def test_weights_of_another_network(tmp_path: Path) -> None:
    save_weights(_network(width=4), tmp_path / "net.safetensors")

    with pytest.raises(InputError, match=r"does not hold weights of this network"):
        load_weights(_network(), tmp_path / "net.safetensors")


@pytest.mark.parametrize("damage", ["cut short", "no weights at all", "empty"])
def test_damaged_weights(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save_weights(_network(), path)
    whole = path.read_bytes()
    path.write_bytes({"cut short": whole[:-5], "no weights at all": b"PK\x03\x04" + bytes(40), "empty": b""}[damage])

    with pytest.raises(InputError, match=r"net\.safetensors") as caught:
        load_weights(_network(), path)
    assert str(tmp_path) not in str(caught.value)
