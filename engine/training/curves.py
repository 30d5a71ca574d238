"""The course of a training run as a table and as a picture."""

from __future__ import annotations

import csv
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.io.atomic import whole_file


@dataclass(frozen=True, slots=True)
class Row:
    """Means over the steps since the row before; `error_mm`: mean target error on the validation pairs, if any.

    `conflict_share`: share of layers whose gradients of fit and roughness conflict; 0 where there is no surgery.
    """

    step: int
    loss: float
    roughness: float
    conflict_share: float
    error_mm: float | None


_PANELS = {"loss": "loss", "error_mm": "error mm", "roughness": "roughness", "conflict_share": "conflicts"}
_SIZE_YX = (150, 640)
_MARGIN_YX = (26, 70)
_BACKGROUND, _FRAME, _TEXT, _CURVE = (18, 18, 22), (90, 90, 98), (215, 215, 220), (255, 176, 0)

Picture = NDArray[np.uint8]


def write_rows(rows: list[Row], path: Path) -> None:
    """Write a CSV file with a header; what is not known is empty."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow([column.name for column in fields(Row)])
        for row in rows:
            writer.writerow(f"{value:.5f}" if isinstance(value, float) else value for value in astuple(row))


def write_curves(rows: list[Row], path: Path) -> None:
    """Write a PNG file with one panel for each figure that is known."""
    import SimpleITK as sitk

    picture = drawn(rows)
    with whole_file(path) as temporary:
        sitk.WriteImage(sitk.GetImageFromArray(picture, isVector=True), str(temporary))


def drawn(rows: list[Row]) -> Picture:
    """(height, width, 3) RGB: figures over steps, each in a frame with its least and its largest value."""
    panels = []
    for name, title in _PANELS.items():
        points = [(row.step, float(getattr(row, name))) for row in rows if getattr(row, name) is not None]
        panels.append(_panel(title, points))
    return np.concatenate(panels)


def _panel(title: str, points: list[tuple[int, float]]) -> Picture:
    height, width = _SIZE_YX
    top, left = _MARGIN_YX
    bottom, right = height - 16, width - 12
    picture: Picture = np.full((height, width, 3), _BACKGROUND, np.uint8)
    picture[[top, bottom], left : right + 1] = _FRAME
    picture[top : bottom + 1, [left, right]] = _FRAME
    _write(picture, title, 8, left)
    if not points:
        return picture
    steps, values = np.array(points, dtype=np.float64).T
    low, high = values.min(), values.max()
    first, last = steps[0], steps[-1]
    _write(picture, f"{values[-1]:.3g}", 8, right - 60)
    _write(picture, f"{high:.3g}", top - 4, 6)
    _write(picture, f"{low:.3g}", bottom - 6, 6)
    _write(picture, f"{first:.0f}", bottom + 5, left)
    _write(picture, f"{last:.0f}", bottom + 5, right - 8 * len(f"{last:.0f}"))
    columns = left + 2 + (right - left - 4) * (steps - first) / max(last - first, 1.0)
    lines = (
        bottom - 2 - (bottom - top - 4) * ((values - low) / (high - low) if high > low else np.full_like(values, 0.5))
    )
    _draw_line(picture, columns, lines)
    return picture


def _draw_line(picture: Picture, columns: NDArray[np.float64], lines: NDArray[np.float64]) -> None:
    """A line through the points, two pixels thick, as close together as pixels are."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(columns), np.diff(lines)))])
    places = np.linspace(0.0, along[-1], 2 * int(along[-1]) + 1)
    x = np.interp(places, along, columns).round().astype(int)
    y = np.interp(places, along, lines).round().astype(int)
    for thickness in range(2):
        picture[y + thickness, x] = _CURVE


def _write(picture: Picture, text: str, top: int, left: int) -> None:
    for place, letter in enumerate(text):
        rows = _GLYPHS.get(letter, "00000")
        dots = np.array([[int(row) >> column & 1 for column in (2, 1, 0)] for row in rows], dtype=bool)
        large = np.kron(dots, np.ones((2, 2), dtype=bool))
        start = left + 8 * place
        picture[top : top + large.shape[0], start : start + large.shape[1]][large] = _TEXT


_GLYPHS = dict(
    zip(
        "0123456789.-+acefghilmnorstu",
        (
            *("75557", "26227", "71747", "71717", "55711", "74717", "74757", "71122", "75757", "75717"),
            *("00002", "00700", "02720", "03553", "03443", "02743", "12722", "35316", "44655", "20222"),
            *("62227", "05775", "06555", "02552", "05644", "03636", "27221", "05553"),
        ),
        strict=True,
    )
)
"""Letters of 3 × 5 dots, those that the panels need, an octal digit for each row: the engine knows no font."""
