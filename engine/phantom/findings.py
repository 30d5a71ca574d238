"""What sets a patient apart: arms beside the body, a collapsed lung, an effusion, contrast agent."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.phantom.anatomy import Anatomy, Vector
from engine.phantom.canvas import Canvas
from engine.phantom.sampling import FloatArray
from engine.phantom.surfaces import smoothstep

_FLUID_HU = 12.0
_ATELECTASIS_HU = 28.0


@dataclass(frozen=True)
class Findings:
    """In nominal mm, right lung first.

    `lost_mm`: how far a lung's surface has drawn back from the ribs; `fluid_mm`: how high fluid stands in the back of
    the chest; `arms`: center x, y and radius of each arm that lies beside the body.
    """

    lost_mm: tuple[float, float] = (0.0, 0.0)
    fluid_mm: tuple[float, float] = (0.0, 0.0)
    arms: tuple[Vector, ...] = ()


def random_findings(rng: np.random.Generator, anatomy: Anatomy) -> tuple[Anatomy, Findings]:
    """None in about a third of the patients, up to all of them in one; contrast agent is a change of densities."""
    lost, fluid = [0.0, 0.0], [0.0, 0.0]
    side, other = (0, 1) if rng.uniform() < 0.5 else (1, 0)
    if rng.uniform() < 0.2:
        lost[side] = float(rng.uniform(10, 28))
    if rng.uniform() < 0.25:
        fluid[side] = float(rng.uniform(10, 55))
        if rng.uniform() < 0.3:
            fluid[other] = float(rng.uniform(10, 35))
    arms: tuple[Vector, ...] = ()
    if rng.uniform() < 0.3:
        reach, y, radius = anatomy.body_half[0] + rng.uniform(32, 50), rng.uniform(-10, 50), rng.uniform(34, 46)
        arms = ((-reach, y, radius), (reach, y + rng.uniform(-15, 15), radius))
    if rng.uniform() < 0.35:
        anatomy = _enhanced(anatomy, rng)
    return anatomy, Findings((lost[0], lost[1]), (fluid[0], fluid[1]), arms)


def _enhanced(anatomy: Anatomy, rng: np.random.Generator) -> Anatomy:
    """Contrast agent in blood, heart, lung vessels and the organs that it has reached."""
    dose = rng.uniform(60, 260)
    shares = {"blood": 1.0, "vessel": 0.9, "heart": 0.7, "kidney": 0.8, "spleen": 0.35, "liver": 0.25}
    return replace(
        anatomy, hu=anatomy.hu | {organ: anatomy.hu[organ] + share * dose for organ, share in shares.items()}
    )


def paint_arms(canvas: Canvas, anatomy: Anatomy, findings: Findings, body_depth: FloatArray) -> None:
    """Upper arms along the body, where the body is not: skin and fat, muscle, and the humerus."""
    points = canvas.points
    for x, y, radius in findings.arms:
        lean = np.float32(0.12) * np.sign(x) * np.maximum(points.z - 150, 0)
        depth = radius - np.sqrt(np.square(points.x - x + lean) + np.square(points.y - y))
        depth = np.minimum(np.minimum(depth, 215 - points.z), -body_depth)
        canvas.paint(canvas.share(depth), anatomy.hu["fat"], "body")
        canvas.paint(canvas.share(depth - 8), anatomy.hu["muscle"])
        canvas.paint(canvas.share(depth - radius + 11), anatomy.hu["bone"])
        canvas.paint(canvas.share(depth - radius + 6), anatomy.hu["marrow"])


def drawn_back(
    canvas: Canvas, anatomy: Anatomy, findings: Findings, depths: tuple[FloatArray, FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """The lungs as they are: what a collapse and an effusion take of them is painted, the rest of each is returned."""
    left_over = []
    for depth, lost, fluid in zip(depths, findings.lost_mm, findings.fluid_mm, strict=True):
        if lost:
            canvas.paint(canvas.share(depth), _ATELECTASIS_HU)
            depth = depth - np.float32(lost) * (0.4 + 0.6 * smoothstep((60 - canvas.points.z) / 90))
        if fluid:
            back = np.float32(anatomy.cage_y + anatomy.cage_half[1] - fluid)
            canvas.paint(canvas.share(depth), _FLUID_HU)
            depth = np.minimum(depth, back - canvas.points.y)
        left_over.append(depth.astype(np.float32, copy=False))
    return left_over[0], left_over[1]
