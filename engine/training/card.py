"""What is told about a run: a report for programs, a model card for people."""

from __future__ import annotations

import json
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from engine import __version__
from engine.io.atomic import whole_file
from engine.models import MODELS
from engine.runtime import device_name
from engine.training.batches import TrainingData
from engine.training.curves import Row
from engine.training.run import WEIGHTS, Run
from engine.training.settings import TrainingSettings


@dataclass(frozen=True, slots=True)
class TrainingReport:
    """How a run went; errors in mm on synthetic pairs that no step saw, weighted to where there is structure.

    `best_step`: the step whose weights were kept. `groups`: patients with two images or more that made real pairs.
    `artefacts`: cone-beam reconstructions whose streaks were put on images.
    """

    settings: TrainingSettings
    steps_done: int
    best_step: int
    parameters: int
    images: int
    phantoms: int
    groups: int
    artefacts: int
    seconds: float
    machine: str
    validation_error_mm: float | None
    validation_zero_field_mm: float | None
    history: list[Row]

    @classmethod
    def of(
        cls, run: Run, data: TrainingData, settings: TrainingSettings, still_mm: float | None, device: str
    ) -> TrainingReport:
        """The report of a run as it stands."""
        best = run.best_row
        return cls(
            settings,
            run.step,
            run.step if best is None else best.step,
            sum(parameter.numel() for parameter in run.network.parameters()),
            len(data.real),
            len(data.phantoms),
            len(data.groups),
            0 if data.artefacts is None else len(data.artefacts),
            round(run.seconds, 1),
            f"{settings.devices} × {device_name(device)}" if settings.devices > 1 else device_name(device),
            None if best is None else best.error_mm,
            still_mm,
            list(run.rows),
        )


def write_report(report: TrainingReport, folder: Path) -> None:
    """Write `report.json`, and `weights.md`, the card that goes with the weights."""
    with whole_file(folder / "report.json") as temporary:
        temporary.write_text(json.dumps(asdict(report), indent=2) + "\n", encoding="utf-8")
    with whole_file(folder / "weights.md") as temporary:
        temporary.write_text(card(report), encoding="utf-8")


def card(report: TrainingReport) -> str:
    """The model card as Markdown."""
    settings = report.settings
    model = MODELS[settings.model]
    size = "×".join(map(str, settings.crop_zyx))
    rows = {
        "What it is": f"{model.description}; {report.parameters:,} parameters, for `--model {settings.model}=FILE`",
        "Not meant for": "other anatomies or modalities than those below, or any use without review: research "
        "software, not a medical device",
        "Working grid": f"{model.spacing_mm:g} mm isotropic; images normalised (HU + 1000) / 2000",
        "Data": _data(report),
        "Supervision": _supervision(settings),
        "Training": f"{report.steps_done} steps, weights of step {report.best_step}: batches of "
        f"{settings.batch * settings.devices} crops of {size} voxels, Adam {settings.learning_rate:g} with warm-up and "
        f"cosine decay, {settings.precision}, seed {settings.seed}",
        "Machine": f"{report.machine} ({platform.machine()}), {report.seconds / 60:.0f} minutes, Regard {__version__}",
        "Unseen synthetic pairs": _errors(report),
    }
    table = "".join(f"| {name} | {text} |\n" for name, text in rows.items())
    return f"# Model card: `{WEIGHTS}`\n\n| | |\n|---|---|\n{table}"


def _data(report: TrainingReport) -> str:
    parts = [f"random deformations of {report.images} images and {report.phantoms} random phantoms"]
    if 0 < report.images < report.phantoms:
        parts.append("half and half")
    if report.groups and report.settings.supervision != "field":
        parts.append(f"every other step real pairs, from {report.groups} groups of images of one patient")
    if report.artefacts:
        parts.append(f"artefacts of {report.artefacts} cone-beam reconstructions")
    return "; ".join(parts)


def _supervision(settings: TrainingSettings) -> str:
    sought = {
        "field": "the known displacement at every level",
        "similarity": "local correlation of the clean images",
        "both": "the known displacement where there is one, and local correlation of the clean images",
    }
    together = f"weight {settings.weight:g}" if settings.rule == "weighted" else f"gradient surgery ({settings.rule})"
    return f"{sought[settings.supervision]}; roughness by {together}"


def _errors(report: TrainingReport) -> str:
    if report.validation_error_mm is None or report.validation_zero_field_mm is None:
        return "none were looked at"
    return (
        f"mean error {report.validation_error_mm:.2f} mm where there is structure, "
        f"{report.validation_zero_field_mm:.2f} mm without registration"
    )
