"""`regard export`: a case's registration in one of the formats of `EXPORTERS`."""

from __future__ import annotations

import argparse

from engine.cli.inputs import named, opened_case
from engine.errors import InputError
from engine.io.export import EXPORTERS, export


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.list:
        for name, exporter in EXPORTERS.items():
            print(f"{name:<8} {exporter.suffix:<8} {exporter.description}")
        return
    if not (arguments.case and arguments.format and arguments.out):
        raise InputError("Expected CASE, --format and --out, or --list for the formats.")
    export(named("CASE", lambda: opened_case(arguments.case)), arguments.format, arguments.out)
