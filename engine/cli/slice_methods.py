"""Methods that register pairs of 2-D slices, and the figures that compare them."""

from __future__ import annotations

import math
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from numpy.typing import NDArray
from torch import nn

from engine.errors import InputError
from engine.metrics import overlap
from engine.spatial.warp import warp
from engine.training.cardiac import SlicePair

Field = NDArray[np.float32]
"""Displacement (2, H, W), components row, col in pixels: fixed(x) is like moving(x + u(x))."""

Register = Callable[[list[SlicePair]], tuple[list[Field], list[float]]]
"""From pairs to their fields and the seconds that each took."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over pairs and structures; `hd95` in the unit of the pairs, `mse` of images in 0 to 1.

    Dice of a structure that vanished counts as 0; its distance does not exist and does not count.
    """

    dice: float
    hd95: float
    mse: float
    folding_percent: float


def figures(pairs: list[SlicePair], fields: list[Field]) -> Figures:
    """Figures of a method; labels are warped to the nearest pixel, and zeros come in from outside."""
    dice, hd95, errors, folding = [], [], [], []
    for pair, field in zip(pairs, fields, strict=True):
        warped = _warped(pair.moving, field, "bilinear")
        errors.append(float(np.mean((warped - pair.fixed) ** 2)))
        folding.append(100.0 * float((jacobian_2d(field) <= 0).mean()))
        labels = _warped(pair.moving_labels.astype(np.float32), field, "nearest")
        for label in np.intersect1d(pair.fixed_labels[pair.fixed_labels > 0], pair.moving_labels):
            if not (labels == label).any():
                dice.append(0.0)
                continue
            found = overlap(pair.fixed_labels == label, labels == label, (pair.pixel, pair.pixel))
            dice.append(found.dice)
            hd95.append(found.hd95_mm)
    return Figures(_mean(dice), _mean(hd95), _mean(errors), _mean(folding))


def jacobian_2d(field: Field) -> NDArray[np.float32]:
    """det(I + grad u), forward differences, (H−1, W−1)."""
    here = field[:, :-1, :-1]
    down, right = field[:, 1:, :-1] - here, field[:, :-1, 1:] - here
    return np.asarray((1 + down[0]) * (1 + right[1]) - down[1] * right[0], dtype=np.float32)


def one_by_one(register: Callable[[SlicePair], Field]) -> Register:
    """A method that looks at one pair at a time, each timed after a first one that is not."""

    def register_all(pairs: list[SlicePair]) -> tuple[list[Field], list[float]]:
        fields, seconds = [], []
        register(pairs[0])
        for pair in pairs:
            started = time.perf_counter()
            fields.append(register(pair))
            seconds.append(time.perf_counter() - started)
        return fields, seconds

    return register_all


def still(pair: SlicePair) -> Field:
    """No displacement."""
    return np.zeros((2, *pair.fixed.shape), np.float32)


def demons(pair: SlicePair, threads: int) -> Field:
    """SimpleITK's diffeomorphic demons: two levels of 100 and 60 iterations, fields smoothed by 1.5 pixels."""
    images = [sitk.GetImageFromArray(image) for image in (pair.fixed, pair.moving)]
    method = sitk.DiffeomorphicDemonsRegistrationFilter()
    method.SetNumberOfThreads(threads)
    method.SetStandardDeviations(1.5)
    field = None
    for factor, count in ((2, 100), (1, 60)):
        small = [sitk.BinShrink(image, [factor] * 2) for image in images]
        method.SetNumberOfIterations(count)
        field = method.Execute(*small) if field is None else method.Execute(*small, sitk.Resample(field, small[0]))
    return np.ascontiguousarray(np.moveaxis(sitk.GetArrayFromImage(field), -1, 0)[::-1], dtype=np.float32)


def syn(python: str, seed: int, threads: int) -> Register:
    """SyN of ANTs, in another Python, since antspyx pins other versions of our libraries.

    Raises:
        InputError: that Python cannot do it.
    """

    def register_all(pairs: list[SlicePair]) -> tuple[list[Field], list[float]]:
        script = Path(__file__).with_name("ants_syn.py")
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "pairs.npz"), Path(folder, "result.npz")
            np.savez(source, fixed=[pair.fixed for pair in pairs], moving=[pair.moving for pair in pairs])
            command = [python, str(script), str(source), str(target), str(seed)]
            limits = {**os.environ, "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads)}
            try:
                subprocess.run(command, check=True, capture_output=True, env=limits)
            except (OSError, subprocess.CalledProcessError) as error:
                raise InputError(
                    "--ants-python: expected a Python that has antspyx; this one does not run it."
                ) from error
            with np.load(target) as result:
                return list(result["displacement_px"]), result["seconds"].tolist()

    return register_all


@torch.no_grad()
def predicted(network: nn.Module, pair: SlicePair) -> Field:
    """The field of a network, on the device of its weights."""
    device = next(network.parameters()).device
    moving, fixed = (torch.from_numpy(image)[None, None].to(device) for image in (pair.moving, pair.fixed))
    field: Field = network(moving, fixed)[0].cpu().numpy()
    return field


def _warped(image: NDArray[np.float32], field: Field, mode: str) -> NDArray[np.float32]:
    warped = warp(torch.from_numpy(image)[None, None], torch.from_numpy(field)[None], mode, padding="zeros")
    return np.asarray(warped[0, 0].numpy())


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan
