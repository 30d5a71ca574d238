"""A folder of images as material for training: single images, and real pairs of one patient.

Whose image it is comes from the DICOM headers or from the folder it lies in; it is used to put images together, in
memory, and is told and written nowhere.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from engine.errors import InputError
from engine.geometry import Geometry
from engine.io.dicom_image import tolerantly_read
from engine.io.images import SUFFIXES, read_volume
from engine.progress import Job, Progress
from engine.shapes import HuArray, MaskArray
from engine.spatial.resample import as_tensor, index_map, resampled
from engine.spatial.warp import mapped_indices, sample, voxel_grid
from engine.volume import Volume, normalized

_LEAST_RANGE_HU = 300.0
"""Between the 1st and the 99th percentile: what spans less is a mask or labels, not a CT."""

_LEAST_OVERLAP = 0.5
"""Of what the first image of a group shows."""

_WHOLLY_SEEN = 0.99

_TAGS = ("Modality", "SeriesInstanceUID", "PatientID", "FrameOfReferenceUID")

_SHARED_ROTATION_RAD = (0.01, 0.01, 0.05)
"""About x, y, z (Bai et al. 2022), and the zoom."""
_SHARED_ZOOM = (0.9, 1.1)
_OWN_ROTATION_RAD = (0.01, 0.01, 0.01)
_OWN_ZOOM = (0.99, 1.01)
_OWN_SHIFT_VOX = 1.0
"""What the moving image gets more: the rest of an alignment that was not perfect."""


@dataclass(frozen=True, slots=True, eq=False)
class WorkingImage:
    """A normalised image on the working grid, and where the scanner saw something, both (Z, Y, X)."""

    values: HuArray
    seen: MaskArray


@dataclass(frozen=True, slots=True, eq=False)
class Archive:
    """Images of one patient and frame of reference in each group, on one grid. `passed_over`: reasons and how often."""

    groups: list[list[WorkingImage]]
    passed_over: dict[str, int]

    @property
    def anatomies(self) -> list[HuArray]:
        return [image.values for group in self.groups for image in group]

    @property
    def pairable(self) -> list[list[WorkingImage]]:
        return [group for group in self.groups if len(group) > 1]


class RealPair(NamedTuple):
    """Two images of one patient (1, D, H, W), normalised, and where their scanners saw something (1 or 0)."""

    fixed: Tensor
    moving: Tensor
    fixed_seen: Tensor
    moving_seen: Tensor


class _Source(NamedTuple):
    """What `read_volume` takes, and what says that two images belong together."""

    path: str
    owner: tuple[str, ...]


def read_archive(path: str, spacing_mm: float) -> Job[Archive]:
    """Images of a file, of a series (`FOLDER#SERIES_UID`), or of a folder and all that lie below it.

    Images belong together by DICOM PatientID and frame of reference, or by the topmost subfolder that a file lies in;
    a file directly in the folder stands alone. What is no readable CT is passed over.

    Raises:
        InputError: nothing usable there; for a single image, what is wrong with it.
    """
    folder = Path(path)
    sources = _sources(folder) if folder.is_dir() else [_Source(path, (path,))]
    groups = _Groups(spacing_mm)
    passed_over: Counter[str] = Counter()
    for number, source in enumerate(sources):
        yield Progress("read", number, len(sources))
        try:
            groups.add(source.owner, _hounsfield_volume(source.path))
        except InputError as error:
            passed_over[str(error)] += 1
    if not groups.found:
        raise InputError(_nothing_usable(passed_over))
    return Archive(groups.found, dict(passed_over))


class _Groups:
    """Images sorted by their owner, each owner's on the working grid of the first."""

    def __init__(self, spacing_mm: float) -> None:
        self._spacing_mm = (spacing_mm,) * 3
        self._by_owner: dict[tuple[str, ...], tuple[Geometry, list[WorkingImage]]] = {}
        self.found: list[list[WorkingImage]] = []

    def add(self, owner: tuple[str, ...], volume: Volume) -> None:
        """An image that hardly overlaps with the others of its owner gets a group of its own."""
        own_grid = volume.geometry.resampled(self._spacing_mm)
        grid, images = self._by_owner.setdefault(owner, (own_grid, []))
        image = _on_grid(volume, grid)
        if images and image.seen.sum() < _LEAST_OVERLAP * images[0].seen.sum():
            grid, images, image = own_grid, [], _on_grid(volume, own_grid)
        if not images:
            self.found.append(images)
        images.append(image)


def _on_grid(volume: Volume, grid: Geometry) -> WorkingImage:
    values = resampled(as_tensor(normalized(volume.filled_hu())), volume.geometry, grid)
    positions = mapped_indices(voxel_grid(grid.shape_zyx, values), index_map(grid, volume.geometry))
    seen = sample(as_tensor(volume.valid.astype(np.float32)), positions, padding="zeros")
    return WorkingImage(values[0, 0].numpy(), (seen > _WHOLLY_SEEN)[0, 0].numpy())


