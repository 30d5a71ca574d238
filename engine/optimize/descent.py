"""The loop that every refinement shares: propose a displacement, compare, step, remember the best."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.losses.regularity import fold_penalty, grad_l2
from engine.losses.similarity import SIMILARITY, Dissimilarity, unlike
from engine.optimize.adam import Adam
from engine.optimize.pair_grid import PairGrid
from engine.optimize.parametrize import Parametrization
from engine.optimize.surgery import BudgetSurgery
from engine.progress import STOP, Job, Preview, PreviewClock, Progress

_FOLD_WEIGHT = 5.0
_WARM_UP = 10
_MASK_EVERY = 10
"""Iterations between two looks at which voxels both scanners saw."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One region at one resolution.

    `total`: from a residual to the displacement u, voxels of `grid`. `region`: 1 where the error is measured.
    `weight`: how much each voxel counts in the loss; more than the region where a correction reaches further.
    `unfaded`: the same without a window, whose roughness counts, or none where there is no window.
    `smoothness`: weight λ of the roughness, or none for gradient surgery with a roughness budget.
    `coarse_step`: roughness and folding are looked at on every n-th voxel, as fine as the residual can vary.
    `guiding`: from u to how much it goes against what the user knows, or none where nothing is known.
    `stiffness`: how much smoother than usual the result is to be; it divides the roughness budget.
    `error_may_grow`: whether a state is kept whose squared error is above the start's, as guidance may ask for.
    `relative`: whether the dissimilarity counts in shares of that of unlike images, so that one λ serves them all.
    `preview`: from a residual to what a window can show, or none.
    `settles_after`: iterations of the whole stage after which the search only polishes what it found, however many are
    asked for, or none to search as long as that.
    `errors_hu`: from the warped image and the squared error in the region to the errors of image and box that are told.
    """

    stage: str
    grid: PairGrid
    total: Callable[[Tensor], Tensor]
    region: Tensor
    weight: Tensor
    similarity: str
    smoothness: float | None
    errors_hu: Callable[[Tensor, float], tuple[float | None, float | None]]
    coarse_step: int = 1
    preview: Callable[[Tensor], Preview] | None = None
    unfaded: Callable[[Tensor], Tensor] | None = None
    guiding: Callable[[Tensor], Tensor] | None = None
    stiffness: float = 1.0
    error_may_grow: bool = False
    relative: bool = False
    settles_after: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """The best state: its residual, its squared error in the region (normalised), its parameters.

    `iterations`: how many were run, those of earlier levels included; `stopped`: whether STOP ended the search.
    """

    residual: Tensor
    score: float
    mse: float
    parameters: list[Tensor]
    iterations: int = 0
    stopped: bool = False


def descend(problem: Problem, what: Parametrization, iterations: int, before: int = 0, of: int = 0) -> Job[Outcome]:
    """Adam on `what` for `iterations` steps; `before` of `of` steps of the stage are already done.

    The best state is the one of lowest loss, the start among them, whose squared error is not above the start's unless
    the problem allows it.
    """
    optimizer = Adam(what.parameters(), what.learning_rate)
    look, clock = _Look(problem), PreviewClock()
    best = look.at(what.residual()).as_outcome(what)
    highest_mse = best.mse
    settled = _settled(problem, iterations, of or iterations)
    for iteration in range(1, iterations + 1):
        optimizer.learning_rate = what.learning_rate * _pace(iteration, settled)
        look.step(optimizer, what)
        if iteration % _MASK_EVERY == 0:
            best = look.renewed(best, what.residual())
        state = look.at(what.residual())
        kept = (problem.error_may_grow or state.mse <= highest_mse) and state.score < best.score
        if kept:
            best = state.as_outcome(what)
        preview = problem.preview(state.residual.detach()) if problem.preview is not None and clock.due() else None
        command = yield _progress(problem, state, before + iteration, of or iterations, preview, kept)
        if command is STOP:
            return replace(best, iterations=before + iteration, stopped=True)
    return replace(best, iterations=before + iterations)


def _settled(problem: Problem, iterations: int, total: int) -> int:
    """After how many of these iterations the search settles, as many as would be its share of the stage."""
    if problem.settles_after is None or total <= problem.settles_after:
        return iterations
    return max(1, round(iterations * problem.settles_after / total))


def _pace(iteration: int, settled: int) -> float:
    """Share of the learning rate: a short rise, since Adam's first steps move all by the whole of it, then a cosine.

    From its end on it falls as 1 / iteration, so that even many more iterations end near where the cosine ended.
    """
    cosine = 0.5 * (1.0 + math.cos(math.pi * min(iteration, settled) / (settled + 1)))
    return min(1.0, iteration / _WARM_UP) * cosine * settled / max(iteration, settled)


def _progress(problem: Problem, state: _State, done: int, total: int, preview: Preview | None, best: bool) -> Progress:
    whole_hu, box_hu = problem.errors_hu(state.warped, state.mse)
    return Progress(problem.stage, done, total, whole_hu, box_hu, preview, best=best)


@dataclass(frozen=True, slots=True)
class _State:
    """One evaluated state with the graph that led to it."""

    residual: Tensor
    warped: Tensor
    similarity: Tensor
    regularity: Tensor
    roughness: float
    score: float
    mse: float

    def as_outcome(self, what: Parametrization) -> Outcome:
        parameters = [parameter.detach().clone() for parameter in what.parameters()]
        return Outcome(self.residual.detach(), self.score, self.mse, parameters)


class _Look:
    """Compares the images at a state and turns the comparison into a step."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._mask = problem.region
        self._dissimilarity: Dissimilarity | None = None
        self._surgery: BudgetSurgery | None = None
        self._state: _State | None = None

    @torch.no_grad()
    def renewed(self, best: Outcome, residual: Tensor) -> Outcome:
        """Look again at which voxels both scanners see; the best so far, judged on those."""
        self._dissimilarity = self._renew_mask(self._problem.total(residual))
        state = self.at(best.residual)
        return replace(best, score=state.score, mse=state.mse)

    def _renew_mask(self, total: Tensor) -> Dissimilarity:
        problem = self._problem
        seen = problem.grid.mask(total.detach())
        self._mask = problem.region * seen
        compared = problem.grid.fixed, seen, problem.weight
        dissimilarity = SIMILARITY[problem.similarity](*compared)
        if not problem.relative:
            return dissimilarity
        scale = unlike(problem.similarity, *compared)
        return lambda warped: dissimilarity(warped) / scale

    def at(self, residual: Tensor) -> _State:
        problem = self._problem
        total = problem.total(residual)
        if self._dissimilarity is None:
            self._dissimilarity = self._renew_mask(total)
        warped = problem.grid.warped(total)
        unfaded = total if problem.unfaded is None else problem.unfaded(residual)
        roughness, folding = grad_l2(_thinned(unfaded, problem)), fold_penalty(_thinned(total, problem))
        similarity = self._dissimilarity(warped)
        if problem.guiding is not None:
            similarity = similarity + problem.guiding(total)
        rough = float(roughness.detach())
        if problem.smoothness is None and self._surgery is None:
            self._surgery = BudgetSurgery(rough, problem.stiffness)
        regularity = _FOLD_WEIGHT * folding + (1.0 if problem.smoothness is None else problem.smoothness) * roughness
        score = self._score(float(similarity.detach()), float(regularity.detach()), rough)
        mse = problem.grid.mse(warped.detach(), self._mask)
        self._state = _State(residual, warped.detach(), similarity, regularity, rough, score, mse)
        return self._state

    def step(self, optimizer: Adam, what: Parametrization) -> None:
        assert self._state is not None
        state, self._state = self._state, None
        optimizer.zero_grad()
        if self._surgery is None:
            torch.autograd.backward(state.similarity + state.regularity)
        else:
            self._surgery.backward(state.similarity, state.regularity, state.roughness, what.parameters())
        optimizer.step()

    def _score(self, similarity: float, regularity: float, roughness: float) -> float:
        if self._surgery is None:
            return similarity + regularity
        return similarity if roughness <= self._surgery.highest_roughness else math.inf


def _thinned(displacement_vox: Tensor, problem: Problem) -> Tensor:
    """Every n-th voxel of a displacement, in units of n voxels."""
    n = problem.coarse_step
    return displacement_vox if n == 1 else displacement_vox[:, :, ::n, ::n, ::n] / n
