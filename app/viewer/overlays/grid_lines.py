"""A regular grid of the fixed image as the registration deforms it."""

from __future__ import annotations

import numpy as np

from app.viewer.layers import SliceContext, Stroke, Strokes

_ACROSS = 34
"""Lines along the longer side of what is shown."""

_RGB = (120, 220, 160)


def strokes(context: SliceContext) -> Strokes:
    """Lines of the grid, each point where the displacement in the plane takes it; inside the body only."""
    zoom = max(context.view.zoom, 1.0)
    key = context.key("grid", zoom)
    return Strokes(key, lambda: context.once(key, lambda: _drawn(context, zoom)))


def _drawn(context: SliceContext, zoom: float) -> tuple[Stroke, ...]:
    step_mm = max(context.plane.extent_mm) / (_ACROSS * zoom)
    across, down = (max(1, round(step_mm / spacing)) for spacing in context.plane.spacing_mm)
    return _lines(context, (down, 1), is_upright=False), _lines(context, (1, across), is_upright=True)


def _lines(context: SliceContext, every: tuple[int, int], is_upright: bool) -> Stroke:
    """Of every few rows and columns, along rows or upright; joined from pixel to pixel where both are inside."""
    (across, down), (every_row, every_column) = context.plane.spacing_mm, every
    context, thin, (row, column) = context.every(*every)
    moved_across, moved_down = context.in_plane_mm(thin)
    rows, columns = moved_across.shape
    places = np.empty((rows, columns, 2))
    places[..., 0] = moved_across + (column + every_column * np.arange(columns)) * across
    places[..., 1] = moved_down + (row + every_row * np.arange(rows)[:, np.newaxis]) * down
    body = context.body()
    inside = np.ones((rows, columns), dtype=bool) if body is None else body[thin]
    if is_upright:
        places, inside = places.swapaxes(0, 1), inside.T
    joined = np.zeros(inside.shape, dtype=bool)
    joined[:, :-1] = inside[:, :-1] & inside[:, 1:]
    return Stroke(_RGB, np.ascontiguousarray(places.reshape(-1, 2)), joined.ravel())
