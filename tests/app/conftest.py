"""The window is tested without a display, on a small asymmetric phantom, with its settings in a temporary folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import numpy as np
import pytest
from PySide6.QtCore import QCoreApplication, QEvent, QSettings
from PySide6.QtWidgets import QApplication

import engine
from app import theme
from app.main_window import MainWindow
from app.store import Store
from app.viewer.pictures import Pictures
from engine.case import Case
from engine.geometry import Geometry
from engine.progress import STOP, Command, Preview, Progress
from engine.registration import Certificate, Registration, Step
from engine.roi import Box
from engine.shapes import HuArray
from engine.volume import Volume
from tests.app.driving import wait_pictures

SHAPE_ZYX = (12, 20, 26)
SPACING_XYZ_MM = (2.0, 3.0, 5.0)
FAKED = (
    "run_step",
    "warped_hu",
    "proposed_boxes",
    "device_name",
    "Runtime",
    "AlignSettings",
    "GeneralSettings",
    "IsoSettings",
    "RsoSettings",
    "RevertSettings",
    "MODELS",
)
_ENDLESS = 1_000_000
_STRENGTH = MappingProxyType({"closer": 2.0, "smoother": 0.5})


def step(name: str, iterations: int = 1, box: Box | None = None) -> Step:
    certificate = Certificate(0.0, 0, 0.01, False, True) if box else None
    errors = {"box_rmse_hu_before": 90.0, "box_rmse_hu_after": 60.0} if box else {}
    return Step(name, {}, iterations, 0.5, 100.0, 0.0, 0.7, 0.02, box, certificate=certificate, **errors)


class FakeEngine:
    """Stands in for `engine` by attribute."""

    Runtime = AlignSettings = GeneralSettings = IsoSettings = RsoSettings = RevertSettings = SimpleNamespace
    MODELS = MappingProxyType(
        {"general": SimpleNamespace(description="matching pyramid"), "other": SimpleNamespace(description="")}
    )

    def __init__(self) -> None:
        self.error: BaseException | None = None
        self.asked: list[Any] = []
        self.endless = False
        self.proposals: tuple[SimpleNamespace, ...] = ()
        self.closed = 0

    def device_name(self, device: str = "auto") -> str:
        return "CPU, 1 thread"

    def warped_hu(self, case: Case, registration: Registration | None = None) -> HuArray:
        registration = registration or case.current
        return (case.moving.hu + np.float32(registration.displacement_vox[0, 0, 0, 0])).astype(np.float32)

    def proposed_boxes(self, case: Case, runtime: Any = None) -> Generator[Progress, Command | None, Any]:
        total = _ENDLESS if self.endless else 2
        try:
            for done in range(total):
                yield Progress("regions", done, total)
                time.sleep(0.001)
        finally:
            self.closed += 1
        if self.error is not None:
            raise self.error
        return SimpleNamespace(proposals=self.proposals)

    def run_step(
        self, case: Case, settings: Any, runtime: Any = None, preview: bool = False, watched: Box | None = None
    ) -> Generator[Progress, Command | None, Registration]:
        self.asked.append(settings)
        if self.error is not None:
            raise self.error
        name = _name(settings, case)
        total = _ENDLESS if self.endless else 3
        shown = previewed(case)
        done = 0
        try:
            while done < total:
                done += 1
                errors_hu = 200.0 - done, 150.0 - done
                drawn = replace(shown, iteration=done) if preview else None
                command = yield Progress(name, done, total, *errors_hu, drawn, best=done == 2)
                if command is STOP:
                    break
                time.sleep(0.001)
        finally:
            self.closed += 1
        displacement = case.current.displacement_vox.copy()
        displacement[0] += _STRENGTH.get(getattr(settings, "fit", None), 1)
        return case.current.after(step(name, done, getattr(settings, "box", None)), displacement_vox=displacement)


def previewed(case: Case, box: Box | None = None, hu: float = 0.0, iteration: int = 1) -> Preview:
    """Of the whole image or a box: one value, and tissue that comes from one voxel on along every axis."""
    geometry = case.fixed.geometry
    region = box or Box.whole(geometry.shape_zyx)
    displacement = np.ones((3, *region.shape_zyx), np.float32)
    image_hu = np.full(region.shape_zyx, hu, np.float32)
    return Preview(region, image_hu, displacement, geometry.cropped(region), iteration)


def _name(settings: Any, case: Case) -> str:
    if hasattr(settings, "method"):
        return "align"
    if hasattr(settings, "model"):
        return "general"
    if hasattr(settings, "to"):
        return "revert"
    if hasattr(settings, "box"):
        return f"rso {1 + sum(s.name.startswith('rso') for s in case.current.steps)}"
    return "iso"


@pytest.fixture(autouse=True)
def no_leaks(qapp: QApplication) -> Iterator[None]:
    """A test that leaves a top-level widget behind fails."""
    before = set(qapp.topLevelWidgets())
    yield
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    left = [widget for widget in qapp.topLevelWidgets() if widget not in before]
    names = [
        f"{type(widget).__name__} {widget.windowTitle()!r} {widget.title() if hasattr(widget, 'title') else ''}"
        for widget in left
    ]
    for widget in left:
        widget.deleteLater()
    QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete)
    assert not names, f"left behind: {names}"


@pytest.fixture(autouse=True)
def own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's settings is read or written, nor is its language spoken."""
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))
    monkeypatch.setattr(
        "app.settings.stored", lambda: QSettings(str(tmp_path / "regard.ini"), QSettings.Format.IniFormat)
    )
    monkeypatch.setenv("LANGUAGE", "en")
    monkeypatch.setattr("app.autosave.user_data_path", lambda *_, **__: tmp_path / "data")


