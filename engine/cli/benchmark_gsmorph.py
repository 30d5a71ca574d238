"""`regard benchmark gsmorph`: the comparison of GSMorph (Dou et al. 2023, table 1) on hearts that no training saw.

Every network trains on the same phantoms, from the same start, for the same number of steps; it is tried on other
phantoms and, where they are given, on pairs of cine MRI, which it has never seen.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from statistics import median

import torch
from torch import nn

from engine.cli.benchmark import Record, RowCache, machine, markdown_table, write_csv
from engine.cli.inputs import named, runtime_of
from engine.cli.slice_methods import Register, demons, figures, one_by_one, predicted, still, syn
from engine.cli.steps import with_bar
from engine.errors import InputError
from engine.io.atomic import whole_file
from engine.models.morph2d import MORPH2D_MULTIPLE, ConditionalMorph2d, Morph2d
from engine.models.weights import save_weights
from engine.optimize.surgery import GradientSurgery
from engine.training.cardiac import SlicePair, cine_pairs, phantom_pair
from engine.training.morph2d import Combination, Morph2dSettings, SampledWeight, WeightedSum, train_morph2d

_MOST_TRAINING_PAIRS, _VALIDATION_PAIRS, _TEST_PAIRS = 1000, 16, 32
_HYPER_WEIGHTS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98)
_PHANTOMS, _CINE = "phantoms", "cine MRI"


@dataclass(frozen=True)
class Bench:
    """What the methods may use. Phantoms of three numbers: training, validation and test share none."""

    training: Morph2dSettings
    size: int
    device: torch.device
    threads: int
    ants_python: str | None

    @cached_property
    def training_pairs(self) -> list[SlicePair]:
        return self.phantoms(0, min(_MOST_TRAINING_PAIRS, self.training.steps * self.training.batch))

    def phantoms(self, part: int, count: int) -> list[SlicePair]:
        """`count` phantoms of a part: 0 training, 1 validation, 2 test."""
        return [phantom_pair(3 * self.training.seed + part, index, self.size) for index in range(count)]


@dataclass(frozen=True, slots=True)
class Method:
    """A method ready to register: how, the network if there is one, and what must be told about it."""

    register: Register
    network: nn.Module | None = None
    note: str = ""

    @property
    def parameter_count(self) -> int:
        return sum(parameter.numel() for parameter in self.network.parameters()) if self.network else 0


def _trained(bench: Bench, combination: Callable[[], Combination]) -> Method:
    torch.manual_seed(bench.training.seed)
    network = Morph2d().to(bench.device)
    with_bar(train_morph2d(network, combination(), bench.training_pairs, bench.training))
    return Method(one_by_one(partial(predicted, network)), network)


def _hypermorph(bench: Bench) -> Method:
    """The weight that gives the best Dice on phantoms made for that choice."""
    torch.manual_seed(bench.training.seed)
    network = ConditionalMorph2d().to(bench.device)
    sampled = SampledWeight(network, bench.training.seed)
    with_bar(train_morph2d(network, sampled, bench.training_pairs, bench.training))
    pairs = bench.phantoms(1, _VALIDATION_PAIRS)

    def dice(weight: float) -> float:
        network.weight = weight
        return figures(pairs, [predicted(network, pair) for pair in pairs]).dice

    network.weight = max(_HYPER_WEIGHTS, key=dice)
    return Method(one_by_one(partial(predicted, network)), network, f"weight {network.weight:g} by validation")


def _syn(bench: Bench) -> Method | None:
    return Method(syn(bench.ants_python, bench.training.seed, bench.threads)) if bench.ants_python else None


def _voxelmorph(weight: float) -> Callable[[Bench], Method]:
    return partial(_trained, combination=partial(WeightedSum, weight))


def _surgery(rule: str) -> Callable[[Bench], Method]:
    return partial(_trained, combination=partial(GradientSurgery, rule, "tensor"))


METHODS: dict[str, Callable[[Bench], Method | None]] = {
    "Initial": lambda bench: Method(one_by_one(still)),
    "Demons": lambda bench: Method(one_by_one(partial(demons, threads=bench.threads))),
    "SyN": _syn,
    "VoxelMorph 0.1": _voxelmorph(0.1),
    "VoxelMorph 0.01": _voxelmorph(0.01),
    "VoxelMorph 0.001": _voxelmorph(0.001),
    "HyperMorph (FiLM)": _hypermorph,
    "GS-Agr": _surgery("agr"),
    "GS-PCGrad": _surgery("pcgrad"),
    "GSMorph": _surgery("gsmorph"),
}
"""From the bench to a method, or none where it cannot run there. Surgery is by tensor, as in the authors' code."""


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    _check(arguments)
    runtime = runtime_of(arguments)
    training = Morph2dSettings(arguments.steps, arguments.batch, smoothness=arguments.smoothness, seed=arguments.seed)
    bench = Bench(training, arguments.size, runtime.torch_device(), runtime.thread_count, arguments.ants_python)
    tests = {_PHANTOMS: bench.phantoms(2, _TEST_PAIRS)}
    if arguments.data:
        tests[_CINE] = named("--data", lambda: cine_pairs(Path(arguments.data), arguments.size))
    settings: Record = {**asdict(training), "size": bench.size, "cine_pairs": len(tests.get(_CINE, []))}
    folder = Path(arguments.out)
    cache = RowCache(folder, settings)
    facts: Record = {**settings, "machine": machine(runtime)}
    table: dict[str, list[Record]] = {}
    for name, prepare in METHODS.items():
        table[name] = cache.row(name, partial(_records, name, prepare, bench, tests, facts, folder)) or []
        write_csv(folder / "results.csv", [record for records in table.values() for record in records])
        with whole_file(folder / "results.md") as temporary:
            temporary.write_text(_markdown(table, list(tests), facts), encoding="utf-8")
        overlaps = [f"{row['data']}: Dice {row['dice']:.3f}" for row in table[name]] or ["not run"]
        print(f"{name:<18}  {'  '.join(overlaps)}", flush=True)
    print(f"tables in {folder / 'results.md'} and {folder / 'results.csv'}")


