from __future__ import annotations

import csv
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.errors import InputError
from engine.progress import STOP, Progress, finish
from engine.training.batches import TrainingData
from engine.training.card import TrainingReport
from engine.training.loop import learning_rate, train, validate
from engine.training.settings import TrainingSettings

FILES = {"weights.safetensors", "checkpoint.pt", "progress.csv", "curves.png"}


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, data, settings) -> tuple[Path, TrainingReport, list[Progress]]:
    folder = tmp_path_factory.mktemp("whole")
    reports: list[Progress] = []
    with torch.random.fork_rng():
        return folder, finish(train(data, settings, folder), reports.append), reports


def state(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / "checkpoint.pt", weights_only=True)["network"]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


def test_a_run_reports_every_step_and_writes_what_it_promises(whole_run, settings) -> None:
    folder, report, reports = whole_run

    assert [(r.stage, r.done, r.total) for r in reports] == [("train", n, 4) for n in (1, 2, 3, 4)]
    assert {file.name for file in folder.iterdir()} == FILES
    assert (report.steps_done, report.images, report.phantoms, report.settings) == (4, 1, 0, settings)
    assert report.validation_zero_field_mm is not None
    assert report.validation_zero_field_mm > 0
    assert report.validation_error_mm == min(row.error_mm for row in report.history)
    assert [row.step for row in report.history] == [1, 2, 3, 4]
    with (folder / "progress.csv").open(newline="") as stream:
        assert [int(row["step"]) for row in csv.DictReader(stream)] == [1, 2, 3, 4]


def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_bits(whole_run, data, settings, tmp_path: Path) -> None:
    """Two steps, STOP, then the rest: the pairs, the learning rates and Adam's moments go on where they were."""
    job = train(data, settings, tmp_path)
    next(job)
    next(job)
    with pytest.raises(StopIteration) as end:
        job.send(STOP)
    assert end.value.value.steps_done == 2

    reports: list[Progress] = []
    resumed = finish(train(data, settings, tmp_path), reports.append)

    assert [report.done for report in reports] == [3, 4]
    assert same(state(tmp_path), state(whole_run[0]))
    for name in ("weights.safetensors", "progress.csv", "curves.png"):
        assert (tmp_path / name).read_bytes() == (whole_run[0] / name).read_bytes()
    assert resumed.validation_error_mm == whole_run[1].validation_error_mm


@pytest.mark.parametrize(
    "change",
    [
        {"supervision": "both", "rule": "agr"},
        {"model": "unet-stable", "supervision": "similarity", "rule": "gsmorph"},
        {"precision": "bf16", "rule": "weighted", "weight": 0.1},
    ],
    ids=["agr", "unet", "bf16"],
)
def test_a_run_stopped_between_two_rows_goes_on_with_the_same_bits(change, paired, quick, tmp_path: Path) -> None:
    """Whatever the loss, its random numbers included: two steps at once, or one by one; a row after the second."""
    asked = replace(quick, validate_every=2, **change)
    whole = finish(train(paired, asked, tmp_path / "whole"))
    job = train(paired, asked, tmp_path / "parts")
    next(job)
    with pytest.raises(StopIteration):
        job.send(STOP)

    resumed = finish(train(paired, asked, tmp_path / "parts"))

    assert same(state(tmp_path / "whole"), state(tmp_path / "parts"))
    assert resumed.history == whole.history


def test_a_finished_run_has_nothing_to_go_on_with(whole_run, data, settings) -> None:
    folder, report, _ = whole_run
    before = load_file(folder / "weights.safetensors")
    reports: list[Progress] = []

    again = finish(train(data, settings, folder), reports.append)

    assert reports == []
    assert again.history == report.history
    assert same(before, load_file(folder / "weights.safetensors"))


