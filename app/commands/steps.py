"""The steps of the registration: begun one after the other, each from the result of the one before."""

from __future__ import annotations

import math
from typing import Any

from PySide6.QtCore import QObject, Signal

import engine
from app.commands.files import Files
from app.plan import Planned, missing_steps, outcome_text
from app.store import RunSettings, Store
from app.texts import tr
from app.worker import Worker
from engine.errors import InputError
from engine.progress import Job
from engine.regions import NamedBox
from engine.registration import Registration
from engine.roi import Box


class Steps(Files):
    """The queue: a step begins now or waits behind the one that runs."""

    step_finished = Signal(str)

    def __init__(self, store: Store, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(store, worker, parent)
        self._may_begin = math.inf
        self.ended.connect(self._go_on_after)

    def align(self) -> None:
        self._run_steps("align")

    def begin_by_hand(self) -> None:
        """Let the hand align the images, beginning with the present alignment."""
        store, case = self.store, self._paired_case()
        if case is None or store.running or store.draft is not None:
            return
        store.change_view(drawing_box=False, marking=False, started_mm=None)
        store.set_draft(engine.RigidMotion.of_rigid(case.current.rigid, case.fixed.geometry))

    def keep_by_hand(self) -> None:
        """Make the alignment by hand a step of the case; until it is one, the draft stays."""
        store, case, draft = self.store, self.store.case, self.store.draft
        if draft is None:
            return

        def start() -> Job[Registration]:
            return engine.run_step(case, engine.AlignSettings(method="manual", motion=draft.numbers), engine.Runtime())

        def keep(registration: Registration) -> None:
            self._take_on(tr("Align by hand"), registration)
            store.set_draft(None)

        self._begin(tr("Align by hand"), start, keep, is_step=True, of_draft=True)

    def general(self) -> None:
        self._run_steps("general")

    def iso(self) -> None:
        self._run_steps("iso")

    def run_up_to_iso(self) -> None:
        """Run what the current state lacks of align, general and ISO, one after the other."""
        case = self._paired_case()
        if case is None:
            return
        missing = missing_steps(case.current)
        if missing:
            self._run_steps(*missing)
        else:
            self.told.emit(tr("Nothing is missing: the whole image was optimised."))

    def rso(self) -> None:
        named = self._region()
        if named is not None and self._paired_case() is not None:
            self._plan(self._of_region(named))

    def rso_all(self) -> None:
        """Optimise every region that is meant for it, one after the other."""
        meant = [named for named in self.store.boxes if named.use == "optimise"]
        regions = [named for named in meant if not named.locked]
        if meant and not regions:
            self.told.emit(tr("Every region to optimise is locked: unlock one first (Ctrl+Shift+L)."))
        elif not regions:
            self.told.emit(tr("No region to optimise: press B and drag a box over a place that is still wrong."))
        elif self._paired_case() is not None:
            self._plan(*map(self._of_region, regions))

    def take_back(self, number: int) -> None:
        """Give the selected region the displacement of an earlier state, as a step of its own."""
        named = self._region()
        if named is not None and self._paired_case() is not None:
            title = tr("{region} as in state {number}").format(region=named.name, number=number)
            self._plan(Planned(title, lambda: engine.RevertSettings(box=named.box, to=number), named.box))

    def go_on(self) -> None:
        """Begin the steps that wait."""
        self._may_begin = math.inf
        self._begin_next()

    def drop_planned(self, number: int | None = None) -> None:
        """Forget one of the steps that wait, or all of them."""
        planned = self.store.planned
        self.store.set_planned(() if number is None else planned[:number] + planned[number + 1 :])

    def _of_region(self, named: NamedBox) -> Planned:
        settings = self.store.settings
        title = tr("{region} (RSO)").format(region=named.name)
        return Planned(title, lambda: rso_settings(settings, named.box, settings.rso_fit), named.box)

    def _run_steps(self, *names: str) -> None:
        steps = [] if self._paired_case() is None else [self._step(name) for name in names]
        if None not in steps:
            self._plan(*steps)

    def _step(self, name: str) -> Planned | None:
        """A step of the whole image as the left column sets it, or none and a word on what is missing."""
        settings, named = self.store.settings, self.store.selected_box
        watched = named.box if named is not None and named.use == "optimise" else None
        if name == "general":
            return Planned(tr("General"), lambda: engine.GeneralSettings(model=settings.model), watched)
        if name == "iso":
            return Planned(tr("Image (ISO)"), lambda: iso_settings(settings, settings.iso_fit), watched)
        method = settings.align_file if settings.align == "file" else settings.align
        if not method:
            self.failed.emit(
                InputError(tr("Expected a transform file for the alignment; choose one in the section Align."))
            )
            return None
        return Planned(tr("Align"), lambda: engine.AlignSettings(method=method), watched)

    def _plan(self, *steps: Planned) -> None:
        """Begin the first step now, or let all of them wait behind the one that runs and those that wait for it.

        Steps that were held back stay so until `go_on`.
        """
        store = self.store
        if store.running and store.run.leads_on:
            store.set_planned((*store.planned, *steps))
        elif self._is_free():
            self._may_begin = len(steps) if store.planned else math.inf
            store.set_planned((*steps, *store.planned))
            self._begin_next()

    def _begin_next(self) -> None:
        store = self.store
        if store.planned and store.case is not None and not store.running and self._may_begin > 0:
            self._may_begin -= 1
            step, *others = store.planned
            store.set_planned(tuple(others))
            self._begin_step(step)

    def _begin_step(self, step: Planned) -> None:
        self._with_masks(step.title, lambda: self._run(step), leads_on=True)

    def _run(self, step: Planned) -> None:
        case = self.store.case

        def start() -> Job[Registration]:
            return engine.run_step(case, step.settings(), engine.Runtime(), preview=True, watched=step.watched)

        self._begin(step.title, start, lambda result: self._take_on(step.title, result), is_step=True, leads_on=True)

    def _take_on(self, title: str, registration: Registration) -> None:
        """Make a result the next state of the case, keep it on disk, and tell it."""
        self.store.set_case(self.store.case.after(registration))
        self.autosave.write()
        self.step_finished.emit(outcome_text(title, self.store.case))

    def _go_on_after(self, leads_on: bool) -> None:
        """Steps that wait go on after a success, and wait on after a failure or a cancel."""
        if leads_on:
            self._begin_next()


def iso_settings(settings: RunSettings, fit: str) -> Any:
    return engine.IsoSettings(iterations=settings.iso_iterations, by=settings.iso_by, fit=fit)


def rso_settings(settings: RunSettings, box: Box, fit: str) -> Any:
    return engine.RsoSettings(
        box=box, iterations=settings.rso_iterations, by=settings.rso_by, scope=settings.rso_scope, fit=fit
    )
