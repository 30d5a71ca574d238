"""Branching vessels: a tree that fills a lung, and tubes drawn into a volume of coverage."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from engine.phantom.sampling import FloatArray, IndexArray, Points
from engine.shapes import PointArray

_MURRAY = 0.38
"""Radius grows with this power of the number of tips fed (1 / 2.6; Murray's law has 1 / 3)."""
_VOXELS_AT_ONCE = 2_000_000


@dataclass(frozen=True)
class Tubes:
    """Straight pieces of tube: `start` and `end` (N, 3) in nominal mm, `radius_mm` (N,)."""

    start: PointArray
    end: PointArray
    radius_mm: PointArray

    def __add__(self, other: Tubes) -> Tubes:
        return Tubes(
            np.concatenate([self.start, other.start]),
            np.concatenate([self.end, other.end]),
            np.concatenate([self.radius_mm, other.radius_mm]),
        )


def polyline(points: ArrayLike, radius_mm: ArrayLike) -> Tubes:
    """A tube along points (N, 3), of one radius or of one for each piece."""
    corners = np.asarray(points, dtype=float)
    return Tubes(corners[:-1], corners[1:], np.broadcast_to(np.asarray(radius_mm, float), (len(corners) - 1,)))


def grow_tree(
    root: PointArray, tips: PointArray, tip_radius_mm: float, rng: np.random.Generator
) -> tuple[Tubes, PointArray, PointArray]:
    """A tree from `root` (3,) to every one of `tips` (N, 3).

    A branch runs part of the way to the middle of the tips it feeds, then splits them in two across their
    longest axis. Returns the tubes, the bifurcations (M, 3) and the radius (M,) of the branch that ends in each.
    """
    starts, ends, radii, forks, fork_radii = [], [], [], [], []
    pending = [(root, tips)]
    while pending:
        node, fed = pending.pop()
        radius = tip_radius_mm * len(fed) ** _MURRAY
        middle = fed.mean(axis=0)
        if len(fed) == 1:
            end = middle
        else:
            end = node + rng.uniform(0.3, 0.5) * (middle - node) + rng.normal(0, 1.5, 3)
            forks.append(end)
            fork_radii.append(radius)
            pending += [(end, half) for half in _split(fed, end)]
        starts.append(node)
        ends.append(end)
        radii.append(radius)
    tubes = Tubes(np.array(starts), np.array(ends), np.array(radii))
    return tubes, np.array(forks).reshape(-1, 3), np.array(fork_radii)


def _split(tips: PointArray, node: PointArray) -> tuple[PointArray, PointArray]:
    """Two halves across the axis along which the tips spread most, seen from the node."""
    offset = tips - tips.mean(axis=0)
    toward = tips.mean(axis=0) - node
    toward = toward / (np.linalg.norm(toward) + 1e-9)
    sideways = offset - 0.5 * (offset @ toward)[:, None] * toward
    axis = np.linalg.eigh(sideways.T @ sideways)[1][:, -1]
    order = np.argsort(offset @ axis, kind="stable")
    middle = len(tips) // 2
    return tips[order[:middle]], tips[order[middle:]]


def tube_coverage(points: Points, tubes: Tubes, edge_mm: float) -> FloatArray:
    """Share 0..1 of each voxel inside the tubes, their edges `edge_mm` wide; shape of the grid."""
    covered = np.zeros(points.shape, dtype=np.float32)
    reach = (tubes.radius_mm + edge_mm / 2)[:, None]
    low = np.minimum(tubes.start, tubes.end) - reach
    first, last = points.bounds(low, np.maximum(tubes.start, tubes.end) + reach)
    voxels = np.prod(np.maximum(last - first, 0), axis=1)
    batches = np.cumsum(voxels) // _VOXELS_AT_ONCE
    for batch in np.unique(batches[voxels > 0]):
        chosen = np.flatnonzero((batches == batch) & (voxels > 0))
        where, owner = _voxels_of_boxes(first[chosen], last[chosen])
        part = Tubes(tubes.start[chosen], tubes.end[chosen], tubes.radius_mm[chosen])
        np.maximum.at(covered, where, _shares(points, part, where, owner, edge_mm))
    return covered


def _voxels_of_boxes(first: IndexArray, last: IndexArray) -> tuple[tuple[IndexArray, ...], IndexArray]:
    """The indices z, y, x of every voxel of every box, and the box that each belongs to."""
    size = last - first
    counts = np.prod(size, axis=1)
    owner = np.repeat(np.arange(len(counts)), counts)
    rest = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    rest, x = np.divmod(rest, size[owner, 2])
    z, y = np.divmod(rest, size[owner, 1])
    return (first[owner, 0] + z, first[owner, 1] + y, first[owner, 2] + x), owner


def _shares(
    points: Points, tubes: Tubes, where: tuple[IndexArray, ...], owner: IndexArray, edge_mm: float
) -> FloatArray:
    """How much of each listed voxel lies inside the tube that owns it; thin tubes fill no voxel."""
    at = [np.broadcast_to(axis, points.shape)[where] for axis in (points.x, points.y, points.z)]
    start, along = tubes.start.astype(np.float32).T, (tubes.end - tubes.start).astype(np.float32).T
    length = np.sum(along * along, axis=0) + np.float32(1e-6)
    offset = [at[k] - start[k][owner] for k in range(3)]
    t = sum(offset[k] * (along[k] / length)[owner] for k in range(3))
    t = np.clip(t, 0, 1)
    distance = np.sqrt(sum(np.square(offset[k] - t * along[k][owner]) for k in range(3)))
    radius = tubes.radius_mm.astype(np.float32)
    share = np.clip((radius[owner] - distance) / np.float32(edge_mm) + np.float32(0.5), 0, 1)
    result: FloatArray = share * np.minimum(1, 2.2 * radius / np.float32(edge_mm))[owner]
    return result
