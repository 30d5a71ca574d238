"""What comes from files and goes into files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
from PySide6.QtCore import Signal

import engine
from app.autosave import home_of, taken_up
from app.commands.regions import Marks
from app.texts import mark, tr, tr_count
from app.worker import job_of
from engine.case import Case
from engine.errors import InputError
from engine.regions import Use
from engine.shapes import MaskArray
from engine.structures import Structures, voxel_counts
from engine.volume import Volume

RESULTS = "results"
"""The export that writes everything into a folder."""

_OPENING, _SAVING, _EXPORTING = mark("Opening the images"), mark("Saving the case"), mark("Exporting")

Role = Literal["fixed", "moving"]
Read = TypeVar("Read")


class Files(Marks):
    """Images, cases, masks and contours to open; cases and results to write."""

    image_needs_role = Signal(str)
    left = Signal(str)
    """The id of a case with unsaved work that another one took the place of."""

    def open_pair(self, fixed: str | Path, moving: str | Path) -> None:
        def read() -> tuple[Volume, Volume]:
            return engine.read_volume(fixed, name="fixed"), engine.read_volume(moving, name="moving")

        self._replace(tr(_OPENING), read, self._show_images)

    def add_image(self, path: str | Path, role: Role | None = None) -> None:
        """Take one image as fixed, then as moving; ask where both are there already."""
        store = self.store
        if role is None and store.case is not None:
            self.image_needs_role.emit(str(path))
            return
        role = role or ("moving" if store.fixed is not None else "fixed")

        def place(volume: Volume) -> None:
            self._show_images((volume, store.moving) if role == "fixed" else (store.fixed, volume))

        title = tr("Opening the fixed image") if role == "fixed" else tr("Opening the moving image")
        self._replace(title, lambda: engine.read_volume(path, name=role), place)

    def open_files(self, fixed: Sequence[Path], moving: Sequence[Path]) -> None:
        """Open the images that these files make up; a role without files keeps its image."""
        files: dict[Role, Sequence[Path]] = {"fixed": fixed, "moving": moving}
        kept = {"fixed": self.store.fixed, "moving": self.store.moving}

        def show(read: dict[str, Volume]) -> None:
            known = {**kept, **read}
            self._show_images((known["fixed"], known["moving"]))

        def read() -> dict[str, Volume]:
            return {role: engine.read_files(paths, name=role) for role, paths in files.items() if paths}

        self._replace(tr(_OPENING), read, show)

    def swap_images(self) -> None:
        def swap() -> None:
            if self._is_free():
                self.begun.emit()
                self._show_images((self.store.moving, self.store.fixed))

        self._once_marked(tr("Swapping the images"), swap)

    def open_case(self, folder: str | Path, *, as_unsaved: bool = False) -> None:
        folder = Path(folder)
        if as_unsaved:
            self._open(lambda: taken_up(folder))
        else:
            self._open(lambda: engine.open_case(folder), folder)

    def reopen(self, case_id: str) -> None:
        """Open the unsaved work on a case again, once it is written."""

        def read() -> Case:
            folder = home_of(case_id)
            if folder is None:
                raise InputError(tr("Expected unsaved work on this case; it is no longer kept."))
            return taken_up(folder)

        self._open(read)

    def open_demo(self) -> None:
        def make() -> tuple[Volume, Volume]:
            from engine.phantom.thorax import thorax_pair

            pair = thorax_pair()
            return pair.fixed, pair.moving

        self._replace(tr("Making the demo case"), make, self._show_images)

    def _replace(self, title: str, read: Callable[[], Read], show: Callable[[Read], object]) -> None:
        """Read what is to be shown in place of the case that is open."""
        self._once_marked(title, lambda: self._begin(title, job_of(read), show))

    def _show_images(self, pair: tuple[Volume | None, Volume | None]) -> None:
        self._leave()
        self.store.set_images(*pair)

    def _open(self, read: Callable[[], Case], home: Path | None = None) -> None:
        def show(case: Case) -> None:
            self._leave(case.id, home)
            self.store.set_opened(case, home)

        self._replace(tr("Opening the case"), read, show)

    def _leave(self, for_case: str = "", home: Path | None = None) -> None:
        """Keep unsaved work before another case, or the state of the same one that lies in `home`, takes its place."""
        case = self.store.case
        if case is None or not self.store.unsaved:
            return
        if case.id != for_case:
            self.autosave.write()
            self.left.emit(case.id)
        elif home is not None:
            self.left.emit(self.autosave.keep_aside(case))

    def save(self, folder: str | Path) -> None:
        self._with_masks(tr(_SAVING), lambda: self._save(Path(folder)))

    def export(self, name: str, path: str | Path) -> None:
        self._with_masks(tr(_EXPORTING), lambda: self._export(name, Path(path)))

    def load_mask(self, use: Use, path: str | Path) -> None:
        """Read a mask on the fixed grid; it counts beside the boxes of the same use."""
        case = self._paired_case()
        if case is None:
            return

        def read() -> tuple[MaskArray, int]:
            mask = engine.read_mask_on(path, case.fixed.geometry)
            return mask, int(np.count_nonzero(mask))

        def keep(found: tuple[MaskArray, int]) -> None:
            mask, count = found
            if not count:
                self.told.emit(tr("Every voxel of this mask is zero; nothing was changed."))
                return
            self.store.set_mask(use, mask)
            self.told.emit(_mask_text(use, count))

        self._begin(tr("Reading the mask"), job_of(read), keep)

    def forget_masks(self) -> None:
        """Drop what came from files; what boxes say stays."""
        for use in tuple(self.store.masks):
            self.store.set_mask(use, None)

    def load_structures(self, role: Role, path: str | Path) -> None:
        """Read labels on the grid of one image in place of those it had; they are drawn and carried from now on."""
        case = self._paired_case()
        if case is None:
            return
        volume = case.fixed if role == "fixed" else case.moving

        def read() -> tuple[Structures, int]:
            labels = engine.read_labels_on(path, role, volume.geometry)
            return replace(case.structures, **{role: labels}), len(voxel_counts(labels))

        def keep(found: tuple[Structures, int]) -> None:
            structures, count = found
            if not count:
                self.told.emit(tr("Every voxel of this image is zero; nothing was changed."))
                return
            self.store.set_structures(structures)
            self.told.emit(_structures_text(role, count))

        self._begin(tr("Reading the contours"), job_of(read), keep)

    def forget_structures(self) -> None:
        """Drop the contours of both images."""
        self.store.set_structures(Structures())

    def _save(self, folder: Path) -> None:
        case = self.store.case
        force = folder == self.store.folder

        def saved(_: object) -> None:
            self.store.set_saved(case, folder)
            self.autosave.forget(case)
            self.told.emit(tr("Saved in {folder}.").format(folder=folder))

        self._begin(tr(_SAVING), job_of(lambda: engine.save_case(case, folder, force=force)), saved)

    def _export(self, name: str, path: Path) -> None:
        case = self.store.case

        def write() -> None:
            if name == RESULTS:
                engine.write_results(case, path, {"device": engine.device_name()}, engine.warped_hu(case))
            else:
                engine.EXPORTERS[name].write(case, path)

        def exported(_: object) -> None:
            self.store.set_exported()
            self.told.emit(tr("Exported to {path}.").format(path=path))

        self._begin(tr(_EXPORTING), job_of(write), exported)


def _mask_text(use: Use, count: int) -> str:
    """What a mask that was read does."""
    rigid = tr_count(
        "{count} voxel of the fixed image: each piece keeps its shape.",
        "{count} voxels of the fixed image: each piece keeps its shape.",
        count,
    )
    excluded = tr_count(
        "{count} voxel of the fixed image: nothing corresponds there.",
        "{count} voxels of the fixed image: nothing corresponds there.",
        count,
    )
    return (rigid if use == "rigid" else excluded).format(count=count)


def _structures_text(role: Role, count: int) -> str:
    fixed = tr_count("{count} structure of the fixed image.", "{count} structures of the fixed image.", count)
    moving = tr_count("{count} structure of the moving image.", "{count} structures of the moving image.", count)
    return (fixed if role == "fixed" else moving).format(count=count)
