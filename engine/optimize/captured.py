"""A repeated computation recorded once as CUDA graphs and replayed: one launch instead of some hundred.

A small network's iteration is a few milliseconds of work behind as many of launching kernels one by one.
`torch.compile` would save them too, after half a minute of compiling for a step that takes seconds as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import ClassVar, Protocol

import torch
from torch import Tensor

Part = Callable[[], tuple[Tensor, ...]]
"""Reads and writes tensors that stay where they are; fetches nothing from the device."""

_WARM_UPS = 3
_DIFFERENCE = 1e-2
"""Of what is compared. Both launch the same kernels, so that what they differ by is rounding at most."""


class Graphs(Protocol):
    """What records."""

    def warm_up(self, run: Callable[[], None]) -> None:
        """Run what will be recorded, so that nothing is set up any more while it is."""

    def record(self, part: Part) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        """What a part returns, and what writes it anew; in the order in which they will be replayed."""


class CudaGraphs:
    """Graphs of one memory pool, as torch.cuda makes them. None any more in a process in which recording one failed.

    Of a recording that was broken off torch keeps more than can be put right from here.
    """

    _has_failed: ClassVar[bool] = False

    def __init__(self) -> None:
        """Begin a pool.

        Raises:
            RuntimeError: a recording failed in this process.
        """
        if CudaGraphs._has_failed:
            raise RuntimeError("A recording failed before.")
        self._pool = torch.cuda.graph_pool_handle()

    def warm_up(self, run: Callable[[], None]) -> None:
        """On a stream of its own, as recording will be."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        try:
            with torch.cuda.stream(side):
                run()
        finally:
            torch.cuda.current_stream().wait_stream(side)

    def record(self, part: Part) -> tuple[tuple[Tensor, ...], Callable[[], None]]:
        """Kernels are recorded, not run; other threads may go on using the device."""
        graph, stream = torch.cuda.CUDAGraph(), torch.cuda.current_stream()
        try:
            with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
                outputs = part()
        except BaseException:
            CudaGraphs._has_failed = True
            self._end_allocating()
            raise
        finally:
            torch.cuda.set_stream(stream)  # a recording that fails leaves its own stream behind
        return outputs, graph.replay

    def _end_allocating(self) -> None:
        """What `capture_end` leaves out where the recording is invalid, as in `torch.cuda.use_mem_pool`.

        Else the allocator believes that it is recorded until the process ends, and gives no memory back.
        """
        device = torch.cuda.current_device()
        with suppress(RuntimeError):  # where the recording did end
            torch._C._cuda_endAllocateToPool(device, self._pool)  # noqa: SLF001  no public name
            torch._C._cuda_releasePool(device, self._pool)  # noqa: SLF001


class Recording:
    """Parts that are replayed one after the other, always in the order given; checked against running them.

    `changed`: groups of tensors that the parts change, `written`: tensors that they write anew. All are as they were
    when the constructor returns.
    """

    def __init__(
        self, parts: Sequence[Part], changed: Sequence[Sequence[Tensor]], written: Sequence[Tensor], graphs: Graphs
    ) -> None:
        """Record, and compare one round with the parts themselves.

        Raises:
            RuntimeError: the parts cannot be recorded, or the recording does something else than they do.
        """
        self._changed, self._written = changed, written
        held = [tensor for group in (*changed, written) for tensor in group]
        before = _copies(held)

        def run_all() -> None:
            for _ in range(_WARM_UPS):
                for part in parts:
                    part()

        try:
            graphs.warm_up(run_all)
            _restore(held, before)
            self._recorded = [graphs.record(part) for part in parts]
            _restore(held, before)
            self._check(parts, before)
        finally:
            _restore(held, before)

    def replay(self, number: int) -> tuple[Tensor, ...]:
        """What part `number` returns now, in the tensors that it is always returned in."""
        outputs, again = self._recorded[number]
        again()
        return outputs

    def _check(self, parts: Sequence[Part], before: list[Tensor]) -> None:
        held = [tensor for group in (*self._changed, self._written) for tensor in group]
        expected = self._seen(before, [tensor for part in parts for tensor in part()])
        _restore(held, before)
        found = self._seen(before, [tensor for number in range(len(parts)) for tensor in self.replay(number)])
        for one, other in zip(expected, found, strict=True):
            if not bool((other - one).norm() <= _DIFFERENCE * one.norm()):
                raise RuntimeError("A recorded step does something else than the step.")

    def _seen(self, before: list[Tensor], outputs: list[Tensor]) -> list[Tensor]:
        """Outputs, change of each group and what was written, each as one vector."""
        vectors, first = [output.detach().flatten().clone() for output in outputs], 0
        for group in self._changed:
            changes = zip(group, before[first : first + len(group)], strict=True)
            vectors.append(torch.cat([(now.detach() - then).flatten() for now, then in changes]))
            first += len(group)
        vectors.append(torch.cat([tensor.detach().flatten() for tensor in self._written]))
        return vectors


def _copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [tensor.detach().clone() for tensor in tensors]


@torch.no_grad()
def _restore(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
