"""The loop that every refinement shares: propose a displacement, compare, step, remember the best."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from engine.losses.regularity import fold_penalty, grad_l2
from engine.losses.similarity import SIMILARITY, Dissimilarity, unlike
from engine.memory import give_back
from engine.optimize.adam import Adam
from engine.optimize.captured import CudaGraphs, Graphs, Recording
from engine.optimize.pair_grid import PairGrid
from engine.optimize.parametrize import Parametrization
from engine.optimize.previews import Previews, Sight
from engine.optimize.surgery import BudgetSurgery, gradients
from engine.progress import STOP, Job, Preview, Progress

_FOLD_WEIGHT = 5.0
_WARM_UP = 10
_MASK_EVERY = 10
"""Iterations between two looks at which voxels both scanners saw."""

_STILL = 1e-3
"""Share of the loss that `_MASK_EVERY` iterations must gain once the search has settled, or it ends."""

_LEAST_RECORDED = 30
"""Iterations: recording and checking costs about six."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One region at one resolution.

    `total`: from a limited residual to the displacement u, voxels of `grid`. `region`: 1 where the error is measured.
    `limited`: from a residual to what of it takes part, or none where all of it does.
    `weight`: how much each voxel counts in the loss; more than the region where a correction reaches further.
    `unfaded`: the same without a window, whose roughness counts, or none where there is no window.
    `smoothness`: weight λ of the roughness, or none for gradient surgery with a roughness budget.
    `coarse_step`: roughness and folding are looked at on every n-th voxel, as fine as the residual can vary.
    `guiding`: from u to how much it goes against what the user knows, or none where nothing is known.
    `stiffness`: how much smoother than usual the result is to be; it divides the roughness budget.
    `error_may_grow`: whether a state is kept whose squared error is above the start's, as guidance may ask for.
    `relative`: whether the dissimilarity counts in shares of that of unlike images, so that one λ serves them all.
    `preview`: what a window can show of a residual, or none.
    `settles_after`: iterations of the whole stage after which the search only polishes what it found, however many are
    asked for, or none to search as long as that. `ends_when_still`: whether it ends before, once that gains nothing.
    `roughness`: of a displacement in voxels, every `coarse_step`-th of them.
    `watched`: a second mask in which the error is measured, or none.
    `errors_hu`: from the squared errors in the region and in what is watched to the errors of image and box to tell.
    """

    stage: str
    grid: PairGrid
    total: Callable[[Tensor], Tensor]
    region: Tensor
    weight: Tensor
    similarity: str
    smoothness: float | None
    errors_hu: Callable[[float, float], tuple[float | None, float | None]]
    coarse_step: int = 1
    preview: Sight | None = None
    limited: Callable[[Tensor], Tensor] | None = None
    unfaded: Callable[[Tensor], Tensor] | None = None
    guiding: Callable[[Tensor], Tensor] | None = None
    stiffness: float = 1.0
    error_may_grow: bool = False
    relative: bool = False
    settles_after: int | None = None
    ends_when_still: bool = False
    watched: Tensor | None = None
    roughness: Callable[[Tensor], Tensor] = grad_l2


@dataclass(frozen=True, slots=True)
class Outcome:
    """The best state: its residual, its squared error in the region (normalised), its parameters.

    `iterations`: how many were run, those of earlier levels included; `stopped`: whether STOP ended the search.
    `notes`: what there is to say of how it was run.
    """

    residual: Tensor
    score: float
    mse: float
    parameters: list[Tensor]
    iterations: int = 0
    stopped: bool = False
    notes: tuple[str, ...] = ()


def descend(problem: Problem, what: Parametrization, iterations: int, before: int = 0, of: int = 0) -> Job[Outcome]:
    """Adam on `what` for at most `iterations` steps; `before` of `of` steps of the stage are already done.

    The best state is the one of lowest loss, the start among them, whose squared error is not above the start's unless
    the problem allows it.
    """
    give_back()
    look, previews = _Look(problem), Previews.on(problem.grid.fixed.device, problem.preview)
    steps = _steps(look, what, iterations)
    state = steps.judge(what.residual())
    best = steps.kept(state, look.read(state))
    highest_mse = best.mse
    settled, at_last_mask = _settled(problem, iterations, of or iterations), math.inf
    for iteration in range(1, iterations + 1):
        residual = steps.move(what.learning_rate * _pace(iteration, settled))
        is_still = False
        if iteration % _MASK_EVERY == 0:
            is_still = iteration >= settled + _MASK_EVERY and at_last_mask - best.score < _STILL * best.score
            best = look.renewed(best, residual)
            at_last_mask = best.score
        state = steps.judge(residual)
        figures = look.read(state)
        kept = (problem.error_may_grow or figures.mse <= highest_mse) and figures.score < best.score
        if kept:
            best = steps.kept(state, figures)
        preview = previews.next(residual.detach(), before + iteration)
        command = yield _progress(problem, figures, before + iteration, of or iterations, preview, kept)
        if command is STOP:
            return replace(best, iterations=before + iteration, stopped=True, notes=steps.notes)
        if problem.ends_when_still and is_still:
            return replace(best, iterations=before + iteration, notes=steps.notes)
    return replace(best, iterations=before + iterations, notes=steps.notes)


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


def _progress(
    problem: Problem, figures: _Figures, done: int, total: int, preview: Preview | None, best: bool
) -> Progress:
    whole_hu, box_hu = problem.errors_hu(figures.mse, figures.watched_mse)
    return Progress(problem.stage, done, total, whole_hu, box_hu, preview, best=best)


@dataclass(frozen=True, slots=True)
class _State:
    """One evaluated state, wholly on the device, with the graph that led to it where it has one.

    `figures`: similarity, regularity, roughness, squared errors in the region and in what is watched, as one tensor.
    """

    residual: Tensor
    similarity: Tensor
    regularity: Tensor
    roughness: Tensor
    figures: Tensor


@dataclass(frozen=True, slots=True)
class _Figures:
    """What is decided by and told of a state."""

    score: float
    mse: float
    watched_mse: float


class _Look:
    """Compares the images at a state and turns the comparison into gradients."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._seen: Tensor | None = None
        self._mask = problem.region
        self._dissimilarity: Dissimilarity | None = None
        self._surgery: BudgetSurgery | None = None

    @torch.no_grad()
    def renewed(self, best: Outcome, residual: Tensor) -> Outcome:
        """Look again at which voxels both scanners see; the best so far, judged on those."""
        self._renew_mask(self._problem.total(self._limited(residual)))
        self._dissimilarity = self._prepared()
        figures = self.read(self.at(best.residual))
        return replace(best, score=figures.score, mse=figures.mse)

    def _renew_mask(self, total: Tensor) -> None:
        """In the tensors of the last mask, if there is one: a recorded step reads them."""
        seen = self._problem.grid.mask(total.detach())
        if self._seen is None:
            self._seen, self._mask = seen, self._problem.region * seen
        else:
            self._seen.copy_(seen)
            torch.mul(self._problem.region, seen, out=self._mask)

    def _prepared(self) -> Dissimilarity:
        problem = self._problem
        assert self._seen is not None
        compared = problem.grid.fixed, self._seen, problem.weight
        dissimilarity = SIMILARITY[problem.similarity](*compared)
        if not problem.relative:
            return dissimilarity
        scale = unlike(problem.similarity, *compared)
        return lambda warped: dissimilarity(warped) / scale

    def at(self, residual: Tensor, anew: bool = False) -> _State:
        """`anew`: prepare the comparison once more from the mask as it is, as a recorded step does every time."""
        problem = self._problem
        limited = self._limited(residual)
        total = problem.total(limited)
        if self._dissimilarity is None:
            self._renew_mask(total)
            self._dissimilarity = self._prepared()
        warped = problem.grid.warped(total)
        unfaded = total if problem.unfaded is None else problem.unfaded(limited)
        roughness, folding = problem.roughness(_thinned(unfaded, problem)), fold_penalty(_thinned(total, problem))
        similarity = (self._prepared() if anew else self._dissimilarity)(warped)
        if problem.guiding is not None:
            similarity = similarity + problem.guiding(total)
        if problem.smoothness is None and self._surgery is None:
            self._surgery = BudgetSurgery(float(roughness.detach()), problem.stiffness)
        regularity = _FOLD_WEIGHT * folding + (1.0 if problem.smoothness is None else problem.smoothness) * roughness
        mse = problem.grid.mean_square(warped.detach(), self._mask)
        watched = (
            torch.zeros_like(mse)
            if problem.watched is None
            else (problem.grid.mean_square(warped.detach(), problem.watched))
        )
        figures = torch.stack([part.detach() for part in (similarity, regularity, roughness, mse, watched)])
        return _State(residual, similarity, regularity, roughness, figures)

    def _limited(self, residual: Tensor) -> Tensor:
        return residual if self._problem.limited is None else self._problem.limited(residual)

    def read(self, state: _State) -> _Figures:
        """Fetch the figures of a state: all that an iteration waits for."""
        similarity, regularity, roughness, mse, watched = state.figures.tolist()
        if self._surgery is None:
            return _Figures(similarity + regularity, mse, watched)
        is_smooth = roughness <= self._surgery.highest_roughness
        return _Figures(similarity if is_smooth else math.inf, mse, watched)

    def backward(self, state: _State, parameters: list[Tensor]) -> None:
        """Put the gradients to follow into `.grad`."""
        if self._surgery is not None:
            self._surgery.backward(state.similarity, state.regularity, state.roughness, parameters)
            return
        found = gradients(state.similarity + state.regularity, parameters)
        for parameter, gradient in zip(parameters, found, strict=True):
            parameter.grad = gradient


