"""`regard artefacts`: what cone-beam reconstruction adds to images, for `regard train --artefacts`."""

from __future__ import annotations

import argparse
from functools import partial

import numpy as np

from engine.cli.inputs import named
from engine.cli.steps import with_bar
from engine.cli.train import phantom
from engine.errors import InputError
from engine.io.atomic import whole_file
from engine.models import MODELS


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.count < 1 or arguments.phantoms < 0 or not (arguments.data or arguments.phantoms):
        raise InputError("Expected at least one reconstruction, of an image or of a phantom.")
    from engine.training.archive import read_archive
    from engine.training.artefacts import artefact_bank

    spacing_mm = MODELS["general"].spacing_mm
    archives = [named("--data", partial(with_bar, read_archive(path, spacing_mm))) for path in arguments.data]
    images = [image for archive in archives for image in archive.anatomies]
    images += [phantom(arguments.seed, number, spacing_mm) for number in range(arguments.phantoms)]
    bank = with_bar(artefact_bank(images, spacing_mm, arguments.count, arguments.projections, arguments.seed))
    with whole_file(arguments.out) as temporary:
        np.save(temporary, bank)
    print(f"{len(bank)} reconstructions in {arguments.out}")
