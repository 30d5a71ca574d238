"""The same refinement with every fit, as values to choose from."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.texts import mark, tr
from engine.case import Case
from engine.registration import Registration
from engine.roi import Box
from engine.session import FITS as _FITS
from engine.shapes import HuArray

FITS = tuple(_FITS)
"""In the order in which they are shown."""

FIT_TEXTS = {"balanced": mark("Balanced"), "closer": mark("Closer"), "smoother": mark("Smoother")}
FITS_IN_LINE = {"balanced": mark("balanced"), "closer": mark("closer"), "smoother": mark("smoother")}


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """What one fit made of the state that all began from."""

    fit: str
    registration: Registration
    warped_hu: HuArray


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """The state that all fits begin from, the box if it is about one, and what is there so far."""

    case: Case
    title: str
    box: Box | None = None
    candidates: tuple[Candidate, ...] = ()

    @property
    def next_fit(self) -> str | None:
        """The fit that is to run next, none when all have."""
        return next(iter(FITS[len(self.candidates) :]), None)

    def progress_title(self) -> str:
        fit = "" if self.next_fit is None else tr(FITS_IN_LINE[self.next_fit])
        text = tr("{title}: {fit} ({number} of {count})")
        return text.format(title=self.title, fit=fit, number=len(self.candidates) + 1, count=len(FITS))

    def with_candidate(self, candidate: Candidate) -> Comparison:
        return replace(self, candidates=(*self.candidates, candidate))

    def fits_to(self, case: Case | None) -> bool:
        """Whether a case is still at the state that was compared from."""
        return case is not None and case.current is self.case.current
