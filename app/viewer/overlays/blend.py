"""The fixed image faded into the warped one."""

from __future__ import annotations

from app.viewer.slicing import Layer, SliceContext


def layer(context: SliceContext) -> Layer | None:
    """The fixed slice over the warped one, as opaque as the slider says."""
    if context.image != "warped" or context.view.blend <= 0:
        return None
    levels, opacity = context.view.window_of("fixed"), context.view.blend
    return Layer(context.key("blend"), lambda: context.slice_of("fixed"), levels, opacity)
