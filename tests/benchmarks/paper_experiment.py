"""The experiment of Bai et al. 2022 on phantoms with the streaks of 40 projections, by network throughout.

    python tests/benchmarks/paper_experiment.py [--cases 1] [--iso 100] [--rso 400] [--threads 2] [--out DIR]

From general: ISO of all iterations (500) beside ISO of 100 and RSO of 400, for the box that the error map proposes
after the 100, on the whole image (the paper's variant) and on the box alone. Writes paper-experiment.md, and for every
phantom the curves (the paper's figures 2 and 3) and slices through the box after each way. A phantom takes about half
an hour on two idle cores. How fast the ways are is measured by regions.py.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from phantoms import RESULTS, SIZE_XYZ, phantom_cases, true_error_mm
from regions import left_out_mm

from engine.case import Case
from engine.cli.benchmark import machine, markdown_table
from engine.error_map import proposed_boxes
from engine.guidance import Guidance
from engine.io.atomic import whole_file
from engine.metrics import rmse_hu, target_registration_error
from engine.optimize.guide import points_in
from engine.phantom.thorax import PhantomPair
from engine.pictures import write_sheet
from engine.preprocess import body_of
from engine.progress import Progress, finish
from engine.roi import Box
from engine.runtime import Runtime
from engine.session import (
    AlignSettings,
    GeneralSettings,
    IsoSettings,
    RsoSettings,
    Settings,
    run_step,
    warped_hu,
)
from engine.volume import PADDING_HU

_HEADINGS = (
    *("phantom", "way", "RMSE HU", "box HU", "box mm", "landmarks in it mm", "change outside mm", "left out mm"),
    "folding %",
)


_COLORS = ("#000000", "#0072b2", "#d55e00", "#009e73")
"""Of the ways with curves, in their order; told apart by the colour-blind too (Okabe and Ito)."""


@dataclass(frozen=True, slots=True)
class Way:
    """One way after general: its case at the end, and the errors (iteration, HU) of image and box."""

    name: str
    case: Case
    whole: list[tuple[int, float]]
    box: list[tuple[int, float]]


def main() -> None:
    """Run the phantoms; the table is whole after each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=1)
    parser.add_argument("--size", type=int, nargs=3, default=SIZE_XYZ, metavar=("X", "Y", "Z"))
    parser.add_argument("--iso", type=int, default=100)
    parser.add_argument("--rso", type=int, default=400)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    runtime = Runtime("cpu", threads=arguments.threads)
    rows: list[list[str]] = []
    for phantom in phantom_cases(arguments.cases, tuple(arguments.size)):
        pair = phantom.make()
        box, ways = experiment(pair, runtime, arguments.iso, arguments.rso)
        folder = arguments.out / "paper-experiment" / str(phantom.seed)
        folder.mkdir(parents=True, exist_ok=True)
        _draw(ways, folder / "curves.png")
        for way in ways:
            sheet = f"{way.name.lower().replace(',', '').replace(' ', '-')}.png"
            write_sheet(way.case, warped_hu(way.case), folder / sheet, box)
            rows.append([phantom.name, way.name, *_cells(way, pair, box)])
            print(*rows[-1], sep="  ", flush=True)
        note = f"`python tests/benchmarks/paper_experiment.py`: {machine(runtime)}, {date.today().isoformat()}."
        with whole_file(arguments.out / "paper-experiment.md") as temporary:
            text = f"# ISO of all iterations beside ISO and RSO\n\n{note}\n\n{markdown_table(_HEADINGS, rows)}"
            temporary.write_text(text, encoding="utf-8")


