"""Images in files: NIfTI, MetaImage, NRRD, and folders of DICOM slices.

SimpleITK gives every format in patient space LPS, mm (NIfTI too, whose own affine is RAS), so nothing is flipped here.
"""

from __future__ import annotations

import errno
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError, OutputError
from engine.geometry import Geometry, as_triple
from engine.io.atomic import reserve, whole_file
from engine.io.nifti import refuse_damaged_nifti
from engine.io.quiet import quiet
from engine.preprocess import valid_region
from engine.shapes import LabelArray, MaskArray
from engine.structures import voxel_counts
from engine.volume import NOT_IN_HU, Volume

if TYPE_CHECKING:
    import SimpleITK as sitk

    from engine.io.dicom_image import DicomImage

SUFFIXES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".nhdr")
"""What `read_volume` is meant for; whatever else SimpleITK reads as a 3-D image is taken too."""

WRITTEN_SUFFIXES = (".nii.gz", ".nii", ".mha", ".nrrd")
_HEADER_BYTES = 4096

_HIGHEST_LABEL = 65535
_MOST_LABELS = 200

_AIR_BELOW_HU = -300.0
"""Every CT shows some air; an image that shows none is on another scale."""


def read_volume(path: str | Path, *, name: str = "") -> Volume:
    """Read an image in HU from a file, or from a folder of DICOM slices.

    `FOLDER#SERIES_UID` or `FOLDER#2` picks one of several series. Raises InputError with one line where the image
    is missing, damaged, not 3-D, a single slice, sheared, or holds values that are not numbers.
    """
    folder, series = _split_series(path)
    if folder is not None:
        from engine.io.dicom_image import read_series

        return _dicom_volume(read_series(folder, series), name)
    image = read_image(Path(path), "sitkFloat32")
    hu, geometry = array_of(image), geometry_of(image)
    modality = "CT" if hu.min() < _AIR_BELOW_HU else NOT_IN_HU
    return Volume(hu, geometry, valid_region(hu), modality, name)


def read_files(files: Sequence[Path], *, name: str = "") -> Volume:
    """Read an image from one file, or from the DICOM slices that make it up. Raises InputError as `read_volume`."""
    if len(files) == 1:
        return read_volume(files[0], name=name)
    from engine.io.dicom_image import read_slices

    return _dicom_volume(read_slices(files), name)


def _dicom_volume(image: DicomImage, name: str) -> Volume:
    return Volume(image.hu, image.geometry, valid_region(image.hu), image.modality, name, image.identity)


def read_labels(path: str | Path) -> tuple[NDArray[np.int32], Geometry]:
    """Read an image of whole numbers (a mask or labels): the array (Z, Y, X) and its geometry."""
    image = read_image(Path(path), "sitkFloat64")
    values = array_of(image)
    labels = values.astype(np.int32)
    if not np.array_equal(labels, values):
        raise InputError("Expected a mask or label image of whole numbers; this image holds fractions.")
    return labels, geometry_of(image)


def read_mask_on(path: str | Path, fixed: Geometry) -> MaskArray:
    """Read a mask on the fixed grid, (Z, Y, X); whatever is not zero counts. Another grid is an InputError."""
    labels, geometry = read_labels(path)
    _refuse_another_grid("a mask", geometry, "fixed", fixed)
    mask: MaskArray = labels != 0
    return mask


def read_labels_on(path: str | Path, role: str, grid: Geometry) -> LabelArray:
    """Read a label image on the grid of the fixed or the moving image (`role`), (Z, Y, X), 0 where no structure is.

    Raises InputError for another grid, numbers below zero, and so many that it is no label image.
    """
    labels, geometry = read_labels(path)
    _refuse_another_grid("labels", geometry, role, grid)
    low, high = int(labels.min()), int(labels.max())
    if low < 0 or high > _HIGHEST_LABEL:
        raise InputError(f"Expected labels from 0 to {_HIGHEST_LABEL}, got {low} to {high}; this may be an image.")
    count = len(voxel_counts(labels))
    if count > _MOST_LABELS:
        raise InputError(f"Expected at most {_MOST_LABELS} structures, got {count}; this may be an image.")
    return labels.astype(np.uint8 if high < 256 else np.uint16)


def _refuse_another_grid(what: str, found: Geometry, role: str, wanted: Geometry) -> None:
    if not found.is_close(wanted):
        other = f"a grid of {found.shape_zyx}" if found.shape_zyx != wanted.shape_zyx else "one elsewhere in space"
        raise InputError(
            f"Expected {what} on the {role} grid {wanted.shape_zyx} (z, y, x), got {other}; "
            f"resample it onto the {role} image first."
        )


def write_image(path: str | Path, array_zyx: NDArray[Any], geometry: Geometry) -> None:
    """Write (Z, Y, X) values, or (Z, Y, X, 3) vectors, whole or not at all. The suffix decides the format.

    `.nii.gz` is compressed fast rather than small; other formats are not compressed. Raises OutputError.
    """
    write_sitk_image(path, to_sitk_image(array_zyx, geometry))


def to_sitk_image(array_zyx: NDArray[Any], geometry: Geometry) -> sitk.Image:
    """A SimpleITK image of (Z, Y, X) values or (Z, Y, X, components) vectors."""
    import SimpleITK as sitk

    values = array_zyx.astype(np.uint8) if array_zyx.dtype == np.bool_ else array_zyx
    image = sitk.GetImageFromArray(values, isVector=values.ndim == 4)
    image.SetSpacing(geometry.spacing_xyz_mm)
    image.SetOrigin(geometry.origin_xyz_mm)
    image.SetDirection([value for row in geometry.direction for value in row])
    return image


