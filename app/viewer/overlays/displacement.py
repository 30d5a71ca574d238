"""The displacement in colours: its length, one of its directions, or what changed since another state."""

from __future__ import annotations

from functools import lru_cache
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from app.texts import mark, tr
from app.viewer.layers import ABOVE_RGB, BELOW_RGB, RGB, ColorBar, Layer, Pixels, SliceContext
from app.viewer.view_state import QuantityName
from engine.shapes import HuArray, MaskArray

LONGEST_MM = 20.0
MOST_CHANGED_MM = 5.0
_ALPHA = 150
_STEPS = 1024
"""Of colours between the first and the last."""

STOPS: tuple[RGB, ...] = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))
"""Five colours of the perceptually uniform map `inferno`."""

_SIGNED_STOPS: tuple[RGB, ...] = (BELOW_RGB, (235, 235, 235), ABOVE_RGB)

QUANTITIES: MappingProxyType[QuantityName, str] = MappingProxyType(
    {
        "length": mark("displacement, length, mm"),
        "left": mark("displacement, to the left +, mm"),
        "back": mark("displacement, to the back +, mm"),
        "head": mark("displacement, to the head +, mm"),
        "change": mark("change since the alignment, mm"),
    }
)
"""What is in colours, as its bar calls it."""

_PATIENT_AXIS: dict[QuantityName, int] = {"left": 0, "back": 1, "head": 2}


def layer(context: SliceContext) -> Layer:
    """A wash of colour over the body."""
    key = context.key("displacement", context.view.quantity)
    return Layer(key, lambda: context.once(key, lambda: _colored(context)))


def bar(context: SliceContext) -> ColorBar:
    quantity = context.view.quantity
    most = _most_mm(quantity)
    title = tr(QUANTITIES[quantity])
    other = context.pictures.other_name
    if quantity == "change" and other:
        is_comparable = context.pictures.other_displacement_vox is not None
        text = tr("change since {state}, mm") if is_comparable else tr("length; {state} is aligned in another way, mm")
        title = text.format(state=other)
    if quantity in _PATIENT_AXIS:
        return ColorBar(title, _SIGNED_STOPS, (f"{-most:+.0f}", "0", f"{most:+.0f}"))
    return ColorBar(title, STOPS, ("0", f"{most / 2:g}", f"{most:g}"))


def _colored(context: SliceContext) -> Pixels:
    """(rows, columns, 4) uint8."""
    quantity = context.view.quantity
    values = values_mm(context)
    low = -_most_mm(quantity) if quantity in _PATIENT_AXIS else 0.0
    stops = _SIGNED_STOPS if quantity in _PATIENT_AXIS else STOPS
    return colored(values, stops, low, _most_mm(quantity), context.body())


def values_mm(context: SliceContext) -> HuArray:
    """(rows, columns) of the quantity that the view asks for."""
    pictures, plane, quantity = context.pictures, context.plane, context.view.quantity
    displacement = np.stack([context.moved_mm(axis) for axis in range(3)])
    if quantity in _PATIENT_AXIS:
        toward = np.asarray(plane.grid.direction, dtype=np.float32)[_PATIENT_AXIS[quantity]]
        one: HuArray = np.tensordot(toward[::-1], displacement, axes=1)
        return one
    if quantity == "change" and pictures.other_displacement_vox is not None:
        other = [plane.slice_of(component, context.index, "linear") for component in pictures.other_displacement_vox]
        displacement -= np.tensordot(plane.mm_a_voxel, np.stack(other), axes=1)
    length: HuArray = np.sqrt(np.square(displacement).sum(axis=0))
    return length


def colored(
    values: HuArray, stops: tuple[RGB, ...], low: float, high: float, where: MaskArray | None = None
) -> NDArray[np.uint8]:
    """(rows, columns, 4) uint8: values from low to high through evenly placed colours; clear where a mask is not."""
    steps = (values - np.float32(low)) * np.float32((_STEPS - 1) / (high - low))
    np.clip(steps, 0, _STEPS - 1, out=steps)
    pixels = _table(stops).take((steps + np.float32(0.5)).astype(np.intp))
    if where is not None:
        pixels *= where
    return pixels.view(np.uint8).reshape(*values.shape, 4)


@lru_cache(maxsize=4)
def _table(stops: tuple[RGB, ...]) -> NDArray[np.uint32]:
    """RGBA in one number at each step between the first colour and the last."""
    colors = np.full((_STEPS, 4), _ALPHA, np.uint8)
    places, along = np.linspace(0, 1, len(stops)), np.linspace(0, 1, _STEPS)
    for channel, values in enumerate(zip(*stops, strict=True)):
        colors[:, channel] = np.interp(along, places, values)
    return colors.view(np.uint32).ravel()


def _most_mm(quantity: QuantityName) -> float:
    return MOST_CHANGED_MM if quantity == "change" else LONGEST_MM
