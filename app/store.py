"""The one source of truth of the window. Everything that is shown comes from here and is told to change here."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from app.plan import Planned
from app.texts import tr
from app.viewer.boxes import free_name, middle_of, name_of_copy, renamed
from app.viewer.marks import Pairs, Triple
from app.viewer.pictures import Pictures
from app.viewer.view_state import DIFFERENCE_WINDOW, WINDOWS, ViewState, windows_of_values
from engine.case import Case
from engine.geometry import transform_points
from engine.guidance import Guidance
from engine.pictures import Picture
from engine.preprocess import Masks
from engine.progress import Progress
from engine.regions import NamedBox, Regions, Use
from engine.rigid_motion import RigidMotion
from engine.roi import Box
from engine.shapes import MaskArray
from engine.spatial.live_field import LiveField
from engine.structures import Structures
from engine.volume import IN_HU, Volume

if TYPE_CHECKING:
    from engine.agreement import StructureFigures
    from engine.metrics import FoldedPlace


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What the left column sets for the steps."""

    align: str = "rigid"
    align_file: str = ""
    by_hand_step: float = 1.0
    model: str = "general"
    iso_iterations: int = 100
    iso_by: str = "field"
    iso_fit: str = "balanced"
    rso_iterations: int = 400
    rso_by: str = "field"
    rso_scope: str = "crop"
    rso_fit: str = "balanced"


@dataclass(slots=True)
class Run:
    """Foreground work, running or just ended. `error_hu` and `box_error_hu` are the curves, one value a report.

    `leads_on`: its result is the next state of the case, so that steps may wait for it. `best`: the iteration whose
    state would be kept now.
    """

    title: str
    is_step: bool = False
    leads_on: bool = False
    stage: str = ""
    done: int = 0
    total: int = 0
    note: str = ""
    state: str = "running"
    iterations: list[int] = field(default_factory=list)
    error_hu: list[float] = field(default_factory=list)
    box_iterations: list[int] = field(default_factory=list)
    box_error_hu: list[float] = field(default_factory=list)
    best: int | None = None
    _first: tuple[float, int] | None = None

    @property
    def running(self) -> bool:
        return self.state in ("running", "stopping", "cancelling")

    def take(self, progress: Progress) -> None:
        """Take in one report."""
        if progress.stage != self.stage:
            self.stage, self._first = progress.stage, None
        if self._first is None:
            self._first = (time.monotonic(), progress.done)
        self.done, self.total, self.note = progress.done, progress.total, progress.note
        told = (progress.rmse_hu, progress.box_rmse_hu) != (None, None)
        if told and self.iterations and progress.done < self.iterations[-1]:
            self._begin_again()
        if progress.best:
            self.best = progress.done
        if progress.rmse_hu is not None:
            self.iterations.append(progress.done)
            self.error_hu.append(progress.rmse_hu)
        if progress.box_rmse_hu is not None:
            self.box_iterations.append(progress.done)
            self.box_error_hu.append(progress.box_rmse_hu)

    def _begin_again(self) -> None:
        """The work started over, on another device."""
        self.best = None
        for curve in (self.iterations, self.error_hu, self.box_iterations, self.box_error_hu):
            curve.clear()

    def best_point(self) -> tuple[int, float] | None:
        """The best state on the curve that counts, that of the box if there is one: iteration and error in HU."""
        in_box = bool(self.box_error_hu)
        iterations = self.box_iterations if in_box else self.iterations
        if self.best not in iterations:
            return None
        return self.best, (self.box_error_hu if in_box else self.error_hu)[iterations.index(self.best)]

    def seconds_left(self) -> float | None:
        """As long as the iterations so far suggest; `None` before the second."""
        if self._first is None or self.done <= self._first[1]:
            return None
        start_s, first = self._first
        return (time.monotonic() - start_s) / (self.done - first) * max(self.total - self.done, 0)