@pytest.fixture
def geometry() -> Geometry:
    """Unequal extents and spacings, centre off the origin."""
    return Geometry(SHAPE_ZYX, SPACING_XYZ_MM, (-10.0, 25.0, 40.0))


@pytest.fixture
def volumes(geometry: Geometry) -> tuple[Volume, Volume]:
    """Two images whose every voxel is different, the first with an invalid corner."""
    ramp = np.arange(np.prod(SHAPE_ZYX), dtype=np.float32).reshape(SHAPE_ZYX) / 10
    valid = np.ones(SHAPE_ZYX, dtype=bool)
    valid[:, :4, :4] = False
    return Volume(ramp - 500, geometry, valid), Volume(ramp[:, :, ::-1] - 400, geometry, np.ones(SHAPE_ZYX, dtype=bool))


@pytest.fixture
def pictures(volumes: tuple[Volume, Volume], geometry: Geometry) -> Pictures:
    fixed, moving = volumes
    displacement = np.zeros((3, *SHAPE_ZYX), dtype=np.float32)
    return Pictures(geometry, fixed.hu, fixed.valid, moving.hu, moving.hu + 30, displacement, version=1)


@pytest.fixture
def store(qapp: QApplication) -> Iterator[Store]:
    store = Store()
    yield store
    store.deleteLater()


@pytest.fixture
def fake_engine(monkeypatch: pytest.MonkeyPatch) -> FakeEngine:
    """Steps that take no time and do what the test says."""
    fake = FakeEngine()
    for name in FAKED:
        monkeypatch.setattr(engine, name, getattr(fake, name), raising=False)
    return fake


@pytest.fixture
def window(qapp: QApplication, qtbot) -> Iterator[MainWindow]:
    """A shown window that ends like the real one."""
    theme.apply_theme(qapp, "dark")
    window = MainWindow()
    window.resize(1366, 768)
    window.show()
    qtbot.waitExposed(window)
    yield window
    if window.isVisible():
        window.close()
        qtbot.waitUntil(lambda: not window.isVisible(), timeout=20_000)
    if window.dialog is not None:
        window.dialog.close()
    window.deleteLater()


@pytest.fixture
def opened(window: MainWindow, fake_engine: FakeEngine, volumes: tuple[Volume, Volume], qtbot) -> MainWindow:
    """A window with the pair open and drawn."""
    window.store.set_images(*volumes)
    wait_pictures(window, qtbot)
    return window


@pytest.fixture
def make_step() -> Callable[..., Step]:
    return step
