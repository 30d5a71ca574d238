"""A registration method that lives in a Python package, run as a process of its own.

    PYTHON run_peer.py syn|greedy|demons|convexadam FIXED MOVING FOLDER THREADS

Reads two images whose padding is air and writes FOLDER/field.nii.gz or FOLDER/transform.h5: T(x), fixed to moving, mm
(LPS). PYTHON is one that has the package; of Regard's code only the rigid alignment is used, by the methods that have
none of their own. `SETTINGS` says what was chosen, as the table prints it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

SETTINGS = {
    "syn": "antsRegistrationSyN[s], the recipe that ANTs recommends: rigid, affine, then SyN by correlation of radius "
    "2, 100 × 70 × 50 × 20 iterations",
    "greedy": "-m NCC 4x4x4 -n 100x50x10 -sv after -a -dof 6 -m NMI -n 100x50x10, other values as they are by default",
    "demons": "diffeomorphic, field s.d. 1.5 voxels, images limited to [-1000, 500] HU and their histograms matched, "
    "100, 60, 40 iterations at a quarter, half and full size",
    "convexadam": "convex_adam_pt with its default values (MIND-SSC, grid 6, 80 Adam iterations)",
}


def main(name: str, fixed: str, moving: str, folder: str, threads: str) -> None:
    METHODS[name](fixed, moving, Path(folder), int(threads))


def syn(fixed: str, moving: str, folder: Path, threads: int) -> None:
    """ANTs: its warp and matrix are joined to one field; the threads come from the environment."""
    del threads
    import ants

    images = ants.image_read(fixed), ants.image_read(moving)
    prefix = str(folder / "ants")
    found = ants.registration(*images, type_of_transform="antsRegistrationSyN[s]", outprefix=prefix)
    joined = ants.apply_transforms(*images, found["fwdtransforms"], compose=str(folder / "joined"))
    Path(joined).rename(folder / "field.nii.gz")


def greedy(fixed: str, moving: str, folder: Path, threads: int) -> None:
    """Greedy: rigid, deformable, and both as one field."""
    from picsl_greedy import Greedy3D

    program = Greedy3D()
    common = f"-threads {threads} -d 3"
    images = f"-i {fixed} {moving}"
    rigid, warp, field = (folder / name for name in ("rigid.mat", "warp.nii.gz", "field.nii.gz"))
    program.execute(f"{common} -a -dof 6 -m NMI -n 100x50x10 -ia-identity {images} -o {rigid}")
    program.execute(f"{common} -m NCC 4x4x4 -n 100x50x10 -sv -it {rigid} {images} -o {warp}")
    program.execute(f"{common} -rf {fixed} -r {warp} {rigid} -rc {field}")


def demons(fixed: str, moving: str, folder: Path, threads: int) -> None:
    """SimpleITK's diffeomorphic demons on three levels (Vercauteren et al. 2009)."""
    rigid, fixed_image, aligned = aligned_pair(fixed, moving)
    fixed_image, aligned = (sitk.Clamp(image, lowerBound=-1000.0, upperBound=500.0) for image in (fixed_image, aligned))
    aligned = sitk.HistogramMatching(aligned, fixed_image, 256, 12, thresholdAtMeanIntensity=True)
    method = sitk.DiffeomorphicDemonsRegistrationFilter()
    method.SetNumberOfThreads(threads)
    method.SetStandardDeviations(1.5)
    field = None
    for factor, count in ((4, 100), (2, 60), (1, 40)):
        level = [sitk.BinShrink(image, [factor] * 3) for image in (fixed_image, aligned)]
        method.SetNumberOfIterations(count)
        field = method.Execute(*level) if field is None else method.Execute(*level, sitk.Resample(field, level[0]))
    write_composite(folder, rigid, sitk.Cast(field, sitk.sitkVectorFloat64))


def convexadam(fixed: str, moving: str, folder: Path, threads: int) -> None:
    """convexAdam (Siebert et al. 2024): voxels along the array's axes, z y x, become mm along x y z."""
    import torch
    from convexAdam.convex_adam_MIND import convex_adam_pt

    torch.set_num_threads(threads)
    rigid, fixed_image, aligned = aligned_pair(fixed, moving)
    arrays = (sitk.GetArrayFromImage(image) for image in (fixed_image, aligned))
    displacement_vox = convex_adam_pt(*arrays, device=torch.device("cpu"))
    axes = np.reshape(fixed_image.GetDirection(), (3, 3)) * fixed_image.GetSpacing()
    field = sitk.GetImageFromArray(displacement_vox[..., ::-1] @ axes.T, isVector=True)
    field.CopyInformation(fixed_image)
    write_composite(folder, rigid, field)


def aligned_pair(fixed: str, moving: str) -> tuple[sitk.Transform, sitk.Image, sitk.Image]:
    """Regard's rigid alignment R, the fixed image, and the moving one resampled onto its grid through R."""
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    from engine.io.images import read_volume
    from engine.optimize.align import rigid_alignment
    from engine.progress import finish

    matrix = finish(rigid_alignment(read_volume(fixed), read_volume(moving)))
    rigid = sitk.AffineTransform(matrix[:3, :3].ravel().tolist(), matrix[:3, 3].tolist())
    images = [sitk.ReadImage(path, sitk.sitkFloat32) for path in (fixed, moving)]
    return rigid, images[0], sitk.Resample(images[1], images[0], rigid, sitk.sitkLinear, -1000.0)


def write_composite(folder: Path, rigid: sitk.Transform, field: sitk.Image) -> None:
    """T(x) = R(x + u(x)): ITK applies the transform that comes last first."""
    whole = sitk.CompositeTransform([rigid, sitk.DisplacementFieldTransform(field)])
    sitk.WriteTransform(whole, str(folder / "transform.h5"))


METHODS: dict[str, Callable[[str, str, Path, int], None]] = {
    "syn": syn,
    "greedy": greedy,
    "demons": demons,
    "convexadam": convexadam,
}


if __name__ == "__main__":
    main(*sys.argv[1:])
