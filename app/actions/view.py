"""The menu View: which images are shown, in which planes, and how they are arranged."""

from __future__ import annotations

from app.actions.conditions import has_oblique_grid, has_pictures
from app.actions.row import Row, toggle
from app.texts import mark
from app.viewer.view_state import (
    IMAGES,
    IMAGES_IN_SHORT,
    LAYOUTS,
    PLANE_TEXTS,
    PLANES,
    ImageName,
    LayoutName,
    PlaneName,
)

_OF_LAYOUT: dict[LayoutName, str] = {
    "compare": mark("Fixed, moving, warped and difference in one orientation"),
    "orientations": mark("One image in axial, coronal and sagittal"),
    "sheet": mark("All four images in all three orientations"),
    "single": mark("One image in one orientation; a double click on a pane does the same, and takes it back"),
}
_OF_PLANE: dict[PlaneName, str] = {
    "axial": mark("Show axial slices"),
    "coronal": mark("Show coronal slices"),
    "sagittal": mark("Show sagittal slices"),
}
_OF_IMAGE: dict[ImageName, str] = {
    "fixed": mark("The fixed image in three orientations"),
    "moving": mark("The moving image in three orientations"),
    "warped": mark("The warped image in three orientations"),
    "difference": mark("The difference image in three orientations"),
}


def rows() -> list[Row]:
    layouts = [_layout_row(layout, str(key)) for key, layout in enumerate(LAYOUTS, start=1)]
    pop_out = Row("pop_out", "View", "Images in a window of their own", "Ctrl+Shift+W",
                  "A second window with the same cursor, for a second screen; F11 fills the screen",
                  lambda w: w.pop_out(), has_pictures)  # fmt: skip
    planes = [_plane_row(plane, key) for plane, key in zip(PLANES, "ACS", strict=True)]
    images = [_image_row(image, key) for image, key in zip(IMAGES, "FMWD", strict=True)]
    axes = Row("along_patient", "View", mark("Along patient axes"), "Shift+A",
               mark("Slices at right angles to the patient, sampled where the image's own are oblique; off: its own"),
               lambda w: toggle(w, "along_patient"), has_oblique_grid,
               lambda s: has_oblique_grid(s) and s.view.along_patient)  # fmt: skip
    return [*layouts, pop_out, *planes, axes, *images]


def _layout_row(layout: LayoutName, key: str) -> Row:
    return Row(layout, "View", LAYOUTS[layout], key, _OF_LAYOUT[layout],
               lambda w: w.grid_in_front().arrange(layout),
               checked=lambda s: s.view.layout == layout)  # fmt: skip


def _plane_row(plane: PlaneName, key: str) -> Row:
    return Row(plane, "View", PLANE_TEXTS[plane], key, _OF_PLANE[plane],
               lambda w: w.grid_in_front().rearrange(plane=plane), checked=lambda s: s.view.plane == plane)  # fmt: skip


def _image_row(image: ImageName, key: str) -> Row:
    return Row(f"show_{image}", "View", IMAGES_IN_SHORT[image], f"Shift+{key}", _OF_IMAGE[image],
               lambda w: w.grid_in_front().rearrange(image=image, layout="orientations"),
               checked=lambda s: s.view.image == image)  # fmt: skip
