"""One box goes back to the displacement of an earlier state, under the contract of RSO: the rest keeps every bit."""

from __future__ import annotations

import numpy as np
import torch

from engine.errors import InputError
from engine.guidance import Guidance
from engine.optimize.collar import working_crop
from engine.optimize.commit import Share
from engine.optimize.guide import compared
from engine.optimize.rso import Proposal, Region, Regional, concluded
from engine.registration import Registration
from engine.roi import Box
from engine.shapes import DisplacementArray
from engine.volume import Volume


def reverted(
    fixed: Volume,
    moving: Volume,
    start: Registration,
    earlier: Registration,
    box: Box,
    guidance: Guidance,
    device: torch.device,
) -> Regional:
    """u = u₀ + w (u₁ − u₀): u₁ of `earlier` in the box, u₀ of `start` beyond the collar, w the window of RSO.

    What would fold, or start too steeply at the seam, goes back less far. The error may grow: that is the user's wish.

    Raises:
        InputError: the box leaves the fixed image, the states differ in their rigid part, or not at all in the box.
    """
    box = box.checked(fixed.geometry.shape_zyx)
    if not np.array_equal(start.rigid, earlier.rigid):
        raise InputError("Expected a state with the same alignment as now; that one was aligned otherwise.")
    crop = working_crop(box, fixed.geometry.shape_zyx)
    inside = (slice(None), *crop.slices_zyx)
    present, wanted = start.displacement_vox[inside], np.asarray(earlier.displacement_vox[inside])
    in_box = (slice(None), *box.inside(crop).slices_zyx)
    if np.array_equal(present[in_box], wanted[in_box]):
        raise InputError("The region is the same in both states; there is nothing to take back.")
    region = Region(compared(fixed, guidance), moving, start, box, crop, device)

    def corrected(share: Share) -> DisplacementArray:
        weight = share * region.weight
        blended: DisplacementArray = np.where(weight == 1.0, wanted, present + weight * (wanted - present))
        return blended

    proposal = Proposal(region, corrected, 0, error_may_grow=True)
    return concluded(region.fixed, start, box, proposal)
