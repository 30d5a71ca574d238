import pytest
import torch
from torch import Tensor, nn

from engine.models.fast_conv import FastConv3d, with_fast_convolutions

SMALL = (1, 4, 9, 7, 10)
MANY_ROWS = (1, 32, 26, 26, 5)
"""32 · 26 · 26 is just above the 20480 at which torch changes its path."""
BATCH = (3, 4, 6, 7, 8)


def _pair(channels: int, **options: int) -> tuple[FastConv3d, nn.Conv3d]:
    fast, plain = FastConv3d(channels, 5, 3, **options), nn.Conv3d(channels, 5, 3, **options)
    plain.load_state_dict(fast.state_dict())
    return fast, plain


@pytest.mark.parametrize("shape", [SMALL, MANY_ROWS, BATCH])
@pytest.mark.parametrize("options", [{"padding": 1}, {"padding": 1, "stride": 2}, {"bias": False}])
def test_it_is_the_convolution_of_torch(shape: tuple[int, ...], options: dict[str, int]) -> None:
    """Sums of up to 864 products of order 0.1 in float32."""
    fast, plain = _pair(shape[1], **options)
    image = torch.randn(shape, generator=torch.Generator().manual_seed(3))

    with torch.no_grad():
        torch.testing.assert_close(fast(image), plain(image), atol=1e-5, rtol=1e-5)
    for ours, theirs in zip(_gradients(fast, image), _gradients(plain, image), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-4 * float(theirs.abs().max()), rtol=0)


def _gradients(layer: nn.Module, image: Tensor) -> list[Tensor]:
    image = image.clone().requires_grad_()
    return list(torch.autograd.grad(layer(image).square().sum(), [image, *layer.parameters()]))


def test_exchanging_the_convolutions_keeps_the_weights() -> None:
    network = nn.Sequential(nn.Conv3d(1, 2, 3), nn.Sequential(nn.Conv3d(2, 1, 1)), nn.ConvTranspose3d(1, 1, 2))
    before = list(network.parameters())

    same = with_fast_convolutions(network)

    assert same is network
    assert [type(m) for m in (network[0], network[1][0], network[2])] == [FastConv3d, FastConv3d, nn.ConvTranspose3d]
    assert all(now is then for now, then in zip(network.parameters(), before, strict=True))