def write_sitk_image(path: str | Path, image: sitk.Image, compressed: bool = False) -> None:
    """Write a SimpleITK image as `write_image` does, on demand with the format's own compression."""
    if not str(path).lower().endswith(WRITTEN_SUFFIXES):
        raise OutputError(f"Expected a file name that ends in one of {', '.join(WRITTEN_SUFFIXES)}.")
    with whole_file(path) as temporary:
        if str(path).lower().endswith(".nii.gz"):
            _write_gzipped_nifti(temporary, image)
        else:
            write_with_sitk(temporary, image, compressed)


def write_with_sitk(path: Path, image: sitk.Image, compressed: bool = False) -> None:
    """`sitk.WriteImage`, but what goes wrong is an OSError."""
    import SimpleITK as sitk

    byte_count = image.GetNumberOfPixels() * image.GetNumberOfComponentsPerPixel() * image.GetSizeOfPixelComponent()
    reserve(path, byte_count + _HEADER_BYTES)
    try:
        with quiet():
            sitk.WriteImage(image, str(path), useCompression=compressed, compressionLevel=1)
    except RuntimeError as error:
        raise OSError(errno.EIO, "the disk refused the file") from error
    if not compressed and path.stat().st_size < byte_count:
        raise OSError(errno.EIO, "the disk took only a part of the file")


def _write_gzipped_nifti(path: Path, image: sitk.Image) -> None:
    """NIfTI, compressed by run lengths and Huffman codes alone.

    ITK ignores the compression level of NIfTI. On float fields this is twice as fast as its default and no larger.
    """
    plain = path.with_name(path.name.removesuffix(".gz"))
    try:
        write_with_sitk(plain, image)
        packer = zlib.compressobj(1, zlib.DEFLATED, 31, 9, zlib.Z_RLE)
        with plain.open("rb") as source, path.open("wb") as packed:
            while block := source.read(1 << 22):
                packed.write(packer.compress(block))
            packed.write(packer.flush())
    finally:
        plain.unlink(missing_ok=True)


def _split_series(path: str | Path) -> tuple[Path | None, str | None]:
    """The folder and the series asked for; no folder when the path is a file or nothing."""
    whole = Path(path)
    if whole.is_dir():
        return whole, None
    before, mark, series = str(path).rpartition("#")
    if mark and Path(before).is_dir():
        return Path(before), series
    return None, None


def read_image(path: Path, pixel_type: str) -> sitk.Image:
    """Read a 3-D image of one value a voxel as a SimpleITK pixel type, or raise InputError with the reason."""
    import SimpleITK as sitk

    reader = image_reader(path)
    reader.SetOutputPixelType(getattr(sitk, pixel_type))
    try:
        with quiet():
            return reader.Execute()
    except RuntimeError as error:
        raise InputError(_unreadable(path)) from error


def image_reader(path: Path) -> sitk.ImageFileReader:
    """A reader that knows the header of a 3-D image, or an InputError with the reason why it is none."""
    import SimpleITK as sitk

    try:
        readable = path.is_file()
        with path.open("rb"):
            pass
    except OSError as error:
        raise InputError(f"Expected an image file or a DICOM folder; {_open_problem(error)}.") from error
    if not readable:
        raise InputError("Expected an image file or a DICOM folder; this is neither.")
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    if path.name.lower().endswith((".nii", ".nii.gz")):
        refuse_damaged_nifti(path)
    try:
        with quiet():
            reader.ReadImageInformation()
            _refuse_unusable(reader)
    except RuntimeError as error:
        raise InputError(_unreadable(path)) from error
    return reader


def _open_problem(error: OSError) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is nothing at the given path"
    return f"it cannot be opened ({(error.strerror or 'unknown error').lower()})"


def _unreadable(path: Path) -> str:
    suffix = next((s for s in SUFFIXES if path.name.lower().endswith(s)), "")
    if suffix:
        return f"The file is not a readable {suffix} image (damaged, cut short, or no image at all)."
    return f"Expected an image ({', '.join(SUFFIXES)}) or a DICOM folder; the file is not one that can be read."


def _refuse_unusable(reader: sitk.ImageFileReader) -> None:
    size = reader.GetSize()
    if reader.GetNumberOfComponents() != 1:
        count = reader.GetNumberOfComponents()
        raise InputError(f"Expected one value in each voxel, got {count} (a vector or color image).")
    if len(size) != 3 and not (len(size) == 4 and size[3] == 1):
        raise InputError(f"Expected a 3-D image, got {len(size)}-D of size {'×'.join(map(str, size))}.")
    if min(size[:3]) < 2:
        raise InputError(
            f"Expected a 3-D image of several slices, got size {'×'.join(map(str, size))}; "
            "give the folder of the series, or the whole volume."
        )
    if len(size) == 4:
        reader.SetExtractSize([*size[:3], 0])


def geometry_of(image: sitk.Image | sitk.ImageFileReader) -> Geometry:
    """The grid of an image, or of a file whose header was read; an InputError where its axes are sheared."""
    x, y, z = image.GetSize()[:3]
    axes = len(image.GetSize())
    rows = np.reshape(image.GetDirection(), (axes, axes))[:3, :3]
    return Geometry(
        (z, y, x),
        as_triple(image.GetSpacing()[:3]),
        as_triple(image.GetOrigin()[:3]),
        (as_triple(rows[0]), as_triple(rows[1]), as_triple(rows[2])),
    )


def array_of(image: sitk.Image) -> NDArray[Any]:
    """Return the voxels (Z, Y, X) as an array of its own."""
    import SimpleITK as sitk

    result: NDArray[Any] = sitk.GetArrayFromImage(image)
    return result
