"""The device and the threads that computations use."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from engine.errors import DeviceError, InputError

if TYPE_CHECKING:
    import torch

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True, slots=True)
class Runtime:
    """`device`: auto (CUDA if there is one), cpu or cuda. `threads`: none for one per core this process may use."""

    device: str = "auto"
    seed: int = 0
    threads: int | None = None

    def __post_init__(self) -> None:
        if self.device not in DEVICES:
            raise InputError(f"Expected a device among {', '.join(DEVICES)}, got {self.device!r}.")
        if self.threads is not None and self.threads < 1:
            raise InputError(f"Expected at least one thread, got {self.threads}.")

    @property
    def thread_count(self) -> int:
        return self.threads if self.threads is not None else available_cores()

    def torch_device(self) -> torch.device:
        """The device, with threads set and the random generators seeded; a GPU's libraries are told to be repeatable.

        Raises:
            DeviceError: CUDA was asked for and there is none.
        """
        import torch

        if self.device == "cuda" and not torch.cuda.is_available():
            raise DeviceError("Expected a CUDA device, found none; choose --device cpu or auto.")
        torch.set_num_threads(self.thread_count)
        torch.manual_seed(self.seed)
        if self.device == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.backends.cudnn.deterministic = True
        return torch.device("cuda")


def available_cores() -> int:
    """Cores that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def device_name(device: str = "auto") -> str:
    """What computations run on, for people: `CPU, 2 threads` or `CUDA: NVIDIA H200`."""
    import torch

    if device != "cpu" and torch.cuda.is_available():
        return f"CUDA: {torch.cuda.get_device_name()}"
    return f"CPU, {available_cores()} threads"
