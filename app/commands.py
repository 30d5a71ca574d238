"""What the user can ask for. Every command changes the store, or starts work whose end changes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

import engine
from app.agreement import Agreement
from app.autosave import Autosave
from app.display import Display
from app.fits import Candidate, Comparison
from app.plan import Planned, missing_steps, outcome_text
from app.store import Run, RunSettings, Store
from app.viewer.boxes import USES
from app.worker import Task, Worker, job_of
from engine.case import Case
from engine.errors import InputError
from engine.preprocess import BONE_HU, shrunk_to_body, with_boxes
from engine.progress import Job, Progress
from engine.regions import NamedBox, Use
from engine.registration import Registration
from engine.roi import Box
from engine.shapes import MaskArray
from engine.structures import Structures, voxel_counts
from engine.volume import IN_HU, Volume

if TYPE_CHECKING:
    from engine.error_map import ErrorMap

_GUIDE_DELAY_MS = 200
"""Masks are made when the hand rests, so that dragging stays smooth."""

_OF_MASK = {"rigid": "each piece keeps its shape", "excluded": "nothing corresponds there"}

_WAIT = "Wait for the running step, or stop it first."

RESULTS = "results"
"""The export that writes everything into a folder."""

Role = Literal["fixed", "moving"]


class Commands(QObject):
    """The link between actions, store and worker. One foreground job at a time."""

    failed = Signal(object)
    told = Signal(str)
    image_needs_role = Signal(str)
    models_known = Signal(dict)
    unlike_training = Signal(tuple)
    compared = Signal(object)
    step_finished = Signal(str)

    def __init__(self, store: Store, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.store, self.worker = store, worker
        self.display = Display(store, worker, self)
        self.autosave = Autosave(store, worker, self)
        self.agreement = Agreement(store, worker, self)
        self.agreement.failed.connect(self.failed)
        self.display.failed.connect(self.failed)
        self.autosave.failed.connect(self.failed)
        store.guidance_changed.connect(self.autosave.write)
        self._guide_due = QTimer(self, singleShot=True, interval=_GUIDE_DELAY_MS)
        self._guide_due.timeout.connect(self.guide)
        store.boxes_changed.connect(self._guide_due.start)
        self._task: Task | None = None
        self._may_begin = math.inf
        self._compared: tuple[str, Volume, Volume] | None = None
        for signal in (store.case_changed, store.settings_changed):
            signal.connect(self._compare_with_training)

    def find_device(self) -> None:
        """Load the heavy libraries in the background and say what will compute."""
        task = self.worker.submit(job_of(_device_and_models))
        task.succeeded.connect(self._take_device)
        task.failed.connect(self.failed)

    def open_pair(self, fixed: str | Path, moving: str | Path) -> None:
        def read() -> tuple[Volume, Volume]:
            return engine.read_volume(fixed, name="fixed"), engine.read_volume(moving, name="moving")

        self._begin("Opening the images", job_of(read), lambda pair: self.store.set_images(*pair))

    def add_image(self, path: str | Path, role: Role | None = None) -> None:
        """Take one image as fixed, then as moving; ask where both are there already."""
        store = self.store
        if role is None and store.case is not None:
            self.image_needs_role.emit(str(path))
            return
        role = role or ("moving" if store.fixed is not None else "fixed")

        def place(volume: Volume) -> None:
            store.set_images(*((volume, store.moving) if role == "fixed" else (store.fixed, volume)))

        self._begin(f"Opening the {role} image", job_of(lambda: engine.read_volume(path, name=role)), place)

    def open_files(self, fixed: Sequence[Path], moving: Sequence[Path]) -> None:
        """Open the images that these files make up; a role without files keeps its image."""
        files: dict[Role, Sequence[Path]] = {"fixed": fixed, "moving": moving}
        kept = {"fixed": self.store.fixed, "moving": self.store.moving}

        def read() -> dict[str, Volume]:
            return {role: engine.read_files(paths, name=role) for role, paths in files.items() if paths}

        self._begin("Opening the images", job_of(read), lambda read: self.store.set_images(**{**kept, **read}))

    def swap_images(self) -> None:
        if self._is_free():
            self.store.set_images(self.store.moving, self.store.fixed)

    def open_case(self, folder: str | Path, *, as_unsaved: bool = False) -> None:
        folder = Path(folder)
        home = None if as_unsaved else folder
        self._begin(
            "Opening the case", job_of(lambda: engine.open_case(folder)), lambda case: self.store.set_opened(case, home)
        )

    def open_demo(self) -> None:
        def make() -> tuple[Volume, Volume]:
            from engine.phantom.thorax import thorax_pair

            pair = thorax_pair()
            return pair.fixed, pair.moving

        self._begin("Making the demo case", job_of(make), lambda pair: self.store.set_images(*pair))

    def save(self, folder: str | Path) -> None:
        self.guide()
        case, folder = self.store.case, Path(folder)
        force = folder == self.store.folder

        def saved(_: object) -> None:
            self.store.set_saved(case, folder)
            self.autosave.forget(case)
            self.told.emit(f"Saved in {folder}.")

        self._begin("Saving the case", job_of(lambda: engine.save_case(case, folder, force=force)), saved)

    def export(self, name: str, path: str | Path) -> None:
        self.guide()
        case, path = self.store.case, Path(path)

        def write() -> None:
            if name == RESULTS:
                engine.write_results(case, path, {"device": engine.device_name()}, engine.warped_hu(case))
            else:
                engine.EXPORTERS[name].write(case, path)

        def exported(_: object) -> None:
            self.store.set_exported()
            self.told.emit(f"Exported to {path}.")

        self._begin("Exporting", job_of(write), exported)

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
            self._take_on("Align by hand", registration)
            store.set_draft(None)

        self._begin("Align by hand", start, keep, is_step=True, of_draft=True)

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
            self.told.emit("Nothing is missing: the whole image was optimised.")

    def rso(self) -> None:
        named = self._region()
        if named is not None and self._paired_case() is not None:
            self._plan(self._of_region(named))

    def rso_all(self) -> None:
        """Optimise every region that is meant for it, one after the other."""
        regions = [named for named in self.store.boxes if named.use == "optimise" and not named.locked]
        if not regions:
            self.told.emit("No region to optimise: press B and drag a box over a place that is still wrong.")
        elif self._paired_case() is not None:
            self._plan(*map(self._of_region, regions))

    def take_back(self, number: int) -> None:
        """Give the selected region the displacement of an earlier state, as a step of its own."""
        named = self._region()
        if named is not None and self._paired_case() is not None:
            title = f"{named.name} as in state {number}"
            self._plan(Planned(title, lambda: engine.RevertSettings(box=named.box, to=number), named.box))

    def go_on(self) -> None:
        """Begin the steps that wait."""
        self._may_begin = math.inf
        self._begin_next()

    def drop_planned(self, number: int | None = None) -> None:
        """Forget one of the steps that wait, or all of them."""
        planned = self.store.planned
        self.store.set_planned(() if number is None else planned[:number] + planned[number + 1 :])

    def use_box(self, use: Use) -> None:
        """Say what the selected box is for."""
        store, named = self.store, self.store.selected_box
        if named is None or store.running or named.locked:
            return
        if use == "rigid" and store.fixed.modality not in IN_HU:
            self.told.emit("Bone is found by its HU, and the fixed image is not in HU. Load a rigid mask instead.")
            return
        store.change_box(store.selected, use=use)
        if use == "rigid" and with_boxes(None, [named.box], store.fixed, BONE_HU) is None:
            self.told.emit(f"No voxel of {BONE_HU:.0f} HU or more in {named.name}: nothing is kept rigid there.")

    def snap_box(self) -> None:
        """Shrink the selected box to what it holds of the patient."""
        store, named, number = self.store, self.store.selected_box, self.store.selected
        if named is None or named.locked:
            return
        fixed = store.fixed
        if fixed.modality not in IN_HU:
            self.told.emit("The body is found by its HU, and the fixed image is not in HU. Drag the handles instead.")
            return

        def keep(box: Box | None) -> None:
            if box is None:
                self.told.emit(f"{named.name} holds nothing of the patient; it stays as it is.")
            elif box == named.box:
                self.told.emit(f"{named.name} is as small as the patient in it.")
            else:
                store.reshape_box(number, box)

        self._begin("Looking for the body", job_of(shrunk_to_body, named.box, fixed), keep)

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
                self.told.emit("Every voxel of this mask is zero; nothing was changed.")
                return
            self.store.set_mask(use, mask)
            self.told.emit(f"{count} voxels of the fixed image: {_OF_MASK[use]}.")

        self._begin("Reading the mask", job_of(read), keep)

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
                self.told.emit("Every voxel of this image is zero; nothing was changed.")
                return
            self.store.set_structures(structures)
            self.told.emit(f"{count} structure{'s' if count > 1 else ''} of the {role} image.")

        self._begin("Reading the contours", job_of(read), keep)

    def forget_structures(self) -> None:
        """Drop the contours of both images."""
        self.store.set_structures(Structures())

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
                "Proposing regions", lambda: engine.proposed_boxes(case, engine.Runtime()), self._take_proposals
            )

    def compare_image_fits(self) -> None:
        """Refine the image with every fit and keep none until one is taken."""
        settings, case = self.store.settings, self._paired_case()
        if case is not None:
            self._compare_fits(Comparison(case, "Compare fits"), lambda fit: _iso_settings(settings, fit))

    def compare_region_fits(self) -> None:
        """Refine the selected region with every fit and keep none until one is taken."""
        settings, case, named = self.store.settings, self._paired_case(), self._region()
        if case is not None and named is not None:
            comparison = Comparison(case, f"Compare fits, {named.name}", named.box)
            self._compare_fits(comparison, lambda fit: _rso_settings(settings, named.box, fit))

    def take(self, comparison: Comparison, candidate: Candidate) -> None:
        """Make one of the compared results the next state of the case."""
        if not self._is_free():
            return
        if not comparison.fits_to(self.store.case):
            self.told.emit("Go back to the state that was compared, then take the result.")
            return
        self.display.remember(candidate.registration, candidate.warped_hu)
        self._take_on(f"Fit {candidate.fit!r}", candidate.registration)

    def stop(self) -> None:
        self._end_early("stopping", Task.stop)

    def cancel(self) -> None:
        """End the running step, or else the alignment by hand."""
        if self.store.running:
            self._end_early("cancelling", Task.cancel)
        elif self.store.draft is not None:
            self.store.set_draft(None)

    def undo(self) -> None:
        self._go(Case.undone, self.store.case is not None and self.store.case.can_undo)

    def redo(self) -> None:
        self._go(Case.redone, self.store.case is not None and self.store.case.can_redo)

    def go_to(self, index: int) -> None:
        self._go(lambda case: case.gone_to(index), self.store.case is not None and index != self.store.case.cursor)

    def _take_device(self, found: tuple[str, dict[str, str]]) -> None:
        device, models = found
        self.store.set_device(device)
        self.models_known.emit(models)

    def _compare_with_training(self) -> None:
        """Find out in the background in what the images are unlike those that the chosen model was trained on."""
        store = self.store
        pair = None if store.case is None else (store.settings.model, store.case.fixed, store.case.moving)
        if pair == self._compared:
            return
        self._compared = pair
        self.unlike_training.emit(())
        if pair is not None:
            task = self.worker.submit(job_of(lambda: engine.unlike_training(*pair)))
            task.succeeded.connect(lambda sentences: self._take_comparison(pair, sentences))
            task.failed.connect(self.failed)

    def _take_comparison(self, pair: tuple[str, Volume, Volume], sentences: tuple[str, ...]) -> None:
        if pair == self._compared:
            self.unlike_training.emit(sentences)

    def _go(self, change: Callable[[Case], Case], possible: bool) -> None:
        if possible and self._is_free():
            self.store.set_case(change(self.store.case))

    def _paired_case(self) -> Case | None:
        """The case, or none and a word on what is missing."""
        if self.store.case is None:
            self.failed.emit(InputError("Expected two images; open a fixed and a moving image first."))
        self.guide()
        return self.store.case

    def _region(self) -> NamedBox | None:
        """The selected box if it is to be optimised, or none and a word on what is missing."""
        named = self.store.selected_box
        if named is None:
            self.failed.emit(InputError("Expected a region; press B and drag a box over a place that is still wrong."))
        elif named.use != "optimise":
            self.failed.emit(
                InputError(
                    f"Expected a region to optimise; this one is marked {USES[named.use]!r}. Press O to change it."
                )
            )
            return None
        return named

    def _of_region(self, named: NamedBox) -> Planned:
        settings = self.store.settings
        return Planned(f"{named.name} (RSO)", lambda: _rso_settings(settings, named.box, settings.rso_fit), named.box)

    def _run_steps(self, *names: str) -> None:
        steps = [] if self._paired_case() is None else [self._step(name) for name in names]
        if None not in steps:
            self._plan(*steps)

    def _step(self, name: str) -> Planned | None:
        """A step of the whole image as the left column sets it, or none and a word on what is missing."""
        settings, named = self.store.settings, self.store.selected_box
        watched = named.box if named is not None and named.use == "optimise" else None
        if name == "general":
            return Planned("General", lambda: engine.GeneralSettings(model=settings.model), watched)
        if name == "iso":
            return Planned("Image (ISO)", lambda: _iso_settings(settings, settings.iso_fit), watched)
        method = settings.align_file if settings.align == "file" else settings.align
        if not method:
            self.failed.emit(
                InputError("Expected a transform file for the alignment; choose one in the section Align.")
            )
            return None
        return Planned("Align", lambda: engine.AlignSettings(method=method), watched)

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
        self.guide()
        case = self.store.case

        def start() -> Job[Registration]:
            return engine.run_step(case, step.settings(), engine.Runtime(), preview=True, watched=step.watched)

        self._begin(step.title, start, lambda result: self._take_on(step.title, result), is_step=True, leads_on=True)

    def _take_on(self, title: str, registration: Registration) -> None:
        """Make a result the next state of the case, keep it on disk, and tell it."""
        self.store.set_case(self.store.case.after(registration))
        self.autosave.write()
        self.step_finished.emit(outcome_text(title, self.store.case))

    def _take_proposals(self, found: ErrorMap) -> None:
        self.store.propose_boxes(
            {row.box: f"Probably about {row.score:.1f} mm off: {row.reason}" for row in found.proposals}
        )
        if not found.proposals:
            self.told.emit("No region to propose: both images show the patient nowhere at once.")

    def _compare_fits(self, comparison: Comparison, settings: Callable[[str], Any]) -> None:
        """Run the next fit, then those after it, each a task of its own: stopping one leaves the others."""
        case, fit = comparison.case, comparison.next_fit
        if fit is None:
            self.compared.emit(comparison)
            return

        def start() -> Job[Candidate]:
            job = engine.run_step(case, settings(fit), engine.Runtime(), preview=True, watched=comparison.box)
            registration = yield from job
            return Candidate(fit, registration, engine.warped_hu(case, registration))

        def go_on(candidate: Candidate) -> None:
            self.display.end_preview()
            self._compare_fits(comparison.with_candidate(candidate), settings)

        def show_the_others() -> None:
            if comparison.candidates:
                self.compared.emit(comparison)

        self._begin(comparison.progress_title(), start, go_on, is_step=True, after_failure=show_the_others)

    def _begin(
        self,
        title: str,
        start: Callable[[], Job[Any]],
        keep: Callable[[Any], object],
        is_step: bool = False,
        leads_on: bool = False,
        after_failure: Callable[[], object] = lambda: None,
        of_draft: bool = False,
    ) -> None:
        if not self._is_free(of_draft):
            return
        self.store.set_run(Run(title, is_step, leads_on))
        task = self._task = self.worker.submit(start)
        task.progressed.connect(self._take_reports)
        task.succeeded.connect(lambda result: self._finish("done", lambda: keep(result)))
        task.cancelled.connect(lambda: self._finish("cancelled", self.display.end_preview))
        task.failed.connect(lambda error: self._finish("failed", lambda: (self._report(error), after_failure())))

    def _is_free(self, of_draft: bool = False) -> bool:
        """Whether something else can begin; if not, a word on what has to end first."""
        if self.store.running:
            self.told.emit(_WAIT)
        elif self.store.draft is not None and not of_draft:
            self.told.emit("Keep or cancel the alignment by hand first.")
        else:
            return True
        return False

    def _take_reports(self, reports: list[Progress]) -> None:
        for progress in reports:
            self.store.run.take(progress)
        previews = [progress.preview for progress in reports if progress.preview is not None]
        if previews:
            self.display.preview(previews[-1])
        self.store.run_changed.emit()

    def _finish(self, state: str, then: Callable[[], object]) -> None:
        """The end of the work. Steps that wait go on after a success, and wait on after a failure or a cancel."""
        self._task, run = None, self.store.run
        run.state = state
        self.store.run_changed.emit()
        then()
        self._guide_due.start()
        if state == "done" and run.leads_on:
            self._begin_next()

    def _report(self, error: BaseException) -> None:
        self.display.end_preview()
        self.failed.emit(error)

    def _end_early(self, state: str, ask: Callable[[Task], None]) -> None:
        if self._task is not None:
            self.store.run.state = state
            ask(self._task)
            self.store.run_changed.emit()


def _iso_settings(settings: RunSettings, fit: str) -> Any:
    return engine.IsoSettings(iterations=settings.iso_iterations, by=settings.iso_by, fit=fit)


def _rso_settings(settings: RunSettings, box: Box, fit: str) -> Any:
    return engine.RsoSettings(
        box=box, iterations=settings.rso_iterations, by=settings.rso_by, scope=settings.rso_scope, fit=fit
    )


def _device_and_models() -> tuple[str, dict[str, str]]:
    models = {name: row.description for name, row in engine.MODELS.items()}
    return engine.device_name(), models
