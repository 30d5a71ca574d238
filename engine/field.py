"""The one place where displacements change between voxels of a grid and millimetres of the patient."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from engine.geometry import Geometry
from engine.shapes import DisplacementArray, Matrix

DisplacementMm = NDArray[np.float32]
"""(Z, Y, X, 3) displacement in mm, LPS components x, y, z."""


def displacement_mm(displacement_vox: DisplacementArray, geometry: Geometry) -> DisplacementMm:
    """Displacement (3, Z, Y, X) in voxels z, y, x of `geometry` as (Z, Y, X, 3) in mm, LPS components x, y, z."""
    result = np.empty((*geometry.shape_zyx, 3), dtype=np.float32)
    for z, row in enumerate(result):
        row[...] = np.moveaxis(_slice_mm(displacement_vox, z, geometry.point_from_index()[:3, :3]), 0, -1)
    return result


def displacement_vox_from_mm(displacement_mm: NDArray[np.floating], geometry: Geometry) -> DisplacementArray:
    """Inverse of `displacement_mm`: (Z, Y, X, 3) in mm to (3, Z, Y, X) in voxels z, y, x."""
    zyx_from_mm = geometry.index_from_point()[2::-1, :3].astype(np.float32)
    result = np.empty((3, *geometry.shape_zyx), dtype=np.float32)
    for z in range(geometry.shape_zyx[0]):
        vectors = displacement_mm[z].reshape(-1, 3).T.astype(np.float32, copy=False)
        result[:, z] = (zyx_from_mm @ vectors).reshape(3, *geometry.shape_zyx[1:])
    return result


def total_displacement_mm(displacement_vox: DisplacementArray, geometry: Geometry, rigid: ArrayLike) -> DisplacementMm:
    """T(x) − x with T(x) = R(x + u(x)), as (Z, Y, X, 3) in mm, LPS components x, y, z.

    `rigid` is the 4 × 4 matrix of R. The rigid part is added in float64 slice by slice, so that far origins cost no
    accuracy.
    """
    rigid = np.asarray(rigid, dtype=np.float64)
    offset = (rigid - np.eye(4)) @ geometry.point_from_index()
    linear = rigid[:3, :3] @ geometry.point_from_index()[:3, :3]
    result = np.empty((*geometry.shape_zyx, 3), dtype=np.float32)
    for z, row in enumerate(result):
        total = _slice_mm(displacement_vox, z, linear) + _affine_slice(offset, z, geometry.shape_zyx)
        row[...] = np.moveaxis(total, 0, -1)
    return result


def _slice_mm(displacement_vox: DisplacementArray, z: int, mm_from_xyz: Matrix) -> NDArray[np.float32]:
    """Slice z of the displacement in mm, components x, y, z first: (3, Y, X)."""
    vectors_zyx = np.asarray(displacement_vox[:, z]).reshape(3, -1)
    vectors_mm: NDArray[np.float32] = mm_from_xyz[:, ::-1].astype(np.float32) @ vectors_zyx
    return vectors_mm.reshape(3, *displacement_vox.shape[2:])


def _affine_slice(matrix: Matrix, z: int, shape_zyx: tuple[int, int, int]) -> NDArray[np.float64]:
    """Matrix (4 × 4) applied to the indices (x, y, z) of slice z: (3, Y, X)."""
    _, y, x = shape_zyx
    along_x = matrix[:3, 0, None, None] * np.arange(x)
    along_y = matrix[:3, 1, None, None] * np.arange(y)[:, None]
    constant = matrix[:3, 2] * z + matrix[:3, 3]
    result: NDArray[np.float64] = along_x + (along_y + constant[:, None, None])
    return result
