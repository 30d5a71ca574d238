"""Registration without weights: coupled convex optimisation over discrete displacements, for any anatomy and contrast.

From the coarsest of three levels on, every cell is compared with the moving cells around it by self-similarity
descriptors; the cheapest displacements and a smooth field are then brought together in alternation (Heinrich et al.
2014, "Non-parametric discrete registration with convex optimisation"), in both directions, which are made inverse to
each other (Siebert et al. 2024, "ConvexAdam"). Fractions of a cell come last, from slope and curvature of the cost
along each axis (Gauss and Newton's): less work than one more discrete level, and more exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from engine.spatial.resample import mean_of_neighbors, upsampled
from engine.spatial.self_similarity import Offset, mind_ssc
from engine.spatial.warp import compose, warp

LEVELS = ((8, 2), (4, 2), (2, 1))
"""Size of a cell in voxels and radius of its search in cells, coarse to fine: 16, 8 and 2 voxels of motion."""

_FRACTION_LEVELS = (2, 1)
"""Sizes of the cells whose fractions are looked for after that."""

_COUPLINGS = (2e-4, 1e-3, 5e-3)
_FRACTION_COUPLINGS = (1e-3, 5e-3, 2e-2)
"""θ: cost of a squared cell between the displacement that is chosen and the smooth field."""

_MOST_FRACTION = 1.5
_LEAST_CURVATURE = 1e-2
"""Of the cost, per squared cell: where there is less, a slope is noise and moves nothing far."""

_SMOOTHINGS = 3
_CONSISTENCY_ROUNDS = 5

_COST_UNSEEN = 0.1
"""What a comparison costs where one of the images shows nothing: about as much as tissue against other tissue."""

_LEAST_SEEN = 1e-3
_VALUES_AT_ONCE = 2**20
"""Numbers that one operation works on: they stay near the processor, and threads meet seldom."""
_INDEX_BITS = 10


class ConvexRegistration(nn.Module):
    """`forward(moving, fixed)`: normalised images (B, 1, D, H, W), sizes multiples of 8, to displacement (voxels).

    Voxels of exactly zero, which is how those come that no scanner saw, take no part. No parameters, no gradient.
    """

    @torch.no_grad()
    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """Displacement (B, 3, D, H, W) in voxels of the input grid."""
        return torch.cat([_registered(*pair) for pair in zip(moving.split(1), fixed.split(1), strict=True)])


def _registered(moving: Tensor, fixed: Tensor) -> Tensor:
    cells_of_both = [_cells(seen_features(image, (image != 0.0).to(image.dtype))) for image in (moving, fixed)]
    displacement: Tensor | None = None
    for size, radius in LEVELS:
        displacement, moving_cells, fixed_cells = _at(displacement, *(cells[size] for cells in cells_of_both))
        cost = matching_cost(moving_cells, fixed_cells, cube(radius))
        there, back = coupled_convex(cost, radius), coupled_convex(reversed_cost(cost, radius), radius)
        displacement = compose(displacement, _inverse_consistent(there, back))
    for size in _FRACTION_LEVELS:
        displacement, moving_cells, fixed_cells = _at(displacement, *(cells[size] for cells in cells_of_both))
        displacement = compose(displacement, coupled_quadratic(*cost_slopes(moving_cells, fixed_cells)))
    assert displacement is not None
    return displacement


def _cells(features: Tensor) -> dict[int, Tensor]:
    """Means over cells of every size that is used, from the voxels up."""
    cells = {1: features}
    while max(cells) < LEVELS[0][0]:
        cells[2 * max(cells)] = F.avg_pool3d(cells[max(cells)], 2)
    return cells


def _at(displacement: Tensor | None, moving_cells: Tensor, fixed_cells: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The displacement on the grid of these cells, the moving cells displaced by it, and the fixed ones."""
    if displacement is None:
        return torch.zeros_like(fixed_cells[:, :3]), moving_cells, fixed_cells
    if displacement.shape[2:] != fixed_cells.shape[2:]:
        displacement = upsampled(displacement)
    return displacement, warp(moving_cells, displacement, padding="zeros"), fixed_cells


