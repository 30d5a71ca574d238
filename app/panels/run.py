"""The bottom: what runs, how far it is, how long it will take, the live curve of the error, and what waits."""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFont, QKeySequence, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QListWidget, QProgressBar, QPushButton, QVBoxLayout, QWidget

from app import theme
from app.menus import Actions
from app.panels.parts import ElidedLabel, Panel, action_button, label, row
from app.store import Run, Store
from app.texts import mark, tr, tr_count

_HEIGHT = 130
_TEXT_WIDTH = 320
_QUEUE_WIDTH = 210
_ROOM_FOR_LEGEND = 0.3
"""Above the curves, as a share of their height."""

_ENDINGS = {
    "stopping": mark("{title}: stopping …"),
    "cancelling": mark("{title}: cancelling …"),
    "done": mark("{title}: done"),
    "cancelled": mark("{title}: cancelled, nothing kept"),
    "failed": mark("{title}: did not work"),
}


class RunPanel(Panel):
    """Hidden until the first run. `dropped` carries the number of a waiting step that is not wanted any more."""

    dropped = Signal(int)

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__()
        self._store = store
        self.bar = QProgressBar(textVisible=False, maximumHeight=10)
        self.status, self.details, self.figures = ElidedLabel(), ElidedLabel("dim"), ElidedLabel("dim")
        left = QVBoxLayout()
        left.setSpacing(4)
        for widget in (self.status, self.bar, self.details, self.figures):
            left.addWidget(widget)
        self.stop_button = action_button(actions["stop"], tr("Stop (keep best)"))
        self.cancel_button = action_button(actions["cancel"], tr("Cancel"))
        left.addLayout(row(self.stop_button, self.cancel_button))
        left.addStretch(1)
        holder = QWidget()
        holder.setLayout(left)
        left.setContentsMargins(0, 0, 0, 0)
        holder.setFixedWidth(_TEXT_WIDTH)
        self._make_plot()
        sides = QHBoxLayout()
        sides.addWidget(holder)
        sides.addWidget(self.plot, 1)
        sides.addWidget(self._queue(actions))
        self.body.addLayout(sides)
        self.setMaximumHeight(_HEIGHT)
        store.run_changed.connect(self.show_run)
        self.show_run()

    def show_run(self) -> None:
        """Show the run as it stands."""
        run = self._store.run
        self._show_queue()
        has_curve = run is not None and bool(run.error_hu or run.box_error_hu)
        self.setVisible(run is not None and (run.running or has_curve or bool(self._store.planned)))
        if run is None:
            return
        self.bar.setRange(0, run.total if run.running else max(run.total, 1))
        self.bar.setValue(_bar_value(run))
        self.bar.setEnabled(run.running)
        ending = _ENDINGS.get(run.state)
        self.status.setText(tr(ending).format(title=run.title) if ending else run.title)
        self.details.setText(progress_text(run))
        self.figures.setText(figures_text(run))
        self.plot.setVisible(has_curve)
        self._image_curve.setData(run.iterations, run.error_hu)
        self._box_curve.setData(run.box_iterations, run.box_error_hu)
        if has_curve:
            self._leave_room([*run.error_hu, *run.box_error_hu])
        best = run.best_point()
        self._best.setData(*(([], []) if best is None else ([best[0]], [best[1]])))

    def _leave_room(self, errors_hu: list[float]) -> None:
        """The legend lies above the curves."""
        low, high = min(errors_hu), max(errors_hu)
        self.plot.setYRange(low, high + _ROOM_FOR_LEGEND * max(high - low, 1.0))

    def apply_theme(self) -> None:
        """Take the colours of the current theme."""
        colors = theme.current()
        self.plot.setBackground(colors.base)
        for side in ("left", "bottom"):
            axis = self.plot.getAxis(side)
            axis.setPen(colors.line)
            axis.setTextPen(colors.dim)
        for _sample, text in self._legend.items:
            text.setText(text.text, color=colors.text)
        self._image_curve.setPen(colors.accent, width=2)
        self._box_curve.setPen(colors.warn, width=2)
        self._best.setBrush(colors.good)
        self._best.setPen(colors.base)

    def _queue(self, actions: Actions) -> QWidget:
        self.queue_title = label(role="dim")
        self.queue = QListWidget(toolTip=tr("Steps that wait; Del drops the one that is marked"))
        self.queue.setAccessibleName(tr("Steps that wait"))
        self.queue.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.drop_button = QPushButton(tr("Drop"), toolTip=tr("Forget the waiting step that is marked (Del)"))
        self.drop_button.clicked.connect(self._drop)
        delete = QShortcut(QKeySequence(Qt.Key.Key_Delete), self.queue)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self._drop)
        self.queue_panel = QWidget()
        column = QVBoxLayout(self.queue_panel)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.queue_title)
        column.addWidget(self.queue, 1)
        self.go_on_button = action_button(actions["go_on"], tr("Go on"))
        column.addLayout(
            row(self.go_on_button, self.drop_button, action_button(actions["drop_planned"], tr("Drop all")))
        )
        self.queue_panel.setFixedWidth(_QUEUE_WIDTH)
        return self.queue_panel

    def _show_queue(self) -> None:
        """List what waits; the marked one stays marked."""
        titles = [step.title for step in self._store.planned]
        self.queue_panel.setVisible(bool(titles))
        self.queue_title.setText(queue_text(len(titles), self._store.running))
        if titles != [self.queue.item(i).text() for i in range(self.queue.count())]:
            marked = max(self.queue.currentRow(), 0)
            self.queue.clear()
            self.queue.addItems(titles)
            self.queue.setCurrentRow(min(marked, len(titles) - 1))

    def _drop(self) -> None:
        if self.queue.currentRow() >= 0:
            self.dropped.emit(self.queue.currentRow())

    def _make_plot(self) -> None:
        self.plot = pg.PlotWidget()
        policy = self.plot.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self.plot.setSizePolicy(policy)
        self.plot.setMenuEnabled(False)
        menu = self.plot.plotItem.ctrlMenu  # pyqtgraph gives it no parent, so it would outlive the window
        menu.setParent(self.plot, menu.windowFlags())
        self.plot.setMouseEnabled(False, False)
        self.plot.hideButtons()
        self.plot.setLabel("left", tr("RMSE, HU"))
        self.plot.setToolTip(tr("Error of the whole image and, for a region, inside its box, by iteration"))
        self._legend = self.plot.addLegend(offset=(-8, 1), labelTextSize="8pt", colCount=3)
        font = QFont()
        font.setPointSizeF(font.pointSizeF() * 0.85)
        for side in ("left", "bottom"):
            self.plot.getAxis(side).setTickFont(font)
        self._image_curve = self.plot.plot([], [], name=tr("image"), pen="w")
        self._box_curve = self.plot.plot([], [], name=tr("box"), pen="w")
        self._best = pg.ScatterPlotItem(size=9, symbol="d", name=tr("best"))
        self.plot.addItem(self._best)
        self.apply_theme()


