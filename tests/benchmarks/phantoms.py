"""Phantoms that no training saw: landmark error after each step of Regard, and what the field looks like.

    python tests/benchmarks/phantoms.py [--cases 20] [--threads 2] [--model general] [--size 112 112 84] [--out DIR]

Ten pairs are CT → cone-beam CT of 40 projections; in ten the moving image is a cone-beam CT too, of 40 or 60
projections, with streaks, shading and noise of its own. Training draws its phantoms another way and never these.
Writes phantoms.md and phantoms.csv; seconds are those of the steps alone, without start-up and files.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from statistics import mean

import numpy as np

from engine import __version__
from engine.case import Case
from engine.cli.benchmark import Record, machine, markdown_table, write_csv
from engine.io.atomic import whole_file
from engine.metrics import target_registration_error
from engine.phantom.cone_beam import cone_beam
from engine.phantom.thorax import PhantomPair, thorax_pair
from engine.progress import finish
from engine.registration import Registration
from engine.runtime import Runtime
from engine.session import AlignSettings, GeneralSettings, IsoSettings, run_step
from engine.shapes import MaskArray
from engine.volume import Volume

RESULTS = Path(__file__).parent / "results"
SIZE_XYZ, SPACING_XYZ_MM = (112, 112, 84), (2.9, 2.9, 3.4)
CT, CBCT = "CT → CBCT", "CBCT → CBCT"
MOST_CASES = 20
_FIRST_SEED = 1000
_FIXED_PROJECTIONS, _MOVING_PROJECTIONS = 40, (40, 60)
_ISO_ITERATIONS = 100
_GENERAL_AIM, _ISO_AIM, _FOLDING_AIM = 30.0, 18.0, 0.05
"""Percent: of the error after alignment, the same, and of the body's voxels."""


