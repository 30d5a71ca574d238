"""The state of a training run, and its files: a checkpoint to go on from, the best weights, the curves."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, field
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor, nn

from engine.errors import InputError
from engine.io.atomic import whole_file
from engine.training.curves import Row, write_curves, write_rows
from engine.training.settings import TrainingSettings

CHECKPOINT = "checkpoint.pt"
WEIGHTS = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class Origin:
    """What a run was started with. `data`, `weights`: fingerprints, the latter of the weights that it set out from."""

    settings: TrainingSettings
    data: str
    weights: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"settings": self.settings.as_dict(), "data": self.data, "weights": self.weights}

    def refuse_other(self, started_with: dict[str, Any]) -> None:
        """Raise InputError where the run in a checkpoint was started otherwise."""
        self.settings.refuse_other(started_with["settings"])
        for name, what in (("data", "other images"), ("weights", "other weights, or none,")):
            if started_with[name] != getattr(self, name):
                raise InputError(
                    f"The run in this folder was started with {what} than it is given now; "
                    "give what it was started with, or train into a new folder."
                )


@dataclass(slots=True, eq=False)
class Run:
    """Weights and moments after `step` steps, and what is known of the way there.

    `pending`: loss, roughness and conflict share of the steps since the last row. `best`: the weights of the best row.
    """

    network: nn.Module
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    pending: list[tuple[float, float, float]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    best: dict[str, Tensor] | None = None

    @property
    def best_row(self) -> Row | None:
        """The row of the least validation error; the last one where nothing was validated."""
        validated = [row for row in self.rows if row.error_mm is not None]
        return min(validated, key=lambda row: row.error_mm or 0.0) if validated else next(reversed(self.rows), None)

    def close_row(self, error_mm: float | None) -> None:
        """Put the pending steps into a row, and keep the weights if they are the best so far."""
        loss, roughness, conflict_share = (sum(values) / len(values) for values in zip(*self.pending, strict=True))
        row = Row(self.step, loss, roughness, conflict_share, error_mm)
        self.pending.clear()
        self.rows.append(row)
        if self.best_row is row:
            self.best = {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}

    def out_of_patience(self, patience: int) -> bool:
        """Whether the last `patience` rows were no better than one before them; never for a patience of 0."""
        if self.best_row is None or patience == 0:
            return False
        return len(self.rows) - 1 - self.rows.index(self.best_row) >= patience

    def weights(self) -> dict[str, Tensor]:
        """The best weights, or the present ones before the first row."""
        found = self.network.state_dict() if self.best is None else self.best
        return {name: tensor.detach().cpu().contiguous() for name, tensor in found.items()}


def fingerprint(network: nn.Module) -> str:
    """A hash of all weights."""
    found = hashlib.blake2b(digest_size=16)
    for tensor in network.state_dict().values():
        found.update(tensor.detach().cpu().contiguous().numpy().data)
    return found.hexdigest()


def write_run(run: Run, origin: Origin, folder: Path) -> None:
    """Write the checkpoint, then what follows from it. Each file is on the disk whole before it has its name."""
    state = {
        **origin.as_dict(),
        "network": run.network.state_dict(),
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "seconds": run.seconds,
        "pending": run.pending,
        "rows": [astuple(row) for row in run.rows],
        "best": run.best,
    }
    with _durable_file(folder / CHECKPOINT) as temporary:
        torch.save(state, temporary)
    write_results(run, folder)


def write_results(run: Run, folder: Path) -> None:
    """Write the weights, the rows and the curves."""
    with _durable_file(folder / WEIGHTS) as temporary:
        temporary.write_bytes(save(run.weights()))
    write_rows(run.rows, folder / "progress.csv")
    write_curves(run.rows, folder / "curves.png")


def restore(run: Run, origin: Origin, folder: Path) -> None:
    """Bring a fresh run to where the checkpoint in its folder is, if there is one.

    Raises:
        InputError: the checkpoint cannot be read, or is of a run with other settings, data or first weights.
    """
    path = folder / CHECKPOINT
    if not path.exists():
        return
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        origin.refuse_other(state)
        run.network.load_state_dict(state["network"])
        run.optimizer.load_state_dict(state["optimizer"])
        run.step, run.seconds, run.best = state["step"], state["seconds"], state["best"]
        run.pending = [(loss, roughness, conflict) for loss, roughness, conflict in state["pending"]]
        run.rows = [Row(*values) for values in state["rows"]]
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, TypeError, UnpicklingError) as error:
        raise InputError(
            "The checkpoint is damaged, or of another version; train into a new folder, --from the weights of this one."
        ) from error


def remove_leftovers(folder: Path) -> None:
    """Take away what a run that was killed while it wrote has left."""
    for name in (CHECKPOINT, WEIGHTS, "progress.csv", "curves.png"):
        for leftover in folder.glob(f".????????-{name}"):
            leftover.unlink(missing_ok=True)


@contextmanager
def _durable_file(path: Path) -> Iterator[Path]:
    """`whole_file`, with the bytes on the disk before the name changes: a power cut leaves the old file or the new."""
    with whole_file(path) as temporary:
        yield temporary
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
