"""A small asymmetric case, and a disk that takes little."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace

import numpy as np
import pytest

from engine.case import Case
from engine.geometry import Geometry
from engine.registration import Certificate, Registration, Step
from engine.roi import Box
from engine.volume import Volume


@pytest.fixture
def steps() -> tuple[Step, Step]:
    """A plain step, and one with everything that a step may record."""
    certificate = Certificate(0.0, 0, 0.03125, box_error_grew=False, passed=True, scaled_by_fold_guard=0.5)
    box = Box(1, 4, 2, 9, 3, 7)
    return (
        Step("align", {"method": "rigid"}, 40, 1.25, 260.5, 0.0, 1.0, 0.0),
        Step(
            "rso 1",
            {"box": str(box), "by": "field"},
            100,
            2.5,
            75.25,
            0.125,
            0.375,
            0.0625,
            box,
            90.5,
            60.25,
            certificate,
            ("a note",),
        ),
    )


@pytest.fixture
def case(oblique: Geometry, make_registration: Callable[[Geometry], Registration], steps: tuple[Step, Step]) -> Case:
    """Identity, a rigid step, a deformable step: fixed of whole HU, moving with fractions, on other grids."""
    rng = np.random.default_rng(5)
    hu = rng.integers(-1000, 1500, oblique.shape_zyx).astype(np.float32)
    hu[:, :2, :3] = -2048
    fixed = Volume(hu, oblique, hu > -1200, "CBCT", "fixed image")
    other = Geometry((19, 21, 31), (1.5, 1.7, 2.3), (-40.0, 50.0, -412.0))
    moving_hu = rng.normal(0, 300, other.shape_zyx).astype(np.float32)
    moving = Volume(moving_hu, other, np.ones(other.shape_zyx, dtype=bool))
    deformed = make_registration(oblique)
    new = Case.new(fixed, moving)
    rigid = new.after(new.current.after(steps[0], rigid=deformed.rigid))
    return rigid.after(rigid.current.after(steps[1], displacement_vox=deformed.displacement_vox, model="general"))


@pytest.fixture
def small_disk() -> Callable[[int], AbstractContextManager[None]]:
    """Files may not grow beyond so many bytes, as on a disk that is full."""
    if sys.platform == "win32":
        pytest.skip("needs resource limits, which Windows does not have")
    import resource

    @contextmanager
    def limited(byte_count: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited


@pytest.fixture
def larger_case(case: Case) -> Case:
    """A case whose arrays pass 300 kB."""
    geometry = Geometry((40, 50, 60), (1.0, 1.0, 1.0))
    hu = np.zeros(geometry.shape_zyx, dtype=np.float32)
    volume = Volume(hu, geometry, np.ones(hu.shape, dtype=bool))
    new = Case.new(volume, volume)
    ones = np.ones((3, *hu.shape), dtype=np.float32)
    return new.after(replace(new.current, displacement_vox=ones, steps=case.current.steps))
