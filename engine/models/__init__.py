"""Models that register a pair: `forward(moving, fixed) -> displacement_vox`.

Images are normalised tensors (B, 1, D, H, W) on an isotropic grid at the model's working spacing, in multiples of its
own size, the moving one rigidly aligned, zero where no scanner saw anything; displacements are voxels of that grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from engine.errors import InputError
from engine.models.domain import Domain
from engine.volume import NOT_IN_HU

if TYPE_CHECKING:
    from torch import Tensor, nn

    from engine.volume import Volume

SIZE_MULTIPLE = 16
"""What every network takes."""


@dataclass(frozen=True, slots=True)
class Model:
    """A row of the table: what it is, how its network is made, which weights it ships with (a name in resources).

    One that is not `learned` has no weights at all: it is always ready, and there is nothing in it to refine.
    """

    description: str
    build: Callable[[], nn.Module]
    weights: str | None
    spacing_mm: float
    domain: Domain | None = None
    """What its weights were trained on; none where nothing was."""
    learned: bool = True
    size_multiple: int = SIZE_MULTIPLE
    """Of which the sizes of its images are multiples."""


def _guided_pyramid() -> nn.Module:
    from engine.models.pyramid import MatchingPyramid

    return MatchingPyramid(channels=(8, 16), radii=(1, 1), width=16, guided=True)


def _pyramid() -> nn.Module:
    from engine.models.pyramid import MatchingPyramid

    return MatchingPyramid()


def _convex() -> nn.Module:
    from engine.models.convex import ConvexRegistration

    return ConvexRegistration()


def _paper_unet() -> nn.Module:
    from engine.models.unet import PaperUNet

    return PaperUNet()


def _stable_unet() -> nn.Module:
    from engine.models.unet import StableUNet

    return StableUNet()


def _slice_morph() -> nn.Module:
    from engine.models.morph2d import SliceMorph

    return SliceMorph()


_HEARTS = Domain(
    anatomy="hearts",
    modalities=("MR", NOT_IN_HU),
    spacing_mm=(0.5, 15.0),
    least_extent_mm=5.0,
    least_lung_percent=0.0,
    least_soft_tissue_percent=0.0,
)

_CHESTS = Domain(
    anatomy="chests",
    modalities=("CT", "CBCT"),
    spacing_mm=(0.3, 5.0),
    least_extent_mm=120.0,
    least_lung_percent=4.0,
    least_soft_tissue_percent=20.0,
)

MODELS: dict[str, Model] = {
    "general": Model(
        "convex optimisation refined by a matching network, thorax CT and cone-beam CT",
        _guided_pyramid,
        "general.safetensors",
        2.7,
        _CHESTS,
        size_multiple=8,
    ),
    "convex": Model(
        "discrete convex optimisation, needs no training: any anatomy, any contrast",
        _convex,
        None,
        2.7,
        learned=False,
        size_multiple=8,
    ),
    "gsmorph-cine": Model(
        "U-Net of Dou et al. 2023 on each slice by itself, short-axis cine MRI from diastole to systole",
        _slice_morph,
        "gsmorph-cine.safetensors",
        2.5,
        _HEARTS,
    ),
    "pyramid": Model("coarse-to-fine matching network without a first guess; train it first", _pyramid, None, 2.7),
    "unet-stable": Model(
        "U-Net of Bai et al. 2022 with a head that starts at zero; train it first", _stable_unet, None, 2.7
    ),
    "unet-paper": Model("U-Net of Bai et al. 2022 to the letter; train it first", _paper_unet, None, 2.7),
}


def find_model(name: str) -> tuple[Model, Path | None]:
    """The row and the weights of `NAME`, or of `NAME=FILE.safetensors` with weights of one's own.

    Raises:
        InputError: no such model, or weights for one that has none.
    """
    from resources import path

    row_name, _, file = name.partition("=")
    if row_name not in MODELS:
        raise InputError(
            f"Expected a model among {', '.join(MODELS)}, got {row_name!r}; `regard models` describes them."
        )
    row = MODELS[row_name]
    if file and not row.learned:
        raise InputError(f"The model {row_name!r} has no weights; give its name without a file.")
    if file:
        return row, Path(file)
    return row, path(row.weights) if row.weights else None


def first_guess(network: nn.Module, moving: Tensor, fixed: Tensor) -> tuple[Tensor, ...]:
    """What comes after the images in `network(moving, fixed, …)`, for one who asks for the same pair more than once.

    Empty for a network that begins with no motion.
    """
    from engine.models.pyramid import MatchingPyramid

    if isinstance(network, MatchingPyramid) and network.guided:
        return (network.first_guess(moving, fixed),)
    return ()


def load_network(name: str) -> nn.Module:
    """A fresh network with its weights, its own copy, in evaluation mode.

    Raises:
        InputError: the model has no weights yet, or they do not fit.
    """
    from engine.models.weights import load_weights

    row, weights = find_model(name)
    if not row.learned:
        return row.build().eval()
    if weights is None:
        raise InputError(f"The model {name!r} ships without weights; train it and give {name}=FILE.safetensors.")
    network = row.build()
    load_weights(network, weights)
    return network.eval()


def model_card(name: str) -> str:
    """The card of `NAME`, or the one beside the weights of `NAME=FILE.safetensors`, as Markdown.

    Raises:
        InputError: no such model, or weights without a card.
    """
    from resources import path

    row, weights = find_model(name)
    row_name, has_own_weights, _ = name.partition("=")
    if not has_own_weights:
        text = path(f"{row_name}.md").read_text(encoding="utf-8")
        return text if row.domain is None else f"{text}\n{row.domain.as_markdown()}"
    if weights is None or not weights.with_suffix(".md").is_file():
        raise InputError("Expected a model card beside the weights, a file of the same name that ends in .md.")
    return weights.with_suffix(".md").read_text(encoding="utf-8", errors="replace")


def unlike_training(name: str, fixed: Volume, moving: Volume) -> tuple[str, ...]:
    """A sentence for each way in which a pair is unlike what a model was trained on.

    Empty where the pair is like it, and where nobody knows: for a model without training, or with weights of one's own.

    Raises:
        InputError: no such model.
    """
    row, _ = find_model(name)
    if row.domain is None or "=" in name:
        return ()
    return row.domain.unlike(fixed, moving)
