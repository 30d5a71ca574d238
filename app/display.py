"""Keeps the pictures in step with the case: warps in the worker, remembers the last few, shows live previews.

Beside the current state it holds at most two more: the one that is compared with, and the one before any refinement.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal

import engine
from app.plan import step_text
from app.store import Store
from app.texts import tr
from app.viewer.contours import Labels
from app.viewer.patched import Patched
from app.viewer.pictures import Pictures
from app.worker import Task, Worker, job_of
from engine.case import Case
from engine.pictures import Picture
from engine.preprocess import body_of
from engine.progress import Preview
from engine.registration import Registration
from engine.shapes import DisplacementArray, HuArray, MaskArray, Matrix
from engine.volume import PADDING_HU, Volume

if TYPE_CHECKING:
    from engine.spatial.live_field import LiveField
    from engine.spatial.section import MovedImage

_REMEMBERED = 3
_REMEMBERED_BYTES = 400 * 2**20
"""Of the warped images together: two of 512 × 512 × 200 voxels."""

_REST_MS = 150
"""A hand that has not moved for so long rests: then its alignment is shown in every voxel."""


class Display(QObject):
    """Owner of `store.pictures`. `_under`: what previews of a box are laid over.

    `_pictured`: the case and the numbers of the states whose thumbnails were asked for.
    `_read`: displacements in files that were read, by whose they are: of the current state, the one that was left for
    it, the one that is compared with, and the one before any refinement.
    """

    failed = Signal(object)

    def __init__(self, store: Store, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store, self._worker = store, worker
        self._warped: OrderedDict[int, tuple[Registration, HuArray]] = OrderedDict()
        self._aligned: tuple[Volume, Volume, Matrix, HuArray] | None = None
        self._body: tuple[Volume, MaskArray] | None = None
        self._task: Task | None = None
        self._shown: Registration | None = None
        self._under: HuArray | None = None
        self._read: dict[str, DisplacementArray] = {}
        self._field: LiveField | None = None
        self._moved: MovedImage | None = None
        self._labels: tuple[tuple[object, ...], Labels] | None = None
        self._version = 0
        self._held: dict[str, tuple[Registration, HuArray]] = {}
        self._asked: dict[str, tuple[Registration, Task]] = {}
        self._other: int | None = None
        self._pictured: set[tuple[str, int]] = set()
        self._rested = QTimer(self, singleShot=True, interval=_REST_MS)
        self._rested.timeout.connect(self._draw_out)
        store.case_changed.connect(self.update_pictures)
        store.draft_changed.connect(self._show_draft)
        store.boxes_changed.connect(self.update_held)
        store.view_changed.connect(self._follow_comparison)

    def update_pictures(self) -> None:
        """Show what is known of the current state and ask the worker for the rest."""
        store, case = self._store, self._store.case
        if case is None:
            self._show_images_alone()
            return
        self._let_go_of_deleted(case)
        registration = case.current
        is_shown = registration is self._shown or store.draft is not None
        if is_shown and store.pictures is not None:
            self._show_masks(case)
            return
        before = store.pictures if store.pictures is not None and store.pictures.fixed_hu is case.fixed.hu else None
        if before is None:
            self._forget_all()
            self._request_body(case.fixed)
        self._shown, self._under, self._field = registration, None, None
        moving, warped = self._known_moving(case), self._known_warped(registration)
        shown = Pictures(
            case.fixed.geometry,
            case.fixed.hu,
            case.fixed.valid,
            moving,
            warped,
            registration.displacement_vox,
            case.guidance.rigid,
            case.guidance.excluded,
            None if self._body is None else self._body[1],
            labels=self._labels_of(case),
        )
        if moving is None or warped is None or not self._is_read(registration.displacement_vox):
            self._request(case, moving, warped)
            shown = _unread(shown) if before is None else _still(shown, before)
        else:
            self._know_read("current", registration.displacement_vox)
        self._ask_thumbnails(case)
        self._set(shown)
        self.update_held()

    def update_held(self) -> None:
        """Have at hand the state that is compared with, and for the errors in boxes the one before any refinement."""
        store = self._store
        case, other = store.case, store.view.other_state
        if case is None or store.pictures is None:
            return
        self._hold("other", None if other is None else case.states[other])
        self._hold("unrefined", case.unrefined() if store.boxes else None)

    def preview(self, preview: Preview) -> None:
        """Lay a live preview over the warped image and the displacement, so that what follows from that moves too."""
        pictures, case = self._store.pictures, self._store.case
        if pictures is None or case is None:
            return
        shape = pictures.geometry.shape_zyx
        if preview.warped_hu.shape == shape:
            self._under = live = preview.warped_hu
        else:
            if self._under is None:
                unknown = np.broadcast_to(np.float32(PADDING_HU), shape)
                self._under = unknown if pictures.warped_hu is None else pictures.warped_hu
            live = Patched(self._under, preview.region, preview.warped_hu)
        self._field = engine.LiveField(pictures.geometry, case.current.displacement_vox, preview)
        shown = replace(pictures, warped_hu=live, displacement_vox=self._field, live_iteration=preview.iteration)
        self._set(replace(shown, labels=self._labels_of(case)))

    def end_preview(self) -> None:
        """Show the case again as it is."""
        self._shown = None
        self.update_pictures()

    def remember(self, registration: Registration, warped_hu: HuArray) -> None:
        """Keep a warped image."""
        self._warped[id(registration)] = (registration, warped_hu)
        most = max(1, min(_REMEMBERED, _REMEMBERED_BYTES // max(1, warped_hu.nbytes)))
        while len(self._warped) > most:
            self._warped.popitem(last=False)

    def _let_go_of_deleted(self, case: Case) -> None:
        """Keep no state that is none of the case: on Windows a file that is mapped cannot be removed."""
        there = set(map(id, case.states))
        self._warped = OrderedDict((known, kept) for known, kept in self._warped.items() if known in there)
        displacements = {id(state.displacement_vox) for state in case.states}
        self._read = {role: read for role, read in self._read.items() if id(read) in displacements}

    def _show_masks(self, case: Case) -> None:
        pictures, guidance, labels = self._store.pictures, case.guidance, self._labels_of(case)
        if pictures.stale:
            labels = pictures.labels
        known = (pictures.rigid, pictures.excluded, pictures.labels)
        wanted = (guidance.rigid, guidance.excluded, labels)
        if any(one is not other for one, other in zip(known, wanted, strict=True)):
            self._set(replace(pictures, rigid=guidance.rigid, excluded=guidance.excluded, labels=labels))

    def _labels_of(self, case: Case) -> Labels:
        """The structures as the current state, a preview or the hand carries them; the same object while it does."""
        draft = self._store.draft
        source = (case.structures, case.current, draft, self._field)
        if self._labels is None or any(one is not other for one, other in zip(self._labels[0], source, strict=True)):
            self._labels = source, _labels(case, None if draft is None else draft.rigid(), self._field)
        return self._labels[1]

    def _show_draft(self) -> None:
        """Show the moving image where the hand has moved it, made only where it is looked at."""
        store = self._store
        if store.draft is None:
            self._moved = None
            self.end_preview()
            return
        case, pictures, rigid = store.case, store.pictures, store.draft.rigid()
        known = self._moved or engine.MovedImage.of(case.moving, case.fixed.geometry, rigid)
        moved = self._moved = known.moved(rigid)
        self._rested.start()
        self._set(
            replace(
                pictures,
                moving_hu=moved,
                warped_hu=moved,
                displacement_vox=None,
                labels=self._labels_of(case),
                stale=False,
                moving_stale=False,
                is_draft=True,
            )
        )

    def _draw_out(self) -> None:
        """Show the draft in every voxel."""
        pictures = self._store.pictures
        if self._moved is not None and pictures is not None and pictures.is_draft:
            moved = self._moved.drawn_out()
            self._set(replace(pictures, moving_hu=moved, warped_hu=moved))

    def _show_images_alone(self) -> None:
        fixed = self._store.fixed
        self._forget_all()
        self._set(None if fixed is None else Pictures(fixed.geometry, fixed.hu, fixed.valid))

    def _forget_all(self) -> None:
        self._shown, self._under, self._field, self._aligned, self._moved = None, None, None, None, None
        self._warped.clear()
        self._pictured.clear()
        self._held.clear()
        self._read.clear()
        for _, task in self._asked.values():
            task.cancel()
        self._asked.clear()

    def _set(self, pictures: Pictures | None) -> None:
        self._version += 1
        before = self._store.pictures
        if pictures is not None:
            pictures = replace(pictures, version=self._version, **self._held_pictures())
            if before is not None:
                pictures.take_over(before)
        self._store.set_pictures(pictures)

    def _held_pictures(self) -> dict[str, object]:
        """What is held, as fields of `Pictures`."""
        other, unrefined, case = self._held.get("other"), self._held.get("unrefined"), self._store.case
        comparable = other is not None and case is not None and np.array_equal(other[0].rigid, case.current.rigid)
        return {
            "other_warped_hu": None if other is None else other[1],
            "other_displacement_vox": other[0].displacement_vox if comparable else None,
            "other_name": "" if other is None else _name_of(other[0]),
            "unrefined_warped_hu": None if unrefined is None else unrefined[1],
        }

    def _follow_comparison(self) -> None:
        if self._store.view.other_state != self._other:
            self._other = self._store.view.other_state
            self.update_held()

    def _hold(self, role: str, registration: Registration | None) -> None:
        """Hold the warped image of a state in a role, made in the worker where it is not known; none lets go."""
        known, (asked, task) = self._held.get(role), self._asked.get(role, (None, None))
        if task is not None and asked is not registration:
            task.cancel()
            del self._asked[role]
        if registration is None:
            self._read.pop(role, None)
            self._keep_held(role, None)
        elif (warped := self._known_warped(registration)) is not None and self._is_read(registration.displacement_vox):
            self._know_read(role, registration.displacement_vox)
            self._keep_held(role, (registration, warped))
        elif asked is not registration and (known is None or known[0] is not registration):
            task = self._worker.submit(job_of(_warped, self._store.case, registration, warped))
            self._asked[role] = registration, task
            task.succeeded.connect(lambda image: self._take_held(role, task, registration, image))
            task.failed.connect(self.failed)

    def _take_held(self, role: str, task: Task, registration: Registration, warped_hu: HuArray) -> None:
        if self._asked.get(role, (None, None))[1] is task:
            del self._asked[role]
            self._know_read(role, registration.displacement_vox)
            self._keep_held(role, (registration, warped_hu))

    def _keep_held(self, role: str, held: tuple[Registration, HuArray] | None) -> None:
        known = self._held.get(role)
        if (known and known[0]) is (held and held[0]):
            return
        if held is None:
            del self._held[role]
        else:
            self._held[role] = held
        if self._store.pictures is not None:
            self._set(self._store.pictures)

    def _ask_thumbnails(self, case: Case) -> None:
        """Have those made that the history lacks."""
        for number in case.numbers:
            if (case.id, number) in self._pictured:
                continue
            self._pictured.add((case.id, number))
            task = self._worker.submit(job_of(engine.state_thumbnail, case, case.states[number]))
            task.succeeded.connect(partial(self._take_thumbnail, case.id, number))
            task.failed.connect(self.failed)

    def _take_thumbnail(self, case_id: str, number: int, picture: Picture) -> None:
        case = self._store.case
        if case is not None and case.id == case_id and number in case.numbers:
            self._store.set_thumbnail(number, picture)

    def _request(self, case: Case, moving: HuArray | None, warped: HuArray | None) -> None:
        if self._task is not None:
            self._task.cancel()
        registration = case.current
        task = self._worker.submit(job_of(_computed, case, registration, moving, warped))
        task.succeeded.connect(lambda pair: self._take(case, registration, *pair))
        task.failed.connect(self.failed)
        task.ended.connect(lambda: self._forget(task))
        self._task = task

    def _request_body(self, fixed: Volume) -> None:
        if self._body is not None and self._body[0] is fixed:
            return
        self._body = None
        task = self._worker.submit(job_of(body_of, fixed))
        task.succeeded.connect(lambda body: self._take_body(fixed, body))
        task.failed.connect(self.failed)

    def _take_body(self, fixed: Volume, body: MaskArray) -> None:
        case, pictures = self._store.case, self._store.pictures
        if case is not None and case.fixed is fixed and pictures is not None:
            self._body = (fixed, body)
            self._set(replace(pictures, body=body))

    def _take(self, case: Case, registration: Registration, moving: HuArray, warped: HuArray) -> None:
        self._aligned = (case.fixed, case.moving, registration.rigid, moving)
        if registration is self._shown:
            self._know_read("current", registration.displacement_vox)
        self.remember(registration, warped)
        if registration is self._shown and self._store.draft is None and self._store.pictures is not None:
            u = registration.displacement_vox
            labels = self._labels_of(self._store.case)
            shown = replace(self._store.pictures, moving_hu=moving, warped_hu=warped, displacement_vox=u, labels=labels)
            self._set(replace(shown, stale=False, moving_stale=False))
        self.update_held()

    def _forget(self, task: Task) -> None:
        if self._task is task:
            self._task = None

    def _is_read(self, displacement_vox: DisplacementArray) -> bool:
        """Whether it can be drawn from at once: a first look at a state of a saved case takes as long as reading it."""
        is_read = any(known is displacement_vox for known in self._read.values())
        return is_read or not _is_of_saved_case(displacement_vox)

    def _know_read(self, role: str, displacement_vox: DisplacementArray) -> None:
        """What a step has just made is not kept: it can be drawn from anyway, and is let go once it is saved."""
        known = self._read.pop(role, None)
        if role == "current" and known is not None and known is not displacement_vox:
            self._read["left"] = known
        if _is_of_saved_case(displacement_vox):
            self._read[role] = displacement_vox

    def _known_moving(self, case: Case) -> HuArray | None:
        if self._aligned is None:
            return None
        of_fixed, of_moving, rigid, moving = self._aligned
        same = of_moving is case.moving and of_fixed is case.fixed
        return moving if same and np.array_equal(rigid, case.current.rigid) else None

    def _known_warped(self, registration: Registration) -> HuArray | None:
        known = self._warped.get(id(registration))
        return None if known is None else known[1]


def _still(shown: Pictures, before: Pictures) -> Pictures:
    """With the moving image, and all that carries it, as they were, as far as it is not known what they are now.

    Contours that follow a hand are not kept beside an image that does not.
    """
    moving = before.moving_hu if shown.moving_hu is None else shown.moving_hu
    return replace(
        shown,
        moving_hu=moving,
        warped_hu=before.warped_hu if shown.warped_hu is None else shown.warped_hu,
        displacement_vox=before.displacement_vox,
        labels=before.labels if moving is before.moving_hu else _unread(shown).labels,
        stale=True,
        moving_stale=shown.moving_hu is None,
    )


def _is_of_saved_case(displacement_vox: DisplacementArray) -> bool:
    return isinstance(displacement_vox, np.memmap)


def _unread(shown: Pictures) -> Pictures:
    """Without what would have to read the displacement at once."""
    return replace(shown, labels=replace(shown.labels, warped=None))


def _labels(case: Case, hand: Matrix | None, live: LiveField | None) -> Labels:
    """The structures by the case's current state, by a live preview, or by the matrix of an alignment by hand."""
    fixed, moving = case.structures.fixed, case.structures.moving
    if moving is None:
        return Labels(fixed, numbers=case.structures.numbers)
    grids = case.moving.geometry, case.fixed.geometry
    aligned = engine.CarriedLabels(moving, *grids, case.current.rigid if hand is None else hand)
    warped = engine.CarriedLabels.of(moving, grids[0], case.current) if hand is None else aligned
    if live is not None:
        warped = replace(warped, displacement_vox=live)
    return Labels(fixed, aligned, warped, case.structures.numbers)


def _name_of(registration: Registration) -> str:
    return step_text(registration.steps[-1].name) if registration.steps else tr("start")


def _computed(
    case: Case, registration: Registration, moving: HuArray | None, warped: HuArray | None
) -> tuple[HuArray, HuArray]:
    """The moving image on the fixed grid by the rigid part alone, and the warped image. Reads u where it is a file."""
    if moving is None:
        rigid_only = replace(registration, displacement_vox=np.zeros_like(registration.displacement_vox))
        moving = engine.warped_hu(case, rigid_only)
    is_deformed = registration.displacement_vox.any()
    if warped is None:
        warped = engine.warped_hu(case, registration) if is_deformed else moving
    return moving, warped


def _warped(case: Case, registration: Registration, warped: HuArray | None) -> HuArray:
    """The warped image, the one that is known if there is one. Reads u where it is a file."""
    if warped is None:
        return engine.warped_hu(case, registration)
    registration.displacement_vox.any()
    return warped
