"""`regard models`: the table of models."""

from __future__ import annotations

import argparse

from engine.models import MODELS, find_model


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    del arguments
    for name, model in MODELS.items():
        _, weights = find_model(name)
        state = "ready" if weights is not None and weights.exists() else "no weights"
        print(f"{name:<12} {state:<11} {model.spacing_mm:g} mm  {model.description}")