def test_files_that_a_kill_took_come_back_from_the_checkpoint(whole_run, data, settings) -> None:
    folder = whole_run[0]
    before = {name: (folder / name).read_bytes() for name in FILES - {"checkpoint.pt"}}
    for name in before:
        (folder / name).unlink()
    (folder / ".0123abcd-checkpoint.pt").touch()

    finish(train(data, settings, folder))

    assert {name: (folder / name).read_bytes() for name in before} == before
    assert {file.name for file in folder.iterdir()} == FILES


def test_the_network_of_the_paper_learns_too(paired, quick, tmp_path: Path) -> None:
    asked = replace(quick, validate_every=2, model="unet-paper", supervision="both", rule="pcgrad")

    report = finish(train(paired, asked, tmp_path))

    assert report.parameters == 4_808_346
    assert report.groups == 1
    assert all(math.isfinite(row.loss) and row.loss > 0 for row in report.history)


def test_the_weights_kept_are_those_of_the_best_validation(data, settings, tmp_path: Path) -> None:
    """The learning rate is far too high, and patience of one ends the run at the first row that is no better."""
    asked = replace(settings, steps=60, learning_rate=0.5, patience=1)

    report = finish(train(data, asked, tmp_path))

    errors = [row.error_mm for row in report.history]
    assert len(errors) < 60
    assert report.best_step == 1 + int(np.argmin(errors)) == len(errors) - 1
    assert not same(load_file(tmp_path / "weights.safetensors"), state(tmp_path))


def test_a_run_may_set_out_from_weights(whole_run, data, quick, tmp_path: Path) -> None:
    weights = whole_run[0] / "weights.safetensors"

    finish(train(data, replace(quick, learning_rate=1e-9), tmp_path, first_weights=weights))

    before, after = load_file(weights), load_file(tmp_path / "weights.safetensors")
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)
    with pytest.raises(InputError, match="other weights"):
        finish(train(data, replace(quick, learning_rate=1e-9), tmp_path))


def test_a_damaged_checkpoint_is_refused(data, quick, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 cut short")

    with pytest.raises(InputError):
        finish(train(data, quick, tmp_path))


def test_a_run_with_other_images_is_refused(whole_run, data, settings) -> None:
    with pytest.raises(InputError, match="other images"):
        finish(train(TrainingData([data.real[0] + 0.1]), settings, whole_run[0]))


def test_nothing_to_train_on_is_refused(quick, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one image"):
        finish(train(TrainingData([]), quick, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_a_loss_that_is_no_number_ends_the_run_and_leaves_its_last_checkpoint(data, quick, tmp_path: Path) -> None:
    asked = replace(quick, steps=1)
    finish(train(data, asked, tmp_path))
    before = (tmp_path / "checkpoint.pt").read_bytes()
    broken = TrainingData([np.full_like(data.real[0], np.nan)])

    with pytest.raises(InputError, match="step 1"):
        finish(train(broken, asked, tmp_path / "broken"))

    assert not (tmp_path / "broken" / "checkpoint.pt").exists()
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


def test_no_validation_pairs_is_no_validation(data, quick) -> None:
    assert validate(torch.nn.Identity(), data, quick) == (None, None)


def test_the_validation_error_is_in_mm(data, settings) -> None:
    """A network that finds no motion errs by the motion itself; voxels of 2.7 mm."""

    class Still(torch.nn.Module):
        def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
            return torch.zeros(fixed.shape[0], 3, *fixed.shape[2:])

    error_mm, still_mm = validate(Still(), data, replace(settings, validation_pairs=3))

    assert error_mm == still_mm
    assert error_mm is not None
    assert 0.27 < error_mm < 60


def test_the_learning_rate_warms_up_and_falls_to_a_hundredth() -> None:
    settings = TrainingSettings(steps=1000, learning_rate=2e-3)

    assert learning_rate(settings, 1) == pytest.approx(2e-3 / 50, rel=1e-4)
    assert learning_rate(settings, 500) == pytest.approx(1e-3)
    assert learning_rate(settings, 1000) == pytest.approx(2e-5)
