"""The formats in which a registration leaves the program: one row of `EXPORTERS` each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from engine.case import Case
from engine.errors import InputError
from engine.io.images import write_image
from engine.io.transforms import to_sitk_transform, total_displacement_mm, write_transform


@dataclass(frozen=True, slots=True)
class Exporter:
    """A format: what it is for a reader, its file suffix, and the function that writes a case's current state."""

    description: str
    suffix: str
    write: Callable[[Case, Path], None]


def export(case: Case, format_name: str, path: str | Path) -> None:
    """Write the current state of a case. InputError for an unknown format or suffix, OutputError for the disk."""
    exporter = EXPORTERS.get(format_name)
    if exporter is None:
        raise InputError(f"Expected an export format out of {', '.join(EXPORTERS)}, got {format_name!r}.")
    if not str(path).lower().endswith(exporter.suffix):
        raise InputError(f"Expected a file name that ends in {exporter.suffix} for the format {format_name}.")
    exporter.write(case, Path(path))


def _write_field(case: Case, path: Path) -> None:
    write_image(path, total_displacement_mm(case.current), case.fixed.geometry)


def _write_itk(case: Case, path: Path) -> None:
    write_transform(path, to_sitk_transform(case.current))


EXPORTERS: dict[str, Exporter] = {
    "nifti": Exporter("Displacement field T(x) − x, NIfTI vectors in mm (LPS)", ".nii.gz", _write_field),
    "mha": Exporter("Displacement field T(x) − x, MetaImage vectors in mm (LPS)", ".mha", _write_field),
    "itk": Exporter(
        "ITK composite transform (rigid and displacement field), for SimpleITK and Slicer", ".h5", _write_itk
    ),
}
