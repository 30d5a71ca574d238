"""MONAI takes seconds to import, hence one fixture for all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

SHAPE = (32, 32, 48)


@pytest.fixture(scope="module")
def paper() -> nn.Module:
    from engine.models.unet import PaperUNet

    torch.manual_seed(0)
    return PaperUNet().eval()


@pytest.fixture(scope="module")
def stable() -> nn.Module:
    from engine.models.unet import StableUNet

    torch.manual_seed(0)
    return StableUNet().eval()


def _pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return torch.rand(1, 1, *SHAPE, generator=generator), torch.rand(1, 1, *SHAPE, generator=generator)


def test_the_paper_s_network_has_its_number_of_parameters(paper: nn.Module) -> None:
    """As counted on MONAI's own UNet with instance normalisation."""
    sizes = [parameter.numel() for parameter in paper.parameters()]

    assert (sum(sizes), len(sizes)) == (4_808_346, 63)


@torch.no_grad()
def test_the_stable_network_starts_at_the_identity(stable: nn.Module) -> None:
    displacement = stable(*_pair())

    assert displacement.shape == (1, 3, *SHAPE)
    assert displacement.abs().max() < 1e-3


@torch.no_grad()
def test_the_paper_s_network_tells_moving_from_fixed(paper: nn.Module) -> None:
    moving, fixed = _pair()

    displacement = paper(moving, fixed)

    assert displacement.shape == (1, 3, *SHAPE)
    torch.testing.assert_close(displacement, paper.unet(torch.cat([fixed, moving], dim=1)))
    assert not torch.allclose(displacement, paper(fixed, moving))
