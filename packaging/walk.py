"""The whole work in one session, photographed: `walk.py FOLDER`. `make_pictures.py` gives it a screen.

`walk.py FOLDER STAGE` takes the pictures of one stage alone, of those that open images of their own.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np
from photographer import ALT, CONTROL, NONE, RIGHT, SHIFT, Key, Photographer
from picture_names import ALONE
from PySide6.QtCore import QPoint, QSettings
from PySide6.QtWidgets import QApplication, QToolButton, QTreeWidgetItem
from sample_files import Samples, write_samples

from app import autosave, settings, theme
from app.dialogs.series_tree import entry_of
from app.viewer.pop_out import PopOut
from app.viewer.view_state import Index
from engine.roi import Box
from engine.shapes import HuArray

_ITERATIONS = 120
_CURVE_REPORTS = 12
_SEEN_ENOUGH = 75
"""Reports of an optimisation of a hundred iterations."""

_LONG_NAME = "Spine beside the left lower lobe, seen on the fourth fraction"


def main() -> None:
    folder, *stages = map(str, sys.argv[1:])
    taken = Path(folder)
    taken.mkdir(parents=True, exist_ok=True)
    for old in () if stages else taken.glob("*.webp"):
        old.unlink()
    application = QApplication([])
    theme.apply_theme(application, "dark")
    with tempfile.TemporaryDirectory(prefix="regard-") as scratch:
        home = Path(scratch)
        settings.stored = lambda: QSettings(f"{scratch}/settings.ini", QSettings.Format.IniFormat)
        autosave.autosave_root = lambda: home / "unsaved"
        settings.remember_folder(home)
        camera, samples = Photographer(taken), write_samples(home)
        if stages:
            walk_alone(camera, samples, stages)
        else:
            walk(camera, samples, home)


def walk_alone(camera: Photographer, samples: Samples, stages: list[str]) -> None:
    """Some stages that need nothing of those before."""
    alone = dict(zip(ALONE, (refusing, oblique, reopening), strict=True))
    camera.open_window()
    for stage in stages:
        alone[stage](camera, samples)
    camera.window.close()
    camera.settle()


def walk(camera: Photographer, samples: Samples, home: Path) -> None:
    """From an empty window to an exported field, and back to it the next day."""
    camera.open_window()
    refusing(camera, samples)
    touring(camera)
    saving(camera, home)
    opening(camera, samples)
    first_registration(camera)
    running(camera)
    comparing(camera)
    reading_the_field(camera)
    arranging(camera)
    drawing(camera)
    refining(camera)
    history(camera)
    guidance(camera, samples)
    ending(camera)
    oblique(camera, samples)
    reopening(camera, samples)
    camera.finish()


def refusing(camera: Photographer, samples: Samples) -> None:
    """An empty window, and what it says to a file that is no image and to two images that do not belong together."""
    window = camera.window
    camera.shoot("start")
    with camera.problem():
        camera.drop(samples.notes)
    camera.shoot("not-an-image")
    camera.drop(*samples.strangers)
    camera.settle()
    camera.shoot("dropped-pair")
    camera.click(window.message.button("Close"))


def touring(camera: Photographer) -> None:
    window, tour = camera.window, camera.window.tour
    camera.press(Key.Key_F1)
    camera.shoot("tour")
    seconds = 0.0
    for _ in range(4):
        seconds += camera.timed(lambda: camera.click(tour.do_button))
    place = worst_place(camera)
    go_to(camera, place)
    camera.shoot("tour-find")
    z, y, x = place
    camera.press(Key.Key_B)
    camera.drag_voxels(0, (z, y - 7, x - 8), (z, y + 7, x + 8))
    camera.settle()
    camera.click(tour.do_button)
    camera.wait(lambda: window.store.run.box_error_hu[_CURVE_REPORTS:])
    camera.shoot("tour-region", settled=False)
    seconds += camera.timed(lambda: None)
    for _ in range(2):
        seconds += camera.timed(lambda: camera.click(tour.do_button))
    camera.shoot("tour-end")
    print(f"The computing steps of the tour took {seconds:.0f} s.", flush=True)
    camera.click(tour.leave_button)


def saving(camera: Photographer, home: Path) -> None:
    window = camera.window
    camera.press(Key.Key_S, CONTROL)
    camera.choose_file(home / "Tour")
    window.message.hide()
    camera.press(Key.Key_1)
    menu = camera.open_menu("File")
    camera.choose_in(menu, window.recent.menuAction())
    camera.wait(window.recent.isVisible)
    camera.shoot("recent-cases")
    for _ in range(2):
        camera.hit(Key.Key_Escape)


def opening(camera: Photographer, samples: Samples) -> None:
    """Two patients in one folder: the wrong one, the wrong way round, and as it should be."""
    window = camera.window
    camera.press(Key.Key_O, CONTROL | ALT)
    camera.choose_file(samples.archive)
    dialog = window.dialog
    camera.front(dialog)
    camera.shoot("folder", dialog)
    planning, daily, stranger = (image_named(camera, name) for name in ("Planning", "fraction 7", "fraction 3"))
    take(camera, stranger, "fixed")
    take(camera, planning, "moving")
    camera.shoot("folder-wrong-patient", dialog)
    take(camera, daily, "moving")
    take(camera, planning, "fixed")
    camera.shoot("folder-swapped-roles", dialog)
    camera.click(dialog.swap_button)
    camera.click(dialog.open_button)
    camera.settle()
    window.message.hide()
    camera.click_voxel(0, middle(camera))
    camera.shoot("opened")


def first_registration(camera: Photographer) -> None:
    window = camera.window
    camera.press(Key.Key_A, CONTROL | SHIFT)
    z, y, x = middle(camera)
    camera.drag_voxels(1, (z, y, x), (z, y - 6, x + 8))
    turn = window.workflow.by_hand.numbers[5]
    camera.click(turn)
    camera.type_over("4")
    camera.shoot("align-by-hand")
    camera.press(Key.Key_Backspace, CONTROL)


def running(camera: Photographer) -> None:
    """Three steps at once, the last one stopped; once more, and cancelled."""
    window, store = camera.window, camera.window.store
    camera.press(Key.Key_C)
    for key in (Key.Key_1, Key.Key_2, Key.Key_3):
        camera.press(key, CONTROL)
    camera.wait(lambda: store.run.total > 0)
    camera.shoot("queue", settled=False)
    camera.wait(lambda: is_optimising(camera))
    camera.wait(lambda: len(store.run.error_hu) > _SEEN_ENOUGH)
    camera.shoot("running", settled=False)
    camera.click(window.run_panel.stop_button)
    camera.shoot("stopped")
    dismiss(camera)
    camera.press(Key.Key_3, CONTROL)
    camera.wait(lambda: is_optimising(camera))
    camera.click(window.run_panel.cancel_button)
    camera.shoot("cancelled")
    camera.press(Key.Key_Z, CONTROL)
    camera.shoot("general")


def comparing(camera: Photographer) -> None:
    z, y, x = middle(camera)
    place = (z - 6, y, x - 22)
    camera.click_voxel(0, place)
    for key, name in zip("XHVQYE", ("blend", "checkerboard", "split", "spyglass", "two-colours", "edges"), strict=True):
        camera.press(getattr(Key, f"Key_{key}"))
        camera.hover_voxel(2, place)
        camera.shoot(name)
    camera.press(Key.Key_E)
    camera.press(Key.Key_Z)
    camera.shoot("before")
    camera.press(Key.Key_Z)
    with camera.held(Key.Key_Z):
        camera.shoot("before-held")
    view = camera.window.store.view
    if view.flickering or view.comparison is not None:
        raise SystemExit("A key that was held and let go, or pressed twice, has to be off.")
    camera.press(Key.Key_T)
    camera.hover_voxel(3, place)
    camera.shoot("difference-in-colours")
    camera.press(Key.Key_T)


def reading_the_field(camera: Photographer) -> None:
    window = camera.window
    button = next(b for b in window.findChildren(QToolButton) if b.text() == "Overlays")

    def choose_arrows() -> None:
        camera.shoot("overlays")
        camera.choose_in(button.menu(), window.actions_table["arrows"])

    camera.in_menu_of(button, choose_arrows)
    z, y, x = middle(camera)
    camera.hover_voxel(2, (z - 6, y, x - 22))
    camera.shoot("arrows")
    camera.press(Key.Key_R)
    camera.press(Key.Key_L)
    camera.press(Key.Key_G)
    camera.shoot("grid-and-displacement")
    for _ in range(3):
        camera.press(Key.Key_G, SHIFT)
    camera.press(Key.Key_L)
    camera.shoot("displacement-to-the-head")
    camera.press(Key.Key_G)


def arranging(camera: Photographer) -> None:
    window = camera.window
    camera.press(Key.Key_J)
    camera.press(Key.Key_W, SHIFT)
    camera.shoot("three-orientations")
    camera.press(Key.Key_J)
    camera.press(Key.Key_3)
    camera.shoot("sheet")
    camera.double_click(camera.pane(6))
    camera.shoot("enlarged")
    camera.press(Key.Key_Return)
    camera.press(Key.Key_1)
    camera.press(Key.Key_W, CONTROL | SHIFT)
    pop_out = window.findChild(PopOut)
    camera.front(pop_out)
    camera.shoot("second-window", pop_out)
    pop_out.close()


def drawing(camera: Photographer) -> None:
    """Boxes that are proposed, drawn, typed, refused, named, locked, copied, and meant for something else."""
    window, table = camera.window, camera.window.regions.table
    camera.press(Key.Key_P, CONTROL)
    camera.shoot("proposals")
    box = window.store.selected_box.box
    for _ in range(len(window.store.boxes)):
        camera.press(Key.Key_Delete)
    camera.press(Key.Key_C)
    (z0, z1), (y0, y1), (x0, x1) = box.ranges_zyx
    camera.click_voxel(0, ((z0 + z1) // 2, (y0 + y1) // 2, (x0 + x1) // 2))
    camera.press(Key.Key_B)
    camera.drag_voxels(3, (z0, (y0 + y1) // 2, x0), (z1 - 1, (y0 + y1) // 2, x1 - 1))
    camera.shoot("drawn")
    type_faces(camera, Box(x0, x1 + 2, y0, y1, z0 - 2, z1))
    name_region(camera, 0, _LONG_NAME)
    camera.shoot("typed")
    camera.click(window.regions.faces)
    camera.type_over("40:30,10:20,5:9")
    camera.shoot("refused")
    open_region_menu(camera, 0)
    camera.shoot("region-menu")
    camera.choose_in(window.regions.menu, window.actions_table["duplicate_box"])
    name_region(camera, 1, "Vertebra")
    type_faces(camera, Box(50, 74, y0, y1 + 30, 40, 62))
    camera.press(Key.Key_K)
    camera.press(Key.Key_L, CONTROL | SHIFT)
    camera.click(table.viewport(), table.visualItemRect(table.item(0, 0)).center())
    camera.press(Key.Key_B, CONTROL)
    name_region(camera, 2, "Dome of the diaphragm")
    type_faces(camera, Box(30, 62, 40, 80, 12, 34))
    camera.press(Key.Key_B, CONTROL | SHIFT)
    camera.settle()
    window.message.hide()
    camera.shoot("uses")


def refining(camera: Photographer) -> None:
    window, table = camera.window, camera.window.regions.table
    camera.click(table.viewport(), table.visualItemRect(table.item(0, 0)).center())
    section = window.workflow.sections["rso"]
    if section.content.isHidden():
        camera.click(section.header)
        camera.settle()
    camera.click(window.workflow.rso_iterations)
    camera.type_over(str(_ITERATIONS))
    camera.press(Key.Key_R, CONTROL | SHIFT)
    camera.settle()
    camera.front(window.dialog)
    camera.shoot("fits", window.dialog)
    camera.close_dialog()
    camera.press(Key.Key_4, CONTROL)
    camera.shoot("region")
    dismiss(camera)
    camera.press(Key.Key_4, CONTROL | SHIFT)
    camera.wait(lambda: window.store.run.box_error_hu[_CURVE_REPORTS:])
    camera.shoot("all-regions", settled=False)
    camera.settle()
    dismiss(camera)


def history(camera: Photographer) -> None:
    """Back to the general model, another way from there, and one region as it was on the first way."""
    window, states = camera.window, camera.window.history.list
    click_state(camera, 2)
    camera.settle()
    camera.press(Key.Key_3, CONTROL)
    camera.settle()
    dismiss(camera)
    other = window.store.case.cursor - 1
    states.scrollToItem(states.item(other))
    camera.click(states.viewport(), states.visualItemRect(states.item(other)).center(), RIGHT)
    camera.wait(window.history.menu.isVisible)
    camera.shoot("history-menu")
    camera.choose_in(window.history.menu, window.actions_table["compare_state"])
    camera.press(Key.Key_Z)
    camera.shoot("branches")
    camera.press(Key.Key_Z)
    camera.press(Key.Key_G, SHIFT)
    camera.shoot("changed-since")
    camera.press(Key.Key_G)
    table = window.regions.table
    camera.click(table.viewport(), table.visualItemRect(table.item(0, 0)).center())
    camera.press(Key.Key_T, CONTROL | SHIFT)
    camera.shoot("taken-back")
    dismiss(camera)
    camera.press(Key.Key_X, CONTROL | SHIFT)


def guidance(camera: Photographer, samples: Samples) -> None:
    window, geometry = camera.window, camera.window.store.pictures.geometry
    inverse = np.linalg.inv(window.store.case.current.rigid)
    camera.press(Key.Key_A)
    camera.press(Key.Key_P)
    for fixed_mm, moving_mm in samples.pairs_mm:
        aligned_mm = (inverse @ [*moving_mm, 1])[:3]
        fixed, partner = (nearest(geometry.indices(place)[0]) for place in (fixed_mm, aligned_mm))
        for number, index in ((0, fixed), (1, partner)):
            scroll_to(camera, index[0])
            camera.click_voxel(number, index)
    camera.press(Key.Key_Escape)
    table = window.points.table
    camera.click(table.viewport(), table.visualItemRect(table.item(0, 0)).center())
    camera.shoot("point-pairs")
    for name, path in samples.labels.items():
        window.actions_table[f"load_{name}_contours"].trigger()
        camera.choose_file(path)
    window.message.hide()
    camera.press(Key.Key_C)
    camera.shoot("contours")


def ending(camera: Photographer) -> None:
    window = camera.window
    camera.press(Key.Key_E, CONTROL)
    camera.front(window.dialog)
    camera.shoot("export", window.dialog)
    camera.close_dialog()
    menu = camera.open_menu("Run")
    camera.hover(menu, menu.actionGeometry(window.actions_table["rso_all"]).center())
    camera.shoot("run-menu")
    camera.hit(Key.Key_Escape)
    camera.front(window)
    camera.hover(window.quality.values["folding"])
    camera.shoot("tooltip")
    camera.press(Key.Key_Question)
    camera.front(window.dialog)
    camera.shoot("keys", window.dialog)
    camera.close_dialog()
    camera.press(Key.Key_T, CONTROL)
    camera.shoot("light")
    camera.press(Key.Key_T, CONTROL)


def oblique(camera: Photographer, samples: Samples) -> None:
    """A series whose grid is oblique to the patient: its own slices, then slices along the patient's axes."""
    window = camera.window
    camera.drop(*samples.tilted)
    camera.settle()
    for name, path in samples.tilted_labels.items():
        window.actions_table[f"load_{name}_contours"].trigger()
        camera.choose_file(path)
    for key in (Key.Key_1, Key.Key_2):
        camera.press(key, CONTROL)
    camera.settle()
    dismiss(camera)
    window.message.hide()
    camera.press(Key.Key_F, SHIFT)
    camera.shoot("oblique-grid")
    camera.press(Key.Key_W, SHIFT)
    camera.press(Key.Key_A, SHIFT)
    camera.press(Key.Key_R)
    z, y, x = middle(camera)
    camera.press(Key.Key_B)
    camera.drag_voxels(1, (z + 12, y, x - 34), (z - 12, y, x - 10))
    drag_corner(camera, 1, (24.0, -18.0))
    table = window.regions.table
    camera.click(table.viewport(), table.visualItemRect(table.item(0, 0)).center())
    camera.shoot("along-patient")
    for key in (Key.Key_A, Key.Key_R):
        camera.press(key, SHIFT if key == Key.Key_A else NONE)
    camera.press(Key.Key_1)


