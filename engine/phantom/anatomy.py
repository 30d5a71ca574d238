"""The sizes, positions and densities of one patient, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.shapes import HuArray

Vector = tuple[float, float, float]

_TEXTURE_SIZE = 64


@dataclass(frozen=True)
class Ellipsoid:
    """Center, half axes and rotation (rows: the ellipsoid's own axes), nominal mm."""

    center: Vector
    half_axes: Vector
    rotation: NDArray[np.float64]


@dataclass(frozen=True)
class Anatomy:
    """One patient in nominal mm and HU. Angles and harmonics are plain numbers."""

    body_half: tuple[float, float]
    body_harmonics: tuple[float, float, float, float]
    fat_mm: float
    cage_half: tuple[float, float]
    cage_y: float
    apex_z: float
    domes: tuple[tuple[float, float, float, float], tuple[float, float, float, float]]
    """Right and left: x, y, z of the top and the fall at the chest wall."""
    mediastinum_half: tuple[float, float]
    heart: Ellipsoid
    ventricle: Ellipsoid
    stomach: Ellipsoid
    gas: Ellipsoid
    spleen: Ellipsoid
    kidneys: tuple[Ellipsoid, Ellipsoid]
    liver_reach: float
    spine: tuple[float, float, float, float]
    """Scoliosis amplitude, its phase, y of the vertebral axis, phase of the vertebrae along z."""
    rib_offsets: tuple[float, float]
    aorta_mm: float
    hu: dict[str, float]
    texture: HuArray
    tumour_mm: float
    vessels_per_lung: int
    tree_seed: int


def random_anatomy(rng: np.random.Generator, vessels_per_lung: int = 220, variety: float = 1.0) -> Anatomy:
    """A patient; `variety` scales how far sizes stray from the average (about ±8 % at 1)."""

    def vary(value: float, share: float = 0.08) -> float:
        return value * (1 + variety * share * float(rng.uniform(-1, 1)))

    def shift(value: float, by: float) -> float:
        return value + variety * by * float(rng.uniform(-1, 1))

    def ellipsoid(center: Vector, half: Vector, angles: Vector = (0.0, 0.0, 0.0), stray: float = 4.0) -> Ellipsoid:
        x, y, z = (shift(value, stray) for value in center)
        a, b, c = (vary(value) for value in half)
        turned = [shift(angle, 0.12) for angle in angles]
        return Ellipsoid((x, y, z), (a, b, c), rotation_matrix(turned[0], turned[1], turned[2]))

    heart_x, heart_z = shift(26.0, 5), shift(34.0, 6)
    return Anatomy(
        body_half=(vary(157.0, 0.05), vary(106.0, 0.05)),
        body_harmonics=(shift(0.012, 0.012), shift(0.0, 0.02), shift(0.01, 0.015), shift(0.0, 0.012)),
        fat_mm=vary(9.0, 0.5),
        cage_half=(vary(123.0, 0.05), vary(82.0, 0.06)),
        cage_y=shift(-6.0, 2),
        apex_z=vary(205.0, 0.10),
        domes=(
            (shift(-60.0, 4), shift(-8.0, 6), shift(0.0, 6), vary(62.0, 0.15)),
            (shift(64.0, 4), shift(-2.0, 6), shift(-15.0, 7), vary(55.0, 0.15)),
        ),
        mediastinum_half=(vary(25.0, 0.1), vary(29.0, 0.1)),
        heart=ellipsoid((heart_x, -30.0, heart_z), (62.0, 44.0, 43.0), (0.0, 0.35, -0.55), 2.0),
        ventricle=ellipsoid((heart_x + 10, -31.0, heart_z - 5), (38.0, 21.0, 21.0), (0.0, 0.35, -0.55), 2.0),
        stomach=ellipsoid((54.0, -22.0, -62.0), (40.0, 36.0, 42.0)),
        gas=ellipsoid((58.0, -40.0, -48.0), (22.0, 12.0, 19.0)),
        spleen=ellipsoid((88.0, 34.0, -52.0), (25.0, 38.0, 40.0), (0.0, 0.0, 0.5)),
        kidneys=(
            ellipsoid((-52.0, 52.0, -118.0), (25.0, 21.0, 48.0)),
            ellipsoid((50.0, 52.0, -106.0), (25.0, 21.0, 50.0)),
        ),
        liver_reach=shift(58.0, 15),
        spine=(shift(0.0, 5), shift(0.0, 2), shift(44.0, 3), float(rng.uniform(0, 1))),
        rib_offsets=(float(rng.uniform(0, 26)), float(rng.uniform(-6, 6))),
        aorta_mm=vary(12.5, 0.15),
        hu=_densities(rng, variety),
        texture=_texture(rng),
        tumour_mm=float(rng.uniform(9, 17)),
        vessels_per_lung=vessels_per_lung,
        tree_seed=int(rng.integers(2**31)),
    )


def rotation_matrix(about_x: float, about_y: float, about_z: float) -> NDArray[np.float64]:
    """Rz · Ry · Rx, radians, (3, 3)."""
    (cx, cy, cz), (sx, sy, sz) = np.cos([about_x, about_y, about_z]), np.sin([about_x, about_y, about_z])
    turn_x = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    turn_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    turn_z = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    result: NDArray[np.float64] = turn_z @ turn_y @ turn_x
    return result


def _densities(rng: np.random.Generator, variety: float) -> dict[str, float]:
    typical = {
        "lung": (-830, 60), "fat": (-100, 12), "muscle": (52, 10), "blood": (45, 15), "heart": (58, 15),
        "liver": (62, 14), "spleen": (52, 10), "stomach": (22, 14), "kidney": (34, 10), "bone": (470, 120),
        "marrow": (190, 60), "cartilage": (110, 25), "tumour": (38, 15), "mediastinum": (-35, 35), "vessel": (45, 25),
    }  # fmt: skip
    return {name: mean + variety * spread * float(rng.uniform(-1, 1)) for name, (mean, spread) in typical.items()}


def _texture(rng: np.random.Generator) -> HuArray:
    """Periodic smooth noise of mean 0 and s.d. 1, correlated over about four voxels."""
    noise = rng.standard_normal((_TEXTURE_SIZE,) * 3, dtype=np.float32)
    frequency = np.fft.fftfreq(_TEXTURE_SIZE).astype(np.float32)
    square = frequency[:, None, None] ** 2 + frequency[None, :, None] ** 2 + frequency[None, None, :] ** 2
    smooth = np.fft.ifftn(np.fft.fftn(noise) * np.exp(-2 * (np.pi * 1.7) ** 2 * square)).real
    result: HuArray = (smooth / smooth.std()).astype(np.float32)
    return result
