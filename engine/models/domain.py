"""What the images of a training looked like, and in what an image is unlike them.

A network is good at what it was trained on and gives no sign where it is not. The limits here are wide: they are meant
to catch another anatomy, another modality, a scale that is not HU or a small crop, not the odd patient.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.geometry import Triple, as_triple
from engine.shapes import MaskArray
from engine.volume import NOT_IN_HU, Volume

_SAMPLED_MM = 6.0
_BODY_ABOVE_HU = -300.0
_LUNG_HU = (-950.0, -400.0)
_SOFT_TISSUE_HU = (-200.0, 200.0)
_MODALITY_NAMES = {"CT": "CT", "CBCT": "cone-beam CT", "MR": "MR", "PT": "PET", NOT_IN_HU: "an image that is not in HU"}

SampledHu = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Domain:
    """The images that a network is for. Shares are percent of the body, HU as in `Appearance`.

    `anatomy` is named in warnings, in the plural. `modalities`: as in `Volume.modality`. `spacing_mm`: smallest and
    largest voxel size along any axis. `least_extent_mm`: what the scanner must have seen along each axis.
    """

    anatomy: str
    modalities: tuple[str, ...]
    spacing_mm: tuple[float, float]
    least_extent_mm: float
    least_lung_percent: float
    least_soft_tissue_percent: float

    def unlike(self, fixed: Volume, moving: Volume) -> tuple[str, ...]:
        """One sentence with the figures for each way in which an image is unlike the training data; none is good."""
        found: dict[str, dict[str, str]] = {}
        for role, volume in (("fixed", fixed), ("moving", moving)):
            for expected, seen in self._mismatches(Appearance.of(volume)):
                found.setdefault(expected, {})[role] = seen
        return tuple(f"The model {expected}; {_told(seen)}." for expected, seen in found.items())

    def as_markdown(self) -> str:
        """The limits as a section of a model card."""
        shares = (("lung", self.least_lung_percent), ("soft tissue", self.least_soft_tissue_percent))
        tissues = " or ".join(f"{percent:g} % {tissue}" for tissue, percent in shares if percent > 0)
        least_tissue = f"- shows less than {tissues} in the body.\n" if tissues else ""
        return (
            "## When Regard warns\n\n"
            "Before a run, and in the record of the step, where an image\n\n"
            f"- is other than {self._modality_names()};\n"
            f"- has voxels smaller than {self.spacing_mm[0]:g} mm or larger than {self.spacing_mm[1]:g} mm;\n"
            f"- spans less than {self.least_extent_mm:g} mm along an axis{';' if least_tissue else '.'}\n{least_tissue}"
        )

    def _mismatches(self, seen: Appearance) -> Iterator[tuple[str, str]]:
        """What the model expects, and what was seen instead."""
        is_in_hu = seen.modality in self.modalities
        if not is_in_hu:
            yield f"was trained on {self._modality_names()}", _modality_name(seen.modality)
        least_mm, most_mm = self.spacing_mm
        if min(seen.spacing_xyz_mm) < least_mm or max(seen.spacing_xyz_mm) > most_mm:
            yield f"is for voxels of {least_mm:g} to {most_mm:g} mm", f"{_product(seen.spacing_xyz_mm, '.3g')} mm"
        if min(seen.extent_xyz_mm) < self.least_extent_mm:
            expected = f"is for images that span at least {self.least_extent_mm:g} mm along each axis"
            yield expected, f"{_product(seen.extent_xyz_mm, '.0f')} mm"
        for tissue, percent, least_percent in (
            ("lung", seen.lung_percent, self.least_lung_percent),
            ("soft tissue", seen.soft_tissue_percent, self.least_soft_tissue_percent),
        ):
            if is_in_hu and percent < least_percent:
                expected = f"was trained on {self.anatomy}, where at least {least_percent:g} % of the body is {tissue}"
                yield expected, f"{percent:.1f} %"

    def _modality_names(self) -> str:
        return " and ".join(map(_modality_name, self.modalities))


@dataclass(frozen=True, slots=True)
class Appearance:
    """What is easily seen of an image. `extent_xyz_mm`: of its valid part.

    The body is what lies between tissue (above -300 HU) on both sides in x and in y, so that lungs belong to it and
    open air does not; where the field of view cuts a lung, what lies beyond the last tissue is missed. Lung is -950 to
    -400 HU, soft tissue -200 to 200 HU, both in percent of the body.
    """

    modality: str
    spacing_xyz_mm: Triple
    extent_xyz_mm: Triple
    lung_percent: float
    soft_tissue_percent: float

    @classmethod
    def of(cls, volume: Volume) -> Appearance:
        """Look at one voxel in every 6 mm; some ten milliseconds for a planning CT."""
        steps = tuple(max(1, round(_SAMPLED_MM / spacing_mm)) for spacing_mm in volume.geometry.spacing_zyx_mm)
        sampled = tuple(slice(None, None, step) for step in steps)
        hu, valid = volume.hu[sampled], volume.valid[sampled]
        tissue = valid & (hu > _BODY_ABOVE_HU)
        in_body = hu[valid & _enclosed(tissue, axis=1) & _enclosed(tissue, axis=2)]
        spans_zyx = np.minimum(np.multiply([_span(valid, axis) for axis in range(3)], steps), volume.hu.shape)
        return cls(
            volume.modality,
            volume.geometry.spacing_xyz_mm,
            as_triple(spans_zyx[::-1] * volume.geometry.spacing_xyz_mm),
            _percent_within(in_body, _LUNG_HU),
            _percent_within(in_body, _SOFT_TISSUE_HU),
        )


def _told(seen: dict[str, str]) -> str:
    if len(seen) == 2 and len(set(seen.values())) == 1:
        return f"both images: {seen['fixed']}"
    return ", ".join(f"{role} image: {value}" for role, value in seen.items())


def _enclosed(mask: MaskArray, axis: int) -> MaskArray:
    """What lies between the first and the last true voxel of each line along an axis, those included."""
    from_start = np.logical_or.accumulate(mask, axis=axis)
    from_end = np.flip(np.logical_or.accumulate(np.flip(mask, axis), axis=axis), axis)
    enclosed: MaskArray = from_start & from_end
    return enclosed


def _span(mask: MaskArray, axis: int) -> int:
    """Planes from the first to the last that holds a true voxel."""
    others = tuple(other for other in range(mask.ndim) if other != axis)
    planes = np.flatnonzero(mask.any(axis=others))
    return int(planes[-1] - planes[0] + 1) if len(planes) else 0


def _percent_within(hu: SampledHu, limits_hu: tuple[float, float]) -> float:
    if hu.size == 0:
        return 0.0
    low, high = limits_hu
    return 100 * float(np.mean((hu >= low) & (hu <= high)))


def _modality_name(modality: str) -> str:
    return _MODALITY_NAMES.get(modality, modality)


def _product(values: Triple, number_format: str) -> str:
    return " × ".join(format(value, number_format) for value in values)
