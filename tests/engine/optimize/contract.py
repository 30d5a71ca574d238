"""Random cases for the contract of RSO (hypothesis), and its clauses worked out from their definitions with numpy."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import permutations

import numpy as np
from hypothesis import Phase, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from engine.geometry import Geometry, as_triple
from engine.registration import Registration
from engine.roi import Box
from engine.volume import Volume
from tests.conftest import rotation

EVERY_PROPERTY = settings(
    max_examples=200, deadline=None, derandomize=True, database=None, phases=(Phase.generate, Phase.shrink)
)

COLLAR = 13
"""π times a residual of four voxels, rounded up."""

LARGEST_JUMP = 0.25
"""Of the slope at the seam, mm per mm."""

ROUNDING = 1e-5
"""Of a determinant in single precision."""

Shape = tuple[int, int, int]
Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

_SIZES = st.sampled_from((16, 24, 30, 34, 38))
SHAPES = st.tuples(st.one_of(st.just(4), _SIZES, _SIZES, _SIZES), _SIZES, _SIZES)
ANGLES = st.tuples(*[st.sampled_from((0.0, -25.0, 8.0))] * 3)
SEEDS = st.integers(0, 2**16)


@dataclass(frozen=True)
class Field:
    """A displacement or a correction of it: `kind` with vectors of about `amplitude` voxels."""

    kind: str
    amplitude: float
    seed: int

    def on(self, shape: Shape) -> Array:
        random = np.random.default_rng(self.seed)
        if self.kind == "still":
            return np.copysign(0.0, random.standard_normal((3, *shape))).astype(np.float32)
        field = self.amplitude * _waves(random, shape)
        if self.kind == "rough":
            field = self.amplitude * random.standard_normal((3, *shape))
        elif self.kind == "folded":
            for place in random.integers(0, shape, (5, 3)):
                field[(slice(None), *place)] += 3.0 * random.standard_normal(3)
        elif self.kind == "constant":
            field = self.amplitude * np.ones_like(field) * random.standard_normal((3, 1, 1, 1))
        return field.astype(np.float32)


def _waves(random: np.random.Generator, shape: Shape) -> NDArray[np.float64]:
    z, y, x = (np.cos(np.outer(np.arange(3), np.linspace(0, np.pi, n))) for n in shape)
    coefficients = random.standard_normal((3, 3, 3, 3)) / 5.0
    waves: NDArray[np.float64] = np.einsum("cijk,iz,jy,kx->czyx", coefficients, z, y, x, optimize=True)
    return waves


STARTS = st.one_of(
    st.builds(Field, st.just("still"), st.just(0.0), SEEDS),
    st.builds(Field, st.sampled_from(("smooth", "folded")), st.floats(0.1, 4.0), SEEDS),
    st.builds(Field, st.just("rough"), st.floats(0.01, 1.5), SEEDS),
)
CORRECTIONS = st.builds(Field, st.sampled_from(("smooth", "rough", "folded", "constant")), st.floats(0.0, 8.0), SEEDS)


@st.composite
def boxes(draw: st.DrawFn, shape: Shape) -> Box:
    """Anywhere: at faces, edges and corners, one voxel thin or thinner than the collar, as large as the image."""
    (z0, z1), (y0, y1), (x0, x1) = [draw(_ranges(n)) for n in shape]
    return Box(x0, x1, y0, y1, z0, z1)


def _ranges(n: int) -> st.SearchStrategy[tuple[int, int]]:
    starts = st.integers(0, n - 1)
    return st.one_of(
        starts.map(lambda start: (start, start + 1)),
        starts.map(lambda start: (start, min(n, start + 8))),
        starts.flatmap(lambda start: st.tuples(st.just(start), st.integers(start + 1, n))),
        st.just((0, n)),
    )


@dataclass(frozen=True)
class BoxErrors:
    """RMSE in HU of two displacements over the voxels of a box that both scanners saw where the first one leads.

    Seen is what has more than 99 % of valid neighbors; within rounding either figure is right. `seen`: how many.
    """

    before: tuple[float, ...]
    after: tuple[float, ...]
    seen: int


@dataclass(frozen=True)
class Scene:
    """A pair of images, oblique and anisotropic, partly unseen, and a registration of them that could be better."""

    shape: Shape
    moving_shape: Shape
    spacing_xyz_mm: tuple[float, float, float]
    angles: tuple[float, float, float]
    moving_angles: tuple[float, float, float]
    rigid_angles: tuple[float, float, float]
    shift_xyz_mm: tuple[float, float, float]
    unseen: str
    displacement: Field
    seed: int

    def fixed(self) -> Volume:
        return _fixed(self)

    def moving(self) -> Volume:
        return _moving(self)

    def geometry(self) -> Geometry:
        return Geometry(self.shape, self.spacing_xyz_mm, (-37.0, 52.0, -411.0), _direction(self.angles))

    def rigid(self) -> NDArray[np.float64]:
        center, matrix = self.geometry().center_xyz_mm(), np.eye(4)
        matrix[:3, :3] = rotation(*self.rigid_angles)
        matrix[:3, 3] = center + self.shift_xyz_mm - matrix[:3, :3] @ center
        return matrix

    def start(self, model: str | None = None) -> Registration:
        return Registration(self.geometry(), self.rigid(), self.displacement.on(self.shape), model=model)

    def errors(self, box: Box, before: Array, after: Array) -> BoxErrors:
        fixed, moving = self.fixed(), self.moving()
        at = [self._moving_indices(box, displacement_vox) for displacement_vox in (before, after)]
        fraction = map_coordinates(moving.valid.astype(float), at[0], order=1, mode="grid-constant")
        seen = [fixed.valid[box.slices_zyx].ravel() & (fraction > 0.99 + e) for e in (ROUNDING, -ROUNDING)]
        wanted, image = _limited(fixed)[box.slices_zyx].ravel(), _limited(moving)
        squares = [(map_coordinates(image, index, order=1, mode="nearest") - wanted) ** 2 for index in at]
        first, second = ([float(np.sqrt(square[mask].mean())) for mask in seen if mask.any()] for square in squares)
        return BoxErrors(tuple(first), tuple(second), int(seen[0].sum()))

    def _moving_indices(self, box: Box, displacement_vox: Array) -> NDArray[np.float64]:
        """Indices z, y, x in the moving image of R(x + u(x)), (3, N)."""
        voxels = np.stack([*np.mgrid[box.slices_zyx]]) + displacement_vox[(slice(None), *box.slices_zyx)]
        rigid, points = self.rigid(), self.geometry().points(voxels.reshape(3, -1)[::-1].T)
        return np.asarray(self.moving().geometry.indices(points @ rigid[:3, :3].T + rigid[:3, 3]).T[::-1])


def _direction(angles: tuple[float, float, float]) -> tuple[tuple[float, float, float], ...]:
    return tuple(as_triple(row) for row in rotation(*angles))


@lru_cache(maxsize=4)
def _fixed(scene: Scene) -> Volume:
    geometry = scene.geometry()
    return _volume(scene, geometry, _points(geometry), "fixed")


@lru_cache(maxsize=4)
def _moving(scene: Scene) -> Volume:
    """The same anatomy through the inverse of the rigid part, and two waves of 3 mm that are to be found."""
    fixed, rigid = scene.geometry(), scene.rigid()
    extent = np.asarray(fixed.size_xyz) * fixed.spacing_xyz_mm + 25.0
    spacing = extent / np.asarray(scene.moving_shape[::-1])
    centered = Geometry(scene.moving_shape, as_triple(spacing), (0.0, 0.0, 0.0), _direction(scene.moving_angles))
    center = rigid[:3, :3] @ fixed.center_xyz_mm() + rigid[:3, 3] - scene.shift_xyz_mm
    origin = as_triple(center - centered.center_xyz_mm())
    geometry = Geometry(centered.shape_zyx, centered.spacing_xyz_mm, origin, centered.direction)
    points = (_points(geometry) - rigid[:3, 3]) @ rigid[:3, :3]
    return _volume(scene, geometry, points + 3.0 * np.sin(points[:, ::-1] / 17.0), "moving")


def _points(geometry: Geometry) -> NDArray[np.float64]:
    z, y, x = np.indices(geometry.shape_zyx).reshape(3, -1)
    return geometry.points(np.stack([x, y, z], axis=1))


def _volume(scene: Scene, geometry: Geometry, points: NDArray[np.float64], role: str) -> Volume:
    """An ellipsoid of waves in open air with noise and a little metal, -2048 where the scanner saw nothing."""
    random = np.random.default_rng(scene.seed)
    extent = np.asarray(scene.shape[::-1]) * scene.spacing_xyz_mm
    away = points - scene.geometry().center_xyz_mm()
    tissue = sum(np.cos(away @ wave + phase) for *wave, phase in random.normal(0.0, 0.15, (6, 4)))
    hu = np.where(((away / (0.45 * extent)) ** 2).sum(axis=1) < 1.0, 40.0 + 120.0 * tissue, -1000.0)
    noise = np.random.default_rng((scene.seed, len(role)))
    hu += noise.normal(0.0, 15.0, hu.shape)
    hu[noise.integers(0, hu.size, 3)] = 6000.0
    valid = np.ones(hu.size, bool)
    if scene.unseen == f"half of {role}":
        valid = away[:, 0] + away[:, 2] < 0.2 * extent[0]
    elif scene.unseen == f"specks of {role}":
        valid[noise.integers(0, hu.size, hu.size // 50)] = False
    elif scene.unseen == f"around {role}":
        valid = ((away[:, :2] / (0.4 * extent[:2])) ** 2).sum(axis=1) < 1.0
    hu[~valid] = -2048.0
    return Volume(hu.astype(np.float32).reshape(geometry.shape_zyx), geometry, valid.reshape(geometry.shape_zyx))


UNSEEN = (
    *["nothing"] * 6,
    *(f"{what} {role}" for what in ("half of", "specks of", "around") for role in ("fixed", "moving")),
)
SCENES = st.builds(
    Scene,
    SHAPES,
    SHAPES,
    st.tuples(*[st.sampled_from((2.0, 0.7, 3.3, 5.0))] * 3),
    ANGLES,
    ANGLES,
    ANGLES,
    st.tuples(*[st.sampled_from((0.0, 1.5, -4.0))] * 3),
    st.sampled_from(UNSEEN),
    STARTS,
    SEEDS,
)


@st.composite
def scenes_with_box(draw: st.DrawFn) -> tuple[Scene, Box]:
    scene = draw(SCENES)
    return scene, draw(boxes(scene.shape))


@st.composite
def scenes_with_chain(draw: st.DrawFn) -> tuple[Scene, list[Box]]:
    """Two or three boxes, the same once more among them or others that may overlap."""
    scene = draw(SCENES)
    first = draw(boxes(scene.shape))
    return scene, [first, *draw(st.lists(st.one_of(st.just(first), boxes(scene.shape)), min_size=1, max_size=2))]


def around(box: Box, shape: Shape) -> Box:
    """Box and collar, as far as the image reaches."""
    z, y, x = ((max(0, a - COLLAR), min(n, b + COLLAR)) for (a, b), n in zip(box.ranges_zyx, shape, strict=True))
    return Box(*x, *y, *z)


def outside(box: Box, shape: Shape) -> Mask:
    """Every voxel beyond box and collar."""
    mask = np.ones(shape, bool)
    mask[around(box, shape).slices_zyx] = False
    return mask


def determinants(displacement_vox: Array) -> NDArray[np.float64]:
    """det(I + grad u) by Leibniz' formula, forward differences."""
    u = displacement_vox.astype(np.float64)
    ahead = [np.diff(u, axis=axis)[:, : u.shape[1] - 1, : u.shape[2] - 1, : u.shape[3] - 1] for axis in (1, 2, 3)]
    gradient = [[ahead[column][row] + (row == column) for column in range(3)] for row in range(3)]
    signs = [np.linalg.det(np.eye(3)[list(order)]) for order in permutations(range(3))]
    terms = [gradient[0][i] * gradient[1][j] * gradient[2][k] for i, j, k in permutations(range(3))]
    return np.asarray(sum(sign * term for sign, term in zip(signs, terms, strict=True)))


