from __future__ import annotations

import torch

from engine.optimize.adam import Adam


def test_steps_are_those_of_torch() -> None:
    """Five steps on a bowl and on a tensor that gets no gradient; single precision rounds differently at 1e-6."""
    start = torch.linspace(-2.0, 3.0, 7)
    ours, theirs, idle = start.clone().requires_grad_(), start.clone().requires_grad_(), torch.ones(2)
    adam, reference = Adam([ours, idle], 0.3), torch.optim.Adam([theirs], lr=0.3)
    for _ in range(5):
        for tensor, optimizer in ((ours, adam), (theirs, reference)):
            tensor.grad = None
            (tensor**2 + tensor).sum().backward()
            optimizer.step()

    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    assert torch.equal(idle, torch.ones(2))
