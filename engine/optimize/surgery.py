"""Gradient surgery: a step for the similarity that does not pay with smoothness, without a weight between them.

GSMorph (Dou et al. 2023) projects, layer by layer, the gradient of the similarity off that of the roughness where the
two conflict. The other rules are those it was compared with, and one that smooths as well; with a roughness budget the
step turns round once the field is rougher than the one it started from.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.errors import InputError

Rule = Callable[[Tensor, Tensor], Tensor]
"""From the gradients of similarity and roughness of one group (flat vectors) to the gradient to follow."""

SMALLEST_BUDGET = 0.003
"""Voxel². A field smoother than this (a zero field, say) may become this rough."""

_SLACK = 1.1
"""How far above the budget a state may lie and still be kept."""


def projected(similarity: Tensor, roughness: Tensor) -> Tensor:
    """g − ⟨g, r⟩ / |r|² · r where the two conflict, g itself where they do not or r is zero (GSMorph, eq. 3)."""
    return similarity - _conflict(similarity, roughness) * roughness


def _conflict(similarity: Tensor, roughness: Tensor) -> Tensor:
    """⟨g, r⟩ / |r|² where the two conflict, else zero; decided on the device, as everything here is."""
    inner, squared = torch.dot(similarity, roughness), torch.dot(roughness, roughness)
    return (inner / squared).masked_fill(~((inner < 0) & (squared > 0)), 0.0)


def symmetric(similarity: Tensor, roughness: Tensor) -> Tensor:
    """Sum of the two gradients, each projected off the other where they conflict (Yu et al. 2020, two tasks)."""
    return projected(similarity, roughness) + projected(roughness, similarity)


def equal_norm(similarity: Tensor, roughness: Tensor) -> Tensor:
    """g + |g| / |r| · r: descends on both unless they are opposite; g itself where r is zero."""
    return similarity + _ratio(similarity, roughness) * roughness


def _ratio(similarity: Tensor, roughness: Tensor) -> Tensor:
    """|g| / |r|, zero where r is."""
    norm = roughness.norm()
    ratio: Tensor = similarity.norm() / norm
    return ratio.masked_fill(~(norm > 0), 0.0)


class SignAgreement:
    """g where the signs of g and r agree, Gaussian noise where they do not (Mansilla et al. 2021, as in GSMorph).

    The standard deviation of the noise is the mean of |g| over the whole group, entries that disagree counted as zero.
    """

    def __init__(self, seed: int = 0) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def __call__(self, similarity: Tensor, roughness: Tensor) -> Tensor:
        """The gradient to follow; the same seed and calls give the same noise on every device."""
        agree = torch.sign(similarity) == torch.sign(roughness)
        scale = torch.where(agree, similarity.abs(), 0.0).mean()
        noise = torch.randn(similarity.shape, generator=self._generator, dtype=similarity.dtype)
        return torch.where(agree, similarity, scale * noise.to(similarity.device))


RULES: dict[str, Callable[[int], Rule]] = {
    "gsmorph": lambda seed: projected,
    "pcgrad": lambda seed: projected,
    "symmetric": lambda seed: symmetric,
    "agr": SignAgreement,
    "equal": lambda seed: equal_norm,
}
"""From a seed to a rule. `pcgrad` is the projection of the network's gradient as one vector, as GSMorph compares it."""


def layer_groups(parameters: Sequence[Tensor]) -> list[list[int]]:
    """Indices of parameters, each tensor of two dimensions or more with the vectors and scalars that follow it."""
    groups: list[list[int]] = []
    for index, parameter in enumerate(parameters):
        if parameter.dim() > 1 or not groups:
            groups.append([index])
        else:
            groups[-1].append(index)
    return groups


GROUPS: dict[str, Callable[[Sequence[Tensor]], list[list[int]]]] = {
    "tensor": lambda parameters: [[index] for index in range(len(parameters))],
    "module": layer_groups,
    "network": lambda parameters: [list(range(len(parameters)))],
}
"""What is one vector to a rule: a tensor (the authors' code), a layer (weight, bias and norm together), everything."""


@dataclass(frozen=True, slots=True)
class SurgeryStats:
    """How the two gradients stood to each other before surgery.

    `conflict_share`: share of the groups (0 to 1) whose gradients have a negative inner product. `mean_cosine`: mean
    over the groups in which both are finite and not zero, 0 where there is none. The norms are the network's.
    """

    conflict_share: float
    mean_cosine: float
    similarity_norm: float
    regularity_norm: float


