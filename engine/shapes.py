"""Names for the arrays that pass between modules.

Arrays are (z, y, x), points (x, y, z) in mm of patient space (DICOM LPS), tensors (B, C, D, H, W).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

HuArray = NDArray[np.float32]
"""(Z, Y, X) Hounsfield units."""

MaskArray = NDArray[np.bool_]
"""(Z, Y, X)."""

LabelArray = NDArray[np.unsignedinteger[Any]]
"""(Z, Y, X) numbers of structures, 0 where there is none."""

BlockPart = tuple[Any, Any, Any]
"""What to cut out of a (Z, Y, X) array: of each axis a number, or a slice forwards."""

DisplacementArray = NDArray[np.float32]
"""(3, Z, Y, X) displacement in voxels of the grid it lies on, components z, y, x."""

PointArray = NDArray[np.float64]
"""(N, 3) points x, y, z in mm."""

Matrix = NDArray[np.float64]
"""A homogeneous 4 × 4 matrix, or its 3 × 3 linear part."""
