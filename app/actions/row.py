"""A row of the table of actions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.actions.conditions import always
from app.store import Store
from app.texts import tr

if TYPE_CHECKING:
    from app.main_window import MainWindow


Do = Callable[["MainWindow"], object]
Test = Callable[[Store], bool]


@dataclass(frozen=True, slots=True)
class Row:
    """One action. `checked` makes it a switch; `held`: one that is off again when its key was held and let go.

    `text` and `tooltip` are shown translated, the tooltip with `numbers` in its braces.
    """

    name: str
    menu: str
    text: str
    key: str
    tooltip: str
    slot: Do
    enabled: Test = always
    checked: Test | None = None
    held: bool = False
    numbers: tuple[float, ...] = ()

    def shown_tooltip(self) -> str:
        return tr(self.tooltip).format(*self.numbers)


def toggle(window: MainWindow, name: str) -> None:
    window.store.change_view(**{name: not getattr(window.store.view, name)})
