"""Where to look next: how often the proposed boxes hold the region that is truly the worst, on phantoms.

    python tests/benchmarks/error_map.py [--cases 20] [--threads 2] [--size 112 112 84] [--out DIR]

The phantoms of phantoms.py after the general model, after ISO, and after ISO with an error planted: a smooth bump of 6
to 10 mm, 25 to 45 mm wide at half its height, in a random direction at a random place in the body. The constants of the
map come from seeds 2000 to 2019, these phantoms are 1000 to 1019. Each rule proposes three boxes: the error map, the
largest squared difference of the images (`engine.worst_region`, without what it proposed before), and random places in
the body; the second and third get boxes of the sizes that the map chose. Writes error-map.md and error-map.csv.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from itertools import product
from pathlib import Path
from statistics import mean

import numpy as np
from numpy.typing import NDArray
from phantoms import MOST_CASES, RESULTS, SIZE_XYZ, phantom_cases
from scipy import ndimage
from scipy.stats import spearmanr

from engine import __version__
from engine.case import Case
from engine.cli.benchmark import Record, machine, markdown_table, write_csv
from engine.error_map import ErrorMap, proposed_boxes
from engine.field import displacement_mm, total_displacement_mm
from engine.io.atomic import whole_file
from engine.phantom.thorax import PhantomPair
from engine.preprocess import body_of
from engine.progress import finish
from engine.roi import Box
from engine.runtime import Runtime
from engine.session import AlignSettings, GeneralSettings, IsoSettings, run_step, warped_hu
from engine.shapes import MaskArray
from engine.spatial.resample import as_tensor, resampled
from engine.volume import PADDING_HU
from engine.worst_region import worst_box

REGION_MM = 48.0
PROPOSALS = 3
_ENOUGH = 0.8
_PEAK_MM, _WIDTH_MM = (6.0, 10.0), (25.0, 45.0)
_ISO_ITERATIONS = 100
STATES = ("general", f"ISO {_ISO_ITERATIONS}", f"ISO {_ISO_ITERATIONS}, planted")
RULES = ("error map", "squared difference", "random")

Values = NDArray[np.float32]
Place = tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Truth:
    """True error in mm on the fixed grid, where it counts, its means over regions, and the center of the worst."""

    error_mm: Values
    counted: MaskArray
    by_region_mm: Values
    worst: Place

    @classmethod
    def of(cls, pair: PhantomPair, case: Case) -> Truth:
        geometry = pair.fixed.geometry
        found = total_displacement_mm(case.current.displacement_vox, geometry, case.current.rigid)
        error = np.linalg.norm(found - displacement_mm(pair.displacement_vox, geometry), axis=-1).astype(np.float32)
        counted = body_of(pair.fixed) & pair.fixed.valid & (warped_hu(case) > PADDING_HU)
        size = [round(REGION_MM / spacing) for spacing in geometry.spacing_zyx_mm]
        share = ndimage.uniform_filter(counted.astype(np.float32), size, mode="constant")
        total = ndimage.uniform_filter(error * counted, size, mode="constant")
        by_region = np.where(counted, total / np.maximum(share, 1e-6), 0).astype(np.float32)
        return cls(error, counted, by_region, np.unravel_index(int(by_region.argmax()), by_region.shape))

    def inside_mm(self, box: Box) -> float:
        counted = self.counted[box.slices_zyx]
        return float(self.error_mm[box.slices_zyx][counted].mean()) if counted.any() else 0.0


def main() -> None:
    """Run the cases; the files are whole after each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=MOST_CASES)
    parser.add_argument("--size", type=int, nargs=3, default=SIZE_XYZ, metavar=("X", "Y", "Z"))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    runtime = Runtime("cpu", threads=arguments.threads)
    facts: Record = {
        "size": "×".join(map(str, arguments.size)),
        "machine": machine(runtime),
        "regard": __version__,
        "date": date.today().isoformat(),
    }
    records: list[Record] = []
    for phantom in phantom_cases(arguments.cases, tuple(arguments.size)):
        for record in figures(phantom.make(), phantom.seed, runtime):
            records.append({"seed": phantom.seed, "kind": phantom.kind, **record, **facts})
        write_csv(arguments.out / "error-map.csv", records)
        with whole_file(arguments.out / "error-map.md") as temporary:
            temporary.write_text(markdown(records), encoding="utf-8")
        print(phantom.name, flush=True)


