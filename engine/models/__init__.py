"""Networks that register a pair: `forward(moving, fixed) -> displacement_vox`.

Images are normalised tensors (B, 1, D, H, W) on an isotropic grid at the model's working spacing, sizes multiples of
16, the moving one rigidly aligned; displacements are voxels of that grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InputError

if TYPE_CHECKING:
    from torch import nn

SIZE_MULTIPLE = 16


@dataclass(frozen=True, slots=True)
class Model:
    """A row of the table: what it is, how its network is made, which weights it ships with (a name in resources)."""

    description: str
    build: Callable[[], nn.Module]
    weights: str | None
    spacing_mm: float


def _pyramid() -> nn.Module:
    from engine.models.pyramid import MatchingPyramid

    return MatchingPyramid()


def _paper_unet() -> nn.Module:
    from engine.models.unet import PaperUNet

    return PaperUNet()


def _stable_unet() -> nn.Module:
    from engine.models.unet import StableUNet

    return StableUNet()


MODELS: dict[str, Model] = {
    "general": Model(
        "coarse-to-fine matching network, thorax CT and cone-beam CT", _pyramid, "general.safetensors", 2.7
    ),
    "unet-stable": Model(
        "U-Net of Bai et al. 2022 with a head that starts at zero; train it first", _stable_unet, None, 2.7
    ),
    "unet-paper": Model("U-Net of Bai et al. 2022 to the letter; train it first", _paper_unet, None, 2.7),
}


def find_model(name: str) -> tuple[Model, Path | None]:
    """The row and the weights of `NAME`, or of `NAME=FILE.safetensors` with weights of one's own.

    Raises:
        InputError: no such model.
    """
    from resources import path

    row_name, _, file = name.partition("=")
    if row_name not in MODELS:
        raise InputError(
            f"Expected a model among {', '.join(MODELS)}, got {row_name!r}; `regard models` describes them."
        )
    row = MODELS[row_name]
    if file:
        return row, Path(file)
    return row, path(row.weights) if row.weights else None


def load_network(name: str) -> nn.Module:
    """A fresh network with its weights, its own copy, in evaluation mode.

    Raises:
        InputError: the model has no weights yet, or they do not fit.
    """
    from engine.models.weights import load_weights

    row, weights = find_model(name)
    if weights is None:
        raise InputError(f"The model {name!r} ships without weights; train it and give {name}=FILE.safetensors.")
    network = row.build()
    load_weights(network, weights)
    return network.eval()
