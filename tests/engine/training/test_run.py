from __future__ import annotations

import copy
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from engine.errors import InputError
from engine.training import run as run_module
from engine.training.run import Origin, Run, remove_leftovers, restore, write_results, write_run
from engine.training.settings import TrainingSettings

ORIGIN = Origin(TrainingSettings(), "data")


def fresh() -> Run:
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    return Run(network, torch.optim.Adam(network.parameters(), lr=0.1))


def stepped(run: Run, error_mm: float | None = None) -> Run:
    """One step further, and a row."""
    run.optimizer.zero_grad()
    (run.network(torch.arange(3.0)) - run.step).square().sum().backward()
    run.optimizer.step()
    run.step += 1
    run.pending.append((float(run.step), 0.5, 0.25))
    run.close_row(error_mm)
    return run


def weights(run: Run) -> list[float]:
    return torch.cat([parameter.detach().reshape(-1) for parameter in run.network.parameters()]).tolist()


def test_a_restored_run_goes_on_as_if_nothing_had_happened(tmp_path: Path) -> None:
    run = stepped(stepped(fresh(), 3.0), 4.0)
    run.pending.append((7.0, 1.0, 0.0))
    run.seconds = 12.5
    write_run(run, ORIGIN, tmp_path)
    again = fresh()
    restore(again, ORIGIN, tmp_path)

    assert (again.step, again.seconds, again.pending, again.rows) == (2, 12.5, [(7.0, 1.0, 0.0)], run.rows)
    assert weights(stepped(again)) == weights(stepped(run))


def test_the_best_weights_are_those_of_the_least_validation_error(tmp_path: Path) -> None:
    run = fresh()
    seen = [weights(stepped(run, error_mm)) for error_mm in (3.0, 1.0, 2.0)]

    write_run(run, ORIGIN, tmp_path)

    kept = load_file(tmp_path / "weights.safetensors")
    assert torch.cat([kept["weight"].reshape(-1), kept["bias"]]).tolist() == seen[1]
    assert run.best_row is run.rows[1]
    assert weights(run) == seen[2]


def test_without_validation_the_last_weights_are_the_best() -> None:
    run = stepped(stepped(fresh()))

    assert run.best_row is run.rows[-1]
    assert run.weights()["weight"].equal(run.network.state_dict()["weight"])
    assert not run.out_of_patience(1)


def test_patience_ends_with_that_many_rows_that_are_no_better() -> None:
    run = fresh()
    ended = []
    for error_mm in (3.0, 2.0, 2.5, 2.0):
        stepped(run, error_mm)
        ended.append((run.out_of_patience(1), run.out_of_patience(2), run.out_of_patience(0)))

    assert ended == [(False, False, False), (False, False, False), (True, False, False), (True, True, False)]


@pytest.mark.parametrize("killed_at", range(4))
def test_a_run_killed_between_any_two_writes_goes_on(
    killed_at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The checkpoint is the first file to change, and the others follow from it."""
    run = stepped(fresh(), 3.0)
    write_run(run, ORIGIN, tmp_path)
    old = copy.deepcopy(weights(run))
    stepped(run, 1.0)
    written: list[object] = []

    def replace_until_killed(source: object, target: object) -> None:
        if len(written) == killed_at:
            raise KeyboardInterrupt
        written.append(target)
        os.rename(str(source), str(target))

    true_replace = os.replace
    monkeypatch.setattr("engine.io.atomic.os.replace", replace_until_killed)
    with pytest.raises(KeyboardInterrupt):
        write_run(run, ORIGIN, tmp_path)
    monkeypatch.setattr("engine.io.atomic.os.replace", true_replace)
    again = fresh()
    restore(again, ORIGIN, tmp_path)
    write_results(again, tmp_path)

    assert weights(again) == (old if killed_at == 0 else weights(run))
    assert load_file(tmp_path / "weights.safetensors")["bias"].equal(again.weights()["bias"])
    assert len((tmp_path / "progress.csv").read_text().splitlines()) == 1 + len(again.rows)


def test_what_a_killed_run_left_is_taken_away_and_nothing_else(tmp_path: Path) -> None:
    leftovers = [".0123abcd-checkpoint.pt", ".89abcdef-weights.safetensors"]
    others = ["checkpoint.pt", "notes-checkpoint.pt", ".0123abcd-thesis.txt"]
    for name in leftovers + others:
        (tmp_path / name).touch()

    remove_leftovers(tmp_path)

    assert {path.name for path in tmp_path.iterdir()} == set(others)


def test_files_are_on_the_disk_before_they_have_their_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    true_replace, true_sync = os.replace, os.fsync
    monkeypatch.setattr("engine.io.atomic.os.replace", lambda a, b: (events.append(Path(b).name), true_replace(a, b)))
    monkeypatch.setattr(run_module.os, "fsync", lambda number: (events.append("sync"), true_sync(number)))

    write_run(stepped(fresh()), ORIGIN, tmp_path)

    assert events == ["sync", "checkpoint.pt", "sync", "weights.safetensors", "progress.csv", "curves.png"]


@pytest.mark.parametrize(
    "content", [b"", b"PK\x03\x04 cut short", {"network": {}, "step": 3}, [1, 2]], ids=["empty", "cut", "old", "list"]
)
def test_what_is_no_checkpoint_is_refused(content: object, tmp_path: Path) -> None:
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)

    with pytest.raises(InputError, match="new folder"):
        restore(fresh(), ORIGIN, tmp_path)


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (Origin(TrainingSettings(seed=3), "data"), "seed 0, now it is 3"),
        (Origin(TrainingSettings(), "others"), "other images"),
        (Origin(TrainingSettings(), "data", "weights"), "other weights"),
    ],
)
def test_a_run_started_otherwise_is_refused(other: Origin, told: str, tmp_path: Path) -> None:
    write_run(stepped(fresh()), ORIGIN, tmp_path)

    with pytest.raises(InputError, match=told):
        restore(fresh(), other, tmp_path)
