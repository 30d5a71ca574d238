"""`regard revert`: one box of a case back to an earlier state; results into a folder."""

from __future__ import annotations

import argparse
from functools import partial

from engine.cli.inputs import named, opened_case, runtime_of
from engine.cli.register import write_case_results
from engine.cli.steps import run_and_tell
from engine.io.atomic import refuse_occupied
from engine.roi import Box
from engine.session import RevertSettings


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    runtime = runtime_of(arguments)
    box = named("--box", partial(Box.parse, arguments.box))
    refuse_occupied(arguments.out, arguments.force)
    case = named("CASE", lambda: opened_case(arguments.case))
    named("--box", partial(box.checked, case.fixed.geometry.shape_zyx))
    case = run_and_tell(case, RevertSettings(box, arguments.to), runtime)
    write_case_results(case, arguments.out, runtime, arguments.force)
    print(f"results in {arguments.out}")
