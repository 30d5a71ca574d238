from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.geometry import Geometry
from engine.losses.regularity import grad_l2
from engine.optimize import descent
from engine.optimize.captured import Part
from engine.optimize.descent import Outcome, Problem, descend
from engine.optimize.pair_grid import PairGrid
from engine.optimize.parametrize import ControlGrid
from engine.progress import STOP, Progress, finish
from tests.engine.optimize.host import host_traffic

SHAPE = (14, 13, 16)
CENTER = (6.0, 6.5, 8.0)
MOTION = (0.0, 0.0, 2.0)


def _blob(center: tuple[float, ...]) -> Tensor:
    axes = torch.meshgrid(*(torch.arange(n, dtype=torch.float32) for n in SHAPE), indexing="ij")
    squared = sum((axis - c) ** 2 for axis, c in zip(axes, center, strict=True))
    return torch.exp(-torch.as_tensor(squared) / 18).reshape(1, 1, *SHAPE)


def _problem(similarity: str = "mse", smoothness: float | None = 0.01) -> Problem:
    """A blob that lies 2 voxels further along x in the moving image."""
    ones = torch.ones(1, 1, *SHAPE)
    moving = _blob(tuple(c + m for c, m in zip(CENTER, MOTION, strict=True)))
    grid = PairGrid(Geometry(SHAPE, (1.0, 1.0, 1.0)), _blob(CENTER), ones, moving, ones, np.eye(4))
    return Problem(
        "iso",
        grid,
        lambda residual: residual,
        ones,
        ones,
        similarity,
        smoothness,
        lambda mse, watched: (2000 * mse**0.5, None),
    )


def _control() -> ControlGrid:
    return ControlGrid(SHAPE, 2, torch.device("cpu"))


def _run(problem: Problem, iterations: int) -> tuple[Outcome, list[Progress]]:
    reports: list[Progress] = []
    return finish(descend(problem, _control(), iterations), reports.append), reports


@pytest.mark.parametrize("smoothness", [0.01, None])
@pytest.mark.parametrize("similarity", ["mse", "lncc", "mind", "robust-mind"])
def test_the_motion_is_found(similarity: str, smoothness: float | None) -> None:
    """At the blob's center, 2 voxels along x, to half a voxel; the field does not fold or grow rough."""
    outcome, reports = _run(_problem(similarity, smoothness), 60)

    start_mse = _mse(torch.zeros(1, 3, *SHAPE))
    assert outcome.residual[0, :, 6, 6, 8].tolist() == pytest.approx(MOTION, abs=0.5)
    assert outcome.mse < 0.3 * start_mse
    assert outcome.mse == pytest.approx(_mse(outcome.residual), rel=0.3), "the mask is looked at every tenth iteration"
    assert reports[-1].rmse_hu < 2000 * start_mse**0.5


def _mse(residual: Tensor) -> float:
    problem = _problem()
    seen = problem.grid.mask(residual)
    return float(((problem.grid.warped(residual) - problem.grid.fixed) ** 2 * seen).sum() / seen.sum())


def test_without_a_weight_what_is_kept_is_within_the_budget() -> None:
    """From a zero field: 0.003 voxel² and a tenth more."""
    outcome, _ = _run(_problem("lncc", None), 40)

    assert 0 < grad_l2(outcome.residual).item() <= 0.003 * 1.1


def test_the_start_is_kept_where_nothing_is_better() -> None:
    """With an enormous weight every motion costs more than it gains."""
    outcome, reports = _run(_problem(smoothness=1e6), 5)

    assert not outcome.residual.any()
    assert (outcome.iterations, len(reports)) == (5, 5)
    assert not any(progress.best for progress in reports)
    assert not outcome.stopped


def test_no_iteration_at_all_is_the_start() -> None:
    outcome, reports = _run(_problem(), 0)

    assert not outcome.residual.any()
    assert reports == []


