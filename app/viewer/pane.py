"""One image pane. It draws the `PaneState` it is given and reports what the hand does; it decides nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QImage,
    QMouseEvent,
    QPainter,
    QPainterPath,
    QPaintEvent,
    QPixmap,
    QTransform,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from app.texts import tr
from app.viewer.annotations import paint_annotations, paint_captions, paint_hint
from app.viewer.drawables import foot_pixmap, image_of, paths_of, pen_of, screen_transform, voxel_transform
from app.viewer.layers import Layer, Stroke, Strokes
from app.viewer.pane_state import PaneState
from app.viewer.turns import Turns
from app.viewer.view_state import PLANE_TEXTS

_DEGREES_A_NOTCH = 120
_SKETCHED_BELOW = 0.75
"""Pixels of the screen that a voxel takes, below which lines may be sketched."""

_PIXELS_A_SAMPLE = 1.1
"""Of the screen, each way, at most, that a pixel of a picture takes while slices follow each other."""

_STROKE_PIXELS = 1.3

_Traced = tuple[tuple[object, ...], list[tuple[Stroke, QPainterPath]]]
"""Lines of one name: what they were made of, and whether they are a sketch; with their paths."""


@dataclass(frozen=True, slots=True)
class Gesture:
    """What the hand did. `place_mm` is (across, down) on the plane, `pixel` the same in the pane."""

    phase: Literal["press", "move", "release", "hover", "wheel"]
    place_mm: tuple[float, float]
    pixel: tuple[float, float]
    mm_per_pixel: float
    button: Qt.MouseButton = Qt.MouseButton.NoButton
    modifiers: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier
    notches: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class _Imaged:
    """The picture of a layer with what it was made of, of every few rows and columns."""

    key: tuple[object, ...]
    image: QImage | None
    every: tuple[int, int]


@dataclass(frozen=True, slots=True, eq=False)
class _Painted:
    """A finished picture with what it was made of."""

    shown: list[object]
    how: tuple[object, ...]
    size: QSize
    pixmap: QPixmap

    def is_of(self, shown: list[object], how: tuple[object, ...]) -> bool:
        return self.how == how and list(map(id, self.shown)) == list(map(id, shown))


class Pane(QWidget):
    """Makes a picture only where it differs from the one it made last. `turns`: where it waits to make it again.

    What follows something else before there was a rest, as in scrolling, is sketched and painted without smoothing.
    """

    gestured = Signal(object)
    left = Signal()
    double_clicked = Signal()

    def __init__(self, parent: QWidget | None = None, turns: Turns | None = None) -> None:
        super().__init__(parent)
        self.state: PaneState | None = None
        self._turns = turns or Turns(self)
        self._images: dict[object, _Imaged] = {}
        self._paths: dict[object, _Traced] = {}
        self._painted: _Painted | None = None
        self._made_for: tuple[PaneState | None, tuple[object, ...]] = (None, ())
        self._captions: _Painted | None = None
        self._smooth = True
        self._is_hurried = False
        self._turns.rest.timeout.connect(self._rest)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.ClickFocus)
        self.setMinimumSize(120, 100)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Ignored)

    def show_state(self, state: PaneState) -> None:
        """Draw a state, as far as it differs from the one before."""
        deque(self.drawing(state), maxlen=0)

    def drawing(self, state: PaneState) -> Iterator[None]:
        """Draw a state piece by piece, and show it when all of it is there."""
        if self.state is not None and state.layers and state.layers is self.state.layers:
            self._made_for = (state if self._made_for[0] is self.state else None), self._made_for[1]
            self.state = state
            self.update()
            return
        images = yield from self._imaging(state)
        paths = yield from self._tracing(state)
        if self.state is None or self.state.slot != state.slot:
            self.setAccessibleName(f"{state.title}, {tr(PLANE_TEXTS[state.slot.plane])}")
        if any(self._images.get(name) is not image for name, image in images.items()):
            self._smooth, self._is_hurried = not self._is_hurried, True
            self._turns.rest.start()
        self.state, self._images, self._paths = state, images, paths
        if state.layers and self.isVisible():
            self._make_picture(state)
        self.update()

    def clear(self) -> None:
        """Show nothing until something else is drawn, and keep no image of what was shown."""
        self.state = self._painted = None
        self._images, self._paths, self._made_for = {}, {}, (None, ())
        self.update()

    def transform(self) -> QTransform:
        """From places on the plane (mm) to pixels of this pane."""
        return screen_transform(self.state, self.width(), self.height())

    def pixel_of(self, place_mm: tuple[float, float]) -> QPointF:
        """Where a place on the plane is in this pane."""
        return self.transform().map(QPointF(*place_mm))

    def place_of(self, pixel: QPointF) -> tuple[float, float]:
        """The place on the plane (across, down) in mm under a pixel."""
        place = self.transform().inverted()[0].map(pixel)
        return place.x(), place.y()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: N802
        painter = QPainter(self)
        state = self.state
        if state is None or not state.layers:
            painter.fillRect(self.rect(), Qt.GlobalColor.black)
            if state is not None:
                paint_hint(painter, QRectF(self.rect()), state)
            return
        picture = self._painted or self._make_picture(state)
        if picture.size != self.size():
            painter.fillRect(self.rect(), Qt.GlobalColor.black)
        is_late = self._has_sketches() and not self._is_hurried
        if is_late or self._made_for[0] is not state or self._made_for[1] != self._conditions():
            self._turns.ask(self._make_again, self._make_again)
        grown = (self.size() - picture.size) / 2
        painter.drawPixmap(grown.width(), grown.height(), picture.pixmap)
        if picture.size == self.size():
            paint_annotations(painter, QRectF(self.rect()), state, self.transform())
            foot = self._foot(state)
            painter.drawPixmap(QPointF(0, self.height() - foot.deviceIndependentSize().height()), foot)

    def mousePressEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self._report("press", event, event.button())

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        if event.button() == Qt.MouseButton.LeftButton:
            self.double_clicked.emit()
        event.accept()

    def mouseMoveEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self._report("move" if event.buttons() else "hover", event, Qt.MouseButton.NoButton)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:  # noqa: N802
        self._report("release", event, event.button())

    def wheelEvent(self, event: QWheelEvent) -> None:  # noqa: N802
        notches = event.angleDelta().y() / _DEGREES_A_NOTCH
        self._emit("wheel", event.position(), modifiers=event.modifiers(), notches=notches)
        event.accept()

    def leaveEvent(self, event: QEvent) -> None:  # noqa: N802
        super().leaveEvent(event)
        self.left.emit()

    def _wanted(self, state: PaneState) -> tuple[list[object], tuple[object, ...]]:
        """What the picture is made of, all that stays while only the cursor moves, and how."""
        shown = [self._images[layer.key[0]] for layer in state.layers] + list(self._paths.values())
        opacities = [layer.opacity for layer in state.layers]
        return [*shown, self._captioned(state)], (self.transform(), self._smooth, self.size(), opacities)

    def _conditions(self) -> tuple[object, ...]:
        """What a picture depends on beside the state."""
        return self._smooth, self.size(), self.devicePixelRatioF(), self.font()

    def _make_picture(self, state: PaneState) -> _Painted:
        """Painted again where one of its pieces or its place has changed."""
        self._made_for = state, self._conditions()
        shown, how = self._wanted(state)
        known = self._painted
        if known is not None and known.is_of(shown, how):
            return known
        pixmap = self._blank(Qt.GlobalColor.black, self.size(), known)
        painter = QPainter(pixmap)
        transform = self.transform()
        self._paint_layers(painter, state, transform)
        painter.setOpacity(1)
        self._paint_paths(painter, transform)
        painter.resetTransform()
        painter.drawPixmap(0, 0, self._captioned(state).pixmap)
        painter.end()
        self._painted = made = _Painted(shown, how, self.size(), pixmap)
        return made

    def _make_again(self) -> Iterator[None]:
        """After a change of how, not of what: another size, or smoothing."""
        state = self.state
        if state is None or not state.layers:
            return
        images = yield from self._imaging(state)
        paths = yield from self._tracing(state)
        if self.state is state:
            self._images, self._paths = images, paths
            self._make_picture(state)
            self.update()

    def _is_sketched(self, state: PaneState) -> bool:
        """Whether lines may be drawn from every second pixel: while slices follow each other, of voxels so small."""
        return self._is_hurried and max(self._voxel_pixels(state)) < _SKETCHED_BELOW

    def _every(self, state: PaneState) -> tuple[int, int]:
        """Of how many rows and columns one is enough for now; no fours, with which hatching would fill or vanish."""
        if not self._is_hurried:
            return 1, 1
        across, down = (max(1, int(_PIXELS_A_SAMPLE / pixels)) for pixels in self._voxel_pixels(state))
        return down - (down % 4 == 0), across - (across % 4 == 0)

    def _voxel_pixels(self, state: PaneState) -> tuple[float, float]:
        """Pixels of the screen that a voxel takes across and down."""
        pixels_per_mm = abs(screen_transform(state, self.width(), self.height()).m11()) * self.devicePixelRatioF()
        across, down = state.plane.spacing_mm
        return across * pixels_per_mm, down * pixels_per_mm

    def _captioned(self, state: PaneState) -> _Painted:
        """What is written over a picture and stays while slices change."""
        transform = self.transform()
        place = abs(transform.m11()), self.size(), self.devicePixelRatioF(), self.font()
        how = state.title, state.plane, state.bars, state.window_text, state.prompt, *place
        known = self._captions
        if known is None or known.how != how:
            pixmap = self._blank(Qt.GlobalColor.transparent, self.size(), known)
            painter = QPainter(pixmap)
            painter.setFont(self.font())
            paint_captions(painter, QRectF(self.rect()), state, transform)
            painter.end()
            known = self._captions = _Painted([], how, self.size(), pixmap)
        return known

    def _foot(self, state: PaneState) -> QPixmap:
        """Where a pane says which slice this is, over the cursor's lines."""
        size = self.width(), 2 * self.fontMetrics().height()
        font = self.font()
        return foot_pixmap(state.place_text, *size, self.devicePixelRatioF(), font.toString(), tuple(font.families()))

    def _blank(self, color: Qt.GlobalColor, size: QSize, known: _Painted | None) -> QPixmap:
        """In the memory of a picture that is known, if it is as large: a system takes its time to give new memory."""
        ratio = self.devicePixelRatioF()
        pixels = size * ratio
        pixmap = known.pixmap if known is not None and known.pixmap.size() == pixels else QPixmap(pixels)
        pixmap.setDevicePixelRatio(ratio)
        pixmap.fill(color)
        return pixmap

    def _paint_layers(self, painter: QPainter, state: PaneState, transform: QTransform) -> None:
        for layer in state.layers:
            known = self._images[layer.key[0]]
            if known.image is not None:
                painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, layer.smooth and self._smooth)
                painter.setOpacity(layer.opacity)
                painter.setTransform(voxel_transform(state.plane, layer.shift_voxels, known.every) * transform)
                painter.drawImage(QPointF(0, 0), known.image)

    def _paint_paths(self, painter: QPainter, transform: QTransform) -> None:
        painter.setTransform(transform)
        painter.setBrush(Qt.BrushStyle.NoBrush)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, self._smooth)
        seen = transform.inverted()[0].mapRect(QRectF(self.rect()))
        for _, paths in self._paths.values():
            for stroke, path in paths:
                if not path.controlPointRect().adjusted(-1, -1, 1, 1).intersects(seen):
                    continue
                painter.setPen(pen_of(stroke.rgb, stroke.dashed, _STROKE_PIXELS if self._smooth else 1))
                painter.drawPath(path)

    def _has_sketches(self) -> bool:
        """Whether there is more to draw than was, once slices rest."""
        are_thinned = any(known.every != (1, 1) for known in self._images.values())
        return are_thinned or any(is_sketch for (*_, is_sketch), _ in self._paths.values())

    def _rest(self) -> None:
        self._is_hurried = False
        if not self._smooth or self._has_sketches():
            self._smooth = True
            self.update()

    def _report(self, phase: str, event: QMouseEvent, button: Qt.MouseButton) -> None:
        self._emit(phase, event.position(), button=button, modifiers=event.modifiers())
        event.accept()

    def _emit(self, phase: str, pixel: QPointF, **details: object) -> None:
        if self.state is not None and self.state.plane is not None:
            mm_per_pixel = 1 / abs(self.transform().m11())
            at = pixel.x(), pixel.y()
            self.gestured.emit(Gesture(phase, self.place_of(pixel), at, mm_per_pixel, **details))

    def _tracing(self, state: PaneState) -> Generator[None, None, dict[object, _Traced]]:
        """The lines of a state by their names, a piece of work for each."""
        paths = {}
        for strokes in state.strokes:
            paths[strokes.key[0]] = self._traced(strokes, self._is_sketched(state))
            yield
        return paths

    def _traced(self, strokes: Strokes, sketched: bool) -> _Traced:
        is_sketch = sketched and strokes.sketch is not None
        key, known = (*strokes.key, is_sketch), self._paths.get(strokes.key[0])
        if known is not None and known[0] in (key, (*strokes.key, False)):
            return known
        drawn = strokes.sketch() if is_sketch else strokes.draw()
        return key, [(stroke, path) for stroke in drawn for path in paths_of(stroke)]

    def _imaging(self, state: PaneState) -> Generator[None, None, dict[object, _Imaged]]:
        """The pictures of a state's layers by their names, a piece of work for each."""
        images = {}
        for layer in state.layers:
            images[layer.key[0]] = self._imaged(layer, self._every(state))
            yield
        return images

    def _imaged(self, layer: Layer, every: tuple[int, int]) -> _Imaged:
        key, known = (*layer.key, layer.levels), self._images.get(layer.key[0])
        if known is not None and known.key == key and known.every in (every, (1, 1)):
            return known
        return _Imaged(key, image_of(layer.pixels(every), layer.levels, layer.argb), every)
