"""The structures: what is seen, how large it is, and how well the carried ones agree with those of the fixed image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPixmap
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from app.menus import Actions
from app.panels.parts import Panel, action_button, label, row
from app.store import Store
from app.texts import mark, tr
from app.viewer.contours import RGB, color_of

if TYPE_CHECKING:
    from engine.agreement import StructureFigures

_HELP = mark("Load label images on the grid of the fixed or the moving image.")
_LEGEND = mark("Solid: of the fixed image. Dashed: carried from the moving one.")
_COLUMNS = {
    "": mark("What is seen; its number in the label images"),
    mark("cm³"): mark("Volume in the fixed image, or in the moving one where it is in that alone"),
    mark("Dice"): mark("Overlap of the fixed structure with the carried one at this state, 0 to 1"),
    mark("mm"): mark("Mean distance of the two surfaces, and the 95th percentile, at this state"),
}
_SWATCH_PIXELS = 10


class StructuresPanel(Panel):
    """A table of the structures; figures are those of the current state, dashes until they are computed."""

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__()
        self._store = store
        self._filling = False
        self._numbers: tuple[int, ...] = ()
        self._figures: dict[int, StructureFigures] = {}
        self._hidden: frozenset[int] = frozenset()
        self.table = QTableWidget(0, len(_COLUMNS))
        self.table.setAccessibleName(tr("Contours"))
        self.table.setHorizontalHeaderLabels([tr(text) if text else "" for text in _COLUMNS])
        for column, tooltip in enumerate(_COLUMNS.values()):
            self.table.horizontalHeaderItem(column).setToolTip(tr(tooltip))
            how = QHeaderView.ResizeMode.ResizeToContents if column else QHeaderView.ResizeMode.Stretch
            self.table.horizontalHeader().setSectionResizeMode(column, how)
        self.table.horizontalHeader().setHighlightSections(False)
        self.table.verticalHeader().hide()
        self.table.setShowGrid(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setToolTip(tr("Tick what is to be seen"))
        self.legend = label(role="dim", wrap=True)
        self.body.addWidget(self.table, 1)
        self.body.addWidget(self.legend)
        self.body.addLayout(
            row(
                action_button(actions["load_fixed_contours"], tr("Fixed …")),
                action_button(actions["load_moving_contours"], tr("Moving …")),
                action_button(actions["forget_contours"], tr("Forget")),
            )
        )
        self.table.itemChanged.connect(self._tick)
        for signal in (store.case_changed, store.agreement_changed):
            signal.connect(self.show_structures)
        store.view_changed.connect(self._follow_view)
        self.show_structures()

    def show_structures(self) -> None:
        """List the structures; while figures of another state are computed, volumes stay."""
        case, agreement = self._store.case, self._store.agreement
        numbers = () if case is None else case.structures.numbers
        if numbers != self._numbers:
            self._numbers, self._figures = numbers, {}
        self._figures = agreement or self._figures
        self._filling, self._hidden = True, self._store.view.hidden_structures
        self.table.setRowCount(len(numbers))
        for line, number in enumerate(numbers):
            self._fill(line, number, texts_of(self._figures.get(number), agreement is not None))
        self._filling = False
        self.legend.setText(tr(_LEGEND) if numbers else tr(_HELP))

    def _follow_view(self) -> None:
        if self._store.view.hidden_structures != self._hidden:
            self.show_structures()

    def _fill(self, line: int, number: int, texts: tuple[str, str, str]) -> None:
        if self.table.item(line, 0) is None:
            for column in range(len(_COLUMNS)):
                self.table.setItem(line, column, _item(column))
        name = self.table.item(line, 0)
        name.setText(str(number))
        name.setData(Qt.ItemDataRole.UserRole, number)
        name.setData(Qt.ItemDataRole.DecorationRole, _swatch(color_of(number, self._numbers)))
        name.setCheckState(Qt.CheckState.Unchecked if number in self._hidden else Qt.CheckState.Checked)
        for column, text in enumerate(texts, start=1):
            self.table.item(line, column).setText(text)
        self.table.item(line, 1).setToolTip(sizes_text(self._figures.get(number)))

    def _tick(self, item: QTableWidgetItem) -> None:
        if self._filling or item.column() != 0:
            return
        structure, view = item.data(Qt.ItemDataRole.UserRole), self._store.view
        is_seen = item.checkState() == Qt.CheckState.Checked
        hidden = view.hidden_structures - {structure} if is_seen else view.hidden_structures | {structure}
        self._store.change_view(hidden_structures=hidden)


def texts_of(figures: StructureFigures | None, are_current: bool) -> tuple[str, str, str]:
    """Volume, Dice and distances of a structure as the table has them; dashes for what is not known."""
    if figures is None:
        return "–", "–", "–"
    size = figures.moving_cm3 if figures.fixed_cm3 is None else figures.fixed_cm3
    agreement = figures.overlap if are_current else None
    if agreement is None:
        is_missed = are_current and None not in (figures.fixed_cm3, figures.moving_cm3)
        return f"{size:.1f}", "0.00" if is_missed else "–", "–"
    return f"{size:.1f}", f"{agreement.dice:.2f}", f"{agreement.mda_mm:.1f} · {agreement.hd95_mm:.1f}"


def sizes_text(figures: StructureFigures | None) -> str:
    """Both volumes."""
    if figures is None:
        return ""
    sizes = {tr("Fixed: {size:.1f} cm³"): figures.fixed_cm3, tr("Moving: {size:.1f} cm³"): figures.moving_cm3}
    return ", ".join(text.format(size=size) for text, size in sizes.items() if size is not None)


def _swatch(color: RGB) -> QPixmap:
    pixmap = QPixmap(_SWATCH_PIXELS, _SWATCH_PIXELS)
    pixmap.fill(QColor(*color))
    return pixmap


def _item(column: int) -> QTableWidgetItem:
    item = QTableWidgetItem()
    flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
    item.setFlags(flags if column else flags | Qt.ItemFlag.ItemIsUserCheckable)
    if column:
        item.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
    return item
