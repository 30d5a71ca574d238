"""Which voxels the scanner saw, and which of them are the patient."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeAlias
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from engine.regions import Regions
from engine.roi import Box
from engine.shapes import HuArray, MaskArray
from engine.volume import AIR_HU, Volume

BONE_HU = 200.0
"""From here on tissue counts as bone where somebody says that there is some."""

PADDING_BELOW_HU = -1200.0
"""No tissue and no air is darker: values such as -2048 or -3024 are padding."""

_PROBED_SLICES = 24
_SURFACE_HU = -400.0
_OPEN_AIR_BELOW_HU = -900.0
_BROAD_CONTACT = 1.5
"""Edge pixels over the root of the area: 2.8 for a triangle in a corner or a flat strip, 1.6 for a disc cut in half."""
_COARSE_ZYX_MM = (4.0, 3.0, 3.0)

Mask2d = NDArray[np.bool_]

Masks: TypeAlias = tuple[MaskArray | None, MaskArray | None]
"""What is kept rigid and what is excluded, (Z, Y, X), none where that is nothing."""


def valid_region(hu: HuArray) -> MaskArray:
    """False at padding (-1200 HU or less) and outside the cylinder that a scanner reconstructs.

    Outside the cylinder many scanners write one constant that may look like air. It counts as outside only when it
    fills the four corners of nearly every slice, its inner edge is a circle or an ellipse that spans the image, and
    the voxels within are mostly something else: air clipped to a constant stays valid.
    """
    valid: MaskArray = hu > PADDING_BELOW_HU
    constant = hu[len(hu) // 2, 0, 0]
    outside = _outside_cylinder(hu, constant) if constant > PADDING_BELOW_HU else None
    if outside is not None:
        for hu_slice, valid_slice in zip(hu, valid, strict=True):
            valid_slice[outside] &= hu_slice[outside] != constant
    return valid


def _outside_cylinder(hu: HuArray, constant: np.float32) -> Mask2d | None:
    """The in-plane region (Y, X) outside the cylinder, or none where there is no cylinder."""
    corners = hu[:, [0, 0, -1, -1], [0, -1, 0, -1]] == constant
    if min(hu.shape[1:]) < 16 or corners.mean(axis=0).min() < 0.95:
        return None
    probes = np.unique(np.linspace(0, len(hu) - 1, _PROBED_SLICES).round().astype(int))
    is_constant = hu[probes] == constant
    outside = _touching_corners(is_constant.mean(axis=0) >= 0.9)
    if not _is_round(~outside) or is_constant[:, ~outside].mean() > 0.5:
        return None
    return outside


def _touching_corners(mask: Mask2d) -> Mask2d:
    from scipy.ndimage import label

    labels, _ = label(mask)
    at_corners = np.unique(labels[[0, 0, -1, -1], [0, -1, 0, -1]])
    result: Mask2d = np.isin(labels, at_corners[at_corners > 0])
    return result


def _is_round(inside: Mask2d) -> bool:
    """Whether the edge of a region is an ellipse that spans at least four fifths of the image."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if len(rows) == 0:
        return False
    extent = np.array([np.ptp(rows) + 1, np.ptp(columns) + 1])
    if (extent < 0.8 * np.array(inside.shape)).any():
        return False
    if (extent == inside.shape).all() and inside.mean() > 0.8:
        extent = np.array([extent.max(), extent.max()])
    y, x = np.ogrid[: inside.shape[0], : inside.shape[1]]
    center_y, center_x = (rows[0] + rows[-1]) / 2, (columns[0] + columns[-1]) / 2
    radius = np.hypot((y - center_y) / extent[0], (x - center_x) / extent[1])
    return bool(np.percentile(radius[inside], 99.9) <= 1.02 * np.percentile(radius[~inside], 0.1))


