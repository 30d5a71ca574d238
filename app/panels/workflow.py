"""The left column: the work in its order, with the next sensible step in evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QFormLayout,
    QFrame,
    QLineEdit,
    QMenu,
    QPushButton,
    QScrollArea,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.fits import FIT_TEXTS
from app.menus import Actions
from app.panels.by_hand import ByHand
from app.panels.parts import ElidedLabel, action_button, label, row, set_role
from app.stages import Stage, Status, stages
from app.store import Store
from app.texts import mark, tr, tr_count
from engine.volume import Volume

if TYPE_CHECKING:
    from engine.pairing import Finding

_MARKS = {Status.DONE: "✓", Status.NEXT: "▸", Status.OPEN: "○", Status.BLOCKED: "·"}
_MOST_ITERATIONS = 5000
_ALIGN_CHOICES = {
    "rigid": mark("Rigid, by image content"),
    "none": mark("None"),
    "file": mark("From a transform file"),
}
_BY_CHOICES = {"field": mark("Field (fast on a CPU)"), "network": mark("Network (as the paper)")}
_FIT_TOOLTIP = mark(
    "Closer follows the images further and bends more from voxel to voxel; "
    "Smoother bends less and leaves more of the difference"
)
_SCOPE_CHOICES = {"crop": mark("The box alone"), "image": mark("Whole image (as the paper)")}
_SPOKEN = {
    "align": mark("Method of alignment"),
    "model": mark("Model"),
    "iso_by": mark("What ISO optimises"),
    "rso_by": mark("What RSO optimises"),
    "rso_scope": mark("Scope of RSO"),
    "iso_fit": mark("Fit of ISO"),
    "rso_fit": mark("Fit of RSO"),
}
"""Names for those who hear the window."""

_WIDTH, _WIDEST = 272, 380
"""Pixels: where texts are short, and where a language needs more."""


class Section(QFrame):
    """One stage: a header that opens and closes, and its controls."""

    def __init__(self, number: int, title: str) -> None:
        super().__init__()
        self.setProperty("role", "section")
        self._title = f"{number}  {title}"
        self.header = QToolButton()
        self.header.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        self.header.setAutoRaise(True)
        self.header.setToolTip(tr("Open or close this section"))
        self.note = ElidedLabel("dim")
        self.note.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.content = QWidget()
        self.form = QFormLayout(self.content)
        self.form.setContentsMargins(6, 0, 2, 2)
        self.form.setVerticalSpacing(5)
        self.form.setRowWrapPolicy(QFormLayout.RowWrapPolicy.DontWrapRows)
        self.form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(5, 3, 5, 4)
        layout.setSpacing(3)
        top = row(self.header, self.note, stretch_last=True)
        top.setStretch(1, 1)
        layout.addLayout(top)
        layout.addWidget(self.content)
        self.main_buttons: list[QPushButton] = []
        self._status: Status | None = None
        self.header.clicked.connect(lambda: self.content.setVisible(self.content.isHidden()))

    def add_main(self, button: QPushButton) -> None:
        """The button that does the stage."""
        self.main_buttons.append(button)
        self.form.addRow(button)

    def show_stage(self, stage: Stage) -> None:
        """Mark the stage; it opens when it becomes the next one and closes when another does."""
        self.header.setText(f"{_MARKS[stage.status]}  {self._title}")
        self.note.setText(stage.note)
        if stage.status is self._status:
            return
        self._status = stage.status
        is_next = stage.status is Status.NEXT
        self.content.setVisible(is_next)
        self.setProperty("status", stage.status.value)
        for button in self.main_buttons:
            set_role(button, "next" if is_next else "")
        for widget in (self, self.header):
            widget.style().unpolish(widget)
            widget.style().polish(widget)
        font = self.header.font()
        font.setBold(is_next)
        self.header.setFont(font)


class WorkflowPanel(QScrollArea):
    """Images, Align, General, Image, Region, Quality, Export."""

    file_wanted = Signal()

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__()
        self._store = store
        self.setWidgetResizable(True)
        self.setFrameShape(QFrame.Shape.NoFrame)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumWidth(_WIDTH)
        inner = QWidget()
        self._column = QVBoxLayout(inner)
        self._column.setContentsMargins(6, 6, 6, 6)
        self._column.setSpacing(5)
        self.sections: dict[str, Section] = {}
        for number, stage in enumerate(stages(None, False, 0), start=1):
            self.sections[stage.name] = Section(number, tr(stage.title))
            self._column.addWidget(self.sections[stage.name])
        self._column.addStretch(1)
        self.setWidget(inner)
        inner.installEventFilter(self)
        self._fill(actions)
        for signal in (store.case_changed, store.boxes_changed, store.pictures_changed):
            signal.connect(self.update_stages)
        store.settings_changed.connect(self._show_settings)
        self._show_settings()
        self.update_stages()

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802
        """Leave room for the longest text; this column does not scroll sideways."""
        if event.type() == QEvent.Type.LayoutRequest:
            needed = watched.minimumSizeHint().width()
            self.setMinimumWidth(min(max(_WIDTH, needed), _WIDEST))
        return super().eventFilter(watched, event)

    def set_models(self, models: dict[str, str]) -> None:
        """Offer models by name and description."""
        self.model.blockSignals(True)
        self.model.clear()
        for number, (name, description) in enumerate(models.items()):
            self.model.addItem(name, name)
            self.model.setItemData(number, description, Qt.ItemDataRole.ToolTipRole)
        self.model.blockSignals(False)
        self._show_settings()
        self._change(model=self.model.currentData())

    def warn_of_model(self, sentences: tuple[str, ...]) -> None:
        """Say in what the images are unlike those that the chosen model was trained on."""
        self.model_warning.setText(_warning(sentences))
        self.model_warning.setToolTip("\n".join(sentences))
        self.model_warning.setVisible(bool(sentences))

    def warn_of_pair(self, findings: tuple[Finding, ...]) -> None:
        """Say what is odd about the two images, for as long as they are open."""
        warnings = [finding.text for finding in findings if finding.is_warning]
        self.pair_warning.setText(_warning([f"{warning.split('.')[0]}." for warning in warnings]))
        self.pair_warning.setToolTip("\n".join(finding.text for finding in findings))
        self.pair_warning.setVisible(bool(warnings))

    def offer_recent(self, menu: QMenu) -> None:
        """A button with the cases of late, there as long as there are some."""
        self.recent_button.setMenu(menu)
        action = menu.menuAction()
        action.changed.connect(lambda: self.recent_button.setVisible(action.isEnabled()))
        self.recent_button.setVisible(action.isEnabled())

    def update_stages(self) -> None:
        """Show how far the case has come."""
        store = self._store
        for stage in stages(store.case, store.fixed is not None, len(store.boxes_of("optimise")), store.exported):
            self.sections[stage.name].show_stage(stage)
        self.fixed_text.setText(_describe(store.fixed))
        self.moving_text.setText(_describe(store.moving))
        named = store.selected_box
        is_region = named is not None and named.use == "optimise"
        self.region_text.setText(named.name if is_region else tr("none: press B and drag"))

    def _fill(self, actions: Actions) -> None:
        sections = self.sections
        self.fixed_text, self.moving_text, self.region_text = label(wrap=True), label(wrap=True), ElidedLabel()
        sections["images"].form.addRow(tr("Fixed"), self.fixed_text)
        sections["images"].form.addRow(tr("Moving"), self.moving_text)
        sections["images"].add_main(action_button(actions["open"]))
        sections["images"].form.addRow(
            row(action_button(actions["browse"]), action_button(actions["demo"], tr("Demo case")))
        )
        self.recent_button = QPushButton(tr("Recent cases"), toolTip=tr("Go on with one of the cases of late"))
        sections["images"].form.addRow(row(action_button(actions["open_case"]), self.recent_button))
        self.pair_warning = label(role="warn", wrap=True)
        sections["images"].layout().addWidget(self.pair_warning)
        self.warn_of_pair(())
        self._fill_align(actions)
        self.model = self._combo("model", {"general": "general"}, tr("The pretrained network"))
        self.model.setMinimumContentsLength(6)
        self.about_button = action_button(actions["model_card"], tr("About …"))
        chosen = row(self.model, self.about_button, stretch_last=True)
        chosen.setStretch(0, 1)
        sections["general"].form.addRow(tr("Model"), chosen)
        self.model_warning = label(role="warn", wrap=True)
        sections["general"].form.addRow(self.model_warning)
        self.warn_of_model(())
        sections["general"].add_main(action_button(actions["general"], tr("Run general model")))
        for name in ("iso", "rso"):
            self._fill_refinement(name, actions)
        sections["quality"].form.addRow(
            label(
                tr("Scroll through the difference, look at the Jacobian, and read the figures on the right."),
                "dim",
                wrap=True,
            )
        )
        sections["quality"].form.addRow(
            row(action_button(actions["jacobian"]), action_button(actions["orientations"], tr("Orientations")))
        )
        sections["export"].add_main(action_button(actions["export"]))
        sections["export"].form.addRow(action_button(actions["save"]))

    def _fill_align(self, actions: Actions) -> None:
        section = self.sections["align"]
        self.align = self._combo(
            "align", _ALIGN_CHOICES, tr("How the images are brought together before anything else")
        )
        section.form.addRow(tr("Method"), self.align)
        self.align_file = QLineEdit(placeholderText="transform.h5, .tfm, .txt")
        self.align_file.editingFinished.connect(lambda: self._change(align_file=self.align_file.text()))
        self.align_file.setAccessibleName(tr("Transform file"))
        self.align_file.setToolTip(tr("A rigid transform from fixed to moving, as ITK writes it"))
        self.align_browse = QToolButton(text="…", toolTip=tr("Choose a transform file"))
        self.align_browse.setAccessibleName(tr("Choose a transform file"))
        self.align_browse.clicked.connect(self.file_wanted)
        self._align_row = QWidget()
        holder = row(self.align_file, self.align_browse, stretch_last=True)
        holder.setContentsMargins(0, 0, 0, 0)
        self._align_row.setLayout(holder)
        section.form.addRow(self._align_row)
        section.add_main(action_button(actions["align"]))
        section.form.addRow(action_button(actions["by_hand"], tr("Align by hand …")))
        self.by_hand = ByHand(self._store, actions)
        section.form.addRow(self.by_hand)
        self._store.draft_changed.connect(lambda: section.content.setVisible(True))

    def _fill_refinement(self, name: str, actions: Actions) -> None:
        section = self.sections[name]
        if name == "rso":
            section.form.addRow(tr("Region"), self.region_text)
        iterations = QSpinBox(minimum=1, maximum=_MOST_ITERATIONS, singleStep=50)
        iterations.setAccessibleName(tr("Iterations of {step}").format(step=name.upper()))
        tooltip = tr("Stop ends sooner and keeps the best state")
        if name == "rso":
            tooltip = tr("At most: by field it ends once nothing more is gained. Stop keeps the best state")
        iterations.setToolTip(tooltip)
        iterations.valueChanged.connect(lambda value: self._change(**{f"{name}_iterations": value}))
        setattr(self, f"{name}_iterations", iterations)
        section.form.addRow(tr("Iterations"), iterations)
        by = self._combo(
            f"{name}_by", _BY_CHOICES, tr("What is optimised: a copy of the network's weights, or the field itself")
        )
        setattr(self, f"{name}_by", by)
        section.form.addRow(tr("By"), by)
        if name == "rso":
            self.rso_scope = self._combo("rso_scope", _SCOPE_CHOICES, tr("What each iteration looks at"))
            section.form.addRow(tr("Scope"), self.rso_scope)
        self._fill_fit(name, section, actions)
        if name == "rso":
            section.form.addRow(action_button(actions["draw_box"], tr("Draw region (B)")))
        section.add_main(action_button(actions[name], tr("Optimise image") if name == "iso" else tr("Optimise region")))
        section.form.addRow(action_button(actions["up_to_iso" if name == "iso" else "rso_all"]))

    def _fill_fit(self, name: str, section: Section, actions: Actions) -> None:
        fit = self._combo(f"{name}_fit", FIT_TEXTS, tr(_FIT_TOOLTIP))
        fit.setMinimumContentsLength(5)
        setattr(self, f"{name}_fit", fit)
        compare = action_button(actions["compare_image" if name == "iso" else "compare_region"], tr("Compare"))
        chosen = row(fit, compare, stretch_last=True)
        chosen.setStretch(0, 1)
        section.form.addRow(tr("Fit"), chosen)

    def _combo(self, setting: str, choices: dict[str, str], tooltip: str) -> QComboBox:
        combo = QComboBox(toolTip=tooltip)
        combo.setAccessibleName(tr(_SPOKEN[setting]))
        combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        combo.setMinimumContentsLength(12)
        for value, text in choices.items():
            combo.addItem(tr(text), value)
        combo.currentIndexChanged.connect(partial(self._take_choice, setting, combo))
        return combo

    def _take_choice(self, setting: str, combo: QComboBox, _index: int) -> None:
        self._change(**{setting: combo.currentData()})

    def _change(self, **changes: Any) -> None:
        self._store.set_settings(replace(self._store.settings, **changes))

    def _show_settings(self) -> None:
        settings = self._store.settings
        for name in ("align", "model", "iso_by", "iso_fit", "rso_by", "rso_scope", "rso_fit"):
            combo: QComboBox = getattr(self, name)
            combo.setCurrentIndex(max(0, combo.findData(getattr(settings, name))))
        self.iso_iterations.setValue(settings.iso_iterations)
        self.rso_iterations.setValue(settings.rso_iterations)
        if self.align_file.text() != settings.align_file:
            self.align_file.setText(settings.align_file)
        self._align_row.setVisible(settings.align == "file")


def _warning(sentences: Sequence[str]) -> str:
    """The first of several sentences, and how many there are beside it."""
    if len(sentences) < 2:
        return f"⚠ {sentences[0]}" if sentences else ""
    more = len(sentences) - 1
    text = tr_count("⚠ {sentence} ({count} more)", "⚠ {sentence} ({count} more)", more)
    return text.format(sentence=sentences[0], count=more)


def _describe(volume: Volume | None) -> str:
    if volume is None:
        return tr("not open yet")
    size = " × ".join(str(n) for n in volume.geometry.size_xyz)
    spacing = " × ".join(f"{s:.3g}" for s in volume.geometry.spacing_xyz_mm)
    return f"{volume.modality}, {size}\n{spacing} mm"