def _bar_value(run: Run) -> int:
    if run.running:
        return run.done
    return max(run.total, 1) if run.state == "done" else 0


def progress_text(run: Run) -> str:
    """Stage, iterations and time left."""
    if not run.running:
        return ""
    parts = [run.stage] if run.stage else []
    if run.total > 0:
        parts.append(tr("{done} of {total}").format(done=run.done, total=run.total))
    left_s = run.seconds_left() if run.state == "running" else None
    if left_s is not None:
        parts.append(tr("{duration} left").format(duration=duration(left_s)))
    if run.note:
        parts.append(run.note)
    return "  ·  ".join(parts)


def figures_text(run: Run) -> str:
    """The latest errors, and the best state so far."""
    curves = {tr("image {error_hu:.1f} HU"): run.error_hu, tr("box {error_hu:.1f} HU"): run.box_error_hu}
    parts = [text.format(error_hu=values[-1]) for text, values in curves.items() if values]
    best = run.best_point()
    if best is not None:
        parts.append(tr("best {error_hu:.1f} at {iteration}").format(error_hu=best[1], iteration=best[0]))
    return " · ".join(parts)


def queue_text(count: int, running: bool) -> str:
    if running:
        return tr_count("{count} step to follow", "{count} steps to follow", count).format(count=count)
    return tr_count("{count} step held back", "{count} steps held back", count).format(count=count)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    if minutes:
        return tr("{minutes} min {seconds:02d} s").format(minutes=minutes, seconds=rest)
    return tr("{seconds} s").format(seconds=rest)
