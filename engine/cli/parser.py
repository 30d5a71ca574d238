"""What can be typed. The commands themselves are imported when one is run."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib import import_module
from typing import TypeAlias

from engine import __version__

_IMAGE_HELP = "DICOM folder (FOLDER#SERIES_UID if it holds several series), NIfTI, MHA/MHD or NRRD"


def build_parser() -> argparse.ArgumentParser:
    """The parser of `regard`; each command's arguments carry its function as `run`."""
    parser = argparse.ArgumentParser(
        prog="regard",
        description="Review and refine deformable registrations of CT and cone-beam CT. Without a command: the window.",
        epilog="Research software, not a medical device; local commissioning required.",
    )
    parser.add_argument("--version", action="version", version=f"regard {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _demo,
        _series,
        _register,
        _regions,
        _history,
        _revert,
        _evaluate,
        _warp,
        _export,
        _phantom,
        _artefacts,
        _train,
        _models,
        _benchmark,
    ):
        add(commands)
    return parser


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"  # noqa: SLF001  argparse has no public name for it


def _command(commands: _Commands, name: str, module: str, about: str) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=about, description=about)
    parser.add_argument("--verbose", action="store_true", help="show the traceback of an error")
    parser.set_defaults(run=_later(module))
    return parser


def _later(module: str) -> Callable[[argparse.Namespace], None]:
    def run(arguments: argparse.Namespace) -> None:
        import_module(f"engine.cli.{module}").run(arguments)

    return run


def _runtime(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto: CUDA if there is one")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads; one per core if not given")


def _demo(commands: _Commands) -> None:
    parser = _command(commands, "demo", "demo", "The built-in case through align, general, ISO and one box.")
    parser.add_argument("--headless", action="store_true", help="no window even if there is a display")
    parser.add_argument("--out", metavar="DIR", help="write results and pictures there")
    parser.add_argument("--force", action="store_true", help="replace results that are there")
    _runtime(parser)


def _series(commands: _Commands) -> None:
    about = "The images in a folder and below it: patients and studies by number, phases, sizes and what is wrong."
    parser = _command(commands, "series", "series", about)
    parser.add_argument("folder", metavar="FOLDER", help="DICOM series and image files may lie at any depth")
    parser.add_argument("--json", action="store_true", help="the same as JSON")


def _register(commands: _Commands) -> None:
    parser = _command(commands, "register", "register", "Register two images and write the results into a folder.")
    parser.add_argument("fixed", metavar="FIXED", help=_IMAGE_HELP)
    parser.add_argument("moving", metavar="MOVING", help="the same")
    parser.add_argument("--out", required=True, metavar="DIR")
    aligned = parser.add_mutually_exclusive_group()
    aligned.add_argument("--align", default="rigid", metavar="rigid|none|FILE", help="default: rigid")
    aligned.add_argument(
        "--align-by",
        type=float,
        nargs=6,
        metavar=("L", "P", "S", "RX", "RY", "RZ"),
        help="by hand: move the moving image toward the patient's left, back and head (mm), and turn it about these "
        "axes through the middle of the fixed image (degrees, right-handed, first RY, then RX, then RZ)",
    )
    parser.add_argument("--model", default="general", metavar="NAME|none", help="default: general; see `regard models`")
    parser.add_argument("--iso", type=int, default=0, metavar="N", help="iterations of whole-image optimisation")
    parser.add_argument(
        "--box", action="append", default=[], metavar="BOX", help="x0:x1,y0:y1,z0:z1 in fixed voxels; may be repeated"
    )
    parser.add_argument("--rso", type=int, default=400, metavar="N", help="iterations a box at most, default 400")
    parser.add_argument("--rso-scope", choices=("crop", "image"), default="crop")
    parser.add_argument("--by", choices=("field", "network"), default="field", help="what ISO and RSO optimise")
    parser.add_argument("--similarity", choices=("auto", "mse", "lncc", "mind", "robust-mind"), default="auto")
    parser.add_argument(
        "--fit", choices=("closer", "balanced", "smoother"), default="balanced", help="of every refinement"
    )
    parser.add_argument(
        "--weight",
        type=float,
        metavar="W",
        help="expert: weight of the roughness, instead of --fit; by field that of the bending energy, in control cells",
    )
    parser.add_argument(
        "--points", nargs=2, metavar=("FIXED_PTS", "MOVING_PTS"), help="the same places in both: refinement goes there"
    )
    parser.add_argument("--rigid-mask", metavar="FILE", help="on the fixed grid: what keeps its shape, such as bone")
    parser.add_argument("--exclude-mask", metavar="FILE", help="on the fixed grid: where nothing corresponds")
    parser.add_argument("--force", action="store_true", help="replace results that are there")
    _runtime(parser)


