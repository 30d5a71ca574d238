"""The same refinement with every fit, and the one of them that the user takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from PySide6.QtCore import Signal

import engine
from app.commands.steps import Steps, iso_settings, rso_settings
from app.fits import FITS_IN_LINE, Candidate, Comparison
from app.texts import tr
from engine.progress import Job


class Fits(Steps):
    """Runs what is to be compared; nothing is kept before one is taken."""

    compared = Signal(object)

    def compare_image_fits(self) -> None:
        """Refine the image with every fit and keep none until one is taken."""
        settings, title = self.store.settings, tr("Compare fits")
        if self._paired_case() is not None:
            self._with_masks(
                title,
                lambda: self._compare_fits(Comparison(self.store.case, title), lambda fit: iso_settings(settings, fit)),
            )

    def compare_region_fits(self) -> None:
        """Refine the selected region with every fit and keep none until one is taken."""
        settings, case, named = self.store.settings, self._paired_case(), self._region()
        if case is not None and named is not None:
            title = tr("Compare fits, {region}").format(region=named.name)
            self._with_masks(
                title,
                lambda: self._compare_fits(
                    Comparison(self.store.case, title, named.box), lambda fit: rso_settings(settings, named.box, fit)
                ),
            )

    def take(self, comparison: Comparison, candidate: Candidate) -> None:
        """Make one of the compared results the next state of the case."""
        if not self._is_free():
            return
        if not comparison.fits_to(self.store.case):
            self.told.emit(tr("Go back to the state that was compared, then take the result."))
            return
        self.display.remember(candidate.registration, candidate.warped_hu)
        title = tr("Fit '{fit}'").format(fit=tr(FITS_IN_LINE[candidate.fit]))
        self._take_on(title, candidate.registration)

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