def _nothing_usable(passed_over: Counter[str]) -> str:
    if len(passed_over) == 1:
        return next(iter(passed_over))
    reasons = f"; the first of {len(passed_over)} problems: {next(iter(passed_over))}" if passed_over else "."
    return f"Expected CT or cone-beam CT in this folder or below it, found none{reasons}"


def _hounsfield_volume(path: str) -> Volume:
    volume = read_volume(path)
    low, high = np.percentile(volume.hu[volume.valid], (1, 99)) if volume.valid.any() else (0.0, 0.0)
    if high - low < _LEAST_RANGE_HU:
        raise InputError("The values span too little for a CT in HU (a mask or labels, perhaps).")
    return volume


def _sources(folder: Path) -> list[_Source]:
    found: list[_Source] = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        relative = Path(place).relative_to(folder).parts
        images = sorted(name for name in names if name.lower().endswith(SUFFIXES))
        for name in images:
            found.append(_Source(str(Path(place, name)), ("file", relative[0] if relative else name)))
        if len(images) < len(names):
            found.extend(_series(Path(place), sorted(set(names) - set(images)), "/".join(relative[:1])))
    return found


def _series(folder: Path, names: list[str], fallback: str) -> Iterator[_Source]:
    """The CT series among the DICOM files of one folder."""
    seen: dict[str, _Source] = {}
    for name in names:
        header = tolerantly_read(folder / name, *_TAGS)
        if header is None or header.get("Modality") != "CT" or "SeriesInstanceUID" not in header:
            continue
        uid = str(header.SeriesInstanceUID)
        patient = str(header.get("PatientID") or fallback)
        owner = ("DICOM", patient, str(header.get("FrameOfReferenceUID") or uid))
        seen.setdefault(uid, _Source(f"{folder}#{uid}", owner))
    yield from seen.values()


def make_real_pair(
    groups: list[list[WorkingImage]], shape_zyx: tuple[int, int, int], seed: int, index: int
) -> RealPair:
    """The real pair number `index`: two images of one group at the same place, turned and zoomed at random.

    The turn (0.01, 0.01 and 0.05 rad at most about x, y, z) and the zoom (0.9 to 1.1) are shared, as in Bai et al.
    2022; the moving image gets a small one of its own, with a shift. `groups`: of two images or more.
    """
    generator = torch.Generator().manual_seed(int(np.random.SeedSequence([seed, index, 1]).generate_state(1)[0]))
    group = groups[_choice(len(groups), generator)]
    first, second = torch.randperm(len(group), generator=generator)[:2].tolist()
    shared = _turn_and_zoom(_SHARED_ROTATION_RAD, _SHARED_ZOOM, generator)
    own = shared @ _turn_and_zoom(_OWN_ROTATION_RAD, _OWN_ZOOM, generator)
    shift = _OWN_SHIFT_VOX * (2.0 * torch.rand(3, generator=generator) - 1.0)
    center = _random_center(group[first].values.shape, shape_zyx, generator)
    fixed, fixed_seen = _crop(group[first], shape_zyx, shared, center)
    moving, moving_seen = _crop(group[second], shape_zyx, own, center + shift)
    return RealPair(fixed, moving, fixed_seen, moving_seen)


def _crop(
    image: WorkingImage, shape_zyx: tuple[int, int, int], linear: Tensor, center: Tensor
) -> tuple[Tensor, Tensor]:
    """Values and seen (1, D, H, W) at A (x − middle of the crop) + center."""
    middle = torch.tensor([(n - 1) / 2 for n in shape_zyx]).view(1, 3, 1, 1, 1)
    offsets = voxel_grid(shape_zyx, middle) - middle
    positions = torch.einsum("ij,bjdhw->bidhw", linear, offsets) + center.view(1, 3, 1, 1, 1)
    values = sample(torch.from_numpy(image.values)[None, None], positions)
    seen = sample(torch.from_numpy(image.seen)[None, None].to(values.dtype), positions, padding="zeros")
    return values[0], (seen > _WHOLLY_SEEN)[0].to(values.dtype)


def _random_center(image_zyx: tuple[int, ...], crop_zyx: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Where the crop lies inside the image; the middle along an axis that is shorter than the crop."""
    room = torch.tensor([max(0, n - wanted) for n, wanted in zip(image_zyx, crop_zyx, strict=True)])
    middle = torch.tensor([(n - 1) / 2 for n in image_zyx])
    return middle + room * (torch.rand(3, generator=generator) - 0.5)


def _turn_and_zoom(
    most_rad_xyz: tuple[float, float, float], zoom: tuple[float, float], generator: torch.Generator
) -> Tensor:
    """A random rotation times a zoom (3 × 3) on voxel offsets z, y, x."""
    x, y, z = (2.0 * torch.rand(3, generator=generator) - 1.0) * torch.tensor(most_rad_xyz)
    skew = torch.tensor([[0.0, x, -y], [-x, 0.0, z], [y, -z, 0.0]])
    low, high = zoom
    scale = low + (high - low) * torch.rand((), generator=generator)
    turned: Tensor = scale * torch.linalg.matrix_exp(skew)
    return turned


def _choice(count: int, generator: torch.Generator) -> int:
    return int(torch.randint(count, (), generator=generator))
