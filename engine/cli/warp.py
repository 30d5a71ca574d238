"""`regard warp`: an image or labels through a transform onto the fixed grid."""

from __future__ import annotations

import argparse

import numpy as np

from engine.cli.evaluate import resampled_hu, resampled_labels
from engine.cli.inputs import named, tell
from engine.io.images import read_labels, read_volume, to_sitk_image, write_image
from engine.io.transforms import read_transform
from engine.pairing import label_findings


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    fixed = named("--like", lambda: read_volume(arguments.like))
    like = fixed.geometry
    transform = named("TRANSFORM", lambda: read_transform(arguments.transform))
    if arguments.labels:
        labels, geometry = named("MOVING", lambda: read_labels(arguments.moving))
        write_image(arguments.out, resampled_labels(to_sitk_image(labels, geometry), transform, like), like)
        return
    moving = named("MOVING", lambda: read_volume(arguments.moving))
    found = label_findings(fixed.identity, moving.identity, fixed.modality, moving.modality)
    tell(finding for finding in found if finding.kind == "patient")
    warped = resampled_hu(moving, transform, like)
    write_image(arguments.out, np.clip(np.rint(warped), -32768, 32767).astype(np.int16), like)
