"""Reading what the command line names, so that an error says which argument it is about."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from engine.case import Case
from engine.errors import InputError
from engine.io.case_folder import open_case
from engine.io.images import read_volume
from engine.runtime import Runtime

T = TypeVar("T")


def named(argument: str, read: Callable[[], T]) -> T:
    """What `read` returns; an `InputError` gets the argument's name in front."""
    try:
        return read()
    except InputError as error:
        raise InputError(f"{argument}: {error}") from error


def read_case(fixed: str, moving: str) -> Case:
    """A new case from FIXED and MOVING."""
    return Case.new(
        named("FIXED", lambda: read_volume(fixed, name=Path(fixed).name)),
        named("MOVING", lambda: read_volume(moving, name=Path(moving).name)),
    )


def opened_case(folder: str) -> Case:
    """A case folder, or the one in a results folder."""
    inner = Path(folder) / "case"
    return open_case(inner if inner.is_dir() else Path(folder))


def runtime_of(arguments: argparse.Namespace) -> Runtime:
    """Device, seed and threads as given."""
    return Runtime(arguments.device, arguments.seed, arguments.threads)
