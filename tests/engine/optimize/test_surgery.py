from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from engine.errors import InputError
from engine.optimize.surgery import (
    GROUPS,
    RULES,
    SMALLEST_BUDGET,
    BudgetSurgery,
    GradientSurgery,
    SignAgreement,
    equal_norm,
    gradients,
    layer_groups,
    projected,
    symmetric,
)


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
    within, beyond = (
        surgery.rule(torch.tensor(surgery.budget * factor, dtype=torch.float64)) for factor in (1, 1 + 1e-12)
    )
    for seed in range(4):
        vectors = _vectors(seed, conflict=seed < 2)
        assert torch.equal(within(*vectors), projected(*vectors))
        assert torch.equal(beyond(*vectors), equal_norm(*vectors))
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

    BudgetSurgery(0.01).backward(*_losses(layers), torch.tensor(0.01), layers)

    assert [layer.grad.tolist() for layer in layers] == [[[0.0], [0.0]], [1.0], [[1.0, 2.0]]]


def test_beyond_the_budget_every_layer_is_smoothed_as_well() -> None:
    """Layer one: (3, 0 | 1) + √10 · (−1, 0 | 0); layer two: (1, 2) + √5 / √2 · (1, 1)."""
    layers = _layers()

    BudgetSurgery(0.01).backward(*_losses(layers), torch.tensor(0.02), layers)

    flat = torch.cat([layer.grad.flatten() for layer in layers])
    expected = torch.tensor([3 - 10**0.5, 0.0, 1.0, 1 + 2.5**0.5, 2 + 2.5**0.5])
    torch.testing.assert_close(flat, expected)


def test_a_gradient_that_is_no_number_moves_nothing_and_leaves_other_layers_alone() -> None:
    layers = _layers()
    similarity, roughness = _losses(layers)

    BudgetSurgery(0.01).backward(similarity + float("nan") * layers[0].sum(), roughness, torch.zeros(()), layers)

    assert not layers[0].grad.any()
    assert not layers[1].grad.any()
    assert layers[2].grad.tolist() == [[1.0, 2.0]]


def test_a_parameter_that_a_loss_does_not_reach_counts_as_zero_there() -> None:
    layers = _layers()

    BudgetSurgery(0.01).backward(layers[0].sum(), layers[2].sum() + 0 * layers[0].sum(), torch.zeros(()), layers)

    assert [layer.grad.tolist() for layer in layers] == [[[1.0], [1.0]], [0.0], [[0.0, 0.0]]]


def test_a_small_step_lowers_the_similarity_and_raises_the_roughness_at_most_to_second_order() -> None:
    """S = |p − a|², R = |p|²: along a step of length h, R rises by h² and no more."""
    parameter = torch.tensor([[1.0, 0.5], [-0.3, 0.2]], dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[2.0, 1.5], [-1.3, 0.9]], dtype=torch.float64)
    similarity, roughness = ((parameter - target) ** 2).sum(), (parameter**2).sum()
    assert torch.dot((parameter - target).flatten(), parameter.flatten()) < 0

    BudgetSurgery(1.0).backward(similarity, roughness, torch.tensor(0.5), [parameter])
    step = 1e-3 * parameter.grad
    after = parameter.detach() - step

    assert ((after - target) ** 2).sum() < similarity
    assert (after**2).sum().item() - roughness.item() == pytest.approx(step.square().sum().item(), rel=1e-6)


def test_the_symmetric_rule_by_hand() -> None:
    """(1, 0) and (−1, 1): each loses its part along the other, (½, ½) + (0, 1)."""
    assert symmetric(torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 1.0])).tolist() == [0.5, 1.5]


def test_entries_that_agree_in_sign_are_kept_to_the_bit_and_the_others_become_noise() -> None:
    similarity, roughness = _vectors(3, conflict=True)

    result = SignAgreement(seed=1)(similarity, roughness)

    agree = torch.sign(similarity) == torch.sign(roughness)
    assert 0 < agree.sum() < agree.numel()
    assert torch.equal(result[agree], similarity[agree])
    assert not torch.eq(result[~agree], similarity[~agree]).any()


def test_the_noise_has_the_mean_size_of_what_agrees_with_zeros_for_the_rest() -> None:
    """Half of the entries agree, each of size 3: s.d. 1.5; 20,000 draws give it within 2 %."""
    similarity = torch.full((40_000,), 3.0)
    roughness = torch.ones(40_000)
    roughness[::2] = -1.0

    noise = SignAgreement(seed=5)(similarity, roughness)[::2]

    assert noise.std().item() == pytest.approx(1.5, rel=0.02)
    assert abs(noise.mean().item()) < 0.05


