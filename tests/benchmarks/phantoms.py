"""Phantoms that no training saw: landmark error after each step, beside SimpleITK's demons in the same run.

    python tests/benchmarks/phantoms.py [--count 4] [--first-seed 100] [--size 112 112 84] [--iso 100]

Every second pair has a cone-beam image of 60 projections (streaks). Prints a table as Markdown; times are those of the
steps alone, without start-up and files.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import SimpleITK as sitk

from engine.case import Case
from engine.io.images import to_sitk_image
from engine.metrics import target_registration_error
from engine.phantom.thorax import PhantomPair, thorax_pair
from engine.progress import finish
from engine.runtime import Runtime
from engine.session import AlignSettings, GeneralSettings, IsoSettings, run_step


def main() -> None:
    """Run the pairs and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=4)
    parser.add_argument("--first-seed", type=int, default=100)
    parser.add_argument("--size", type=int, nargs=3, default=(112, 112, 84))
    parser.add_argument("--iso", type=int, default=100)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    print("| seed | start mm | align mm | general mm (s) | ISO mm (s) | folding % | demons mm (s) |")
    print("|---|---|---|---|---|---|---|")
    for seed in range(arguments.first_seed, arguments.first_seed + arguments.count):
        pair = thorax_pair(seed, tuple(arguments.size), (2.9, 2.9, 3.4), 60 if seed % 2 else None)
        print(row(seed, pair, arguments.iso, Runtime(threads=arguments.threads)), flush=True)


def row(seed: int, pair: PhantomPair, iterations: int, runtime: Runtime) -> str:
    """One line of the table."""
    case = Case.new(pair.fixed, pair.moving)
    errors, seconds = [error_mm(pair, case)], []
    for settings in (AlignSettings(), GeneralSettings(), IsoSettings(iterations)):
        case = case.after(finish(run_step(case, settings, runtime)))
        errors.append(error_mm(pair, case))
        seconds.append(case.current.steps[-1].seconds)
    demons_mm, demons_s = demons(pair, case.states[1].rigid, runtime.thread_count)
    return (
        f"| {seed} | {errors[0]:.2f} | {errors[1]:.2f} | {errors[2]:.2f} ({seconds[1]:.1f}) | {errors[3]:.2f} "
        f"({seconds[2]:.1f}) | {case.current.steps[-1].folding_percent:.4f} | {demons_mm:.2f} ({demons_s:.1f}) |"
    )


def error_mm(pair: PhantomPair, case: Case) -> float:
    """Mean target registration error of the current state."""
    return target_registration_error(case.current.map_points(pair.fixed_points_mm), pair.moving_points_mm).mean


def demons(pair: PhantomPair, rigid: np.ndarray, threads: int) -> tuple[float, float]:
    """SimpleITK's diffeomorphic demons on two levels after the same rigid alignment: mean error in mm, seconds."""
    started = time.perf_counter()
    fixed, moving = (
        to_sitk_image(np.clip(volume.filled_hu(), -1000, 500), volume.geometry) for volume in (pair.fixed, pair.moving)
    )
    affine = sitk.AffineTransform(rigid[:3, :3].ravel().tolist(), rigid[:3, 3].tolist())
    aligned = sitk.Resample(moving, fixed, affine, sitk.sitkLinear, -1000.0)
    method = sitk.DiffeomorphicDemonsRegistrationFilter()
    method.SetNumberOfThreads(threads)
    method.SetStandardDeviations(1.5)
    field = None
    for factor, count in ((2, 60), (1, 40)):
        small = [sitk.BinShrink(image, [factor] * 3) for image in (fixed, aligned)]
        method.SetNumberOfIterations(count)
        start = None if field is None else sitk.Resample(field, small[0])
        field = method.Execute(*small) if start is None else method.Execute(*small, start)
    seconds = time.perf_counter() - started
    whole = sitk.CompositeTransform([affine, sitk.DisplacementFieldTransform(sitk.Cast(field, sitk.sitkVectorFloat64))])
    mapped = np.array([whole.TransformPoint(point) for point in pair.fixed_points_mm.tolist()])
    return target_registration_error(mapped, pair.moving_points_mm).mean, seconds


if __name__ == "__main__":
    main()
