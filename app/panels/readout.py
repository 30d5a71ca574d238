"""The status bar: where the pointer is, what the images say there, and which device computes."""

from __future__ import annotations

import math

import numpy as np
from PySide6.QtWidgets import QStatusBar

from app.panels.parts import ElidedLabel, label
from app.store import Store
from app.texts import mark, tr
from app.viewer.pictures import Pictures, hu_at
from app.viewer.planes import is_oblique, letters, plane_of, plane_of_keys, tilt_deg, value_at
from app.viewer.view_state import Continuous, ViewState
from engine.shapes import DisplacementArray

_HU_TEXT = mark("fixed {fixed}   moving {moving}   warped {warped}   difference {difference} HU")


BY_HAND_HINT = mark("By hand: drag moves, outside the ring or with Ctrl turns; a click sets the cursor")


class Readout(QStatusBar):
    """Follows the pointer, and the cursor when the pointer is elsewhere."""

    def __init__(self, store: Store) -> None:
        super().__init__()
        self._store = store
        self._hovered: Continuous | None = None
        self.values = ElidedLabel()
        self.device = label(role="dim")
        self.axes = label(role="dim")
        self.axes.setToolTip(
            tr("Shift+A changes between slices along the patient's axes and those of the image's grid")
        )
        self.hint = label(role="warn")
        self.hint.setContentsMargins(6, 0, 6, 0)
        self.addWidget(self.hint)
        self.addWidget(self.values, 1)
        self.addPermanentWidget(self.axes)
        self.addPermanentWidget(self.device)
        self.setSizeGripEnabled(False)
        for signal in (store.view_changed, store.pictures_changed, store.draft_changed):
            signal.connect(self.show_values)
        store.device_changed.connect(self.show_device)
        self.show_values()
        self.show_device()

    def hover(self, index_zyx: Continuous | None) -> None:
        self._hovered = index_zyx
        self.show_values()

    def show_values(self) -> None:
        """Show place and HU, and which click is next."""
        store, pictures = self._store, self._store.pictures
        view = store.view
        hint = tr(BY_HAND_HINT) if store.draft is not None else hint_text(view)
        self.hint.setText(hint)
        self.hint.setVisible(bool(hint))
        axes = "" if pictures is None else axes_text(pictures, view)
        self.axes.setText(axes)
        self.axes.setVisible(bool(axes))
        if pictures is None:
            self.values.setText(tr("No images open"))
            return
        pointed = self._hovered
        if pointed is None or any(round(i) >= n for i, n in zip(pointed, pictures.geometry.shape_zyx, strict=True)):
            pointed = plane_of_keys(pictures.geometry, view).cursor(view)
        self.values.setText(readout_text(pictures, pointed))

    def show_device(self) -> None:
        self.device.setText(tr("Device: {device}").format(device=self._store.device))


def hint_text(view: ViewState) -> str:
    """Which click is next while pairs of points are set."""
    if not view.marking:
        return ""
    if view.started_mm is None:
        return tr("Point pair: click a place in Fixed or Warped (Esc leaves)")
    return tr("Point pair: now click the same place in Moving (Esc leaves)")


def axes_text(pictures: Pictures, view: ViewState) -> str:
    """How slices lie in the patient where the image's own are oblique, and which key changes that."""
    if not is_oblique(pictures.geometry):
        return ""
    if view.along_patient:
        return tr("Patient axes (Shift+A)")
    angle = tilt_deg(pictures.geometry)
    return tr("Oblique grid, {angle}° (Shift+A)").format(angle=f"{angle:.0f}" if angle >= 1 else f"{angle:.1g}")


def readout_text(pictures: Pictures, index_zyx: Continuous) -> str:
    """Voxel, patient coordinates and HU of every image; between voxels, what is made of those around."""
    z, y, x = index_zyx
    point = pictures.geometry.points([[x, y, z]])[0]
    place = "  ".join(f"{letters(axis)} {value:.1f}" for axis, value in zip(_AXES, point, strict=True))
    hu = tr(_HU_TEXT).format(**{name: _number(value) for name, value in hu_at(pictures, index_zyx).items()})
    voxel = tr("voxel {x}, {y}, {z}").format(x=_index_text(x), y=_index_text(y), z=_index_text(z))
    moved = moved_text(pictures, index_zyx)
    return "   |   ".join(filter(None, (voxel, f"{place} mm", hu, moved)))


def moved_text(pictures: Pictures, index_zyx: Continuous) -> str:
    """The displacement in patient directions and the local change of volume, where and while they are known."""
    displacement = pictures.displacement_vox
    if displacement is None or pictures.stale or not plane_of(pictures.geometry, "axial").shows(index_zyx):
        return ""
    shape = pictures.geometry.shape_zyx
    along_xyz = [value_at(displacement[axis], shape, index_zyx, "linear") for axis in (2, 1, 0)]
    spacing_xyz_mm = np.asarray(pictures.geometry.spacing_xyz_mm)
    moved_mm = np.asarray(pictures.geometry.direction) @ (along_xyz * spacing_xyz_mm)
    towards = (np.copysign(axis, value) * np.abs(axis) for axis, value in zip(_AXES, moved_mm, strict=True))
    parts = "  ".join(f"{letters(to)} {abs(value):.1f}" for to, value in zip(towards, moved_mm, strict=True))
    volume = determinant_at(displacement, index_zyx)
    moved = tr("moved {length_mm:.1f} mm: {parts}").format(length_mm=np.linalg.norm(moved_mm), parts=parts)
    return f"{moved}   |   J {volume:.2f}"


def determinant_at(displacement_vox: DisplacementArray, index_zyx: Continuous) -> float:
    """Of the cell in front of a voxel, or that holds the place; at the last faces of the grid of the cell before."""
    from engine.spatial.jacobian import jacobian_determinant

    starts = [min(max(math.floor(i), 0), n - 2) for i, n in zip(index_zyx, displacement_vox.shape[1:], strict=True)]
    cell = tuple(slice(start, start + 2) for start in starts)
    return float(jacobian_determinant(displacement_vox[(slice(None), *cell)])[0, 0, 0])


def _index_text(index: float) -> str:
    return str(index) if isinstance(index, int) else f"{index:.1f}"


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


_AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
