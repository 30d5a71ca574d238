"""`regard train`: a network from images and phantoms."""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.cli.inputs import named
from engine.cli.steps import with_bar
from engine.errors import InputError
from engine.models import find_model
from engine.phantom.thorax import random_thorax
from engine.progress import Job, finish
from engine.runtime import Runtime, available_cores
from engine.shapes import HuArray
from engine.volume import normalized

if TYPE_CHECKING:
    from engine.training.archive import Archive
    from engine.training.batches import TrainingData
    from engine.training.card import TrainingReport
    from engine.training.devices import Team
    from engine.training.settings import TrainingSettings

T = TypeVar("T")

_PHANTOM_SHAPE_ZYX = (104, 120, 144)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    settings = _settings(arguments)
    find_model(settings.model)
    if arguments.phantoms < 0:
        raise InputError(f"Expected no negative number of phantoms, got {arguments.phantoms}.")
    team = _team(arguments)
    from engine.training.card import write_report
    from engine.training.loop import train

    data = _data(arguments, settings, team.leads)
    folder = Path(arguments.out)
    first_weights = None if arguments.first_weights is None else Path(arguments.first_weights)
    report = _finished(train(data, settings, folder, team, first_weights), team.leads)
    if team.leads:
        write_report(report, folder)
        print(_told(report, folder))


def _settings(arguments: argparse.Namespace) -> TrainingSettings:
    from engine.training.settings import TrainingSettings, trade_off

    rule, weight = trade_off(arguments.supervision, arguments.rule, arguments.weight)
    return TrainingSettings(
        model=arguments.model,
        steps=arguments.steps,
        batch=arguments.batch,
        crop_zyx=tuple(arguments.crop),
        learning_rate=arguments.learning_rate,
        supervision=arguments.supervision,
        rule=rule,
        weight=weight,
        precision=arguments.precision,
        seed=arguments.seed,
        validate_every=arguments.validate_every,
        validation_pairs=arguments.validation_pairs,
        patience=arguments.patience,
        workers=arguments.workers,
        devices=arguments.devices,
    )


def _team(arguments: argparse.Namespace) -> Team:
    """This process alone, or with as many as were asked for, which share the cores of a CPU."""
    from engine.training.devices import Team, launch

    threads = arguments.threads
    if threads is None and arguments.devices > 1:
        threads = max(1, available_cores() // arguments.devices)
    device = Runtime(arguments.device, arguments.seed, threads).torch_device()
    return launch(device.type, arguments.devices) if arguments.devices > 1 else Team(str(device))


def _data(arguments: argparse.Namespace, settings: TrainingSettings, leads: bool) -> TrainingData:
    from engine.training.archive import read_archive
    from engine.training.batches import TrainingData

    spacing_mm = find_model(settings.model)[0].spacing_mm
    archives = [named("--data", partial(_finished, read_archive(path, spacing_mm), leads)) for path in arguments.data]
    if leads:
        for archive in archives:
            _tell(archive)
    return TrainingData(
        [image for archive in archives for image in archive.anatomies],
        [phantom(settings.seed, number, spacing_mm) for number in range(arguments.phantoms)],
        [group for archive in archives for group in archive.pairable],
        None if arguments.artefacts is None else named("--artefacts", partial(read_artefacts, arguments.artefacts)),
    )


def read_artefacts(path: str) -> NDArray[np.float16]:
    """What `regard artefacts` wrote, (N, D, H, W) of float16, mapped into memory.

    Raises:
        InputError: there is no such file, or it holds something else.
    """
    try:
        bank = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, EOFError, ValueError):
        bank = None
    if not isinstance(bank, np.ndarray) or bank.ndim != 4 or bank.dtype != np.float16 or bank.size == 0:
        raise InputError("Expected a file of artefacts, as `regard artefacts` writes it.")
    return bank


def _tell(archive: Archive) -> None:
    print(f"{len(archive.anatomies)} images, {len(archive.pairable)} groups of the same patient", flush=True)
    for reason, count in archive.passed_over.items():
        print(f"passed over {count}: {reason}", flush=True)


def phantom(seed: int, number: int, spacing_mm: float) -> HuArray:
    """A random thorax for training, normalised, on an isotropic grid."""
    return normalized(random_thorax(np.random.default_rng([seed, number]), _PHANTOM_SHAPE_ZYX, spacing_mm))


def _finished(job: Job[T], leads: bool) -> T:
    """Run a job; with a bar in the process that leads."""
    return with_bar(job) if leads else finish(job)


def _told(report: TrainingReport, folder: Path) -> str:
    parts = [f"{report.steps_done} steps, weights of step {report.best_step} in {folder / 'weights.safetensors'}"]
    if report.validation_error_mm is not None:
        parts.append(
            f"mean error on unseen pairs {report.validation_error_mm:.2f} mm, "
            f"{report.validation_zero_field_mm:.2f} mm without registration"
        )
    return "; ".join(parts)
