from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from engine.progress import STOP, finish
from engine.training import artefacts
from engine.training.artefacts import artefact_bank


def _brighter(hu, spacing_mm, rng, projections, photons):
    return hu + np.float32(projections) + np.float32(rng.integers(2))


def test_a_bank_holds_what_was_added_to_images_cut_to_one_size(monkeypatch):
    monkeypatch.setattr(artefacts, "fdk_cone_beam", _brighter)
    monkeypatch.setattr(artefacts, "reconstructing", lambda: ThreadPoolExecutor(1))
    images = [np.full((6, 8, 10), 0.5, np.float32), np.full((8, 7, 12), 0.6, np.float32)]
    bank = finish(artefact_bank(images, 2.7, 3, (40,), seed=1))
    again = finish(artefact_bank(images, 2.7, 3, (40,), seed=1))
    assert (bank.shape, bank.dtype) == ((3, 6, 7, 10), np.float16)
    np.testing.assert_array_equal(bank, again)
    assert set(np.round(bank.astype(float).ravel() * 2000)) <= {40.0, 41.0}


def test_stop_keeps_what_there_is(monkeypatch):
    monkeypatch.setattr(artefacts, "fdk_cone_beam", _brighter)
    monkeypatch.setattr(artefacts, "reconstructing", lambda: ThreadPoolExecutor(1))
    job = artefact_bank([np.zeros((4, 4, 4), np.float32)], 2.7, 5, (40,), seed=1)
    next(job)
    with pytest.raises(StopIteration) as end:
        job.send(STOP)
    assert len(end.value.value) == 1
