"""What the window remembers from one day to the next."""

from __future__ import annotations

from dataclasses import asdict, fields, replace
from pathlib import Path

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QMainWindow, QSplitter

from app.store import RunSettings
from app.theme import ThemeName
from app.viewer.overlays import OVERLAYS
from app.viewer.overlays.displacement import QUANTITIES
from app.viewer.view_state import IMAGES, LAYOUTS, PLANES, WINDOWS, ViewState

_MOST_RECENT = 8
_SWITCHES = ("signed_colors", "along_patient")


def stored() -> QSettings:
    return QSettings("Regard", "Regard")


def load_theme() -> ThemeName:
    return "light" if stored().value("theme") == "light" else "dark"


def save_theme(name: ThemeName) -> None:
    stored().setValue("theme", name)


def load_run_settings() -> RunSettings:
    """The settings of the last run; whatever cannot be read is the default."""
    values = stored()
    known = {field.name: values.value(f"run/{field.name}") for field in fields(RunSettings)}
    default = RunSettings()
    kept = {name: _like(getattr(default, name), value) for name, value in known.items() if value is not None}
    return RunSettings(**kept)


def save_run_settings(settings: RunSettings) -> None:
    values = stored()
    for name, value in asdict(settings).items():
        values.setValue(f"run/{name}", value)


def tour_was_offered() -> bool:
    return str(stored().value("tour/offered", "")) == "yes"


def remember_tour_offer() -> None:
    stored().setValue("tour/offered", "yes")


def last_folder() -> Path:
    """Where the last file dialog was."""
    folder = Path(str(stored().value("folder", str(Path.home()))))
    return folder if folder.is_dir() else Path.home()


def remember_folder(path: Path) -> None:
    stored().setValue("folder", str(path if path.is_dir() else path.parent))


def recent_cases() -> list[Path]:
    """The folders of cases opened or saved last, the newest first, without those that are gone."""
    return [folder for folder in _remembered_cases() if (folder / "case.json").is_file()][:_MOST_RECENT]


def remember_case(folder: Path) -> bool:
    """Put a case first; whether that changed anything."""
    known, folder = _remembered_cases(), folder.resolve()
    kept = [folder, *(other for other in known if other != folder)][: 2 * _MOST_RECENT]
    if kept != known:
        stored().setValue("recent", [str(path) for path in kept])
    return kept != known


def _remembered_cases() -> list[Path]:
    """One entry comes back from some stores as a text instead of a list."""
    values = stored().value("recent") or []
    return [Path(str(value)) for value in ([values] if isinstance(values, str) else values)]


def save_window(window: QMainWindow, splitters: dict[str, QSplitter]) -> None:
    values = stored()
    values.setValue("window/geometry", window.saveGeometry())
    for name, splitter in splitters.items():
        values.setValue(f"window/{name}", splitter.saveState())


def restore_window(window: QMainWindow, splitters: dict[str, QSplitter]) -> None:
    values = stored()
    if values.contains("window/geometry"):
        window.restoreGeometry(values.value("window/geometry"))
    for name, splitter in splitters.items():
        if values.contains(f"window/{name}"):
            splitter.restoreState(values.value(f"window/{name}"))


def save_view(view: ViewState) -> None:
    """How images are arranged and windowed and what is drawn over them; where the cursor is belongs to the case."""
    values = stored()
    values.setValue("view/layout", view.enlarged_from if view.layout == "single" else view.layout)
    values.setValue("view/overlays", ",".join(sorted(view.overlays)))
    for name in ("plane", "image", "quantity"):
        values.setValue(f"view/{name}", getattr(view, name))
    for name in _SWITCHES:
        values.setValue(f"view/{name}", int(getattr(view, name)))
    for name, window_hu in WINDOWS.items():
        if window_hu == view.window_hu:
            values.setValue("view/window", name)


def load_view() -> ViewState:
    """The view of the last time; whatever cannot be read is the default."""
    values, default = stored(), ViewState()
    known = {"layout": LAYOUTS, "plane": PLANES, "image": IMAGES, "quantity": QUANTITIES}
    chosen = {name: str(values.value(f"view/{name}")) for name in known}
    kept = {name: value for name, value in chosen.items() if value in known[name]}
    overlays = values.value("view/overlays")
    shown = default.overlays if overlays is None else frozenset(str(overlays).split(",")) & OVERLAYS.keys()
    switches = {name: str(values.value(f"view/{name}")) == "1" for name in _SWITCHES}
    window_hu = WINDOWS.get(str(values.value("view/window")), default.window_hu)
    return replace(default, **kept, overlays=shown, window_hu=window_hu, **switches)


def _like(default: str | int, value: object) -> str | int:
    try:
        return type(default)(value)
    except (TypeError, ValueError):
        return default
