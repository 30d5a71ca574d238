"""Sampling of images and fields at displaced positions (torch).

Displacements are voxels, components z, y, x; `grid_sample(align_corners=True)` throughout.
"""

from __future__ import annotations

import math
from itertools import product
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from engine.shapes import Matrix

ANY_ORDER_ON = {"cuda"}
"""Types of devices that add a gradient up in any order, whose rounding then differs from run to run."""

_PADDING_NUMBERS = {"zeros": 0, "border": 1}
_WHOLE = 2.0**36
"""The largest gradient as a whole number: far finer than float32, and 2²⁶ of them fit into 63 bits."""


def voxel_grid(shape_zyx: tuple[int, ...], like: Tensor) -> Tensor:
    """Index of every voxel, (1, 3, D, H, W), components z, y, x; of every pixel, (1, 2, H, W), where there is no D."""
    axes = [torch.arange(n, dtype=like.dtype, device=like.device) for n in shape_zyx]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")).unsqueeze(0)


class Sampler:
    """`image(A (x + u(x)))` for one grid and many u: positions without u are worked out once.

    `shape_zyx`: the grid of u; A (4 × 4, x y z) leads from its voxel indices to those of images of `target_zyx`.
    """

    def __init__(
        self, shape_zyx: tuple[int, int, int], index_map: Matrix, target_zyx: tuple[int, ...], like: Tensor
    ) -> None:
        scale = np.diag([2.0 / max(n - 1, 1) for n in reversed(target_zyx)])
        self._shape = shape_zyx
        self._offsets = torch.as_tensor((scale @ index_map[:3, :3])[:, ::-1].T.copy()).to(like)
        still = voxel_grid(shape_zyx, like)[0].flatten(1).T
        origin = torch.as_tensor(scale @ index_map[:3, 3] - 1.0).to(like)
        self._still = torch.addmm(origin, still, self._offsets)

    def __call__(self, image: Tensor, displacement_vox: Tensor, padding: str = "border") -> Tensor:
        """(1, C, D, H, W): linear; beyond the image its edge values, or zeros."""
        grid = torch.addmm(self._still, displacement_vox[0].flatten(1).T, self._offsets)
        return _grid_sample(image, grid.view(1, *self._shape, 3), "bilinear", padding)


