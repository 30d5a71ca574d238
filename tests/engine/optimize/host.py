"""Counts what a computation fetches from its device or brings there: on a GPU the program would wait for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_FETCHING = {"_local_scalar_dense", "nonzero", "equal"}
_CALLS = {Tensor.tolist, Tensor.numpy, Tensor.cpu, torch.tensor, torch.as_tensor, torch.from_numpy}


class _Operators(TorchDispatchMode):
    """Sees what torch itself does, in the backward pass too."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        if name in _FETCHING:
            self._seen.append(name)
        return func(*args, **(kwargs or {}))


class _Calls(TorchFunctionMode):
    """Sees what torch's operators do not: whole tensors that become lists, arrays that become tensors."""

    def __init__(self, seen: list[str]) -> None:
        super().__init__()
        self._seen = seen

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _CALLS:
            self._seen.append(func.__name__)
            with torch._C.DisableTorchFunction(), torch.utils._python_dispatch._disable_current_modes():
                return func(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


@contextmanager
def host_traffic() -> Iterator[list[str]]:
    """The names of all that was fetched or brought while this lasted."""
    seen: list[str] = []
    with _Operators(seen), _Calls(seen):
        yield seen
