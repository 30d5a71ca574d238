"""Registrations as ITK transforms and as displacement fields in files.

Vectors are in mm along the patient axes (LPS, x y z) and point from fixed to moving, in every format.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from engine import field
from engine.errors import InputError, OutputError
from engine.field import DisplacementMm
from engine.io.atomic import reserve, whole_file
from engine.io.images import to_sitk_image
from engine.io.nifti import refuse_damaged_nifti
from engine.io.quiet import quiet
from engine.registration import Registration
from engine.shapes import Matrix

if TYPE_CHECKING:
    import SimpleITK as sitk

TRANSFORM_SUFFIXES = (".h5", ".hdf5", ".tfm", ".txt", ".mat", ".xfm")
FIELD_SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
_RIGID_TOLERANCE = 1e-3
_HEADER_BYTES = 65536


def total_displacement_mm(registration: Registration) -> DisplacementMm:
    """T(x) − x on the fixed grid, (Z, Y, X, 3) float32 in mm, LPS components x, y, z."""
    return field.total_displacement_mm(registration.displacement_vox, registration.fixed, registration.rigid)


def to_sitk_transform(registration: Registration) -> sitk.CompositeTransform:
    """T(x) = R(x + u(x)) as a composite of R and the displacement field u.

    ITK applies the transform that was added last first, so R is added first.
    """
    import SimpleITK as sitk

    composite = sitk.CompositeTransform(3)
    composite.AddTransform(_affine(registration.rigid))
    vectors = field.displacement_mm(registration.displacement_vox, registration.fixed)
    image = sitk.Cast(to_sitk_image(vectors, registration.fixed), sitk.sitkVectorFloat64)
    composite.AddTransform(sitk.DisplacementFieldTransform(image))
    return composite


def write_transform(path: str | Path, transform: sitk.Transform) -> None:
    """Write an ITK transform to HDF5 (`.h5`), whole or not at all. Raises OutputError."""
    import SimpleITK as sitk

    if not str(path).lower().endswith(".h5"):
        raise OutputError("Expected a file name that ends in .h5 for a transform.")
    with whole_file(path) as temporary:
        reserve(temporary, 8 * transform.GetNumberOfParameters() + _HEADER_BYTES)
        try:
            with quiet():
                sitk.WriteTransform(transform, str(temporary))
        except RuntimeError as error:
            raise OSError(errno.EIO, "the disk refused the file") from error


def read_transform(path: str | Path) -> sitk.Transform:
    """Read an ITK transform (`.h5`, `.tfm`, `.txt`, `.mat`), or an image of displacements in mm (LPS)."""
    import SimpleITK as sitk

    file = Path(path)
    if not file.is_file():
        raise InputError("Expected a transform file; there is none at the given path.")
    name = file.name.lower()
    if name.endswith(FIELD_SUFFIXES):
        return _field_transform(file)
    if not name.endswith(TRANSFORM_SUFFIXES):
        raise InputError(f"Expected a transform ({', '.join(TRANSFORM_SUFFIXES)}) or a displacement image.")
    try:
        with quiet():
            transform = sitk.ReadTransform(str(file))
    except RuntimeError as error:
        raise InputError("The file is not a transform that ITK can read (damaged, or of another program).") from error
    if transform.GetDimension() != 3:
        raise InputError(f"Expected a transform of 3-D space, got one of {transform.GetDimension()} dimensions.")
    return transform


def rigid_matrix(transform: sitk.Transform) -> Matrix:
    """The 4 × 4 matrix of a rigid ITK transform, fixed to moving; an InputError for any other transform."""
    if not transform.IsLinear():
        raise InputError("Expected a rigid transform for the alignment; this one deforms.")
    origin = np.array(transform.TransformPoint((0.0, 0.0, 0.0)))
    axes = [np.array(transform.TransformPoint(tuple(axis))) - origin for axis in np.eye(3)]
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack(axes, axis=1)
    matrix[:3, 3] = origin
    rotation = matrix[:3, :3]
    if not np.allclose(rotation.T @ rotation, np.eye(3), atol=_RIGID_TOLERANCE) or np.linalg.det(rotation) < 0:
        raise InputError("Expected a rigid transform for the alignment; this one scales, shears or mirrors.")
    return matrix


def _affine(matrix: Matrix) -> sitk.AffineTransform:
    import SimpleITK as sitk

    affine = sitk.AffineTransform(3)
    affine.SetMatrix(matrix[:3, :3].ravel().tolist())
    affine.SetTranslation(matrix[:3, 3].tolist())
    return affine


def _field_transform(path: Path) -> sitk.DisplacementFieldTransform:
    import SimpleITK as sitk

    if path.name.lower().endswith((".nii", ".nii.gz")):
        refuse_damaged_nifti(path)
    try:
        with quiet():
            image = sitk.ReadImage(str(path))
    except RuntimeError as error:
        raise InputError("The file is not a readable displacement image; export it again.") from error
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 3:
        raise InputError("Expected a 3-D image of displacements with three components in each voxel.")
    if not np.isfinite(sitk.GetArrayViewFromImage(image)).all():
        raise InputError("The displacement image holds values that are not numbers.")
    return sitk.DisplacementFieldTransform(sitk.Cast(image, sitk.sitkVectorFloat64))
