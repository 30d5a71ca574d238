"""On a GPU an iteration waits for what it fetches: its figures, once, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.case import Case
from engine.optimize import descent
from engine.optimize.captured import Graphs
from engine.phantom.thorax import PhantomPair
from engine.progress import finish
from engine.roi import Box
from engine.runtime import Runtime
from engine.session import AlignSettings, IsoSettings, RsoSettings, run_step
from tests.engine.optimize.host import host_traffic

ONE_THREAD = Runtime("cpu", threads=1)
WAYS = {
    "iso by network": lambda box: IsoSettings(11, "network"),
    "iso by network with descriptors": lambda box: IsoSettings(11, "network", "mind"),
    "iso by network with a weight": lambda box: IsoSettings(11, "network", weight=1.0),
    "rso by network": lambda box: RsoSettings(box, 11, "network"),
    "rso by network, image": lambda box: RsoSettings(box, 11, "network", "image"),
    "rso by field": lambda box: RsoSettings(box, 20),
}


@pytest.fixture(scope="module")
def case(pair: PhantomPair, random_model: str) -> Case:
    case = Case.new(pair.fixed, pair.moving)
    case = case.after(finish(run_step(case, AlignSettings("none"), ONE_THREAD)))
    return replace(case, states=(*case.states[:-1], replace(case.current, model=random_model)))


def _fetched_by_iteration(case: Case, settings: IsoSettings | RsoSettings, box: Box, numbers: range) -> list[list[str]]:
    """What each iteration fetches; in the first everything is set up."""
    job = run_step(case, settings, ONE_THREAD, watched=box)
    fetched = []
    while next(job).done < numbers[0] - 1:
        pass
    for number in numbers:
        with host_traffic() as seen:
            assert next(job).done == number
        fetched.append(seen)
    job.close()
    return fetched


@pytest.mark.parametrize("way", WAYS)
def test_an_iteration_fetches_its_figures_and_nothing_else(way: str, case: Case, box: Box) -> None:
    assert _fetched_by_iteration(case, WAYS[way](box), box, range(2, 4)) == [["tolist"]] * 2


def test_a_look_at_the_mask_fetches_the_figures_of_the_best_state_too(case: Case, box: Box) -> None:
    fetched = _fetched_by_iteration(case, RsoSettings(box, 30), box, range(9, 12))

    assert [seen.count("tolist") for seen in fetched] == [1, 2, 1]


def test_what_is_fetched_is_seen() -> None:
    values = torch.ones(3)
    with host_traffic() as seen:
        _ = float(values.sum()), values.tolist(), bool(values.all()), values.nonzero(), torch.tensor([1.0])

    assert seen == ["_local_scalar_dense", "tolist", "_local_scalar_dense", "nonzero", "tensor"]


@pytest.mark.parametrize("settings", [IsoSettings(51), RsoSettings(Box(22, 32, 12, 22, 8, 16), 40)])
def test_a_step_that_a_gpu_could_not_record_says_so_once(
    settings: IsoSettings | RsoSettings, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused() -> Graphs:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    monkeypatch.setattr(descent, "_steps", lambda look, what, _: descent._RecordedSteps(look, what, True, refused))
    step = finish(run_step(case, settings, ONE_THREAD)).steps[-1]

    assert [note for note in step.notes if "recording failed" in note] == [
        "the GPU's steps were launched one by one, since their recording failed"
    ]
