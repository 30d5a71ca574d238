"""Refining a region: the box alone beside the whole image, each given the same seconds; and what else was promised.

    python tests/benchmarks/regions.py [--lung ../shared/data/lung_ct_pair] [--cases 10] [--seconds 15] [--threads 2]
        [--only same-seconds|sooner|drift|converged|stopped|memory ...] [--out DIR]

same-seconds: after general, the box with the largest difference, refined by field and by network, on the box alone
    and on the whole image (the paper's variant): error in the box, change outside, folding.
sooner: 128×256×256 voxels and a box of 64³: when the box alone reaches what the paper's variant ends at.
drift: a thousand iterations of each fit from the same state: folding.
converged: ISO of 100 iterations beside one of 1,000.
stopped: ISO ended early with its best: the error told, and the error that the result has at the voxels.
memory: peak of RSO with a box of 64³ on 512×512×150 voxels.

Writes regions.md and regions.csv; a table that was not asked for stays as it was.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
from lung_pair import lung_files
from phantoms import CT, RESULTS, SIZE_XYZ, PhantomCase, phantom_cases, true_error_mm

from engine.case import Case
from engine.cli.benchmark import Record, machine, markdown_table, write_csv
from engine.geometry import Geometry
from engine.io.atomic import whole_file
from engine.io.images import read_volume
from engine.phantom.thorax import PhantomPair
from engine.preprocess import body_of
from engine.progress import STOP, Job, finish
from engine.registration import Registration
from engine.roi import Box
from engine.runtime import Runtime
from engine.session import FITS, AlignSettings, GeneralSettings, IsoSettings, RsoSettings, run_step, warped_hu
from engine.shared_arrays import in_file
from engine.volume import PADDING_HU, Volume
from engine.worst_region import worst_box

WAYS = (("crop", "field"), ("crop", "network"), ("image", "field"), ("image", "network"))
_TRIAL, _MOST = 5, 400
"""Iterations: of a trial that tells what one costs, and what nobody would exceed."""

_STOPS = (3, 11, 23, 40)
_BOX_MM = 80.0
_PAPER_ITERATIONS = 40
_LARGE_XYZ, _LARGE_BOX_VOX = (256, 256, 128), 64
_MEMORY_SHAPE_ZYX = (150, 512, 512)


@dataclass(frozen=True, slots=True)
class Start:
    """A case after general, a box in it, and the truth where it is known."""

    name: str
    case: Case
    box: Box
    truth: PhantomPair | None = None

    def error_mm(self, registration: Registration) -> float:
        """Mean distance from the true displacement over the voxels of the body in the box."""
        if self.truth is None:
            return float("nan")
        inside = np.zeros(self.case.fixed.hu.shape, bool)
        inside[self.box.slices_zyx] = True
        return true_error_mm(self.truth, registration, inside & body_of(self.case.fixed))


def main() -> None:
    """Make the tables that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lung", type=Path, metavar="DIR")
    parser.add_argument("--cases", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=15.0, help="for each way")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", choices=TABLES, default=tuple(TABLES))
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--memory-run", choices=("held", "refined"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory_run:
        _memory_run(arguments.memory_run, Runtime("cpu", threads=arguments.threads))
        return
    for name in arguments.only:
        TABLES[name](arguments, Runtime("cpu", threads=arguments.threads))


def _starts(arguments: argparse.Namespace, runtime: Runtime) -> Iterator[Start]:
    if arguments.lung:
        files = lung_files(arguments.lung)
        yield _start("lung pair", read_volume(files.fixed), read_volume(files.moving), None, runtime)
    for phantom in phantom_cases(arguments.cases, SIZE_XYZ):
        pair = phantom.make()
        yield _start(phantom.name, pair.fixed, pair.moving, pair, runtime)


def _start(
    name: str, fixed: Volume, moving: Volume, truth: PhantomPair | None, runtime: Runtime, side_vox: int | None = None
) -> Start:
    case = Case.new(fixed, moving)
    for settings in (AlignSettings(), GeneralSettings()):
        case = case.after(finish(run_step(case, settings, runtime)))
    warped = warped_hu(case)
    z, y, x = (side_vox or round(_BOX_MM / mm) for mm in fixed.geometry.spacing_zyx_mm)
    box = worst_box(fixed.hu, warped, body_of(fixed) & (warped > PADDING_HU), (z, y, x))
    return Start(name, case, box, truth)


