"""The states of the case with their figures: undo, redo, go to any of them, compare with one, take a region back."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QBrush, QColor, QIcon, QImage, QPainter, QPixmap, QResizeEvent
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QMenu

from app import theme
from app.fits import FITS_IN_LINE
from app.menus import Actions
from app.panels.parts import Panel, action_button, row
from app.plan import short_error_text, step_text
from app.store import Store
from app.texts import tr, tr_count
from engine.case import Case
from engine.pictures import THUMBNAIL, Picture
from engine.registration import Registration, Step

_INDENT = 10
"""Pixels by which a state on another branch is set in."""

_COMMANDS = ("compare_state", "stop_comparing", "take_back", "delete_branch")


class StateList(QListWidget):
    """Keeps the chosen state in sight when its room changes."""

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802
        super().resizeEvent(event)
        self.scrollTo(self.currentIndex())


class HistoryPanel(Panel):
    """Three lines a state; a click or Return goes there. `chosen` carries the number of the state."""

    chosen = Signal(int)

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__(tr("History"))
        self._store = store
        self._filling = False
        self.list = StateList(toolTip=tr("Click a state to go back or forth to it, right-click for more"))
        self.list.setAccessibleName(tr("History of the registration"))
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.list.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.list.setIconSize(QSize(THUMBNAIL + _INDENT, THUMBNAIL))
        self.list.itemClicked.connect(self._choose)
        self.list.itemActivated.connect(self._choose)
        self.list.currentRowChanged.connect(self._mark)
        self.menu = QMenu(self.list)
        self.menu.addActions([actions[name] for name in _COMMANDS])
        self.menu.setToolTipsVisible(True)
        self.list.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.list.customContextMenuRequested.connect(self._show_menu)
        self.body.addWidget(self.list, 1)
        self.body.addLayout(
            row(
                action_button(actions["undo"], tr("Undo")),
                action_button(actions["redo"], tr("Redo")),
                action_button(actions["compare_state"], tr("Compare")),
            )
        )
        store.case_changed.connect(self.show_case)
        for signal in (store.run_changed, store.draft_changed):
            signal.connect(self._guard)
        store.view_changed.connect(self._follow_comparison)
        store.history_changed.connect(self._show_thumbnails)
        self._compared: int | None = None
        self._shown: tuple[str, int, tuple[int, ...]] | None = None
        self._numbers: tuple[int, ...] = ()
        self.show_case()

    def show_case(self) -> None:
        """List the states in the order in which they came; those beyond undo and redo dimmed and set in."""
        case = self._store.case
        shown = None if case is None else (case.id, case.cursor, case.numbers)
        marked = self._store.marked_state if shown == self._shown else None
        self._shown = shown
        self._numbers = () if case is None else case.numbers
        self._filling = True
        self.list.clear()
        if case is None:
            item = QListWidgetItem(tr("Each finished step appears here"))
            item.setFlags(Qt.ItemFlag.NoItemFlags)
            self.list.addItem(item)
        else:
            self._fill(case)
            self.list.setCurrentRow(self._numbers.index(case.cursor if marked is None else marked))
        self._filling = False
        self._store.mark_state(None if case is None else self._numbers[self.list.currentRow()])

    def _fill(self, case: Case) -> None:
        line, compared = case.line(), self._store.view.other_state
        for number in self._numbers:
            lines = state_lines(case, number, compared=number == compared)
            item = QListWidgetItem("\n".join(lines))
            item.setToolTip("\n".join((*lines, *_notes(case.states[number]))))
            if number not in line or number > case.cursor:
                item.setForeground(QBrush(QColor(theme.current().dim)))
            if number == case.cursor:
                font = item.font()
                font.setBold(True)
                item.setFont(font)
            self.list.addItem(item)
        self._show_thumbnails()

    def _show_thumbnails(self) -> None:
        case = self._store.case
        if case is None or self.list.count() != len(self._numbers):
            return
        line = case.line()
        for place, number in enumerate(self._numbers):
            indent = 0 if number in line else _INDENT
            self.list.item(place).setIcon(thumbnail_icon(self._store.thumbnails.get(number), indent))

    def _follow_comparison(self) -> None:
        if self._store.view.other_state != self._compared:
            self._compared = self._store.view.other_state
            self.show_case()

    def _choose(self, item: QListWidgetItem) -> None:
        self.chosen.emit(self._numbers[self.list.row(item)])

    def _mark(self, place: int) -> None:
        if not self._filling and self._store.case is not None:
            self._store.mark_state(self._numbers[place] if place >= 0 else None)

    def _show_menu(self, at: QPoint) -> None:
        item = self.list.itemAt(at)
        if item is not None and self._store.case is not None:
            self.list.setCurrentItem(item)
            self.menu.popup(self.list.viewport().mapToGlobal(at))

    def _guard(self) -> None:
        self.list.setEnabled(not self._store.running and self._store.draft is None)


def deletion_text(number: int, others: int) -> str:
    """What is asked before a state goes, and as many others that began from it."""
    if not others:
        return tr("Delete state {number}? Nothing brings it back.").format(number=number)
    text = tr_count(
        "Delete state {number} and the state that began from it? Nothing brings them back.",
        "Delete state {number} and the {count} states that began from it? Nothing brings them back.",
        others,
    )
    return text.format(number=number, count=others)


def state_lines(case: Case, number: int, compared: bool = False) -> tuple[str, str, str]:
    """What a state came from, what it did to the error, and the rest of its figures."""
    state, parent = case.states[number], case.parents[number]
    origin = " · " + tr("from {parent}").format(parent=parent) if parent not in (number, number - 1) else ""
    sign = " · " + tr("compared") if compared else ""
    points_mm = case.pair_distances_mm(state.map_points)
    points = tr("points {mean_mm:.1f} mm").format(mean_mm=sum(points_mm) / len(points_mm)) if points_mm else ""
    if not state.steps:
        return f"{number}  {tr('Start')}{sign}", points, ""
    step, before = state.steps[-1], case.states[parent]
    error = short_error_text(step, before.steps[-1] if before.steps else None)
    folding = tr("fold {percent:.2g} %").format(percent=step.folding_percent)
    took = tr("{seconds:.1f} s").format(seconds=step.seconds)
    return (
        f"{number}  {_title(step)}{origin}{sign}",
        f"{error} · {folding}",
        " · ".join(filter(None, (points, took))),
    )


def _title(step: Step) -> str:
    parts = [tr("Align by hand") if step.settings.get("method") == "manual" else step_text(step.name)]
    if step.iterations > 1:
        parts.append(tr("{count} it.").format(count=step.iterations))
    fit = step.settings.get("fit", "balanced")
    if fit != "balanced":
        parts.append(tr(FITS_IN_LINE[fit]) if fit in FITS_IN_LINE else fit)
    return ", ".join(parts)


def _notes(state: Registration) -> tuple[str, ...]:
    return state.steps[-1].notes if state.steps else ()


def thumbnail_icon(picture: Picture | None, indent: int) -> QIcon:
    """A thumbnail on a square, or the square alone, set in by some pixels."""
    pixmap = QPixmap(THUMBNAIL + _INDENT, THUMBNAIL)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.fillRect(indent, 0, THUMBNAIL, THUMBNAIL, QColor("black"))
    if picture is not None:
        height, width = picture.shape[:2]
        pixels = picture.tobytes()
        image = QImage(pixels, width, height, 3 * width, QImage.Format.Format_RGB888)
        left, top = indent + (THUMBNAIL - width) / 2, (THUMBNAIL - height) / 2
        painter.drawImage(QRectF(left, top, width, height), image)
    painter.setPen(QColor(theme.current().line))
    painter.drawRect(indent, 0, THUMBNAIL - 1, THUMBNAIL - 1)
    painter.end()
    icon = QIcon(pixmap)
    for mode in (QIcon.Mode.Selected, QIcon.Mode.Disabled):
        icon.addPixmap(pixmap, mode)
    return icon