def seen_features(image: Tensor, seen: Tensor) -> Tensor:
    """Descriptors, zero where nothing was seen, and a last channel that is 1 where something was, (1, 13, D, H, W)."""
    return torch.cat([mind_ssc(image) * seen, seen], dim=1)


def cube(radius: int) -> list[Offset]:
    """All offsets (z, y, x) within ±radius cells."""
    return list(product(range(-radius, radius + 1), repeat=3))


def matching_cost(moving: Tensor, fixed: Tensor, offsets: list[Offset]) -> Tensor:
    """Mean squared difference of each fixed cell and the moving cell at each of K offsets, (K, D, H, W).

    Both (1, C + 1, D, H, W): features times the share of the cell that was seen, and that share as the last channel.
    Where little was seen the cost leans to a constant, so that no displacement is drawn to such places or away.
    """
    radius = max(max(map(abs, offset)) for offset in offsets)
    (fixed_features, fixed_seen), (moving_features, moving_seen) = (
        _split(cells) for cells in (fixed, F.pad(moving, (radius,) * 6))
    )
    depth, height, width = fixed_seen.shape
    cost = fixed.new_empty((len(offsets), depth, height, width))
    rows = max(1, _VALUES_AT_ONCE // (len(fixed_features) * height * width))
    for top in range(0, depth, rows):
        features, seen = fixed_features[:, top : top + rows].contiguous(), fixed_seen[top : top + rows]
        difference = torch.empty_like(features)
        for k, offset in enumerate(offsets):
            z, y, x = (radius + step for step in offset)
            there = (slice(top + z, top + z + len(seen)), slice(y, y + height), slice(x, x + width))
            torch.sub(features, moving_features[(slice(None), *there)], out=difference)
            part = cost[k, top : top + rows]
            torch.mean(difference.square_(), dim=0, out=part)
            part.sub_(_COST_UNSEEN).mul_(seen).mul_(moving_seen[there]).add_(_COST_UNSEEN)
    return cost


def _split(cells: Tensor) -> tuple[Tensor, Tensor]:
    seen = cells[0, -1]
    return cells[0, :-1] / seen.clamp(min=_LEAST_SEEN), seen


def reversed_cost(cost: Tensor, radius: int) -> Tensor:
    """The same comparisons seen from the moving cells: cost′(y, d) = cost(y + d, −d)."""
    found = torch.full_like(cost, _COST_UNSEEN)
    for k, offset in enumerate(cube(radius)):
        there = tuple(slice(max(0, d), max(0, n + min(0, d))) for d, n in zip(offset, cost.shape[1:], strict=True))
        here = tuple(slice(max(0, -d), max(0, n - max(0, d))) for d, n in zip(offset, cost.shape[1:], strict=True))
        found[k][here] = cost[-1 - k][there]
    return found


def coupled_convex(cost: Tensor, radius: int) -> Tensor:
    """Smooth displacement (1, 3, D, H, W) in cells that is cheap: cost(x, d) + θ |d − u(x)|², θ rising.

    In turn, every cell takes the cheapest displacement d, and u becomes the local mean of what was taken.
    """
    offsets = torch.tensor(cube(radius), dtype=cost.dtype, device=cost.device).T.contiguous()
    displacement = cost.new_zeros((1, 3, *cost.shape[1:]))
    for coupling in _COUPLINGS:
        chosen = _cheapest(cost.flatten(1), offsets, displacement.reshape(3, -1), coupling)
        displacement = offsets[:, chosen].view_as(displacement)
        for _ in range(_SMOOTHINGS):
            displacement = mean_of_neighbors(displacement)
    return displacement


def cost_slopes(moving: Tensor, fixed: Tensor) -> tuple[Tensor, Tensor]:
    """Slope and curvature of the cost along z, y and x at no displacement, each (3, D, H, W), from cells as above.

    With m⁺ and m⁻ the moving features one cell further on and back, f the fixed ones: mean (m⁺ − m⁻)(m − f) and
    mean (m⁺ − m⁻)² / 2, times the shares of all four that were seen.
    """
    depth, height, width = fixed.shape[2:]
    padded = F.pad(moving[0], (1,) * 6)
    slope, curvature = fixed.new_empty((2, 3, depth, height, width))
    rows = max(1, _VALUES_AT_ONCE // (len(padded) * height * width))
    for top in range(0, depth, rows):
        here = slice(top, min(top + rows, depth))
        difference = moving[0, :-1, here] - fixed[0, :-1, here]
        seen = moving[0, -1, here] * fixed[0, -1, here]
        for axis in range(3):
            back, on = (
                padded[:, here.start + 1 + z : here.stop + 1 + z, 1 + y : height + 1 + y, 1 + x : width + 1 + x]
                for z, y, x in (tuple(step * (k == axis) for k in range(3)) for step in (-1, 1))
            )
            change, all_seen = on[:-1] - back[:-1], seen * back[-1] * on[-1]
            slope[axis, here] = (change * difference).mean(dim=0).mul_(all_seen)
            curvature[axis, here] = change.square_().mean(dim=0).mul_(0.5 * all_seen)
    return slope, curvature


def coupled_quadratic(slope: Tensor, curvature: Tensor) -> Tensor:
    """As `coupled_convex` between the cells: axis by axis d minimises slope d + curvature d² / 2 + θ (d − u)²."""
    curvature = curvature.clamp(min=_LEAST_CURVATURE)
    displacement = torch.zeros_like(slope).unsqueeze(0)
    for coupling in _FRACTION_COUPLINGS:
        chosen = (2.0 * coupling * displacement - slope).div_(curvature + 2.0 * coupling)
        displacement = chosen.clamp_(-_MOST_FRACTION, _MOST_FRACTION)
        for _ in range(_SMOOTHINGS):
            displacement = mean_of_neighbors(displacement)
    return displacement


def _cheapest(cost: Tensor, offsets: Tensor, displacement: Tensor, coupling: float) -> Tensor:
    """Index k that minimises cost[k] + θ |offset[k] − u|² for each of N cells; cost (K, N), u (3, N), K ≤ 1024.

    `torch.argmin` is up to fifteen times slower than `torch.amin`. Floats that are not negative sort as the integers of
    the same bits, so the index takes the place of the last ten bits of the fraction, and one `amin` finds both.
    """
    squares = (offsets**2).sum(dim=0, keepdim=True)
    weights = coupling * torch.cat([squares, torch.ones_like(squares), -2.0 * offsets]).T
    numbers = torch.arange(len(cost), dtype=torch.int32, device=cost.device).unsqueeze(1)
    index_mask = (1 << _INDEX_BITS) - 1
    found = []
    for part, u in _chunks(cost, displacement):
        terms = torch.cat([torch.ones_like(u[:1]), (u**2).sum(dim=0, keepdim=True), u])
        total = torch.addmm(part, weights, terms).clamp_(min=0.0)
        packed = total.view(torch.int32).bitwise_and_(~index_mask).bitwise_or_(numbers)
        found.append(packed.amin(dim=0).bitwise_and_(index_mask))
    return torch.cat(found).long()


def _chunks(cost: Tensor, displacement: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    width = max(1, _VALUES_AT_ONCE // len(cost))
    return zip(cost.split(width, dim=1), displacement.split(width, dim=1), strict=True)


def _inverse_consistent(forward: Tensor, backward: Tensor) -> Tensor:
    """The forward displacement u once u and the backward v undo each other: u ← (u − v(x + u)) / 2, v likewise."""
    for _ in range(_CONSISTENCY_ROUNDS):
        forward, backward = 0.5 * (forward - warp(backward, forward)), 0.5 * (backward - warp(forward, backward))
    return forward