def experiment(pair: PhantomPair, runtime: Runtime, iso: int, rso: int) -> tuple[Box, list[Way]]:
    """The box and the ways: general alone, ISO of some and of all iterations, RSO after the some by both scopes."""
    case = Case.new(pair.fixed, pair.moving)
    for settings in (AlignSettings(), GeneralSettings()):
        case = case.after(finish(run_step(case, settings, runtime)))
    first = _way(f"ISO {iso}", case, IsoSettings(iso, "network"), runtime, None)
    proposals = finish(proposed_boxes(first.case, runtime)).proposals
    box = next((proposal.box for proposal in proposals if proposal.has_structure), proposals[0].box)
    ways = [
        Way("general", case, [], []),
        first,
        _way(f"ISO {iso + rso}", case, IsoSettings(iso + rso, "network"), runtime, box),
        _way(f"ISO {iso}, RSO {rso} of the whole image", first.case, _rso(box, rso, "image"), runtime, box),
        _way(f"ISO {iso}, RSO {rso} of the box", first.case, _rso(box, rso, "crop"), runtime, box),
    ]
    return box, ways


def _rso(box: Box, iterations: int, scope: str) -> RsoSettings:
    return RsoSettings(box, iterations, "network", scope)


def _way(name: str, start: Case, settings: Settings, runtime: Runtime, box: Box | None) -> Way:
    whole: list[tuple[int, float]] = []
    in_box: list[tuple[int, float]] = []

    def note(progress: Progress) -> None:
        if progress.rmse_hu is not None:
            whole.append((progress.done, progress.rmse_hu))
        if progress.box_rmse_hu is not None:
            in_box.append((progress.done, progress.box_rmse_hu))

    case = start.after(finish(run_step(start, settings, runtime, watched=box), note))
    return Way(name, case, whole, in_box)


def _cells(way: Way, pair: PhantomPair, box: Box) -> list[str]:
    case, step = way.case, way.case.current.steps[-1]
    warped, inside = warped_hu(case), np.zeros(case.fixed.hu.shape, bool)
    inside[box.slices_zyx] = True
    seen = inside & case.fixed.valid & (warped > PADDING_HU)
    certificate = step.certificate
    return [
        f"{step.rmse_hu:.1f}",
        f"{rmse_hu(case.fixed.hu, warped, seen):.1f}",
        f"{true_error_mm(pair, case.current, inside & body_of(case.fixed)):.2f}",
        _landmark_error(case, pair, box),
        "" if certificate is None else f"{certificate.max_change_outside_mm:.2f}",
        f"{left_out_mm(step.notes):.1f}",
        f"{step.folding_percent:.4f}",
    ]


def _landmark_error(case: Case, pair: PhantomPair, box: Box) -> str:
    points = Guidance(pair.fixed_points_mm, pair.moving_points_mm)
    inside = points_in(box, points, case.fixed.geometry)
    if not inside.any():
        return "none there"
    mapped_mm = case.current.map_points(pair.fixed_points_mm[inside])
    return f"{target_registration_error(mapped_mm, pair.moving_points_mm[inside]).mean:.2f}"


def _draw(ways: list[Way], path: Path) -> None:
    """Error of the whole image and in the box by iteration, as the paper's figures 2 and 3."""
    os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    import pyqtgraph as pg
    from PySide6.QtWidgets import QApplication

    application = QApplication.instance() or QApplication([])
    sheet = pg.GraphicsLayoutWidget(size=(1100, 460))
    sheet.setBackground("w")
    legend = pg.LegendItem(colCount=4, labelTextColor="k")
    sheet.addItem(legend, row=1, col=0, colspan=2)
    run = [way for way in ways if way.whole]
    first = run[0].whole[-1][0]
    for column, (title, part) in enumerate((("whole image", "whole"), ("in the box", "box"))):
        plot = sheet.addPlot(row=0, col=column, title=title)
        plot.setLabel("left", "RMSE, HU")
        plot.setLabel("bottom", "iterations")
        for number, way in enumerate(run):
            points = getattr(way, part)
            if points:
                iterations, errors = np.array(points, dtype=float).T
                shift = first if "RSO" in way.name else 0
                curve = plot.plot(iterations + shift, errors, pen=pg.mkPen(_COLORS[number], width=2))
                if part == "whole":
                    legend.addItem(curve, way.name)
    application.processEvents()
    sheet.grab().save(str(path))


if __name__ == "__main__":
    main()
