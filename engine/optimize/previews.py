"""Previews of a running refinement: made at once on the CPU, fetched from a GPU while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from engine.fallback import is_of_full_memory
from engine.geometry import Geometry
from engine.progress import Preview, PreviewClock
from engine.roi import Box
from engine.spatial.resample import as_array

Drawn = tuple[Tensor, Tensor]
"""The warped image inside the region, HU (d, h, w), and u on the working grid (1, 3, D, H, W)."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What a preview shows: `draw` makes it of a residual, on the device. `region` and `grid` as in `Preview`."""

    region: Box
    grid: Geometry
    draw: Callable[[Tensor], Drawn]

    def preview(self, iteration: int, image_hu: Tensor, displacement_vox: Tensor) -> Preview:
        """Of what was drawn at an iteration and lies on the CPU."""
        return Preview(self.region, image_hu.numpy(), as_array(displacement_vox).copy(), self.grid, iteration)


def in_hu(normalized: Tensor) -> Tensor:
    """(d, h, w) HU of an image (1, 1, d, h, w) that was made to be shown; in its memory."""
    return normalized[0, 0].mul_(2000.0).sub_(1000.0)


class Copies(Protocol):
    """Tensors on their way to the CPU."""

    def are_there(self) -> bool:
        """Whether all have arrived; asking does not wait."""

    def tensors(self) -> list[Tensor]:
        """Them, once they are there."""


class CudaCopies:
    """Into pinned memory, on a stream of their own: the next iterations do not wait for them."""

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        sources = [tensor.detach().clone() for tensor in tensors]  # the next iteration may write over what was drawn
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        self._done = torch.cuda.Event()
        with torch.cuda.stream(stream):
            self._pinned = [torch.empty(s.shape, dtype=s.dtype, pin_memory=True) for s in sources]
            for source, pinned in zip(sources, self._pinned, strict=True):
                pinned.copy_(source, non_blocking=True)
                source.record_stream(stream)
            self._done.record(stream)

    def are_there(self) -> bool:
        return bool(self._done.query())

    def tensors(self) -> list[Tensor]:
        """In ordinary memory: pinned memory is scarce and used again."""
        return [pinned.clone() for pinned in self._pinned]


class Previews:
    """Previews at the pace of a clock. One at a time is on its way; it comes with the iteration that finds it there.

    Where there is no memory for one, none follows: a refinement does without.
    """

    def __init__(self, sight: Sight | None, copies: Callable[[Drawn], Copies] | None) -> None:
        """`copies`: begins to fetch what was drawn, or none where it lies on the CPU already."""
        self._sight, self._copies, self._clock = sight, copies, PreviewClock()
        self._coming: tuple[int, Copies] | None = None

    @classmethod
    def on(cls, device: torch.device, sight: Sight | None) -> Previews:
        return cls(sight, CudaCopies if device.type == "cuda" else None)

    @torch.no_grad()
    def next(self, residual: Tensor, iteration: int) -> Preview | None:
        """Of this residual, that of an iteration, or of one shortly before; none where none is due or there yet."""
        if self._sight is None:
            return None
        try:
            return self._next(self._sight, residual, iteration)
        except (RuntimeError, MemoryError) as error:
            if not is_of_full_memory(error):
                raise
            self._sight = self._coming = None
            return None

    def _next(self, sight: Sight, residual: Tensor, iteration: int) -> Preview | None:
        if self._coming is not None:
            begun, copies = self._coming
            if not copies.are_there():
                return None
            self._coming = None
            return sight.preview(begun, *copies.tensors())
        if not self._clock.due():
            return None
        drawn = sight.draw(residual)
        if self._copies is None:
            return sight.preview(iteration, *drawn)
        self._coming = iteration, self._copies(drawn)
        return None
