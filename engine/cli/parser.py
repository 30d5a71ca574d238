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
    for add in (_demo, _register, _evaluate, _warp, _export, _phantom, _train, _models):
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


def _register(commands: _Commands) -> None:
    parser = _command(commands, "register", "register", "Register two images and write the results into a folder.")
    parser.add_argument("fixed", metavar="FIXED", help=_IMAGE_HELP)
    parser.add_argument("moving", metavar="MOVING", help="the same")
    parser.add_argument("--out", required=True, metavar="DIR")
    parser.add_argument("--align", default="rigid", metavar="rigid|none|FILE", help="default: rigid")
    parser.add_argument("--model", default="general", metavar="NAME|none", help="default: general; see `regard models`")
    parser.add_argument("--iso", type=int, default=0, metavar="N", help="iterations of whole-image optimisation")
    parser.add_argument(
        "--box", action="append", default=[], metavar="BOX", help="x0:x1,y0:y1,z0:z1 in fixed voxels; may be repeated"
    )
    parser.add_argument("--rso", type=int, default=400, metavar="N", help="iterations for each box, default 400")
    parser.add_argument("--rso-scope", choices=("crop", "image"), default="crop")
    parser.add_argument("--by", choices=("field", "network"), default="field", help="what ISO and RSO optimise")
    parser.add_argument("--similarity", choices=("auto", "mse", "lncc", "mind"), default="auto")
    parser.add_argument("--weight", type=float, metavar="W", help="expert: weight of the roughness")
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


def _train(commands: _Commands) -> None:
    parser = _command(commands, "train", "train", "Train the general model on random deformations of images.")
    parser.add_argument("--model", choices=("general",), default="general")
    parser.add_argument("--data", action="append", default=[], metavar="IMAGE", help=_IMAGE_HELP + "; may be repeated")
    parser.add_argument("--phantoms", type=int, default=0, metavar="N", help="random thorax phantoms to add")
    parser.add_argument("--steps", type=int, default=3000, metavar="N")
    parser.add_argument("--batch", type=int, default=2, metavar="N")
    parser.add_argument("--workers", type=int, default=1, metavar="N", help="processes that make training pairs")
    parser.add_argument("--out", required=True, metavar="DIR", help="a run that is there goes on from its checkpoint")
    _runtime(parser)


def _models(commands: _Commands) -> None:
    _command(commands, "models", "models", "The models that `--model` takes.")
