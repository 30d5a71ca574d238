"""The training run: supervised by the known displacement, resumable, its progress in a CSV file."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from pickle import UnpicklingError

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from engine.errors import InputError
from engine.models.pyramid import MatchingPyramid, upsampled
from engine.models.weights import save_weights
from engine.progress import STOP, Job, Progress
from engine.shapes import HuArray
from engine.training.pairs import TrainingPair, make_pair

_VALIDATION_SEED = 987_654
_LEVEL_WEIGHTS = (1.0, 0.6, 0.4, 0.3)
"""Finest level first."""


@dataclass(frozen=True, slots=True)
class TrainingSettings:
    """`crop_zyx`: size of a training crop in voxels of the working grid, multiples of 16."""

    steps: int = 3000
    batch: int = 2
    crop_zyx: tuple[int, int, int] = (64, 64, 80)
    learning_rate: float = 1e-3
    seed: int = 0
    checkpoint_every: int = 50
    validation_pairs: int = 8
    workers: int = 1


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """What a model card tells about a run; errors in voxels, weighted to where there is structure."""

    settings: TrainingSettings
    steps_done: int
    anatomies: int
    validation_error_vox: float
    validation_zero_field_vox: float
    history: list[tuple[int, float]] = field(default_factory=list)


class _Pairs(Dataset[TrainingPair]):
    def __init__(self, anatomies: list[HuArray], shape: tuple[int, int, int], seed: int, first: int, end: int) -> None:
        self._anatomies, self._shape, self._seed, self._first, self._end = anatomies, shape, seed, first, end

    def __len__(self) -> int:
        return self._end - self._first

    def __getitem__(self, index: int) -> TrainingPair:
        return make_pair(self._anatomies, self._shape, self._seed, self._first + index)


def _collated(pairs: list[TrainingPair]) -> TrainingPair:
    return TrainingPair(
        torch.stack([pair.fixed for pair in pairs]),
        torch.stack([pair.moving for pair in pairs]),
        torch.stack([pair.displacement_vox for pair in pairs]),
        torch.stack([pair.weight for pair in pairs]),
    )


def train(
    anatomies: list[HuArray], settings: TrainingSettings, folder: Path, device: str = "cpu"
) -> Job[TrainingReport]:
    """Train the matching pyramid; `weights.safetensors`, `checkpoint.pt` and `progress.csv` appear in `folder`.

    A run whose folder holds a checkpoint goes on from it. `anatomies`: normalised images on the working grid.
    """
    if not anatomies:
        raise InputError("Expected at least one image to train on, got none.")
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(settings.seed)
    network = MatchingPyramid().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    first = _resume(folder / "checkpoint.pt", network, optimizer)
    losses: list[float] = []
    history: list[tuple[int, float]] = []
    step = first
    for step, pair in enumerate(_batches(anatomies, settings, first), start=first + 1):
        _set_learning_rate(optimizer, settings, step)
        loss = training_loss(network, _on(pair, device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        relative = float(loss.detach()) / _loss_of_no_motion(pair)
        losses.append(relative)
        if step % settings.checkpoint_every == 0 or step == settings.steps:
            history.append((step, sum(losses) / len(losses)))
            _write_checkpoint(folder, network, optimizer, step, history[-1][1])
            losses.clear()
        if (yield Progress("train", step, settings.steps, note=f"relative error {relative:.3f}")) is STOP:
            break
    _write_checkpoint(folder, network, optimizer, step, math.nan)
    error, zero = validate(network, anatomies, settings, device)
    return TrainingReport(settings, step, len(anatomies), error, zero, history)


def training_loss(network: MatchingPyramid, pair: TrainingPair) -> Tensor:
    """Smooth distance to the known displacement at every level, in voxels of the finest grid."""
    levels = network.levels(pair.moving, pair.fixed)
    total = pair.fixed.new_zeros(())
    truth, weight = pair.displacement_vox, pair.weight
    for level, factor in enumerate(_LEVEL_WEIGHTS):
        truth, weight = 0.5 * F.avg_pool3d(truth, 2), F.avg_pool3d(weight, 2)
        distance = _smooth_distance(levels[-1 - level] - truth) * 2.0 ** (level + 1)
        total = total + factor * (weight * distance).mean() / weight.mean()
    return total


def _loss_of_no_motion(pair: TrainingPair) -> float:
    """What `training_loss` would be about if nothing moved: the scale of a pair."""
    distance = (pair.weight * pair.displacement_vox.norm(dim=1, keepdim=True)).mean() / pair.weight.mean()
    return sum(_LEVEL_WEIGHTS) * float(distance) + 1e-3


def _smooth_distance(difference: Tensor) -> Tensor:
    return torch.sqrt((difference**2).sum(dim=1, keepdim=True) + 1e-3)


@torch.no_grad()
def validate(
    network: MatchingPyramid, anatomies: list[HuArray], settings: TrainingSettings, device: str = "cpu"
) -> tuple[float, float]:
    """Mean weighted distance in voxels to the truth on unseen pairs: of the network, and of no motion at all."""
    network.eval()
    errors, zeros = [], []
    for index in range(settings.validation_pairs):
        pair = _on(_collated([make_pair(anatomies, settings.crop_zyx, _VALIDATION_SEED, index)]), device)
        found = upsampled(network.levels(pair.moving, pair.fixed)[-1])
        errors.append(_weighted_distance(found - pair.displacement_vox, pair.weight))
        zeros.append(_weighted_distance(pair.displacement_vox, pair.weight))
    network.train()
    return sum(errors) / len(errors), sum(zeros) / len(zeros)


def _weighted_distance(difference: Tensor, weight: Tensor) -> float:
    distance = difference.norm(dim=1, keepdim=True)
    return float((weight * distance).mean() / weight.mean())


def _batches(anatomies: list[HuArray], settings: TrainingSettings, first: int) -> Iterator[TrainingPair]:
    pairs = _Pairs(anatomies, settings.crop_zyx, settings.seed, first * settings.batch, settings.steps * settings.batch)
    if len(pairs) <= 0:
        return
    loader = DataLoader(pairs, settings.batch, collate_fn=_collated, num_workers=settings.workers)
    yield from loader


def _set_learning_rate(optimizer: torch.optim.Optimizer, settings: TrainingSettings, step: int) -> None:
    """A short warm-up, then half a cosine down to a hundredth."""
    warm_up = min(1.0, step / 50)
    cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / settings.steps))
    for group in optimizer.param_groups:
        group["lr"] = settings.learning_rate * warm_up * max(cosine, 0.01)


def _on(pair: TrainingPair, device: str) -> TrainingPair:
    return TrainingPair(
        pair.fixed.to(device), pair.moving.to(device), pair.displacement_vox.to(device), pair.weight.to(device)
    )


def _resume(path: Path, network: MatchingPyramid, optimizer: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        return int(state["step"])
    except (OSError, RuntimeError, ValueError, KeyError, UnpicklingError) as error:
        raise InputError("The checkpoint is damaged or of another network; train into a new folder.") from error


def _write_checkpoint(
    folder: Path, network: MatchingPyramid, optimizer: torch.optim.Optimizer, step: int, loss: float
) -> None:
    state = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
    temporary = folder / "checkpoint.partial"
    torch.save(state, temporary)
    temporary.replace(folder / "checkpoint.pt")
    save_weights(network, folder / "weights.safetensors")
    if math.isfinite(loss):
        with (folder / "progress.csv").open("a", newline="") as stream:
            csv.writer(stream).writerow([step, f"{loss:.5f}"])


def report_as_dict(report: TrainingReport) -> dict[str, object]:
    """Plain values for JSON."""
    return asdict(report)