@dataclass(slots=True)
class Watch:
    """A job that is stopped once the box is good enough; `errors`: (seconds, error in the box) by iteration."""

    errors: list[tuple[float, float]]

    def run(self, job: Job[Registration], until_hu: float = 0.0) -> Registration:
        started, command = time.monotonic(), None
        while True:
            try:
                progress = job.send(command)
            except StopIteration as end:
                result: Registration = end.value
                return result
            passed = time.monotonic() - started
            if progress.box_rmse_hu is not None:
                self.errors.append((passed, progress.box_rmse_hu))
            reached = progress.box_rmse_hu is not None and progress.box_rmse_hu <= until_hu
            command = STOP if reached and progress.total > 1 else None


def same_seconds(arguments: argparse.Namespace, runtime: Runtime) -> None:
    """Every way on every case, each for the same time."""
    records: list[Record] = []
    for start in _starts(arguments, runtime):
        for scope, by in WAYS:
            trial = finish(run_step(start.case, RsoSettings(start.box, _TRIAL, by, scope), runtime)).steps[-1]
            count = min(_MOST, max(1, round(_TRIAL * arguments.seconds / trial.seconds)))
            result = finish(run_step(start.case, RsoSettings(start.box, count, by, scope), runtime))
            step = result.steps[-1]
            records.append(
                {
                    "case": start.name,
                    "scope": scope,
                    "by": by,
                    "iterations": step.iterations,
                    "seconds": step.seconds,
                    "box_hu_before": step.box_rmse_hu_before,
                    "box_hu_after": step.box_rmse_hu_after,
                    "box_mm_before": start.error_mm(start.case.current),
                    "box_mm_after": start.error_mm(result),
                    "outside_mm": step.certificate.max_change_outside_mm,
                    "left_out_mm": left_out_mm(step.notes),
                    "new_folds": step.certificate.new_folds,
                    "folding_percent": step.folding_percent,
                    "certificate": "passed" if step.certificate.passed else "failed",
                }
            )
            print(records[-1], flush=True)
        write_csv(arguments.out / "regions.csv", records)
    rows = []
    for scope, by in WAYS:
        chosen = [record for record in records if (record["scope"], record["by"]) == (scope, by)]
        rows.append([scope, by, *(f"{_mean(chosen, column):.2f}" for column in _SHOWN)])
    _put(
        arguments,
        "same-seconds",
        f"After general, iterations for about {arguments.seconds:g} s of each way, {_MOST} at most; means of "
        f"{len(records) // len(WAYS)} cases (regions.csv). Left out: what the whole prediction would have changed "
        "beyond box and collar.",
        markdown_table(("scope", "by", *_SHOWN.values()), rows),
        runtime,
    )


_SHOWN = {
    "iterations": "iterations",
    "seconds": "s",
    "box_hu_before": "box HU before",
    "box_hu_after": "after",
    "box_mm_before": "box mm before",
    "box_mm_after": "after",
    "outside_mm": "change outside mm",
    "left_out_mm": "left out mm",
    "new_folds": "new folds",
}


def left_out_mm(notes: tuple[str, ...]) -> float:
    """What a step of the paper's variant says that it would have changed elsewhere; zero for any other."""
    told = [note for note in notes if note.endswith("elsewhere left out")]
    return float(told[0].split()[2]) if told else 0.0


def _mean(records: list[Record], column: str) -> float:
    return float(np.nanmean([float(record[column]) for record in records]))


def sooner(arguments: argparse.Namespace, runtime: Runtime) -> None:
    """How long the box alone takes to what the paper's variant ends at."""
    pair = PhantomCase(CT, 50, _LARGE_XYZ).make()
    start = _start("large", pair.fixed, pair.moving, pair, runtime, _LARGE_BOX_VOX)
    settings = RsoSettings(start.box, _PAPER_ITERATIONS, "network", "image")
    watch = Watch([])
    paper = watch.run(run_step(start.case, settings, runtime))
    aim, paper_s = paper.steps[-1].box_rmse_hu_after, watch.errors[-1][0]
    rows = [["image, network (paper)", str(_PAPER_ITERATIONS), f"{paper_s:.1f}", f"{aim:.1f}", "1"]]
    for by in ("network", "field"):
        watch = Watch([])
        result = watch.run(run_step(start.case, RsoSettings(start.box, 400, by), runtime), until_hu=aim)
        reached = [seconds for seconds, error_hu in watch.errors if error_hu <= aim]
        taken = reached[0] if reached else float("nan")
        error = result.steps[-1].box_rmse_hu_after
        rows.append([f"crop, {by}", str(len(watch.errors)), f"{taken:.1f}", f"{error:.1f}", f"{paper_s / taken:.0f}"])
    watch = Watch([])
    network = watch.run(run_step(start.case, RsoSettings(start.box, 400, "network"), runtime)).steps[-1]
    rows.append(["crop, network, to the end", "400", f"{network.seconds:.1f}", f"{network.box_rmse_hu_after:.1f}", ""])
    watch = Watch([])
    field = RsoSettings(start.box, 400, "field")
    step = watch.run(run_step(start.case, field, runtime), until_hu=network.box_rmse_hu_after).steps[-1]
    rows.append(
        ["crop, field, to that error", str(step.iterations), f"{step.seconds:.1f}", f"{step.box_rmse_hu_after:.1f}", ""]
    )
    step = finish(run_step(start.case, field, runtime)).steps[-1]
    rows.append(
        ["crop, field, to the end", str(step.iterations), f"{step.seconds:.1f}", f"{step.box_rmse_hu_after:.1f}", ""]
    )
    before = paper.steps[-1].box_rmse_hu_before
    _put(
        arguments,
        "sooner",
        f"128×256×256 voxels, box of 64³ with {before:.1f} HU after general. Seconds until the error of the paper's "
        "variant is reached.",
        markdown_table(("way", "iterations", "s", "box HU", "times sooner"), rows),
        runtime,
    )


