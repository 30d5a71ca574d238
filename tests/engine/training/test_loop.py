from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.errors import InputError
from engine.models.pyramid import MatchingPyramid
from engine.progress import STOP, Progress, finish
from engine.training.loop import TrainingReport, TrainingSettings, report_as_dict, train, training_loss
from engine.training.pairs import TrainingPair

SETTINGS = TrainingSettings(
    steps=4, batch=1, crop_zyx=(32, 32, 32), seed=2, checkpoint_every=1, validation_pairs=1, workers=0
)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng():
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def anatomies() -> list[np.ndarray]:
    z, y, x = np.meshgrid(*(np.linspace(0, 9, n) for n in (56, 60, 52)), indexing="ij")
    return [(0.5 + 0.4 * np.sin(x + y) * np.cos(z - 0.5 * y)).astype(np.float32)]


@pytest.fixture(scope="module")
def whole_run(tmp_path_factory, anatomies) -> tuple[Path, TrainingReport, list[Progress]]:
    folder = tmp_path_factory.mktemp("whole")
    reports: list[Progress] = []
    return folder, finish(train(anatomies, SETTINGS, folder), reports.append), reports


def test_a_run_reports_every_step_and_writes_what_it_promises(whole_run) -> None:
    folder, report, reports = whole_run

    assert [(r.stage, r.done, r.total) for r in reports] == [("train", n, 4) for n in (1, 2, 3, 4)]
    assert {file.name for file in folder.iterdir()} == {"weights.safetensors", "checkpoint.pt", "progress.csv"}
    assert (report.steps_done, report.anatomies, report.settings) == (4, 1, SETTINGS)
    assert report.validation_zero_field_vox > 0
    assert np.isfinite(report.validation_error_vox)
    assert [step for step, _ in report.history] == [1, 2, 3, 4]
    with (folder / "progress.csv").open(newline="") as stream:
        assert [int(row[0]) for row in csv.reader(stream)] == [1, 2, 3, 4]
    assert report_as_dict(report)["steps_done"] == 4


def test_a_run_that_was_stopped_and_resumed_ends_with_the_same_bits(whole_run, anatomies, tmp_path: Path) -> None:
    """Two steps, STOP, then the rest: the pairs, the learning rates and Adam's moments go on where they were."""
    job = train(anatomies, SETTINGS, tmp_path)
    next(job)
    next(job)
    with pytest.raises(StopIteration) as end:
        job.send(STOP)
    assert end.value.value.steps_done == 2

    reports: list[Progress] = []
    resumed = finish(train(anatomies, SETTINGS, tmp_path), reports.append)

    whole, again = (load_file(folder / "weights.safetensors") for folder in (whole_run[0], tmp_path))
    assert [report.done for report in reports] == [3, 4]
    assert whole.keys() == again.keys()
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    assert resumed.validation_error_vox == whole_run[1].validation_error_vox
    assert (tmp_path / "progress.csv").read_text() == (whole_run[0] / "progress.csv").read_text()


def test_a_finished_run_has_nothing_to_go_on_with(whole_run, anatomies) -> None:
    folder, report, _ = whole_run
    before = load_file(folder / "weights.safetensors")
    reports: list[Progress] = []

    again = finish(train(anatomies, SETTINGS, folder), reports.append)

    after = load_file(folder / "weights.safetensors")
    assert reports == []
    assert again.validation_error_vox == report.validation_error_vox
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_damaged_checkpoint_is_refused(anatomies, tmp_path: Path) -> None:
    (tmp_path / "checkpoint.pt").write_bytes(b"PK\x03\x04 cut short")

    with pytest.raises(InputError):
        finish(train(anatomies, replace(SETTINGS, steps=1), tmp_path))


def test_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least one image"):
        finish(train([], SETTINGS, tmp_path))


class _Found(MatchingPyramid):
    """Says what it is told to have found, at every level."""

    def __init__(self, displacement_vox: torch.Tensor) -> None:
        super().__init__()
        self.found = displacement_vox

    def levels(self, moving: torch.Tensor, fixed: torch.Tensor) -> list[torch.Tensor]:
        levels = [self.found]
        for _ in range(4):
            levels.append(0.5 * torch.nn.functional.avg_pool3d(levels[-1], 2))
        return levels[:0:-1]


def _still_pair(displacement_vox: torch.Tensor) -> TrainingPair:
    ones = torch.ones(1, 1, *displacement_vox.shape[2:])
    return TrainingPair(ones, ones, displacement_vox, ones)


def test_the_loss_is_least_for_the_true_displacement() -> None:
    """Distance 0 at every level leaves the rounding of the root, √0.001 in voxels of the level: 2, 4, 8, 16 of the
    finest ones, weighted 1, 0.6, 0.4, 0.3.
    """
    truth = torch.zeros(1, 3, 32, 32, 32)
    truth[:, 2] = 4.0

    loss = training_loss(_Found(truth), _still_pair(truth))

    assert loss.item() == pytest.approx(0.001**0.5 * (2 + 0.6 * 4 + 0.4 * 8 + 0.3 * 16), rel=1e-5)


def test_the_loss_counts_in_voxels_of_the_finest_grid() -> None:
    """Off by (0, 3, 4) everywhere: 5 voxels at every level, weighted 1 + 0.6 + 0.4 + 0.3, and a little rounding."""
    truth = torch.zeros(1, 3, 32, 32, 32)
    off = truth.clone()
    off[:, 1], off[:, 2] = 3.0, 4.0

    assert training_loss(_Found(off), _still_pair(truth)).item() == pytest.approx(2.3 * 5, rel=0.01)
