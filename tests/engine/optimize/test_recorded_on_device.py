"""What a GPU records, on torch's device without data: no number comes from the host, none goes there."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from engine.geometry import Geometry
from engine.losses.guidance import point_distance, rigidity
from engine.losses.similarity import SIMILARITY
from engine.models import MODELS
from engine.models.pyramid import MatchingPyramid
from engine.optimize import parametrize
from engine.optimize.captured import CudaGraphs
from engine.optimize.descent import Problem, _Look, _RecordedSteps
from engine.optimize.pair_grid import PairGrid
from engine.optimize.parametrize import ControlGrid, NetworkChange, Parametrization
from engine.optimize.surgery import BudgetSurgery
from engine.spatial.warp import sample
from tests.engine.optimize.host import host_traffic

META, SIZE = torch.device("meta"), (32, 32, 32)


class _OnTheHost(TorchDispatchMode):
    """The operators that read or make a tensor of the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        tensors = torch.utils._pytree.tree_leaves((args, kwargs, result))
        if any(isinstance(tensor, Tensor) and tensor.device.type == "cpu" for tensor in tensors):
            self.seen.append(str(func))
        return result


def _problem(similarity: str) -> Problem:
    ones = torch.ones(1, 1, *SIZE, device=META)
    field, spacing_mm = torch.zeros(1, 3, *SIZE, device=META), torch.ones(1, 3, 1, 1, 1, device=META)
    points = torch.ones(1, 3, 4, 1, 1, device=META)
    return Problem(
        "iso",
        PairGrid(Geometry(SIZE, (3.0, 3.0, 3.0)), ones, ones, ones, ones, np.eye(4)),
        lambda residual: residual + sample(field, residual),
        ones,
        ones,
        similarity,
        None,
        lambda mse, watched: (None, None),
        watched=ones,
        unfaded=lambda residual: residual,
        guiding=lambda total: point_distance(total, points, points, spacing_mm) + rigidity(total, ones, spacing_mm),
    )


def _what(model: str) -> Parametrization:
    if model == "field":
        return ControlGrid(SIZE, 3, META)
    return NetworkChange(MODELS[model].build().to(META).eval(), *torch.ones(2, 1, 1, *SIZE, device=META))


def _guess(network: nn.Module, moving: Tensor, fixed: Tensor) -> tuple[Tensor, ...]:
    """No search: what it finds depends on data."""
    is_guided = isinstance(network, MatchingPyramid) and network.guided
    return (torch.zeros(1, 3, *SIZE, device=META),) if is_guided else ()


@pytest.mark.parametrize(
    ("model", "similarity"),
    [*(("general", name) for name in SIMILARITY), ("unet-stable", "lncc"), ("gsmorph-cine", "lncc"), ("field", "mse")],
)
def test_a_recorded_step_stays_on_its_device(model: str, similarity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parts, with surgery, guidance and a window."""
    monkeypatch.setattr(torch, "autocast", lambda *args, **kwargs: nullcontext())  # knows no such device
    monkeypatch.setattr(parametrize, "first_guess", _guess)
    problem = replace(_problem(similarity), relative=model == "field")
    look, what = _Look(problem), _what(model)
    look._seen, look._surgery = torch.ones_like(problem.region), BudgetSurgery(0.1)
    look._dissimilarity = look._prepared()
    steps = _RecordedSteps(look, what, False, CudaGraphs)
    steps._gradients = [torch.zeros_like(parameter) for parameter in what.parameters()]
    steps._moved(), steps._judged()  # as a recording is warmed up
    with _OnTheHost() as host, host_traffic() as traffic:
        steps._moved()
        *_, figures = steps._judged()

    assert (host.seen, traffic) == ([], [])
    assert figures.device == META


def test_a_tensor_of_the_host_is_seen() -> None:
    with _OnTheHost() as host:
        torch.ones(3, device=META) + torch.ones(())

    assert host.seen == ["aten.ones.default", "aten.add.Tensor"]
