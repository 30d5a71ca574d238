"""What the commands of `regard benchmark` share: rows that survive an interruption, and tables.

A benchmark is a module `benchmark_NAME.py` beside this one and a row in `parser.py`.
"""

from __future__ import annotations

import csv
import json
import platform
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from engine.errors import InputError
from engine.io.atomic import whole_file
from engine.runtime import Runtime

Record: TypeAlias = dict[str, str | int | float]
"""One line of the CSV file; a figure that does not exist is not a number."""


class RowCache:
    """Finished rows in `folder`, so that a run that was cut goes on where it stopped.

    Raises:
        InputError: the folder holds rows of other settings.
    """

    def __init__(self, folder: Path, settings: Record) -> None:
        self._folder = folder / "rows"
        known = folder / "settings.json"
        if not known.exists():
            _write_json(known, settings)
        elif _read_json(known) != settings:
            raise InputError("The folder holds a benchmark with other settings; choose another folder.")

    def row(self, name: str, compute: Callable[[], list[Record] | None]) -> list[Record] | None:
        """The records kept under `name`, or those that `compute` gives, which are kept unless it gives None."""
        path = self._folder / f"{name}.json"
        if path.exists():
            kept: list[Record] = _read_json(path)
            return kept
        records = compute()
        if records is not None:
            _write_json(path, records)
        return records


def write_csv(path: Path, records: list[Record]) -> None:
    """A file of all records; the first one names the columns."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(records[0]))
        writer.writeheader()
        writer.writerows(records)


def markdown_table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table as GitHub shows it; cells hold no vertical bar."""
    headings = list(headings)
    lines = [headings, ["---"] * len(headings), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def machine(runtime: Runtime) -> str:
    """The processor and what of it was used, for the head of a table."""
    import torch

    if runtime.torch_device().type == "cuda":
        return torch.cuda.get_device_name()
    cpu = platform.processor() or platform.machine()
    facts = Path("/proc/cpuinfo")
    if facts.exists():
        names = [line.partition(":")[2].strip() for line in facts.read_text().splitlines() if "model name" in line]
        cpu = names[0] if names else cpu
    return f"{cpu}, threads: {runtime.thread_count}"


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path.name} of the benchmark's folder cannot be read; choose another folder.") from error


def _write_json(path: Path, value: object) -> None:
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
