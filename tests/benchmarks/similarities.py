"""Which dissimilarity suits which pair: ISO by field from general, on phantoms whose motion is known.

    python tests/benchmarks/similarities.py [--cases 4] [--threads 2] [--out DIR]

CT → CT without artefacts, CT → cone-beam CT and cone-beam CT → cone-beam CT (40 or 60 projections). Writes
similarities.md and similarities.csv.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
from phantoms import CT, RESULTS, SIZE_XYZ, error_mm, phantom_cases, true_error_mm

from engine.case import Case
from engine.cli.benchmark import Record, machine, markdown_table, write_csv
from engine.io.atomic import whole_file
from engine.phantom.thorax import PhantomPair
from engine.preprocess import body_of
from engine.progress import finish
from engine.runtime import Runtime
from engine.session import AlignSettings, GeneralSettings, IsoSettings, run_step
from engine.volume import Volume

SIMILARITIES = ("lncc", "mse", "mind", "robust-mind")
_CLEAN = "CT → CT"
_EVERY_NTH_VOXEL = 37


def main() -> None:
    """Run the cases and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=4, help="phantoms of each kind")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    runtime = Runtime("cpu", threads=arguments.threads)
    records: list[Record] = []
    for kind, pair in _pairs(arguments.cases):
        case = Case.new(pair.fixed, pair.moving)
        for settings in (AlignSettings(), GeneralSettings()):
            case = case.after(finish(run_step(case, settings, runtime)))
        records.append({"kind": kind, "pair": pair.fixed.name, "similarity": "start", **_figures(pair, case)})
        for similarity in SIMILARITIES:
            after = case.after(finish(run_step(case, IsoSettings(similarity=similarity), runtime)))
            records.append({"kind": kind, "pair": pair.fixed.name, "similarity": similarity, **_figures(pair, after)})
            print(records[-1], flush=True)
    write_csv(arguments.out / "similarities.csv", records)
    with whole_file(arguments.out / "similarities.md") as temporary:
        temporary.write_text(_markdown(records, machine(runtime)), encoding="utf-8")


def _pairs(count: int) -> list[tuple[str, PhantomPair]]:
    streaky = [(case.kind, case.make()) for case in phantom_cases(2 * count, SIZE_XYZ)]
    return [(_CLEAN, _without_artefacts(pair)) for kind, pair in streaky if kind == CT] + streaky


def _without_artefacts(pair: PhantomPair) -> PhantomPair:
    """The same motion between two CTs with the noise of the moving one."""
    noise = pair.moving.hu - pair.clean_moving_hu
    hu = (pair.clean_fixed_hu + np.roll(noise, 7, axis=(0, 1, 2))).astype(np.float32)
    return replace(pair, fixed=Volume(hu, pair.fixed.geometry, np.ones(hu.shape, bool), "CT", pair.fixed.name))


def _figures(pair: PhantomPair, case: Case) -> Record:
    """Mean errors in mm at landmarks and over the body, error in HU, roughness and folding."""
    step = case.current.steps[-1]
    return {
        "landmarks_mm": error_mm(pair, case),
        "body_mm": true_error_mm(pair, case.current, body_of(case.fixed), _EVERY_NTH_VOXEL),
        "rmse_hu": step.rmse_hu,
        "roughness": step.roughness,
        "folding_percent": step.folding_percent,
    }


def _markdown(records: list[Record], place: str) -> str:
    columns = [key for key, value in records[0].items() if isinstance(value, float)]
    rows = []
    for kind in dict.fromkeys(record["kind"] for record in records):
        for similarity in ("start", *SIMILARITIES):
            chosen = [r for r in records if (r["kind"], r["similarity"]) == (kind, similarity)]
            means = (np.mean([float(r[column]) for r in chosen]) for column in columns)
            rows.append([str(kind), similarity, str(len(chosen)), *(f"{value:.4g}" for value in means)])
    headings = ("pairs", "similarity", "cases", "landmarks mm", "body mm", "RMSE HU", "roughness", "folding %")
    return (
        "# Which similarity for which pair\n\n"
        "`python tests/benchmarks/similarities.py`: ISO of 100 iterations by field from general, means. "
        f"{place}, {date.today().isoformat()}.\n\n{markdown_table(headings, rows)}"
    )


if __name__ == "__main__":
    main()
