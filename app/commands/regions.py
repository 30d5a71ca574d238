"""Boxes and masks: what the user says of places, and the case's guidance that follows from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, QTimer

import engine
from app.commands.work import Work
from app.store import Store
from app.texts import tr
from app.viewer.boxes import USES
from app.worker import Worker, job_of
from engine.case import Case
from engine.errors import InputError
from engine.preprocess import BONE_HU, shrunk_to_body, with_boxes
from engine.regions import NamedBox, Use
from engine.roi import Box
from engine.volume import IN_HU

if TYPE_CHECKING:
    from engine.error_map import ErrorMap

_GUIDE_DELAY_MS = 200
"""Masks are made when the hand rests, so that dragging stays smooth."""


class Regions(Work):
    """Keeps the case's masks in step with the boxes."""

    def __init__(self, store: Store, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(store, worker, parent)
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
        if use == "rigid" and with_boxes(None, [named.box], store.fixed, BONE_HU) is None:
            text = tr("No voxel of {hu:.0f} HU or more in {region}: nothing is kept rigid there.")
            self.told.emit(text.format(hu=BONE_HU, region=named.name))

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
        """Bring the case's boxes and masks up to date, unless a step runs that began with those it has."""
        self._guide_due.stop()
        if self.store.running:
            return
        try:
            self.store.guide()
        except InputError as error:
            self.failed.emit(error)

    def propose_regions(self) -> None:
        """Look for places that probably are still wrong and make them boxes."""
        case = self._paired_case()
        if case is not None:
            self._begin(
                tr("Proposing regions"), lambda: engine.proposed_boxes(case, engine.Runtime()), self._take_proposals
            )

    def _paired_case(self) -> Case | None:
        """The case, or none and a word on what is missing."""
        if self.store.case is None:
            self.failed.emit(InputError(tr("Expected two images; open a fixed and a moving image first.")))
        self.guide()
        return self.store.case

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
