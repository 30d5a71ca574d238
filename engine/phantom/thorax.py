"""A planning CT and a cone-beam CT of the same synthetic chest, with the true field between them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engine.errors import InputError
from engine.geometry import Geometry, Triple, as_triple
from engine.phantom.anatomy import Anatomy, random_anatomy
from engine.phantom.canvas import ORGANS
from engine.phantom.cone_beam import cone_beam, cylinder_radius_mm, with_noise
from engine.phantom.findings import random_findings
from engine.phantom.motion import Motion, random_motion, to_voxels
from engine.phantom.organs import Plumbing, dome_tops, plumbing
from engine.phantom.render import edge_width, render
from engine.phantom.sampling import Frame, grid_points, moved_points
from engine.shapes import DisplacementArray, HuArray, PointArray
from engine.volume import Volume

_VESSELS_PER_LUNG = 400
_LANDMARKS = 60
_LEAST_FORK_MM = 1.3
_ORIGIN_OFFSET_MM = np.array([6.0, -14.0, -431.0])
_CT_NOISE_HU = 9.0
_EDGE_VOXELS = 2.0


@dataclass(frozen=True, eq=False)
class PhantomPair:
    """Two images of one synthetic patient and everything that is true about them.

    By construction clean_fixed(x) = clean_moving(x + u(x)), and the same for the labels; both images lie on the
    same axis-aligned grid.
    """

    fixed: Volume
    """The cone-beam CT, with artefacts, invalid outside its cylinder."""
    moving: Volume
    """The planning CT, with a little noise."""
    displacement_vox: DisplacementArray
    """The true u on the fixed grid, (3, Z, Y, X), voxels, components z y x."""
    fixed_points_mm: PointArray
    """(N, 3) x y z, mm LPS: vessel forks, tumour, carina and the tops of the diaphragm."""
    moving_points_mm: PointArray
    """(N, 3): the same places in the moving image, x + u(x)."""
    fixed_labels: NDArray[np.uint8]
    """(Z, Y, X), values of `organs`, 0 outside the body."""
    moving_labels: NDArray[np.uint8]
    organs: dict[str, int]
    clean_fixed_hu: HuArray
    clean_moving_hu: HuArray
    diaphragm_mm: float
    """Cranio-caudal breathing motion at the domes, mm; negative where the fixed image shows the fuller breath."""


def thorax_pair(
    seed: int = 0,
    size_xyz: tuple[int, int, int] = (128, 128, 96),
    spacing_xyz_mm: Triple = (2.5, 2.5, 3.0),
    projections: int | None = None,
) -> PhantomPair:
    """A random chest, asymmetric, that breathes; the same for the same arguments.

    The patient is scaled to fit the field of view. `projections` is the number of views of the cone-beam CT: 40 gives
    the streaks of one breathing phase, None a full scan. `InputError` for a grid of fewer than 8 voxels a side.
    """
    if min(size_xyz) < 8:
        raise InputError(f"Expected a phantom of at least 8 voxels along each axis, got {size_xyz}.")
    rng = np.random.default_rng(seed)
    geometry = _geometry(size_xyz, spacing_xyz_mm)
    frame = Frame.fitted(geometry)
    anatomy = random_anatomy(rng, _VESSELS_PER_LUNG)
    tubes = plumbing(anatomy)
    motion, displacement_mm = random_motion(rng, anatomy, frame, geometry)
    edge_mm = edge_width(geometry, frame)
    moved = moved_points(
        displacement_mm, geometry, frame, partial(motion.inverse, tolerance_mm=min(spacing_xyz_mm) / 4)
    )
    clean_moving, moving_labels = render(anatomy, tubes, grid_points(geometry, frame), edge_mm)
    clean_fixed, fixed_labels = render(anatomy, tubes, moved, edge_mm)
    fixed_hu, seen = cone_beam(clean_fixed, geometry, rng, projections)
    fixed_points, moving_points = _landmarks(anatomy, tubes, motion, frame, geometry)
    return PhantomPair(
        fixed=Volume(fixed_hu, geometry, seen, "CBCT", f"phantom {seed} CBCT"),
        moving=Volume(
            with_noise(clean_moving, rng, _CT_NOISE_HU),
            geometry,
            np.ones(geometry.shape_zyx, bool),
            "CT",
            f"phantom {seed} CT",
        ),
        displacement_vox=np.ascontiguousarray(to_voxels(displacement_mm, geometry)),
        fixed_points_mm=fixed_points,
        moving_points_mm=moving_points,
        fixed_labels=fixed_labels,
        moving_labels=moving_labels,
        organs=dict(ORGANS),
        clean_fixed_hu=clean_fixed,
        clean_moving_hu=clean_moving,
        diaphragm_mm=motion.diaphragm_mm * motion.strength,
    )


def random_thorax(rng: np.random.Generator, shape_zyx: tuple[int, int, int], spacing_mm: float = 2.7) -> HuArray:
    """A random clean chest CT on an isotropic grid, HU float32 (Z, Y, X): x to the left, y to the back, z to the head.

    Sizes, tilt, filling of the lungs and densities vary more than in `thorax_pair`, for training; some patients have
    arms beside the body, a collapsed lung, an effusion or contrast agent.
    """
    geometry = Geometry(shape_zyx, (spacing_mm,) * 3)
    frame = Frame.fitted(geometry)
    stretch = rng.uniform((0.82, 0.82, 0.85), (1.04, 1.04, 1.15))
    frame = Frame(frame.center_xyz_mm + rng.uniform(-8, 8, 3), frame.scale_xyz * stretch)
    anatomy = random_anatomy(rng, vessels_per_lung=int(rng.integers(180, 420)), variety=1.8)
    anatomy, findings = random_findings(rng, anatomy)
    points, edge_mm = grid_points(geometry, frame), edge_width(geometry, frame)
    return render(anatomy, plumbing(anatomy), points, edge_mm, findings)[0]


def _geometry(size_xyz: tuple[int, int, int], spacing_xyz_mm: Triple) -> Geometry:
    half = (np.asarray(size_xyz) - 1) / 2 * np.asarray(spacing_xyz_mm)
    x, y, z = size_xyz
    return Geometry((z, y, x), as_triple(spacing_xyz_mm), as_triple(_ORIGIN_OFFSET_MM - half))


def _landmarks(
    anatomy: Anatomy, tubes: Plumbing, motion: Motion, frame: Frame, geometry: Geometry
) -> tuple[PointArray, PointArray]:
    """Fixed points and moving points (N, 3) in mm: singular places first, then forks spread over the lungs."""
    singular = np.vstack([tubes.tumour.center, tubes.carina, dome_tops(anatomy)])
    forks = tubes.forks[tubes.fork_radii > _LEAST_FORK_MM]
    nominal = np.vstack([singular, forks])
    fixed = motion.inverse(frame.patient(nominal))
    moving = fixed + motion.displacement_mm(fixed)
    seen = _in_view(fixed, geometry) & _in_view(moving, geometry)
    chosen = _spread(fixed[seen], min(_LANDMARKS, int(seen.sum())), int(seen[: len(singular)].sum()))
    return fixed[seen][chosen], moving[seen][chosen]


def _in_view(points_mm: PointArray, geometry: Geometry) -> NDArray[np.bool_]:
    index = geometry.indices(points_mm)
    inside = np.all((index > _EDGE_VOXELS) & (index < np.asarray(geometry.size_xyz) - 1 - _EDGE_VOXELS), axis=1)
    across = np.linalg.norm((points_mm - geometry.center_xyz_mm())[:, :2], axis=1)
    result: NDArray[np.bool_] = inside & (across < cylinder_radius_mm(geometry) - max(geometry.spacing_xyz_mm))
    return result


def _spread(points: PointArray, count: int, first: int) -> list[int]:
    """The `first` points, then one after the other the point farthest from those chosen."""
    chosen = list(range(first)) or [0]
    nearest = np.min(np.linalg.norm(points[:, None] - points[chosen], axis=2), axis=1)
    while len(chosen) < count:
        chosen.append(int(np.argmax(nearest)))
        nearest = np.minimum(nearest, np.linalg.norm(points - points[chosen[-1]], axis=1))
    return chosen
