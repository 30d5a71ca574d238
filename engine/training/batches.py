"""What one step of training sees: synthetic pairs with their field, or real pairs without one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from engine.models import find_model, first_guess
from engine.shapes import HuArray, MaskArray
from engine.training.archive import RealPair, WorkingImage, make_real_pair
from engine.training.pairs import TrainingPair, make_pair, structure_weight
from engine.training.settings import TrainingSettings

VALIDATION_SEED = 987_654

_NEAR_VOX = 1.0
"""Miss of a first guess at which a voxel counts half."""


@dataclass(frozen=True, slots=True, eq=False)
class TrainingData:
    """Normalised images on the working grid: real ones and phantoms, to be deformed, and groups for real pairs.

    `groups`: two images or more of one patient and frame of reference each; they belong to `real` as well.
    `artefacts` (N, D, H, W): what cone-beam reconstructions add, for synthetic pairs (`artefact_bank`).
    """

    real: list[HuArray]
    phantoms: list[HuArray] = field(default_factory=list)
    groups: list[list[WorkingImage]] = field(default_factory=list)
    artefacts: NDArray[np.float16] | None = None

    @property
    def anatomies(self) -> list[HuArray]:
        """Real images as often as phantoms, so that few real ones are not lost among many phantoms."""
        if not self.real or len(self.real) >= len(self.phantoms):
            return self.real + self.phantoms
        return [self.real[number % len(self.real)] for number in range(len(self.phantoms))] + self.phantoms

    def fingerprint(self) -> str:
        """A hash of every voxel: a run goes on only with the data that it was started with."""
        found = hashlib.blake2b(digest_size=16)
        seen: list[list[MaskArray]] = [[image.seen for image in group] for group in self.groups]
        added = [] if self.artefacts is None else [self.artefacts]
        parts: list[Sequence[NDArray[Any]]] = [self.real, self.phantoms, *seen, added]
        for part in parts:
            found.update(str([array.shape for array in part]).encode())
            for array in part:
                found.update(np.ascontiguousarray(array).data)
        return found.hexdigest()


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Images (B, 1, D, H, W), normalised; the network sees `fixed` and `moving`, the loss the clean ones.

    `fixed_seen`, `moving_seen`: 1 where a scanner saw something. `weight` (B, 1, D, H, W): how much a voxel counts.
    `displacement_vox` (B, 3, D, H, W): the field from fixed to moving, where it is known. `guess`: of the same shape,
    where the network begins its search, for one that begins somewhere.
    """

    fixed: Tensor
    moving: Tensor
    clean_fixed: Tensor
    clean_moving: Tensor
    fixed_seen: Tensor
    moving_seen: Tensor
    weight: Tensor
    displacement_vox: Tensor | None
    guess: Tensor | None = None

    def to(self, device: str) -> Batch:
        """The same on another device."""
        values = [getattr(self, column.name) for column in fields(self)]
        moved: list[Any] = [None if value is None else value.to(device) for value in values]
        return Batch(*moved)


def synthetic_batch(pairs: Sequence[TrainingPair]) -> Batch:
    """Pairs with a known field."""
    fixed, moving = (torch.stack([getattr(pair, name) for pair in pairs]) for name in ("fixed", "moving"))
    return Batch(
        fixed,
        moving,
        torch.stack([pair.clean_fixed for pair in pairs]),
        torch.stack([pair.clean_moving for pair in pairs]),
        torch.ones_like(fixed),
        torch.ones_like(moving),
        torch.stack([pair.weight for pair in pairs]),
        torch.stack([pair.displacement_vox for pair in pairs]),
    )


def real_batch(pairs: Sequence[RealPair]) -> Batch:
    """Pairs of one patient, as they are: their noise is independent already, and their field is not known."""
    fixed, moving, fixed_seen, moving_seen = (torch.stack(images) for images in zip(*pairs, strict=True))
    return Batch(fixed, moving, fixed, moving, fixed_seen, moving_seen, structure_weight(fixed), None)


def batches(
    data: TrainingData, settings: TrainingSettings, first: int, rank: int = 0, size: int = 1
) -> Iterator[Batch]:
    """The batches of the steps from `first` (counted from 0) on, for one of `size` processes.

    A batch is a function of data, settings and step alone: a run can be repeated and resumed, and two processes with a
    batch of one see together what one process with a batch of two sees.
    """
    source = _Batches(data, settings, first, rank, size)
    if len(source):
        yield from DataLoader(source, batch_size=None, num_workers=settings.workers)


class _Batches(Dataset[Batch]):
    def __init__(self, data: TrainingData, settings: TrainingSettings, first: int, rank: int, size: int) -> None:
        self._data, self._settings, self._first, self._rank, self._size = data, settings, first, rank, size
        self._network = find_model(settings.model)[0].build()

    def __len__(self) -> int:
        return max(0, self._settings.steps - self._first)

    def __getitem__(self, item: int) -> Batch:
        settings, step = self._settings, self._first + item
        start = (step * self._size + self._rank) * settings.batch
        indices = range(start, start + settings.batch)
        crop_zyx, seed = settings.crop_zyx, settings.seed
        if self._is_real(step):
            batch = real_batch([make_real_pair(self._data.groups, crop_zyx, seed, i) for i in indices])
        else:
            batch = synthetic_batch([_synthetic_pair(self._data, crop_zyx, seed, i) for i in indices])
        return with_guess(batch, self._network)

    def _is_real(self, step: int) -> bool:
        """Every other step where there are real pairs; only a similarity can learn from them."""
        return bool(self._data.groups) and self._settings.supervision != "field" and step % 2 == 1


def with_guess(batch: Batch, network: nn.Module) -> Batch:
    """The batch with the network's first guess, which takes longer than the rest of a step and needs no weights.

    Where the field is known a voxel counts by how near the guess is. A network whose search is short cannot find the
    rest, and learns from it to pull every displacement to the mean: what was right before becomes worse.
    """
    guess = next(iter(first_guess(network, batch.moving, batch.fixed)), None)
    if guess is None or batch.displacement_vox is None:
        return replace(batch, guess=guess)
    miss = (guess - batch.displacement_vox).norm(dim=1, keepdim=True)
    return replace(batch, guess=guess, weight=batch.weight / (1.0 + (miss / _NEAR_VOX) ** 2))


def validation_batch(data: TrainingData, settings: TrainingSettings, index: int) -> Batch:
    """The validation pair number `index`: of the same anatomies, deformed as no training pair is."""
    return synthetic_batch([_synthetic_pair(data, settings.crop_zyx, VALIDATION_SEED, index)])


def _synthetic_pair(data: TrainingData, crop_zyx: tuple[int, int, int], seed: int, index: int) -> TrainingPair:
    return make_pair(data.anatomies, crop_zyx, seed, index, data.artefacts)
