"""`regard train`: the general model from images and phantoms."""

from __future__ import annotations

import argparse
import json
from functools import partial
from pathlib import Path

import numpy as np

from engine.cli.inputs import named, runtime_of
from engine.cli.steps import with_bar
from engine.errors import InputError
from engine.io.atomic import whole_file
from engine.io.images import read_volume
from engine.models import MODELS
from engine.phantom.thorax import random_thorax
from engine.shapes import HuArray
from engine.volume import normalized

_PHANTOM_SHAPE_ZYX = (104, 120, 144)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.steps < 1 or arguments.batch < 1 or arguments.phantoms < 0:
        raise InputError("Expected at least one step and one pair a step, and no negative number of phantoms.")
    from engine.training.loop import TrainingSettings, report_as_dict, train

    runtime = runtime_of(arguments)
    device = runtime.torch_device()
    spacing_mm = MODELS[arguments.model].spacing_mm
    real = [named("--data", partial(_working_image, path, spacing_mm)) for path in arguments.data]
    phantoms = [
        normalized(random_thorax(np.random.default_rng([runtime.seed, number]), _PHANTOM_SHAPE_ZYX, spacing_mm))
        for number in range(arguments.phantoms)
    ]
    settings = TrainingSettings(arguments.steps, arguments.batch, seed=runtime.seed, workers=arguments.workers)
    folder = Path(arguments.out)
    report = with_bar(train(balanced(real, phantoms), settings, folder, str(device)))
    with whole_file(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(report_as_dict(report), indent=2) + "\n", encoding="utf-8")
    print(
        f"{report.steps_done} steps; mean error on unseen pairs {report.validation_error_vox:.2f} voxels, "
        f"{report.validation_zero_field_vox:.2f} without registration; weights in {folder / 'weights.safetensors'}"
    )


def balanced(real: list[HuArray], phantoms: list[HuArray]) -> list[HuArray]:
    """Real images as often as phantoms, so that few real ones are not lost among many phantoms."""
    if not real or len(real) >= len(phantoms):
        return real + phantoms
    return [real[number % len(real)] for number in range(len(phantoms))] + phantoms


def _working_image(path: str, spacing_mm: float) -> HuArray:
    from engine.spatial.resample import as_tensor, resampled

    volume = read_volume(path)
    target = volume.geometry.resampled((spacing_mm,) * 3)
    image: HuArray = resampled(as_tensor(normalized(volume.filled_hu())), volume.geometry, target)[0, 0].numpy()
    return image
