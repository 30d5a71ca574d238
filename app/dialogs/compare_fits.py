"""Three fits side by side: pictures, figures, and a button that takes one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QComboBox, QDialog, QGridLayout, QPushButton, QVBoxLayout, QWidget

import engine
from app.fits import FIT_TEXTS, Candidate, Comparison
from app.panels.parts import label, row
from app.panels.quality import FIGURES, figures_of, verdict_of
from app.store import Store
from app.texts import tr
from app.viewer.boxes import middle_of
from app.viewer.contours import Labels
from app.viewer.gestures import wheel
from app.viewer.pane import Gesture, Pane
from app.viewer.pane_state import resolve
from app.viewer.planes import plane_of
from app.viewer.turns import Turns
from app.viewer.view_state import IMAGES_IN_SHORT, PLANE_TEXTS, PLANES, ImageName, PlaneName, Slot, ViewState
from engine.case import Case
from engine.geometry import Geometry
from engine.regions import NamedBox
from engine.registration import Registration
from engine.roi import Box

_SIZE = (1180, 690)
_SHOWN: tuple[ImageName, ...] = ("warped", "difference")
_BOX_SHARE = 0.5
"""Of a pane: what the box takes of it."""


class CompareFitsDialog(QDialog):
    """Stays open beside the work; its panes share a view of their own. `taken` carries a candidate."""

    taken = Signal(object)

    def __init__(self, store: Store, comparison: Comparison, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self.comparison = store, comparison
        self.setWindowTitle(tr("{title}: nothing is kept until you take one").format(title=comparison.title))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowModality(Qt.WindowModality.NonModal)
        self._boxes = () if comparison.box is None else (NamedBox("", comparison.box),)
        self._geometry = comparison.case.fixed.geometry
        self.view = self._seen_from(store.view.plane)
        self._turns = Turns(self)
        self.panes: dict[tuple[str, ImageName], Pane] = {}
        self.buttons: dict[str, QPushButton] = {}
        self.plane = QComboBox(toolTip=tr("Orientation of the slices; the wheel scrolls, Ctrl and wheel zoom"))
        self.plane.setAccessibleName(tr("Orientation of the slices"))
        for plane in PLANES:
            self.plane.addItem(tr(PLANE_TEXTS[plane]), plane)
        self.plane.setCurrentIndex(self.plane.findData(self.view.plane))
        self.plane.currentIndexChanged.connect(lambda _: self.set_view(self._seen_from(self.plane.currentData())))
        self.note = label(role="dim")
        layout = QVBoxLayout(self)
        layout.addLayout(row(self.plane, self.note))
        self._cells = QGridLayout()
        self._cells.setHorizontalSpacing(6)
        self._cells.setVerticalSpacing(2)
        layout.addLayout(self._cells, 1)
        self._fill()
        available = QGuiApplication.primaryScreen().availableGeometry()
        self.resize(min(_SIZE[0], available.width()), min(_SIZE[1], available.height() - 40))
        for signal in (store.case_changed, store.run_changed):
            signal.connect(self._guard)
        self._guard()
        self.show_view()

    def set_view(self, view: ViewState) -> None:
        if view != self.view:
            self.view = view
            self.show_view()

    def show_view(self) -> None:
        """Draw the slice in every pane, one after the other."""
        for key in self.panes:
            self._turns.ask(key, partial(self._drawing, *key))

    def _drawing(self, fit: str, image: ImageName) -> Iterator[None]:
        pane = self.panes[fit, image]
        state = resolve(self._pictures[fit], self.view, Slot(self.view.plane, image), self._boxes)
        yield from pane.drawing(replace(state, window_text=""))
        pane.setAccessibleName(f"{tr(FIT_TEXTS[fit])}, {tr(IMAGES_IN_SHORT[image])}")

    def _fill(self) -> None:
        assert self._store.pictures is not None, "a case that is compared is shown"
        shown = self._store.pictures
        self._pictures = {
            candidate.fit: replace(
                shown,
                warped_hu=candidate.warped_hu,
                displacement_vox=candidate.registration.displacement_vox,
                labels=carried(shown.labels, self.comparison.case, candidate.registration),
                stale=False,
            )
            for candidate in self.comparison.candidates
        }
        captions = {name: FIGURES[name] for name in self._names()}
        for number, (text, tooltip) in enumerate(captions.values(), start=3):
            caption = label(tr(text), "dim")
            caption.setToolTip(tr(tooltip))
            self._cells.addWidget(caption, number, 0)
        self._last = 3 + len(captions)
        if any(candidate.registration.steps[-1].notes for candidate in self.comparison.candidates):
            self._cells.addWidget(label(tr("Notes"), "dim"), self._last + 1, 0, Qt.AlignmentFlag.AlignTop)
        if self.comparison.box is not None:
            self._cells.addWidget(label(tr("Certificate"), "dim"), self._last, 0)
        for column, candidate in enumerate(self.comparison.candidates, start=1):
            self._fill_column(column, candidate)
            self._cells.setColumnStretch(column, 1)
        for number in (1, 2):
            self._cells.setRowStretch(number, 1)

    def _names(self) -> list[str]:
        """The figures to show, that of the box first."""
        rest = [name for name in FIGURES if name != "box"]
        return rest if self.comparison.box is None else ["box", *rest]

    def _fill_column(self, column: int, candidate: Candidate) -> None:
        title = tr(FIT_TEXTS[candidate.fit])
        step = candidate.registration.steps[-1]
        self._cells.addWidget(label(title, "heading"), 0, column)
        for number, image in enumerate(_SHOWN, start=1):
            pane = self.panes[candidate.fit, image] = Pane(self, self._turns)
            pane.gestured.connect(partial(self._on_gesture, pane))
            self._cells.addWidget(pane, number, column)
        figures = figures_of(step)
        for number, name in enumerate(self._names(), start=3):
            self._cells.addWidget(label(*figures.get(name, ("–", ""))), number, column)
        if step.certificate is not None:
            self._cells.addWidget(label(*verdict_of(step.certificate)), self._last, column)
        if step.notes:
            self._cells.addWidget(label("\n".join(step.notes), wrap=True), self._last + 1, column)
        button = self.buttons[candidate.fit] = QPushButton(tr("Take this"))
        button.setAccessibleName(tr("Take {fit}").format(fit=title))
        tooltip = tr("Make the result of {fit} the next state of the case; {count} iterations, {seconds:.1f} s")
        button.setToolTip(tooltip.format(fit=title, count=step.iterations, seconds=step.seconds))
        button.setAutoDefault(False)
        button.clicked.connect(partial(self._take, candidate))
        self._cells.addWidget(button, self._last + 2, column)

    def _take(self, candidate: Candidate, _checked: bool = False) -> None:
        self.taken.emit(candidate)
        self.close()

    def _guard(self) -> None:
        fits = self.comparison.fits_to(self._store.case)
        for button in self.buttons.values():
            button.setEnabled(fits and not self._store.running)
        windows = (self.view.window_hu, self.view.difference_window_hu)
        images, difference = (f"{low:.0f} … {high:.0f} HU" for low, high in windows)
        at_another = tr("The case is at another state now; go back to take one of these.")
        seen = tr("Images {images}, difference {difference}").format(images=images, difference=difference)
        self.note.setText(seen if fits else at_another)

    def _on_gesture(self, pane: Pane, gesture: Gesture) -> None:
        if gesture.phase == "wheel" and pane.state is not None:
            wheel(self, pane.state, gesture)

    def _seen_from(self, plane: PlaneName) -> ViewState:
        """The slice through the middle of the box, which fills half a pane; or the cursor's slice."""
        view = replace(self._store.view, plane=plane, layout="compare", comparison=None, flickering=False)
        view = replace(view, drawing_box=False, marking=False, started_mm=None, along_patient=False)
        view = view.at(view.cursor_zyx, self._geometry.shape_zyx)
        box = self.comparison.box
        if box is None:
            return replace(view, zoom=1.0, pan_zyx_mm=(0.0, 0.0, 0.0))
        view = view.at(middle_of(box), self._geometry.shape_zyx)
        return replace(view, zoom=1.0, pan_zyx_mm=_pan_to(box, self._geometry)).zoomed(
            _zoom_to(box, self._geometry, plane)
        )


def carried(labels: Labels, case: Case, registration: Registration) -> Labels:
    """The same structures as another registration carries them."""
    moving = case.structures.moving
    if moving is None:
        return labels
    return replace(labels, warped=engine.CarriedLabels.of(moving, case.moving.geometry, registration))


def _pan_to(box: Box, geometry: Geometry) -> tuple[float, float, float]:
    z, y, x = (
        ((low + high) - size) / 2 * spacing
        for (low, high), size, spacing in zip(box.ranges_zyx, geometry.shape_zyx, geometry.spacing_zyx_mm, strict=True)
    )
    return z, y, x


def _zoom_to(box: Box, geometry: Geometry, name: PlaneName) -> float:
    plane = plane_of(geometry, name)
    shares = [box.shape_zyx[axis] / plane.shape_zyx[axis] for axis in (plane.row, plane.column)]
    return max(1.0, _BOX_SHARE / max(shares))
