"""SyN (Avants et al. 2008) on pairs of 2-D images: run as a script by a Python that has antspyx, imported by nobody.

    python ants_syn.py PAIRS.npz RESULT.npz SEED

PAIRS holds `fixed` and `moving` (N, H, W), RESULT `displacement_px` (N, 2, H, W), components row, col, and `seconds`.
"""

from __future__ import annotations

import sys
import time

import ants  # type: ignore[import-not-found]
import numpy as np


def main(source: str, target: str, seed: str) -> None:
    """Register all pairs. An image's first array axis is the first axis to ANTs, so components need no change."""
    pairs = np.load(source)
    displacements, seconds = [], []
    for fixed, moving in zip(pairs["fixed"], pairs["moving"], strict=True):
        started = time.perf_counter()
        found = ants.registration(
            fixed=ants.from_numpy(fixed),
            moving=ants.from_numpy(moving),
            type_of_transform="SyNOnly",
            initial_transform="Identity",
            syn_metric="CC",
            syn_sampling=4,
            reg_iterations=(100, 70, 50),
            random_seed=int(seed),
        )
        field = ants.image_read(found["fwdtransforms"][0]).numpy()
        seconds.append(time.perf_counter() - started)
        displacements.append(np.moveaxis(field, -1, 0).astype(np.float32))
    np.savez(target, displacement_px=np.stack(displacements), seconds=np.array(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
