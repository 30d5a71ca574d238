"""Colours of the window: Qt's Fusion style with a palette of our own, dark or light."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from PySide6.QtCore import QTimer
from PySide6.QtGui import QColor, QPalette
from PySide6.QtWidgets import QApplication, QWidget

ThemeName = Literal["dark", "light"]


@dataclass(frozen=True, slots=True)
class Theme:
    """The colours that everything else is mixed from. `good`, `warn`, `bad` are told apart by the colour-blind too."""

    window: str
    base: str
    raised: str
    text: str
    dim: str
    accent: str
    on_accent: str
    link: str
    line: str
    good: str
    warn: str
    bad: str


THEMES: dict[ThemeName, Theme] = {
    "dark": Theme(
        window="#20242a", base="#181b20", raised="#2c323a", text="#dfe3e8", dim="#97a1ad", accent="#3075c2",
        on_accent="#ffffff", link="#6fa8e8", line="#3a414b", good="#5cc8a8", warn="#ffb000", bad="#ff7a59",
    ),
    "light": Theme(
        window="#eef0f3", base="#ffffff", raised="#f8f9fb", text="#1c232b", dim="#5a6572", accent="#1f66b5",
        on_accent="#ffffff", link="#1f66b5", line="#c5cbd3", good="#0b7a5c", warn="#926000", bad="#b93a16",
    ),
}  # fmt: skip

_current: ThemeName = "dark"


def current() -> Theme:
    return THEMES[_current]


def current_name() -> ThemeName:
    return _current


def apply_theme(application: QApplication, name: ThemeName) -> None:
    """Dress the whole application."""
    _undress(application, name)
    _dress(application)


def change_theme(main_window: QWidget, name: ThemeName, then: Callable[[], object]) -> None:
    """Dress the application anew in two turns of the event loop, each half as long; nothing is painted between them."""
    application = QApplication.instance()
    for window in application.topLevelWidgets():
        window.setUpdatesEnabled(False)
    _undress(application, name)

    def finish() -> None:
        _dress(application)
        then()
        for window in application.topLevelWidgets():
            window.setUpdatesEnabled(True)

    QTimer.singleShot(0, main_window, finish)


def _undress(application: QApplication, name: ThemeName) -> None:
    """Without a sheet, since a change from one to another takes Qt three times as long."""
    global _current
    _current = name
    if not application.styleSheet():
        application.setStyle("Fusion")
    application.setStyleSheet("")
    application.setPalette(_palette(THEMES[name]))


def _dress(application: QApplication) -> None:
    if not application.styleSheet():
        application.setStyleSheet(_style(current()))


def _palette(theme: Theme) -> QPalette:
    roles = {
        QPalette.ColorRole.Window: theme.window,
        QPalette.ColorRole.WindowText: theme.text,
        QPalette.ColorRole.Base: theme.base,
        QPalette.ColorRole.AlternateBase: theme.raised,
        QPalette.ColorRole.Text: theme.text,
        QPalette.ColorRole.PlaceholderText: theme.dim,
        QPalette.ColorRole.Button: theme.raised,
        QPalette.ColorRole.ButtonText: theme.text,
        QPalette.ColorRole.ToolTipBase: theme.raised,
        QPalette.ColorRole.ToolTipText: theme.text,
        QPalette.ColorRole.Highlight: theme.accent,
        QPalette.ColorRole.HighlightedText: theme.on_accent,
        QPalette.ColorRole.Link: theme.link,
        QPalette.ColorRole.Mid: theme.line,
    }
    palette = QPalette()
    for role, color in roles.items():
        palette.setColor(role, QColor(color))
    for role in (QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText, QPalette.ColorRole.WindowText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(theme.dim).darker(130 if theme.text > "#8" else 80))
    return palette


def _style(theme: Theme) -> str:
    return f"""
    QToolTip {{ color: {theme.text}; background: {theme.raised}; border: 1px solid {theme.line}; padding: 3px; }}
    QMenu {{ border: 1px solid {theme.line}; }}
    QLabel[role="dim"] {{ color: {theme.dim}; }}
    QLabel[role="heading"] {{ font-weight: 600; }}
    QLabel[role="good"] {{ color: {theme.good}; }}
    QLabel[role="warn"] {{ color: {theme.warn}; }}
    QLabel[role="bad"] {{ color: {theme.bad}; }}
    QFrame[role="section"] {{ background: {theme.raised}; border: 1px solid {theme.line}; border-radius: 5px; }}
    QFrame[role="section"][status="next"] {{ border: 1px solid {theme.accent}; }}
    QFrame[role="message"] {{ background: {theme.raised}; border: 1px solid {theme.accent}; border-radius: 4px; }}
    QFrame[role="problem"] {{ background: {theme.raised}; border: 1px solid {theme.bad}; border-left-width: 4px;
        border-radius: 4px; }}
    QPushButton[role="next"] {{ background: {theme.accent}; color: {theme.on_accent}; font-weight: 600;
        border: none; border-radius: 4px; padding: 5px 10px; }}
    QPushButton[role="next"]:disabled {{ background: {theme.line}; color: {theme.dim}; }}
    QPushButton[role="next"]:focus {{ border: 1px solid {theme.text}; }}
    QFrame[role="gap"] {{ border: none; border-left: 1px solid {theme.line}; margin-left: 4px; }}
    QToolButton:checked {{ background: {theme.accent}; color: {theme.on_accent}; border: none; border-radius: 3px;
        padding: 3px 5px; }}
    QHeaderView::section {{ background: {theme.raised}; color: {theme.dim}; border: none; padding: 3px 6px; }}
    QListWidget, QTableWidget {{ border: 1px solid {theme.line}; border-radius: 3px; }}
    QRadioButton::indicator {{ width: 11px; height: 11px; border: 1px solid {theme.dim}; border-radius: 6px;
        background: {theme.base}; }}
    QRadioButton::indicator:checked {{ background: {theme.accent}; border-color: {theme.text}; }}
    QSplitter::handle {{ background: {theme.line}; }}
    """