def figures(pair: PhantomPair, seed: int, runtime: Runtime) -> Iterator[Record]:
    """One record for every state and rule."""
    for state, case, planted in states(pair, seed, runtime):
        truth = Truth.of(pair, case)
        found = finish(proposed_boxes(case, runtime, PROPOSALS))
        own = [proposal.box for proposal in found.proposals]
        sizes = [box.shape_zyx for box in own]
        by_rule = dict(zip(RULES, (own, by_difference(case, truth, sizes), at_random(truth, sizes, seed)), strict=True))
        for rule, boxes in by_rule.items():
            record: Record = {"state": state, "rule": rule, **hits(truth, boxes, planted)}
            if rule == RULES[0]:
                record |= of_map(truth, found, case)
            yield {**_EMPTY, **record}


_EMPTY: Record = dict.fromkeys(("expected_mm", "rank_correlation", "side_mm"), float("nan"))


def states(pair: PhantomPair, seed: int, runtime: Runtime) -> Iterator[tuple[str, Case, Place | None]]:
    """Each state's name, the case in it, and where an error was planted, if one was."""
    case = Case.new(pair.fixed, pair.moving)
    for settings in (AlignSettings(), GeneralSettings(), IsoSettings(_ISO_ITERATIONS)):
        case = case.after(finish(run_step(case, settings, runtime)))
        if not isinstance(settings, AlignSettings):
            yield STATES[len(case.current.steps) - 2], case, None
    place, bump = planted_error(pair, seed)
    changed = replace(case.current, displacement_vox=case.current.displacement_vox + bump)
    yield STATES[2], case.after(changed), place


def planted_error(pair: PhantomPair, seed: int) -> tuple[Place, Values]:
    """Its center (z, y, x), and the displacement (3, Z, Y, X) in voxels that makes it."""
    rng = np.random.default_rng([seed, 7])
    body = np.argwhere(body_of(pair.fixed))
    center = body[rng.integers(len(body))]
    peak_mm, width_mm = rng.uniform(*_PEAK_MM), rng.uniform(*_WIDTH_MM)
    direction = rng.normal(size=3)
    direction *= peak_mm / np.linalg.norm(direction)
    spacing = np.array(pair.fixed.geometry.spacing_zyx_mm)
    axes = [(np.arange(n) - c) * s for n, c, s in zip(body_of(pair.fixed).shape, center, spacing, strict=True)]
    squares = sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij", sparse=True))
    bump = np.exp(-4.0 * np.log(2.0) * squares / width_mm**2)
    return tuple(map(int, center)), np.stack([part * bump for part in direction / spacing]).astype(np.float32)


def by_difference(case: Case, truth: Truth, sizes: list[tuple[int, int, int]]) -> list[Box]:
    """The boxes of the largest mean squared difference, one after the other, each without the voxels of the last."""
    warped, counted, boxes = warped_hu(case), truth.counted.copy(), []
    for size in sizes:
        boxes.append(worst_box(case.fixed.hu, warped, counted, size))
        counted[boxes[-1].slices_zyx] = False
    return boxes


