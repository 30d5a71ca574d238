"""Registration methods side by side: each a process that reads two files and writes its transform, judged alike.

Regard gets the files as a scanner writes them. The others know no invalid region and get them with padding raised to
air. Every method starts from the pair as it is: its own rigid stage, or Regard's where it has none, is in its time.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import run_peer
import SimpleITK as sitk

from engine import __version__, cli
from engine.models import find_model

ISO_ITERATIONS = 100
OWN, OURS = "own rigid", "Regard's rigid"

_LAUNCHER = """
import json, os, sys, time
def busy_seconds():
    with open("/proc/stat") as stream:
        user, nice, system, _idle, _wait, irq, soft = map(int, stream.readline().split()[1:8])
    return (user + nice + system + irq + soft) / os.sysconf("SC_CLK_TCK")
started, busy = time.perf_counter(), busy_seconds()
child = os.posix_spawnp(sys.argv[2], sys.argv[2:], os.environ)
_, status, usage = os.wait4(child, 0)
seconds, cpu_seconds = time.perf_counter() - started, usage.ru_utime + usage.ru_stime
others = (busy_seconds() - busy - cpu_seconds) / (seconds * os.cpu_count())
cost = {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mib": usage.ru_maxrss / 1024}
cost["others_percent"] = max(0.0, 100 * others)
with open(sys.argv[1], "w") as stream:
    json.dump(cost, stream)
sys.exit(os.waitstatus_to_exitcode(status) != 0)
"""
"""Run by a bare Python: on Linux processes begin with the peak memory of their parent, and ours is large."""


class PeerError(Exception):
    """A method ended with an error; the message is the end of what it printed."""


@dataclass(frozen=True, slots=True)
class PairFiles:
    """A pair in files, with corresponding points and, where there are any, masks (fixed, moving).

    `coarse_points`: a second set of points, set by eye.
    """

    fixed: Path
    moving: Path
    points: tuple[Path, Path]
    masks: tuple[Path, Path] | None = None
    coarse_points: tuple[Path, Path] | None = None


@dataclass(frozen=True, slots=True)
class Tool:
    """A program or a Python, and what is said of its version."""

    path: str
    version: str


@dataclass(frozen=True, slots=True)
class Task:
    """What a method is to do: `pair` as it is, `fixed` and `moving` with air for padding, `folder` to write in."""

    pair: PairFiles
    fixed: Path
    moving: Path
    folder: Path
    tool: Tool
    threads: int


@dataclass(frozen=True, slots=True)
class Method:
    """`find`: its tool among several Pythons, or none. `commands`: run in turn; `result`: what they leave behind."""

    find: Callable[[Sequence[str]], Tool | None]
    commands: Callable[[Task], list[list[str]]]
    result: str
    start: str
    settings: str


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds from start to exit and of all cores, all processes together; the largest resident memory of any.

    `others_percent`: how much of the machine other programs took meanwhile.
    """

    seconds: float
    cpu_seconds: float
    peak_mib: float
    others_percent: float


def run_method(method: Method, pair: PairFiles, folder: Path, tool: Tool, threads: int) -> tuple[Path, Cost]:
    """The transform that a method finds, in `folder`, and what it cost. Linux.

    Raises:
        PeerError: a program ended with an error, or left no transform.
    """
    fixed, moving = (padding_as_air(path, folder / name) for path, name in _named(pair))
    task = Task(pair, fixed, moving, folder, tool, threads)
    costs = [_run(command, folder, threads) for command in method.commands(task)]
    result = folder / method.result
    if not result.exists():
        raise PeerError(f"no {method.result} was written")
    seconds, cpu_seconds = sum(cost.seconds for cost in costs), sum(cost.cpu_seconds for cost in costs)
    peak_mib, others = max(cost.peak_mib for cost in costs), max(cost.others_percent for cost in costs)
    return result, Cost(seconds, cpu_seconds, peak_mib, others)


def padding_as_air(source: Path, target: Path) -> Path:
    """The image with every value below air raised to air."""
    sitk.WriteImage(sitk.Clamp(sitk.ReadImage(str(source), sitk.sitkFloat32), lowerBound=-1000.0), str(target))
    return target


def judged(pair: PairFiles, transform: Path) -> dict[str, Any]:
    """The figures of `regard evaluate`: fixed points through T(x) beside moving points; folding in mask or body.

    Where there are coarse points, `coarse_tre_mm` too.
    """
    masks = ["--masks", *map(str, pair.masks)] if pair.masks else []
    figures = _evaluated(pair, transform, pair.points, masks)
    if pair.coarse_points:
        figures["coarse_tre_mm"] = _evaluated(pair, transform, pair.coarse_points, [])["tre_mm"]
    return figures


def _evaluated(pair: PairFiles, transform: Path, points: tuple[Path, Path], masks: list[str]) -> dict[str, Any]:
    out = transform.with_name("figures.json")
    options = ["--points", *map(str, points), *masks]
    with redirect_stdout(io.StringIO()):
        status = cli.main(["evaluate", str(pair.fixed), str(pair.moving), str(transform), *options, "--out", str(out)])
    if status:
        raise PeerError("its transform cannot be read")
    figures: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))["stages"][-1]
    return figures


