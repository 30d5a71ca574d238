"""Outlines of structures: those of the fixed image, and those that the present state carries over."""

from __future__ import annotations

from app.viewer.slicing import SliceContext, Stroke, Strokes


def strokes(context: SliceContext) -> Strokes:
    """Solid where it is the fixed image's own, dashed where it comes from the moving one."""
    labels, plane, hidden = context.pictures.labels, context.plane, context.view.hidden_structures

    def draw() -> tuple[Stroke, ...]:
        contours = labels.on(context.image, plane, context.index, hidden)
        return tuple(Stroke(contour.rgb, contour.places_mm, contour.joined, contour.carried) for contour in contours)

    return Strokes(("contours", labels, context.image, plane, context.index, hidden), draw)
