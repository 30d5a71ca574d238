import pytest
import torch
from torch import nn

from engine.optimize.parametrize import CONVOLUTIONS_IN, ControlGrid, NetworkChange, _precision

CPU = torch.device("cpu")


@pytest.mark.parametrize("shape", [(9, 10, 13), (2, 7, 5)])
@pytest.mark.parametrize("stride", [2, 4])
def test_control_points_start_at_no_motion_and_count_cells(shape: tuple[int, int, int], stride: int) -> None:
    """A third of a cell everywhere is a third of `stride` voxels everywhere."""
    control = ControlGrid(shape, stride, CPU)
    assert not control.residual().any()

    with torch.no_grad():
        control.parameters()[0].fill_(1 / 3)

    torch.testing.assert_close(control.residual(), torch.full((1, 3, *shape), stride / 3))


def test_control_points_add_to_where_they_start() -> None:
    start = torch.randn(1, 3, 9, 10, 13, generator=torch.Generator().manual_seed(0))

    assert torch.equal(ControlGrid((9, 10, 13), 4, CPU, start).residual(), start)


def test_control_points_are_smoothed_twice() -> None:
    """Two means over 3³ of a single point: 1 2 3 2 1 over 9 along each axis, times the stride of 2."""
    control = ControlGrid((13, 13, 13), 2, CPU)

    with torch.no_grad():
        control.parameters()[0][0, 1, 3, 3, 3] = 1.0
    residual = control.residual()

    assert residual[0, 1, 6, 6, 6].item() == pytest.approx(2 / 27)
    assert residual[0, 1, 6, 6, 10].item() == pytest.approx(2 / 81)
    assert not residual[0, [0, 2]].any()


class _Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(2, 3, 3, padding=1)

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        return self.layer(torch.cat([moving, fixed], dim=1))


def test_a_network_changes_nothing_before_its_first_step() -> None:
    torch.manual_seed(1)
    network = _Tiny()
    moving, fixed = torch.rand(2, 1, 1, 6, 7, 8)
    change = NetworkChange(network, moving, fixed, cut=lambda u: u[..., :5])

    assert change.learning_rate == 3e-4, "Bai et al. 2022"
    assert change.residual().shape == (1, 3, 6, 7, 5)
    assert not change.residual().any()

    with torch.no_grad():
        network.layer.bias.add_(torch.tensor([0.5, -1.0, 2.0]))

    expected = torch.tensor([0.5, -1.0, 2.0]).view(1, 3, 1, 1, 1).expand(1, 3, 6, 7, 5)
    torch.testing.assert_close(change.residual(), expected, atol=1e-5, rtol=0)


class _Layers(nn.Module):
    """Says in which precision its convolution and what follows it computed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Conv3d(2, 3, 3, padding=1)
        self.seen: list[torch.dtype] = []

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        features = self.layer(torch.cat([moving, fixed], dim=1))
        self.seen.append(features.dtype)
        return features


def test_lower_precision_ends_at_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its displacement, its weights and their gradients are float32, and it still begins at no motion."""
    monkeypatch.setitem(CONVOLUTIONS_IN, "cpu", torch.bfloat16)
    network = _Layers()
    change = NetworkChange(network, *torch.rand(2, 1, 1, 6, 7, 8))
    residual = change.residual()
    (gradient,) = torch.autograd.grad(residual.sum(), [network.layer.weight])

    assert network.seen == [torch.bfloat16] * 2
    assert (residual.dtype, gradient.dtype) == (torch.float32, torch.float32)
    assert not residual.any()


@pytest.mark.parametrize(("supported", "expected"), [(True, torch.bfloat16), (False, None)])
def test_a_gpu_without_bfloat16_keeps_float32(
    supported: bool, expected: torch.dtype | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: supported)

    assert _precision("cuda") == expected
    assert _precision("cpu") is None
