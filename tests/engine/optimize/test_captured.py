from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from engine.optimize.captured import CudaGraphs, Part, Recording


class _Fake:
    """Says what is asked of it; a replay does what the recorded part did."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def warm_up(self, run: Callable[[], None]) -> None:
        self.told.append("warm up")
        run()

    def record(self, part: Part) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        self.told.append("record")
        outputs = part()

        def replay() -> None:
            self.told.append("replay")
            for output, now in zip(outputs, part(), strict=True):
                output.copy_(now)

        return outputs, replay


class _Walk:
    """Two parts: a step along a slope, and the slope where it ends, which is that of x²."""

    def __init__(self) -> None:
        self.x, self.slope, self.rate = torch.tensor([1.0, -2.0]), torch.tensor([2.0, -4.0]), torch.tensor(0.25)
        self.runs = 0

    def step(self) -> tuple[Tensor, ...]:
        self.runs += 1
        self.x.sub_(self.rate * self.slope)
        return (self.x.clone(),)

    def look(self) -> tuple[Tensor, ...]:
        self.slope.copy_(2 * self.x)
        return ((self.x**2).sum(),)

    def recorded(self, graphs: _Fake) -> Recording:
        return Recording((self.step, self.look), ([self.x],), [self.slope], graphs)


def test_it_is_warmed_up_then_recorded_then_compared_with_one_round() -> None:
    walk, graphs = _Walk(), _Fake()
    walk.recorded(graphs)

    assert graphs.told == ["warm up", "record", "record", "replay", "replay"]
    assert walk.runs == 3 + 1 + 1 + 1, "warm-ups, the recording, the round it is compared with, the fake's replay"
    assert (walk.x.tolist(), walk.slope.tolist()) == ([1.0, -2.0], [2.0, -4.0]), "as before"


def test_a_replay_reads_what_was_put_into_its_inputs_and_writes_the_same_tensors() -> None:
    walk = _Walk()
    recording = walk.recorded(_Fake())
    (place,) = recording.replay(0)
    assert place.tolist() == [0.5, -1.0]
    assert recording.replay(1)[0].item() == 1.25

    walk.rate.fill_(0.5)
    (later,) = recording.replay(0)

    assert later is place
    assert place.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("forgotten", ["x", "slope"])
def test_a_recording_that_leaves_something_as_it_was_is_refused(forgotten: str) -> None:
    walk, graphs = _Walk(), _Fake()
    record = graphs.record

    def wrong(part: Part) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        outputs, replay = record(part)

        def without() -> None:
            before = getattr(walk, forgotten).clone()
            replay()
            getattr(walk, forgotten).copy_(before)

        return outputs, without

    graphs.record = wrong  # type: ignore[method-assign]

    with pytest.raises(RuntimeError, match="something else"):
        walk.recorded(graphs)
    assert (walk.x.tolist(), walk.slope.tolist()) == ([1.0, -2.0], [2.0, -4.0])


def test_what_was_changed_is_put_back_where_recording_fails() -> None:
    walk, graphs = _Walk(), _Fake()

    def fails(part: Part) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        part()
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    graphs.record = fails  # type: ignore[method-assign]

    with pytest.raises(RuntimeError, match="not permitted"):
        walk.recorded(graphs)
    assert (walk.x.tolist(), walk.slope.tolist()) == ([1.0, -2.0], [2.0, -4.0])


class _Streams:
    """Stands for torch.cuda, and says what is asked of it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.told: list[str] = []
        self.here, self.side = (SimpleNamespace(wait_stream=self._waits(name)) for name in ("here", "side"))
        for name, stand_in in {
            "graph_pool_handle": lambda: (0, 7),
            "CUDAGraph": lambda: SimpleNamespace(replay=lambda: None),
            "graph": lambda graph, pool, capture_error_mode: nullcontext(),
            "current_device": lambda: 2,
            "current_stream": lambda: self.here,
            "set_stream": lambda stream: None,
            "Stream": lambda: self.side,
            "stream": lambda stream: nullcontext(),
        }.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)
        for name in ("_cuda_endAllocateToPool", "_cuda_releasePool"):
            monkeypatch.setattr(torch._C, name, self._tells(name))
        monkeypatch.setattr(CudaGraphs, "_has_failed", False)

    def _waits(self, name: str) -> Callable[[object], None]:
        return lambda other: self.told.append(f"{name} waits for {'side' if other is self.side else 'here'}")

    def _tells(self, name: str) -> Callable[[int, tuple[int, int]], None]:
        return lambda device, pool: self.told.append(f"{name} {device} {pool}")


def _invalid() -> tuple[Tensor, ...]:
    raise RuntimeError("CUDA error: operation failed due to a previous error during capture")


def test_the_allocator_is_told_that_a_broken_recording_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it skips what it tries when memory is short, and refuses to give any back, until the process ends."""
    streams = _Streams(monkeypatch)

    with pytest.raises(RuntimeError, match="during capture"):
        CudaGraphs().record(_invalid)

    assert streams.told == ["_cuda_endAllocateToPool 2 (0, 7)", "_cuda_releasePool 2 (0, 7)"]


def test_a_pool_that_was_left_already_is_not_released(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the recording ends although the part fails; the graph releases it. The error stays the part's."""
    streams = _Streams(monkeypatch)

    def not_recording(device: int, pool: tuple[int, int]) -> None:
        raise RuntimeError("endAllocatePool: not currently recording to mempool_id")

    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", not_recording)

    with pytest.raises(RuntimeError, match="during capture"):
        CudaGraphs().record(_invalid)
    assert streams.told == []


def test_after_a_broken_recording_none_is_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    _Streams(monkeypatch)
    outputs, _ = CudaGraphs().record(lambda: (torch.ones(1),))
    with pytest.raises(RuntimeError, match="during capture"):
        CudaGraphs().record(_invalid)

    assert outputs[0].item() == 1.0
    with pytest.raises(RuntimeError, match="failed before"):
        CudaGraphs()


def test_a_warm_up_that_fails_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    streams = _Streams(monkeypatch)

    with pytest.raises(RuntimeError, match="during capture"):
        CudaGraphs().warm_up(_invalid)  # type: ignore[arg-type]

    assert streams.told == ["side waits for here", "here waits for side"]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device to record on")
def test_a_gpu_records_and_replays_a_step_with_its_gradient() -> None:
    """The first part leaves a graph of autograd behind, the second goes back through it, as refinement does."""
    x = torch.tensor([1.0, -2.0], device="cuda", requires_grad=True)
    slope, kept = torch.tensor([2.0, -4.0], device="cuda"), []

    def step() -> tuple[Tensor, ...]:
        with torch.no_grad():
            x.sub_(0.25 * slope)
        kept[:] = [x * x]
        return (kept[0].detach(),)

    def look() -> tuple[Tensor, ...]:
        loss = kept[0].sum()
        slope.copy_(torch.autograd.grad(loss, [x])[0])
        return (loss.detach(),)

    recording = Recording((step, look), ([x],), [slope], CudaGraphs())
    losses = []
    for _ in range(3):
        recording.replay(0)
        losses.append(recording.replay(1)[0].item())

    assert losses == [1.25, 0.3125, 0.078125]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device whose recording is broken")
def test_memory_is_given_back_after_a_broken_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CudaGraphs, "_has_failed", False)

    def waits() -> tuple[Tensor, ...]:
        return (torch.ones(1, device="cuda") * torch.ones(1, device="cuda").item(),)

    with pytest.raises(RuntimeError):
        CudaGraphs().record(waits)

    torch.cuda.empty_cache()
