"""Weights as safetensors: data only, no code is run on loading."""

from __future__ import annotations

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import nn

from engine.errors import InputError


def save_weights(network: nn.Module, path: Path) -> None:
    """Write the weights; the file appears whole."""
    temporary = path.with_suffix(".partial")
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    temporary.write_bytes(save(weights))  # `save_file` makes a file that only its owner may read
    temporary.replace(path)


def load_weights(network: nn.Module, path: Path) -> None:
    """Read weights into a network of the same make."""
    try:
        network.load_state_dict(load_file(path))
    except FileNotFoundError:
        raise InputError(
            f"Expected weights in {path.name}, found no such file; train the model or install Regard again."
        ) from None
    except (OSError, RuntimeError, ValueError, SafetensorError) as error:
        raise InputError(f"{path.name} does not hold weights of this network; train the model again.") from error