class _Steps:
    """From state to state."""

    notes: tuple[str, ...] = ()

    def __init__(self, look: _Look, what: Parametrization) -> None:
        self._look, self._what, self._parameters = look, what, what.parameters()
        self._optimizer = Adam(self._parameters, what.learning_rate)
        self._state: _State | None = None

    def move(self, learning_rate: float) -> Tensor:
        """Step from the state that was judged last; the residual there."""
        assert self._state is not None
        state, self._state = self._state, None
        self._look.backward(state, self._parameters)
        self._optimizer.learning_rate = learning_rate
        self._optimizer.step()
        return self._what.residual()

    def judge(self, residual: Tensor) -> _State:
        """Evaluate the residual that the last move led to."""
        self._state = self._look.at(residual)
        return self._state

    def kept(self, state: _State, figures: _Figures) -> Outcome:
        """The state that was judged last, in tensors of its own."""
        parameters = [parameter.detach().clone() for parameter in self._parameters]
        return Outcome(state.residual.detach(), figures.score, figures.mse, parameters)


class _RecordedSteps(_Steps):
    """The same steps with all tensors in one place, so that they can be recorded and replayed.

    Gradients are worked out as soon as a state is judged, and every residual is written over the one before. Where
    recording fails, the steps are launched one by one.
    """

    def __init__(self, look: _Look, what: Parametrization, record: bool, graphs: Callable[[], Graphs]) -> None:
        super().__init__(look, what)
        self._record, self._graphs = record, graphs
        self._gradients: list[Tensor] = []
        self._recording: Recording | None = None
        self._residual: Tensor | None = None

    def move(self, learning_rate: float) -> Tensor:
        self._optimizer.learning_rate = learning_rate
        self._optimizer.begin()
        if self._record:
            self._record, self._state = False, None
            self._try_to_record()
        (residual,) = self._moved() if self._recording is None else self._recording.replay(0)
        return residual

    def judge(self, residual: Tensor) -> _State:
        if not self._gradients:
            state = super().judge(residual)
            self._look.backward(state, self._parameters)
            self._gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
            self._state = None
            parts = state.residual, state.similarity, state.regularity, state.roughness, state.figures
            return _State(*(part.detach() for part in parts))  # a graph of this stream would get into the recording
        similarity, regularity, roughness, figures = (
            self._judged() if self._recording is None else self._recording.replay(1)
        )
        return _State(residual, similarity, regularity, roughness, figures)

    def kept(self, state: _State, figures: _Figures) -> Outcome:
        outcome = super().kept(state, figures)
        return replace(outcome, residual=outcome.residual.clone())

    def _try_to_record(self) -> None:
        changed = self._parameters, self._optimizer.moments()
        try:
            self._recording = Recording((self._moved, self._judged), changed, self._gradients, self._graphs())
        except RuntimeError:
            self.notes = ("the GPU's steps were launched one by one, since their recording failed",)

    def _moved(self) -> tuple[Tensor, ...]:
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            parameter.grad = gradient
        self._optimizer.apply()
        self._residual = self._what.residual()
        return (self._residual.detach(),)

    def _judged(self) -> tuple[Tensor, ...]:
        assert self._residual is not None
        state, self._residual = self._look.at(self._residual, anew=True), None
        self._look.backward(state, self._parameters)
        for parameter, gradient in zip(self._parameters, self._gradients, strict=True):
            assert parameter.grad is not None
            gradient.copy_(parameter.grad)
        return state.similarity.detach(), state.regularity.detach(), state.roughness.detach(), state.figures


def _steps(look: _Look, what: Parametrization, iterations: int) -> _Steps:
    if what.parameters()[0].device.type == "cuda":
        return _RecordedSteps(look, what, iterations >= _LEAST_RECORDED, CudaGraphs)
    return _Steps(look, what)


def _thinned(displacement_vox: Tensor, problem: Problem) -> Tensor:
    """Every n-th voxel of a displacement, in units of n voxels."""
    n = problem.coarse_step
    return displacement_vox if n == 1 else displacement_vox[:, :, ::n, ::n, ::n] / n
