"""The panes of the layout, drawn from the store and handing gestures to the tools."""

from __future__ import annotations

from functools import partial

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QGridLayout, QWidget

from app.store import Store
from app.viewer.gestures import Tool, hand_shape, tool_for, wheel
from app.viewer.pane import Gesture, Pane
from app.viewer.slicing import resolve
from app.viewer.view_state import LayoutName

_CELLS: dict[LayoutName, tuple[tuple[int, int, int, int], ...]] = {
    "compare": ((0, 0, 1, 1), (0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 1, 1)),
    "orientations": ((0, 0, 2, 1), (0, 1, 1, 1), (1, 1, 1, 1)),
}
"""Row, column, rows, columns of each pane."""


class Grid(QWidget):
    """Redraws at most once per turn of the event loop. `hovered` carries a voxel (z, y, x), or `None`."""

    hovered = Signal(object)

    def __init__(self, store: Store, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._tool: Tool | None = None
        self._layout_name: LayoutName | None = None
        self.panes = [Pane(self) for _ in range(4)]
        self._cells = QGridLayout(self)
        self._cells.setContentsMargins(0, 0, 0, 0)
        self._cells.setSpacing(2)
        for pane in self.panes:
            pane.gestured.connect(partial(self._on_gesture, pane))
            pane.left.connect(partial(self.hovered.emit, None))
        self._due = QTimer(self, singleShot=True, interval=0)
        self._due.timeout.connect(self.refresh)
        for signal in (store.view_changed, store.pictures_changed, store.boxes_changed, store.pairs_changed):
            signal.connect(self._due.start)
        self.refresh()

    def refresh(self) -> None:
        """Draw the store as it is now."""
        self._due.stop()
        store = self._store
        self._arrange(store.view.layout)
        for pane, slot in zip(self.panes, store.view.slots(), strict=False):
            pane.show_state(resolve(store.pictures, store.view, slot, store.boxes, store.selected, store.pairs()))

    def _arrange(self, layout: LayoutName) -> None:
        if layout == self._layout_name:
            return
        self._layout_name = layout
        cells = _CELLS[layout]
        for pane in self.panes:
            self._cells.removeWidget(pane)
        for pane, cell in zip(self.panes, cells, strict=False):
            self._cells.addWidget(pane, *cell)
        for row_or_column in range(2):
            self._cells.setRowStretch(row_or_column, 1)
        self._cells.setColumnStretch(0, 1 if layout == "compare" else 3)
        self._cells.setColumnStretch(1, 1 if layout == "compare" else 2)
        for number, pane in enumerate(self.panes):
            pane.setVisible(number < len(cells))

    def _on_gesture(self, pane: Pane, gesture: Gesture) -> None:
        store, state = self._store, pane.state
        if gesture.phase == "wheel":
            wheel(store, state, gesture)
        elif gesture.phase == "press":
            self._tool = tool_for(store, state, gesture)
        elif gesture.phase == "move" and self._tool is not None:
            self._tool.move(gesture)
        elif gesture.phase == "release" and self._tool is not None:
            tool, self._tool = self._tool, None
            tool.release(gesture)
        elif gesture.phase == "hover":
            pane.setCursor(hand_shape(state, gesture))
        self._hover(pane, gesture)

    def _hover(self, pane: Pane, gesture: Gesture) -> None:
        plane = pane.state.plane
        voxel = plane.voxel(gesture.place_mm, self._store.view.cursor_zyx)
        inside = all(0 <= i < n for i, n in zip(voxel, plane.shape_zyx, strict=True))
        self.hovered.emit(voxel if inside else None)
