"""What is written and drawn over an image: cursor, boxes with handles, edge letters, captions."""

from __future__ import annotations

from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QLinearGradient, QPainter, QPen, QTransform

from app.viewer.box_outlines import Outline
from app.viewer.boxes import EXCLUDED_RGB, RIGID_RGB
from app.viewer.layers import ColorBar
from app.viewer.marks import Mark
from app.viewer.pane_state import PaneState, ring_radii
from app.viewer.planes import Plane
from engine.regions import Use

CURSOR_COLOR = QColor(75, 150, 170)
SELECTED_COLOR = QColor(255, 176, 0)
BOX_COLOR = QColor(240, 228, 120)
_COLORS: dict[Use, QColor] = {"optimise": BOX_COLOR, "rigid": QColor(*RIGID_RGB), "excluded": QColor(*EXCLUDED_RGB)}
_LINES: dict[Use, Qt.PenStyle] = {
    "optimise": Qt.PenStyle.SolidLine,
    "rigid": Qt.PenStyle.DashLine,
    "excluded": Qt.PenStyle.DashDotLine,
}
_TEXT_COLOR = QColor(225, 230, 235)
_DIM_TEXT_COLOR = QColor(165, 172, 180)
_SHADOW_COLOR = QColor(0, 0, 0, 190)
_PLATE_COLOR = QColor(0, 0, 0, 135)
"""Behind every text: the difference is grey where the images agree."""

_MARGIN = 6
_HANDLE_PIXELS = 7
_NAME_PIXELS = 150
"""A name may be longer than its box by as much."""

_CURSOR_GAP = 9
_MARK_PIXELS = 5.0

_BAR_WIDTH, _BAR_HEIGHT = 120, 7
_WIDE, _HIGH = 330, 210
"""Smaller panes leave out the window and the colour bars."""

_SCALE_SHARE = 0.25
"""Of the width of a pane: the longest scale bar."""

_SCALES_MM = (1, 2, 5, 10, 20, 50, 100, 200)

_ALIGN = Qt.AlignmentFlag


def paint_annotations(painter: QPainter, rect: QRectF, state: PaneState, transform: QTransform) -> None:
    """Paint in pixels what moves over the picture of a pane: cursor, guides, boxes, marks."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    _paint_cursor(painter, rect, transform.map(QPointF(*state.cursor_mm)))
    _paint_guides(painter, rect, state, transform)
    if state.is_draft:
        _paint_ring(painter, state.plane, transform)
    names: list[QRectF] = []
    for shape in state.outlines:
        _paint_outline(painter, shape, transform, names)
    for mark in state.marks:
        _paint_mark(painter, mark, transform.map(QPointF(*mark.place_mm)))


def paint_place(painter: QPainter, rect: QRectF, place_text: str) -> None:
    """Paint in pixels which slice it is."""
    _write(painter, rect, _ALIGN.AlignLeft | _ALIGN.AlignBottom, place_text, _DIM_TEXT_COLOR)


def paint_captions(painter: QPainter, rect: QRectF, state: PaneState, transform: QTransform) -> None:
    """Paint in pixels what stays while slices change: title, edge letters, scale, colour bars, window and task."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    _paint_edges(painter, rect, state)
    _paint_scale(painter, rect, abs(transform.m11()))
    for number, bar in enumerate(state.bars if rect.height() >= _HIGH else ()):
        _paint_bar(painter, rect, bar, number)
    _write(painter, rect, _ALIGN.AlignLeft | _ALIGN.AlignTop, state.title, bold=True)
    if rect.width() >= _WIDE:
        _write(painter, rect, _ALIGN.AlignRight | _ALIGN.AlignBottom, state.window_text, _DIM_TEXT_COLOR)
    _write(painter, rect, _ALIGN.AlignRight | _ALIGN.AlignTop, state.prompt, SELECTED_COLOR)


def paint_hint(painter: QPainter, rect: QRectF, state: PaneState) -> None:
    """Paint what an empty pane says."""
    _write(painter, rect, _ALIGN.AlignLeft | _ALIGN.AlignTop, state.title, bold=True)
    _write_hint(painter, rect, state.hint)


