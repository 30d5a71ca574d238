"""Run pytest in an interpreter that cannot import Qt: `python packaging/run_without_qt.py tests/engine`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from types import ModuleType

import pytest

BLOCKED = {"PySide6", "shiboken6", "pyqtgraph", "qtawesome", "qtpy"}


class _NoQt(MetaPathFinder):
    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> None:
        if fullname.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"{fullname} is not available in this run", name=fullname)


class _QtOption:
    """Knows pytest-qt's option in pyproject.toml while that plugin is off."""

    @staticmethod
    def pytest_addoption(parser: pytest.Parser) -> None:
        parser.addini("qt_api", "not used without Qt")


def main() -> int:
    loaded = BLOCKED & sys.modules.keys()
    if loaded:
        raise SystemExit(f"already imported: {', '.join(sorted(loaded))}")
    sys.meta_path.insert(0, _NoQt())
    return pytest.main(["-p", "no:pytest-qt", *sys.argv[1:]], plugins=[_QtOption()])


if __name__ == "__main__":
    sys.exit(main())
