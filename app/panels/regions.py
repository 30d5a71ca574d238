"""The boxes: name, size, and the error in each before any refinement and now."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from PySide6.QtCore import QPoint, Qt, QTimer
from PySide6.QtGui import QIcon
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QLineEdit, QMenu, QTableWidget, QTableWidgetItem

from app.menus import Actions
from app.panels.parts import Panel, action_button, label, lock_icon, row
from app.plan import error_text, step_text
from app.store import Store
from app.texts import tr, tr_count
from app.viewer.boxes import USES, middle_of, size_text, use_in_short
from app.viewer.pictures import box_rmse_hu
from engine.case import Case
from engine.errors import InputError
from engine.regions import Use
from engine.roi import Box
from engine.shapes import MaskArray

_EDITABLE = Qt.ItemFlag.ItemIsEditable
_ERROR_DELAY_MS = 120
"""Errors are computed when the hand rests, so that dragging stays smooth."""


class RegionsPanel(Panel):
    """A table of the boxes; the selected one is what RSO works on."""

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__()
        self._store = store
        self._filling = False
        self._counted: dict[Use, MaskArray] | None = None
        self.table = QTableWidget(0, 3)
        self.table.setAccessibleName(tr("Regions"))
        self.table.setHorizontalHeaderLabels([tr("Name"), tr("Before"), tr("Now")])
        self.table.horizontalHeaderItem(1).setToolTip(tr("Error (RMSE) in the box before the first refinement"))
        self.table.horizontalHeaderItem(2).setToolTip(tr("Error (RMSE) in the box at the current state"))
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.horizontalHeader().setHighlightSections(False)
        self.table.verticalHeader().hide()
        self.table.setShowGrid(False)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        self.table.setToolTip(
            tr("Click to go to a region, double-click to rename it, right-click to say what it is for")
        )
        self.size_text = label(role="dim", wrap=True)
        self.body.addWidget(self.table, 1)
        self.reason = label(wrap=True)
        self.body.addWidget(self.reason)
        self.masks = label(role="dim", wrap=True)
        self.body.addWidget(self.size_text)
        self.faces = QLineEdit(toolTip=tr("First and end voxel along x, y and z: type others, then Return"))
        self.faces.setAccessibleName(tr("Faces of the region, x0:x1,y0:y1,z0:z1"))
        self.body.addWidget(self.faces)
        self.refusal = label(role="warn", wrap=True)
        self.body.addWidget(self.refusal)
        self.body.addWidget(self.masks)
        self.body.addLayout(
            row(
                action_button(actions["draw_box"], tr("Draw (B)")),
                action_button(actions["propose"], tr("Propose")),
                action_button(actions["delete_box"], tr("Delete")),
            )
        )
        self.table.cellClicked.connect(lambda number, _column: self._go_to(number))
        self.table.currentCellChanged.connect(lambda number, *_: self._select(number))
        self.menu = QMenu(self.table)
        self.menu.addActions([actions[f"use_{use}"] for use in USES])
        self.menu.addSeparator()
        self.menu.addActions([actions[name] for name in ("duplicate_box", "lock_box", "snap_box", "delete_box")])
        self.table.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.table.customContextMenuRequested.connect(self._show_menu)
        self.table.itemChanged.connect(self._rename)
        self.faces.editingFinished.connect(self._take_faces)
        self._due = QTimer(self, singleShot=True, interval=_ERROR_DELAY_MS)
        self._due.timeout.connect(self.show_errors)
        store.boxes_changed.connect(self.show_boxes)
        store.pictures_changed.connect(self._ask_errors)
        store.case_changed.connect(self._ask_errors)
        store.run_changed.connect(self._guard)
        self.show_boxes()

    def show_boxes(self) -> None:
        """List the boxes."""
        store = self._store
        self._filling = True
        self.table.setRowCount(len(store.boxes))
        for number, named in enumerate(store.boxes):
            if self.table.item(number, 0) is None:
                self._add_items(number)
            item = self.table.item(number, 0)
            item.setText(named.name)
            item.setIcon(lock_icon() if named.locked else QIcon())
            item.setToolTip("\n".join(filter(None, (tr("Locked") if named.locked else "", named.reason))))
            item.setFlags(item.flags() & ~_EDITABLE if named.locked else item.flags() | _EDITABLE)
        if store.selected is None:
            self.table.setCurrentCell(-1, -1)
        elif store.selected != self.table.currentRow() or not self.table.selectedItems():
            self.table.setCurrentCell(store.selected, max(self.table.currentColumn(), 0))
        self._filling = False
        self.size_text.setText(self._size_text())
        self._show_faces()
        reason = store.selected_box.reason if store.selected_box is not None else ""
        self.reason.setText(reason)
        self.reason.setVisible(bool(reason))
        self._show_masks()
        self._ask_errors()

    def show_errors(self) -> None:
        """Compute and show the error in each box."""
        self._filling = True
        pictures = self._store.pictures
        for number, named in enumerate(self._store.boxes):
            used = use_in_short(named.use)
            before = now = None
            if pictures is not None:
                before = box_rmse_hu(replace(pictures, warped_hu=pictures.unrefined_warped_hu), named.box)
                now = None if pictures.stale else box_rmse_hu(pictures, named.box)
            self.table.item(number, 1).setText("" if used else _in_hu(before))
            self.table.item(number, 2).setText(used or _in_hu(now))
            for column in (1, 2):
                self.table.item(number, column).setToolTip(runs_text(self._store.case, named.box))
        self._filling = False

    def _ask_errors(self) -> None:
        if self._store.boxes and not self._due.isActive():
            self._due.start()

    def _size_text(self) -> str:
        store, named = self._store, self._store.selected_box
        if named is None or store.pictures is None:
            return tr("Press B and drag a box over a place\nthat is still wrong.")
        return size_text(named.box, store.pictures.geometry.spacing_zyx_mm)

    def _show_masks(self) -> None:
        """Voxels are counted once for each set of files, not at every move of a box."""
        if self._counted is not self._store.masks:
            self._counted = self._store.masks
            self.masks.setText(masks_text(self._counted))
            self.masks.setVisible(bool(self._counted))

    def _show_faces(self) -> None:
        named = self._store.selected_box
        self.faces.setVisible(named is not None)
        self.faces.setText("" if named is None else str(named.box))
        self._guard()
        self._refuse("")

    def _guard(self) -> None:
        named = self._store.selected_box
        self.faces.setReadOnly(self._store.running or (named is not None and named.locked))

    def _refuse(self, sentence: str) -> None:
        self.refusal.setText(sentence)
        self.refusal.setVisible(bool(sentence))

    def _take_faces(self) -> None:
        """Move the faces of the selected box to what was typed, or say what is wrong with it."""
        store, named, text = self._store, self._store.selected_box, self.faces.text()
        if named is None or store.pictures is None or self.faces.isReadOnly() or text == str(named.box):
            return
        try:
            box = Box.parse(text).checked(store.pictures.geometry.shape_zyx)
        except InputError as error:
            self._show_faces()
            self._refuse(str(error))
        else:
            store.reshape_box(store.selected, box)

    def _add_items(self, number: int) -> None:
        self.table.setItem(number, 0, QTableWidgetItem())
        for column in (1, 2):
            error = QTableWidgetItem()
            error.setFlags(Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable)
            error.setTextAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
            self.table.setItem(number, column, error)

    def _show_menu(self, at: QPoint) -> None:
        store, number = self._store, self.table.rowAt(at.y())
        if number >= 0 and not store.running:
            store.set_boxes(store.boxes, number)
            self.menu.popup(self.table.viewport().mapToGlobal(at))

    def _select(self, number: int) -> None:
        if not self._filling and 0 <= number < len(self._store.boxes):
            self._go_to(number)

    def _go_to(self, number: int) -> None:
        store = self._store
        store.set_boxes(store.boxes, number)
        store.change_view(cursor_zyx=middle_of(store.boxes[number].box))

    def _rename(self, item: QTableWidgetItem) -> None:
        if not self._filling and item.column() == 0:
            self._store.rename_box(item.row(), item.text())
            self.show_boxes()


def _in_hu(error_hu: float | None) -> str:
    return "–" if error_hu is None else f"{error_hu:.0f} HU"


def runs_text(case: Case | None, box: Box) -> str:
    """What each step on the way to the current state did to the error in a box."""
    steps = () if case is None else case.current.steps
    return "\n".join(f"{step_text(step.name)}: {error_text(step, None)}" for step in steps if step.box == box)


def masks_text(masks: dict[Use, MaskArray]) -> str:
    """What came from files."""
    found = []
    if "rigid" in masks:
        count = np.count_nonzero(masks["rigid"])
        found.append(tr_count("{count} voxel kept rigid", "{count} voxels kept rigid", count).format(count=count))
    if "excluded" in masks:
        count = np.count_nonzero(masks["excluded"])
        found.append(tr_count("{count} voxel excluded", "{count} voxels excluded", count).format(count=count))
    return tr("From files: {found}").format(found=", ".join(found))
