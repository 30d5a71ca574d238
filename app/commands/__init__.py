"""What the user can ask for. Every command changes the store, or starts work whose end changes it.

`work` runs one job in the foreground. `regions`, `files`, `steps` and `fits` ask it for more and more, each class built
on the one before, since Qt knows the signals of one line of ancestors only; `Commands` is the last of them.
"""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

import engine
from app.agreement import Agreement
from app.commands.files import RESULTS, Role
from app.commands.fits import Fits
from app.store import Store
from app.worker import Worker, job_of
from engine.case import Case
from engine.errors import InputError
from engine.volume import Volume

__all__ = ["RESULTS", "Commands", "Role"]


class Commands(Fits):
    """The link between actions, store and worker."""

    branch_changed = Signal(int)
    models_known = Signal(dict)
    unlike_training = Signal(tuple)

    def __init__(self, store: Store, worker: Worker, parent: QObject | None = None) -> None:
        super().__init__(store, worker, parent)
        self.agreement = Agreement(store, worker, self)
        self.agreement.failed.connect(self.failed)
        self._compared: tuple[str, Volume, Volume] | None = None
        for signal in (store.case_changed, store.settings_changed):
            signal.connect(self._compare_with_training)

    def find_device(self) -> None:
        """Load the heavy libraries in the background and say what will compute."""
        task = self.worker.submit(job_of(_device_and_models))
        task.succeeded.connect(self._take_device)
        task.failed.connect(self.failed)

    def undo(self) -> None:
        self._go(Case.undone, self.store.case is not None and self.store.case.can_undo)

    def redo(self) -> None:
        self._go(Case.redone, self.store.case is not None and self.store.case.can_redo)

    def go_to(self, index: int) -> None:
        self._go(lambda case: case.gone_to(index), self.store.case is not None and index != self.store.case.cursor)

    def delete_branch(self, case_id: str, gone: tuple[int, ...]) -> None:
        """Delete a state of the case that was asked about, with all that began from it, and keep the rest on disk.

        `gone`: their numbers when it was asked, the state first. Where they are others by now, nothing goes.
        """
        case = self.store.case
        if case is None or case.id != case_id or not self._is_free():
            return
        if gone[0] not in case.line() and case.branch(gone[0]) != gone:
            self.branch_changed.emit(gone[0])
            return
        try:
            self.store.drop_branch(gone[0])
        except InputError as error:
            self.failed.emit(error)
        else:
            self.autosave.write()

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


def _device_and_models() -> tuple[str, dict[str, str]]:
    models = {name: row.description for name, row in engine.MODELS.items()}
    return engine.device_name(), models
