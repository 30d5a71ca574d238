"""What a voxel looks like beside its own neighbors (torch): descriptors that do not depend on the contrast."""

from __future__ import annotations

from collections.abc import Iterator
from functools import reduce
from itertools import combinations
from typing import TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor

from engine.spatial.resample import edges_repeated

_PATCH = 3
_DILATION = 2

SELF_SIMILARITY_REACH = _PATCH // 2 + _DILATION
"""Voxels to either side that a descriptor is made of."""

Offset: TypeAlias = tuple[int, ...]

_NEIGHBORS = ((-1, 0, 0), (1, 0, 0), (0, -1, 0), (0, 1, 0), (0, 0, -1), (0, 0, 1))


def _neighbor_pairs() -> dict[Offset, dict[int, Offset]]:
    """From the way between two neighbors that do not oppose each other to where it begins, by number of the pair."""
    starts: dict[Offset, dict[int, Offset]] = {}
    pairs = (pair for pair in combinations(_NEIGHBORS, 2) if any(map(sum, zip(*pair, strict=True))))
    for number, (start, end) in enumerate(pairs):
        way = tuple(e - s for s, e in zip(start, end, strict=True))
        back = tuple(-step for step in way)
        starts.setdefault(max(way, back), {})[number] = start if way > back else end
    return starts


_PAIRS = _neighbor_pairs()


def mind_ssc(image: Tensor, counted: Tensor | None = None) -> Tensor:
    """Self-similarity context of (B, 1, D, H, W), (B, 12, D, H, W) in (0, 1] (MIND-SSC, Heinrich et al. 2013).

    Squared patch distances (3³ voxels) between the pairs of the six neighbors two voxels away that do not oppose each
    other, less their minimum, divided by their mean (kept within 10⁻³ to 10³ of its mean over `counted`), through
    exp(−d). Edge values are repeated outside.
    """
    padded = edges_repeated(image, SELF_SIMILARITY_REACH, (2, 3, 4))
    by_pair = {number: part for pair in _PAIRS.items() for number, part in _distances(padded, *pair)}
    least = reduce(torch.minimum, by_pair.values())
    distances = torch.cat([by_pair[number] for number in sorted(by_pair)], dim=1).sub_(least)
    spread = distances.mean(dim=1, keepdim=True)
    typical = _mean(spread.detach(), counted).double() + 1e-12
    least_spread, most_spread = (factor * typical for factor in (1e-3, 1e3))
    return distances.div_(-spread.clamp(least_spread.to(spread), most_spread.to(spread))).exp_()


def _distances(padded: Tensor, way: Offset, starts: dict[int, Offset]) -> Iterator[tuple[int, Tensor]]:
    """Squared distances of the patches at each start and a way further, seen from every voxel: two for one sum."""
    here, there, ranges = [], [], []
    for axis, step in enumerate(way):
        least, most = (_DILATION * end(start[axis] for start in starts.values()) for end in (min, max))
        first, last = _DILATION + least, padded.shape[2 + axis] - _DILATION + most
        here.append(slice(first, last))
        there.append(slice(first + _DILATION * step, last + _DILATION * step))
        ranges.append((least, padded.shape[2 + axis] - 2 * SELF_SIMILARITY_REACH))
    sums = _patch_sums((_part(padded, there) - _part(padded, here)) ** 2)
    for number, start in starts.items():
        offsets = [_DILATION * step - least for step, (least, _) in zip(start, ranges, strict=True)]
        yield number, _part(sums, [slice(at, at + n) for at, (_, n) in zip(offsets, ranges, strict=True)])


def _part(values: Tensor, ranges: list[slice]) -> Tensor:
    z, y, x = ranges
    return values[..., z, y, x]


def _patch_sums(values: Tensor) -> Tensor:
    for axis in (2, 3, 4):
        n = values.shape[axis] - _PATCH + 1
        values = _running_sum(values, axis, _PATCH, n)
    return values


def _mean(values: Tensor, counted: Tensor | None) -> Tensor:
    if counted is None:
        return values.mean()
    return (values * (counted / counted.sum().clamp(min=1.0))).sum()


def box_sum(image: Tensor, size: int) -> Tensor:
    """Sum over size³ voxels around each voxel (size odd), zeros outside; one axis after the other, by doubling.

    Channel by channel, which the cache likes better than all at once.
    """
    if image.shape[1] > 1:
        return torch.cat([box_sum(channel, size) for channel in image.split(1, dim=1)], dim=1)
    for axis in (2, 3, 4):
        length = image.shape[axis]
        padding = [0] * 6
        padding[2 * (4 - axis)] = padding[2 * (4 - axis) + 1] = size // 2
        image = _running_sum(F.pad(image, padding), axis, size, length)
    return image


def _running_sum(padded: Tensor, axis: int, size: int, length: int) -> Tensor:
    """out[i] = padded[i] + ... + padded[i + size − 1], from sums of 1, 2, 4, ... neighbors."""
    parts = []
    power, start, width = padded, 0, 1
    while True:
        if size & width:
            parts.append(power.narrow(axis, start, length))
            start += width
        if 2 * width > size:
            break
        shorter = power.shape[axis] - width
        power = power.narrow(axis, 0, shorter) + power.narrow(axis, width, shorter)
        width *= 2
    if len(parts) == 1:
        return parts[0].clone()
    total = parts[0] + parts[1]
    for part in parts[2:]:
        total += part
    return total
