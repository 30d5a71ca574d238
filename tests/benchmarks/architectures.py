"""What a network learns in the same time: a plain U-Net, two passes of one, coarse to fine, and with a first guess.

    python tests/benchmarks/architectures.py --data FOLDER --artefacts BANK.npy
        [--minutes 12] [--phantoms 40] [--cases 6] [--threads 1] [--out DIR]

Every network trains on the same pairs for the same processor time, then registers phantoms that no training saw,
rigidly aligned before; two passes predict, warp, and predict the rest. `convex`, which learns nothing, stands beside
them. Writes architectures.md and architectures.csv.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from itertools import chain
from pathlib import Path
from statistics import mean, median

import torch
from phantoms import RESULTS, SIZE_XYZ, error_mm, phantom_cases
from torch import nn

from engine.case import Case
from engine.cli.benchmark import Record, machine, markdown_table, write_csv
from engine.cli.train import phantom, read_artefacts
from engine.io.atomic import whole_file
from engine.metrics import field_figures
from engine.models import MODELS, load_network
from engine.optimize.general import finished, network_pair
from engine.phantom.thorax import PhantomPair
from engine.preprocess import body_of
from engine.progress import finish
from engine.runtime import Runtime
from engine.session import AlignSettings, run_step
from engine.spatial.warp import compose
from engine.training.archive import read_archive
from engine.training.batches import TrainingData
from engine.training.loop import train
from engine.training.settings import TrainingSettings

_TRAINED = ("unet-stable", "pyramid", "general")
_TWICE = ("unet-stable", "pyramid")
_CROP_ZYX = (48, 64, 64)
_PROBE_STEPS = 20


@dataclass(frozen=True, slots=True)
class Trained:
    """A network, what its training took, and how far it came on pairs like those of the training."""

    name: str
    network: nn.Module
    steps: int = 0
    cpu_minutes: float = 0.0
    validation_mm: float | None = None


def main() -> None:
    """Train, register, write both files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--artefacts", required=True)
    parser.add_argument("--minutes", type=float, default=12.0, help="processor time of each training")
    parser.add_argument("--phantoms", type=int, default=40)
    parser.add_argument("--cases", type=int, default=6)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    runtime = Runtime("cpu", threads=arguments.threads)
    facts: Record = {"machine": machine(runtime), "date": date.today().isoformat()}
    cases = [_aligned(case.make(), runtime) for case in phantom_cases(arguments.cases, SIZE_XYZ)]
    spacing_mm = MODELS["general"].spacing_mm
    data = TrainingData(
        list(finish(read_archive(arguments.data, spacing_mm)).anatomies),
        [phantom(0, number, spacing_mm) for number in range(arguments.phantoms)],
        [],
        read_artefacts(arguments.artefacts),
    )
    records: list[Record] = []
    unlearned = Trained("convex", load_network("convex"))
    for trained in chain([unlearned], map(partial(_train, data, arguments.minutes), _TRAINED)):
        for passes in (1, 2) if trained.name in _TWICE else (1,):
            records.append({**_figures(trained, passes, cases), **facts})
            write_csv(arguments.out / "architectures.csv", records)
            with whole_file(arguments.out / "architectures.md") as temporary:
                temporary.write_text(_markdown(records, arguments.minutes), encoding="utf-8")
            print("  ".join(_cells(records[-1])), flush=True)


def _train(data: TrainingData, minutes: float, name: str) -> Trained:
    """As many steps as fit into the processor time; a short training before tells how long one takes."""
    settings = TrainingSettings(
        name, _PROBE_STEPS, crop_zyx=_CROP_ZYX, precision="bf16", workers=0, validate_every=10**6, validation_pairs=0
    )
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        finish(train(data, settings, Path(folder, "probe")))
        a_step = (time.process_time() - began) / _PROBE_STEPS
        began = time.process_time()
        whole = replace(settings, steps=max(1, round(60 * minutes / a_step)), validation_pairs=8)
        report = finish(train(data, whole, Path(folder, "run")))
        spent = (time.process_time() - began) / 60
        network = load_network(f"{name}={Path(folder, 'run', 'weights.safetensors')}")
    return Trained(name, network, whole.steps, spent, report.validation_error_mm)


def _aligned(pair: PhantomPair, runtime: Runtime) -> tuple[PhantomPair, Case]:
    case = Case.new(pair.fixed, pair.moving)
    return pair, case.after(finish(run_step(case, AlignSettings(), runtime)))


def _figures(trained: Trained, passes: int, cases: list[tuple[PhantomPair, Case]]) -> Record:
    errors, before, folding, seconds = zip(*_registered(trained, passes, cases), strict=True)
    return {
        "network": trained.name + (", two passes" if passes == 2 else ""),
        "parameters": sum(parameter.numel() for parameter in trained.network.parameters()),
        "steps": trained.steps,
        "cpu_minutes": trained.cpu_minutes,
        "validation_mm": float("nan") if trained.validation_mm is None else trained.validation_mm,
        "cases": len(cases),
        "aligned_mm": mean(before),
        "error_mm": mean(errors),
        "percent": 100.0 * mean(errors) / mean(before),
        "folding_percent": mean(folding),
        "seconds": median(seconds),
    }


@torch.no_grad()
def _registered(
    trained: Trained, passes: int, cases: list[tuple[PhantomPair, Case]]
) -> Iterator[tuple[float, float, float, float]]:
    """Error in mm after and before, folding in percent of the body, seconds of the prediction."""
    for pair, case in cases:
        rigid, fixed = case.current.rigid, case.fixed
        grid, aligned = network_pair(trained.name, fixed, case.moving, rigid, torch.device("cpu"))
        target = grid.fixed * grid.fixed_valid
        began = time.perf_counter()
        displacement = trained.network(aligned, target)
        if passes == 2:
            warped = grid.warped(displacement) * grid.mask(displacement)
            displacement = compose(displacement, trained.network(warped, target))
        seconds = time.perf_counter() - began
        on_fixed, _ = finished(displacement, grid.geometry, fixed.geometry)
        after = case.after(replace(case.current, displacement_vox=on_fixed))
        figures = field_figures(on_fixed, body_of(fixed))
        yield error_mm(pair, after), error_mm(pair, case), figures.folding_percent, seconds


def _markdown(records: list[Record], minutes: float) -> str:
    facts = records[0]
    lines = [
        "# What networks learn in the same time\n",
        f"`python tests/benchmarks/architectures.py --minutes {minutes:g}`: {facts['machine']}, {facts['date']}. Error "
        "of unseen pairs like those of the training, then of the landmarks of unseen phantoms, in mm; percent of that "
        "after alignment; seconds of the prediction alone.\n",
        markdown_table(_HEADINGS, map(_cells, records)),
    ]
    return "\n".join(lines)


_HEADINGS = (
    *("network", "parameters", "steps", "CPU min", "validation mm", "cases", "aligned mm", "error mm", "%"),
    *("folding %", "s"),
)


def _cells(record: Record) -> list[str]:
    learned = bool(record["steps"])
    return [
        str(record["network"]),
        f"{record['parameters']:,}",
        str(record["steps"]) if learned else "",
        f"{record['cpu_minutes']:.1f}" if learned else "",
        f"{record['validation_mm']:.2f}" if learned else "",
        str(record["cases"]),
        f"{record['aligned_mm']:.2f}",
        f"{record['error_mm']:.2f}",
        f"{record['percent']:.0f}",
        f"{record['folding_percent']:.4f}",
        f"{record['seconds']:.2f}",
    ]


if __name__ == "__main__":
    main()
