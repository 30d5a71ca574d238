"""Regard beside its peers on unseen phantoms and a real lung pair, in one run that may be cut and goes on.

    python tests/benchmarks/comparison.py --lung ../shared/data/lung_ct_pair --peers-python PEERS/bin/python
        [--cases 20] [--threads 2] [--only NAME ...] [--again] [--size 112 112 84] [--out DIR]

`packaging/make_peers.sh PEERS` makes the environment of the peers. Every (case, method) is a row of peers.csv as soon
as it is finished and is not run again without --again; rows of another machine, thread count or size are kept beside
it. peers.md is made from the rows.
"""

from __future__ import annotations

import argparse
import csv
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from statistics import mean, median
from typing import TypeAlias

from lung_pair import lung_files
from matched_points import write_matched_points
from peers import METHODS, Method, PairFiles, PeerError, chosen_methods, judged, run_method
from phantoms import MOST_CASES, RESULTS, SIZE_XYZ, PhantomCase, phantom_cases

from engine.cli.benchmark import machine, markdown_table, write_csv
from engine.cli.phantom import write_pair
from engine.io.atomic import whole_file
from engine.runtime import Runtime

COLUMNS = (
    *("set", "case", "machine", "method", "status", "tre_mean_mm", "tre_median_mm", "tre_95_mm"),
    *("coarse_mean_mm", "folding_percent", "seconds", "cpu_seconds", "peak_mib", "others_percent", "version", "date"),
)
MOST_OF_OTHERS_PERCENT = 10.0
"""What other programs may take of the machine while seconds are measured."""

DONE, ABSENT, FAILED = "done", "not installed", "failed"

Row: TypeAlias = dict[str, str]
"""A row of peers.csv, a text for each of `COLUMNS`; figures are empty unless the status is `DONE`."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A case of the comparison; `files` gives its files, made in a folder of its own where need be."""

    set_name: str
    name: str
    files: Callable[[Path], PairFiles]


class Rows:
    """The rows of a CSV file, in it as soon as they are put here; one for each case, machine and method."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._rows: dict[tuple[str, ...], Row] = {}
        if path.exists():
            with path.open(newline="", encoding="utf-8") as stream:
                for row in csv.DictReader(stream):
                    self._rows[_key(row)] = {column: row.get(column, "") for column in COLUMNS}

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    def has(self, row: Row) -> bool:
        """Whether the same case, machine and method was finished."""
        return self._rows.get(_key(row), {}).get("status") == DONE

    def put(self, row: Row) -> None:
        self._rows[_key(row)] = {column: row.get(column, "") for column in COLUMNS}
        write_csv(self._path, list(self._rows.values()))


def _key(row: Row) -> tuple[str, ...]:
    return row["set"], row["case"], row["machine"], row["method"]


def main() -> None:
    """Run what is missing and write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lung", type=Path, metavar="DIR", help="the real lung pair; left out if not given")
    parser.add_argument("--peers-python", nargs="+", default=[], metavar="PATH", help="Pythons that have the peers")
    parser.add_argument("--cases", type=int, default=MOST_CASES, metavar="N", help="phantoms, the kinds in turn")
    parser.add_argument("--size", type=int, nargs=3, default=SIZE_XYZ, metavar=("X", "Y", "Z"))
    parser.add_argument("--threads", type=int, default=2, choices=(1, 2))
    parser.add_argument("--only", nargs="+", metavar="NAME", help=", ".join(METHODS))
    parser.add_argument("--again", action="store_true", help="run finished rows again")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    pairs = [_phantom(case) for case in phantom_cases(arguments.cases, tuple(arguments.size))]
    if arguments.lung:
        pairs.append(Pair("real lung pair, matched points", "lung", lambda folder: _lung(arguments.lung, folder)))
    rows = Rows(arguments.out / "peers.csv")
    bench = Bench(arguments.threads, (sys.executable, *arguments.peers_python), arguments.again)
    for pair in pairs:
        for row in bench.missing(pair, chosen_methods(arguments.only), rows):
            rows.put(row)
            print("  ".join(row.get(column, "") for column in COLUMNS[1:11] if column != "machine"), flush=True)
            with whole_file(arguments.out / "peers.md") as temporary:
                temporary.write_text(markdown(list(rows)), encoding="utf-8")


def _lung(data: Path, folder: Path) -> PairFiles:
    """The real pair with matched points; the coarse ones beside them."""
    files = lung_files(data)
    return replace(files, points=write_matched_points(data, folder), coarse_points=files.points)


def _phantom(case: PhantomCase) -> Pair:
    def files(folder: Path) -> PairFiles:
        write_pair(case.make(), folder)
        points = folder / "fixed_points.txt", folder / "moving_points.txt"
        return PairFiles(folder / "fixed.nii.gz", folder / "moving.nii.gz", points)

    return Pair(f"{case.kind}, {'×'.join(map(str, case.size_xyz))} voxels", case.name, files)


