"""`regard demo`: the built-in case through the whole work, with the target error after every step."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from scipy.ndimage import binary_erosion

from engine.case import Case
from engine.cli.inputs import runtime_of
from engine.cli.register import write_case_results
from engine.cli.steps import run_and_tell
from engine.io.atomic import refuse_occupied
from engine.metrics import target_registration_error
from engine.phantom.thorax import PhantomPair, thorax_pair
from engine.pictures import write_sheet
from engine.preprocess import body_of
from engine.roi import Box
from engine.runtime import Runtime
from engine.session import AlignSettings, GeneralSettings, IsoSettings, RsoSettings, Settings, warped_hu
from engine.volume import PADDING_HU
from engine.worst_region import worst_box

DEFAULT_FOLDER = "regard-demo"
_BOX_ZYX = (40, 48, 48)
_SKIN_VOX = 12
_ISO_ITERATIONS = 100
_RSO_ITERATIONS = 100


def run(arguments: argparse.Namespace) -> None:
    """Run the command without a window."""
    folder = arguments.out or DEFAULT_FOLDER
    refuse_occupied(folder, arguments.force)
    case = run_demo(runtime_of(arguments))
    write_case_results(case, folder, runtime_of(arguments), arguments.force)
    write_pictures(case, Path(folder) / "pictures")
    print(f"results and pictures in {folder}")


def run_demo(runtime: Runtime) -> Case:
    """The phantom after align, general, ISO and one box, each step told with its target error."""
    pair = thorax_pair()
    case = Case.new(pair.fixed, pair.moving)
    print(f"start     {_target_error(case, pair)}")
    for settings in (AlignSettings(), GeneralSettings(), IsoSettings(_ISO_ITERATIONS)):
        case = _told(case, settings, runtime, pair)
    return _told(case, RsoSettings(suggested_box(case), _RSO_ITERATIONS), runtime, pair)


def suggested_box(case: Case) -> Box:
    """The box where the images still differ most, well inside the body: the skin has no landmarks."""
    warped = warped_hu(case)
    inner = binary_erosion(body_of(case.fixed), iterations=_SKIN_VOX)
    return worst_box(case.fixed.hu, warped, inner & case.fixed.valid & (warped > PADDING_HU), _BOX_ZYX)


def write_pictures(case: Case, folder: Path) -> None:
    """A sheet for every step, through the box of the last one."""
    folder.mkdir(exist_ok=True)
    box = case.current.steps[-1].box
    for number, name in enumerate(_names(case), start=1):
        state = case.states[number]
        write_sheet(case, warped_hu(case, state), folder / f"{number} {name}.png", box)


def _names(case: Case) -> Iterator[str]:
    return (state.steps[-1].name for state in case.states if state.steps)


def _told(case: Case, settings: Settings, runtime: Runtime, pair: PhantomPair) -> Case:
    after = run_and_tell(case, settings, runtime)
    print(f"          {_target_error(after, pair)}", flush=True)
    return after


def _target_error(case: Case, pair: PhantomPair) -> str:
    mapped = case.current.map_points(pair.fixed_points_mm)
    error = target_registration_error(mapped, pair.moving_points_mm)
    return f"target error mean {error.mean:.2f} mm, median {error.median:.2f} mm, {error.count} landmarks"
