"""How much noise and streaks an image shows, whatever its file says that it is."""

from __future__ import annotations

from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.nn.functional as F

from engine.preprocess import body_box
from engine.roi import Box
from engine.spatial.resample import as_tensor, resampled
from engine.volume import AIR_HU, Volume

_SPACING_MM = 3.0
_SLAB_MM = 60.0
_SOFT_TISSUE_HU = (-150.0, 200.0)
_LEAST_VOXELS = 500

_known: WeakKeyDictionary[Volume, float] = WeakKeyDictionary()


def noise_hu(volume: Volume) -> float:
    """Median difference of a voxel of 3 mm from the mean of its six neighbors, within soft tissue.

    In the middle of the patient: 3 to 5 HU in CT, 8 to 11 in cone-beam CT of 40 projections, 0 where there is hardly
    any soft tissue.
    """
    if volume not in _known:
        _known[volume] = _measured(volume)
    return _known[volume]


def pair_noise_hu(fixed: Volume, moving: Volume, least_hu: float, most_hu: float) -> float:
    """That of the noisier image of a pair, no less and no more than what a setting may follow."""
    return min(max(noise_hu(fixed), noise_hu(moving), least_hu), most_hu)


def _measured(volume: Volume) -> float:
    part = volume.cropped(_middle(volume))
    hu = np.maximum(part.filled_hu(), AIR_HU)
    image = resampled(as_tensor(hu), part.geometry, part.geometry.resampled((_SPACING_MM,) * 3))
    if min(image.shape[2:]) < 3:
        return 0.0
    other = (image < _SOFT_TISSUE_HU[0]) | (image > _SOFT_TISSUE_HU[1])
    soft = F.max_pool3d(other.float(), 3, stride=1) == 0.0
    if int(soft.sum()) < _LEAST_VOXELS:
        return 0.0
    cross = torch.zeros(1, 1, 3, 3, 3)
    for axis in range(2, 5):
        cross.select(axis, 0)[..., 1, 1] = cross.select(axis, 2)[..., 1, 1] = 1.0 / 6.0
    return float((image[:, :, 1:-1, 1:-1, 1:-1] - F.conv3d(image, cross))[soft].abs().median())


def _middle(volume: Volume) -> Box:
    """The box of the patient, no more than a slab of it along the slices."""
    box = body_box(volume, keep_mask=False)
    half = max(2, round(0.5 * _SLAB_MM / volume.geometry.spacing_zyx_mm[0]))
    middle = (box.z0 + box.z1) // 2
    return Box(box.x0, box.x1, box.y0, box.y1, max(box.z0, middle - half), min(box.z1, middle + half))
