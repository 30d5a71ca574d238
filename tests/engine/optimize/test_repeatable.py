"""On a GPU some operators add up in any order, so that two runs differ by rounding: no refinement uses one of them.

Which they are: the documentation of `torch.use_deterministic_algorithms`. The convolutions of cuDNN are made repeatable
by a switch (`engine.runtime`).
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from engine.case import Case
from engine.guidance import Guidance
from engine.phantom.thorax import PhantomPair
from engine.progress import finish
from engine.roi import Box
from engine.runtime import Runtime
from engine.session import AlignSettings, IsoSettings, RsoSettings, run_step
from engine.spatial import warp

ONE_THREAD = Runtime("cpu", threads=1)
ANY_ORDER = re.compile(
    r"((avg|adaptive_avg|adaptive_max|max|fractional_max)_pool\w*|(replication|reflection)_pad\w*|upsample_\w*linear\w*"
    r"|upsample_bicubic\w*|grid_sampler_\dd|embedding\w*|nll_loss\w*)_backward"
    r"|_?index_put_?(_impl_?)?|index_add_?|index_copy_?|scatter\w*|put_?|bincount|histc|cumsum_?|median|max_unpool\w*"
    r"|repeat_interleave"
)
STEPS = {
    "iso by field": lambda box: IsoSettings(2),
    "iso by field with descriptors": lambda box: IsoSettings(2, similarity="mind"),
    "iso by network": lambda box: IsoSettings(1, "network"),
    "rso by field": lambda box: RsoSettings(box, 5),
    "rso by field, image": lambda box: RsoSettings(box, 5, "field", "image"),
    "rso by network": lambda box: RsoSettings(box, 1, "network"),
    "rso by network, image": lambda box: RsoSettings(box, 1, "network", "image"),
}
GUIDED = ("iso by field", "rso by network")


class _Operators(TorchDispatchMode):
    """Names of the operators that add in any order; whole numbers have the same sum in each."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        inputs = [value for value in args if isinstance(value, Tensor)]
        if ANY_ORDER.fullmatch(name) and inputs[0].is_floating_point() and not _by_the_places_alone(name, args):
            self.seen.add(name)
        return func(*args, **(kwargs or {}))


def _by_the_places_alone(name: str, args: tuple[Any, ...]) -> bool:
    """Of `grid_sample`'s gradients the one by the image adds in any order."""
    return name.startswith("grid_sampler") and not args[-1][0]


def _case(pair: PhantomPair, random_model: str, guidance: Guidance) -> Case:
    case = Case.new(pair.fixed, pair.moving).guided(guidance)
    case = case.after(finish(run_step(case, AlignSettings("none"), ONE_THREAD)))
    return replace(case, states=(*case.states[:-1], replace(case.current, model=random_model)))


@pytest.mark.parametrize(
    ("step", "guided"), [(step, guided) for step in STEPS for guided in sorted({False, step in GUIDED})]
)
def test_a_step_adds_up_in_one_order(
    step: str, guided: bool, pair: PhantomPair, random_model: str, box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warp, "ANY_ORDER_ON", {"cpu"})
    inside = pair.fixed.geometry.points([[27.0, 17.0, 12.0], [24.5, 15.0, 10.0]])
    rigid = np.zeros(pair.fixed.geometry.shape_zyx, bool)
    rigid[10:13, 14:18, 23:28] = True
    guidance = Guidance(inside, inside + 2.0, rigid) if guided else Guidance()
    with _Operators() as operators:
        result = finish(run_step(_case(pair, random_model, guidance), STEPS[step](box), ONE_THREAD))

    assert operators.seen == set()
    assert np.isfinite(result.displacement_vox).all()


def test_operators_that_add_in_any_order_are_seen() -> None:
    image, places = torch.rand(1, 1, 4, 4, 4, requires_grad=True), torch.rand(1, 2, 2, 2, 3)
    with _Operators() as operators:
        sampled = torch.nn.functional.grid_sample(image, places, align_corners=True).sum()
        (sampled + torch.nn.functional.avg_pool3d(image, 2).sum() + image.cumsum(0).sum()).backward()

    assert operators.seen == {"grid_sampler_3d_backward", "avg_pool3d_backward", "cumsum"}