def _check(arguments: argparse.Namespace) -> None:
    if arguments.steps < 1 or arguments.batch < 2 or arguments.seed < 0:
        raise InputError("Expected at least one step, at least two pairs a step and a seed that is not negative.")
    if arguments.size < 32 or arguments.size % MORPH2D_MULTIPLE:
        raise InputError(f"Expected a size of at least 32, a multiple of {MORPH2D_MULTIPLE}, got {arguments.size}.")


def _records(
    name: str,
    prepare: Callable[[Bench], Method | None],
    bench: Bench,
    tests: dict[str, list[SlicePair]],
    facts: Record,
    folder: Path,
) -> list[Record] | None:
    """One record for each set of test pairs; what was trained is kept as a file of weights in `folder`."""
    started = time.perf_counter()
    method = prepare(bench)
    training_s = time.perf_counter() - started
    if method is None:
        return None
    if method.network is not None:
        save_weights(method.network, folder / f"{name}.safetensors")
    records: list[Record] = []
    for data, pairs in tests.items():
        fields, seconds = method.register(pairs)
        found = asdict(figures(pairs, fields))
        record: Record = {"method": name, "data": data, **found, "hd95_unit": "mm" if data == _PHANTOMS else "px"}
        costs: Record = {"parameters": method.parameter_count, "pair_s": median(seconds), "training_s": training_s}
        records.append({**record, **costs, "note": method.note, **facts})
    return records


def _markdown(table: dict[str, list[Record]], tests: list[str], facts: Record) -> str:
    lines = [
        "# GSMorph and what it was compared with\n",
        f"Seed {facts['seed']}, {facts['steps']} steps of {facts['batch']} pairs each, {facts['size']} pixels a "
        f"side, Adam {facts['learning_rate']}, smoothness {facts['smoothness']}; {facts['machine']}. Networks see "
        f"phantoms only. NJD: share of pixels with det(I + grad u) ≤ 0. `regard benchmark gsmorph` makes this table.\n",
    ]
    for data in tests:
        rows = [_cells(name, next((row for row in rows if row["data"] == data), None)) for name, rows in table.items()]
        unit = "mm" if data == _PHANTOMS else "pixels of the original: PNG tells no spacing"
        lines += [
            f"## {data[0].upper()}{data[1:]}\n",
            markdown_table([*_HEADINGS[:2], f"HD95 ({unit})", *_HEADINGS[2:]], rows),
        ]
    if _CINE not in tests:
        lines.append("Cine MRI: not run, no folder was given with --data.\n")
    return "\n".join(lines)


_HEADINGS = ("method", "Dice %", "MSE × 10⁻²", "NJD %", "parameters", "ms a pair", "training s", "note")


def _cells(name: str, row: Record | None) -> list[str]:
    if row is None:
        return [name, "not run", *[""] * 6, "needs --ants-python"]
    dice, hd95, mse, folding, pair_s, training_s = (
        float(row[key]) for key in ("dice", "hd95", "mse", "folding_percent", "pair_s", "training_s")
    )
    learned = bool(row["parameters"])
    return [
        name,
        f"{100 * dice:.2f}",
        f"{hd95:.2f}",
        f"{100 * mse:.3f}",
        f"{folding:.3f}",
        f"{row['parameters']:,}" if learned else "",
        f"{1000 * pair_s:.1f}",
        f"{training_s:.0f}" if learned else "",
        str(row["note"]),
    ]
