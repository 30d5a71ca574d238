"""The window: puts store, worker, panes and panels together, and asks for paths."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QCloseEvent, QDragEnterEvent, QDropEvent, QGuiApplication
from PySide6.QtWidgets import QMainWindow, QMessageBox, QSplitter, QTabWidget, QVBoxLayout, QWidget

import engine
from app import settings, theme
from app.autosave import discard, unsaved_cases
from app.commands import Commands, Role
from app.dialogs.browse_images import BrowseDialog
from app.dialogs.compare_fits import CompareFitsDialog
from app.dialogs.export import ExportDialog
from app.dialogs.files import ask_file, ask_folder, ask_new_folder, label_filter, mask_filter, transform_filter
from app.dialogs.keys import KeysDialog
from app.dialogs.model_card import ModelCardDialog
from app.dialogs.open_images import OpenDialog
from app.fits import Comparison
from app.folding import Folding
from app.menus import Actions
from app.pair_check import PairCheck
from app.panels.history import HistoryPanel, deletion_text
from app.panels.parts import MessageBar, action_button
from app.panels.points import PointsPanel
from app.panels.quality import QualityPanel
from app.panels.readout import Readout
from app.panels.recent import RecentMenu
from app.panels.regions import RegionsPanel
from app.panels.run import RunPanel
from app.panels.structures import StructuresPanel
from app.panels.toast import Toast
from app.panels.toolbar import ViewBar
from app.panels.tour import TourStrip
from app.panels.workflow import WorkflowPanel
from app.problems import Problems
from app.store import Store
from app.texts import mark, tr
from app.viewer.grid import Grid
from app.viewer.pop_out import PopOut
from app.worker import Worker, job_of
from engine.regions import Use

if TYPE_CHECKING:
    from engine.pairing import Finding

_ABOUT = (
    mark("Regard reviews and refines deformable registrations of CT and cone-beam CT for radiotherapy."),
    mark("Research software, not a medical device. Use needs commissioning at your own site."),
)
_SIZE = (1500, 900)


class MainWindow(QMainWindow):
    """One case, one window."""

    def __init__(self) -> None:
        super().__init__()
        self.setWindowTitle("Regard")
        self.setAcceptDrops(True)
        self.store = Store(self)
        self.store.set_settings(settings.load_run_settings())
        self.store.set_view(settings.load_view())
        self.worker = Worker(self)
        self.commands = Commands(self.store, self.worker, self)
        self.folding = Folding(self.store, self.worker, self)
        self.pair_check = PairCheck(self.store, self.worker, self)
        self.grid = Grid(self.store)
        self.actions_table = Actions(self)
        self.dialog: QWidget | None = None
        self._closing = False
        self._odd = ""
        self._build()
        self.problems = Problems(self, self.message.warn)
        self._connect()

    def ask_images(self) -> None:
        dialog = OpenDialog(self)
        dialog.chosen.connect(self.commands.open_pair)
        self._show_dialog(dialog)

    def ask_folder(self) -> None:
        self._hold(ask_folder(self, tr("Choose a folder to look through"), self.browse))

    def browse(self, folder: str | Path) -> None:
        """Show the series in a folder and below it, to choose from."""
        dialog = BrowseDialog(self.store, self.worker, Path(folder), self)
        dialog.chosen.connect(self.commands.open_files)
        self._show_dialog(dialog)

    def ask_case(self) -> None:
        self._hold(ask_folder(self, tr("Open a saved case"), self.commands.open_case))

    def save(self) -> None:
        if self.store.folder is None:
            self.ask_save()
        else:
            self.commands.save(self.store.folder)

    def ask_save(self) -> None:
        self._hold(ask_new_folder(self, tr("Save the case as a folder"), "case", self.commands.save))

    def ask_mask(self, use: Use) -> None:
        self._hold(
            ask_file(self, tr("Choose a mask on the fixed grid"), mask_filter(), partial(self.commands.load_mask, use))
        )

    def ask_structures(self, role: Role) -> None:
        of_fixed = role == "fixed"
        title = tr("Choose contours of the fixed image") if of_fixed else tr("Choose contours of the moving image")
        self._hold(ask_file(self, title, label_filter(), partial(self._load_structures, role)))

    def _load_structures(self, role: Role, path: str) -> None:
        self.show_list(self.structures)
        self.commands.load_structures(role, path)

    def ask_delete_branch(self) -> None:
        """Ask above the images whether the state marked in the history can go with all that began from it."""
        self._ask_delete(self.store.marked_state)

    def _ask_delete(self, number: int) -> None:
        case = self.store.case
        gone = case.branch(number)
        delete = partial(self.commands.delete_branch, case.id, gone)
        self.message.say(deletion_text(number, len(gone) - 1), {tr("Delete"): delete})

    def ask_export(self) -> None:
        dialog = ExportDialog(engine.EXPORTERS, self)
        dialog.chosen.connect(self.commands.export)
        self._show_dialog(dialog)

    def ask_transform(self) -> None:
        self._hold(ask_file(self, tr("Choose a transform"), transform_filter(), self._take_transform))

    def pop_out(self) -> None:
        """The images in a second window; there is one at most."""
        window = self.findChild(PopOut)
        if window is None:
            window = PopOut(self.store, self)
            window.grid.hovered.connect(self.readout.hover)
            self.actions_table.offer_in(window, window.grid)
        window.show()
        window.raise_()

    def grid_in_front(self) -> Grid:
        """The images that keys are for: those of the second window while it is the active one."""
        window = self.findChild(PopOut)
        return window.grid if window is not None and window.isActiveWindow() else self.grid

    def show_keys(self) -> None:
        self._show_dialog(KeysDialog(self))

    def show_model_card(self) -> None:
        model = self.store.settings.model
        self._show_dialog(ModelCardDialog(model, engine.model_card(model), self))

    def show_about(self) -> None:
        icon, button = QMessageBox.Icon.Information, QMessageBox.StandardButton.Ok
        dialog = QMessageBox(icon, tr("About Regard"), "\n\n".join(tr(text) for text in _ABOUT), button, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._show_dialog(dialog)

    def toggle_theme(self) -> None:
        name = "light" if theme.current_name() == "dark" else "dark"
        settings.save_theme(name)
        theme.change_theme(self, name, self._take_theme)

    def _take_theme(self) -> None:
        self.run_panel.apply_theme()
        self.history.show_case()
        self.regions.show_boxes()

    def show_list(self, panel: QWidget) -> None:
        """Bring the regions or the points to the front."""
        self.tabs.setCurrentWidget(panel)

    def offer_unsaved(self) -> None:
        """Offer the work that was open when the program last ended, if there is any."""
        folders = unsaved_cases()
        if folders and self.store.case is None:
            self.message.say(
                tr("Unsaved work of an earlier session was kept."),
                {
                    tr("Reopen"): lambda: self.commands.open_case(folders[0], as_unsaved=True),
                    tr("Discard"): lambda: self.worker.submit(job_of(discard, folders[0]), lasting=True),
                },
            )

    def _offer_back(self, case_id: str) -> None:
        self.message.add(
            tr("The work on the case before was not saved. It is kept under File, Open recent case."),
            {tr("Go back to it"): partial(self.commands.reopen, case_id)},
        )

    def offer_tour(self) -> None:
        """Offer the tour, once ever, where nothing else is said or open."""
        if settings.tour_was_offered() or self.store.case is not None or not self.message.isHidden():
            return
        settings.remember_tour_offer()
        self.message.say(
            tr("New here? A tour through the work on a built-in case takes two minutes (F1)."),
            {tr("Start the tour"): self.tour.start},
        )

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:  # noqa: N802
        if event.mimeData().hasUrls():
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:  # noqa: N802
        event.acceptProposedAction()
        self.take_paths([url.toLocalFile() for url in event.mimeData().urls()])

    def take_paths(self, paths: list[str]) -> None:
        """Take what was dropped: a case, results that hold one, a folder to choose from, or one or two images."""
        single = Path(paths[0]) if len(paths) == 1 else Path()
        cases = [folder for folder in (single, single / "case") if (folder / "case.json").is_file()]
        if len(paths) == 1 and cases:
            self.commands.open_case(cases[0])
        elif len(paths) == 1 and single.is_dir():
            self.browse(single)
        elif len(paths) == 2:
            opens = not self.store.running and self.store.draft is None
            self.commands.open_pair(*paths)
            if opens:
                self.message.say(
                    tr("The first was taken as fixed, the second as moving."),
                    {tr("Swap roles"): self.commands.swap_images},
                )
        elif len(paths) == 1:
            self.commands.add_image(paths[0])
        else:
            self.message.say(tr("Drop one image, two images, or the folder of a case."))

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802
        self.commands.guide()
        if self.worker.busy:
            self._closing = True
            self.commands.drop_planned()
            self.worker.cancel_all()
            self.setEnabled(False)
            self.message.say(tr("Closing as soon as the running step lets go …"))
            event.ignore()
            return
        self.problems.close()
        settings.save_window(self, self._splitters)
        settings.save_view(self.store.view)
        settings.save_run_settings(self.store.settings)
        self.worker.shut_down()
        event.accept()

    def _build(self) -> None:
        store, actions = self.store, self.actions_table
        self.message, self.readout = MessageBar(), Readout(store)
        self.tour = TourStrip(store, actions)
        self.workflow, self.run_panel = WorkflowPanel(store, actions), RunPanel(store, actions)
        self.regions, self.points = RegionsPanel(store, actions), PointsPanel(store, actions)
        self.history, self.quality = HistoryPanel(store, actions), QualityPanel(store)
        self.toast = Toast(self.grid, store, action_button(actions["undo"], tr("Undo")))
        self.tabs = QTabWidget(documentMode=True)
        self.tabs.tabBar().setDrawBase(False)
        self.tabs.tabBar().setElideMode(Qt.TextElideMode.ElideRight)
        self.tabs.setUsesScrollButtons(False)
        self.tabs.setAccessibleName(tr("Regions, points and contours"))
        self.tabs.addTab(self.regions, tr("Regions"))
        self.tabs.addTab(self.points, tr("Points"))
        self.structures = StructuresPanel(store, actions)
        self.tabs.addTab(self.structures, tr("Contours"))
        lists = _splitter(Qt.Orientation.Vertical, self.tabs, self.history)
        right = _column(lists, self.quality)
        right.setMinimumWidth(250)
        center = _column(ViewBar(store, actions), self.message, self.tour, self.grid, self.run_panel, stretched=3)
        whole = _splitter(Qt.Orientation.Horizontal, self.workflow, center, right)
        whole.setStretchFactor(1, 1)
        whole.setSizes([272, 900, 265])
        self.recent = RecentMenu(store, self.commands.open_case, self)
        file_menu = self.menuBar().actions()[0].menu()
        file_menu.insertMenu(actions["demo"], self.recent)
        file_menu.aboutToShow.connect(self.recent.fill)
        self.workflow.offer_recent(self.recent)
        self._splitters = {"columns": whole, "lists": lists}
        self.setCentralWidget(whole)
        self.setStatusBar(self.readout)
        self.grid.panes[0].setFocus()
        self._fit_screen()
        settings.restore_window(self, self._splitters)

    def _connect(self) -> None:
        self.commands.failed.connect(self.problems.show)
        self.commands.begun.connect(self.message.hide)
        self.commands.told.connect(self.message.say)
        self.commands.left.connect(self._offer_back)
        self.commands.branch_changed.connect(self._ask_delete)
        self.commands.step_finished.connect(self.toast.say)
        self.run_panel.dropped.connect(self.commands.drop_planned)
        self.commands.compared.connect(self._show_comparison)
        self.commands.image_needs_role.connect(self._ask_role)
        self.history.chosen.connect(self.commands.go_to)
        self.workflow.file_wanted.connect(self.ask_transform)
        self.grid.hovered.connect(self.readout.hover)
        self.folding.failed.connect(self.problems.show)
        self.commands.models_known.connect(self.workflow.set_models)
        self.pair_check.found.connect(self.workflow.warn_of_pair)
        self.pair_check.found.connect(self._tell_findings)
        self.pair_check.failed.connect(self.problems.show)
        self.commands.unlike_training.connect(self.workflow.warn_of_model)
        self.worker.idle.connect(self._close_if_wanted)
        self.store.case_changed.connect(self._show_title)
        self.store.case_changed.connect(self._count_pairs)

    def _tell_findings(self, findings: tuple[Finding, ...]) -> None:
        """Say what is odd about the pair; what was said of another pair goes away with it."""
        if self._odd and self.message.text.text() == self._odd:
            self.message.hide()
        self._odd = "\n".join(finding.text for finding in findings)
        if findings:
            swap = {tr("Swap roles"): self.commands.swap_images}
            self.message.add(self._odd, swap if any(finding.kind == "roles" for finding in findings) else {})

    def _fit_screen(self) -> None:
        available = QGuiApplication.primaryScreen().availableGeometry()
        self.resize(min(_SIZE[0], available.width()), min(_SIZE[1], available.height()))

    def _close_if_wanted(self) -> None:
        if self._closing:
            QTimer.singleShot(0, self.close)

    def _show_title(self) -> None:
        store = self.store
        name = store.folder.name if store.folder else tr("new case")
        self.setWindowTitle("Regard" if store.case is None else f"{name}{' *' if store.unsaved else ''} – Regard")

    def _count_pairs(self) -> None:
        case = self.store.case
        count = 0 if case is None else len(case.guidance.fixed_points_mm)
        text = tr("Points ({count})").format(count=count) if count else tr("Points")
        self.tabs.setTabText(self.tabs.indexOf(self.points), text)

    def _ask_role(self, path: str) -> None:
        answers = {
            tr("As fixed"): lambda: self.commands.add_image(path, "fixed"),
            tr("As moving"): lambda: self.commands.add_image(path, "moving"),
        }
        self.message.say(tr("Both images are open. Use the dropped one in place of which? A new case begins."), answers)

    def _show_comparison(self, comparison: Comparison) -> None:
        dialog = CompareFitsDialog(self.store, comparison, self)
        dialog.taken.connect(partial(self.commands.take, comparison))
        self._show_dialog(dialog)

    def _take_transform(self, path: str) -> None:
        self.workflow.align_file.setText(path)
        self.workflow.align_file.editingFinished.emit()

    def _show_dialog(self, dialog: QWidget) -> None:
        self._hold(dialog)
        dialog.show()

    def _hold(self, dialog: QWidget) -> None:
        self.dialog = dialog
        dialog.destroyed.connect(partial(self._let_go, id(dialog)))

    def _let_go(self, gone: int, _object: object = None) -> None:
        if id(self.dialog) == gone:
            self.dialog = None


def _column(*widgets: QWidget, stretched: int = 0) -> QWidget:
    column = QWidget()
    layout = QVBoxLayout(column)
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(0)
    for number, widget in enumerate(widgets):
        layout.addWidget(widget, int(number == stretched))
    return column


def _splitter(orientation: Qt.Orientation, *widgets: QWidget) -> QSplitter:
    splitter = QSplitter(orientation)
    splitter.setChildrenCollapsible(False)
    splitter.setHandleWidth(1)
    for widget in widgets:
        splitter.addWidget(widget)
    return splitter