def sample(image: Tensor, index_zyx: Tensor, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """Values of `image` (B, C, D, H, W) at continuous indices (B, 3, d, h, w): linear, edge values outside."""
    scales = [2.0 / max(n - 1, 1) for n in image.shape[2:]]
    coordinates = [index * scale - 1.0 for index, scale in zip(index_zyx.unbind(1), scales, strict=True)]
    return _grid_sample(image, torch.stack(coordinates[::-1], dim=-1), mode, padding)


def _grid_sample(image: Tensor, grid: Tensor, mode: str, padding: str) -> Tensor:
    """`grid_sample`; torch shares its CPU work over the batch only, so one large image goes as several slabs."""
    slabs = torch.get_num_threads()
    axis = next((k for k in range(1, grid.dim() - 1) if grid.shape[k] % slabs == 0), None)
    if image.requires_grad and image.device.type in ANY_ORDER_ON and mode == "bilinear" and image.dim() == 5:
        values: Tensor = _RepeatableSample.apply(image, grid, padding)  # type: ignore[no-untyped-call]
        return values
    if image.device.type != "cpu" or image.shape[0] != 1 or slabs == 1 or axis is None or image.requires_grad:
        return F.grid_sample(image, grid, mode=mode, padding_mode=padding, align_corners=True)
    parts = torch.cat(grid.chunk(slabs, dim=axis))
    out = F.grid_sample(
        image.expand(slabs, *image.shape[1:]), parts, mode=mode, padding_mode=padding, align_corners=True
    )
    return torch.cat(out.chunk(slabs), dim=axis + 1)


class _RepeatableSample(torch.autograd.Function):
    """`grid_sample`, linear and align_corners, whose gradient by the image is the same run after run.

    What several places give to one voxel is added as whole numbers, whose sum does not depend on the order.
    """

    @staticmethod
    def forward(ctx: Any, image: Tensor, grid: Tensor, padding: str) -> Tensor:
        ctx.save_for_backward(image, grid)
        ctx.padding = padding
        return F.grid_sample(image, grid, padding_mode=padding, align_corners=True)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        image, grid = ctx.saved_tensors
        to_image = to_grid = None
        if ctx.needs_input_grad[0]:
            to_image = _spread(gradients[0], grid, image.shape[2:], ctx.padding)
        if ctx.needs_input_grad[1]:
            by_the_places_alone = False, True
            padding = _PADDING_NUMBERS[ctx.padding]
            to_grid = torch.ops.aten.grid_sampler_3d_backward(
                gradients[0].contiguous(), image, grid, 0, padding, True, by_the_places_alone
            )[1]
        return to_image, to_grid, None


def _spread(values: Tensor, grid: Tensor, shape_zyx: torch.Size, padding: str) -> Tensor:
    """Values (B, C, d, h, w) shared out to the eight voxels around each place, (B, C, D, H, W)."""
    one = _WHOLE / values.abs().amax().clamp(min=torch.finfo(values.dtype).tiny).double()
    total = values.new_zeros((*values.shape[:2], math.prod(shape_zyx)), dtype=torch.int64)
    places = [
        torch.nan_to_num(0.5 * (grid[..., k].flatten(1) + 1.0) * (n - 1)) for k, n in enumerate(reversed(shape_zyx))
    ]
    if padding == "border":
        places = [place.clamp(0.0, n - 1) for place, n in zip(places, reversed(shape_zyx), strict=True)]
    lower = [place.floor() for place in places]
    for corner in product((0, 1), repeat=3):
        index, weight = torch.zeros_like(lower[0], dtype=torch.int64), torch.ones_like(lower[0])
        for axis in (2, 1, 0):
            voxel, n = lower[axis] + corner[axis], shape_zyx[2 - axis]
            share = 1.0 - (places[axis] - voxel).abs()
            weight = weight * share * ((voxel >= 0) & (voxel < n))
            index = index * n + voxel.clamp(0, n - 1).long()
        parts = (values.flatten(2) * weight[:, None] * one).round().long()
        for into, at, part in zip(total, index, parts, strict=True):
            into.index_add_(1, at, part)
    return (total / one).to(values.dtype).view(*values.shape[:2], *shape_zyx)


def warp(image: Tensor, displacement_vox: Tensor, mode: str = "bilinear", padding: str = "border") -> Tensor:
    """`image(x + u(x))` on the grid that both share, in two or three dimensions; `padding` border or zeros."""
    index = voxel_grid(tuple(displacement_vox.shape[2:]), displacement_vox) + displacement_vox
    return sample(image, index, mode, padding)


def mapped_indices(index_zyx: Tensor, index_map: Matrix) -> Tensor:
    """Apply a 4 × 4 matrix that acts on (x, y, z) indices to indices (B, 3, ...) with components z, y, x."""
    reversed_axes = torch.as_tensor(
        index_map[:3, :3][::-1, ::-1].copy(), dtype=index_zyx.dtype, device=index_zyx.device
    )
    offset = torch.as_tensor(index_map[:3, 3][::-1].copy(), dtype=index_zyx.dtype, device=index_zyx.device)
    moved = torch.einsum("ij,bjdhw->bidhw", reversed_axes, index_zyx)
    return moved + offset.view(1, 3, 1, 1, 1)


def compose(outer: Tensor, inner: Tensor) -> Tensor:
    """Displacement of `inner` then `outer`: u(x) = inner(x) + outer(x + inner(x)). Same grid, voxels."""
    return inner + warp(outer, inner)


def exponential(velocity_vox: Tensor, steps: int = 6) -> Tensor:
    """Displacement of a stationary velocity field by scaling and squaring."""
    displacement: Tensor = velocity_vox / 2.0**steps
    for _ in range(steps):
        displacement = compose(displacement, displacement)
    return displacement
