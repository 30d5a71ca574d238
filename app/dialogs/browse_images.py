"""Choosing the fixed and the moving image among the series of a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QGridLayout,
    QProgressBar,
    QPushButton,
    QStackedLayout,
    QTreeWidgetItem,
    QVBoxLayout,
    QWidget,
)

import engine
from app import settings
from app.dialogs.files import ask_folder
from app.dialogs.series_tree import SeriesTree, entry_of, summary_of
from app.panels.parts import label, row, set_role
from app.problems import message_of
from app.store import Store
from app.texts import mark, tr, tr_count
from app.viewer.view_state import IMAGES_IN_SHORT
from app.worker import Task, Worker, job_of
from engine.progress import Progress
from engine.volume import Volume

if TYPE_CHECKING:
    from engine.io.catalog import Catalog, Entry

_SIZE = (1080, 680)
_EMPTY = (
    mark("No images here: neither DICOM slices nor NIfTI, MHA/MHD or NRRD files lie in this folder or below it."),
    mark("Choose another folder, or drop one here."),
)


class BrowseDialog(QDialog):
    """Stays open beside the work. `chosen` carries the files of the fixed and of the moving image.

    None of a role: the image that is open keeps it.
    """

    chosen = Signal(object, object)

    def __init__(self, store: Store, worker: Worker, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._store, self._worker = store, worker
        self._task: Task | None = None
        self._heard: tuple[tuple[Any, Callable[..., None]], ...] = ()
        self._pending: list[QTreeWidgetItem] = []
        self._pictured: QTreeWidgetItem | None = None
        self.roles: dict[str, Entry | None] = {"fixed": None, "moving": None}
        self.setWindowTitle(tr("Choose images"))
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowModality(Qt.WindowModality.NonModal)
        self.setAcceptDrops(True)
        layout = QVBoxLayout(self)
        layout.addLayout(self._top())
        layout.addLayout(self._middle(), 1)
        layout.addLayout(self._bottom())
        available = QGuiApplication.primaryScreen().availableGeometry()
        self.resize(min(_SIZE[0], available.width()), min(_SIZE[1], available.height() - 40))
        for signal in (store.run_changed, store.case_changed):
            signal.connect(self._show_roles)
        self.tree.setFocus()
        self.look_through(folder)

    def look_through(self, folder: Path) -> None:
        """List the images of another folder; what was chosen before stays chosen."""
        self._drop_task()
        settings.remember_folder(folder)
        self.place.setText(str(folder))
        self.tree.clear()
        self.tree.items, self._pending = [], []
        self._show_empty(tr("Looking through the folder …"))
        self._show_looking(True)
        self._follow(self._worker.submit(lambda: engine.read_catalog(folder)), self._take_catalog, self._fail)

    def choose(self, role: str) -> None:
        """Give the image of the current row a role; it loses the other one."""
        entry = self.tree.current_entry()
        if entry is None or entry.problem:
            return
        self.roles = {known: None if held is entry else held for known, held in self.roles.items()}
        self.roles[role] = entry
        self._show_roles()

    def swap(self) -> None:
        self.roles = {"fixed": self.roles["moving"], "moving": self.roles["fixed"]}
        self._show_roles()

    def accept(self) -> None:
        fixed, moving = (() if entry is None else entry.files for entry in self.roles.values())
        self.chosen.emit(fixed, moving)
        super().accept()

    def done(self, result: int) -> None:
        self._drop_task()
        super().done(result)

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        path = Path(event.mimeData().urls()[0].toLocalFile())
        event.acceptProposedAction()
        self.look_through(path if path.is_dir() else path.parent)

    def _top(self) -> QGridLayout:
        self.place = label()
        self.place.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.status = label(role="dim")
        self.bar = QProgressBar(textVisible=False)
        self.bar.setMaximumWidth(160)
        self.stop_button = QPushButton(tr("Stop"), toolTip=tr("Show the images that were found so far"))
        self.stop_button.setAutoDefault(False)
        self.stop_button.clicked.connect(self._stop)
        other = QPushButton(
            tr("Other &folder …"), toolTip=tr("Look through another folder; what is chosen stays chosen")
        )
        other.setAutoDefault(False)
        other.clicked.connect(lambda: ask_folder(self, tr("Choose a folder to look through"), self._look_through_text))
        top = QGridLayout()
        top.addWidget(self.place, 0, 0)
        top.addWidget(other, 0, 1)
        state = row(self.status, self.bar, self.stop_button)
        top.addLayout(state, 1, 0, 1, 2)
        top.setColumnStretch(0, 1)
        return top

    def _middle(self) -> QStackedLayout:
        self.tree = SeriesTree()
        self.tree.currentItemChanged.connect(lambda *_: self._show_roles())
        self.tree.itemActivated.connect(lambda *_: self.choose("moving" if self.roles["fixed"] else "fixed"))
        self.empty = label(role="dim", wrap=True)
        self.empty.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._stack = QStackedLayout()
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self.tree)
        return self._stack

    def _bottom(self) -> QVBoxLayout:
        self.detail = label(wrap=True)
        self.texts = {role: label() for role in self.roles}
        self.buttons = {
            "fixed": QPushButton(
                tr("Use as fi&xed"), toolTip=tr("The image of today, e.g. the CBCT (Alt+X, or Return first)")
            ),
            "moving": QPushButton(
                tr("Use as &moving"),
                toolTip=tr("What is deformed onto it, e.g. the planning CT (Alt+M, or Return then)"),
            ),
        }
        grid = QGridLayout()
        for number, (role, button) in enumerate(self.buttons.items()):
            button.setAutoDefault(False)
            button.clicked.connect(lambda _checked=False, role=role: self.choose(role))
            grid.addWidget(button, number, 0)
            grid.addWidget(label(tr(IMAGES_IN_SHORT[role]), "heading"), number, 1)
            grid.addWidget(self.texts[role], number, 2)
        grid.setColumnStretch(2, 1)
        self.guard = label(role="warn", wrap=True)
        self.swap_button = QPushButton(tr("S&wap roles"), toolTip=tr("Exchange the two"))
        self.swap_button.setAutoDefault(False)
        self.swap_button.clicked.connect(self.swap)
        ends = QDialogButtonBox(QDialogButtonBox.StandardButton.Open | QDialogButtonBox.StandardButton.Close)
        ends.addButton(self.swap_button, QDialogButtonBox.ButtonRole.ActionRole)
        self.open_button = ends.button(QDialogButtonBox.StandardButton.Open)
        self.open_button.setText(tr("&Open"))
        self.open_button.setAutoDefault(False)
        ends.button(QDialogButtonBox.StandardButton.Close).setAutoDefault(False)
        ends.accepted.connect(self.accept)
        ends.rejected.connect(self.reject)
        bottom = QVBoxLayout()
        for part in (self.detail, self.guard):
            bottom.addWidget(part)
        bottom.insertLayout(1, grid)
        bottom.addWidget(ends)
        return bottom

    def _look_through_text(self, folder: str) -> None:
        self.look_through(Path(folder))

    def _stop(self) -> None:
        if self._task is not None:
            self._task.stop()

    def _follow(self, task: Task, take: Callable[[Any], None], fail: Callable[[BaseException], None]) -> None:
        """Hold on to a task until it ends; an ended one is no more."""
        self._task = task
        self._heard = (
            (task.progressed, self._report),
            (task.succeeded, take),
            (task.failed, fail),
            (task.cancelled, self._forget_task),
        )
        for signal, slot in self._heard:
            signal.connect(slot)

    def _forget_task(self) -> None:
        self._task = None

    def _drop_task(self) -> None:
        """Forget the work under way; whatever it still says is not heard."""
        if self._task is not None:
            task, self._task = self._task, None
            for signal, slot in self._heard:
                signal.disconnect(slot)
            task.cancel()

    def _report(self, reports: list[Progress]) -> None:
        last = reports[-1]
        self.bar.setRange(0, last.total)
        self.bar.setValue(last.done)
        self.status.setText(last.note)

    def _take_catalog(self, catalog: Catalog) -> None:
        self._task = None
        self._show_looking(False)
        self.status.setText(_told(catalog))
        self.tree.show_catalog(catalog)
        self._pending = [item for item in self.tree.items if not entry_of(item).problem]
        self._show_empty("" if catalog.entries else "\n".join(tr(text) for text in _EMPTY))
        self._show_roles()
        self._next_picture()

    def _fail(self, error: BaseException) -> None:
        self._task = None
        self._show_looking(False)
        self.status.setText("")
        self._show_empty(message_of(error))

    def _next_picture(self) -> None:
        """One picture after the other, so that a step never waits for more than one of them."""
        if not self._pending:
            return
        current = self.tree.currentItem()
        self._pictured = current if current in self._pending else self._pending[0]
        self._pending.remove(self._pictured)
        entry = entry_of(self._pictured)
        task = self._worker.submit(job_of(lambda: engine.thumbnail(entry)))
        self._follow(task, self._take_picture, self._miss_picture)

    def _take_picture(self, gray: Any) -> None:
        self.tree.show_picture(self._pictured, gray)
        self._miss_picture()

    def _miss_picture(self, _error: BaseException | None = None) -> None:
        self._task = None
        self._next_picture()

    def _show_empty(self, text: str) -> None:
        self.empty.setText(text)
        self._stack.setCurrentWidget(self.empty if text else self.tree)

    def _show_looking(self, looking: bool) -> None:
        self.bar.setVisible(looking)
        self.bar.setRange(0, 0)
        self.stop_button.setVisible(looking)
        if looking:
            self.status.setText(tr("waits for the running step") if self._store.running else "")

    def _show_roles(self) -> None:
        current = self.tree.current_entry()
        self.detail.setText(_details(current))
        set_role(self.detail, "warn" if current is not None and current.problem else "dim")
        kept = {"fixed": self._store.fixed, "moving": self._store.moving}
        for role, entry in self.roles.items():
            self.buttons[role].setEnabled(current is not None and not current.problem)
            self.texts[role].setText(summary_of(entry) if entry else _kept_text(kept[role]))
        self.tree.show_roles(self.roles)
        findings = self._findings()
        self.guard.setText("\n".join(findings))
        self.guard.setVisible(bool(findings))
        self.swap_button.setEnabled(any(self.roles.values()))
        self.open_button.setEnabled(any(self.roles.values()) and not self._store.running)

    def _findings(self) -> list[str]:
        """What is odd about the two by their labels; their voxels are looked at when they are open."""
        fixed, moving = (self.roles[role] or getattr(self._store, role) for role in ("fixed", "moving"))
        if fixed is None or moving is None:
            return []
        found = engine.label_findings(fixed.identity, moving.identity, fixed.modality, moving.modality)
        return [f"{'⚠ ' if finding.is_warning else ''}{finding.text}" for finding in found]


def _told(catalog: Catalog) -> str:
    """How much was found."""
    bad = sum(bool(entry.problem) for entry in catalog.entries)
    patients = len({entry.patient for entry in catalog.entries if entry.is_dicom})
    images, others = len(catalog.entries), catalog.passed_over
    parts = [tr_count("{count} image", "{count} images", images).format(count=images)]
    if patients:
        parts.append(tr_count("{count} patient", "{count} patients", patients).format(count=patients))
    if bad:
        parts.append(tr_count("{count} cannot be opened", "{count} cannot be opened", bad).format(count=bad))
    if others:
        text = tr_count("{count} other file passed over", "{count} other files passed over", others)
        parts.append(text.format(count=others))
    found = ", ".join(parts)
    return found if catalog.whole else tr("{found}. Stopped: there may be more.").format(found=found)


def _details(entry: Entry | None) -> str:
    if entry is None:
        return ""
    return f"⚠ {entry.problem}" if entry.problem else "; ".join(entry.notes)


def _kept_text(volume: Volume | None) -> str:
    if volume is None:
        return tr("none yet")
    size = " × ".join(str(n) for n in volume.geometry.size_xyz)
    return tr("stays as it is ({modality}, {size})").format(modality=volume.modality, size=size)