def seam_jump(before: Array, after: Array, seam: Box, spacing_zyx_mm: tuple[float, float, float]) -> float:
    """Largest change of a slope (mm per mm) one voxel to either side of the faces of `seam` that lie in the image."""
    largest = 0.0
    spacing = np.reshape(spacing_zyx_mm, (3, 1, 1, 1))
    for axis, ((start, stop), n) in enumerate(zip(seam.ranges_zyx, before.shape[1:], strict=True)):
        lateral = list(seam.slices_zyx)
        lateral[axis] = slice(None)
        change = (after[(slice(None), *lateral)].astype(np.float64) - before[(slice(None), *lateral)]) * spacing
        steep = np.sqrt((np.diff(change, axis=axis + 1) ** 2).sum(axis=0)) / spacing_zyx_mm[axis]
        steps = ([start - 1, start] if start > 0 else []) + ([stop - 2, stop - 1] if stop < n else [])
        largest = max([largest, *(float(steep.take(step, axis).max()) for step in steps)])
    return largest


def _limited(volume: Volume) -> NDArray[np.float64]:
    """Air where nothing was seen, and no metal: the loss and its figures see -1100 to 3000 HU."""
    return np.clip(np.where(volume.valid, volume.hu, -1000.0), -1100.0, 3000.0).astype(np.float64)
