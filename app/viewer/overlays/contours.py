"""Outlines of structures: those of the fixed image, and those that the present state carries over."""

from __future__ import annotations

from functools import lru_cache, partial

from app.viewer.contours import Contour
from app.viewer.layers import SliceContext, Stroke, Strokes


def strokes(context: SliceContext) -> Strokes:
    """Solid where it is the fixed image's own, dashed where it comes from the moving one.

    What the state before carried is left out on the fixed image, whose title does not say that it is being updated.
    """
    labels, plane, hidden = context.pictures.labels, context.plane, context.view.hidden_structures
    own_alone = context.pictures.stale and context.image == "fixed"

    def draw(step: int) -> tuple[Stroke, ...]:
        contours = labels.on(context.image, plane, context.index, hidden, context.pictures.labels_slice_of, step)
        return tuple(_stroke(contour) for contour in contours if not (own_alone and contour.carried))

    key = "contours", labels, context.image, plane, context.index, hidden, own_alone
    return Strokes(key, partial(draw, 1), partial(draw, 2))


@lru_cache(maxsize=256)
def _stroke(contour: Contour) -> Stroke:
    """The same object for all panes that show an outline."""
    return Stroke(contour.rgb, contour.places_mm, contour.joined, contour.carried)
