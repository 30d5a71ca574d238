"""Fields and images brought from one grid to another (torch)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from engine.geometry import Geometry
from engine.shapes import DisplacementArray, HuArray, Matrix
from engine.spatial.warp import mapped_indices, sample, voxel_grid

_VOXELS_AT_ONCE = 2**20

_STRAIGHT = 1e-9
"""Voxels per voxel off its own axis, up to which a grid counts as parallel to another."""


def index_map(source: Geometry, target: Geometry, through: Matrix | None = None) -> Matrix:
    """4 × 4 matrix from voxel indices (x, y, z) of `source` to those of `target`, by way of a map of points."""
    points = source.point_from_index()
    return target.index_from_point() @ (points if through is None else through @ points)


def resampled(image: Tensor, source: Geometry, target: Geometry, through: Matrix | None = None) -> Tensor:
    """`image` (B, C, ...) on `source`, linear on the grid `target`; low-pass filtered first where voxels grow.

    `through` maps points of `target` to points of `source` (a rigid fixed-to-moving matrix, say). Edge values continue
    outside.
    """
    if target == source and through is None:
        return image
    to_source = index_map(target, source, through)
    if not is_axis_by_axis(to_source):
        return _sampled(low_pass(image, source, target), to_source, target)
    return along_axes(image, _filters(to_source, image, source, target))


def resampled_slabs(
    slab: Callable[[slice], HuArray], source: Geometry, target: Geometry, device: torch.device
) -> Tensor:
    """`resampled` of an image of which `slab` makes some slices (n, Y, X): no copy of all of it where voxels grow."""
    depth, rows, columns = source.shape_zyx
    to_source = index_map(target, source)
    if target == source or not is_axis_by_axis(to_source):
        return resampled(as_tensor(slab(slice(None)), device), source, target)
    like = torch.zeros((), device=device).expand(1, 1, depth, rows, columns)
    along_z, along_y, along_x = _filters(to_source, like, source, target)
    together = max(1, _VOXELS_AT_ONCE // (rows * columns))
    slabs = (as_tensor(slab(slice(z, z + together)), device) for z in range(0, depth, together))
    reduced = torch.cat([along_axes(values, [None, along_y, along_x]) for values in slabs], dim=2)
    return along_axes(reduced, [along_z, None, None])


def _filters(to_source: Matrix, image: Tensor, source: Geometry, target: Geometry) -> list[Tensor]:
    """For z, y and x what the low-pass filter and linear interpolation do together, (n of target, n of source)."""
    sigmas = _anti_alias_sigmas(source, target)
    kernels = [_kernel_matrix(n, sigma, image) for n, sigma in zip(image.shape[2:], sigmas, strict=True)]
    weights = _linear_weights(to_source, image, target)
    return [linear @ kernel for linear, kernel in zip(weights, kernels, strict=True)]


def resized_displacement(displacement_vox: Tensor, source: Geometry, target: Geometry) -> Tensor:
    """A displacement on `source` as one on `target`, in voxels of `target`; edge vectors continue outside."""
    to_source = index_map(target, source)
    linear = index_map(source, target)[:3, :3]
    if is_axis_by_axis(to_source):
        scale = torch.as_tensor(np.diag(linear)[::-1].copy()).to(displacement_vox)
        weights = _linear_weights(to_source, displacement_vox, target)
        return along_axes(scale.view(1, 3, 1, 1, 1) * displacement_vox, weights)
    values = _sampled(displacement_vox, to_source, target)
    axes = torch.as_tensor(linear[::-1, ::-1].copy(), dtype=values.dtype, device=values.device)
    return torch.einsum("ij,bjdhw->bidhw", axes, values)


def displacement_on(displacement_vox: DisplacementArray, source: Geometry, target: Geometry) -> Tensor:
    """`resized_displacement` of an array; of a large one on a parallel grid some slices are copied at a time."""
    pieces = [torch.from_numpy(piece) for piece in displacement_pieces(displacement_vox, source, target)]
    return torch.cat(pieces).view(1, 3, *target.shape_zyx)


def displacement_pieces(
    displacement_vox: DisplacementArray, source: Geometry, target: Geometry
) -> Iterator[DisplacementArray]:
    """`resized_displacement` of an array in pieces (n, Y, X): components z, y, x, slices from the first to the last."""
    to_source = index_map(target, source)
    if not is_axis_by_axis(to_source):
        yield from as_array(resized_displacement(as_tensor(displacement_vox), source, target))
        return
    depth, rows, columns = target.shape_zyx
    like = torch.zeros(()).expand(1, 1, *source.shape_zyx)
    along_z, along_y, along_x = _linear_weights(to_source, like, target)
    together = max(1, _VOXELS_AT_ONCE // max(rows * columns, math.prod(source.shape_zyx) // depth))
    voxels = np.diag(index_map(source, target))[2::-1]
    for axis, component in enumerate(displacement_vox):
        for start in range(0, depth, together):
            of_slices = along_z[start : start + together]
            needed = of_slices.any(dim=0).nonzero()
            first, last = int(needed[0]), int(needed[-1]) + 1
            piece = along_axes(as_tensor(component[first:last]), [of_slices[:, first:last], along_y, along_x])
            yield piece.mul_(float(voxels[axis]))[0, 0].numpy()


def _sampled(image: Tensor, to_source: Matrix, target: Geometry) -> Tensor:
    return sample(image, mapped_indices(voxel_grid(target.shape_zyx, image), to_source))


def is_axis_by_axis(to_source: Matrix) -> bool:
    """Whether each index of one grid depends on the same index of the other alone."""
    linear = to_source[:3, :3]
    return bool(np.abs(linear - np.diag(np.diag(linear))).max() < _STRAIGHT)


def indices_by_axis(to_source: Matrix, shape_zyx: tuple[int, ...]) -> list[NDArray[np.float64]]:
    """For z, y and x the index in a parallel grid of every plane of a grid of this shape."""
    rows = (2, 1, 0)
    return [to_source[row, row] * np.arange(n) + to_source[row, 3] for row, n in zip(rows, shape_zyx, strict=True)]


def _linear_weights(to_source: Matrix, image: Tensor, target: Geometry) -> list[Tensor]:
    """For z, y and x the weights (n of target, n of source) of linear interpolation, edge values outside."""
    found = []
    for indices, length in zip(indices_by_axis(to_source, target.shape_zyx), image.shape[2:], strict=True):
        found.append(torch.as_tensor(linear_weights(indices, length)).to(image))
    return found


def linear_weights(indices: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """What each of `length` voxels counts at continuous indices along an axis, (M, length); edge values outside."""
    distances = np.abs(np.clip(indices, 0, length - 1)[:, np.newaxis] - np.arange(length))
    weights: NDArray[np.float64] = np.maximum(1.0 - distances, 0.0)
    return weights


def _kernel_matrix(length: int, sigma_vox: float, like: Tensor) -> Tensor:
    """`gaussian` along an axis of that many voxels as a matrix."""
    unit_responses = torch.eye(length, dtype=like.dtype, device=like.device).view(length, 1, 1, 1, length)
    return gaussian(unit_responses, [0.0, 0.0, sigma_vox]).view(length, length).T


def along_axes(image: Tensor, matrices: Sequence[Tensor | None]) -> Tensor:
    """Each axis (z, y, x) of images (B, C, D, H, W) through its matrix if it has one, first those that shrink most."""
    given = {axis: matrix for axis, matrix in enumerate(matrices) if matrix is not None}
    for axis, matrix in sorted(given.items(), key=lambda of_axis: of_axis[1].shape[0] / of_axis[1].shape[1]):
        if axis == 2:
            image = image @ matrix.T
        elif axis == 1:
            image = matrix @ image
        else:
            image = (matrix @ image.flatten(3)).unflatten(3, image.shape[3:])
    return image


def _anti_alias_sigmas(source: Geometry, target: Geometry) -> list[float]:
    """S.d. per axis, in voxels of `source`: half of how much larger the new voxel is, none if it is not."""
    ratio_zyx = np.asarray(target.spacing_zyx_mm) / np.asarray(source.spacing_zyx_mm)
    return [0.5 * float(np.sqrt(max(r * r - 1.0, 0.0))) for r in ratio_zyx]


def low_pass(image: Tensor, source: Geometry, target: Geometry) -> Tensor:
    """Gaussian filter against the aliasing that larger voxels of `target` would show."""
    return gaussian(image, _anti_alias_sigmas(source, target))


def gaussian(image: Tensor, sigma_vox_zyx: list[float]) -> Tensor:
    """Separable Gaussian with edge values repeated outside; a sigma under a tenth of a voxel does nothing."""
    for axis, sigma in enumerate(sigma_vox_zyx):
        if sigma < 0.1 or image.shape[2 + axis] == 1:
            continue
        radius = min(int(np.ceil(3 * sigma)), image.shape[2 + axis] - 1)
        image = _filtered(image, _gaussian_kernel(sigma, radius, image.dtype), axis)
    return image


@lru_cache(maxsize=64)
def _gaussian_kernel(sigma_vox: float, radius: int, dtype: torch.dtype) -> tuple[float, ...]:
    """Numbers of the host: a device would have to be waited for to know them."""
    offsets = torch.arange(-radius, radius + 1, dtype=dtype)
    kernel = torch.exp(-0.5 * (offsets / sigma_vox) ** 2)
    return tuple((kernel / kernel.sum()).tolist())


def _filtered(image: Tensor, kernel: tuple[float, ...], axis: int) -> Tensor:
    padded = edges_repeated(image.movedim(2 + axis, -1), len(kernel) // 2, (-1,))
    length = image.shape[2 + axis]
    out = torch.zeros_like(padded[..., :length])
    for k, weight in enumerate(kernel):
        out.add_(padded[..., k : k + length], alpha=weight)
    return out.movedim(-1, 2 + axis).contiguous()


def edges_repeated(values: Tensor, width: int, axes: tuple[int, ...]) -> Tensor:
    """Padded by `width` edge values along axes; unlike that of `F.pad`, its gradient is repeatable on a GPU."""
    for axis in axes:
        n = values.shape[axis]
        ends = [values.narrow(axis, index, 1) for index in (0, n - 1)]
        first, last = (end.expand(*(width if k == axis % end.dim() else -1 for k in range(end.dim()))) for end in ends)
        values = torch.cat([first, values, last], dim=axis)
    return values


def mean_of_neighbors(values: Tensor) -> Tensor:
    """Mean over 3³ cells, edge values repeated outside; on the CPU several times faster than `avg_pool3d`."""
    padded = edges_repeated(values, 1, (2, 3, 4))
    for axis in (2, 3, 4):
        n = padded.shape[axis] - 2
        padded = padded.narrow(axis, 0, n) + padded.narrow(axis, 1, n) + padded.narrow(axis, 2, n)
    return padded / 27.0


def upsampled(displacement_vox: Tensor) -> Tensor:
    """Twice the size, cell centers kept, and twice the voxel count for the same motion."""
    return 2.0 * doubled(displacement_vox)


def doubled(values: Tensor) -> Tensor:
    """Twice the size, linear, cell centers kept; unlike that of `interpolate`, its gradient is repeatable on a GPU."""
    with torch.autocast(values.device.type, enabled=False):
        return along_axes(values, [_doubling(n, values.dtype, values.device) for n in values.shape[2:]])


@lru_cache(maxsize=64)
def _doubling(length: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Kept, since a device would have to be waited for to get it."""
    indices = 0.5 * np.arange(2.0 * length) - 0.25
    return torch.as_tensor(linear_weights(indices, length)).to(device, dtype)


def as_tensor(array: HuArray | DisplacementArray, device: torch.device | str = "cpu") -> Tensor:
    """(Z, Y, X) or (3, Z, Y, X) as a tensor (1, C, D, H, W), never sharing memory with a read-only array."""
    tensor = torch.tensor(np.ascontiguousarray(array), device=device)
    return tensor.reshape(1, -1, *array.shape[-3:])


def as_array(displacement_vox: Tensor) -> DisplacementArray:
    """(1, 3, D, H, W) as a (3, Z, Y, X) float32 array."""
    array: DisplacementArray = displacement_vox.detach()[0].to("cpu", torch.float32).contiguous().numpy()
    return array