def body_mask(volume: Volume) -> MaskArray:
    """The patient with lungs and airways (Z, Y, X), without couch and open air; false where the image is invalid.

    Found on a grid of at most 4 × 3 × 3 mm: what is denser than -400 HU, the largest piece of it, and per slice all
    air that is not open air, which keeps the lungs, cropped ones too. The surface is then taken from the full image.
    """
    spacings = zip(_COARSE_ZYX_MM, volume.geometry.spacing_zyx_mm, strict=True)
    factors = tuple(max(1, int(coarse_mm / spacing_mm)) for coarse_mm, spacing_mm in spacings)
    slices = zip(volume.hu[:: factors[0]], volume.valid[:: factors[0]], strict=True)
    pooled = [
        (_pooled(np.where(valid, hu, np.float32(AIR_HU)), factors), _pooled(valid.astype(np.float32), factors) > 0.99)
        for hu, valid in slices
    ]
    coarse = _coarse_body(*(np.stack(parts) for parts in zip(*pooled, strict=True)))
    return _refined(coarse, factors, volume)


_BODIES: WeakKeyDictionary[Volume, MaskArray] = WeakKeyDictionary()
_EXTENTS: WeakKeyDictionary[Volume, Box | None] = WeakKeyDictionary()


def body_of(volume: Volume) -> MaskArray:
    """`body_mask`, worked out once for each volume."""
    if volume not in _BODIES:
        _BODIES[volume] = body_mask(volume)
    return _BODIES[volume]


def of_same_patient(volume: Volume, known: Volume) -> Volume:
    """A volume that shows the same patient as a known one on the same grid: the body of that counts for it too."""
    _BODIES[volume] = body_of(known)
    return volume


def with_boxes(mask: MaskArray | None, boxes: Sequence[Box], volume: Volume, least_hu: float) -> MaskArray | None:
    """A mask on the grid of a volume, and what has at least `least_hu` inside boxes; none where that is nothing."""
    if not boxes:
        return mask
    marked = np.zeros(volume.geometry.shape_zyx, dtype=bool) if mask is None else mask.copy()
    for box in boxes:
        part = box.slices_zyx
        marked[part] |= volume.hu[part] >= least_hu
    return marked if marked.any() else None


def masks_of(regions: Regions, fixed: Volume) -> Masks:
    """Masks on the fixed grid by boxes and files together: of bone in boxes kept rigid, of all in those excluded."""
    return (
        with_boxes(regions.rigid, regions.boxes_of("rigid"), fixed, BONE_HU),
        with_boxes(regions.excluded, regions.boxes_of("excluded"), fixed, -math.inf),
    )


def holds(box: Box, volume: Volume, least_hu: float) -> bool:
    """Whether a box has a voxel of at least `least_hu`."""
    return bool((volume.hu[box.slices_zyx] >= least_hu).any())


def body_box(volume: Volume, margin_mm: float = 15.0, keep_mask: bool = True) -> Box:
    """The smallest box that holds the patient and a margin, inside the image; the whole image where there is none.

    `keep_mask`: whether `body_of` will be asked for too. The box itself is worked out once for each volume.
    """
    if volume not in _EXTENTS:
        _EXTENTS[volume] = _extent(body_of(volume) if keep_mask or volume in _BODIES else body_mask(volume))
    held, shape = _EXTENTS[volume], volume.geometry.shape_zyx
    if held is None:
        return Box.whole(shape)
    limits = []
    for (start, stop), n, spacing_mm in zip(held.ranges_zyx, shape, volume.geometry.spacing_zyx_mm, strict=True):
        margin = int(np.ceil(margin_mm / spacing_mm))
        limits.append((max(0, start - margin), min(n, stop + margin)))
    (z0, z1), (y0, y1), (x0, x1) = limits
    return Box(x0, x1, y0, y1, z0, z1)


def shrunk_to_body(box: Box, volume: Volume) -> Box | None:
    """The smallest box that holds what a box holds of the patient, or none where it holds nothing of him."""
    held = _extent(body_of(volume)[box.slices_zyx])
    if held is None:
        return None
    return Box(
        box.x0 + held.x0, box.x0 + held.x1, box.y0 + held.y0, box.y0 + held.y1, box.z0 + held.z0, box.z0 + held.z1
    )


