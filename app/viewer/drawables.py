"""What Qt paints in a pane: pictures, lines, texts and the ways from places on a plane to pixels of the screen."""

from __future__ import annotations

from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from pyqtgraph.functions import arrayToQPath, arrayToQPolygonF
from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFont, QImage, QPainter, QPainterPath, QPen, QPixmap, QTransform

from app.viewer.annotations import paint_place
from app.viewer.comparisons import Gray, gray
from app.viewer.layers import RGB, Pixels, Stroke
from app.viewer.pane_state import PaneState
from app.viewer.planes import Plane
from app.viewer.view_state import WindowHu
from engine.shapes import MaskArray

_LONG = 32
"""Places of a line from which on it is drawn as a polygon of its own."""

_PIECE = 256
"""Places of lines that are painted at once."""

_DASHES = (6.0, 5.0)


def image_of(pixels: Pixels | None, levels: WindowHu | None, argb: int = 0) -> QImage | None:
    """A picture of a layer's pixels, in the format that Qt paints fastest."""
    if pixels is None:
        return None
    if levels is not None:
        return _gray_image(gray(pixels, levels))
    rows, columns = pixels.shape[:2]
    if pixels.dtype == bool:
        return _colors_image(pixels * np.uint32(_premultiplied(argb)), QImage.Format.Format_ARGB32_Premultiplied)
    if pixels.ndim == 2 and pixels.dtype == np.uint8:
        return _gray_image(pixels)
    if pixels.ndim == 2:
        return _colors_image(pixels, QImage.Format.Format_ARGB32_Premultiplied)
    image = QImage(np.ascontiguousarray(pixels), columns, rows, 4 * columns, QImage.Format.Format_RGBA8888)
    return image.convertToFormat(QImage.Format.Format_ARGB32_Premultiplied)


def _gray_image(pixels: Gray) -> QImage:
    """In the colours of the screen: gray pixels Qt converts one by one, which takes several times as long."""
    colors = pixels * np.uint32(0x010101)
    colors |= np.uint32(0xFF000000)
    return _colors_image(colors, QImage.Format.Format_RGB32)


def _colors_image(pixels: NDArray[np.uint32], colors: QImage.Format) -> QImage:
    rows, columns = pixels.shape
    return QImage(np.ascontiguousarray(pixels), columns, rows, 4 * columns, colors)


def _premultiplied(argb: int) -> int:
    """A colour with its red, green and blue as bright as its share."""
    alpha = argb >> 24
    return alpha << 24 | sum((argb >> shift & 255) * alpha // 255 << shift for shift in (16, 8, 0))


@lru_cache(maxsize=256)
def paths_of(stroke: Stroke) -> tuple[QPainterPath, ...]:
    """Made once for all panes that draw a stroke, in pieces, so that those out of sight can be passed over.

    A long path alone takes Qt seconds to smooth. Dashes run along the whole of a line.
    """
    places, joined = stroke.places_mm, stroke.joined
    step = max(1, len(places)) if stroke.dashed else _PIECE
    parts = (slice(start, start + step + 1) for start in range(0, len(places), step))
    return tuple(_path(places[part], joined[part]) for part in parts)


def _path(places_mm: NDArray[np.float64], joined: MaskArray) -> QPainterPath:
    """A few long lines go over one by one, many short ones at once."""
    ends = [*(np.flatnonzero(~joined[:-1]) + 1).tolist(), len(joined)]
    if len(joined) < _LONG * len(ends):
        return arrayToQPath(*places_mm.T, connect=joined, finiteCheck=False)
    path = QPainterPath()
    for first, end in pairwise([0, *ends]):
        path.addPolygon(arrayToQPolygonF(*places_mm[first:end].T))
    return path


@lru_cache(maxsize=16)
def foot_pixmap(
    place_text: str, width: int, height: int, ratio: float, font_text: str, families: tuple[str, ...]
) -> QPixmap:
    """Which slice it is, painted once for all panes that show it.

    `font_text`: of `QFont.toString`, which tells one family alone.
    """
    pixmap = QPixmap(QSize(width, height) * ratio)
    pixmap.setDevicePixelRatio(ratio)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter, font = QPainter(pixmap), QFont()
    font.fromString(font_text)
    font.setFamilies(list(families))
    painter.setFont(font)
    paint_place(painter, QRectF(0, 0, width, height), place_text)
    painter.end()
    return pixmap


@lru_cache(maxsize=64)
def pen_of(rgb: RGB, dashed: bool, width_pixels: float) -> QPen:
    """As wide on every screen, however near one looks."""
    pen = QPen(QColor(*rgb))
    pen.setCosmetic(True)
    pen.setWidthF(width_pixels)
    if dashed:
        pen.setDashPattern(_DASHES)
    return pen


def screen_transform(state: PaneState, width: int, height: int) -> QTransform:
    """From places on the plane (mm) to pixels: isotropic, the plane fits at zoom 1."""
    plane = state.plane
    across, down = plane.extent_mm
    scale = state.zoom * min(max(width, 1) / across, max(height, 1) / down)
    transform = QTransform.fromTranslate(width / 2, height / 2)
    transform.scale(-scale if plane.flip_across else scale, -scale if plane.flip_down else scale)
    return transform.translate(-state.middle_mm[0], -state.middle_mm[1])


def voxel_transform(plane: Plane, shift_voxels: float, every: tuple[int, int]) -> QTransform:
    """From the pixels of a picture, each about the voxel that it was taken from."""
    (across, down), (rows, columns) = plane.spacing_mm, every
    transform = QTransform.fromScale(across, down).translate(shift_voxels - columns / 2, shift_voxels - rows / 2)
    return transform.scale(columns, rows)
