"""The real lung pair: Regard from start to exit beside elastix and plastimatch, in one run.

    python tests/benchmarks/lung_pair.py ../shared/data/lung_ct_pair [--threads 2] [--only NAME ...]

Every method is a process of its own that reads the two files and writes its transform; its result is judged by
`regard evaluate`: target error at the ten coarse points, error and folding inside the lung. elastix and plastimatch
come from Debian; they get the images with padding raised to air, since they know no invalid region.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import SimpleITK as sitk

FIXED, MOVING = "3DCT_lung_baseline.mha", "3DCT_lung_followup.mha"

ELASTIX_RIGID = """
(FixedImageDimension 3) (MovingImageDimension 3)
(FixedInternalImagePixelType "float") (MovingInternalImagePixelType "float")
(Registration "MultiResolutionRegistration") (UseDirectionCosines "true")
(FixedImagePyramid "FixedRecursiveImagePyramid") (MovingImagePyramid "MovingRecursiveImagePyramid")
(Interpolator "LinearInterpolator") (ResampleInterpolator "FinalBSplineInterpolator") (Resampler "DefaultResampler")
(NewSamplesEveryIteration "true") (ImageSampler "RandomCoordinate")
(Optimizer "AdaptiveStochasticGradientDescent")
(Metric "AdvancedMattesMutualInformation") (NumberOfHistogramBins 32)
(NumberOfSpatialSamples 4000) (WriteResultImage "false")
"""

ELASTIX_STAGES = (
    """(Transform "EulerTransform") (AutomaticTransformInitialization "true") (AutomaticScalesEstimation "true")
(NumberOfResolutions 3) (MaximumNumberOfIterations 250)
""",
    """(Transform "BSplineTransform") (FinalGridSpacingInPhysicalUnits 10.0) (HowToCombineTransforms "Compose")
(NumberOfResolutions 4) (MaximumNumberOfIterations 500)
""",
)

PLASTIMATCH = """[GLOBAL]
fixed={fixed}
moving={moving}
vf_out={out}
[STAGE]
xform=align_center
[STAGE]
xform=rigid
optim=versor
metric=mi
max_its=50
res=4 4 2
[STAGE]
xform=bspline
optim=lbfgsb
impl=plastimatch
threading=openmp
metric=mse
max_its=60
regularization_lambda=0.01
grid_spac=40 40 40
res=4 4 2
[STAGE]
xform=bspline
max_its=60
grid_spac=20 20 20
res=2 2 1
[STAGE]
xform=bspline
max_its=60
grid_spac=10 10 10
res=1 1 1
"""


def main() -> None:
    """Run the methods and print a table as Markdown."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1, help="the median time is printed")
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    print("| method | s | TRE mean | TRE median | lung RMSE HU | lung folding % | min Jacobian |")
    print("|---|---|---|---|---|---|---|")
    for name, run in methods(arguments.threads).items():
        if arguments.only and name not in arguments.only:
            continue
        with tempfile.TemporaryDirectory() as folder:
            print(row(name, run, arguments.data, Path(folder), arguments.repeats), flush=True)


def methods(threads: int) -> dict[str, Callable[[Path, Path], Path]]:
    """Name to a function (data, folder) -> transform file."""

    def regard(*options: str) -> Callable[[Path, Path], Path]:
        def run(data: Path, folder: Path) -> Path:
            out = folder / "out"
            images = [str(data / FIXED), str(data / MOVING)]
            command = ["register", *images, "--out", str(out), "--force", "--threads", str(threads), *options]
            call([sys.executable, "-m", "app.command", *command])
            return out / "transform.h5"

        return run

    found: dict[str, Callable[[Path, Path], Path]] = {
        "rigid only": regard("--model", "none"),
        "general": regard(),
        "ISO 100 by field": regard("--model", "none", "--iso", "100", "--by", "field"),
        "general, ISO 100 by field": regard("--iso", "100", "--by", "field"),
    }
    if shutil.which("elastix"):
        found["elastix B-spline"] = lambda data, folder: elastix(data, folder, threads)
    if shutil.which("plastimatch"):
        found["plastimatch B-spline"] = plastimatch
    return found


def row(name: str, run: Callable[[Path, Path], Path], data: Path, folder: Path, repeats: int) -> str:
    """One line of the table."""
    prepare(data, folder)
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        transform = run(data, folder)
        seconds.append(time.perf_counter() - started)
    figures = judged(data, transform, folder)
    tre = figures["tre_mm"]
    median_s = sorted(seconds)[len(seconds) // 2]
    return (
        f"| {name} | {median_s:.1f} | {tre['mean']:.2f} | {tre['median']:.2f} | {figures['mask_rmse_hu']:.1f} "
        f"| {figures['folding_percent']:.4f} | {figures['min_jacobian']:.2f} |"
    )


def prepare(data: Path, folder: Path) -> None:
    """The images with padding raised to air."""
    for name in (FIXED, MOVING):
        image = sitk.Clamp(sitk.ReadImage(str(data / name), sitk.sitkFloat32), lowerBound=-1000.0)
        sitk.WriteImage(image, str(folder / name))


def elastix(data: Path, folder: Path, threads: int) -> Path:
    """Rigid, then B-spline with a 10 mm grid; the field by transformix counts into the time, as ours does."""
    del data
    command = ["elastix", "-f", str(folder / FIXED), "-m", str(folder / MOVING), "-out", str(folder)]
    for number, stage in enumerate(ELASTIX_STAGES):
        text = "\n".join(
            part.strip() + ")" for part in (ELASTIX_RIGID + stage).replace("\n", " ").split(")") if part.strip()
        )
        (folder / f"p{number}.txt").write_text(text)
        command += ["-p", str(folder / f"p{number}.txt")]
    call([*command, "-threads", str(threads)])
    last = folder / f"TransformParameters.{len(ELASTIX_STAGES) - 1}.txt"
    subprocess.run(
        ["transformix", "-def", "all", "-tp", str(last), "-out", str(folder)], check=True, capture_output=True
    )
    return folder / "deformationField.mhd"


def plastimatch(data: Path, folder: Path) -> Path:
    """Rigid, then B-splines of 40, 20 and 10 mm."""
    del data
    out = folder / "field.mha"
    (folder / "command.txt").write_text(PLASTIMATCH.format(fixed=folder / FIXED, moving=folder / MOVING, out=out))
    call(["plastimatch", "register", str(folder / "command.txt")])
    return out


def call(command: list[str]) -> None:
    """Run a program quietly; what it printed becomes the error where it fails."""
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def judged(data: Path, transform: Path, folder: Path) -> dict[str, dict[str, float] | float]:
    """The figures of `regard evaluate`."""
    out = folder / "figures.json"
    pairs = {
        "--points": ("approx_points_baseline_index.txt", "approx_points_followup_index.txt"),
        "--masks": ("3DCT_lung_baseline_mask.mha", "3DCT_lung_followup_mask.mha"),
    }
    options = [text for option, names in pairs.items() for text in (option, *(str(data / name) for name in names))]
    command = ["evaluate", str(data / FIXED), str(data / MOVING), str(transform), *options, "--out", str(out)]
    call([sys.executable, "-m", "app.command", *command])
    return json.loads(out.read_text())["stages"][-1]


if __name__ == "__main__":
    main()