def drift(arguments: argparse.Namespace, runtime: Runtime) -> None:
    """Folding after a thousand iterations of each fit."""
    rows = []
    for start in _starts(arguments, runtime):
        for fit in FITS:
            for settings in (IsoSettings(1000, fit=fit), RsoSettings(start.box, 1000, fit=fit)):
                step = finish(run_step(start.case, settings, runtime)).steps[-1]
                figures = (step.rmse_hu, step.roughness, step.folding_percent, step.min_jacobian)
                rows.append([start.name, step.name, fit, *(f"{figure:.4g}" for figure in figures)])
                print(rows[-1], flush=True)
    headings = ("case", "step", "fit", "RMSE HU", "roughness", "folding in the body %", "least determinant")
    note = "After general, 1,000 iterations of ISO; RSO, asked for as many, ends once nothing more is gained."
    _put(arguments, "drift", note, markdown_table(headings, rows), runtime)


def converged(arguments: argparse.Namespace, runtime: Runtime) -> None:
    """How far ISO is from where ten times the iterations lead."""
    rows = []
    for start in _starts(arguments, runtime):
        short, long = (finish(run_step(start.case, IsoSettings(n), runtime)) for n in (100, 1000))
        spacing = np.array(start.case.fixed.geometry.spacing_zyx_mm).reshape(3, 1)
        body = body_of(start.case.fixed)
        change = (short.displacement_vox[:, body] - long.displacement_vox[:, body]) * spacing
        distance = np.linalg.norm(change, axis=0)
        seconds = [registration.steps[-1].seconds for registration in (short, long)]
        figures = (*seconds, float(np.median(distance)), float(np.percentile(distance, 95)))
        rows.append([start.name, *(f"{figure:.2f}" for figure in figures)])
        print(rows[-1], flush=True)
    headings = ("case", "s of 100", "s of 1,000", "median distance mm", "95 % mm")
    _put(arguments, "converged", "ISO by field after general.", markdown_table(headings, rows), runtime)


def stopped(arguments: argparse.Namespace, runtime: Runtime) -> None:
    """What ISO tells when it is stopped, and what it ends with."""
    rows = []
    for start in _starts(arguments, runtime):
        before, body = start.case.current, body_of(start.case.fixed)
        for asked in (*_STOPS, None):
            result, told_hu = _ended_early(run_step(start.case, IsoSettings(100), runtime), asked)
            states = (before, result) if start.truth is not None else ()
            true_mm = " → ".join(f"{true_error_mm(start.truth, state, body):.2f}" for state in states)
            errors_hu = (before.steps[-1].rmse_hu, told_hu, result.steps[-1].rmse_hu)
            rows.append([start.name, str(asked or "never"), str(result.steps[-1].iterations)])
            rows[-1] += [*(f"{error_hu:.1f}" for error_hu in errors_hu), true_mm or "–"]
            print(rows[-1], flush=True)
    headings = ("case", "stopped at", "iterations", "RMSE HU before", "told", "after", "true error in the body mm")
    _put(arguments, "stopped", "ISO of 100 iterations by field after general.", markdown_table(headings, rows), runtime)


def _ended_early(job: Job[Registration], iteration: int | None) -> tuple[Registration, float]:
    """A whole-image step that is asked for its best at an iteration, and the error last told of a best state."""
    command, told_hu = None, math.nan
    while True:
        try:
            progress = job.send(command)
        except StopIteration as end:
            return end.value, told_hu
        if progress.best and progress.rmse_hu is not None:
            told_hu = progress.rmse_hu
        command = STOP if iteration is not None and progress.total > 1 and progress.done >= iteration else None


