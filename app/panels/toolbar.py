"""The bar above the images: layout, orientation, window, overlays, comparison."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QMenu, QSlider, QToolButton, QWidget

from app.menus import Actions
from app.panels.parts import tool_button
from app.store import Store
from app.texts import tr
from app.viewer.comparisons import COMPARISONS
from app.viewer.overlays import OVERLAYS
from app.viewer.view_state import IMAGES_IN_SHORT, PLANE_TEXTS, PLANES, WINDOWS

_LAYOUTS = {"compare": "2 × 2", "orientations": "3", "sheet": "3 × 4", "single": "1"}


_COMBO_LETTERS = 8


class ViewBar(QWidget):
    """Follows the view of the store."""

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__()
        self._store = store
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 3, 6, 3)
        layout.setSpacing(3)
        for name, text in {**_LAYOUTS, "draw_box": tr("Box")}.items():
            actions[name].setIconText(text)
        self.plane = QComboBox(toolTip=tr("Orientation of the slices"))
        self.plane.setAccessibleName(tr("Orientation"))
        for plane in PLANES:
            self.plane.addItem(tr(PLANE_TEXTS[plane]), plane)
            self.plane.setItemData(self.plane.count() - 1, actions[plane].toolTip(), Qt.ItemDataRole.ToolTipRole)
        self.plane.activated.connect(lambda _index: store.change_view(plane=self.plane.currentData()))
        for name in _LAYOUTS:
            layout.addWidget(tool_button(actions[name]))
        layout.addWidget(_gap())
        layout.addWidget(self.plane)
        self.image = QComboBox(toolTip=tr("The image of layouts that show one"))
        self.image.setAccessibleName(tr("Image"))
        for image, text in IMAGES_IN_SHORT.items():
            self.image.addItem(tr(text), image)
        self.image.activated.connect(lambda _index: store.change_view(image=self.image.currentData()))
        self.window = QComboBox(toolTip=tr("Window of the images in HU; drag with the right button to change it"))
        self.window.setAccessibleName(tr("Window of the images"))
        self.window.setPlaceholderText(tr("Own window"))
        self.window.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.window.setMinimumContentsLength(_COMBO_LETTERS)
        for text, (low, high) in WINDOWS.items():
            self.window.addItem(tr(text), actions[f"window_{text}"])
            self.window.setItemData(
                self.window.count() - 1,
                tr("{low} to {high} HU").format(low=low, high=high),
                Qt.ItemDataRole.ToolTipRole,
            )
        self.window.activated.connect(lambda _index: self.window.currentData().trigger())
        self.comparison = QComboBox(
            toolTip=tr("Fixed and moving or warped image in one picture; each way has a key, too")
        )
        self.comparison.setAccessibleName(tr("Comparison with the fixed image"))
        self.comparison.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.comparison.setMinimumContentsLength(_COMBO_LETTERS)
        self.comparison.addItem(tr("Alone"), None)
        for name, comparison in COMPARISONS.items():
            self.comparison.addItem(tr(comparison.text), name)
            tooltip = actions[name].toolTip()
            self.comparison.setItemData(self.comparison.count() - 1, tooltip, Qt.ItemDataRole.ToolTipRole)
        self.comparison.activated.connect(
            lambda _index: store.change_view(comparison=self.comparison.currentData(), pointer_zyx=None)
        )
        self.blend = QSlider(Qt.Orientation.Horizontal, minimum=0, maximum=100, toolTip=tr("Share of the fixed image"))
        self.blend.setAccessibleName(tr("Share of the fixed image in the blend"))
        self.blend.setMinimumWidth(50)
        self.blend.setMaximumWidth(140)
        self.blend.valueChanged.connect(lambda value: store.change_view(blend=value / 100))
        layout.addWidget(self.image)
        layout.addWidget(_gap())
        layout.addWidget(tool_button(actions["draw_box"]))
        layout.addWidget(self.window)
        layout.addWidget(_gap())
        layout.addWidget(self._overlays_button(actions))
        layout.addWidget(_gap())
        layout.addWidget(self.comparison)
        layout.addWidget(self.blend, 1)
        layout.addStretch(1)
        store.view_changed.connect(self.show_view)
        self.show_view()

    def _overlays_button(self, actions: Actions) -> QToolButton:
        button = QToolButton(text=tr("Overlays"), toolTip=tr("What is drawn over the images; each has a key, too"))
        button.setAccessibleName(tr("Overlays"))
        button.setAutoRaise(True)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        menu.setToolTipsVisible(True)
        menu.addActions([actions[name] for name in OVERLAYS])
        menu.addSeparator()
        menu.addActions([actions[name] for name in ("quantity", "longer_arrows", "signed_colors")])
        button.setMenu(menu)
        return button

    def show_view(self) -> None:
        """Show the view of the store."""
        view = self._store.view
        self.plane.setVisible(view.layout in ("compare", "single"))
        self.plane.setCurrentIndex(self.plane.findData(view.plane))
        self.image.setVisible(view.layout in ("orientations", "single"))
        self.comparison.setCurrentIndex(self.comparison.findData(view.comparison))
        self.blend.setVisible(view.comparison == "blend")
        self.image.setCurrentIndex(self.image.findData(view.image))
        presets = list(WINDOWS.values())
        self.window.setCurrentIndex(presets.index(view.window_hu) if view.window_hu in presets else -1)
        self.blend.blockSignals(True)
        self.blend.setValue(round(view.blend * 100))
        self.blend.blockSignals(False)


def _gap() -> QFrame:
    line = QFrame()
    line.setProperty("role", "gap")
    line.setFixedSize(7, 18)
    return line
