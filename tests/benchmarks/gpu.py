"""Network refinement on a GPU beside a plain loop there: every kernel launched by itself, everything in float32.

    python tests/benchmarks/gpu.py [--device cuda|cpu] [--size 256 256 128] [--spacing 1.5 1.5 2.6] [--box 64]
        [--iso 100] [--rso 400] [--threads N] [--out DIR]

ISO of the whole image and RSO of a box, each twice: the first time libraries choose their kernels and are loaded, the
second is what a session sees. The aims, 5 s and 3 s, are for the default sizes on an H200. Seconds are those of the
steps alone. Writes gpu.md; without the device that is asked for it says so and ends with status 2.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path
from unittest.mock import patch

import torch
from phantoms import RESULTS, error_mm

from engine.case import Case
from engine.cli.benchmark import machine, markdown_table
from engine.errors import DeviceError
from engine.io.atomic import whole_file
from engine.optimize import descent, parametrize
from engine.phantom.thorax import thorax_pair
from engine.preprocess import body_of
from engine.progress import finish
from engine.roi import Box
from engine.runtime import Runtime
from engine.session import AlignSettings, GeneralSettings, IsoSettings, RsoSettings, run_step, warped_hu
from engine.volume import PADDING_HU
from engine.worst_region import worst_box

_SEED = 50
_NEVER = sys.maxsize
_HEADINGS = ("step", "way", "first s", "second s", "landmarks mm", "box HU", "twice the same", "notes")


def main() -> None:
    """Both steps, as Regard does them and plainly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=("cuda", "cpu"), default="cuda")
    parser.add_argument("--size", type=int, nargs=3, default=(256, 256, 128), metavar=("X", "Y", "Z"))
    parser.add_argument("--spacing", type=float, nargs=3, default=(1.5, 1.5, 2.6), metavar=("X", "Y", "Z"))
    parser.add_argument("--threads", type=int)
    parser.add_argument("--box", type=int, default=64, metavar="VOXELS")
    parser.add_argument("--iso", type=int, default=100, metavar="ITERATIONS")
    parser.add_argument("--rso", type=int, default=400, metavar="ITERATIONS")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    runtime = Runtime(arguments.device, threads=arguments.threads)
    try:
        runtime.torch_device()
    except DeviceError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error
    rows = figures(arguments, runtime)
    table = markdown_table(_HEADINGS, rows)
    print(table)
    text = (
        "# Network refinement on a GPU\n\n"
        f"`python tests/benchmarks/gpu.py`: {'×'.join(map(str, arguments.size))} voxels, box of {arguments.box}³, "
        f"{machine(runtime)}, torch {torch.__version__}, {date.today().isoformat()}.\n\n{table}"
    )
    with whole_file(arguments.out / "gpu.md") as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def plainly() -> Iterator[None]:
    """Nothing recorded, nothing in less than float32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    with ExitStack() as patched:
        patched.enter_context(patch.dict(parametrize.CONVOLUTIONS_IN, clear=True))
        patched.enter_context(patch.object(descent, "_LEAST_RECORDED", _NEVER))
        yield
    torch.backends.cudnn.allow_tf32 = before


def figures(arguments: argparse.Namespace, runtime: Runtime) -> list[list[str]]:
    """A row for each step and way, run twice."""
    pair = thorax_pair(_SEED, tuple(arguments.size), tuple(arguments.spacing))
    case = Case.new(pair.fixed, pair.moving)
    for settings in (AlignSettings(), GeneralSettings()):
        case = case.after(finish(run_step(case, settings, runtime)))
    box = _worst_box(case, arguments.box)
    rows = []
    for step in (IsoSettings(arguments.iso, "network"), RsoSettings(box, arguments.rso, "network")):
        for way in ("plain", "Regard"):
            with plainly() if way == "plain" else ExitStack():
                first, second = (case.after(finish(run_step(case, step, runtime))) for _ in range(2))
            record = second.current.steps[-1]
            same = (first.current.displacement_vox == second.current.displacement_vox).all()
            rows.append(
                [
                    f"{record.name} {step.iterations}",
                    way,
                    f"{first.current.steps[-1].seconds:.2f}",
                    f"{record.seconds:.2f}",
                    f"{error_mm(pair, second):.3f}",
                    "" if record.box_rmse_hu_after is None else f"{record.box_rmse_hu_after:.1f}",
                    "yes" if same else "no",
                    "; ".join(record.notes),
                ]
            )
    return rows


def _worst_box(case: Case, side_vox: int) -> Box:
    warped = warped_hu(case)
    z, y, x = (min(n, side_vox) for n in warped.shape)
    return worst_box(case.fixed.hu, warped, body_of(case.fixed) & (warped > PADDING_HU), (z, y, x))


if __name__ == "__main__":
    main()
