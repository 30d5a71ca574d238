from __future__ import annotations

import sys

import pytest
from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from app.__main__ import main
from app.main_window import MainWindow
from engine.case import Case


@pytest.fixture
def close_soon(qapp, monkeypatch):
    """Looks at the window that `main` opened, then closes it."""
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr("app.__main__.signal.signal", lambda *_: None)
    seen = {}
    monkeypatch.setattr("app.__main__.gc.freeze", lambda: seen.update(spared=True))

    def look() -> None:
        window = next((widget for widget in QApplication.topLevelWidgets() if isinstance(widget, MainWindow)), None)
        if window is None or window.worker.busy or window.store.device.startswith("detected"):
            QTimer.singleShot(20, look)
            return
        seen["case"], seen["message"] = window.store.case, window.message.text.text()
        window.close()

    QTimer.singleShot(0, look)
    return seen


def test_window_with_a_case(close_soon, fake_engine, volumes):
    case = Case.new(*volumes)
    assert main([], case=case) == 0
    assert close_soon["case"] is case
    assert close_soon["spared"]


def test_window_offers_unsaved_work(close_soon, fake_engine, volumes, tmp_path, make_step):
    case = Case.new(*volumes)
    case = case.after(case.current.after(make_step("iso")))
    from engine.io.case_folder import save_case

    save_case(case, tmp_path / "data" / "unsaved" / case.id)
    assert main() == 0
    assert "Unsaved work" in close_soon["message"]


def test_a_path_that_is_nothing_is_an_error_in_the_window(close_soon, fake_engine):
    assert main(["/absent/a.mha", "/absent/b.mha"]) == 0
    assert close_soon["case"] is None
