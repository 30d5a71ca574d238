"""Registration and refinement of CT and cone-beam CT: what a notebook or a window needs.

Names load when they are first used, so that importing `engine` costs neither torch nor SimpleITK.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "engine.agreement": ("structure_figures",),
    "engine.case": ("Case",),
    "engine.errors": ("DeviceError", "InputError", "OutputError", "RegardError"),
    "engine.error_map": ("proposed_boxes",),
    "engine.geometry": ("Geometry",),
    "engine.guidance": ("Guidance",),
    "engine.io.catalog": ("Catalog", "Entry", "read_catalog"),
    "engine.io.case_folder": ("open_case", "rest_on_files", "save_case"),
    "engine.io.export": ("EXPORTERS", "export"),
    "engine.io.images": ("read_files", "read_labels", "read_labels_on", "read_mask_on", "read_volume", "write_image"),
    "engine.io.points": ("read_points", "write_points"),
    "engine.io.results": ("write_results",),
    "engine.io.thumbnails": ("thumbnail",),
    "engine.io.transforms": ("read_transform", "to_sitk_transform", "total_displacement_mm"),
    "engine.models": ("MODELS", "model_card", "unlike_training"),
    "engine.pairing": ("Finding", "label_findings", "pair_findings"),
    "engine.pictures": ("state_thumbnail",),
    "engine.progress": ("STOP", "Command", "Job", "Preview", "Progress", "finish"),
    "engine.registration": ("Certificate", "Registration", "Step"),
    "engine.rigid_motion": ("RigidMotion",),
    "engine.roi": ("Box",),
    "engine.runtime": ("Runtime", "device_name"),
    "engine.session": (
        "AlignSettings",
        "GeneralSettings",
        "IsoSettings",
        "RevertSettings",
        "RsoSettings",
        "measured",
        "run_step",
        "warped_hu",
    ),
    "engine.spatial.jacobian": ("jacobian_determinant",),
    "engine.spatial.live_field": ("LiveField",),
    "engine.spatial.section": ("CarriedLabels", "MovedImage"),
    "engine.volume": ("PADDING_HU", "Volume"),
}

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names}

__version__ = "0.1.0"
__all__ = sorted(_HOME_OF)


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module 'engine' has no attribute {name!r}")
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value