def reopening(camera: Photographer, samples: Samples) -> None:
    """A case whose field folds; then the window of the next day, arranged as it was left, with what was not saved."""
    window = camera.window
    camera.drop(samples.folded)
    camera.settle()
    window.message.hide()
    camera.press(Key.Key_J)
    camera.press(Key.Key_J, CONTROL)
    camera.shoot("folded-place")
    camera.press(Key.Key_1, CONTROL)
    camera.settle()
    camera.press(Key.Key_2)
    window.close()
    camera.wait(lambda: not window.isVisible())
    camera.open_window()
    camera.window.offer_unsaved()
    camera.shoot("reopened")
    camera.window.close()
    camera.settle()


def worst_place(camera: Photographer) -> Index:
    """Where the images differ most over a centimetre or two, well inside both."""
    from scipy.ndimage import uniform_filter

    pictures = camera.window.store.pictures
    error: HuArray = np.where(pictures.fixed_valid, np.abs(pictures.fixed_hu - pictures.warped_hu), 0)
    error = uniform_filter(error, 5)
    inner = np.zeros_like(error)
    kept = tuple(slice(n // 5, n - n // 5) for n in error.shape)
    inner[kept] = error[kept]
    return nearest(np.unravel_index(inner.argmax(), inner.shape)[::-1])


def go_to(camera: Photographer, index_zyx: Index) -> None:
    """By clicks in two of three orientations."""
    z, y, x = index_zyx
    for number, place in ((1, (z, camera.window.store.view.cursor_zyx[1], x)), (0, (z, y, x))):
        camera.click_voxel(number, place)
    camera.settle()


def scroll_to(camera: Photographer, z: int) -> None:
    """By the arrows, from axial slice to axial slice."""
    while (steps := z - camera.window.store.view.cursor_zyx[0]) != 0:
        camera.press(Key.Key_Down if steps > 0 else Key.Key_Up)


def image_named(camera: Photographer, name: str) -> QTreeWidgetItem:
    return next(item for item in camera.window.dialog.tree.items if name in entry_of(item).description)


def take(camera: Photographer, item: QTreeWidgetItem, role: str) -> None:
    """A row of the folder, then the button of a role."""
    tree = camera.window.dialog.tree
    camera.click(tree.viewport(), tree.visualItemRect(item).center())
    camera.click(camera.window.dialog.buttons[role])


def drag_corner(camera: Photographer, number: int, away_mm: tuple[float, float]) -> None:
    """One of the selected region, by a way on the slice."""
    pane = camera.pane(number)
    (shape,) = (shape for shape in pane.state.outlines if shape.selected)
    x, y = next(handle.place_mm for handle in shape.handles if len(handle.faces) == 2)
    start, end = (pane.pixel_of(place).toPoint() for place in ((x, y), (x + away_mm[0], y + away_mm[1])))
    camera.drag(pane, start, end)


def type_faces(camera: Photographer, box: Box) -> None:
    camera.click(camera.window.regions.faces)
    camera.type_over(str(box))


def name_region(camera: Photographer, number: int, name: str) -> None:
    table = camera.window.regions.table
    camera.double_click(table.viewport(), table.visualItemRect(table.item(number, 0)).center())
    camera.type_over(name)


def open_region_menu(camera: Photographer, number: int) -> None:
    table = camera.window.regions.table
    camera.click(table.viewport(), table.visualItemRect(table.item(number, 0)).center(), RIGHT)
    camera.wait(camera.window.regions.menu.isVisible)


def click_state(camera: Photographer, number: int) -> None:
    states = camera.window.history.list
    states.scrollToItem(states.item(number))
    camera.click(states.viewport(), states.visualItemRect(states.item(number)).center())


def is_optimising(camera: Photographer) -> bool:
    run = camera.window.store.run
    return run.running and run.title.startswith("Image") and len(run.error_hu) > _CURVE_REPORTS


def middle(camera: Photographer) -> Index:
    return camera.window.store.pictures.middle_zyx()


def nearest(index_xyz: np.ndarray) -> Index:
    x, y, z = (round(float(i)) for i in index_xyz)
    return z, y, x


def dismiss(camera: Photographer) -> None:
    """Put away what the last step told in the corner."""
    toast = camera.window.toast
    if toast.isVisible():
        camera.click(toast.close_button, QPoint(8, 8))


if __name__ == "__main__":
    main()