def _regions(commands: _Commands) -> None:
    about = "Boxes that probably are still wrong, the worst one first, each with the reason."
    parser = _command(commands, "regions", "regions", about)
    parser.add_argument("case", metavar="CASE", help="case folder, or a results folder that holds one")
    parser.add_argument("--count", type=int, default=3, metavar="N", help="boxes, default 3")
    parser.add_argument("--size", type=float, default=50.0, metavar="MM", help="about how large, default 50")
    parser.add_argument("--out", metavar="FILE.json")
    _runtime(parser)


def _history(commands: _Commands) -> None:
    parser = _command(commands, "history", "history", "The states of a case with their numbers and figures.")
    parser.add_argument("case", metavar="CASE", help="case folder, or a results folder that holds one")
    branch = "delete this state and all that were begun from it, with their files; the others keep their numbers"
    parser.add_argument("--delete", type=int, metavar="N", help=branch)


def _revert(commands: _Commands) -> None:
    about = "Take one box of a case back to an earlier state; what lies beyond its margin keeps every bit."
    parser = _command(commands, "revert", "revert", about)
    parser.add_argument("case", metavar="CASE", help="case folder, or a results folder that holds one")
    parser.add_argument("--box", required=True, metavar="BOX", help="x0:x1,y0:y1,z0:z1 in fixed voxels")
    parser.add_argument("--to", required=True, type=int, metavar="N", help="number of the state; see `regard history`")
    parser.add_argument("--out", required=True, metavar="DIR", help="results, with the case and its whole history")
    parser.add_argument("--force", action="store_true", help="replace results that are there")
    _runtime(parser)


def _evaluate(commands: _Commands) -> None:
    parser = _command(commands, "evaluate", "evaluate", "Figures of a registration.")
    parser.add_argument("fixed", metavar="FIXED", help=_IMAGE_HELP)
    parser.add_argument("moving", metavar="MOVING", help="the same")
    parser.add_argument(
        "transform", metavar="TRANSFORM", help="ITK transform, displacement image, or a case: then each of its steps"
    )
    parser.add_argument("--points", nargs=2, metavar=("FIXED_PTS", "MOVING_PTS"), help="elastix format or CSV in mm")
    parser.add_argument("--masks", nargs=2, metavar=("FIXED_MASK", "MOVING_MASK"))
    parser.add_argument(
        "--labels",
        nargs=2,
        metavar=("FIXED_LABELS", "MOVING_LABELS"),
        help="label images, each on the grid of its image: agreement of every structure that is in both",
    )
    parser.add_argument("--out", metavar="FILE.json")


def _warp(commands: _Commands) -> None:
    parser = _command(commands, "warp", "warp", "Resample a moving image onto the fixed grid.")
    parser.add_argument("moving", metavar="MOVING", help=_IMAGE_HELP)
    parser.add_argument("transform", metavar="TRANSFORM", help="ITK transform or displacement image")
    parser.add_argument("--like", required=True, metavar="FIXED", help="image whose grid the result has")
    parser.add_argument("--out", required=True, metavar="FILE")
    parser.add_argument("--labels", action="store_true", help="MOVING holds labels: nearest neighbor, 0 outside")


def _export(commands: _Commands) -> None:
    parser = _command(commands, "export", "export", "Write a case's registration in a format of your choice.")
    parser.add_argument("case", metavar="CASE", nargs="?", help="case folder, or a results folder that holds one")
    parser.add_argument("--format", metavar="NAME", help="see --list")
    parser.add_argument("--out", metavar="PATH")
    parser.add_argument("--list", action="store_true", help="the formats")


def _phantom(commands: _Commands) -> None:
    parser = _command(commands, "phantom", "phantom", "A CT and cone-beam CT pair with its true field and landmarks.")
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--size", type=int, nargs=3, default=(128, 128, 96), metavar=("X", "Y", "Z"), help="voxels")
    parser.add_argument("--spacing", type=float, nargs=3, default=(2.5, 2.5, 3.0), metavar=("X", "Y", "Z"), help="mm")
    parser.add_argument("--projections", type=int, metavar="N", help="cone-beam projections: few make streaks")
    parser.add_argument("--force", action="store_true", help="replace a phantom that is there")


