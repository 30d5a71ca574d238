"""Whether two images go together as fixed and moving: what a careful colleague would ask before starting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from engine.geometry import Geometry
from engine.identity import Identity
from engine.volume import Volume

_PROBES = 24
"""Points along each axis of the fixed grid."""

_LEAST_OVERLAP = 0.1
"""Of the fixed image."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line on what is odd about a pair and what to do. `kind`: patient, roles, same, frame or overlap.

    `is_warning`: probably a mistake; otherwise something to know.
    """

    kind: str
    text: str
    is_warning: bool = True


def pair_findings(fixed: Volume, moving: Volume) -> tuple[Finding, ...]:
    """What is odd about a pair, warnings first."""
    found = list(label_findings(fixed.identity, moving.identity, fixed.modality, moving.modality))
    if _is_same(fixed, moving):
        text = "Fixed and moving are the same image, voxel by voxel. Open the other one in place of one of them."
        found.insert(0, Finding("same", text))
    frames_differ = any(finding.kind == "frame" for finding in found)
    share = 1.0 if frames_differ else overlap(fixed.geometry, moving.geometry)
    if share < _LEAST_OVERLAP:
        text = (
            f"By their coordinates the moving image covers only {100 * share:.0f} % of the fixed one. "
            "Check that both show the same region; align them first."
        )
        found.append(Finding("overlap", text))
    return _warnings_first(found)


def label_findings(fixed: Identity, moving: Identity, fixed_modality: str, moving_modality: str) -> tuple[Finding, ...]:
    """What the labels of two images say against them, warnings first, without a look at the images."""
    found = []
    if _differ(fixed.patient_id, moving.patient_id):
        text = "The images name different patient IDs. Go on only if you know that they show one patient."
        found.append(Finding("patient", text))
    elif _differ(fixed.patient_name, moving.patient_name):
        text = "The images name different patients. Go on only if you know that they show one patient."
        found.append(Finding("patient", text))
    elif _names_somebody(fixed) != _names_somebody(moving):
        text = "Only one of the images names its patient: nothing tells whether both show the same one."
        found.append(Finding("patient", text, is_warning=False))
    if (fixed_modality, moving_modality) == ("CT", "CBCT"):
        text = (
            "The fixed image is a CT and the moving one a CBCT. Usually the planning CT is the moving image, "
            "deformed onto the CBCT of the day: swap the roles if you meant that."
        )
        found.append(Finding("roles", text))
    if _differ(fixed.frame_of_reference, moving.frame_of_reference):
        text = "The images lie in different frames of reference: align them before anything else."
        found.append(Finding("frame", text, is_warning=False))
    return _warnings_first(found)


def _warnings_first(found: list[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(found, key=lambda finding: not finding.is_warning))


def overlap(fixed: Geometry, moving: Geometry) -> float:
    """The share of the fixed grid that lies inside the moving one, by their coordinates."""
    axes = [np.linspace(0, n - 1, min(n, _PROBES)) for n in fixed.size_xyz]
    probes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    indices = moving.indices(fixed.points(probes))
    inside = (indices >= -0.5) & (indices <= np.asarray(moving.size_xyz) - 0.5)
    return float(inside.all(axis=1).mean())


def _names_somebody(identity: Identity) -> bool:
    return bool(identity.patient_id or identity.patient_name)


def _differ(one: str, other: str) -> bool:
    return bool(one and other and one != other)


def _is_same(fixed: Volume, moving: Volume) -> bool:
    return fixed.geometry.is_close(moving.geometry) and np.array_equal(fixed.hu, moving.hu)
