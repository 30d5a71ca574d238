"""Landmarks in files: the elastix format, and CSV."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from engine.errors import InputError
from engine.geometry import Geometry
from engine.io.atomic import whole_file
from engine.shapes import PointArray


def read_points(path: str | Path, geometry: Geometry) -> PointArray:
    """Points (N, 3) in mm, x y z (LPS).

    elastix format: `point` or `index`, the count, then one x y z a line; an index is a voxel of `geometry` and may have
    fractions. CSV: x,y,z in mm, a header line allowed, further columns ignored. Raises InputError.
    """
    try:
        lines = [line.strip() for line in Path(path).read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError("Expected a text file of points; it cannot be read.") from error
    if not lines:
        raise InputError("Expected a file of points; it is empty.")
    if lines[0].lower() in ("point", "index"):
        return _elastix_points(lines, geometry)
    return _csv_points(lines)


def write_points(path: str | Path, point_xyz_mm: PointArray) -> None:
    """Write points (N, 3) in mm in the elastix format. Raises OutputError."""
    rows = [" ".join(f"{value:.6f}" for value in point) for point in point_xyz_mm]
    with whole_file(path) as temporary:
        temporary.write_text("\n".join(["point", str(len(rows)), *rows, ""]), encoding="ascii")


def _elastix_points(lines: list[str], geometry: Geometry) -> PointArray:
    count = int(lines[1]) if len(lines) > 1 and lines[1].isdecimal() else -1
    points = _numbers([line.split() for line in lines[2:]])
    if count != len(points):
        raise InputError(f"Expected as many points as the second line says, got {len(points)}.")
    return geometry.points(points) if lines[0].lower() == "index" else points


def _csv_points(lines: list[str]) -> PointArray:
    separator = ";" if ";" in lines[0] else ","
    rows = [line.split(separator)[:3] for line in lines]
    if not _is_numeric(rows[0]):
        rows = rows[1:]
    return _numbers(rows)


def _is_numeric(row: list[str]) -> bool:
    try:
        [float(value) for value in row]
    except ValueError:
        return False
    return True


def _numbers(rows: list[list[str]]) -> PointArray:
    for number, row in enumerate(rows, 1):
        if len(row) != 3 or not _is_numeric(row):
            raise InputError(f"Expected three numbers x y z for each point, point {number} is not that.")
    points = np.array(rows, dtype=np.float64).reshape(-1, 3)
    if len(points) == 0 or not np.isfinite(points).all():
        raise InputError("Expected at least one point, and finite numbers only.")
    return points
