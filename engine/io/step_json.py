"""Steps and boxes as plain values for JSON: the stages of metrics.json, history and boxes in case.json."""

from __future__ import annotations

import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np

from engine.regions import NamedBox
from engine.registration import Certificate, Step
from engine.roi import Box

_FIGURES = ("rmse_hu", "folding_percent", "min_jacobian", "roughness")


def step_as_dict(step: Step) -> dict[str, Any]:
    """Everything that a step records; figures that are missing or not numbers are left out."""
    values = {item.name: getattr(step, item.name) for item in fields(step)}
    if step.certificate is not None:
        values["certificate"] = asdict(step.certificate)
    plain = {key: as_plain(value) for key, value in values.items()}
    return {key: value for key, value in plain.items() if value is not None and value != []}


def step_from_dict(values: dict[str, Any]) -> Step:
    """Inverse of `step_as_dict`; raises KeyError, TypeError, ValueError or InputError for what is no step."""
    box, certificate = values.get("box"), values.get("certificate")
    return Step(
        name=str(values["name"]),
        settings=dict(values["settings"]),
        iterations=int(values["iterations"]),
        seconds=float(values["seconds"]),
        **{key: float(values.get(key, math.nan)) for key in _FIGURES},
        box=None if box is None else Box.parse(box),
        box_rmse_hu_before=values.get("box_rmse_hu_before"),
        box_rmse_hu_after=values.get("box_rmse_hu_after"),
        certificate=None if certificate is None else _certificate(certificate),
        notes=tuple(str(note) for note in values.get("notes", ())),
    )


def _certificate(values: dict[str, Any]) -> Certificate:
    known = {item.name for item in fields(Certificate)}
    filled = {"max_change_outside_mm": math.nan, "seam_gradient_jump": math.nan, **values}
    return Certificate(**{key: value for key, value in filled.items() if key in known})


def box_as_dict(named: NamedBox) -> dict[str, Any]:
    """Everything that the user said of a box."""
    return {item.name: as_plain(getattr(named, item.name)) for item in fields(NamedBox)}


def box_from_dict(values: dict[str, Any]) -> NamedBox:
    """Inverse of `box_as_dict`; raises KeyError, AttributeError, TypeError or InputError for what is no box."""
    return NamedBox(
        name=str(values["name"]),
        box=Box.parse(values["box"]),
        reason=str(values.get("reason", "")),
        untouched=bool(values.get("untouched", False)),
        use=values.get("use", "optimise"),
        locked=bool(values.get("locked", False)),
    )


def as_plain(value: Any) -> Any:
    """A value as JSON knows it: numbers that are not finite become none, boxes and paths text, tuples lists."""
    if isinstance(value, (np.generic, np.ndarray)):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        plain = {str(key): as_plain(item) for key, item in value.items()}
        return {key: item for key, item in plain.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [as_plain(item) for item in value]
    return str(value) if isinstance(value, (Box, Path)) else value