def test_the_noise_repeats_with_its_seed_and_goes_on_within_a_run() -> None:
    vectors = _vectors(3, conflict=True)
    first, second, other = SignAgreement(1), SignAgreement(1), SignAgreement(2)

    once, again = first(*vectors), first(*vectors)

    assert torch.equal(once, second(*vectors))
    assert not torch.equal(once, again)
    assert not torch.equal(once, other(*vectors))


def _network() -> tuple[list[Tensor], Tensor, Tensor]:
    """Parameters of two layers with norms, and two losses that share a graph."""
    generator = torch.Generator().manual_seed(4)
    network = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Conv2d(3, 2, 3)).double()
    parameters = list(network.parameters())
    with torch.no_grad():
        for parameter in parameters:
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    image = torch.randn((2, 1, 8, 8), generator=generator, dtype=torch.float64)
    target = torch.randn((2, 2, 4, 4), generator=generator, dtype=torch.float64)
    out = network(image)
    return parameters, (out - target).square().mean(), torch.diff(out, dim=2).square().mean()


def test_two_passes_sum_to_the_gradient_of_the_sum() -> None:
    parameters, similarity, regularity = _network()
    expected = torch.autograd.grad(similarity + regularity, parameters, retain_graph=True)

    parts = [gradients(loss, parameters, keep_graph=True) for loss in (similarity, regularity)]

    for total, first, second in zip(expected, *parts, strict=True):
        torch.testing.assert_close(first + second, total, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("groups", GROUPS)
def test_every_group_is_projected_on_its_own(groups: str) -> None:
    parameters, similarity, regularity = _network()
    of_similarity, of_regularity = (gradients(loss, parameters, keep_graph=True) for loss in (similarity, regularity))

    stats = GradientSurgery("gsmorph", groups).backward(similarity, regularity, parameters)

    conflicts = 0
    for group in GROUPS[groups](parameters):
        g, r, found = (
            torch.cat([tensors[i].flatten() for i in group])
            for tensors in (of_similarity, of_regularity, [parameter.grad for parameter in parameters])
        )
        conflicts += int(torch.dot(g, r) < 0)
        assert torch.equal(found, projected(g, r))
    assert stats.conflict_share == conflicts / len(GROUPS[groups](parameters))


def test_pcgrad_is_the_projection_of_the_whole_network_whatever_the_groups() -> None:
    found = []
    for surgery in (GradientSurgery("pcgrad", "tensor"), GradientSurgery("gsmorph", "network")):
        parameters, similarity, regularity = _network()
        surgery.backward(similarity, regularity, parameters)
        found.append(torch.cat([parameter.grad.flatten() for parameter in parameters]))

    assert torch.equal(*found)


def test_a_group_of_one_tensor_is_the_tensor() -> None:
    assert GROUPS["module"]([torch.zeros(2, 2)]) == GROUPS["tensor"]([torch.zeros(2, 2)]) == [[0]]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_fills_the_gradients(rule: str) -> None:
    layers = _layers()

    GradientSurgery(rule).backward(*_losses(layers), layers)

    assert all(layer.grad.shape == layer.shape and layer.grad.isfinite().all() for layer in layers)


def test_the_figures_of_surgery_by_hand() -> None:
    """Layer one: (3, 0 | 1) against (−1, 0 | 0), cosine −3 / √10; layer two: (1, 2) against (1, 1), 3 / √10."""
    layers = _layers()

    stats = GradientSurgery("gsmorph", "module").backward(*_losses(layers), layers)

    assert stats.conflict_share == 0.5
    assert stats.mean_cosine == pytest.approx(0.0, abs=1e-6)
    assert stats.similarity_norm == pytest.approx(15**0.5)
    assert stats.regularity_norm == pytest.approx(3**0.5)


def test_without_a_roughness_gradient_there_is_no_cosine() -> None:
    layers = _layers()
    similarity, _ = _losses(layers)

    stats = GradientSurgery().backward(similarity, 0 * layers[0].sum(), layers)

    assert (stats.conflict_share, stats.mean_cosine, stats.regularity_norm) == (0.0, 0.0, 0.0)


@pytest.mark.parametrize("names", [("projection", "module"), ("gsmorph", "layer")])
def test_unknown_names_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="gradient surgery"):
        GradientSurgery(*names)
