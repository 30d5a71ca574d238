"""The training run: any network of the table, by the known field or by similarity, resumable bit for bit."""

from __future__ import annotations

import math
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from engine.errors import InputError
from engine.models import find_model
from engine.models.weights import load_weights
from engine.optimize.surgery import GradientSurgery
from engine.progress import STOP, Job, Progress
from engine.training.batches import Batch, TrainingData, batches, validation_batch, with_guess
from engine.training.card import TrainingReport
from engine.training.devices import Team
from engine.training.run import Origin, Run, fingerprint, remove_leftovers, restore, write_results, write_run
from engine.training.settings import TrainingSettings
from engine.training.supervision import fit_and_roughness, target_error_vox

_WARM_UP_STEPS = 50
_LAST_SHARE = 0.01
_LARGEST_GRADIENT = 5.0

ALONE = Team()


def train(
    data: TrainingData,
    settings: TrainingSettings,
    folder: Path,
    team: Team = ALONE,
    first_weights: Path | None = None,
) -> Job[TrainingReport]:
    """Train a network; `checkpoint.pt`, `weights.safetensors`, `progress.csv` and `curves.png` appear in `folder`.

    A run whose folder holds a checkpoint goes on from it and, on the CPU, ends with the same bits as one that was never
    interrupted. The weights are those of the best validation. `first_weights`: where to set out from.

    Raises:
        InputError: nothing to train on, a checkpoint of another run, or a loss that is no longer a number.
    """
    if not data.anatomies:
        raise InputError("Expected at least one image to train on, got none.")
    began = time.monotonic()
    run, origin = _opened(data, settings, folder, team, first_weights)
    began -= run.seconds
    for batch in batches(data, settings, run.step, team.rank, team.size):
        if run.out_of_patience(settings.patience):
            break
        run.pending.append(_step(run, batch.to(team.device), settings, team))
        run.step += 1
        if run.step % settings.validate_every == 0 or run.step == settings.steps:
            run.close_row(validate(run.network, data, settings, team)[0])
            run.seconds = time.monotonic() - began
            if team.leads:
                write_run(run, origin, folder)
        if (yield Progress("train", run.step, settings.steps, note=_note(run))) is STOP:
            break
    if run.pending and team.leads:
        run.seconds = time.monotonic() - began
        write_run(run, origin, folder)
    still_mm = validate(run.network, data, settings, team)[1]
    return TrainingReport.of(run, data, settings, still_mm, team.device)


def _opened(
    data: TrainingData, settings: TrainingSettings, folder: Path, team: Team, first_weights: Path | None
) -> tuple[Run, Origin]:
    """A fresh run, or the one in the folder."""
    torch.manual_seed(settings.seed)
    network = find_model(settings.model)[0].build().to(team.device).train()
    if first_weights is not None:
        load_weights(network, first_weights)
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise InputError(f"The model {settings.model!r} has no weights to train; choose another.")
    run = Run(network, torch.optim.Adam(network.parameters(), lr=settings.learning_rate))
    origin = Origin(settings, data.fingerprint(), None if first_weights is None else fingerprint(network))
    restore(run, origin, folder)
    if team.leads:
        remove_leftovers(folder)
        if run.rows or run.pending:
            write_results(run, folder)
    return run, origin


def _note(run: Run) -> str:
    loss = run.pending[-1][0] if run.pending else run.rows[-1].loss
    error_mm = run.rows[-1].error_mm if run.rows else None
    return f"loss {loss:.3f}" + ("" if error_mm is None else f", validation {error_mm:.2f} mm")


def _step(run: Run, batch: Batch, settings: TrainingSettings, team: Team) -> tuple[float, float, float]:
    """One change of the weights: loss, roughness and the share of layers where their gradients conflicted."""
    step = run.step + 1
    for group in run.optimizer.param_groups:
        group["lr"] = learning_rate(settings, step)
    run.optimizer.zero_grad(set_to_none=True)
    parameters: list[Tensor] = list(run.network.parameters())
    fit, roughness = fit_and_roughness(run.network, batch, settings)
    conflict_share = _backward(fit, roughness, parameters, settings, step, team)
    norm = torch.nn.utils.clip_grad_norm_(parameters, _LARGEST_GRADIENT)
    if not torch.isfinite(norm):
        raise InputError(
            f"The loss is no longer a number at step {step}; choose a smaller --learning-rate and a new folder, "
            "--from the weights of this one if they are of use."
        )
    run.optimizer.step()
    return float(fit.detach()), float(roughness.detach()), conflict_share


def _backward(
    fit: Tensor, roughness: Tensor, parameters: list[Tensor], settings: TrainingSettings, step: int, team: Team
) -> float:
    """Put the gradients into `.grad`, the same in every process; the share of conflicts."""
    if settings.rule == "weighted":
        loss = fit + settings.weight * roughness if settings.weight else fit
        team.agreed([loss], parameters)[0].backward()
        return 0.0
    surgery = GradientSurgery(settings.rule, groups="module", seed=settings.seed + step)
    fit, roughness = team.agreed([fit, roughness], parameters)
    return surgery.backward(fit, roughness, parameters).conflict_share


def learning_rate(settings: TrainingSettings, step: int) -> float:
    """A short warm-up, then half a cosine down to a hundredth; `step` counts from 1."""
    warm_up = min(1.0, step / _WARM_UP_STEPS)
    cosine = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / settings.steps))
    return settings.learning_rate * warm_up * max(cosine, _LAST_SHARE)


def validate(
    network: nn.Module, data: TrainingData, settings: TrainingSettings, team: Team = ALONE
) -> tuple[float | None, float | None]:
    """Mean target error in mm on fixed pairs that no step sees: of the network, and of no motion at all.

    The distance to the known field, weighted to where there is structure and a first guess is near; none where
    `validation_pairs` is 0.
    """
    count = settings.validation_pairs
    if count == 0:
        return None, None
    network.eval()
    own = [validation_batch(data, settings, index).to(team.device) for index in range(team.rank, count, team.size)]
    found = [target_error_vox(network, with_guess(batch, network)) for batch in own]
    errors = torch.tensor(found, dtype=torch.float64).reshape(-1, 2)
    network.train()
    total = team.mean(errors.sum(dim=0).to(team.device)) * team.size
    error_vox, still_vox = (total / count).tolist()
    spacing_mm = find_model(settings.model)[0].spacing_mm
    return spacing_mm * error_vox, spacing_mm * still_vox
