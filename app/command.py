"""The `regard` command: a window, or the engine's command line."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from engine import cli


def main() -> int:
    """Without a command, and for a demo where there is a display, the window; Qt loads only then."""
    arguments = sys.argv[1:]
    if not arguments:
        from app.__main__ import main as open_window

        return open_window()
    if arguments[0] == "demo" and "--headless" not in arguments and has_display():
        return _demo_in_window(arguments)
    return _leave(cli.main(arguments))


def _leave(status: int) -> NoReturn:
    """End the process at once: taking torch down in good order takes half a second, and nothing is left to do."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def has_display() -> bool:
    """Whether a window can appear."""
    return sys.platform in ("win32", "darwin") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _demo_in_window(arguments: list[str]) -> int:
    from app.__main__ import main as open_window
    from engine.cli.demo import DEFAULT_FOLDER
    from engine.cli.inputs import opened_case
    from engine.cli.parser import build_parser

    status = cli.main(arguments)
    if status != 0:
        return status
    folder = build_parser().parse_args(arguments).out or DEFAULT_FOLDER
    return open_window(case=opened_case(folder))


if __name__ == "__main__":
    sys.exit(main())
