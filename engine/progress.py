"""Long computations are generators of `Progress`; what they return is the result.

A job ends early in two ways: `job.close()` cancels it and keeps nothing; `job.send(STOP)` asks it to
return the best result it has so far, soon: a few more reports may follow, and STOP may be sent again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from engine.roi import Box
from engine.shapes import DisplacementArray, HuArray

if TYPE_CHECKING:
    from engine.geometry import Geometry


class Command(Enum):
    """What the one who runs a job may send into it."""

    STOP = "stop"


STOP = Command.STOP


@dataclass(frozen=True, slots=True, eq=False)
class Preview:
    """The warped image as it stands, inside `region` of the fixed grid, and the displacement that makes it.

    `displacement_vox` (3, z, y, x): u on `grid`, in its voxels; that grid is parallel to the fixed one and holds the
    region. `iteration`: the one whose state it shows, a few before the report that carries it where it came from a GPU.
    All arrays are copies of their own.
    """

    region: Box
    warped_hu: HuArray
    displacement_vox: DisplacementArray
    grid: Geometry
    iteration: int


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """One report of a running job. `done` of `total` iterations; errors are RMSE in HU over valid voxels.

    `best`: whether this is the best state so far, which STOP would keep.
    """

    stage: str
    done: int
    total: int
    rmse_hu: float | None = None
    box_rmse_hu: float | None = None
    preview: Preview | None = None
    note: str = ""
    best: bool = False


T = TypeVar("T")

Job: TypeAlias = Generator[Progress, Command | None, T]
"""A generator of `Progress` that accepts `STOP` and returns its result."""


def finish(job: Job[T], on_progress: Callable[[Progress], object] | None = None) -> T:
    """Run a job to its end and return its result."""
    while True:
        try:
            progress = next(job)
        except StopIteration as end:
            result: T = end.value
            return result
        if on_progress is not None:
            on_progress(progress)


def to_its_end(job: Job[T]) -> Job[T]:
    """The same job, deaf to STOP: for what still has to follow it."""
    with closing(job):
        while True:
            try:
                progress = next(job)
            except StopIteration as end:
                result: T = end.value
                return result
            yield progress


class PreviewClock:
    """Says when the next preview is due: at most `per_second` of them, and none while nobody looks."""

    def __init__(self, per_second: float = 2.0) -> None:
        self._period_s = 1.0 / per_second
        self._last_s = time.monotonic()

    def due(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._last_s < self._period_s:
            return False
        self._last_s = now_s
        return True