@dataclass(frozen=True, slots=True)
class PhantomCase:
    """One pair of the test set; the same size and seed give the same voxels."""

    kind: str
    seed: int
    size_xyz: tuple[int, int, int]

    @property
    def name(self) -> str:
        return f"{self.kind} {self.seed}"

    def make(self) -> PhantomPair:
        """The pair, spread over the same field of view whatever its size."""
        x, y, z = (
            full * spacing / size for full, spacing, size in zip(SIZE_XYZ, SPACING_XYZ_MM, self.size_xyz, strict=True)
        )
        pair = thorax_pair(self.seed, self.size_xyz, (x, y, z), _FIXED_PROJECTIONS)
        if self.kind == CT:
            return pair
        rng = np.random.default_rng([self.seed, 1])
        views = _MOVING_PROJECTIONS[self.seed // 2 % 2]
        hu, seen = cone_beam(pair.clean_moving_hu, pair.moving.geometry, rng, views)
        return replace(pair, moving=Volume(hu, pair.moving.geometry, seen, "CBCT", f"phantom {self.seed} CBCT"))


def phantom_cases(count: int, size_xyz: tuple[int, int, int]) -> list[PhantomCase]:
    """The first `count` of the twenty cases; the kinds take turns."""
    if not 1 <= count <= MOST_CASES:
        raise SystemExit(f"Expected 1 to {MOST_CASES} cases, got {count}.")
    return [PhantomCase(CBCT if number % 2 else CT, _FIRST_SEED + number, size_xyz) for number in range(count)]


def main() -> None:
    """Run the cases; the files are whole after each of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=MOST_CASES)
    parser.add_argument("--size", type=int, nargs=3, default=SIZE_XYZ, metavar=("X", "Y", "Z"))
    parser.add_argument("--model", default="general", help="NAME, or NAME=FILE.safetensors")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    runtime = Runtime("cpu", threads=arguments.threads)
    facts: Record = {
        "model": arguments.model.partition("=")[0],
        "size": "×".join(map(str, arguments.size)),
        "machine": machine(runtime),
        "regard": __version__,
        "date": date.today().isoformat(),
    }
    records: list[Record] = []
    for case in phantom_cases(arguments.cases, tuple(arguments.size)):
        record = {"case": case.name, "kind": case.kind, **figures(case.make(), arguments.model, runtime), **facts}
        records.append(record)
        write_csv(arguments.out / "phantoms.csv", records)
        with whole_file(arguments.out / "phantoms.md") as temporary:
            temporary.write_text(markdown(records), encoding="utf-8")
        print("  ".join(_cells(record)), flush=True)


def figures(pair: PhantomPair, model: str, runtime: Runtime) -> Record:
    """Landmark error in mm, folding, roughness and seconds of each step; seconds of the steps alone."""
    case = Case.new(pair.fixed, pair.moving)
    record: Record = {"start_mm": error_mm(pair, case)}
    for settings in (AlignSettings(), GeneralSettings(model), IsoSettings(_ISO_ITERATIONS)):
        case = case.after(finish(run_step(case, settings, runtime)))
        step = case.current.steps[-1]
        record[f"{step.name}_mm"] = error_mm(pair, case)
        record[f"{step.name}_s"] = step.seconds
        record[f"{step.name}_folding_percent"] = step.folding_percent
        record[f"{step.name}_roughness"] = step.roughness
    return with_shares(record)


def error_mm(pair: PhantomPair, case: Case) -> float:
    """Mean target registration error of the current state."""
    return target_registration_error(case.current.map_points(pair.fixed_points_mm), pair.moving_points_mm).mean


def true_error_mm(pair: PhantomPair, registration: Registration, where: MaskArray, every_nth: int = 7) -> float:
    """Mean distance of T(x) from the true place over every n-th voxel of a mask."""
    index = np.argwhere(where)[::every_nth]
    geometry = pair.fixed.geometry
    true_mm = geometry.points((index + pair.displacement_vox[:, *index.T].T)[:, ::-1])
    found_mm = registration.map_points(geometry.points(index[:, ::-1]))
    return float(np.linalg.norm(found_mm - true_mm, axis=1).mean())


def with_shares(record: Record) -> Record:
    """With the errors of both steps in percent of the error after alignment."""
    shares: Record = {
        f"{step}_percent": 100.0 * float(record[f"{step}_mm"]) / float(record["align_mm"])
        for step in ("general", "iso")
    }
    return {**record, **shares}


def mean_of(name: str, records: list[Record]) -> Record:
    """The means of all figures; a share is the ratio of the mean errors."""
    numbers = [key for key, value in records[0].items() if isinstance(value, float)]
    return with_shares({"case": name, **{key: mean(float(record[key]) for record in records) for key in numbers}})


def markdown(records: list[Record]) -> str:
    """The table by case, the means by kind and of all, and whether the aims are met."""
    kinds = dict.fromkeys(str(record["kind"]) for record in records)
    means = [mean_of(f"mean {kind}", [record for record in records if record["kind"] == kind]) for kind in kinds]
    overall = mean_of("mean of all", records)
    facts = records[0]
    aims = (
        ("general", float(overall["general_percent"]), _GENERAL_AIM),
        (f"ISO {_ISO_ITERATIONS}", float(overall["iso_percent"]), _ISO_AIM),
        ("folding after ISO", float(overall["iso_folding_percent"]), _FOLDING_AIM),
    )
    lines = [
        "# Phantoms that no training saw\n",
        f"`python tests/benchmarks/phantoms.py`: model {facts['model']}, {facts['size']} voxels, {facts['machine']}, "
        f"regard {facts['regard']}, {facts['date']}. Mean error of the landmarks in mm, in brackets the percentage of "
        "that after alignment; folding in percent of the body's voxels; roughness: mean squared difference of "
        "neighbouring displacements in voxels; seconds of the steps alone.\n",
        markdown_table(_HEADINGS, [_cells(record) for record in (*records, *means, overall)]),
        "Aims: " + "; ".join(f"{name} {value:.3g} % ({_verdict(value, aim)})" for name, value, aim in aims) + ".\n",
    ]
    return "\n".join(lines)


_HEADINGS = (
    "case",
    "start",
    "align",
    "general",
    f"ISO {_ISO_ITERATIONS} by field",
    "folding % general",
    "ISO",
    "roughness general",
    "ISO",
    "s align",
    "general",
    "ISO",
)


def _verdict(value: float, aim: float) -> str:
    return f"at most {aim:g}: {'met' if value <= aim else 'missed'}"


def _cells(record: Record) -> list[str]:
    value = {key: float(item) for key, item in record.items() if isinstance(item, float)}
    return [
        str(record["case"]),
        f"{value['start_mm']:.2f}",
        f"{value['align_mm']:.2f}",
        f"{value['general_mm']:.2f} ({value['general_percent']:.0f} %)",
        f"{value['iso_mm']:.2f} ({value['iso_percent']:.0f} %)",
        f"{value['general_folding_percent']:.4f}",
        f"{value['iso_folding_percent']:.4f}",
        f"{value['general_roughness']:.4f}",
        f"{value['iso_roughness']:.4f}",
        f"{value['align_s']:.1f}",
        f"{value['general_s']:.1f}",
        f"{value['iso_s']:.1f}",
    ]


if __name__ == "__main__":
    main()