def test_the_best_state_does_not_depend_on_what_comes_after_it() -> None:
    """The parameters of the best state are a copy, and make its residual again."""
    control = _control()
    outcome = finish(descend(_problem(), control, 25))

    with torch.no_grad():
        control.parameters()[0].copy_(outcome.parameters[0])

    assert torch.equal(control.residual(), outcome.residual)


def test_reports_say_which_state_is_the_best_so_far() -> None:
    """The last report that says so is of the state that is returned; fewer iterations than until the next mask."""
    outcome, reports = _run(_problem(), 9)
    errors_hu = [progress.rmse_hu for progress in reports if progress.best]

    assert len(errors_hu) > 1
    assert errors_hu[-1] == pytest.approx(2000 * outcome.mse**0.5)


def test_stop_returns_the_best_so_far() -> None:
    job = descend(_problem(), _control(), 100, before=20, of=120)
    reports = [next(job) for _ in range(4)]

    with pytest.raises(StopIteration) as end:
        job.send(STOP)

    outcome: Outcome = end.value.value
    assert [(report.done, report.total) for report in reports] == [(21, 120), (22, 120), (23, 120), (24, 120)]
    assert (outcome.iterations, outcome.stopped) == (24, True)
    assert 2000 * outcome.mse**0.5 == pytest.approx(min(report.rmse_hu for report in reports), rel=1e-6)


def test_a_search_that_settles_ends_where_a_shorter_one_ends() -> None:
    """Ten times the iterations: the same steps until it settles, then next to none; a level takes its share of them."""
    problem = replace(_problem("lncc", 0.01), settles_after=40)
    short, reports = _run(problem, 40)
    long, more = _run(problem, 200)
    level = finish(descend(problem, _control(), 100, before=100, of=200))
    unsettled, _ = _run(replace(problem, settles_after=None), 200)

    assert [report.rmse_hu for report in more[:40]] == [report.rmse_hu for report in reports]
    assert more[-1].done == 200
    assert _apart(long, short) < 0.2 < 1.0 < _apart(unsettled, short)
    assert _apart(long, level) > 0.2, "half of the iterations of the stage settle after half as many"


def _apart(one: Outcome, other: Outcome) -> float:
    """The longest way from one displacement to the other, voxels."""
    return float((one.residual - other.residual).norm(dim=1).max())


def test_only_the_region_is_measured_and_only_weighted_voxels_are_fitted() -> None:
    """A second blob, moved the other way, lies where the weight is zero: it has no say."""
    problem = _problem()
    left = torch.zeros(1, 1, *SHAPE)
    left[..., :12] = 1.0
    spoiled = problem.grid.moving.clone()
    spoiled[..., 15:] = 7.0
    grid = replace(problem.grid, moving=spoiled)

    outcome, reports = _run(replace(problem, grid=grid, region=left, weight=left), 20)

    assert outcome.residual[0, 2, 6, 6, 8].item() == pytest.approx(2.0, abs=0.5)
    assert reports[-1].rmse_hu < reports[0].rmse_hu < 2000, "what the spoiled half shows is not measured"


def test_roughness_is_looked_at_on_every_nth_voxel_in_units_of_n() -> None:
    """A slope is the same at every stride, so the weight of the roughness means the same."""
    slope = 0.2 * torch.arange(16.0).expand(*SHAPE)
    sloped = torch.stack([torch.zeros(SHAPE), torch.zeros(SHAPE), slope]).unsqueeze(0)
    outcomes = [
        finish(descend(replace(_problem(), total=lambda r: r + sloped, coarse_step=n, smoothness=1e3), _control(), 0))
        for n in (1, 2, 3)
    ]

    scores = [outcome.score for outcome in outcomes]
    assert scores[0] == pytest.approx(1e3 * 0.04 / 9, rel=0.01)
    assert scores[1:] == pytest.approx(scores[:1] * 2, rel=1e-4)


