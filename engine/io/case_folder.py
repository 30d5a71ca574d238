"""A case as a folder: `case.json`, both images, and the arrays of every state, each array once.

A displacement that is zero everywhere has no file. `case.json` is written last, so a folder that holds it is whole.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from engine.case import Case
from engine.errors import InputError, OutputError
from engine.geometry import Geometry
from engine.guidance import Guidance
from engine.identity import Identity
from engine.io.atomic import output_errors, whole_file, whole_folder
from engine.io.case_arrays import ArrayFiles, read_displacement, read_label_array, read_mask, read_weights
from engine.io.images import array_of, read_image, to_sitk_image, write_sitk_image
from engine.io.step_json import box_as_dict, box_from_dict, step_as_dict, step_from_dict
from engine.regions import MARKS, Regions
from engine.registration import Registration
from engine.shapes import DisplacementArray, HuArray
from engine.structures import Structures
from engine.volume import Volume

FORMAT = "regard case"
VERSION = 1


def save_case(case: Case, folder: str | Path, force: bool = False) -> None:
    """Write a case. A new folder appears whole; into the folder of this same case only what is new is written.

    Any other folder that is not empty needs `force`, and must be Regard's. Raises OutputError.
    """
    target = Path(folder)
    present = _present_manifest(target)
    if present is not None and present.get("id") == case.id:
        with output_errors():
            _save_into(case, target, present)
        return
    with whole_folder(target, force) as temporary:
        for role, volume in (("fixed", case.fixed), ("moving", case.moving)):
            write_sitk_image(temporary / f"{role}.mha", to_sitk_image(_as_stored(volume.hu), volume.geometry))
            write_sitk_image(
                temporary / f"{role}_valid.mha", to_sitk_image(volume.valid, volume.geometry), compressed=True
            )
        _save_into(case, temporary, {})


def rest_on_files(case: Case, folder: str | Path) -> None:
    """Map the displacements of a case from the folder it was just saved to, bit for bit the same, but for the current.

    So a long history takes no memory. What cannot be mapped stays there. A mapped file that is removed lasts until
    nobody maps it any more; on Windows it cannot be removed before.
    """
    source = Path(folder)
    for state, values in zip(case.states, _manifest(source)["states"], strict=True):
        if state is not case.current and values["displacement"] is not None:
            with suppress(OSError, ValueError):
                state.rest_on(read_displacement(source, values["displacement"]))


def open_case(folder: str | Path) -> Case:
    """Read a case. The displacements are mapped from the files, so a long history takes no memory.

    Raises InputError where the folder is no case, is damaged, or was written by a later version.
    """
    source = Path(folder)
    manifest = _manifest(source)
    try:
        fixed, moving = (_opened_volume(source, role, manifest[role]) for role in ("fixed", "moving"))
        states = _opened_states(source, manifest["states"], fixed.geometry)
        guidance = _opened_guidance(source, manifest.get("guidance", {}))
        structures = _opened_structures(source, manifest.get("structures", {}))
        tree = _opened_tree(manifest["states"])
        deleted = frozenset(i for i, state in enumerate(manifest["states"]) if state.get("deleted"))
        cursor, identity = int(manifest["cursor"]), str(manifest["id"])
        regions = _opened_regions(source, manifest.get("regions"))
        return Case(fixed, moving, states, cursor, identity, guidance, structures, *tree, regions, deleted)
    except (InputError, KeyError, TypeError, ValueError, AttributeError, OSError, EOFError) as error:
        raise InputError("The case is damaged: a part of it is missing or does not fit the rest.") from error


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        values = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError("Expected the folder of a saved case; this one holds no case.json.") from error
    except ValueError as error:
        raise InputError("The case is damaged: its case.json cannot be read.") from error
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise InputError("Expected the folder of a saved case; the case.json in it is not Regard's.")
    if values.get("version") != VERSION:
        raise InputError(
            f"The case was written in format {values.get('version')}; this program reads {VERSION}. Update it."
        )
    return values


def _present_manifest(folder: Path) -> dict[str, Any] | None:
    try:
        return _manifest(folder)
    except InputError:
        return None


def _save_into(case: Case, folder: Path, present: dict[str, Any]) -> None:
    """Write the arrays that `folder` lacks, then case.json, then remove the arrays that no state needs any more."""
    files = ArrayFiles(folder, present)
    try:
        states = [
            {"parent": parent, "redo": redo, "deleted": number in case.deleted, **_state_as_dict(state, files)}
            for number, (state, parent, redo) in enumerate(zip(case.states, case.parents, case.followed, strict=True))
        ]
        manifest = {
            "format": FORMAT,
            "version": VERSION,
            "id": case.id,
            "cursor": case.cursor,
            "fixed": _volume_as_dict(case.fixed),
            "moving": _volume_as_dict(case.moving),
            "states": states,
            "guidance": _guidance_as_dict(case, files),
            "structures": _structures_as_dict(case, files),
        }
        if case.regions is not None:
            manifest["regions"] = _regions_as_dict(case.regions, case.fixed.geometry, files)
        with whole_file(folder / "case.json") as temporary:
            temporary.write_text(json.dumps(manifest, indent=1, allow_nan=False), encoding="utf-8")
    except (OSError, OutputError):
        files.remove_written()
        raise
    with suppress(OSError):
        files.remove_unused()


def _volume_as_dict(volume: Volume) -> dict[str, Any]:
    return {
        "name": volume.name,
        "modality": volume.modality,
        "geometry": volume.geometry.as_dict(),
        "identity": asdict(volume.identity),
    }


def _state_as_dict(state: Registration, files: ArrayFiles) -> dict[str, Any]:
    return {
        "rigid": state.rigid.tolist(),
        "model": state.model,
        "displacement": files.displacement(state.displacement_vox),
        "weights": None if state.weights is None else files.weights(state.weights),
        "steps": [step_as_dict(step) for step in state.steps],
    }


def _guidance_as_dict(case: Case, files: ArrayFiles) -> dict[str, Any]:
    guidance = case.guidance
    points = {
        "fixed_points_mm": guidance.fixed_points_mm.tolist(),
        "moving_points_mm": guidance.moving_points_mm.tolist(),
    }
    masks = {"rigid": guidance.rigid, "excluded": guidance.excluded}
    entries = {name: files.mask(mask, case.fixed.geometry) for name, mask in masks.items() if mask is not None}
    return {**points, **entries}


def _structures_as_dict(case: Case, files: ArrayFiles) -> dict[str, Any]:
    sides = {
        "fixed": (case.structures.fixed, case.fixed.geometry),
        "moving": (case.structures.moving, case.moving.geometry),
    }
    return {role: files.labels(labels, grid) for role, (labels, grid) in sides.items() if labels is not None}


def _opened_structures(folder: Path, values: dict[str, Any]) -> Structures:
    fixed, moving = (read_label_array(folder, values[role]) if role in values else None for role in ("fixed", "moving"))
    return Structures(fixed, moving)


def _opened_guidance(folder: Path, values: dict[str, Any]) -> Guidance:
    fixed_mm, moving_mm = (
        np.array(values.get(name, []), dtype=np.float64).reshape(-1, 3)
        for name in ("fixed_points_mm", "moving_points_mm")
    )
    rigid, excluded = (read_mask(folder, values[name]) if name in values else None for name in ("rigid", "excluded"))
    return Guidance(fixed_mm, moving_mm, rigid, excluded)


def _regions_as_dict(regions: Regions, geometry: Geometry, files: ArrayFiles) -> dict[str, Any]:
    masks: dict[str, Any] = {use: files.mask(mask, geometry) for use, mask in regions.masks_from_files().items()}
    return {"boxes": [box_as_dict(named) for named in regions.boxes], **masks}


def _opened_regions(folder: Path, values: dict[str, Any] | None) -> Regions | None:
    """None for a case that was written before boxes were kept, or by the command line."""
    if values is None:
        return None
    masks = {use: read_mask(folder, values[use]) for use in MARKS if use in values}
    return Regions(tuple(box_from_dict(named) for named in values["boxes"]), **masks)


def _as_stored(hu: HuArray) -> np.ndarray[Any, Any]:
    """16-bit integers where that loses nothing, else the values as they are."""
    if hu.min() < -32768 or hu.max() > 32767:
        return hu
    integers = hu.astype(np.int16)
    return integers if np.array_equal(integers, hu) else hu


def _opened_volume(folder: Path, role: str, values: dict[str, Any]) -> Volume:
    hu: HuArray = array_of(read_image(folder / f"{role}.mha", "sitkFloat32"))
    valid = array_of(read_image(folder / f"{role}_valid.mha", "sitkUInt8")) != 0
    geometry = Geometry.from_dict(values["geometry"])
    identity = Identity(**{key: str(value) for key, value in values.get("identity", {}).items()})
    return Volume(hu, geometry, valid, str(values["modality"]), str(values["name"]), identity)


def _opened_tree(values: list[dict[str, Any]]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Which state each began from and where redo leads; a case without them has states one after the other."""
    if not any("parent" in state for state in values):
        return (), ()
    return tuple(int(state["parent"]) for state in values), tuple(int(state["redo"]) for state in values)


def _opened_states(folder: Path, values: list[dict[str, Any]], geometry: Geometry) -> tuple[Registration, ...]:
    zero: DisplacementArray = np.zeros((3, *geometry.shape_zyx), dtype=np.float32)
    displacements: dict[str, DisplacementArray] = {}
    weights: dict[str, dict[str, Any]] = {}
    states = []
    for state in values:
        array, tensors = state["displacement"], state["weights"]
        if array is not None and array["file"] not in displacements:
            displacements[array["file"]] = read_displacement(folder, array)
        if tensors is not None and tensors["file"] not in weights:
            weights[tensors["file"]] = read_weights(folder, tensors)
        states.append(
            Registration(
                geometry,
                np.array(state["rigid"], dtype=np.float64).reshape(4, 4),
                zero if array is None else displacements[array["file"]],
                tuple(step_from_dict(step) for step in state["steps"]),
                state["model"],
                None if tensors is None else weights[tensors["file"]],
            )
        )
    return tuple(states)
