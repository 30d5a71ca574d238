"""The figures of the current state, and the certificate of a region-specific optimisation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QFormLayout, QLabel, QListWidget

from app.panels.parts import Panel, label, set_role
from app.store import Store
from app.texts import mark, tr, tr_count
from engine.registration import Certificate, Step

if TYPE_CHECKING:
    from engine.metrics import FoldedPlace

_FOLDED_HEIGHT = 74

FIGURES = {
    "rmse": (
        mark("Error (RMSE)"),
        mark("Root mean square of fixed − warped over valid voxels. A lower value alone proves nothing."),
    ),
    "folding": (mark("Folding"), mark("Share of voxels where tissue would be turned inside out; should be 0")),
    "jacobian": (mark("Smallest Jacobian"), mark("Local volume; at or below zero the field folds")),
    "roughness": (mark("Roughness"), mark("How strongly the displacement bends from voxel to voxel")),
    "box": (mark("Error in region"), mark("RMSE inside the box of this step, before and after")),
}


class QualityPanel(Panel):
    """What the last step of the current state measured."""

    def __init__(self, store: Store) -> None:
        super().__init__(tr("Quality"))
        self._store = store
        self.values: dict[str, QLabel] = {}
        form = QFormLayout()
        form.setVerticalSpacing(2)
        form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.WrapLongRows)
        for name, (text, tooltip) in FIGURES.items():
            self.values[name] = label()
            caption = label(tr(text), "dim")
            caption.setToolTip(tr(tooltip))
            self.values[name].setToolTip(tr(tooltip))
            form.addRow(caption, self.values[name])
        self.body.addLayout(form)
        self.verdict = label(wrap=True)
        self.details = label(role="dim", wrap=True)
        self.notes = label(role="dim", wrap=True)
        self.folded = QListWidget(
            toolTip=tr("Where the displacement folds; click a place to go there (Ctrl+J: the next one)")
        )
        self.folded.setAccessibleName(tr("Folded places"))
        self.folded.setMaximumHeight(_FOLDED_HEIGHT)
        self.folded.currentRowChanged.connect(self._go_to_fold)
        self.folded.itemClicked.connect(lambda item: self._go_to_fold(self.folded.row(item)))
        self.body.addWidget(self.folded)
        for widget in (self.verdict, self.details, self.notes):
            self.body.addWidget(widget)
        store.folded_changed.connect(self.show_folded)
        self.show_folded()
        store.case_changed.connect(self.show_case)
        store.draft_changed.connect(self.show_case)
        self.show_case()

    def show_case(self) -> None:
        """Show the figures of the current state; there are none of what a hand has not let go of."""
        case = self._store.case
        is_known = case is not None and self._store.draft is None
        step = case.current.steps[-1] if is_known and case.current.steps else None
        for widget in self.values.values():
            widget.setText("–")
            set_role(widget, "")
        for widget in (self.verdict, self.details, self.notes):
            widget.hide()
        if step is not None:
            self._show_step(step)

    def show_folded(self) -> None:
        """List the folded places, if there are any."""
        places = self._store.folded
        self.folded.blockSignals(True)
        self.folded.clear()
        for place in places:
            self.folded.addItem(folded_text(place))
        self.folded.blockSignals(False)
        self.folded.setVisible(bool(places))

    def _go_to_fold(self, number: int) -> None:
        if 0 <= number < len(self._store.folded):
            self._store.change_view(cursor_zyx=self._store.folded[number].index_zyx)

    def _show_step(self, step: Step) -> None:
        for name, (text, role) in figures_of(step).items():
            self.values[name].setText(text)
            set_role(self.values[name], role)
        if step.certificate is not None:
            self._show_certificate(step.certificate)
        if step.notes:
            self.notes.setText("\n".join(step.notes))
            self.notes.show()

    def _show_certificate(self, certificate: Certificate) -> None:
        kept = tr("✓ Certificate: kept its promises")
        self.verdict.setText(kept if certificate.passed else tr("✗ Certificate: NOT kept"))
        set_role(self.verdict, verdict_of(certificate)[1])
        self.details.setText("\n".join(certificate_lines(certificate)))
        self.verdict.show()
        self.details.show()


def folded_text(place: FoldedPlace) -> str:
    """Where and how much."""
    z, y, x = place.index_zyx
    text = tr_count(
        "{count} voxel folds at {x}, {y}, {z}, J {jacobian:.2f}",
        "{count} voxels fold at {x}, {y}, {z}, J {jacobian:.2f}",
        place.voxels,
    )
    return text.format(count=place.voxels, x=x, y=y, z=z, jacobian=place.min_jacobian)


def figures_of(step: Step) -> dict[str, tuple[str, str]]:
    """For each figure that a step has, its text and the role that colours it."""
    figures = {
        "rmse": (f"{step.rmse_hu:.1f} HU", ""),
        "folding": (f"{step.folding_percent:.3f} %", "good" if step.folding_percent == 0 else "bad"),
        "jacobian": (f"{step.min_jacobian:.3f}", "good" if step.min_jacobian > 0 else "bad"),
        "roughness": (f"{step.roughness:.4g}", ""),
    }
    if step.box_rmse_hu_before is not None and step.box_rmse_hu_after is not None:
        figures["box"] = (f"{step.box_rmse_hu_before:.1f} → {step.box_rmse_hu_after:.1f} HU", "")
    return figures


def verdict_of(certificate: Certificate) -> tuple[str, str]:
    """A certificate in a few words after a sign, and the role that colours them."""
    return (tr("✓ kept its promises"), "good") if certificate.passed else (tr("✗ NOT kept"), "bad")


def certificate_lines(certificate: Certificate) -> list[str]:
    """The four promises, each with its measured value."""
    return [
        tr("Largest change outside: {change_mm:g} mm").format(change_mm=certificate.max_change_outside_mm),
        tr("New folds: {count}").format(count=certificate.new_folds),
        tr("Jump of the gradient at the seam: {jump:.3g}").format(jump=certificate.seam_gradient_jump),
        tr("Error in the box grew") if certificate.box_error_grew else tr("Error in the box did not grow"),
    ]
