"""`regard models`: the table of models, or the card of one."""

from __future__ import annotations

import argparse

from engine.models import MODELS, find_model, model_card


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.name is not None:
        print(model_card(arguments.name))
        return
    for name, model in MODELS.items():
        _, weights = find_model(name)
        ready = not model.learned or (weights is not None and weights.exists())
        state = "ready" if ready else "no weights"
        print(f"{name:<12} {state:<11} {model.spacing_mm:g} mm  {model.description}")