def memory(arguments: argparse.Namespace, runtime: Runtime) -> None:
    """In processes of their own, so that nothing else counts; the highest of three runs each."""
    command = [sys.executable, __file__, "--threads", str(runtime.thread_count), "--memory-run"]

    def highest(what: str) -> list[float]:
        runs = [subprocess.run([*command, what], check=True, capture_output=True, text=True).stdout for _ in range(3)]
        return [max(values) for values in zip(*(map(float, run.split()) for run in runs), strict=True)]

    names = ("all pages, each once", "of them in no file, where the field before lies")
    rows = [
        [name, f"{held:.0f}", f"{peak:.0f}", f"{peak / held:.2f}"]
        for name, held, peak in zip(names, highest("held"), highest("refined"), strict=True)
    ]
    headings = ("MiB", "images and field held", "peak of RSO", "times what was held")
    note = (
        "512×512×150 voxels, box of 64³, ten iterations by field, the field as any step leaves it; the whole process."
    )
    _put(arguments, "memory", note, markdown_table(headings, rows), runtime)


def _memory_run(what: str, runtime: Runtime) -> None:
    import torch  # noqa: F401  held by every run, so it counts as held

    geometry = Geometry(_MEMORY_SHAPE_ZYX, (0.8, 0.8, 2.0))
    depth, height, width = _MEMORY_SHAPE_ZYX
    disc = ((np.arange(height)[:, None] / height - 0.5) ** 2 + (np.arange(width) / width - 0.5) ** 2) < 0.2
    volumes = []
    for phase in (0, 2):
        hu = np.full(_MEMORY_SHAPE_ZYX, -1000.0, np.float32)
        for z in range(depth):
            waves = 80.0 * np.sin((np.arange(height)[:, None] + phase) / 9) * np.cos((np.arange(width) + z + phase) / 7)
            hu[z][disc] = waves[disc]
        volumes.append(Volume(hu, geometry, np.ones(_MEMORY_SHAPE_ZYX, bool)))
    slope = np.linspace(0.0, 0.5, width, dtype=np.float32)
    slices = (np.broadcast_to(slope, (height, width)) for _ in range(3 * depth))
    field = in_file((3, *_MEMORY_SHAPE_ZYX), lambda: slices)
    field.max()
    case = Case(*volumes, (Registration(geometry, np.eye(4), field),))
    with PeakMemory() as peak:
        if what == "refined":
            side = _LARGE_BOX_VOX
            box = Box(224, 224 + side, 224, 224 + side, 40, 40 + side)
            finish(run_step(case, RsoSettings(box, 10), runtime))
    print(*peak.mib)


class PeakMemory:
    """The most memory that a process takes while it does something, looked at every 5 ms. Linux.

    `mib`: all pages, each counted once wherever it is mapped, and those of them that lie in no file.
    """

    def __init__(self) -> None:
        self.mib = (0.0, 0.0)
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> PeakMemory:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        is_over = False
        while not is_over:
            is_over = self._is_over.wait(0.005)
            lines = Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]
            kib = {name: float(value.split()[0]) for name, _, value in (line.partition(":") for line in lines)}
            now = (kib["Pss"] / 1024, kib["Pss_Anon"] / 1024)
            self.mib = (max(self.mib[0], now[0]), max(self.mib[1], now[1]))


TABLES = {
    "same-seconds": same_seconds,
    "sooner": sooner,
    "drift": drift,
    "converged": converged,
    "stopped": stopped,
    "memory": memory,
}


def _put(arguments: argparse.Namespace, name: str, note: str, table: str, runtime: Runtime) -> None:
    """Keep a table, and put all that are kept into regions.md."""
    text = f"## {name}\n\n{note} {machine(runtime)}, {date.today().isoformat()}.\n\n{table}"
    path = arguments.out / "regions.md"
    kept = path.read_text(encoding="utf-8").split("\n## ") if path.exists() else [_HEAD]
    sections = {part.split("\n", 1)[0]: f"## {part}" for part in kept[1:]}
    sections[name] = text
    with whole_file(path) as temporary:
        ordered = [sections[known].rstrip() for known in TABLES if known in sections]
        temporary.write_text("\n\n".join([_HEAD.rstrip(), *ordered]) + "\n", encoding="utf-8")


_HEAD = "# Refining a region\n\n`python tests/benchmarks/regions.py` makes this file.\n"


if __name__ == "__main__":
    main()
