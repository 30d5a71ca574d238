"""Gradient surgery: a step for the similarity that does not pay with smoothness, without a weight between them.

GSMorph (Dou et al. 2023) projects, layer by layer, the gradient of the similarity off that of the roughness where the
two conflict. With a roughness budget it also turns round once the field is rougher than the one it started from.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

Rule = Callable[[Tensor, Tensor], Tensor]
"""From the gradients of similarity and roughness of one group (flat vectors) to the gradient to follow."""

SMALLEST_BUDGET = 0.003
"""Voxel². A field smoother than this (a zero field, say) may become this rough."""

_SLACK = 1.1
"""How far above the budget a state may lie and still be kept."""


def projected(similarity: Tensor, roughness: Tensor) -> Tensor:
    """g − ⟨g, r⟩ / |r|² · r where the two conflict, g itself where they do not or r is zero (GSMorph, eq. 3)."""
    inner = torch.dot(similarity, roughness)
    squared = torch.dot(roughness, roughness)
    if inner >= 0 or squared == 0:
        return similarity
    return similarity - inner / squared * roughness


def equal_norm(similarity: Tensor, roughness: Tensor) -> Tensor:
    """g + |g| / |r| · r: descends on both unless they are opposite; g itself where r is zero."""
    norm = roughness.norm()
    if norm == 0:
        return similarity
    ratio: Tensor = similarity.norm() / norm
    return similarity + ratio * roughness


class BudgetSurgery:
    """Gradient surgery with a roughness budget, layer by layer.

    A layer is the parameters that belong to one module (weight and bias together), so that a scalar is never frozen by
    a projection in one dimension.
    """

    def __init__(self, reference_roughness: float) -> None:
        self.budget = max(reference_roughness, SMALLEST_BUDGET)

    @property
    def highest_roughness(self) -> float:
        """What a state may have to be kept as the best."""
        return self.budget * _SLACK

    def rule(self, roughness: float) -> Rule:
        """Projection while the field is no rougher than the budget, else the rule that smooths it too."""
        return projected if roughness <= self.budget else equal_norm

    def backward(self, similarity: Tensor, regularity: Tensor, roughness: float, parameters: list[Tensor]) -> None:
        """Put the combined gradients into `.grad`; parameters that a loss does not reach count as zero there."""
        of_similarity = _gradients(similarity, parameters, keep_graph=True)
        of_regularity = _gradients(regularity, parameters, keep_graph=False)
        rule = self.rule(roughness)
        for group in layer_groups(parameters):
            combined = rule(_flat(of_similarity[i] for i in group), _flat(of_regularity[i] for i in group))
            if not torch.isfinite(combined).all():
                combined = torch.zeros_like(combined)
            _scatter(combined, [parameters[i] for i in group])


def layer_groups(parameters: list[Tensor]) -> list[list[int]]:
    """Indices of parameters, each tensor of two dimensions or more with the vectors and scalars that follow it."""
    groups: list[list[int]] = []
    for index, parameter in enumerate(parameters):
        if parameter.dim() > 1 or not groups:
            groups.append([index])
        else:
            groups[-1].append(index)
    return groups


def _gradients(loss: Tensor, parameters: list[Tensor], keep_graph: bool) -> list[Tensor]:
    found = torch.autograd.grad(loss, parameters, retain_graph=keep_graph, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for g, p in zip(found, parameters, strict=True)]


def _flat(gradients: Iterable[Tensor]) -> Tensor:
    return torch.cat([gradient.reshape(-1) for gradient in gradients])


def _scatter(flat: Tensor, parameters: list[Tensor]) -> None:
    start = 0
    for parameter in parameters:
        parameter.grad = flat[start : start + parameter.numel()].view_as(parameter).clone()
        start += parameter.numel()
