"""The real lung pair: Regard from start to exit beside its peers, in one run.

    python tests/benchmarks/lung_pair.py ../shared/data/lung_ct_pair [--threads 2] [--only NAME ...]
        [--peers-python PEERS/bin/python]

Target error at the ten coarse points, error and folding inside the lung. How methods run and are judged: peers.py.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from statistics import median

from peers import METHODS, Method, PairFiles, PeerError, Tool, chosen_methods, judged, run_method


def main() -> None:
    """Run the methods and print a table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1, help="the median time is printed")
    parser.add_argument("--only", nargs="+", metavar="NAME", help=", ".join(METHODS))
    parser.add_argument("--peers-python", nargs="+", default=[], metavar="PATH", help="Pythons that have the peers")
    arguments = parser.parse_args()
    pair = lung_files(arguments.data)
    print("| method | s | peak MiB | TRE mean | TRE median | lung RMSE HU | lung folding % | min Jacobian |")
    print("|---|---|---|---|---|---|---|---|")
    for name, method in chosen_methods(arguments.only).items():
        tool = method.find((sys.executable, *arguments.peers_python))
        if tool is None:
            print(f"| {name} | not installed | | | | | | |", flush=True)
            continue
        try:
            print(row(name, method, tool, pair, arguments.threads, arguments.repeats), flush=True)
        except PeerError as error:
            print(f"| {name} | failed | | | | | | |", flush=True)
            print(error, file=sys.stderr)


def lung_files(data: Path) -> PairFiles:
    """The pair in the folder that the elastix project published; whole paths, since methods run in other folders."""
    data = data.resolve()
    return PairFiles(
        data / "3DCT_lung_baseline.mha",
        data / "3DCT_lung_followup.mha",
        (data / "approx_points_baseline_index.txt", data / "approx_points_followup_index.txt"),
        (data / "3DCT_lung_baseline_mask.mha", data / "3DCT_lung_followup_mask.mha"),
    )


def row(name: str, method: Method, tool: Tool, pair: PairFiles, threads: int, repeats: int) -> str:
    """One line of the table."""
    costs = []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as folder:
            transform, cost = run_method(method, pair, Path(folder), tool, threads)
            figures = judged(pair, transform)
        costs.append(cost)
    tre = figures["tre_mm"]
    return (
        f"| {name} | {median(cost.seconds for cost in costs):.1f} | {max(cost.peak_mib for cost in costs):.0f} "
        f"| {tre['mean']:.2f} | {tre['median']:.2f} | {figures['mask_rmse_hu']:.1f} "
        f"| {figures['folding_percent']:.4f} | {figures['min_jacobian']:.2f} |"
    )


if __name__ == "__main__":
    main()
