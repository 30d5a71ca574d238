"""What can be drawn of a case, cut from its volumes slice by slice. No Qt."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from app.viewer.contours import Labels
from app.viewer.cuts import Cuts, Made
from app.viewer.patched import Patched
from app.viewer.planes import Plane, value_at
from app.viewer.view_state import Continuous, ImageName, Index
from engine.geometry import Geometry
from engine.roi import Box
from engine.shapes import DisplacementArray, HuArray, LabelArray, MaskArray
from engine.volume import PADDING_HU

if TYPE_CHECKING:
    from engine.spatial.live_field import LiveField
    from engine.spatial.section import CarriedLabels, MovedImage

_MOST_VOXELS = 2**20
"""Of a box: as many are compared in some ten milliseconds."""

_CUT = ("fixed_hu", "fixed_valid", "moving_hu", "warped_hu", "displacement_vox", "body")
_MADE_OF: dict[ImageName, tuple[str, ...]] = {
    "fixed": ("fixed_hu", "fixed_valid", "rigid", "excluded", "body"),
    "moving": ("fixed_hu", "fixed_valid", "moving_hu"),
}
"""What the panes of images show that stay while a step runs."""


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Everything that can be drawn, on the fixed grid. What is not computed yet is `None`.

    `other_warped_hu`, `other_displacement_vox`, `other_name`: of the state that `ViewState.other_state` names.
    `unrefined_warped_hu`: the warped image before the first refinement. `body`: the patient in the fixed image.
    `version` grows whenever a value changes, also in place during a live preview. `stale`: the displacement, or
    the warped image as well, is still that of the state before, `moving_stale`: the moving image too.
    `is_draft`: the moving image is being aligned by hand. `live_iteration`: the iteration of a running step whose
    warped image and displacement these are.
    """

    geometry: Geometry
    fixed_hu: HuArray
    fixed_valid: MaskArray
    moving_hu: HuArray | MovedImage | None = None
    warped_hu: HuArray | MovedImage | Patched | None = None
    displacement_vox: DisplacementArray | LiveField | None = field(default=None, repr=False)
    rigid: MaskArray | None = field(default=None, repr=False)
    excluded: MaskArray | None = field(default=None, repr=False)
    body: MaskArray | None = field(default=None, repr=False)
    other_warped_hu: HuArray | None = field(default=None, repr=False)
    other_displacement_vox: DisplacementArray | None = field(default=None, repr=False)
    other_name: str = ""
    labels: Labels = field(default_factory=Labels, repr=False)
    unrefined_warped_hu: HuArray | None = field(default=None, repr=False)
    version: int = 0
    stale: bool = False
    moving_stale: bool = False
    is_draft: bool = False
    live_iteration: int | None = None
    _cuts: Cuts = field(default_factory=Cuts, init=False, repr=False)
    _versions: dict[ImageName, int] = field(default_factory=dict, init=False, repr=False)
    _before: list[Pictures] = field(default_factory=list, init=False, repr=False)

    def take_over(self, before: Pictures) -> None:
        """Keep what was cut from volumes that both have, and the versions of images in which nothing has changed."""
        self._cuts.take_over(before._cuts, [getattr(self, name) for name in _CUT])
        for image, parts in _MADE_OF.items():
            if all(getattr(self, part) is getattr(before, part) for part in parts):
                self._versions[image] = before.version_of(image)

    def version_of(self, image: ImageName) -> int:
        """Grows whenever something changes that the pane of an image shows, contours and lines aside."""
        return self._versions.get(image, self.version)

    def volume(self, image: ImageName) -> HuArray | MovedImage | Patched | None:
        """The voxels behind an image; the difference has none of its own."""
        return {"fixed": self.fixed_hu, "moving": self.moving_hu, "warped": self.warped_hu}.get(image)

    def slice_of(self, image: ImageName, plane: Plane, index: float) -> HuArray | None:
        """(rows, columns) of an image; the last one of each plane is remembered, since several layers need it."""
        volume = self.volume(image)
        name = "moving" if volume is self.moving_hu else image
        return None if volume is None else self._cuts.slice_of(name, volume, plane, index, "hu")

    def displacement_slice_of(self, axis: int, plane: Plane, index: float) -> HuArray:
        """(rows, columns) of one component of u, in voxels."""
        assert self.displacement_vox is not None
        u = self.displacement_vox
        component: HuArray = self._cuts.slice_of(f"u{axis}", u, plane, index, "linear", lambda: u[axis])
        return component

    def body_slice_of(self, plane: Plane, index: float) -> MaskArray | None:
        """(rows, columns): the patient, if it is known where that is."""
        return None if self.body is None else self._cuts.slice_of("body", self.body, plane, index, "nearest")

    def valid_slice_of(self, plane: Plane, index: float) -> MaskArray:
        """(rows, columns): where the fixed image says something."""
        return self._cuts.slice_of("valid", self.fixed_valid, plane, index, "wholly")

    def labels_slice_of(
        self, labels: LabelArray | CarriedLabels, plane: Plane, index: float, step: int = 1
    ) -> LabelArray:
        """(rows, columns) of labels, every `step`-th each way; carried ones by the slices of u that are drawn from."""
        if plane.is_sampled:
            return plane.thinned((step, step)).slice_of(labels, index)
        thin = slice(None, None, step), slice(None, None, step)
        if isinstance(labels, np.ndarray):
            return self._cuts.slice_of("labels", labels, plane, index, "nearest")[thin]
        u, part, is_turned = self.displacement_vox, plane.part(int(index), step), plane.row > plane.column
        if u is None or labels.displacement_vox is not u:
            carried = labels[part]
        else:
            moved = [np.ascontiguousarray(self.displacement_slice_of(axis, plane, index)[thin]) for axis in range(3)]
            carried = labels.cut(part, [along.T if is_turned else along for along in moved])
        return carried.T if is_turned else carried

    def once(self, key: tuple[object, ...], plane: Plane, make: Callable[[], Made]) -> Made:
        """What is made from a slice, the same object for all that shows it; `key` begins with its name."""
        return self._cuts.once(key, plane, make)

    def before(self) -> Pictures:
        """With the state to compare with in place of the present one, or the alignment alone where none is chosen."""
        if not self._before:
            other = self.other_warped_hu is not None
            self._before.append(
                replace(
                    self,
                    warped_hu=self.other_warped_hu if other else self.moving_hu,
                    displacement_vox=self.other_displacement_vox if other else None,
                    labels=replace(self.labels, warped=None if other else self.labels.aligned),
                    version=-self.version - 1,
                    live_iteration=None,
                )
            )
        return self._before[0]

    def middle_zyx(self) -> Index:
        z, y, x = self.geometry.shape_zyx
        return z // 2, y // 2, x // 2


