"""Artefacts of cone-beam reconstructions, made once and added to training images by chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from engine.phantom.fdk import fdk_cone_beam, reconstructing
from engine.progress import STOP, Job, Progress
from engine.shapes import HuArray

_HIGHEST = 1.0


def artefact_bank(
    images: Sequence[HuArray], spacing_mm: float, count: int, projections: Sequence[int], seed: int
) -> Job[NDArray[np.float16]]:
    """What `count` cone-beam reconstructions added to clean images in turn, (count, D, H, W).

    Images and artefacts are normalised values, (HU + 1000) / 2000, on an isotropic grid. Views are drawn from
    `projections`; all images are cut to the smallest size among them.
    """
    shape = tuple(int(n) for n in np.min([image.shape for image in images], axis=0))
    bank = np.zeros((count, *shape), dtype=np.float16)
    with reconstructing() as pool:
        for number in range(count):
            rng = np.random.default_rng([seed, number])
            clean_hu = _center(images[number % len(images)], shape) * 2000.0 - 1000.0
            views, photons = int(rng.choice(projections)), 10 ** rng.uniform(3.7, 4.9)
            found = pool.submit(fdk_cone_beam, clean_hu, spacing_mm, rng, views, photons).result()
            bank[number] = np.clip((found - clean_hu) / 2000.0, -_HIGHEST, _HIGHEST)
            if (yield Progress("cone-beam artefacts", number + 1, count)) is STOP:
                return bank[: number + 1]
    return bank


def _center(image: HuArray, shape: tuple[int, ...]) -> HuArray:
    starts = [(n - m) // 2 for n, m in zip(image.shape, shape, strict=True)]
    return np.ascontiguousarray(image[tuple(slice(s, s + m) for s, m in zip(starts, shape, strict=True))])
