"""Work that goes on on the CPU when the GPU's memory is full, and that says so."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from engine.errors import DeviceError
from engine.progress import Command, Job, Progress

if TYPE_CHECKING:
    import torch

_Result = TypeVar("_Result")

_SIGNS_OF_A_FULL_MEMORY = ("out of memory", "can't allocate memory")


class _GpuFullError(Exception):
    """A GPU has none left."""


def with_enough_memory(device: torch.device, job: Callable[[torch.device], Job[_Result]]) -> Job[tuple[_Result, bool]]:
    """Run a job on a device, from the start again on the CPU where that is a GPU whose memory is full.

    Returns the result and whether it came from the CPU instead of the GPU; a report says when it begins again.

    Raises:
        DeviceError: the machine has no memory left either.
    """
    with suppress(_GpuFullError):
        result: _Result = yield from _told_apart(device, job)
        return result, False
    result = yield from _on_the_cpu(job)
    return result, True


def is_of_full_memory(error: RuntimeError | MemoryError) -> bool:
    """Whether an error says that there was no memory left, on a GPU or on the machine."""
    return isinstance(error, MemoryError) or any(sign in str(error) for sign in _SIGNS_OF_A_FULL_MEMORY)


def _told_apart(
    device: torch.device, job: Callable[[torch.device], Job[_Result]]
) -> Generator[Progress, Command | None, _Result]:
    try:
        return (yield from job(device))
    except (RuntimeError, MemoryError) as error:
        if not is_of_full_memory(error):
            raise
        if device.type == "cuda":
            raise _GpuFullError from error
        raise DeviceError("The machine has no memory left; choose a smaller box, or close other programs.") from error


def _on_the_cpu(job: Callable[[torch.device], Job[_Result]]) -> Generator[Progress, Command | None, _Result]:
    """When no traceback holds any more what fills the GPU."""
    import torch

    with suppress(RuntimeError):  # of torch's allocator; the CPU needs none of it
        torch.cuda.empty_cache()
    yield Progress("memory", 0, 0, note="the GPU's memory is full, going on on the CPU")
    return (yield from _told_apart(torch.device("cpu"), job))
