"""The images in a window of their own, for a second screen: the same cursor, a layout of its own."""

from __future__ import annotations

from PySide6.QtCore import QRect, QSize, Qt
from PySide6.QtGui import QGuiApplication, QKeySequence, QShortcut
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QVBoxLayout, QWidget

from app.store import Store
from app.texts import tr
from app.viewer.grid import Grid
from app.viewer.view_state import IMAGES_IN_SHORT, LAYOUTS, PLANE_TEXTS

_SIZE = (1100, 800)
_ASIDE = 60
"""From the corner of the only screen, so that the first window can be seen."""


class PopOut(QWidget):
    """Stays in step with the store; closing it closes nothing else."""

    def __init__(self, store: Store, parent: QWidget) -> None:
        super().__init__(parent, Qt.WindowType.Window)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.setWindowTitle(tr("Regard, images"))
        self.grid = Grid(store, own_layout="sheet")
        self.arrangement = QComboBox(toolTip=tr("How the images are arranged; double-click one to enlarge it"))
        self.plane = QComboBox(toolTip=tr("The orientation of layouts that show one"))
        self.image = QComboBox(toolTip=tr("The image of layouts that show one"))
        for box, texts in (
            (self.arrangement, LAYOUTS),
            (self.plane, PLANE_TEXTS),
            (self.image, IMAGES_IN_SHORT),
        ):
            box.setAccessibleName(box.toolTip())
            for name, text in texts.items():
                box.addItem(tr(text), name)
        self.arrangement.activated.connect(lambda _: self.grid.arrange(self.arrangement.currentData()))
        self.plane.activated.connect(lambda _: self.grid.rearrange(plane=self.plane.currentData()))
        self.image.activated.connect(lambda _: self.grid.rearrange(image=self.image.currentData()))
        bar = QHBoxLayout()
        bar.setContentsMargins(6, 4, 6, 4)
        for box in (self.arrangement, self.plane, self.image):
            bar.addWidget(box)
        bar.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addLayout(bar)
        layout.addWidget(self.grid, 1)
        QShortcut(
            QKeySequence("F11"), self, lambda: self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)
        )
        self.grid.rearranged.connect(self._show_choice)
        self._show_choice()
        self._place()
        self.grid.panes[0].setFocus()

    def _show_choice(self) -> None:
        view = self.grid.view
        for box, name in ((self.arrangement, view.layout), (self.plane, view.plane), (self.image, view.image)):
            box.setCurrentIndex(box.findData(name))
        self.plane.setEnabled(view.layout in ("compare", "single"))
        self.image.setEnabled(view.layout in ("orientations", "single"))

    def _place(self) -> None:
        """On another screen where there is one, filling it."""
        here = self.parentWidget().screen()
        others = [screen for screen in QGuiApplication.screens() if screen is not here]
        if others:
            self.setGeometry(others[0].availableGeometry())
            self.setWindowState(Qt.WindowState.WindowMaximized)
        else:
            room = here.availableGeometry().adjusted(_ASIDE, _ASIDE, 0, 0)
            self.setGeometry(QRect(room.topLeft(), QSize(*_SIZE).boundedTo(room.size())))
