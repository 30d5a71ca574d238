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
    return Strokes(context.key("grid", zoom), lambda: _drawn(context, zoom))


def _drawn(context: SliceContext, zoom: float) -> tuple[Stroke, ...]:
    plane = context.plane
    across, down = plane.spacing_mm
    moved_across, moved_down = context.in_plane_mm()
    rows, columns = moved_across.shape
    column, row = np.meshgrid(np.arange(columns) * across, np.arange(rows) * down)
    places = np.stack([column + moved_across, row + moved_down], axis=-1).astype(np.float64)
    body = context.body()
    inside = np.ones((rows, columns), dtype=bool) if body is None else body
    step_mm = max(plane.extent_mm) / (_ACROSS * zoom)
    return tuple(
        _lines(places.swapaxes(0, 1), inside.T, max(1, round(step_mm / across)))
        if vertical
        else _lines(places, inside, max(1, round(step_mm / down)))
        for vertical in (False, True)
    )


def _lines(places: np.ndarray, inside: np.ndarray, step: int) -> Stroke:
    """Every few rows of (rows, columns, 2) places, joined from column to column where both are inside."""
    chosen = slice(step // 2, None, step)
    places, inside = places[chosen], inside[chosen]
    joined = np.zeros(inside.shape, dtype=bool)
    joined[:, :-1] = inside[:, :-1] & inside[:, 1:]
    return Stroke(_RGB, np.ascontiguousarray(places.reshape(-1, 2)), joined.ravel())