def _paint_cursor(painter: QPainter, rect: QRectF, at: QPointF) -> None:
    """Four arms with a gap; filled rectangles paint much faster than lines."""
    x, y = round(at.x()), round(at.y())
    width, height = round(rect.width()), round(rect.height())
    painter.fillRect(0, y, x - _CURSOR_GAP, 1, CURSOR_COLOR)
    painter.fillRect(x + _CURSOR_GAP, y, width - x, 1, CURSOR_COLOR)
    painter.fillRect(x, 0, 1, y - _CURSOR_GAP, CURSOR_COLOR)
    painter.fillRect(x, y + _CURSOR_GAP, 1, height - y, CURSOR_COLOR)


def _paint_guides(painter: QPainter, rect: QRectF, state: PaneState, transform: QTransform) -> None:
    """Where two images meet."""
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if state.split_mm is not None:
        x = round(transform.map(QPointF(state.split_mm, 0)).x())
        painter.fillRect(x, 0, 1, round(rect.height()), SELECTED_COLOR)
    if state.glass_mm is not None:
        across, down, radius = state.glass_mm
        painter.setPen(QPen(SELECTED_COLOR, 1))
        pixels = radius * abs(transform.m11())
        painter.drawEllipse(transform.map(QPointF(across, down)), pixels, pixels)


def _paint_scale(painter: QPainter, rect: QRectF, pixels_per_mm: float) -> None:
    """A line of a round number of millimetres, above the text at the lower right."""
    longest_mm = _SCALE_SHARE * rect.width() / pixels_per_mm
    length_mm = max((mm for mm in _SCALES_MM if mm <= longest_mm), default=_SCALES_MM[0])
    line = painter.fontMetrics().height()
    right, y = round(rect.right()) - _MARGIN, round(rect.bottom()) - 2 * line
    left = round(right - length_mm * pixels_per_mm)
    for color, shift in ((_SHADOW_COLOR, 1), (_TEXT_COLOR, 0)):
        painter.fillRect(left + shift, y + shift, right - left, 1, color)
        for x in (left, right - 1):
            painter.fillRect(x + shift, y - 3 + shift, 1, 7, color)
    place = QRectF(right - 200, y - line - 3, 200, line)
    _draw_text(painter, place, _ALIGN.AlignRight | _ALIGN.AlignBottom, f"{length_mm} mm", _DIM_TEXT_COLOR)


def _paint_bar(painter: QPainter, rect: QRectF, bar: ColorBar, number: int) -> None:
    """Below the title: what the colours mean, the bar, and its values."""
    line = painter.fontMetrics().height()
    left, top = rect.left() + _MARGIN, rect.top() + _MARGIN + line + 3 + number * (2 * line + _BAR_HEIGHT + 8)
    dim = _DIM_TEXT_COLOR
    _draw_text(painter, QRectF(left, top, rect.width() - 2 * _MARGIN, line), _ALIGN.AlignLeft, bar.title, dim)
    box = QRectF(left, top + line + 1, _BAR_WIDTH, _BAR_HEIGHT)
    gradient = QLinearGradient(box.topLeft(), box.topRight())
    for i, rgb in enumerate(bar.stops):
        gradient.setColorAt(i / (len(bar.stops) - 1), QColor(*rgb))
    painter.fillRect(box, gradient)
    painter.setPen(QPen(_DIM_TEXT_COLOR, 1))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRect(box)
    sides = (_ALIGN.AlignLeft, _ALIGN.AlignHCenter, _ALIGN.AlignRight)
    values = QRectF(left, box.bottom() + 1, _BAR_WIDTH, line)
    for label, side in zip(bar.labels, sides, strict=True):
        _draw_text(painter, values, side, label, _DIM_TEXT_COLOR)


def _paint_ring(painter: QPainter, plane: Plane, transform: QTransform) -> None:
    """Inside it a drag moves the moving image, outside it turns it."""
    middle, (across, down) = ring_radii(plane)
    ring = QRectF(middle[0] - across, middle[1] - down, 2 * across, 2 * down)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
    painter.setPen(QPen(SELECTED_COLOR, 1, Qt.PenStyle.DotLine))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawEllipse(transform.mapRect(ring))
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)


