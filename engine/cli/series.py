"""`regard series`: what FIXED and MOVING can be in a folder and below it. Nobody is named."""

from __future__ import annotations

import argparse
import json
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from engine.cli.inputs import named
from engine.cli.steps import with_bar
from engine.io.catalog import Catalog, Entry, read_catalog


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    catalog = named("FOLDER", lambda: with_bar(read_catalog(arguments.folder)))
    if arguments.json:
        print(json.dumps({"images": _rows(catalog)}, indent=2))
    elif catalog.entries:
        for line in _lines(_rows(catalog)):
            print(line)
    else:
        print("no images: neither DICOM slices nor image files lie there")


def _rows(catalog: Catalog) -> list[dict[str, Any]]:
    """Patients, and the studies of each, are numbered in the order of the catalog; files belong to nobody."""
    patients, studies = _Numbers(), _Numbers()
    rows = []
    for entry in catalog.entries:
        patient = patients.of("", entry.patient) if entry.is_dicom else None
        study = studies.of(entry.patient, entry.study) if entry.is_dicom else None
        rows.append({"image": _address(entry, catalog.folder), "patient": patient, "study": study, **_plain(entry)})
    return rows


class _Numbers:
    """Numbers from 1 for values as they come, counted for each owner."""

    def __init__(self) -> None:
        self._known: dict[Hashable, dict[Hashable, int]] = {}

    def of(self, owner: Hashable, value: Hashable) -> int:
        known = self._known.setdefault(owner, {})
        return known.setdefault(value, len(known) + 1)


def _address(entry: Entry, folder: Path) -> str:
    """What `regard register` takes from where the folder was named."""
    return entry.address or str(entry.files[0].parent.relative_to(folder))


def _plain(entry: Entry) -> dict[str, Any]:
    geometry = entry.geometry
    return {
        "modality": entry.modality or None,
        "description": entry.description or None,
        "phase": entry.phase or None,
        "slices": entry.count,
        "size_xyz": None if geometry is None else list(geometry.size_xyz),
        "spacing_xyz_mm": None if geometry is None else [round(s, 4) for s in geometry.spacing_xyz_mm],
        "can_be_opened": not entry.problem,
        "notes": [entry.problem] if entry.problem else list(entry.notes),
    }


def _lines(rows: list[dict[str, Any]]) -> list[str]:
    table = [("patient", "study", "image", "phase", "description", "size", "spacing mm", "FIXED or MOVING", "notes")]
    for row in rows:
        size = "×".join(str(n) for n in row["size_xyz"] or ()) or f"{row['slices']} files"
        spacing = "×".join(f"{s:.3g}" for s in row["spacing_xyz_mm"] or ())
        known = (row[key] for key in ("patient", "study", "modality", "phase", "description"))
        notes = "; ".join(row["notes"])
        table.append((*(str(cell or "–") for cell in known), size, spacing or "–", row["image"], notes))
    widths = [max(len(cells[column]) for cells in table) for column in range(len(table[0]))]
    return ["  ".join(c.ljust(w) for c, w in zip(cells, widths, strict=True)).rstrip() for cells in table]
