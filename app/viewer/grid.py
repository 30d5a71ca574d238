"""The panes of the layout, drawn from the store and handing gestures to the tools."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial

from PySide6.QtCore import QPointF, QTimer, Signal
from PySide6.QtGui import QCursor
from PySide6.QtWidgets import QGridLayout, QWidget

from app.store import Store
from app.viewer.comparisons import COMPARISONS
from app.viewer.gestures import Tool, hand_shape, tool_for, wheel
from app.viewer.pane import Gesture, Pane
from app.viewer.pane_state import PaneState, moved, resolve
from app.viewer.pictures import Pictures
from app.viewer.planes import Plane, plane_of_keys
from app.viewer.turns import Turns
from app.viewer.view_state import LayoutName, Slot, ViewState

_CELLS: dict[LayoutName, tuple[tuple[int, int, int, int], ...]] = {
    "compare": ((0, 0, 1, 1), (0, 1, 1, 1), (1, 0, 1, 1), (1, 1, 1, 1)),
    "orientations": ((0, 0, 2, 1), (0, 1, 1, 1), (1, 1, 1, 1)),
    "sheet": tuple((row, column, 1, 1) for row in range(3) for column in range(4)),
    "single": ((0, 0, 1, 1),),
}
"""Row, column, rows, columns of each pane."""

_MOST = (3, 4)
"""Rows and columns of the largest layout."""

_STRETCHED: dict[LayoutName, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "compare": ((1, 1), (1, 1)),
    "orientations": ((1, 1), (3, 2)),
    "sheet": ((1, 1, 1), (1, 1, 1, 1)),
    "single": ((1,), (1,)),
}
"""How rows and columns share the room."""


@dataclass(frozen=True, slots=True)
class _Resolved:
    """What a pane shows, and what that was made of beside the view."""

    made_of: tuple[object, ...]
    view: ViewState
    state: PaneState


class Grid(QWidget):
    """Draws what has changed a few panes at a time, that under the hand first.

    `hovered` carries the index (z, y, x) of a pixel, or `None`.
    `view`: how the panes are arranged, the store's unless `own_layout` is given.
    """

    hovered = Signal(object)
    rearranged = Signal()

    def __init__(self, store: Store, parent: QWidget | None = None, own_layout: LayoutName | None = None) -> None:
        super().__init__(parent)
        self._store = store
        self._own = None if own_layout is None else ViewState(layout=own_layout)
        self._known: dict[Slot, _Resolved] = {}
        self._pictures: Pictures | None = None
        self._tool: Tool | None = None
        self._held_on: Plane | None = None
        self._layout_name: LayoutName | None = None
        self._turns = Turns(self)
        self._panes = [Pane(self, self._turns) for _ in range(_MOST[0] * _MOST[1])]
        self._under_hand: Pane | None = None
        self._cells = QGridLayout(self)
        self._cells.setContentsMargins(0, 0, 0, 0)
        self._cells.setSpacing(2)
        for pane in self._panes:
            pane.gestured.connect(partial(self._on_gesture, pane))
            pane.double_clicked.connect(partial(self._enlarge, pane))
            pane.left.connect(self._leave)
        self._due = QTimer(self, singleShot=True, interval=0)
        self._due.timeout.connect(self._draw)
        for signal in (store.view_changed, store.pictures_changed, store.boxes_changed, store.pairs_changed):
            signal.connect(self._due.start)
        store.view_changed.connect(self._point)
        self._draw()

    def refresh(self) -> None:
        """Draw the store as it is now, all of it."""
        self._due.stop()
        self._turns.forget()
        self._prepare()
        for pane, slot in zip(self.panes, self.view.slots(), strict=True):
            pane.show_state(self._resolved(slot))

    def _draw(self) -> None:
        """Begin to draw the store as it is now."""
        self._prepare()
        for pane, slot in zip(self.panes, self.view.slots(), strict=True):
            if pane.state is not None and pane.state.slot != slot:
                pane.clear()
            self._turns.ask(pane, partial(self._drawing, pane, slot), first=pane is self._under_hand)
        self._turns.go_on()

    def _prepare(self) -> None:
        """Have the panes of the layout, and keep no images that are closed for the others."""
        self._arrange(self.view.layout)
        slots = self.view.slots()
        self._known = {slot: known for slot, known in self._known.items() if slot in slots}
        if self._store.pictures is not self._pictures:
            self._pictures = self._store.pictures
            for pane in self._panes[len(slots) :]:
                pane.clear()

    def _drawing(self, pane: Pane, slot: Slot) -> Iterator[None]:
        return pane.drawing(self._resolved(slot))

    def _resolved(self, slot: Slot) -> PaneState:
        store, known = self._store, self._known.get(slot)
        made_of = store.pictures, store.boxes, store.selected, store.pairs()
        state = None
        if known is not None and all(part is other for part, other in zip(known.made_of, made_of, strict=True)):
            state = moved(known.state, known.view, store.view)
        if state is None:
            state = resolve(store.pictures, store.view, slot, *made_of[1:])
        self._known[slot] = _Resolved(made_of, store.view, state)
        return state

    @property
    def panes(self) -> list[Pane]:
        """Those of the layout, in reading order."""
        return self._panes[: len(self.view.slots())]

    @property
    def view(self) -> ViewState:
        return self._store.view if self._own is None else self._own

    def arrange(self, layout: LayoutName) -> None:
        """Another layout: of this grid if it has its own, of all that follow the store otherwise."""
        self._show(self.view.arranged(layout))

    def rearrange(self, **changes: object) -> None:
        """Another layout, plane or image, as `arrange`."""
        self._show(replace(self.view, **changes))

    def enlarge(self, slot: Slot | None = None) -> None:
        """One pane alone, that of the chosen plane and image if none is given, or all of them again."""
        self._tool = None
        self._show(self.view.enlarged(slot or Slot(self.view.plane, self.view.image)))

    def plane_of_keys(self) -> Plane:
        """In which the arrow keys go from slice to slice."""
        view = replace(self._store.view, layout=self.view.layout, plane=self.view.plane, image=self.view.image)
        return plane_of_keys(self._store.pictures.geometry, view)

    def _enlarge(self, pane: Pane) -> None:
        if pane.state is not None and pane.state.plane is not None and not self._store.view.marking:
            self.enlarge(pane.state.slot)

    def _show(self, view: ViewState) -> None:
        if self._own is None:
            self._store.set_view(view)
        else:
            self._own = view
            self._draw()
            self.rearranged.emit()

    def _leave(self) -> None:
        self.hovered.emit(None)
        if self._store.view.pointer_zyx is not None:
            self._store.change_view(pointer_zyx=None)

    def _point(self) -> None:
        """What follows the pointer begins where it rests already."""
        view = self._store.view
        if view.pointer_zyx is not None or view.comparison is None or not COMPARISONS[view.comparison].follows_pointer:
            return
        pane = next((pane for pane in self.panes if pane.underMouse()), None)
        if pane is not None and self._is_of_the_images(pane):
            place_mm = pane.place_of(QPointF(pane.mapFromGlobal(QCursor.pos())))
            self._store.change_view(pointer_zyx=pane.state.plane.index_at(place_mm, pane.state.plane.cursor(view)))

    def _arrange(self, layout: LayoutName) -> None:
        if layout == self._layout_name:
            return
        self._layout_name = layout
        self._turns.forget()
        cells = _CELLS[layout]
        for pane in self._panes:
            self._cells.removeWidget(pane)
        for pane, cell in zip(self._panes, cells, strict=False):
            self._cells.addWidget(pane, *cell)
        rows, columns = _STRETCHED[layout]
        for number in range(_MOST[0]):
            self._cells.setRowStretch(number, rows[number] if number < len(rows) else 0)
        for number in range(_MOST[1]):
            self._cells.setColumnStretch(number, columns[number] if number < len(columns) else 0)
        for number, pane in enumerate(self._panes):
            pane.setVisible(number < len(cells))
        self._cells.activate()

    def _on_gesture(self, pane: Pane, gesture: Gesture) -> None:
        store, state, self._under_hand = self._store, pane.state, pane
        if not self._is_of_the_images(pane):
            self._tool = None
            return
        if state.plane != self._held_on and gesture.phase in ("move", "release"):
            self._tool = None
        if gesture.phase == "wheel":
            wheel(store, state, gesture)
        elif gesture.phase == "press":
            self._tool, self._held_on = tool_for(store, state, gesture), state.plane
        elif gesture.phase == "move" and self._tool is not None:
            self._tool.move(gesture)
        elif gesture.phase == "release" and self._tool is not None:
            tool, self._tool = self._tool, None
            tool.release(gesture)
        elif gesture.phase == "hover":
            pane.setCursor(hand_shape(state, gesture))
        self._hover(pane, gesture)

    def _is_of_the_images(self, pane: Pane) -> bool:
        """Whether a pane shows the grid of the images that are open, and not still that of others until its turn."""
        pictures, plane = self._store.pictures, None if pane.state is None else pane.state.plane
        return pictures is not None and plane is not None and plane.voxels == pictures.geometry

    def _hover(self, pane: Pane, gesture: Gesture) -> None:
        plane = pane.state.plane
        view = self._store.view
        index = plane.pixel(gesture.place_mm, plane.cursor(view))
        self.hovered.emit(index if plane.shows(index) else None)
        if view.comparison is not None and COMPARISONS[view.comparison].follows_pointer:
            self._store.change_view(pointer_zyx=plane.index_at(gesture.place_mm, plane.cursor(view)))
