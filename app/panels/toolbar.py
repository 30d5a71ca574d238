"""The bar above the images: layout, orientation, window, overlays, blend."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QFrame, QHBoxLayout, QSlider, QWidget

from app.menus import Actions
from app.panels.parts import label, tool_button
from app.store import Store
from app.viewer.overlays import OVERLAYS
from app.viewer.view_state import IMAGES, PLANES, WINDOWS

_SHORT = {"compare": "2 × 2", "orientations": "3 planes", "draw_box": "Box", "magnitude": "Field", "invalid": "Outside"}


class ViewBar(QWidget):
    """Follows the view of the store."""

    def __init__(self, store: Store, actions: Actions) -> None:
        super().__init__()
        self._store = store
        layout = QHBoxLayout(self)
        layout.setContentsMargins(6, 3, 6, 3)
        layout.setSpacing(3)
        for name, text in _SHORT.items():
            actions[name].setIconText(text)
        self.planes = [tool_button(actions[plane]) for plane in PLANES]
        for name in ("compare", "orientations"):
            layout.addWidget(tool_button(actions[name]))
        layout.addWidget(_gap())
        for button in self.planes:
            layout.addWidget(button)
        self.image = QComboBox(toolTip="The image in the three orientations")
        for image, text in IMAGES.items():
            self.image.addItem(text.split(",")[0], image)
        self.image.activated.connect(lambda _index: store.change_view(image=self.image.currentData()))
        self.window = QComboBox(toolTip="Window of the images in HU; drag with the right button to change it")
        self.window.setPlaceholderText("Own window")
        for text, (low, high) in WINDOWS.items():
            self.window.addItem(text, actions[f"window_{text}"])
            self.window.setItemData(self.window.count() - 1, f"{low} to {high} HU", Qt.ItemDataRole.ToolTipRole)
        self.window.activated.connect(lambda _index: self.window.currentData().trigger())
        self.blend = QSlider(
            Qt.Orientation.Horizontal, minimum=0, maximum=100, toolTip="Fade the fixed image into the warped one (X)"
        )
        self.blend.setAccessibleName("Blend of fixed and warped")
        self.blend.setMinimumWidth(50)
        self.blend.setMaximumWidth(140)
        self.blend.valueChanged.connect(lambda value: store.change_view(blend=value / 100))
        layout.addWidget(self.image)
        layout.addWidget(_gap())
        layout.addWidget(tool_button(actions["draw_box"]))
        layout.addWidget(self.window)
        layout.addWidget(_gap())
        for name, overlay in OVERLAYS.items():
            if overlay.in_bar and not overlay.always:
                layout.addWidget(tool_button(actions[name]))
        layout.addWidget(_gap())
        layout.addWidget(label("Blend", "dim"))
        layout.addWidget(self.blend, 1)
        layout.addStretch(1)
        store.view_changed.connect(self.show_view)
        self.show_view()

    def show_view(self) -> None:
        """Show the view of the store."""
        view = self._store.view
        for button in self.planes:
            button.setVisible(view.layout == "compare")
        self.image.setVisible(view.layout == "orientations")
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
