from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engine.optimize.surgery import SMALLEST_BUDGET, BudgetSurgery, equal_norm, layer_groups, projected


def _vectors(seed: int, conflict: bool) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    similarity, roughness = torch.randn(2, 11, generator=generator, dtype=torch.float64)
    sign = torch.sign(torch.dot(similarity, roughness)) * (-1 if conflict else 1)
    return similarity, sign * roughness


def test_a_projection_by_hand() -> None:
    """g = (3, 1), r = (−1, 0): the inner product is −3, g + 3 / 1 · r = (0, 1)."""
    assert projected(torch.tensor([3.0, 1.0]), torch.tensor([-1.0, 0.0])).tolist() == [0.0, 1.0]


@pytest.mark.parametrize("seed", range(4))
def test_after_a_conflict_nothing_is_paid_with_smoothness(seed: int) -> None:
    similarity, roughness = _vectors(seed, conflict=True)

    result = projected(similarity, roughness)

    assert abs(torch.cosine_similarity(result, roughness, dim=0)) < 1e-6
    assert torch.dot(result, similarity) >= 0
    removed = similarity - result
    assert abs(torch.cosine_similarity(removed, roughness, dim=0)) == pytest.approx(1.0)


@pytest.mark.parametrize("rule", [projected, equal_norm])
def test_without_a_roughness_gradient_the_similarity_is_followed_to_the_bit(rule) -> None:
    similarity, roughness = _vectors(1, conflict=True)

    assert torch.equal(rule(similarity, torch.zeros_like(roughness)), similarity)


def test_without_a_conflict_the_similarity_is_followed_to_the_bit() -> None:
    similarity, roughness = _vectors(2, conflict=False)

    assert torch.equal(projected(similarity, roughness), similarity)


def test_a_single_number_in_conflict_is_frozen() -> None:
    assert projected(torch.tensor([2.0]), torch.tensor([-0.25])).tolist() == [0.0]


def test_equal_norms_by_hand() -> None:
    """|g| = 5, |r| = 2: (3, 4) + 2.5 · (0, −2)."""
    assert equal_norm(torch.tensor([3.0, 4.0]), torch.tensor([0.0, -2.0])).tolist() == [3.0, -1.0]


@pytest.mark.parametrize("conflict", [True, False])
@pytest.mark.parametrize("seed", range(4))
def test_the_sum_of_equal_norms_descends_on_both(seed: int, conflict: bool) -> None:
    similarity, roughness = _vectors(seed, conflict)

    result = equal_norm(similarity, roughness)

    assert torch.dot(result, similarity) > 0
    assert torch.dot(result, roughness) > 0


@pytest.mark.parametrize("reference", [0.0, 0.02])
def test_the_rule_changes_exactly_at_the_budget(reference: float) -> None:
    surgery = BudgetSurgery(reference)

    assert surgery.budget == max(reference, SMALLEST_BUDGET)
    assert surgery.rule(surgery.budget) is projected
    assert surgery.rule(surgery.budget * (1 + 1e-12)) is equal_norm
    assert surgery.highest_roughness == pytest.approx(1.1 * surgery.budget)


def test_a_layer_is_a_weight_with_its_bias_and_what_follows() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.PReLU(), nn.Conv3d(2, 2, 1, bias=False), nn.Linear(3, 2))

    assert layer_groups(list(network.parameters())) == [[0, 1, 2], [3], [4, 5]]


def test_scalars_before_the_first_layer_stay_together() -> None:
    parameters = [torch.zeros(4), torch.zeros(()), torch.zeros(2, 2), torch.zeros(2)]

    assert layer_groups(parameters) == [[0, 1], [2, 3]]


def _layers() -> list[Tensor]:
    """Two layers: a weight (2 × 1) with a bias, and a weight (1 × 2) alone."""
    values = [[[1.0], [2.0]], [3.0], [[4.0, 5.0]]]
    return [torch.tensor(value, requires_grad=True) for value in values]


def _losses(layers: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Linear, so that their gradients are the factors: (3, 0 | 1) and (1, 2) against (−1, 0 | 0) and (1, 1)."""
    weight, bias, other = layers
    similarity = 3 * weight[0, 0] + bias[0] + other[0, 0] + 2 * other[0, 1]
    return similarity, -weight[0, 0] + other.sum()


def test_the_gradients_of_two_losses_are_combined_layer_by_layer() -> None:
    """Within the budget: layer one loses its part along r, (0, 0 | 1); layer two has no conflict, (1, 2)."""
    layers = _layers()

    BudgetSurgery(0.01).backward(*_losses(layers), 0.01, layers)

    assert [layer.grad.tolist() for layer in layers] == [[[0.0], [0.0]], [1.0], [[1.0, 2.0]]]


def test_beyond_the_budget_every_layer_is_smoothed_as_well() -> None:
    """Layer one: (3, 0 | 1) + √10 · (−1, 0 | 0); layer two: (1, 2) + √5 / √2 · (1, 1)."""
    layers = _layers()

    BudgetSurgery(0.01).backward(*_losses(layers), 0.02, layers)

    flat = torch.cat([layer.grad.flatten() for layer in layers])
    expected = torch.tensor([3 - 10**0.5, 0.0, 1.0, 1 + 2.5**0.5, 2 + 2.5**0.5])
    torch.testing.assert_close(flat, expected)


def test_a_gradient_that_is_no_number_moves_nothing_and_leaves_other_layers_alone() -> None:
    layers = _layers()
    similarity, roughness = _losses(layers)

    BudgetSurgery(0.01).backward(similarity + float("nan") * layers[0].sum(), roughness, 0.0, layers)

    assert not layers[0].grad.any()
    assert not layers[1].grad.any()
    assert layers[2].grad.tolist() == [[1.0, 2.0]]


def test_a_parameter_that_a_loss_does_not_reach_counts_as_zero_there() -> None:
    layers = _layers()

    BudgetSurgery(0.01).backward(layers[0].sum(), layers[2].sum() + 0 * layers[0].sum(), 0.0, layers)

    assert [layer.grad.tolist() for layer in layers] == [[[1.0], [1.0]], [0.0], [[0.0, 0.0]]]


def test_a_small_step_lowers_the_similarity_and_raises_the_roughness_at_most_to_second_order() -> None:
    """S = |p − a|², R = |p|²: along a step of length h, R rises by h² and no more."""
    parameter = torch.tensor([[1.0, 0.5], [-0.3, 0.2]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[2.0, 1.5], [-1.3, 0.9]], dtype=torch.float64)
    similarity, roughness = ((parameter - target) ** 2).sum(), (parameter**2).sum()
    assert torch.dot((parameter - target).flatten(), parameter.flatten()) < 0

    BudgetSurgery(1.0).backward(similarity, roughness, 0.5, [parameter])
    step = 1e-3 * parameter.grad
    after = parameter.detach() - step

    assert ((after - target) ** 2).sum() < similarity
    assert (after**2).sum().item() - roughness.item() == pytest.approx(step.square().sum().item(), rel=1e-6)
