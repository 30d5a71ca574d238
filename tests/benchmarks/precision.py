"""What refinement by network loses when its convolutions are done in bfloat16 instead of float32.

    python tests/benchmarks/precision.py [--cases 4] [--size 44 40 36] [--iso 100] [--rso 100] [--threads 1] [--out DIR]

The same steps on the CPU in both precisions, whose rounding is that of a GPU; displacements, losses and Adam are
float32 in both. Small chests, from the result of general. Writes precision.md.
"""

from __future__ import annotations

import argparse
from datetime import date
from pathlib import Path
from statistics import mean
from unittest.mock import patch

import numpy as np
import torch
from phantoms import RESULTS, error_mm, true_error_mm

from engine.case import Case
from engine.cli.benchmark import machine, markdown_table
from engine.io.atomic import whole_file
from engine.optimize import parametrize
from engine.phantom.thorax import PhantomPair, thorax_pair
from engine.preprocess import body_of
from engine.progress import finish
from engine.roi import Box
from engine.runtime import Runtime
from engine.session import AlignSettings, GeneralSettings, IsoSettings, RsoSettings, run_step, warped_hu
from engine.volume import PADDING_HU
from engine.worst_region import worst_box

PRECISIONS = {"float32": {}, "bfloat16": {"cpu": torch.bfloat16}}
_FIRST_SEED, _SPACING_XYZ_MM, _BOX_MM = 2000, (3.0, 3.1, 3.4), 35.0
_HEADINGS = ("case", "step", "precision", "landmarks mm", "box mm", "box HU", "RMSE HU", "folding %", "roughness", "s")


def main() -> None:
    """Run every case in both precisions; the file is whole after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=3, default=(44, 40, 36), metavar=("X", "Y", "Z"))
    parser.add_argument("--iso", type=int, default=100, metavar="ITERATIONS")
    parser.add_argument("--rso", type=int, default=100, metavar="ITERATIONS")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    runtime = Runtime("cpu", threads=arguments.threads)
    rows: list[list[str | float]] = []
    for seed in range(_FIRST_SEED, _FIRST_SEED + arguments.cases):
        pair = thorax_pair(seed, tuple(arguments.size), _SPACING_XYZ_MM)
        rows += figures(str(seed), pair, arguments.iso, arguments.rso, runtime)
        with whole_file(arguments.out / "precision.md") as temporary:
            temporary.write_text(markdown(rows, arguments.size, runtime), encoding="utf-8")


def figures(name: str, pair: PhantomPair, iso: int, rso: int, runtime: Runtime) -> list[list[str | float]]:
    """A row for the start and for each step in each precision."""
    case = Case.new(pair.fixed, pair.moving)
    for settings in (AlignSettings(), GeneralSettings()):
        case = case.after(finish(run_step(case, settings, runtime)))
    box = _worst_box(case)
    rows = [_row(name, "start", "", pair, case, box)]
    for step in (IsoSettings(iso, "network"), RsoSettings(box, rso, "network")):
        for precision, table in PRECISIONS.items():
            with patch.dict(parametrize.CONVOLUTIONS_IN, table):
                refined = case.after(finish(run_step(case, step, runtime)))
            what = f"{refined.current.steps[-1].name} {step.iterations}"
            rows.append(_row(name, what, precision, pair, refined, box))
            print(*rows[-1], flush=True)
    return rows


def _worst_box(case: Case) -> Box:
    warped = warped_hu(case)
    z, y, x = (round(_BOX_MM / mm) for mm in case.fixed.geometry.spacing_zyx_mm)
    return worst_box(case.fixed.hu, warped, body_of(case.fixed) & (warped > PADDING_HU), (z, y, x))


def _row(name: str, what: str, precision: str, pair: PhantomPair, case: Case, box: Box) -> list[str | float]:
    step, body = case.current.steps[-1], body_of(case.fixed)
    inside = np.zeros_like(body)
    inside[box.slices_zyx] = True
    warped = warped_hu(case)
    seen = inside & case.fixed.valid & (warped > PADDING_HU)
    return [
        name,
        what,
        precision,
        error_mm(pair, case),
        true_error_mm(pair, case.current, inside & body),
        float(np.sqrt(np.mean((warped[seen] - case.fixed.hu[seen]) ** 2))),
        step.rmse_hu,
        step.folding_percent,
        step.roughness,
        step.seconds,
    ]


def markdown(rows: list[list[str | float]], size: tuple[int, ...], runtime: Runtime) -> str:
    """The means of all cases, and every case."""
    ways = list(dict.fromkeys((row[1], row[2]) for row in rows))
    means: list[list[str | float]] = []
    for way in ways:
        chosen = [row[3:] for row in rows if (row[1], row[2]) == way]
        means.append([f"mean of {len(chosen)}", *way, *map(mean, zip(*chosen, strict=True))])
    cells = [[cell if isinstance(cell, str) else f"{cell:.3g}" for cell in row] for row in (*means, *rows)]
    return (
        "# Convolutions in bfloat16\n\n"
        f"`python tests/benchmarks/precision.py`: {'×'.join(map(str, size))} voxels, {machine(runtime)}, "
        f"{date.today().isoformat()}. Landmarks and box (true displacement, body): mean error; folding in percent of "
        "the body's voxels.\n\n" + markdown_table(_HEADINGS, cells)
    )


if __name__ == "__main__":
    main()
