"""Pairs with a known displacement, made from single images by random deformation and random corruption.

Every pair is a function of (seed, index) alone, so a run can be repeated and resumed. Grids are isotropic at the
model's working spacing; displacements are voxels of that grid. Both images are corrupted, each for itself, while the
displacement and the clean images are known: a network learns to look past artefacts (Bai et al. 2022 report how a
network follows streaks that it was never told of).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from engine.shapes import HuArray
from engine.spatial.self_similarity import box_sum
from engine.spatial.warp import compose, exponential, sample, voxel_grid

MARGIN = 8
"""Voxels made round a crop, so that tissue can move in from outside."""

_FIELD_STRIDE = 4
"""Fields are made on a grid four times coarser: none of them varies faster than that can hold."""

_SHAPES_SHARE = 0.12
"""Share of the pairs that show random shapes instead of an anatomy (Hoffmann et al. 2022, SynthMorph)."""

_LUNG = (0.03, 0.35)
"""Normalised values that only lungs have, once smoothed."""


@dataclass(frozen=True, slots=True)
class TrainingPair:
    """`fixed(x) = moving(x + u(x))` before corruption. Images (1, D, H, W) normalised, u (3, D, H, W) voxels.

    `weight` (1, D, H, W): how much structure there is to tell where a voxel went, mean 1 where the fixed image was
    seen and zero elsewhere. The clean images are those before corruption, for a loss to look at.
    """

    fixed: Tensor
    moving: Tensor
    displacement_vox: Tensor
    weight: Tensor
    clean_fixed: Tensor
    clean_moving: Tensor


def make_pair(
    anatomies: list[HuArray],
    shape_zyx: tuple[int, int, int],
    seed: int,
    index: int,
    artefacts: NDArray[np.float16] | None = None,
) -> TrainingPair:
    """The pair number `index`. `anatomies`: normalised images on the working grid, of any size.

    `artefacts` (N, D, H, W): what cone-beam reconstructions added to images (normalised), see `artefact_bank`.
    """
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, index]).generate_state(1)[0]))
    padded_shape = tuple(n + 2 * MARGIN for n in shape_zyx)
    shapes = bool(torch.rand((), generator=generator) < _SHAPES_SHARE)
    anatomy = _random_shapes(padded_shape, generator) if shapes else _random_crop(anatomies, padded_shape, generator)
    coarse_shape = tuple(n // _FIELD_STRIDE for n in padded_shape)
    variation = _random_displacement(coarse_shape, generator, scale=1.0)
    motion = _random_motion(_breathing_part(anatomy, variation, generator), generator)
    z, y, x = (slice(MARGIN, MARGIN + n) for n in shape_zyx)
    center = (slice(None), slice(None), z, y, x)
    grid = voxel_grid(padded_shape, anatomy)[center]
    motion_vox = _upscaled(motion, padded_shape)[center]
    moving = sample(anatomy, grid + _upscaled(variation, padded_shape)[center])
    fixed = sample(anatomy, grid + _upscaled(compose(variation, motion), padded_shape)[center])
    remap = _random_contrast(generator)
    fixed, moving = remap(fixed), remap(moving)
    frame = _frame(shape_zyx, generator)
    seen = [frame * _frame(shape_zyx, generator) for _ in range(2)]
    return TrainingPair(
        (_corrupted(_other_breath(generator)(fixed), artefacts, generator) * seen[0])[0],
        (_corrupted(_other_breath(generator)(moving), artefacts, generator) * seen[1])[0],
        motion_vox[0].clone(),
        (structure_weight(fixed) * seen[0])[0],
        fixed[0],
        moving[0],
    )


def structure_weight(image: Tensor) -> Tensor:
    """Gradient magnitude, smoothed and with a floor, scaled to mean 1, (B, 1, D, H, W)."""
    edges = torch.zeros_like(image)
    for axis in (2, 3, 4):
        edges = edges + (torch.roll(image, -1, axis) - torch.roll(image, 1, axis)).abs()
    smooth = box_sum(edges.clamp(max=0.5), 5) / 125
    weight = 0.02 + smooth
    return weight / weight.mean()


def _uniform(generator: torch.Generator, low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand((), generator=generator))


def _random_crop(anatomies: list[HuArray], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    image = anatomies[int(torch.randint(len(anatomies), (), generator=generator))]
    short = [max(0, wanted - n) for wanted, n in zip(shape, image.shape, strict=True)]
    if any(short):
        image = np.pad(image, [(n // 2, n - n // 2) for n in short], mode="edge")
    starts = [
        int(torch.randint(n - wanted + 1, (), generator=generator))
        for n, wanted in zip(image.shape, shape, strict=True)
    ]
    crop = torch.tensor(image[tuple(slice(s, s + n) for s, n in zip(starts, shape, strict=True))])
    flips = [axis for axis in range(3) if torch.rand((), generator=generator) < 0.5]
    return crop.flip(flips).reshape(1, 1, *shape)


def _random_shapes(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Random blobs of random densities, softened: what can be matched is their outlines alone, (1, 1, D, H, W)."""
    kinds = 14
    coarse = tuple(max(2, n // 2) for n in shape)
    scale_vox = int(torch.randint(4, 12, (), generator=generator))
    fields = _noise_field(coarse, scale_vox, generator, channels=kinds)
    densities = 1.1 * torch.rand(kinds, generator=generator)
    image = densities[F.interpolate(fields, size=list(shape), mode="trilinear").argmax(dim=1, keepdim=True)]
    return box_sum(image, 3) / 27


def _noise_field(shape: tuple[int, ...], scale_vox: int, generator: torch.Generator, channels: int = 3) -> Tensor:
    """Smooth noise of standard deviation about 1 that varies over `scale_vox` voxels, (1, channels, D, H, W)."""
    coarse = [max(2, round(n / scale_vox) + 1) for n in shape]
    noise = torch.randn((1, channels, *coarse), generator=generator)
    return 1.5 * F.interpolate(noise, size=list(shape), mode="trilinear", align_corners=True)


def _random_displacement(shape: tuple[int, ...], generator: torch.Generator, scale: float) -> Tensor:
    """Exponential of a random velocity at three scales (32, 16 and 8 voxels), fold-free; in voxels of `shape`."""
    velocity = torch.zeros((1, 3, *shape))
    for scale_vox, most in ((32, 3.0), (16, 1.6), (8, 0.5)):
        amplitude = scale * _uniform(generator, 0.0, most)
        velocity += amplitude / _FIELD_STRIDE * _noise_field(shape, max(1, scale_vox // _FIELD_STRIDE), generator)
    return exponential(velocity)


def _upscaled(coarse: Tensor, shape: tuple[int, ...]) -> Tensor:
    return _FIELD_STRIDE * F.interpolate(coarse, size=list(shape), mode="trilinear", align_corners=False)


def _breathing_part(anatomy: Tensor, variation: Tensor, generator: torch.Generator) -> Tensor:
    """How much of the breathing each place follows, 0..1, (1, 1, d, h, w) on the coarse grid.

    Lungs and what lies above and below them move, the chest wall stays behind: the motion slides along it. Now and
    then everything moves as one.
    """
    everything = torch.ones_like(variation[:, :1])
    together = bool(torch.rand((), generator=generator) < 0.4)
    rest = _uniform(generator, 0.0, 0.5)
    if together:
        return everything
    small = F.avg_pool3d(anatomy, _FIELD_STRIDE)
    lung = ((small > _LUNG[0]) & (small < _LUNG[1])).to(small.dtype)
    lung = (box_sum(lung, 3) / 27 > 0.6).to(small.dtype)
    columns = F.max_pool3d(lung, (21, 3, 3), stride=1, padding=(10, 1, 1))
    moved = sample(columns, voxel_grid(tuple(small.shape[2:]), small) + variation)
    if moved.mean() < 0.1:
        return everything
    return rest + (1 - rest) * box_sum(moved, 3) / 27


def _random_motion(breathing_part: Tensor, generator: torch.Generator) -> Tensor:
    """Breathing, a small rigid motion with zoom, and a random displacement; from hardly any motion to all of it."""
    shape = tuple(breathing_part.shape[2:])
    scale = _uniform(generator, 0.05, 1.0)
    local = _random_displacement(shape, generator, scale)
    coherent = breathing_part * _breathing(shape, generator, scale) + _affine_motion(shape, generator, scale)
    return compose(coherent, local)


def _breathing(shape: tuple[int, ...], generator: torch.Generator, scale: float) -> Tensor:
    """Motion along the body axis that rises to a plateau (the diaphragm), with a smaller part along y."""
    amplitude = scale * _uniform(generator, -13.0, 13.0) / _FIELD_STRIDE
    width = max(abs(amplitude) / _uniform(generator, 1.4, 2.6), 4.0 / _FIELD_STRIDE)
    edge = _uniform(generator, 0.15, 0.85) * shape[0]
    side = 1.0 if torch.rand((), generator=generator) < 0.5 else -1.0
    z = torch.arange(shape[0], dtype=torch.float32).view(1, 1, -1, 1, 1)
    bend, lateral = _noise_field((2, *shape[1:]), 32 // _FIELD_STRIDE, generator, channels=2)[:, :, :1].split(1, dim=1)
    profile = torch.sigmoid(side * (z - edge - 4.0 / _FIELD_STRIDE * bend) / width)
    along = amplitude * profile * (0.75 + 0.25 * torch.tanh(lateral))
    across = _uniform(generator, -0.3, 0.3) * along
    return torch.cat([along, across, torch.zeros_like(along)], dim=1)


def _affine_motion(shape: tuple[int, ...], generator: torch.Generator, scale: float) -> Tensor:
    """Rotation up to 0.05 rad about each axis, zoom up to 5 %, shift up to 3 voxels, about the center."""
    rx, ry, rz = (_uniform(generator, -0.05, 0.05) for _ in range(3))
    skew = torch.tensor([[0.0, -rx, ry], [rx, 0.0, -rz], [-ry, rz, 0.0]])
    zoom = torch.diag(torch.tensor([_uniform(generator, -0.05, 0.05) for _ in range(3)]))
    shift = torch.tensor([_uniform(generator, -3.0, 3.0) / _FIELD_STRIDE for _ in range(3)]).view(1, 3, 1, 1, 1)
    centered = voxel_grid(shape, shift) - torch.tensor([(n - 1) / 2 for n in shape]).view(1, 3, 1, 1, 1)
    return scale * (torch.einsum("ij,bjdhw->bidhw", skew + zoom, centered) + shift)


class _Contrast:
    """A random monotone change of intensities shared by both images: other scanners, other lungs."""

    def __init__(self, lung: float, gamma: float) -> None:
        self._lung, self._gamma = lung, gamma

    def __call__(self, image: Tensor) -> Tensor:
        darker = torch.where(image < 0.35, image * self._lung, image - 0.35 * (1 - self._lung))
        return darker.clamp(min=0.0).pow(self._gamma)


def _random_contrast(generator: torch.Generator) -> _Contrast:
    return _Contrast(_uniform(generator, 0.8, 1.2), _uniform(generator, 0.85, 1.2))


def _other_breath(generator: torch.Generator) -> _Contrast:
    """The density of the lungs changes with the air in them; the rest of the scale hardly does."""
    return _Contrast(_uniform(generator, 0.7, 1.4), _uniform(generator, 0.97, 1.03))


def _corrupted(image: Tensor, artefacts: NDArray[np.float16] | None, generator: torch.Generator) -> Tensor:
    """Gain, shading, noise of random grain, now and then cone-beam artefacts and a truncated field of view."""
    shape = tuple(image.shape[2:])
    gain = _uniform(generator, 0.93, 1.07)
    shading = _uniform(generator, 0.0, 0.04) * _noise_field(shape, 40, generator, channels=1)
    noise = torch.randn(image.shape, generator=generator)
    if torch.rand((), generator=generator) < 0.5:
        noise = 2.5 / 27 * box_sum(noise, 3)
    strength = _uniform(generator, 0.002, 0.03)
    corrupted = gain * image + shading + strength * noise
    if artefacts is not None and torch.rand((), generator=generator) < 0.4:
        corrupted = corrupted + _uniform(generator, 0.2, 1.1) * _random_artefact(artefacts, shape, generator)
    if torch.rand((), generator=generator) < 0.2:
        corrupted = _truncated(corrupted, generator)
    return corrupted.clamp(-0.05, 2.0)


def _random_artefact(artefacts: NDArray[np.float16], shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """A crop of one of the reconstructions' artefacts, flipped at random in the axial plane, (1, 1, D, H, W)."""
    chosen = artefacts[int(torch.randint(len(artefacts), (), generator=generator))]
    return _random_crop([chosen.astype(np.float32)], shape, generator)


def _frame(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """1 in what a scanner saw, 0 beyond some of the six faces of its field of view, (1, 1, D, H, W)."""
    seen = torch.ones(1, 1, *shape)
    for axis, n in enumerate(shape, start=2):
        for backwards in (False, True):
            if torch.rand((), generator=generator) < 0.2:
                depth = int(torch.randint(1, max(2, n // 6), (), generator=generator))
                seen.narrow(axis, n - depth if backwards else 0, depth).zero_()
    return seen


def _truncated(image: Tensor, generator: torch.Generator) -> Tensor:
    """Air outside a cylinder along the body axis."""
    height, width = image.shape[3:]
    y = torch.arange(height).view(-1, 1) - _uniform(generator, 0.3, 0.7) * height
    x = torch.arange(width).view(1, -1) - _uniform(generator, 0.3, 0.7) * width
    radius = _uniform(generator, 0.45, 0.8) * max(height, width)
    return torch.where(y * y + x * x < radius * radius, image, torch.zeros_like(image))
