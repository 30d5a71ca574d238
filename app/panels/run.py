"""The bottom: what runs, how far it is, how long it will take, and the live curve of the error."""

from __future__ import annotations

import pyqtgraph as pg
from PySide6.QtGui import QFont
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QVBoxLayout, QWidget

from app import theme
from app.menus import Actions
from app.panels.parts import Panel, action_button, label, row
from app.store import Run, Store

_HEIGHT = 130
_TEXT_WIDTH = 320
_ENDINGS = {
    "stopping": "stopping …",
    "cancelling": "cancelling …",
    "done": "done",
    "cancelled": "cancelled, nothing kept",
    "failed": "did not work",
}


class RunPanel(Panel):
    """Hidden until the first run."""

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__()
        self._store = store
        self.bar = QProgressBar(textVisible=False, maximumHeight=10)
        self.status, self.details, self.figures = label(), label(role="dim"), label(role="dim")
        left = QVBoxLayout()
        left.setSpacing(4)
        for widget in (self.status, self.bar, self.details, self.figures):
            left.addWidget(widget)
        self.stop_button = action_button(actions["stop"], "Stop (keep best)")
        self.cancel_button = action_button(actions["cancel"], "Cancel")
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
        self.body.addLayout(sides)
        self.setMaximumHeight(_HEIGHT)
        store.run_changed.connect(self.show_run)
        self.show_run()

    def show_run(self) -> None:
        """Show the run as it stands."""
        run = self._store.run
        self.setVisible(run is not None)
        if run is None:
            return
        self.bar.setRange(0, run.total if run.running else max(run.total, 1))
        self.bar.setValue(_bar_value(run))
        self.bar.setEnabled(run.running)
        ending = _ENDINGS.get(run.state)
        self.status.setText(f"{run.title}: {ending}" if ending else run.title)
        self.details.setText(progress_text(run))
        self.figures.setText(figures_text(run))
        self.plot.setVisible(bool(run.error_hu or run.box_error_hu))
        self._image_curve.setData(run.iterations, run.error_hu)
        self._box_curve.setData(run.box_iterations, run.box_error_hu)

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
        self.plot.setLabel("left", "RMSE, HU")
        self.plot.setToolTip("Error of the whole image and, for a region, inside its box, by iteration")
        self._legend = self.plot.addLegend(offset=(-8, 4), labelTextSize="8pt")
        font = QFont()
        font.setPointSizeF(font.pointSizeF() * 0.85)
        for side in ("left", "bottom"):
            self.plot.getAxis(side).setTickFont(font)
        self._image_curve = self.plot.plot([], [], name="whole image", pen="w")
        self._box_curve = self.plot.plot([], [], name="in the box", pen="w")
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
        parts.append(f"{run.done} of {run.total}")
    left_s = run.seconds_left() if run.state == "running" else None
    if left_s is not None:
        parts.append(f"{duration(left_s)} left")
    if run.note:
        parts.append(run.note)
    return "  ·  ".join(parts)


def figures_text(run: Run) -> str:
    """The latest errors."""
    curves = {"image": run.error_hu, "box": run.box_error_hu}
    return "  ·  ".join(f"{name} {values[-1]:.1f} HU" for name, values in curves.items() if values)


def duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