def hu_at(pictures: Pictures, index_zyx: Continuous) -> dict[ImageName, float | None]:
    """HU of every image at a voxel or between some; `None` where it is absent, says nothing or may be out of date."""
    values: dict[ImageName, float | None] = {}
    shape = pictures.geometry.shape_zyx
    for image in ("fixed", "moving", "warped"):
        volume = pictures.volume(image)
        value = None if volume is None else float(value_at(volume, shape, index_zyx, "hu"))
        is_old = (pictures.stale and image == "warped") or (pictures.moving_stale and image == "moving")
        seen = value is not None and value > PADDING_HU and not is_old
        if image == "fixed":
            seen = seen and bool(value_at(pictures.fixed_valid, shape, index_zyx, "wholly"))
        values[image] = value if seen else None
    warped, fixed = values["warped"], values["fixed"]
    values["difference"] = None if warped is None or fixed is None else fixed - warped
    return values


def box_rmse_hu(pictures: Pictures, box: Box) -> float | None:
    """Root mean square of the difference inside a box, over voxels that both images show and that are not excluded.

    Of a large box every few slices count, so that the window answers meanwhile. Unknown while the moving image is
    aligned by hand.
    """
    if pictures.warped_hu is None or pictures.is_draft:
        return None
    depth, *rest = box.slices_zyx
    thin = slice(depth.start, depth.stop, math.ceil(math.prod(box.shape_zyx) / _MOST_VOXELS)), *rest
    warped = pictures.warped_hu[thin]
    valid = pictures.fixed_valid[thin] & (warped > PADDING_HU)
    if pictures.excluded is not None:
        valid &= ~pictures.excluded[thin]
    if not valid.any():
        return None
    return float(np.sqrt(np.mean(np.square(warped - pictures.fixed_hu[thin], dtype=np.float64), where=valid)))
