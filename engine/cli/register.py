"""`regard register`: align, general model, ISO, boxes; results into a folder."""

from __future__ import annotations

import argparse
from functools import partial

from engine import __version__
from engine.case import Case
from engine.cli.inputs import named, read_case, read_guidance, runtime_of
from engine.cli.steps import run_and_tell
from engine.errors import InputError
from engine.io.atomic import refuse_occupied
from engine.io.results import write_results
from engine.roi import Box
from engine.runtime import Runtime
from engine.session import AlignSettings, GeneralSettings, IsoSettings, RsoSettings, Settings, warped_hu


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    runtime = runtime_of(arguments)
    boxes = [named("--box", partial(Box.parse, text)) for text in arguments.box]
    steps = planned_steps(arguments, boxes)
    refuse_occupied(arguments.out, arguments.force)
    case = read_case(arguments.fixed, arguments.moving)
    case = case.guided(read_guidance(arguments, case.fixed.geometry, case.moving.geometry))
    for box in boxes:
        named("--box", partial(box.checked, case.fixed.geometry.shape_zyx))
    for settings in steps:
        case = run_and_tell(case, settings, runtime)
    write_case_results(case, arguments.out, runtime, arguments.force)
    print(f"results in {arguments.out}")


def planned_steps(arguments: argparse.Namespace, boxes: list[Box]) -> list[Settings]:
    """The steps that the arguments ask for, in order; an `InputError` where their values are off."""
    if arguments.iso < 0:
        raise InputError(f"--iso: expected zero or more iterations, got {arguments.iso}.")
    how = {name: getattr(arguments, name) for name in ("by", "similarity", "weight", "fit")}
    by_hand = arguments.align_by
    steps: list[Settings] = [AlignSettings("manual", tuple(by_hand)) if by_hand else AlignSettings(arguments.align)]
    if arguments.model != "none":
        steps.append(GeneralSettings(arguments.model))
    if arguments.iso:
        steps.append(IsoSettings(arguments.iso, **how))
    steps.extend(RsoSettings(box, arguments.rso, scope=arguments.rso_scope, **how) for box in boxes)
    return steps


def write_case_results(case: Case, folder: str, runtime: Runtime, force: bool) -> None:
    """The folder of results, with what it was computed on."""
    info = {
        "regard": __version__,
        "device": runtime.torch_device().type,
        "seed": runtime.seed,
        "threads": runtime.thread_count,
    }
    write_results(case, folder, info, warped_hu(case), force)