class Store(QObject):
    """State and signals. Holds no widget and starts no work."""

    case_changed = Signal()
    pictures_changed = Signal()
    view_changed = Signal()
    boxes_changed = Signal()
    pairs_changed = Signal()
    guidance_changed = Signal()
    draft_changed = Signal()
    agreement_changed = Signal()
    settings_changed = Signal()
    run_changed = Signal()
    folded_changed = Signal()
    history_changed = Signal()
    device_changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.fixed: Volume | None = None
        self.moving: Volume | None = None
        self.case: Case | None = None
        self.saved_case: Case | None = None
        self.folder: Path | None = None
        self.exported_case: Case | None = None
        self.pictures: Pictures | None = None
        self.view = ViewState()
        self._in_hu = True
        self.boxes: tuple[NamedBox, ...] = ()
        self.selected: int | None = None
        self.selected_pair: int | None = None
        self.masks: dict[Use, MaskArray] = {}
        self.draft: RigidMotion | None = None
        self.agreement: dict[int, StructureFigures] | None = None
        self._guided = self.regions()
        self.settings = RunSettings()
        self.run: Run | None = None
        self.folded: tuple[FoldedPlace, ...] = ()
        self.planned: tuple[Planned, ...] = ()
        self.marked_state: int | None = None
        self.thumbnails: dict[int, Picture] = {}
        self.device = tr("detected in a moment")

    @property
    def running(self) -> bool:
        return self.run is not None and self.run.running

    @property
    def unsaved(self) -> bool:
        if self.case is None or self.case is self.saved_case:
            return False
        case = self.case
        has_boxes = case.regions is not None and not case.regions.is_empty
        is_marked = has_boxes or not case.guidance.is_empty or not case.structures.is_empty
        return self.saved_case is not None or len(case.states) > 1 or is_marked

    @property
    def exported(self) -> bool:
        """Whether the registration that is shown was exported."""
        case = self.exported_case
        return case is not None and self.case is not None and case.current is self.case.current

    @property
    def selected_box(self) -> NamedBox | None:
        return None if self.selected is None else self.boxes[self.selected]

    def set_images(self, fixed: Volume | None, moving: Volume | None) -> None:
        """Other images, hence another case once both are there."""
        self.fixed, self.moving = fixed, moving
        self._begin(Case.new(fixed, moving) if fixed is not None and moving is not None else None)

    def set_opened(self, case: Case, folder: Path | None) -> None:
        """A case read from disk, with its boxes; with those of its steps where nobody said which it has."""
        self.fixed, self.moving = case.fixed, case.moving
        self._begin(case, folder)
        boxes = _boxes_of_steps(case) if case.regions is None else case.regions.boxes
        self.set_boxes(boxes, 0 if boxes else None)
        self._guided = self.regions()

    def set_case(self, case: Case) -> None:
        """The same case at another state."""
        self.case = case
        self.case_changed.emit()

    def drop_branch(self, number: int) -> None:
        """Delete a state and all that began from it; an `InputError` where that is the line of the current one."""
        case, gone = self.case.without_branch(number), self.case.branch(number)
        if self.view.other_state in gone:
            self.change_view(other_state=None)
        if self.marked_state in gone:
            self.mark_state(None)
        self.thumbnails = {known: picture for known, picture in self.thumbnails.items() if known not in gone}
        self.set_case(case)

    def set_saved(self, case: Case, folder: Path) -> None:
        self.saved_case, self.folder = case, folder
        self.case_changed.emit()

    def set_exported(self) -> None:
        self.exported_case = self.case
        self.case_changed.emit()

    def set_pictures(self, pictures: Pictures | None) -> None:
        first = pictures is not None and (self.pictures is None or self.pictures.geometry != pictures.geometry)
        self.pictures = pictures
        if first:
            view = self._with_fitting_window(self.view)
            self.set_view(replace(view, cursor_zyx=pictures.middle_zyx(), zoom=1.0, pan_zyx_mm=(0.0, 0.0, 0.0)))
        self.pictures_changed.emit()

    def _with_fitting_window(self, view: ViewState) -> ViewState:
        """Windows of CT for CT, as they are if CT was shown before; for an image on another scale, of its values."""
        was_in_hu, self._in_hu = self._in_hu, self.fixed is None or self.fixed.modality in IN_HU
        if not self._in_hu and self.fixed is not None:
            return replace(view, **windows_of_values(self.fixed.hu, self.fixed.valid))
        return view if was_in_hu else replace(view, window_hu=WINDOWS["Paper"], difference_window_hu=DIFFERENCE_WINDOW)

    def set_view(self, view: ViewState) -> None:
        if view != self.view:
            self.view = view
            self.view_changed.emit()

    def change_view(self, **changes: object) -> None:
        self.set_view(replace(self.view, **changes))

    def set_boxes(self, boxes: tuple[NamedBox, ...], selected: int | None) -> None:
        self.boxes, self.selected = boxes, selected
        self.boxes_changed.emit()

    def add_box(self, box: Box) -> None:
        self.set_boxes((*self.boxes, NamedBox(free_name(tr("Region"), self.boxes), box)), len(self.boxes))

    def duplicate_box(self, number: int) -> None:
        """The same box once more, under another name and unlocked."""
        named = self.boxes[number]
        copy = replace(named, name=name_of_copy(named.name, self.boxes), untouched=False, locked=False)
        self.set_boxes((*self.boxes, copy), len(self.boxes))

    def lock_box(self, number: int, locked: bool) -> None:
        """Whether a box can be dragged, resized, renamed, deleted or used for something else."""
        changed = replace(self.boxes[number], locked=locked, untouched=False)
        self.set_boxes(tuple(changed if i == number else named for i, named in enumerate(self.boxes)), number)

    def propose_boxes(self, reasons: dict[Box, str]) -> None:
        """Boxes with why each is proposed, the first of them selected and under the cursor.

        They take the place of those proposed before that nobody touched.
        """
        states = () if self.case is None else self.case.states
        used = {step.box for state in states for step in state.steps}
        kept = tuple(named for named in self.boxes if not named.untouched or named.box in used)
        boxes = kept
        for box, reason in reasons.items():
            boxes = (*boxes, NamedBox(free_name(tr("Proposal"), boxes), box, reason, untouched=True))
        if reasons:
            self.set_boxes(boxes, len(kept))
            self.change_view(cursor_zyx=middle_of(boxes[len(kept)].box))
        else:
            self.set_boxes(boxes, None if self.selected_box not in kept else kept.index(self.selected_box))

    def reshape_box(self, number: int, box: Box) -> None:
        self.change_box(number, box=box)

    def change_box(self, number: int, **changes: object) -> None:
        """Another box at the same place in the list, selected; no longer an untouched proposal. A locked one stays."""
        if self.boxes[number].locked:
            return
        if changes.get("box", self.boxes[number].box) != self.boxes[number].box:
            changes["reason"] = ""
        changed = replace(self.boxes[number], untouched=False, **changes)
        self.set_boxes(tuple(changed if i == number else named for i, named in enumerate(self.boxes)), number)

    def rename_box(self, number: int, name: str) -> None:
        if name.strip() and name != self.boxes[number].name and not self.boxes[number].locked:
            self.set_boxes(renamed(self.boxes, number, name.strip()), self.selected)

    def boxes_of(self, use: Use) -> tuple[Box, ...]:
        return self.regions().boxes_of(use)

    def regions(self) -> Regions:
        """Boxes and files, as a case keeps them."""
        return Regions(self.boxes, self.masks.get("rigid"), self.masks.get("excluded"))

    def set_mask(self, use: Use, mask: MaskArray | None) -> None:
        """A mask from a file beside what the boxes say; none forgets it."""
        kept = {known: value for known, value in self.masks.items() if known != use}
        self.masks = kept if mask is None else {**kept, use: mask}
        self.boxes_changed.emit()

    def unmarked(self) -> Regions | None:
        """Boxes and files that the case does not follow yet."""
        regions = self.regions()
        return None if self.case is None or regions.same_as(self._guided) else regions

    def has_masks_of(self, regions: Regions) -> bool:
        """Whether the masks of the case are those that regions make."""
        return regions.marks_like(self._guided)

    def mark(self, regions: Regions, masks: Masks | None = None) -> None:
        """Give the case the regions and the masks that they make, those it has if none are given."""
        guidance = self.case.guidance
        if masks is not None:
            guidance = replace(guidance, rigid=masks[0], excluded=masks[1])
        case = self.case.marked(regions, guidance)
        self._guided = regions
        self.set_case(case)
        self.guidance_changed.emit()

    def remove_box(self, number: int) -> None:
        if self.boxes[number].locked:
            return
        boxes = self.boxes[:number] + self.boxes[number + 1 :]
        self.set_boxes(boxes, min(number, len(boxes) - 1) if boxes else None)

    def pairs(self) -> Pairs | None:
        """The pairs of points as the panes show them, if there are any."""
        if self.case is None or not (len(self.case.guidance.fixed_points_mm) or self.view.started_mm):
            return None
        rigid = None if self.draft is None else self.draft.rigid()
        return Pairs.of(self.case, self.selected_pair, self.view.started_mm, rigid)

    def pair_distances_mm(self) -> list[float]:
        """How far each pair of points is off as images are shown: at the current state, by a running step or a hand."""
        case = self.case
        if case is None:
            return []
        if self.draft is not None:
            return case.pair_distances_mm(partial(transform_points, self.draft.rigid()))
        if self.pictures is not None and isinstance(self.pictures.displacement_vox, LiveField):
            return case.pair_distances_mm(partial(self.pictures.displacement_vox.map_points, case.current.rigid))
        return case.pair_distances_mm()

    def add_pair(self, fixed_mm: Triple, aligned_mm: Triple) -> None:
        """A place and its partner in the moving image as the rigid part shows it on the fixed grid."""
        x, y, z = transform_points(self.case.current.rigid, [aligned_mm])[0]
        self._set_guidance(self.case.guidance.with_pair(fixed_mm, (x, y, z)))
        self.select_pair(len(self.case.guidance.fixed_points_mm) - 1)

    def remove_pair(self, number: int) -> None:
        self._set_guidance(self.case.guidance.without_pair(number))
        left = len(self.case.guidance.fixed_points_mm)
        self.select_pair(min(number, left - 1) if left else None)

    def select_pair(self, number: int | None) -> None:
        self.selected_pair = number
        self.pairs_changed.emit()

    def set_draft(self, draft: RigidMotion | None) -> None:
        """The alignment by hand that is under way; none ends it."""
        self.draft = draft
        self.draft_changed.emit()

    def set_structures(self, structures: Structures) -> None:
        """What is delineated in the two images."""
        self.set_case(self.case.delineated(structures))
        self.guidance_changed.emit()

    def set_agreement(self, agreement: dict[int, StructureFigures] | None) -> None:
        """Figures of the structures at the current state; none while they are not known."""
        self.agreement = agreement
        self.agreement_changed.emit()

    def _set_guidance(self, guidance: Guidance) -> None:
        self.set_case(self.case.guided(guidance))
        self.guidance_changed.emit()

    def set_settings(self, settings: RunSettings) -> None:
        if settings != self.settings:
            self.settings = settings
            self.settings_changed.emit()

    def set_folded(self, places: tuple[FoldedPlace, ...]) -> None:
        """Where the current state folds, the largest place first."""
        self.folded = places
        self.folded_changed.emit()

    def go_to_next_fold(self) -> None:
        places = [place.index_zyx for place in self.folded]
        here = self.view.cursor_zyx
        self.change_view(cursor_zyx=places[(places.index(here) + 1) % len(places) if here in places else 0])

    def set_run(self, run: Run | None) -> None:
        self.run = run
        self.run_changed.emit()

    def set_planned(self, planned: tuple[Planned, ...]) -> None:
        """The steps that wait, the next one first."""
        self.planned = planned
        self.run_changed.emit()

    def mark_state(self, number: int | None) -> None:
        """The state of the history that commands are about, beside the current one."""
        if number != self.marked_state:
            self.marked_state = number
            self.history_changed.emit()

    def set_thumbnail(self, number: int, picture: Picture) -> None:
        self.thumbnails[number] = picture
        self.history_changed.emit()

    def set_device(self, device: str) -> None:
        self.device = device
        self.device_changed.emit()

    def _begin(self, case: Case | None, folder: Path | None = None) -> None:
        self.change_view(other_state=None)
        self.case, self.exported_case = case, None
        self.folder, self.saved_case = folder, None if folder is None else case
        self.draft = None
        self.masks = {} if case is None else _masks_from_files(case)
        self.set_boxes((), None)
        self._guided = self.regions()
        self.select_pair(None)
        self.change_view(drawing_box=False, marking=False, started_mm=None)
        self.planned, self.marked_state, self.thumbnails = (), None, {}
        self.set_run(None)
        self.case_changed.emit()


def _masks_from_files(case: Case) -> dict[Use, MaskArray]:
    if case.regions is not None:
        return case.regions.masks_from_files()
    return Regions((), case.guidance.rigid, case.guidance.excluded).masks_from_files()


def _boxes_of_steps(case: Case) -> tuple[NamedBox, ...]:
    drawn = dict.fromkeys(step.box for state in case.states for step in state.steps if step.box is not None)
    return tuple(NamedBox(tr("Region {number}").format(number=i + 1), box) for i, box in enumerate(drawn))
