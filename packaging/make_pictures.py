"""The pictures of the guide: the whole work in the real window, by mouse and keys, at three sizes (`make pictures`).

    python packaging/make_pictures.py [--out docs/guide] [--sizes 1366x768 1920x1080 3840x2160] [--stages oblique]

Every size has a virtual screen of its own (Xvfb), which the window fills, so that nothing of this machine's screen is
used or photographed; on 3840×2160 everything is drawn twice as large. `walk.py` is what is done; `--stages`
takes the pictures of some of its stages alone and leaves the others as they are.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from picture_names import ALONE

ROOT = Path(__file__).resolve().parents[1]
SCALES = {"1366x768": 1, "1920x1080": 1, "3840x2160": 2}
"""How large everything is drawn on a screen of each size."""

_MISSING = (
    "The pictures are taken on a virtual screen, and xvfb-run was not found. "
    "Install Xvfb; on Debian and Ubuntu: apt-get install xvfb xauth"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "guide")
    parser.add_argument("--sizes", nargs="+", choices=SCALES, default=list(SCALES))
    parser.add_argument("--stages", nargs="+", choices=ALONE, default=[])
    arguments = parser.parse_args()
    if shutil.which("xvfb-run") is None:
        raise SystemExit(_MISSING)
    for size in arguments.sizes:
        status = photograph(arguments.out / size, size, arguments.stages)
        if status:
            raise SystemExit(status)


def photograph(folder: Path, size: str, stages: list[str]) -> int:
    """Walk through the window, or some stages of that, on a screen of one size; the exit status of the walk.

    Threads that wait do not spin: on a machine with other work that costs many times what it gains.
    """
    environment = {
        **os.environ,
        "LANGUAGE": "en",
        "LC_ALL": "C.UTF-8",
        "OMP_WAIT_POLICY": "PASSIVE",
        "QT_QPA_PLATFORM": "xcb",
        "QT_SCALE_FACTOR": str(SCALES[size]),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH", "")))),
    }
    screen = ["xvfb-run", "-a", "-s", f"-screen 0 {size}x24 -nolisten tcp"]
    walk = [sys.executable, str(ROOT / "packaging" / "walk.py"), str(folder), *stages]
    return subprocess.run([*screen, *walk], env=environment, check=False).returncode


if __name__ == "__main__":
    main()