class _Repeated:
    """Records on the CPU: a replay runs the part again and writes its outputs where they were returned first."""

    def __init__(self, spoilt: float = 0.0) -> None:
        self.replays, self._spoilt = 0, spoilt

    def warm_up(self, run: Callable[[], None]) -> None:
        run()

    def record(self, part: Part) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        outputs = part()

        def replay() -> None:
            self.replays += 1
            for output, now in zip(outputs, part(), strict=True):
                output.copy_(now + self._spoilt)

        return outputs, replay


def _recording(monkeypatch: pytest.MonkeyPatch, graphs: Callable[[], object]) -> None:
    monkeypatch.setattr(
        descent, "_steps", lambda look, what, iterations: descent._RecordedSteps(look, what, iterations > 10, graphs)
    )


@pytest.mark.parametrize(("similarity", "smoothness"), [("lncc", None), ("mse", 0.01), ("mind", None)])
def test_recorded_steps_lead_where_the_others_lead(
    similarity: str, smoothness: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the bit, over two looks at the mask; the best state is not overwritten by what follows it."""
    problem = replace(_problem(similarity, smoothness), relative=True)
    expected, reports = _run(problem, 25)
    graphs = _Repeated()
    _recording(monkeypatch, lambda: graphs)
    outcome, again = _run(problem, 25)

    assert graphs.replays == 2 * (25 + 1), "two parts an iteration, and once more for the check"
    assert [(r.rmse_hu, r.best) for r in again] == [(r.rmse_hu, r.best) for r in reports]
    assert torch.equal(outcome.residual, expected.residual)
    assert torch.equal(outcome.parameters[0], expected.parameters[0])
    assert (outcome.score, outcome.mse, outcome.notes) == (expected.score, expected.mse, ())


def _refused() -> _Repeated:
    raise RuntimeError("CUDA error: operation not permitted when stream is capturing")


@pytest.mark.parametrize("graphs", [_refused, lambda: _Repeated(spoilt=0.1), lambda: _Repeated(spoilt=float("nan"))])
def test_steps_that_cannot_be_recorded_or_are_recorded_wrong_are_launched_one_by_one(
    graphs: Callable[[], _Repeated], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, _ = _run(_problem("lncc", None), 25)
    _recording(monkeypatch, graphs)
    outcome, _ = _run(_problem("lncc", None), 25)

    assert torch.equal(outcome.residual, expected.residual)
    assert outcome.notes == ("the GPU's steps were launched one by one, since their recording failed",)


def test_no_graph_of_autograd_is_left_where_a_recording_begins() -> None:
    """Its leaves belong to the stream that it was made on, which no other stream may wait for while it is recorded."""
    control = _control()

    def leaf_notes() -> dict[str, bool]:
        return torch.autograd.graph.get_gradient_edge(control.parameters()[0]).node.metadata

    def total(residual: Tensor) -> Tensor:
        leaf_notes()["first"] = True
        return residual

    look = descent._Look(replace(_problem("lncc", None), total=total))
    state = descent._RecordedSteps(look, control, True, _refused).judge(control.residual())

    assert leaf_notes() == {}, "a new leaf, since the first is gone"
    assert not state.residual.requires_grad


def test_few_steps_are_not_worth_a_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    expected, _ = _run(_problem(), 10)
    _recording(monkeypatch, _refused)
    outcome, _ = _run(_problem(), 10)

    assert torch.equal(outcome.residual, expected.residual)
    assert outcome.notes == ()


@pytest.mark.parametrize(("similarity", "smoothness"), [("lncc", None), ("mse", 0.01), ("mind", None)])
def test_what_is_recorded_fetches_nothing(
    similarity: str, smoothness: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stream that is recorded cannot be waited for."""
    seen: list[list[str]] = []

    class Watching(_Repeated):
        def record(self, part: Part) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
            def watched() -> tuple[Tensor, ...]:
                with host_traffic() as traffic:
                    outputs = part()
                seen.append(traffic)
                return outputs

            return super().record(watched)

    _recording(monkeypatch, Watching)
    _run(replace(_problem(similarity, smoothness), relative=True), 11)

    assert len(seen) == 2 * (1 + 1 + 11)
    assert not any(seen)
