"""`regard phantom`: a pair with its truth, as files."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from engine.field import displacement_mm
from engine.io.atomic import whole_folder
from engine.io.images import write_image
from engine.io.points import write_points
from engine.phantom.thorax import PhantomPair, thorax_pair


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    pair = thorax_pair(arguments.seed, tuple(arguments.size), tuple(arguments.spacing), arguments.projections)
    facts = {
        "seed": arguments.seed,
        "projections": arguments.projections,
        "diaphragm_mm": pair.diaphragm_mm,
        "organs": pair.organs,
    }
    with whole_folder(arguments.out, arguments.force) as folder:
        write_pair(pair, folder)
        (folder / "phantom.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    print(f"phantom in {arguments.out}")


def write_pair(pair: PhantomPair, folder: Path) -> None:
    """Images in whole HU, labels, the true displacement in mm (LPS) and the landmarks in the elastix format."""
    fixed, moving = pair.fixed.geometry, pair.moving.geometry
    write_image(folder / "fixed.nii.gz", np.rint(pair.fixed.hu).astype(np.int16), fixed)
    write_image(folder / "moving.nii.gz", np.rint(pair.moving.hu).astype(np.int16), moving)
    write_image(folder / "fixed_labels.nii.gz", pair.fixed_labels, fixed)
    write_image(folder / "moving_labels.nii.gz", pair.moving_labels, moving)
    write_image(folder / "true_dvf.nii.gz", displacement_mm(pair.displacement_vox, fixed), fixed)
    write_points(folder / "fixed_points.txt", pair.fixed_points_mm)
    write_points(folder / "moving_points.txt", pair.moving_points_mm)
