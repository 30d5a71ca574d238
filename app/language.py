"""Which language the window speaks, and Qt's own texts (buttons, file dialogs, names of keys) with it."""

from __future__ import annotations

import os

from PySide6.QtCore import QLibraryInfo, QLocale, QTranslator
from PySide6.QtWidgets import QApplication

from app.texts import set_language


def wanted_languages() -> list[str]:
    """Those of the variable LANGUAGE (`de` or `de_CH:fr`), or else of the system, the most wanted first."""
    named = [name for name in os.environ.get("LANGUAGE", "").split(":") if name]
    return named or [name.replace("-", "_") for name in QLocale.system().uiLanguages()]


def apply_language(application: QApplication) -> None:
    """Before any widget is made: texts are not asked for again."""
    language = set_language(*wanted_languages())
    translator = QTranslator(application)
    folder = QLibraryInfo.path(QLibraryInfo.LibraryPath.TranslationsPath)
    if language and translator.load(QLocale(language), "qtbase", "_", folder):
        application.installTranslator(translator)