def chosen_methods(only: Iterable[str] | None) -> dict[str, Method]:
    """The methods of these names, or all; a `SystemExit` that lists them for a name that none has."""
    unknown = set(only or ()) - set(METHODS)
    if unknown:
        raise SystemExit(f"Expected methods among {', '.join(METHODS)}; got {', '.join(sorted(unknown))}.")
    return {name: method for name, method in METHODS.items() if not only or name in only}


def _named(pair: PairFiles) -> tuple[tuple[Path, str], tuple[Path, str]]:
    return (pair.fixed, "fixed.mha"), (pair.moving, "moving.mha")


def _run(command: list[str], folder: Path, threads: int) -> Cost:
    cost, log = folder / "cost.json", folder / "log.txt"
    launcher = [sys.executable, "-I", "-S", "-c", _LAUNCHER, str(cost)]
    with log.open("w") as stream:
        done = subprocess.run(
            [*launcher, *command], stdout=stream, stderr=stream, cwd=folder, env=_environment(threads)
        )
    if done.returncode:
        raise PeerError(f"{Path(command[0]).name}: {log.read_text(errors='replace')[-2000:]}")
    return Cost(**json.loads(cost.read_text()))


def _environment(threads: int) -> dict[str, str]:
    names = ("OMP", "MKL", "OPENBLAS")
    counts = {f"{name}_NUM_THREADS": str(threads) for name in names}
    return {
        **os.environ,
        **counts,
        "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS": str(threads),
        "ANTS_RANDOM_SEED": "1",
    }


def _this_python(model: str | None, pythons: Sequence[str]) -> Tool | None:
    del pythons
    version = f"regard {__version__}"
    weights = find_model(model)[1] if model else None
    if weights:
        version += f", weights {hashlib.sha256(weights.read_bytes()).hexdigest()[:8]}"
    return Tool(sys.executable, version)


def _program(name: str, pythons: Sequence[str]) -> Tool | None:
    del pythons
    path = shutil.which(name)
    if path is None:
        return None
    said = subprocess.run([path, "--version"], capture_output=True, text=True).stdout
    return Tool(path, said.strip().partition("\n")[0].replace(" version", ""))


def _package(name: str, pythons: Sequence[str]) -> Tool | None:
    question = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
    for python in pythons:
        said = subprocess.run([python, "-c", question, name], capture_output=True, text=True)
        if said.returncode == 0:
            return Tool(python, f"{name} {said.stdout.strip()}")
    return None


def _regard(model: str | None, iterations: int) -> Method:
    def commands(task: Task) -> list[list[str]]:
        images = [str(task.pair.fixed), str(task.pair.moving), "--out", "out"]
        return [[task.tool.path, "-m", "app.command", "register", *images, "--threads", str(task.threads), *options]]

    options = ["--device", "cpu", "--model", model or "none", "--iso", str(iterations), "--by", "field"]
    steps = ["rigid"] + ([f"model {model}"] if model else []) + ([f"ISO {iterations} by field"] if iterations else [])
    return Method(partial(_this_python, model), commands, "out/transform.h5", OWN, ", ".join(steps))


def _script(name: str, package: str, start: str, result: str) -> Method:
    def commands(task: Task) -> list[list[str]]:
        files = [str(task.fixed), str(task.moving), str(task.folder), str(task.threads)]
        return [[task.tool.path, run_peer.__file__, name, *files]]

    return Method(partial(_package, package), commands, result, start, run_peer.SETTINGS[name])