class GradientSurgery:
    """Combines the gradients of two losses, for any network and any optimiser.

    `rule` is a row of `RULES`, `groups` a row of `GROUPS` (`pcgrad` always takes the network as one vector), `seed`
    feeds the noise of `agr`. Clipping and weight decay belong after surgery, un-scaling of mixed precision before it.

    Raises:
        InputError: no such rule or grouping.
    """

    def __init__(self, rule: str = "gsmorph", groups: str = "module", seed: int = 0) -> None:
        if rule not in RULES:
            raise InputError(f"Expected a rule of gradient surgery among {', '.join(RULES)}, got {rule!r}.")
        if groups not in GROUPS:
            raise InputError(f"Expected groups for gradient surgery among {', '.join(GROUPS)}, got {groups!r}.")
        self._rule = RULES[rule](seed)
        self._groups = GROUPS["network" if rule == "pcgrad" else groups]

    def backward(self, similarity: Tensor, regularity: Tensor, parameters: Sequence[Tensor]) -> SurgeryStats:
        """Put the combined gradients of two scalar losses into `.grad`; a group that is not finite gets zeros.

        Parameters that a loss does not reach count as zero there. Takes the place of `loss.backward()`.
        """
        pairs = _pairs(similarity, regularity, parameters, self._groups(parameters))
        for group, pair in pairs:
            _follow(self._rule(*pair), group)
        return _stats(torch.stack([_products(*pair) for _, pair in pairs]).tolist())


class BudgetSurgery:
    """Gradient surgery with a roughness budget, layer by layer.

    A layer is the parameters that belong to one module (weight and bias together), so that a scalar is never frozen by
    a projection in one dimension.
    """

    def __init__(self, reference_roughness: float, stiffness: float = 1.0) -> None:
        """`stiffness`: more than one asks for a smoother field than the reference, less allows a rougher one."""
        self.budget = max(reference_roughness, SMALLEST_BUDGET) / stiffness

    @property
    def highest_roughness(self) -> float:
        """What a state may have to be kept as the best."""
        return self.budget * _SLACK

    def rule(self, roughness: Tensor) -> Rule:
        """Projection while the field is no rougher than the budget, else the rule that smooths it too."""
        is_within = roughness.double() <= self.budget

        def combined(similarity: Tensor, regularity: Tensor) -> Tensor:
            less, more = _conflict(similarity, regularity), _ratio(similarity, regularity)
            return similarity + torch.where(is_within, -less, more) * regularity

        return combined

    def backward(self, similarity: Tensor, regularity: Tensor, roughness: Tensor, parameters: Sequence[Tensor]) -> None:
        """As `GradientSurgery.backward`, by the rule for a field of this roughness in voxel², without figures.

        Nothing is fetched from the device.
        """
        rule = self.rule(roughness.detach())
        for group, pair in _pairs(similarity, regularity, parameters, layer_groups(parameters)):
            _follow(rule(*pair), group)


def _pairs(
    similarity: Tensor, regularity: Tensor, parameters: Sequence[Tensor], groups: list[list[int]]
) -> list[tuple[list[Tensor], tuple[Tensor, Tensor]]]:
    """The parameters of each group, and the gradients of both losses as vectors."""
    of_similarity = gradients(similarity, parameters, keep_graph=True)
    of_regularity = gradients(regularity, parameters, keep_graph=False)
    return [
        (
            [parameters[i] for i in group],
            (_flat(of_similarity[i] for i in group), _flat(of_regularity[i] for i in group)),
        )
        for group in groups
    ]


def _follow(combined: Tensor, parameters: Sequence[Tensor]) -> None:
    """Make it the gradient of a group, or zeros where it is not finite."""
    _scatter(combined.masked_fill(~torch.isfinite(combined).all(), 0.0), parameters)


def gradients(loss: Tensor, parameters: Sequence[Tensor], keep_graph: bool = False) -> list[Tensor]:
    """Of a loss by each parameter, zeros where it does not reach one."""
    found = torch.autograd.grad(loss, parameters, retain_graph=keep_graph, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def _flat(gradients: Iterable[Tensor]) -> Tensor:
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


def _scatter(flat: Tensor, parameters: Sequence[Tensor]) -> None:
    start = 0
    for parameter in parameters:
        parameter.grad = flat[start : start + parameter.numel()].view_as(parameter).clone()
        start += parameter.numel()


def _products(similarity: Tensor, regularity: Tensor) -> Tensor:
    """⟨g, r⟩, |g|, |r|, on the device: the numbers of all groups are fetched at once."""
    return torch.stack([torch.dot(similarity, regularity), similarity.norm(), regularity.norm()])


def _stats(products: list[list[float]]) -> SurgeryStats:
    cosines = [inner / (g * r) for inner, g, r in products if g * r > 0 and math.isfinite(inner / (g * r))]
    return SurgeryStats(
        conflict_share=sum(inner < 0 for inner, _, _ in products) / max(len(products), 1),
        mean_cosine=sum(cosines) / max(len(cosines), 1),
        similarity_norm=math.hypot(*(g for _, g, _ in products)),
        regularity_norm=math.hypot(*(r for _, _, r in products)),
    )
