"""The images of a folder as a tree: patient, study, 4-D image, series or phase, each with its middle slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QBrush, QColor, QIcon, QImage, QKeyEvent, QPainter, QPixmap
from PySide6.QtWidgets import QHeaderView, QTreeWidget, QTreeWidgetItem

from app import theme
from app.texts import mark, tr, tr_count
from app.viewer.view_state import IMAGES_IN_SHORT

if TYPE_CHECKING:
    from engine.io.catalog import Catalog, Entry, Patient, Study

COLUMNS = (
    mark("Image"),
    mark("Role"),
    mark("Kind"),
    mark("Slices"),
    mark("Pixels"),
    mark("Spacing, mm"),
    mark("Date"),
    mark("Notes"),
)
_ROLE, _NOTES = 1, 7
_SIDE = 56
_WIDTHS = (330, 60, 52, 52, 78, 128, 84)
_ENTRY = Qt.ItemDataRole.UserRole


class SeriesTree(QTreeWidget):
    """Shows a catalog. What is chosen is told by the dialog that holds it."""

    def __init__(self) -> None:
        super().__init__()
        self.setAccessibleName(tr("Images in the folder"))
        self.setHeaderLabels([tr(column) for column in COLUMNS])
        self.setIconSize(QSize(_SIDE, _SIDE))
        self.setIndentation(16)
        self.setAllColumnsShowFocus(True)
        self.header().setStretchLastSection(True)
        self.header().setSectionResizeMode(QHeaderView.ResizeMode.Interactive)
        for column, width in enumerate(_WIDTHS):
            self.setColumnWidth(column, width)
        self.items: list[QTreeWidgetItem] = []

    def show_catalog(self, catalog: Catalog) -> None:
        """List the images, everything open and the first that can be used selected."""
        self.clear()
        self.items = []
        parents: dict[tuple[Hashable, ...], QTreeWidgetItem] = {}
        phases = Counter(map(_set_of, catalog.entries))
        for entry in catalog.entries:
            parent: QTreeWidgetItem | None = None
            key: tuple[Hashable, ...] = ()
            for level, text in _levels(entry, catalog.folder, phases[_set_of(entry)]):
                key = (*key, level)
                if key not in parents:
                    parents[key] = self._added(parent, text)
                parent = parents[key]
            self.items.append(self._of_entry(parent, entry))
        self.expandAll()
        usable = [item for item in self.items if not entry_of(item).problem]
        if self.items:
            self.setCurrentItem((usable or self.items)[0])

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802
        """Return chooses here, and does not press the button of the dialog."""
        super().keyPressEvent(event)
        if event.key() in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            event.accept()

    def current_entry(self) -> Entry | None:
        return entry_of(self.currentItem())

    def show_picture(self, item: QTreeWidgetItem, gray: Any) -> None:
        """`gray`: levels (height, width), uint8."""
        height, width = gray.shape
        image = QImage(gray.tobytes(), width, height, width, QImage.Format.Format_Grayscale8)
        side = max(height, width)
        square = QPixmap(side, side)
        square.fill(Qt.GlobalColor.black)
        with QPainter(square) as painter:
            painter.drawImage((side - width) // 2, (side - height) // 2, image)
        item.setIcon(0, _icon(square))

    def show_roles(self, roles: dict[str, Entry | None]) -> None:
        """Mark the images that were chosen."""
        for item in self.items:
            held = [tr(IMAGES_IN_SHORT[role]) for role, entry in roles.items() if entry is entry_of(item)]
            item.setText(_ROLE, ", ".join(held))

    def _added(self, parent: QTreeWidgetItem | None, text: str) -> QTreeWidgetItem:
        item = QTreeWidgetItem([text])
        font = item.font(0)
        font.setBold(parent is None)
        item.setFont(0, font)
        if parent is None:
            self.addTopLevelItem(item)
        else:
            parent.addChild(item)
        item.setFirstColumnSpanned(True)
        return item

    def _of_entry(self, parent: QTreeWidgetItem | None, entry: Entry) -> QTreeWidgetItem:
        item = QTreeWidgetItem(texts_of(entry))
        item.setData(0, _ENTRY, entry)
        item.setIcon(0, self._blank())
        item.setForeground(_ROLE, QBrush(QColor(theme.current().link)))
        notes = entry.problem or "\n".join(entry.notes)
        if entry.problem:
            for column in range(len(COLUMNS)):
                item.setForeground(column, QBrush(QColor(theme.current().dim)))
            item.setForeground(_NOTES, QBrush(QColor(theme.current().warn)))
        for column in (0, _NOTES):
            item.setToolTip(column, notes or entry.description)
        for column in (3, 4, 5):
            item.setTextAlignment(column, Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        assert parent is not None, "every image has a patient or a folder"
        parent.addChild(item)
        return item

    def _blank(self) -> QIcon:
        """Holds the place of a picture that is still to come."""
        pixmap = QPixmap(_SIDE, _SIDE)
        pixmap.fill(QColor(theme.current().raised))
        return _icon(pixmap)


def _icon(pixmap: QPixmap) -> QIcon:
    """An icon that no selection colors."""
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


def entry_of(item: QTreeWidgetItem | None) -> Entry | None:
    """The image of a row; none for a patient, a study or a 4-D image."""
    return None if item is None else item.data(0, _ENTRY)


def texts_of(entry: Entry) -> list[str]:
    """One text for each column."""
    grid = entry.geometry
    name = _name_of(entry)
    pixels = "" if grid is None else f"{grid.size_xyz[0]}×{grid.size_xyz[1]}"
    spacing = "" if grid is None else "×".join(f"{s:.3g}" for s in grid.spacing_xyz_mm)
    notes = f"⚠ {entry.problem}" if entry.problem else ", ".join(entry.notes)
    return [name, "", entry.modality, str(entry.count or ""), pixels, spacing, date_text(entry.date), notes]


def summary_of(entry: Entry) -> str:
    """One line that tells an image from the others."""
    name = " · ".join(part for part in (entry.modality, _name_of(entry)) if part)
    grid = entry.geometry
    size = "" if grid is None else f", {' × '.join(str(n) for n in grid.size_xyz)}"
    patient = f" – {patient_text(entry.patient)}" if entry.is_dicom else ""
    return f"{name}{size}{patient}"


def _name_of(entry: Entry) -> str:
    """Phase and description, or where it lies."""
    parts = [part for part in (entry.phase, entry.description) if part]
    return " · ".join(parts) if parts else tr("in folder {folder}").format(folder=entry.files[0].parent.name)


def patient_text(patient: Patient) -> str:
    parts = [patient.name or tr("Patient without name")]
    if patient.id:
        parts.append(tr("ID {id}").format(id=patient.id))
    if patient.birth_date:
        parts.append(tr("born {date}").format(date=date_text(patient.birth_date)))
    return ", ".join(parts)


def date_text(date: str) -> str:
    """2026-01-02 for the 20260102 of DICOM; whatever else as it is."""
    return f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdecimal() else date


def _levels(entry: Entry, folder: Path, phases: int) -> list[tuple[Hashable, str]]:
    """What stands above an image in a folder, one of some phases, from the outside in: a key and a text each."""
    if not entry.is_dicom:
        place = entry.study.description or folder.name or str(folder)
        levels: list[tuple[Hashable, str]] = [
            ("files", tr("Image files")),
            (entry.study, tr("Folder {folder}").format(folder=place)),
        ]
    else:
        levels = [(entry.patient, patient_text(entry.patient)), (entry.study, _study_text(entry.study))]
    if entry.phase_set:
        text = tr_count("4-D: {name}, {count} phase", "4-D: {name}, {count} phases", phases)
        levels.append((entry.phase_set, text.format(name=entry.phase_set, count=phases)))
    return levels


def _set_of(entry: Entry) -> tuple[Hashable, ...]:
    return entry.patient, entry.study, entry.phase_set


def _study_text(study: Study) -> str:
    parts = [part for part in (date_text(study.date), study.description) if part]
    return tr("Study {study}").format(study=" · ".join(parts)) if parts else tr("Study without date")