_ELASTIX_COMMON: dict[str, object] = {
    "FixedImageDimension": 3,
    "MovingImageDimension": 3,
    "FixedInternalImagePixelType": "float",
    "MovingInternalImagePixelType": "float",
    "UseDirectionCosines": "true",
    "Registration": "MultiResolutionRegistration",
    "FixedImagePyramid": "FixedRecursiveImagePyramid",
    "MovingImagePyramid": "MovingRecursiveImagePyramid",
    "Interpolator": "LinearInterpolator",
    "ResampleInterpolator": "FinalBSplineInterpolator",
    "Resampler": "DefaultResampler",
    "ImageSampler": "RandomCoordinate",
    "NewSamplesEveryIteration": "true",
    "NumberOfSpatialSamples": 4000,
    "Metric": "AdvancedMattesMutualInformation",
    "NumberOfHistogramBins": 32,
    "Optimizer": "AdaptiveStochasticGradientDescent",
    "ASGDParameterEstimationMethod": "DisplacementDistribution",
    "WriteResultImage": "false",
}
_ELASTIX_STAGES: tuple[dict[str, object], ...] = (
    {
        "Transform": "EulerTransform",
        "AutomaticTransformInitialization": "true",
        "AutomaticScalesEstimation": "true",
        "NumberOfResolutions": 3,
        "MaximumNumberOfIterations": 250,
    },
    {
        "Transform": "BSplineTransform",
        "HowToCombineTransforms": "Compose",
        "FinalGridSpacingInPhysicalUnits": 10.0,
        "NumberOfResolutions": 4,
        "MaximumNumberOfIterations": 500,
    },
)


def _elastix(task: Task) -> list[list[str]]:
    """Both stages, then the field by transformix, which counts as writing the result does everywhere."""
    threads = ["-threads", str(task.threads), "-out", str(task.folder)]
    command = [task.tool.path, "-f", str(task.fixed), "-m", str(task.moving), *threads]
    for number, stage in enumerate(_ELASTIX_STAGES):
        file = task.folder / f"parameters.{number}.txt"
        file.write_text("".join(_elastix_line(*pair) for pair in {**_ELASTIX_COMMON, **stage}.items()))
        command += ["-p", str(file)]
    last = task.folder / f"TransformParameters.{len(_ELASTIX_STAGES) - 1}.txt"
    return [command, ["transformix", "-def", "all", "-tp", str(last), *threads]]


def _elastix_line(name: str, value: object) -> str:
    return f'({name} "{value}")\n' if isinstance(value, str) else f"({name} {value})\n"


_PLASTIMATCH = """[GLOBAL]
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


def _plastimatch(task: Task) -> list[list[str]]:
    file = task.folder / "command.txt"
    file.write_text(_PLASTIMATCH.format(fixed=task.fixed, moving=task.moving, out=task.folder / "field.mha"))
    return [[task.tool.path, "register", str(file)]]


def _methods() -> dict[str, Method]:
    return {
        "rigid only": _regard(None, 0),
        "general": _regard("general", 0),
        "general, ISO by field": _regard("general", ISO_ITERATIONS),
        "convex": _regard("convex", 0),
        "convex, ISO by field": _regard("convex", ISO_ITERATIONS),
        "ISO by field": _regard(None, ISO_ITERATIONS),
        "elastix B-spline": Method(
            partial(_program, "elastix"),
            _elastix,
            "deformationField.mhd",
            OWN,
            "mutual information, 4 resolutions, grid to 10 mm, fast adaptive stochastic gradient descent (step sizes "
            "from the distribution of displacements), 500 iterations of 4,000 samples",
        ),
        "plastimatch B-spline": Method(
            partial(_program, "plastimatch"),
            _plastimatch,
            "field.mha",
            OWN,
            "squared differences, L-BFGS-B, 60 iterations each with grids of 40, 20 and 10 mm, regularisation 0.01",
        ),
        "diffeomorphic demons": _script("demons", "SimpleITK", OURS, "transform.h5"),
        "ANTs SyN": _script("syn", "antspyx", OWN, "field.nii.gz"),
        "greedy": _script("greedy", "picsl_greedy", OWN, "field.nii.gz"),
        "convexAdam": _script("convexadam", "convexAdam", OURS, "transform.h5"),
    }


METHODS = _methods()