def _paint_outline(painter: QPainter, shape: Outline, transform: QTransform, names: list[QRectF]) -> None:
    """A box and its name, below those of `names` that are there already."""
    if not (shape.on_slice or shape.selected):
        return
    color = SELECTED_COLOR if shape.selected else _COLORS[shape.use]
    pen = QPen(color, 2 if shape.selected and shape.on_slice else 1)
    pen.setStyle(_LINES[shape.use] if shape.on_slice else Qt.PenStyle.DotLine)
    low, high = QPointF(shape.across[0], shape.down[0]), QPointF(shape.across[1], shape.down[1])
    rect = QRectF(transform.map(low), transform.map(high)).normalized()
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    if shape.cut_mm:
        painter.drawPolygon([transform.map(QPointF(*place)) for place in shape.cut_mm])
    else:
        painter.drawRect(rect)
    if not shape.on_slice:
        return
    metrics = painter.fontMetrics()
    room = QRectF(rect.left() + 2, rect.top() - metrics.height() - 3, max(rect.width(), _NAME_PIXELS), metrics.height())
    name = metrics.elidedText(shape.name, Qt.TextElideMode.ElideMiddle, round(room.width()))
    place = painter.boundingRect(room, _ALIGN.AlignLeft, name)
    while any(place.intersects(other) for other in names):
        place.translate(0, metrics.height() + 1)
    names.append(place)
    _draw_text(painter, place, _ALIGN.AlignLeft, name, color)
    _paint_handles(painter, shape, transform)


def _paint_handles(painter: QPainter, shape: Outline, transform: QTransform) -> None:
    painter.setPen(QPen(Qt.GlobalColor.black, 1))
    painter.setBrush(SELECTED_COLOR)
    half = _HANDLE_PIXELS / 2
    for handle in shape.handles:
        at = transform.map(QPointF(*handle.place_mm))
        square = QRectF(at.x() - half, at.y() - half, _HANDLE_PIXELS, _HANDLE_PIXELS)
        if handle.faces:
            painter.drawRect(square)
        else:
            painter.drawEllipse(square)


def _paint_mark(painter: QPainter, mark: Mark, at: QPointF) -> None:
    """A ring round the place, which stays in sight, and the number; dotted where the place is on the next slice."""
    color = SELECTED_COLOR if mark.selected else BOX_COLOR
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, True)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for pen in (QPen(_SHADOW_COLOR, 4), QPen(color, 2)):
        if not mark.on_slice:
            pen = QPen(pen.color(), pen.width() - 1, Qt.PenStyle.DotLine)
        painter.setPen(pen)
        painter.drawEllipse(at, _MARK_PIXELS, _MARK_PIXELS)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)
    place = QRectF(at.x() + _MARK_PIXELS + 2, at.y() - 2 * _MARK_PIXELS - 6, 60, 20)
    _draw_text(painter, place, _ALIGN.AlignLeft | _ALIGN.AlignBottom, mark.text, color)


def _paint_edges(painter: QPainter, rect: QRectF, state: PaneState) -> None:
    left, right, top, bottom = state.plane.edges
    vertical, horizontal = _ALIGN.AlignVCenter, _ALIGN.AlignHCenter
    _write(painter, rect, _ALIGN.AlignLeft | vertical, left)
    _write(painter, rect, _ALIGN.AlignRight | vertical, right)
    line = painter.fontMetrics().height()
    inner = rect.adjusted(0, line, 0, -line)
    _write(painter, inner, _ALIGN.AlignTop | horizontal, top)
    _write(painter, inner, _ALIGN.AlignBottom | horizontal, bottom)


def _write_hint(painter: QPainter, rect: QRectF, hint: str) -> None:
    font = painter.font()
    font.setBold(False)
    font.setPointSizeF(font.pointSizeF() * 1.15)
    painter.save()
    painter.setFont(font)
    inner = rect.adjusted(_MARGIN, 0, -_MARGIN, 0)
    painter.setPen(_DIM_TEXT_COLOR)
    painter.drawText(inner, _ALIGN.AlignCenter.value | Qt.TextFlag.TextWordWrap.value, hint)
    painter.restore()


def _write(
    painter: QPainter, rect: QRectF, where: Qt.AlignmentFlag, text: str, color: QColor = _TEXT_COLOR, bold: bool = False
) -> None:
    inner = rect.adjusted(_MARGIN, _MARGIN - 2, -_MARGIN, 2 - _MARGIN)
    font = painter.font()
    if font.bold() != bold:
        font.setBold(bold)
        painter.setFont(font)
    shown = painter.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, round(inner.width()))
    _draw_text(painter, inner, where, shown, color)


def _draw_text(painter: QPainter, rect: QRectF, where: Qt.AlignmentFlag, text: str, color: QColor) -> None:
    if text:
        painter.fillRect(painter.boundingRect(rect, where, text).adjusted(-2, 0, 2, 0), _PLATE_COLOR)
    painter.setPen(color)
    painter.drawText(rect, where, text)
