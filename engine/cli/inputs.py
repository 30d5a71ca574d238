"""Reading what the command line names, so that an error says which argument it is about."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TypeVar

from engine.case import Case
from engine.errors import InputError
from engine.geometry import Geometry
from engine.guidance import Guidance
from engine.io.case_folder import open_case
from engine.io.images import read_mask_on, read_volume
from engine.io.points import read_points
from engine.pairing import Finding, pair_findings
from engine.runtime import Runtime
from engine.shapes import MaskArray, PointArray

T = TypeVar("T")


def named(argument: str, read: Callable[[], T]) -> T:
    """What `read` returns; an `InputError` gets the argument's name in front."""
    try:
        return read()
    except InputError as error:
        raise InputError(f"{argument}: {error}") from error


def read_case(fixed: str, moving: str) -> Case:
    """A new case from FIXED and MOVING. What is odd about the pair is told on standard error."""
    case = Case.new(
        named("FIXED", lambda: read_volume(fixed, name=Path(fixed).name)),
        named("MOVING", lambda: read_volume(moving, name=Path(moving).name)),
    )
    tell(pair_findings(case.fixed, case.moving))
    return case


def tell(findings: Iterable[Finding]) -> None:
    """One line each on standard error, so that nothing odd passes in silence."""
    for finding in findings:
        print(f"regard: {'warning' if finding.is_warning else 'note'}: {finding.text}", file=sys.stderr)


def read_point_pairs(paths: Sequence[str], fixed: Geometry, moving: Geometry) -> tuple[PointArray, PointArray]:
    """FIXED_PTS and MOVING_PTS, each (N, 3) in mm."""
    fixed_path, moving_path = paths
    return (
        named("FIXED_PTS", lambda: read_points(fixed_path, fixed)),
        named("MOVING_PTS", lambda: read_points(moving_path, moving)),
    )


def read_mask(argument: str, path: str, fixed: Geometry) -> MaskArray:
    """A mask on the fixed grid; whatever is not zero counts."""
    return named(argument, lambda: read_mask_on(path, fixed))


def read_guidance(arguments: argparse.Namespace, fixed: Geometry, moving: Geometry) -> Guidance:
    """What `--points`, `--rigid-mask` and `--exclude-mask` say."""
    rigid, excluded = (
        read_mask(argument, path, fixed) if path else None
        for argument, path in (("--rigid-mask", arguments.rigid_mask), ("--exclude-mask", arguments.exclude_mask))
    )
    if not arguments.points:
        return Guidance(rigid=rigid, excluded=excluded)
    points = read_point_pairs(arguments.points, fixed, moving)
    return named("--points", lambda: Guidance(*points, rigid, excluded))


def opened_case(folder: str) -> Case:
    """A case folder, or the one in a results folder."""
    return open_case(home_of(folder))


def home_of(folder: str) -> Path:
    """The folder of a case, which may be that of results that hold it."""
    inner = Path(folder) / "case"
    return inner if inner.is_dir() else Path(folder)


def runtime_of(arguments: argparse.Namespace) -> Runtime:
    """Device, seed and threads as given."""
    return Runtime(arguments.device, arguments.seed, arguments.threads)
