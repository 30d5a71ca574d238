from __future__ import annotations

import numpy as np
import pytest
import torch

from engine.errors import InputError
from engine.models.morph2d import ConditionalMorph2d, Morph2d
from engine.optimize.surgery import GradientSurgery
from engine.progress import STOP, finish
from engine.training.cardiac import phantom_pair
from engine.training.morph2d import SMOOTHNESS, Morph2dSettings, SampledWeight, WeightedSum, train_morph2d

PAIRS = [phantom_pair(5, index, 32) for index in range(3)]


def _network() -> Morph2d:
    torch.manual_seed(1)
    return Morph2d()


@pytest.mark.parametrize("combination", [WeightedSum(0.01), GradientSurgery("gsmorph", "tensor")])
def test_training_lowers_the_difference(combination: WeightedSum | GradientSurgery) -> None:
    settings = Morph2dSettings(steps=8, batch=3)
    notes: list[str] = []

    network = finish(
        train_morph2d(_network(), combination, PAIRS, settings), lambda progress: notes.append(progress.note)
    )

    errors = [float(note.split()[1].rstrip(",")) for note in notes]
    assert errors[-1] < 0.9 * errors[0]
    assert not network.training
    assert ("conflict" in notes[-1]) == isinstance(combination, GradientSurgery)


def test_two_trainings_give_the_same_bits() -> None:
    settings = Morph2dSettings(steps=2, batch=2, smoothness="l2")
    first, second = (
        finish(train_morph2d(_network(), GradientSurgery("agr"), PAIRS, settings)).state_dict() for _ in range(2)
    )

    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_training_can_be_stopped() -> None:
    job = train_morph2d(_network(), WeightedSum(1.0), PAIRS, Morph2dSettings(steps=50, batch=2))
    next(job)

    with pytest.raises(StopIteration) as end:
        job.send(STOP)
    assert not end.value.value.training


def test_a_weighted_sum_by_hand() -> None:
    """3 p + 0.5 · p²: 3 + p at p = 4."""
    p = torch.tensor([4.0], requires_grad=True)

    WeightedSum(0.5).backward(3 * p.sum(), p.square().sum(), [p])

    assert p.grad.tolist() == [7.0]


def test_a_sampled_weight_by_hand_and_a_new_one_after_it() -> None:
    """(1 − 0.75) / 0.05² · 3 + 0.75 · 8 = 306."""
    network, p = ConditionalMorph2d(), torch.tensor([4.0], requires_grad=True)
    sampled = SampledWeight(network)
    network.weight = 0.75

    sampled.backward(3 * p.sum(), p.square().sum(), [p])

    assert p.grad.tolist() == [pytest.approx(306.0)]
    assert network.weight != 0.75


def test_weights_are_uniform_and_one_time_in_five_at_an_end() -> None:
    """2,000 draws: the share of the ends is 0.2 and the mean 0.5, each within five standard errors."""
    network, p = ConditionalMorph2d(), torch.zeros(1, requires_grad=True)
    sampled = SampledWeight(network, seed=3)
    weights = []
    for _ in range(2000):
        sampled.backward(p.sum(), p.sum(), [p])
        weights.append(network.weight)

    assert np.mean([weight in (0.0, 1.0) for weight in weights]) == pytest.approx(0.2, abs=0.045)
    assert np.mean(weights) == pytest.approx(0.5, abs=0.04)
    assert 0.0 <= min(weights) < max(weights) <= 1.0


def test_a_conditional_network_learns_through_its_condition() -> None:
    torch.manual_seed(0)
    network = ConditionalMorph2d()

    finish(train_morph2d(network, SampledWeight(network), PAIRS, Morph2dSettings(steps=2, batch=2)))

    assert network.film[-1].weight.any()


def test_nothing_to_train_on_and_unknown_smoothness_are_refused() -> None:
    with pytest.raises(InputError, match="at least one pair"):
        finish(train_morph2d(_network(), WeightedSum(1.0), [], Morph2dSettings()))
    with pytest.raises(InputError, match=", ".join(SMOOTHNESS)):
        finish(train_morph2d(_network(), WeightedSum(1.0), PAIRS, Morph2dSettings(smoothness="tv")))
