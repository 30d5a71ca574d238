"""The order of the work and how far a case has come. No Qt."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from app.texts import mark, tr
from engine.case import Case


class Status(Enum):
    """How a stage stands."""

    DONE = "done"
    NEXT = "next"
    OPEN = "open"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class Stage:
    """A stage of the work as the left column shows it, its title translated there."""

    name: str
    title: str
    status: Status
    note: str


_TITLES = {
    "images": mark("Images"),
    "align": mark("Align"),
    "general": mark("General"),
    "iso": mark("Image (ISO)"),
    "rso": mark("Region (RSO)"),
    "quality": mark("Quality"),
    "export": mark("Export"),
}


def stages(case: Case | None, has_fixed: bool, boxes: int, exported: bool = False) -> tuple[Stage, ...]:
    """All stages with their status; exactly one of them is the next sensible one."""
    done = {step.name.split()[0] for step in case.current.steps} if case else set()
    following = _next(case, done, boxes, exported)
    notes = _notes(case, has_fixed, boxes)
    return tuple(
        Stage(name, title, _status(name, following, done, case, exported), notes[name])
        for name, title in _TITLES.items()
    )


def _next(case: Case | None, done: set[str], boxes: int, exported: bool) -> str:
    if case is None:
        return "images"
    if not done:
        return "align"
    if not done & {"general", "iso", "rso"}:
        return "general"
    if not done & {"iso", "rso"} and not boxes:
        return "iso"
    refined = sum(step.name.startswith("rso") for step in case.current.steps)
    if not refined or boxes > refined:
        return "rso"
    return "quality" if exported else "export"


def _status(name: str, following: str, done: set[str], case: Case | None, exported: bool) -> Status:
    if name == following:
        return Status.NEXT
    if case is None:
        return Status.BLOCKED
    finished = {"images": True, "quality": False, "export": exported}.get(name, name in done)
    return Status.DONE if finished else Status.OPEN


def _notes(case: Case | None, has_fixed: bool, boxes: int) -> dict[str, str]:
    images = tr("now the moving one") if has_fixed else tr("open two images")
    notes = dict.fromkeys(_TITLES, "")
    if case is None:
        notes["images"] = images
    elif not boxes:
        notes["rso"] = tr("draw a box (B)")
    return notes