def _extent(mask: MaskArray) -> Box | None:
    """The smallest box that holds a mask, or none where it is empty."""
    if not mask.any():
        return None
    held = [np.flatnonzero(mask.any(axis=tuple(k for k in range(3) if k != axis))) for axis in range(3)]
    (z0, z1), (y0, y1), (x0, x1) = [(int(found[0]), int(found[-1]) + 1) for found in held]
    return Box(x0, x1, y0, y1, z0, z1)


def _coarse_body(hu: HuArray, valid: MaskArray) -> MaskArray:
    tissue = _largest(_opened((hu > _SURFACE_HU) & valid))
    body = np.stack([_closed_slice(*slices) for slices in zip(tissue, hu, valid, strict=True)])
    return _largest(_opened(body))


def _opened(mask: MaskArray) -> MaskArray:
    """In-plane opening by two coarse voxels: it removes the shell of a couch and keeps a thin chest wall.

    The mask goes on as it is beyond the faces, so that a cropped wall is not worn away there.
    """
    from scipy.ndimage import binary_opening

    padded = np.pad(mask, ((0, 0), (1, 1), (1, 1)), mode="edge")
    result: MaskArray = binary_opening(padded, np.ones((1, 2, 2)))[:, 1:-1, 1:-1]
    return result


def _closed_slice(tissue: Mask2d, hu: NDArray[np.float32], valid: Mask2d) -> Mask2d:
    """The tissue of one slice with every pocket of air that is not open air.

    Open air meets the edge of the image, or of its valid part, broadly for its size, and either there is nothing
    valid beyond or it is as dark as air; a lung that is cropped meets it narrowly or is brighter.
    """
    from scipy.ndimage import binary_dilation, label, median

    labels, count = label(~tissue)
    beyond = ~valid
    beyond[[0, 0, -1, -1], [0, -1, 0, -1]] = True
    rim = binary_dilation(beyond)
    for edge in (rim[0], rim[-1], rim[:, 0], rim[:, -1]):
        edge[...] = True
    pockets = np.arange(1, count + 1)
    area = np.bincount(labels.ravel(), minlength=count + 1)[1:]
    contact = np.bincount(labels[rim], minlength=count + 1)[1:]
    is_outer = np.isin(pockets, labels[beyond]) | (np.asarray(median(hu, labels, pockets)) < _OPEN_AIR_BELOW_HU)
    open_air = pockets[(contact >= _BROAD_CONTACT * np.sqrt(area)) & is_outer]
    result: Mask2d = ~np.isin(labels, open_air)
    return result


def _largest(mask: MaskArray) -> MaskArray:
    from scipy.ndimage import label

    labels, count = label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(labels.ravel())
    sizes[0] = 0
    result: MaskArray = labels == sizes.argmax()
    return result


def _refined(coarse: MaskArray, factors: tuple[int, ...], volume: Volume) -> MaskArray:
    """The coarse mask on the full grid; the voxels near its surface are decided by their own HU."""
    from scipy.ndimage import binary_dilation, binary_erosion

    core = binary_erosion(coarse, np.ones((1, 3, 3)), border_value=1)
    near = binary_dilation(coarse, np.ones((1, 3, 3)))
    shape = volume.hu.shape
    result = volume.hu > _SURFACE_HU
    result &= _repeated(near, factors, shape)
    result |= _repeated(core, factors, shape)
    result &= volume.valid
    return result


def _pooled(values: NDArray[np.float32], factors: tuple[int, ...]) -> NDArray[np.float32]:
    """Means of blocks of a slice (Y, X), the last row and column repeated where a block is not full."""
    _, factor_y, factor_x = factors
    padding = ((0, -values.shape[0] % factor_y), (0, -values.shape[1] % factor_x))
    padded = np.pad(values, padding, mode="edge")
    blocks = [padded[y::factor_y, x::factor_x] for y in range(factor_y) for x in range(factor_x)]
    total = np.zeros_like(blocks[0])
    for block in blocks:
        total += block
    return total / np.float32(len(blocks))


def _repeated(mask: MaskArray, factors: tuple[int, ...], shape: tuple[int, ...]) -> MaskArray:
    result = mask
    for axis, factor in enumerate(factors):
        result = result.repeat(factor, axis=axis)
    return result[tuple(slice(n) for n in shape)]
