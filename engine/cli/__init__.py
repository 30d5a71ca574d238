"""The command line: everything that the window does, without a window."""

from __future__ import annotations

import sys
import traceback

from engine.cli.parser import build_parser
from engine.errors import RegardError


def main(argv: list[str]) -> int:
    """Run one command; the exit status: 0 done, 1 could not be done, 2 wrong usage (from argparse), 130 interrupted."""
    arguments = build_parser().parse_args(argv)
    try:
        arguments.run(arguments)
    except KeyboardInterrupt:
        return _failed("interrupted; nothing was written", 130)
    except RegardError as error:
        if arguments.verbose:
            traceback.print_exc()
        return _failed(str(error), 1)
    except Exception as error:  # noqa: BLE001  the last place before the user's terminal
        if arguments.verbose:
            traceback.print_exc()
        return _failed(f"unexpected {type(error).__name__}; run again with --verbose and report what it prints", 1)
    return 0


def _failed(message: str, status: int) -> int:
    print(f"regard: {' '.join(message.split())}", file=sys.stderr)
    return status
