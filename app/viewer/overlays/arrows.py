"""Arrows along the displacement."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from app.texts import tr
from app.viewer.layers import ColorBar, SliceContext, Stroke, Strokes
from app.viewer.overlays.displacement import LONGEST_MM, STOPS

_ACROSS = 30
"""Arrows along the longer side of what is shown."""

_HEAD = 0.35
_HEAD_SINE, _HEAD_COSINE = np.sin(np.radians(25)), np.cos(np.radians(25))
_SHORTEST_MM = 0.5
_COLORS = (*STOPS[1:], (255, 255, 255))
"""The darkest colour would not be seen on black; white is longer than the longest that the colours tell."""


def strokes(context: SliceContext) -> Strokes:
    """One arrow each few voxels of the body, as long as the displacement in the plane times the view's scale."""
    zoom = max(context.view.zoom, 1.0)
    key = context.key("arrows", zoom, context.view.arrow_scale)
    return Strokes(key, lambda: context.once(key, lambda: _drawn(context, zoom)))


def bar(context: SliceContext) -> ColorBar:
    scale = context.view.arrow_scale
    as_long, longer = tr("arrows, length in 3-D, mm"), tr("arrows, length in 3-D, mm, drawn × {scale:g}")
    return ColorBar(
        as_long if scale == 1 else longer.format(scale=scale),
        STOPS[1:],
        ("0", f"{LONGEST_MM / 2:g}", f"{LONGEST_MM:g}"),
    )


def _drawn(context: SliceContext, zoom: float) -> tuple[Stroke, ...]:
    places, vectors, lengths = _thinned(context, max(context.plane.extent_mm) / (_ACROSS * zoom))
    color = np.clip(lengths / LONGEST_MM * (len(_COLORS) - 1), 0, len(_COLORS) - 1).astype(int)
    return tuple(
        _arrows(rgb, places[color == number], vectors[color == number] * context.view.arrow_scale)
        for number, rgb in enumerate(_COLORS)
        if (color == number).any()
    )


def _thinned(context: SliceContext, step_mm: float) -> tuple[NDArray[np.float64], ...]:
    """Places (N, 2), vectors (N, 2) and lengths in space (N,), in mm, of every few voxels that count."""
    plane = context.plane
    across, down = plane.spacing_mm
    steps = max(1, round(step_mm / down)), max(1, round(step_mm / across))
    context, thin, first = context.every(*steps)
    in_plane = context.in_plane_mm(thin)
    through = context.moved_mm(plane.normal, thin)
    lengths = np.sqrt(in_plane[0] ** 2 + in_plane[1] ** 2 + through**2)
    counted = lengths >= _SHORTEST_MM
    body = context.body()
    if body is not None:
        counted &= body[thin]
    row, column = np.nonzero(counted)
    places = np.stack([(column * steps[1] + first[1]) * across, (row * steps[0] + first[0]) * down], axis=1)
    vectors = np.stack([values[counted] for values in in_plane], axis=1)
    return places.astype(np.float64), vectors.astype(np.float64), lengths[counted].astype(np.float64)


def _arrows(rgb: tuple[int, int, int], start: NDArray[np.float64], vector: NDArray[np.float64]) -> Stroke:
    """Shaft and two barbs of each arrow as one line: start, tip, barb, tip, barb."""
    tip = start + vector
    back = -_HEAD * vector
    side = np.stack([-back[:, 1], back[:, 0]], axis=1)
    barbs = [tip + back * _HEAD_COSINE + sign * side * _HEAD_SINE for sign in (1, -1)]
    places = np.stack([start, tip, barbs[0], tip, barbs[1]], axis=1).reshape(-1, 2)
    joined = np.tile([True, True, True, True, False], len(start))
    return Stroke(rgb, places, joined)