def _artefacts(commands: _Commands) -> None:
    about = "Reconstruct images as cone-beam scanners do and keep what that adds, for `regard train --artefacts`."
    parser = _command(commands, "artefacts", "artefacts", about)
    parser.add_argument("--out", required=True, metavar="FILE.npy")
    _training_material(parser)
    parser.add_argument("--count", type=int, default=24, metavar="N", help="reconstructions, default 24")
    parser.add_argument(
        "--projections",
        type=int,
        nargs="+",
        default=(30, 40, 60, 80, 120, 400),
        metavar="N",
        help="numbers to draw from",
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N")


def _train(commands: _Commands) -> None:
    parser = _command(commands, "train", "train", "Train a network on your images and on random phantoms.")
    parser.add_argument("--model", default="general", metavar="NAME", help="default: general; see `regard models`")
    parser.add_argument("--out", required=True, metavar="DIR", help="a run that is there goes on from its checkpoint")
    _training_material(parser)
    parser.add_argument("--artefacts", metavar="FILE", help="what `regard artefacts` wrote, to be put on images")
    _training_loss(parser)
    parser.add_argument("--steps", type=int, default=3000, metavar="N", help="default 3000")
    parser.add_argument("--batch", type=int, default=2, metavar="N", help="pairs a step on each device, default 2")
    parser.add_argument(
        "--crop", type=int, nargs=3, default=(64, 64, 80), metavar=("Z", "Y", "X"), help="voxels, multiples of 16"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3, metavar="R", help="default 0.001")
    parser.add_argument("--from", dest="first_weights", metavar="FILE", help="weights (safetensors) to set out from")
    parser.add_argument(
        "--validate-every", type=int, default=50, metavar="N", help="steps between checkpoints, default 50"
    )
    parser.add_argument(
        "--validation-pairs", type=int, default=8, metavar="N", help="pairs that a validation looks at, default 8"
    )
    parser.add_argument(
        "--patience", type=int, default=0, metavar="N", help="end after N validations without a better one"
    )
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32", help="of the network; weights fp32")
    parser.add_argument("--devices", type=int, default=1, metavar="N", help="more than 1 needs regard[train]")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that make training pairs")
    _runtime(parser)


def _training_material(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data",
        action="append",
        default=[],
        metavar="PATH",
        help="an image, or a folder of images of many patients: DICOM goes by its headers, of files each topmost "
        "subfolder is one patient; may be repeated",
    )
    parser.add_argument("--phantoms", type=int, default=0, metavar="N", help="random thorax phantoms to add")


def _training_loss(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--supervision",
        choices=("field", "similarity", "both"),
        default="field",
        help="what is compared: displacements, which are known where they were made; images, so that pairs of one "
        "patient serve too; or both",
    )
    parser.add_argument(
        "--rule",
        choices=("weighted", "gsmorph", "pcgrad", "agr"),
        help="how fit and roughness come together; default: weighted for the field, else gsmorph",
    )
    parser.add_argument("--weight", type=float, metavar="L", help="of the roughness, for the rule `weighted`")


def _models(commands: _Commands) -> None:
    parser = _command(commands, "models", "models", "The models that `--model` takes, or the card of one of them.")
    parser.add_argument(
        "name", metavar="NAME", nargs="?", help="print what this model is, what it is for, and its figures"
    )


def _benchmark(commands: _Commands) -> None:
    about = "Comparisons with other methods, as tables."
    parser = commands.add_parser("benchmark", help=about, description=about)
    benchmarks = parser.add_subparsers(required=True, metavar="NAME")
    _gsmorph(benchmarks)


def _gsmorph(benchmarks: _Commands) -> None:
    about = "GSMorph and what it was compared with, in 2-D, trained on phantoms of the beating heart."
    parser = _command(benchmarks, "gsmorph", "benchmark_gsmorph", about)
    parser.add_argument(
        "--data", metavar="FOLDER", help="cine MRI: ed_es_pairs.csv, images and labels; may be left out"
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="a run that is there goes on after its last method")
    parser.add_argument("--steps", type=int, default=600, metavar="N", help="of each training, default 600")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="pairs a step, default 8")
    parser.add_argument(
        "--size", type=int, default=64, metavar="N", help="pixels a side, default 64; the paper has 128"
    )
    parser.add_argument("--smoothness", choices=("l1", "l2"), default="l1", help="default l1, as the authors' code")
    parser.add_argument("--ants-python", metavar="PATH", help="a Python that has antspyx, for SyN")
    _runtime(parser)