@dataclass(frozen=True, slots=True)
class Bench:
    """How methods run here."""

    threads: int
    pythons: tuple[str, ...]
    again: bool

    def missing(self, pair: Pair, methods: dict[str, Method], rows: Rows) -> Iterator[Row]:
        """The rows of one pair that are still to be made, each when it is finished."""
        place = machine(Runtime("cpu", threads=self.threads))
        common = {"set": pair.set_name, "case": pair.name, "machine": place, "date": date.today().isoformat()}
        named = [{**common, "method": name} for name in methods]
        wanted = [row for row in named if self.again or not rows.has(row)]
        if not wanted:
            return
        with tempfile.TemporaryDirectory() as folder:
            files = pair.files(Path(folder))
            for row in wanted:
                yield {**row, **self._figures(methods[row["method"]], files)}

    def _figures(self, method: Method, files: PairFiles) -> Row:
        tool = method.find(self.pythons)
        if tool is None:
            return {"status": ABSENT}
        with tempfile.TemporaryDirectory() as folder:
            try:
                transform, cost = run_method(method, files, Path(folder), tool, self.threads)
                figures = judged(files, transform)
            except PeerError as error:
                print(error, file=sys.stderr)
                return {"status": FAILED, "version": tool.version}
        return {
            "status": DONE,
            "tre_mean_mm": f"{figures['tre_mm']['mean']:.4f}",
            "tre_median_mm": f"{figures['tre_mm']['median']:.4f}",
            "tre_95_mm": f"{figures['tre_mm']['percentile_95']:.4f}",
            "coarse_mean_mm": f"{figures['coarse_tre_mm']['mean']:.4f}" if files.coarse_points else "",
            "folding_percent": f"{figures['folding_percent']:.5f}",
            **{name: f"{value:.1f}" for name, value in asdict(cost).items()},
            "version": tool.version,
        }


def markdown(rows: list[Row]) -> str:
    """A table for each set and machine, then what each method was told to do."""
    groups = dict.fromkeys((row["set"], row["machine"]) for row in rows)
    lines = [
        "# Regard beside its peers\n",
        "`python tests/benchmarks/comparison.py` makes this file from peers.csv. Every method is a process of its own "
        "that reads two files and writes its transform; seconds from start to exit with its rigid stage, and of all "
        "cores together, medians of the cases (of the seconds those only during which other programs took less than a "
        "tenth of the machine; in parentheses where there was no such run); memory: the largest resident set of any "
        "case. Target error (TRE) in mm at corresponding points: means over the cases of each case's mean and median, "
        "and the mean in percent of that of `rigid only`, over the same cases. Folding in percent of the voxels of the "
        "body, of the lungs in the real pair. Points of phantoms are known; those of the real pair are matched blocks "
        "of voxels, by no registration (matched_points.py), and ten set by eye.\n",
    ]
    for set_name, place in groups:
        group = [row for row in rows if (row["set"], row["machine"]) == (set_name, place)]
        days = sorted({row["date"] for row in group})
        lines += [
            f"## {set_name[0].upper()}{set_name[1:]}\n",
            f"{place}, {' to '.join(dict.fromkeys((days[0], days[-1])))}.\n",
            markdown_table(*_table(group)),
        ]
    return "\n".join([*lines, "## What was run\n", _settings(rows)])


_HEADINGS = ("method", "cases", "TRE mean", "TRE median", "% of rigid", "folding %", "s", "CPU s", "peak MiB")
_MORE_HEADINGS = ("TRE 95 %", "mean at ten points")


def _table(group: list[Row]) -> tuple[tuple[str, ...], list[list[str]]]:
    """Headings and cells; two columns more where there are points set by eye."""
    cells = [_cells(name, group) for name in METHODS]
    if not any(row.get("coarse_mean_mm") for row in group):
        return _HEADINGS, cells
    for name, line in zip(METHODS, cells, strict=True):
        done = [row for row in group if row["method"] == name and row.get("coarse_mean_mm")]
        line += [f"{_mean(column, done):.2f}" if done else "" for column in ("tre_95_mm", "coarse_mean_mm")]
    return (*_HEADINGS, *_MORE_HEADINGS), cells


def _cells(name: str, group: list[Row]) -> list[str]:
    rows = [row for row in group if row["method"] == name]
    done = {row["case"]: row for row in rows if row["status"] == DONE}
    if not done:
        return [name, rows[-1]["status"] if rows else "not run", *[""] * (len(_HEADINGS) - 2)]
    start = {row["case"]: row for row in group if row["method"] == "rigid only" and row["status"] == DONE}
    shared = [case for case in done if case in start]
    after, before = (_mean("tre_mean_mm", (found[case] for case in shared)) for found in (done, start))
    return [
        name,
        str(len(done)),
        f"{_mean('tre_mean_mm', done.values()):.2f}",
        f"{_mean('tre_median_mm', done.values()):.2f}",
        f"{100 * after / before:.0f}",
        f"{_mean('folding_percent', done.values()):.4f}",
        _seconds(done.values()),
        f"{median(float(row['cpu_seconds']) for row in done.values()):.1f}",
        f"{max(float(row['peak_mib']) for row in done.values()):.0f}",
    ]


def _seconds(rows: Collection[Row]) -> str:
    """The median of the runs that had the machine for themselves; of all, and marked, where none had."""
    of_all = [float(row["seconds"]) for row in rows]
    undisturbed = [
        float(row["seconds"]) for row in rows if float(row.get("others_percent") or 0.0) <= MOST_OF_OTHERS_PERCENT
    ]
    return f"{median(undisturbed):.1f}" if undisturbed else f"({median(of_all):.1f})"


def _mean(column: str, rows: Iterable[Row]) -> float:
    values = [float(row[column]) for row in rows]
    return mean(values) if values else float("nan")


def _settings(rows: list[Row]) -> str:
    versions = {
        name: ", ".join(dict.fromkeys(row["version"] for row in rows if row["method"] == name and row["version"]))
        for name in METHODS
    }
    cells = [[name, versions[name] or "-", method.start, method.settings] for name, method in METHODS.items()]
    return markdown_table(("method", "version", "start", "settings"), cells)


if __name__ == "__main__":
    main()
