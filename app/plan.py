"""Steps that wait for their turn, and what a finished one is told as. No Qt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.texts import mark, tr
from engine.case import Case
from engine.registration import Registration, Step
from engine.roi import Box

WHOLE_WAY = ("align", "general", "iso")
"""The steps of the whole image, in the order of the work."""

_STEP_TEXTS = {
    "align": mark("Align"),
    "general": mark("General"),
    "iso": mark("ISO"),
    "rso": mark("RSO"),
    "revert": mark("Revert"),
}


@dataclass(frozen=True, slots=True, eq=False)
class Planned:
    """A step as it was asked for: later changes of the settings or of the box leave it as it is.

    `settings`: makes the engine's settings, on the worker's thread. `watched`: the box whose error is told.
    """

    title: str
    settings: Callable[[], Any]
    watched: Box | None = None


def missing_steps(state: Registration) -> tuple[str, ...]:
    """What of the whole way comes after the furthest step that a state has; an earlier one would undo later ones."""
    names = {step.name.split()[0] for step in state.steps}
    reached = [rank for rank, name in enumerate(WHOLE_WAY, start=1) if name in names]
    refined = 0 if names <= set(WHOLE_WAY) else WHOLE_WAY.index("iso")
    return WHOLE_WAY[max((refined, *reached)) :]


def outcome_text(title: str, case: Case) -> str:
    """The step that led to the current state, in one line."""
    step, before = case.current.steps[-1], case.states[case.parents[case.cursor]]
    parts = [error_text(step, before.steps[-1] if before.steps else None)]
    if step.certificate is not None:
        parts.append(tr("certificate passed") if step.certificate.passed else tr("certificate NOT passed"))
    if "nothing better found" in step.notes:
        parts.append(tr("nothing better found"))
    if step.folding_percent > 0:
        parts.append(tr("folding {percent:.3f} %").format(percent=step.folding_percent))
    return f"{title}: {', '.join(parts)}"


def error_text(step: Step, before: Step | None) -> str:
    """The error before and after a step: in its box, or of the whole image as the step before left it."""
    if step.box_rmse_hu_before is not None and step.box_rmse_hu_after is not None:
        text = tr("{before:.0f} → {after:.0f} HU in the box")
        return text.format(before=step.box_rmse_hu_before, after=step.box_rmse_hu_after)
    return short_error_text(step, before)


def short_error_text(step: Step, before: Step | None) -> str:
    """The same without a word on where, for a line that has no room for it."""
    if step.box_rmse_hu_before is not None and step.box_rmse_hu_after is not None:
        return f"{step.box_rmse_hu_before:.0f} → {step.box_rmse_hu_after:.0f} HU"
    return f"{step.rmse_hu:.0f} HU" if before is None else f"{before.rmse_hu:.0f} → {step.rmse_hu:.0f} HU"


def step_text(name: str) -> str:
    """The name of a step as it is shown: `RSO 2` for `rso 2`."""
    kind, *number = name.split()
    return " ".join([tr(_STEP_TEXTS[kind]) if kind in _STEP_TEXTS else kind, *number])
