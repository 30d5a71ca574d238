"""Boxes and masks: what the user says of places, and the case's guidance that follows from it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

import engine
from app.commands.work import Work
from app.store import Store
from app.texts import mark, tr
from app.viewer.boxes import USES
from app.worker import Task, Worker, job_of
from engine.case import Case
from engine.errors import InputError
from engine.preprocess import BONE_HU, Masks, holds, masks_of, shrunk_to_body
from engine.regions import NamedBox, Regions, Use
from engine.roi import Box
from engine.volume import IN_HU, Volume

if TYPE_CHECKING:
    from engine.error_map import ErrorMap

_GUIDE_DELAY_MS = 200
"""Masks are made when the hand rests, so that dragging stays smooth."""

_PROPOSING = mark("Proposing regions")


class Marks(Work):
    """Keeps the case's masks in step with the boxes."""

    def __init__(self, store: Store, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(store, worker, parent)
        self._marking: tuple[Regions, Task] | None = None
        self._unmarkable: Regions | None = None
        store.guidance_changed.connect(self.autosave.write)
        self._guide_due = QTimer(self, singleShot=True, interval=_GUIDE_DELAY_MS)
        self._guide_due.timeout.connect(self.guide)
        store.boxes_changed.connect(self._guide_due.start)
        self.ended.connect(lambda _leads_on: self._guide_due.start())

    def use_box(self, use: Use) -> None:
        """Say what the selected box is for."""
        store, named = self.store, self.store.selected_box
        if named is None or store.running or named.locked:
            return
        if use == "rigid" and store.fixed.modality not in IN_HU:
            self.told.emit(tr("Bone is found by its HU, and the fixed image is not in HU. Load a rigid mask instead."))
            return
        store.change_box(store.selected, use=use)
        if use == "rigid":
            task = self.worker.submit(job_of(holds, named.box, store.fixed, BONE_HU))
            task.succeeded.connect(lambda found: found or self._tell_no_bone(named.name))
            task.failed.connect(self.failed)

    def snap_box(self) -> None:
        """Shrink the selected box to what it holds of the patient."""
        store, named, number = self.store, self.store.selected_box, self.store.selected
        if named is None or named.locked:
            return
        fixed = store.fixed
        if fixed.modality not in IN_HU:
            self.told.emit(
                tr("The body is found by its HU, and the fixed image is not in HU. Drag the handles instead.")
            )
            return

        def keep(box: Box | None) -> None:
            if box is None:
                text = tr("{region} holds nothing of the patient; it stays as it is.")
                self.told.emit(text.format(region=named.name))
            elif box == named.box:
                self.told.emit(tr("{region} is as small as the patient in it.").format(region=named.name))
            else:
                store.reshape_box(number, box)

        self._begin(tr("Looking for the body"), job_of(shrunk_to_body, named.box, fixed), keep)

    def guide(self) -> None:
        """Have boxes and masks of the case brought up to date, unless a step runs that began with those it has.

        Masks that are being made are not asked for twice, and those that could not be made not again.
        """
        self._guide_due.stop()
        store, regions = self.store, self.store.unmarked()
        if regions is None or store.running:
            return
        asked_for = (self._unmarkable, self._marking and self._marking[0])
        if any(other is not None and other.same_as(regions) for other in asked_for):
            return
        if store.has_masks_of(regions):
            self._mark(regions)
            return
        self._drop_marking()
        fixed = store.fixed
        task = self.worker.submit(job_of(masks_of, regions, fixed), lasting=True)
        self._marking = regions, task
        task.succeeded.connect(lambda masks: self._take_masks(regions, fixed, masks))
        task.failed.connect(lambda error: self._give_up(regions, error))
        task.ended.connect(lambda: self._forget(task))

    def propose_regions(self) -> None:
        """Look for places that probably are still wrong and make them boxes."""
        if self._paired_case() is not None:
            self._with_masks(tr(_PROPOSING), self._propose)

    def _paired_case(self) -> Case | None:
        """The case, or none and a word on what is missing."""
        if self.store.case is None:
            self.failed.emit(InputError(tr("Expected two images; open a fixed and a moving image first.")))
        return self.store.case

    def _with_masks(self, title: str, then: Callable[[], object], leads_on: bool = False) -> None:
        """Go on once the masks of the case follow the boxes; where they do not yet, the worker makes them first."""
        store, regions = self.store, self.store.unmarked()
        if regions is None or store.running:
            then()
        elif store.has_masks_of(regions):
            if self._mark(regions):
                then()
        else:

            def keep(masks: Masks) -> None:
                if self._mark(regions, masks):
                    then()

            self._drop_marking()
            self._begin(title, job_of(masks_of, regions, store.fixed), keep, leads_on=leads_on)

    def _once_marked(self, title: str, then: Callable[[], object]) -> None:
        """As `_with_masks`, but boxes that no masks could be made of stop nothing."""
        regions = self.store.unmarked()
        if regions is not None and self._unmarkable is not None and self._unmarkable.same_as(regions):
            then()
        else:
            self._with_masks(title, then)

    def _drop_marking(self) -> None:
        """Let go of the masks that are being made: they are out of date, or a step makes them itself."""
        if self._marking is not None:
            self._marking[1].cancel()
            self._marking = None

    def _forget(self, task: Task) -> None:
        if self._marking is not None and self._marking[1] is task:
            self._marking = None

    def _give_up(self, regions: Regions, error: BaseException) -> None:
        self._unmarkable = regions
        self.failed.emit(error)

    def _take_masks(self, regions: Regions, fixed: Volume, masks: Masks) -> None:
        """Masks that were made meanwhile, unless boxes or images have changed or a step has begun since."""
        store, unmarked = self.store, self.store.unmarked()
        if unmarked is not None and unmarked.same_as(regions) and store.fixed is fixed and not store.running:
            self._mark(regions, masks)

    def _mark(self, regions: Regions, masks: Masks | None = None) -> bool:
        """Give the case its regions and masks, or say what is wrong with them."""
        try:
            self.store.mark(regions, masks)
        except InputError as error:
            self._give_up(regions, error)
            return False
        return True

    def _propose(self) -> None:
        case = self.store.case
        self._begin(tr(_PROPOSING), lambda: engine.proposed_boxes(case, engine.Runtime()), self._take_proposals)

    def _tell_no_bone(self, name: str) -> None:
        self.told.emit(
            tr("No voxel of {hu} HU or more in {name}: nothing is kept rigid there.").format(
                hu=f"{BONE_HU:.0f}", name=name
            )
        )

    def _region(self) -> NamedBox | None:
        """The selected box if it is to be optimised, or none and a word on what is missing."""
        named = self.store.selected_box
        if named is None:
            self.failed.emit(
                InputError(tr("Expected a region; press B and drag a box over a place that is still wrong."))
            )
        elif named.use != "optimise":
            text = tr("Expected a region to optimise; this one is marked '{use}'. Press O to change it.")
            self.failed.emit(InputError(text.format(use=tr(USES[named.use]))))
            return None
        return named

    def _take_proposals(self, found: ErrorMap) -> None:
        text = tr("Probably about {score_mm:.1f} mm off: {reason}")
        self.store.propose_boxes(
            {row.box: text.format(score_mm=row.score, reason=row.reason) for row in found.proposals}
        )
        if not found.proposals:
            self.told.emit(tr("No region to propose: both images show the patient nowhere at once."))
