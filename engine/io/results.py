"""What `register` leaves behind: one folder with the transform, the fields, the images, the figures and the case."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.case import Case
from engine.io.atomic import whole_folder
from engine.io.case_folder import save_case
from engine.io.images import to_sitk_image, write_image, write_sitk_image
from engine.io.step_json import as_plain, step_as_dict
from engine.io.transforms import to_sitk_transform, total_displacement_mm, write_transform
from engine.shapes import HuArray
from engine.volume import PADDING_HU

_WRITERS = 3
"""Files written at a time: compression is what takes the time, and it runs beside the interpreter."""


def write_results(
    case: Case, folder: str | Path, runtime_info: dict[str, Any], warped_hu: HuArray, force: bool = False
) -> None:
    """Write the current state of a case, its images and its history into a folder that appears whole or not at all.

    `warped.nii.gz` holds the warped image and `difference.nii.gz` fixed minus warped, both in whole HU;
    the difference is 0 where either image is invalid. `runtime_info` (version, device, seed) opens metrics.json.
    A folder that holds results already needs `force`. Raises OutputError.
    """
    with whole_folder(folder, force) as temporary:
        geometry = case.fixed.geometry
        field = to_sitk_image(total_displacement_mm(case.current), geometry)
        files: tuple[Callable[[], object], ...] = (
            lambda: write_sitk_image(temporary / "dvf.nii.gz", field),
            lambda: write_transform(temporary / "transform.h5", to_sitk_transform(case.current)),
            lambda: save_case(case, temporary / "case"),
            lambda: write_sitk_image(temporary / "dvf.mha", field),
            lambda: write_image(temporary / "warped.nii.gz", _whole_hu(warped_hu), geometry),
            lambda: write_image(temporary / "difference.nii.gz", difference_hu(case, warped_hu), geometry),
        )
        with ThreadPoolExecutor(_WRITERS) as pool:
            for written in [pool.submit(write) for write in files]:
                written.result()
        text = json.dumps(metrics(case, runtime_info), indent=2, allow_nan=False)
        (temporary / "metrics.json").write_text(text + "\n", encoding="utf-8")


def metrics(case: Case, runtime_info: dict[str, Any]) -> dict[str, Any]:
    """The contents of metrics.json: `runtime_info`, both geometries and a stage for each step of the current state."""
    stages = [step_as_dict(step) for step in case.current.steps]
    geometries = {"fixed": case.fixed.geometry.as_dict(), "moving": case.moving.geometry.as_dict()}
    return {**as_plain(runtime_info), **geometries, "stages": stages}


def difference_hu(case: Case, warped_hu: HuArray) -> NDArray[np.int16]:
    """Fixed minus warped in whole HU, 0 where either is invalid."""
    compared = case.fixed.valid & (warped_hu != np.float32(PADDING_HU))
    return _whole_hu(np.where(compared, case.fixed.hu - warped_hu, np.float32(0)))


def _whole_hu(hu: HuArray) -> NDArray[np.int16]:
    return np.clip(np.rint(hu), -32768, 32767).astype(np.int16)