def at_random(truth: Truth, sizes: list[tuple[int, int, int]], seed: int) -> list[Box]:
    """Boxes round random voxels of the body, moved into the image."""
    rng = np.random.default_rng([seed, 3])
    body = np.argwhere(truth.counted)
    boxes = []
    for size in sizes:
        center = body[rng.integers(len(body))]
        low = [int(np.clip(c - s // 2, 0, n - s)) for c, s, n in zip(center, size, truth.counted.shape, strict=True)]
        (z, y, x), (depth, height, width) = low, size
        boxes.append(Box(x, x + width, y, y + height, z, z + depth))
    return boxes


def hits(truth: Truth, boxes: list[Box], planted: Place | None) -> Record:
    """Whether the first box, and any of them, finds the worst region; the same for the place of a planted error."""
    wrong = [truth.inside_mm(box) for box in boxes]
    enough_mm = _ENOUGH * float(truth.by_region_mm[truth.worst])
    found: Record = {}
    for number in (1, PROPOSALS):
        found[f"center_{number}"] = float(any(_holds(box, truth.worst) for box in boxes[:number]))
        found[f"enough_{number}"] = float(max(wrong[:number]) >= enough_mm)
        hit = planted is not None and any(_holds(box, planted) for box in boxes[:number])
        found[f"planted_{number}"] = float("nan") if planted is None else float(hit)
    body_mm = float(truth.error_mm[truth.counted].mean())
    worst_mm = float(truth.by_region_mm[truth.worst])
    return {**found, "first_mm": wrong[0], "body_mm": body_mm, "worst_mm": worst_mm}


def _holds(box: Box, place: Place) -> bool:
    return all(low <= index < high for index, (low, high) in zip(place, box.ranges_zyx, strict=True))


def of_map(truth: Truth, found: ErrorMap, case: Case) -> Record:
    """What only the map has: its first figure in mm, its rank correlation with the truth, its mean side of a box."""
    spacing = np.array(case.fixed.geometry.spacing_zyx_mm)
    wanted = resampled(as_tensor(truth.by_region_mm), case.fixed.geometry, found.geometry)[0, 0].numpy()
    shown = np.isfinite(found.expected_mm)
    return {
        "expected_mm": found.proposals[0].score,
        "rank_correlation": float(spearmanr(found.expected_mm[shown], wanted[shown]).statistic),
        "side_mm": mean(float((spacing * proposal.box.shape_zyx).mean()) for proposal in found.proposals),
    }


def markdown(records: list[Record]) -> str:
    """Means by state and rule."""
    facts = records[0]
    seeds = sorted({int(record["seed"]) for record in records})
    rows = [
        _cells([record for record in records if (record["state"], record["rule"]) == key], *key)
        for key in product(STATES, RULES)
    ]
    lines = [
        "# Where to look next\n",
        f"`python tests/benchmarks/error_map.py`: {len(seeds)} phantoms, seeds {seeds[0]} to {seeds[-1]}, "
        f"{facts['size']} voxels, {facts['machine']}, regard {facts['regard']}, {facts['date']}. True error: distance "
        "of the total displacement from the true one, over voxels of the body that both images saw. The worst region: "
        f"the cube of {REGION_MM:g} mm centered in the body with the largest mean. Percent of the phantoms in which "
        f"the first box, or one of three, holds its center; has at least {100 * _ENOUGH:g} % of its mean error; holds "
        "the place of the planted error. Mean true error in mm: of the first box (how many times the body's), of the "
        "worst region. Rank correlation: of the map with the true error in cubes, over the body.\n",
        markdown_table(_HEADINGS, rows),
    ]
    return "\n".join(lines)


_HEADINGS = (
    "after",
    "rule",
    "center in first",
    "in one of three",
    "80 % in first",
    "in one of three",
    "planted in first",
    "in one of three",
    "first box mm",
    "expected mm",
    "worst region mm",
    "rank correlation",
    "side of a box mm",
)


def _cells(records: list[Record], state: str, rule: str) -> list[str]:
    value = {
        key: mean(float(record[key]) for record in records)
        for key in records[0]
        if all(isinstance(record[key], float) and np.isfinite(record[key]) for record in records)
    }
    percent = [f"{kind}_{number}" for kind in ("center", "enough", "planted") for number in (1, PROPOSALS)]
    return [
        state,
        rule,
        *(f"{100 * value[key]:.0f}" if key in value else "" for key in percent),
        f"{value['first_mm']:.1f} ({value['first_mm'] / value['body_mm']:.1f}×)",
        *(f"{value[key]:.1f}" if key in value else "" for key in ("expected_mm", "worst_mm")),
        f"{value['rank_correlation']:.2f}" if "rank_correlation" in value else "",
        f"{value['side_mm']:.0f}" if "side_mm" in value else "",
    ]


if __name__ == "__main__":
    main()
