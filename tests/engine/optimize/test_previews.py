from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from engine.geometry import Geometry
from engine.optimize.previews import CudaCopies, Drawn, Previews, Sight
from engine.progress import PreviewClock
from engine.roi import Box

SHAPE = (2, 3, 4)
SIGHT = Sight(
    Box.whole(SHAPE), Geometry(SHAPE, (1.0, 1.0, 1.0)), lambda residual: (residual[0, 0] * 2000.0 - 1000.0, residual)
)


@pytest.fixture(autouse=True)
def _always_due(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PreviewClock, "due", lambda self: True)


def _residual(value: float) -> Tensor:
    return torch.full((1, 3, *SHAPE), value)


class _Slow:
    """Copies that arrive when they are told to."""

    def __init__(self, drawn: Drawn) -> None:
        self.copied, self.arrived = [tensor.clone() for tensor in drawn], False

    def are_there(self) -> bool:
        return self.arrived

    def tensors(self) -> list[Tensor]:
        assert self.arrived
        return self.copied


def test_on_the_cpu_a_preview_is_of_the_residual_itself_and_a_copy() -> None:
    residual = _residual(0.5)
    preview = Previews.on(torch.device("cpu"), SIGHT).next(residual, 3)
    residual.fill_(7.0)

    assert (preview.warped_hu == 0.0).all()
    assert (preview.displacement_vox == 0.5).all()
    assert preview.displacement_vox.dtype == np.float32
    assert (preview.region, preview.grid, preview.iteration) == (SIGHT.region, SIGHT.grid, 3)


def test_a_preview_on_its_way_is_handed_over_once_it_is_there() -> None:
    """No iteration waits for it, no other is begun before, and it tells its own."""
    begun: list[_Slow] = []

    def begin(drawn: Drawn) -> _Slow:
        begun.append(_Slow(drawn))
        return begun[-1]

    previews = Previews(SIGHT, begin)
    assert [previews.next(_residual(value), value) for value in (1, 2, 3)] == [None] * 3
    assert len(begun) == 1

    begun[0].arrived = True
    preview = previews.next(_residual(4), 4)
    assert (preview.displacement_vox == 1.0).all()
    assert preview.iteration == 1
    assert previews.next(_residual(5), 5) is None
    assert len(begun) == 2
    assert (begun[1].copied[1] == 5.0).all()


def test_without_a_window_nothing_is_drawn() -> None:
    assert Previews.on(torch.device("cpu"), None).next(_residual(1), 1) is None


def _no_memory(_: object) -> Drawn:
    raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")


@pytest.mark.parametrize("where", ["drawn", "copied"])
def test_a_preview_that_finds_no_memory_is_the_last(where: str) -> None:
    """The refinement goes on without."""
    asked: list[str] = []

    def draw(residual: Tensor) -> Drawn:
        asked.append("draw")
        return _no_memory(residual) if where == "drawn" else SIGHT.draw(residual)

    previews = Previews(replace(SIGHT, draw=draw), _no_memory)

    assert [previews.next(_residual(value), value) for value in (1, 2, 3)] == [None] * 3
    assert asked == ["draw"]


def test_a_preview_that_fails_otherwise_fails() -> None:
    def draw(residual: Tensor) -> Drawn:
        raise RuntimeError("sizes differ")

    with pytest.raises(RuntimeError, match="sizes differ"):
        Previews(replace(SIGHT, draw=draw), None).next(_residual(1), 1)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to copy from")
def test_copies_from_a_gpu_are_of_what_was_there_when_they_began() -> None:
    values = torch.ones(256, 256, 256, device="cuda")
    copies = CudaCopies([values])
    values.fill_(2.0)
    torch.cuda.synchronize()

    assert copies.are_there()
    assert (copies.tensors()[0] == 1.0).all()
