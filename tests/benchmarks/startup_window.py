"""How long the window takes from the start of the process to its first picture."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RUNS = 5
LIMIT_S = 2.0
_PROGRAM = """
import sys
from PySide6.QtWidgets import QApplication
application = QApplication(["regard"])
from app import theme
from app.main_window import MainWindow
theme.apply_theme(application, "dark")
window = MainWindow()
window.show()
application.processEvents()
window.repaint()
heavy = [name for name in ("torch", "monai", "SimpleITK", "scipy") if name in sys.modules]
print("heavy:", *heavy, flush=True)
window.worker.shut_down()
"""


def start_s() -> tuple[float, str]:
    """Seconds until the window is painted, and which heavy libraries were imported by then."""
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen", "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM], env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        return time.perf_counter() - start, line.strip()


def main() -> int:
    results = [start_s() for _ in range(RUNS)]
    seconds = sorted(value for value, _ in results)
    print(f"first start {results[0][0]:.2f} s, median {seconds[RUNS // 2]:.2f} s; {results[-1][1] or 'heavy: none'}")
    return int(seconds[RUNS // 2] > LIMIT_S)


if __name__ == "__main__":
    sys.exit(main())
