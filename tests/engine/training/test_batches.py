from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import torch

from engine.models.pyramid import MatchingPyramid
from engine.training.batches import Batch, TrainingData, batches, validation_batch, with_guess
from engine.training.settings import TrainingSettings


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [value for column in fields(batch) if (value := getattr(batch, column.name)) is not None]


def same(first: Batch, second: Batch) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors(first), tensors(second), strict=True))


def test_the_batch_of_a_step_is_the_same_however_the_run_came_there(data: TrainingData, settings) -> None:
    whole = list(batches(data, settings, 0))
    rest = list(batches(data, settings, 2))

    assert len(whole) == 4
    assert [same(a, b) for a, b in zip(whole[2:], rest, strict=True)] == [True, True]
    assert not same(whole[0], whole[1])


def test_workers_change_nothing(data: TrainingData, quick) -> None:
    alone, helped = list(batches(data, quick, 0)), list(batches(data, replace(quick, workers=1), 0))

    assert [same(a, b) for a, b in zip(alone, helped, strict=True)] == [True, True]


def test_two_processes_see_together_what_one_with_twice_the_batch_sees(data: TrainingData, quick) -> None:
    both = list(batches(data, replace(quick, batch=2), 0))
    first, second = (list(batches(data, quick, 0, rank, 2)) for rank in (0, 1))

    for whole, a, b in zip(both, first, second, strict=True):
        assert torch.equal(whole.fixed, torch.cat([a.fixed, b.fixed]))
        assert torch.equal(whole.moving, torch.cat([a.moving, b.moving]))


def test_a_synthetic_batch_is_corrupted_for_the_network_and_clean_for_the_loss(data: TrainingData, quick) -> None:
    batch = next(batches(data, quick, 0))

    assert {tuple(t.shape) for t in tensors(batch)} == {(1, 1, 32, 32, 32), (1, 3, 32, 32, 32)}
    assert not torch.equal(batch.fixed, batch.clean_fixed)
    assert not torch.equal(batch.moving, batch.clean_moving)


def test_every_other_step_shows_a_real_pair_unless_only_fields_are_compared(paired: TrainingData, settings) -> None:
    def known(supervision: str) -> list[bool]:
        asked = replace(settings, supervision=supervision)
        return [batch.displacement_vox is not None for batch in batches(paired, asked, 0)]

    assert known("field") == [True] * 4
    assert known("similarity") == known("both") == [True, False, True, False]


def test_no_step_sees_a_validation_pair(data: TrainingData, settings) -> None:
    shown = validation_batch(data, settings, 0)

    assert not any(same(shown, batch) for batch in batches(data, settings, 0))
    assert same(shown, validation_batch(data, replace(settings, seed=5, steps=9), 0))


def test_few_images_come_as_often_as_many_phantoms() -> None:
    one, two, *phantoms = (np.full((2, 2, 2), k, np.float32) for k in range(7))

    assert [int(image[0, 0, 0]) for image in TrainingData([one, two], phantoms).anatomies] == [
        0,
        1,
        0,
        1,
        0,
        2,
        3,
        4,
        5,
        6,
    ]
    assert len(TrainingData([one, two], phantoms[:1]).anatomies) == 3


def test_the_fingerprint_tells_data_apart(paired: TrainingData) -> None:
    other = [image.copy() for image in paired.real]
    other[1][3, 4, 5] += 1e-3
    again = TrainingData([image.copy() for image in paired.real], groups=paired.groups)

    assert again.fingerprint() == paired.fingerprint()
    differing = [TrainingData(other, groups=paired.groups), TrainingData(paired.real), TrainingData([], paired.real)]
    assert len({paired.fingerprint(), *(data.fingerprint() for data in differing)}) == 4


def test_an_unknown_field_stays_unknown_on_another_device(paired: TrainingData, settings: TrainingSettings) -> None:
    real = next(batches(paired, replace(settings, steps=2, supervision="both"), 1))

    assert real.to("cpu").displacement_vox is None
    assert same(real.to("cpu"), real)


def test_artefacts_are_for_the_network_to_see_and_not_for_the_loss(data: TrainingData, settings) -> None:
    streaks = np.random.default_rng(0).normal(0, 0.5, (2, 64, 64, 64)).astype(np.float16)
    spoilt = TrainingData(data.real, artefacts=streaks)

    pairs = [[validation_batch(of, settings, index) for of in (data, spoilt)] for index in range(10)]

    assert any(among.fixed.std() > 1.2 * without.fixed.std() for without, among in pairs)
    assert all(torch.equal(without.clean_fixed, among.clean_fixed) for without, among in pairs)
    assert spoilt.fingerprint() != data.fingerprint()


def test_a_voxel_counts_by_how_near_the_first_guess_is(data: TrainingData, settings: TrainingSettings) -> None:
    batch = validation_batch(data, settings, 0)
    assert batch.displacement_vox is not None
    network = MatchingPyramid((4, 4), (1, 1), 4, guided=True)

    found = with_guess(batch, network)

    assert found.guess is not None
    miss = (found.guess - batch.displacement_vox).norm(dim=1, keepdim=True)
    torch.testing.assert_close(found.weight * (1 + miss**2), batch.weight)
    assert with_guess(batch, MatchingPyramid((4, 4), (1, 1), 4)).weight is batch.weight
