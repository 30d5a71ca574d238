"""The pairs of points: where they are, and how far the current state is off at each."""

from __future__ import annotations

from PySide6.QtCore import QEvent, Qt
from PySide6.QtGui import QKeyEvent, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from app.menus import Actions
from app.panels.parts import Panel, action_button, label, row
from app.store import Store
from app.texts import mark, tr
from app.viewer.planes import letters

_HELP = mark(
    "Press P, click a place in the fixed image, then the same place in the moving one. Later refinements follow it."
)
_AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))


class PointsPanel(Panel):
    """A table of the pairs; distances are those of the current state."""

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__()
        self._store = store
        self.table = PairTable(actions)
        self.summary = label(role="dim", wrap=True)
        self.body.addWidget(self.table, 1)
        self.body.addWidget(self.summary)
        self.body.addLayout(
            row(action_button(actions["add_pair"], tr("Add (P)")), action_button(actions["delete_pair"], tr("Delete")))
        )
        self.table.cellClicked.connect(lambda number, _column: self._go_to(number))
        self.table.currentCellChanged.connect(lambda number, *_: self._select(number))
        self._filling = False
        self._shown: tuple[object, ...] = ()
        for signal in (store.case_changed, store.pairs_changed, store.pictures_changed, store.draft_changed):
            signal.connect(self.show_pairs)
        self.show_pairs()

    def show_pairs(self) -> None:
        """List the pairs with |T(p) − q| as the images are shown: at the current state, by a running step or a hand."""
        case, selected = self._store.case, self._store.selected_pair
        distances = self._store.pair_distances_mm()
        shown = distances, selected, None if case is None else case.guidance
        if shown == self._shown:
            return
        self._shown = shown
        self._filling = True
        self.table.setRowCount(len(distances))
        for number, distance in enumerate(distances):
            place = _place_text(case.guidance.fixed_points_mm[number])
            for column, text in enumerate((f"{number + 1}   {place}", f"{distance:.1f} mm")):
                self.table.setItem(number, column, _item(text, column))
        if selected is None:
            self.table.clearSelection()
        elif selected < len(distances):
            self.table.setCurrentCell(selected, 0)
        self._filling = False
        self.summary.setText(summary_text(distances) or tr(_HELP))

    def _select(self, number: int) -> None:
        if not self._filling and number >= 0:
            self._go_to(number)

    def _go_to(self, number: int) -> None:
        store = self._store
        store.select_pair(number)
        x, y, z = store.case.fixed.geometry.indices(store.case.guidance.fixed_points_mm[number])[0]
        store.set_view(store.view.at((round(z), round(y), round(x)), store.case.fixed.geometry.shape_zyx))


class PairTable(QTableWidget):
    """Del removes the selected pair while the table has the focus; elsewhere it removes a region."""

    def __init__(self, actions: Actions) -> None:
        super().__init__(0, 2)
        self._delete = actions["delete_pair"]
        self.setAccessibleName(tr("Point pairs"))
        self.setHorizontalHeaderLabels([tr("Fixed place, mm"), tr("Off now")])
        self.horizontalHeaderItem(1).setToolTip(tr("How far the current state takes the fixed point from its partner"))
        self.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.horizontalHeader().setSectionResizeMode(1, QHeaderView.ResizeMode.ResizeToContents)
        self.horizontalHeader().setHighlightSections(False)
        self.verticalHeader().hide()
        self.setShowGrid(False)
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.setToolTip(tr("Click to go to a pair; Del removes it"))

    def event(self, event: QEvent) -> bool:
        if event.type() == QEvent.Type.ShortcutOverride and event.matches(QKeySequence.StandardKey.Delete):
            event.accept()
            return True
        return super().event(event)

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        if event.matches(QKeySequence.StandardKey.Delete):
            self._delete.trigger()
        else:
            super().keyPressEvent(event)


def summary_text(distances_mm: list[float]) -> str:
    """Mean and largest distance; nothing where there is no pair."""
    if not distances_mm:
        return ""
    mean = sum(distances_mm) / len(distances_mm)
    return tr("mean {mean:.1f} mm, largest {largest:.1f} mm now").format(mean=mean, largest=max(distances_mm))


def _place_text(point_mm: tuple[float, float, float]) -> str:
    return "  ".join(f"{letters(axis)} {value:.0f}" for axis, value in zip(_AXES, point_mm, strict=True))


def _item(text: str, column: int) -> QTableWidgetItem:
    item = QTableWidgetItem(text)
    item.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
    if column:
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item
