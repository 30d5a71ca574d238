from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.cli.slice_methods import figures, predicted, still
from engine.errors import InputError
from engine.models.morph2d import ConditionalMorph2d, Morph2d, SliceMorph
from engine.models.weights import load_weights
from engine.training.cardiac import cine_pairs, phantom_pair
from resources import path


def _images() -> tuple[Tensor, Tensor]:
    moving, fixed = torch.rand((2, 2, 1, 32, 48), generator=torch.Generator().manual_seed(0))
    return moving, fixed


def test_the_network_is_that_of_the_paper() -> None:
    parameters = list(Morph2d().parameters())

    assert sum(parameter.numel() for parameter in parameters) == 1_968_002
    assert len(parameters) == 75


@pytest.mark.parametrize("build", [Morph2d, ConditionalMorph2d])
def test_it_starts_without_displacement(build: type[Morph2d | ConditionalMorph2d]) -> None:
    torch.manual_seed(0)
    network = build()

    for training in (True, False):
        displacement = network.train(training)(*_images())
        assert displacement.shape == (2, 2, 32, 48)
        assert displacement.abs().max() < 1e-3


def test_the_moving_image_comes_first() -> None:
    network, (moving, fixed) = Morph2d().eval(), _images()
    with torch.no_grad():
        network.stem.weight[:, 1] = 0.0

    assert torch.equal(network(moving, fixed), network(moving, torch.zeros_like(fixed)))
    assert not torch.equal(network(moving, fixed), network(torch.zeros_like(moving), fixed))


def test_condition_and_network_have_the_sizes_that_are_told() -> None:
    network = ConditionalMorph2d()

    assert sum(parameter.numel() for parameter in network.film.parameters()) == 97_856
    assert sum(parameter.numel() for parameter in network.parameters()) == 1_968_002 + 97_856


def test_a_fresh_condition_changes_nothing_and_a_trained_one_does() -> None:
    torch.manual_seed(0)
    network, images = ConditionalMorph2d().eval(), _images()
    network.weight = 0.25
    quarter = network(*images)
    assert torch.equal(quarter, network.network(*images))

    torch.nn.init.normal_(network.film[-1].weight, std=0.1)
    at_quarter = network(*images)
    network.weight = 0.75
    assert not torch.equal(at_quarter, network(*images))


def test_a_modulation_scales_and_shifts_the_channels_of_its_block() -> None:
    """Scale −1 and shift 2 in the last block: the flow layer sees 2 everywhere."""
    network, images = Morph2d().eval(), _images()
    widths = (16, 32, 64, 128, 256, 128, 64, 32, 16)
    modulation = [torch.zeros(2 * width) for width in widths]
    modulation[-1] = torch.cat([torch.full((16,), -1.0), torch.full((16,), 2.0)])

    found = network(*images, tuple(modulation))

    torch.testing.assert_close(found, network.flow(torch.full((2, 16, 32, 48), 2.0)))


def test_sides_that_cannot_be_halved_four_times_are_refused() -> None:
    image = torch.zeros(1, 1, 32, 40)

    with pytest.raises(InputError, match="multiples of 16"):
        Morph2d()(image, image)


def test_a_volume_is_registered_slice_by_slice_on_any_scale() -> None:
    """More slices than go at once; the values of one image are stretched and shifted."""
    torch.manual_seed(3)
    flat, sliced = Morph2d().eval(), SliceMorph().eval()
    torch.nn.init.normal_(flat.flow.weight, std=0.1)
    sliced.load_state_dict(flat.state_dict())
    moving, fixed = torch.rand(2, 1, 1, 35, 32, 48)

    with torch.no_grad():
        found = sliced(300.0 * moving - 40.0, fixed)
        expected = flat(_unit(moving[:, :, 34]), _unit(fixed[:, :, 34]))

    assert found.shape == (1, 3, 35, 32, 48)
    assert not found[:, 0].any()
    torch.testing.assert_close(found[:, 1:, 34], expected, atol=1e-3, rtol=1e-3)


def _unit(image: torch.Tensor) -> torch.Tensor:
    return (image - image.min()) / (image.max() - image.min())


@pytest.fixture(scope="module")
def shipped() -> Morph2d:
    network = Morph2d()
    load_weights(network, path("gsmorph-cine.safetensors"))
    return network.eval()


def test_the_weights_that_ship_register_hearts_that_no_training_saw(shipped: Morph2d) -> None:
    """A seed that neither training nor validation uses; 59 % before."""
    pairs = [phantom_pair(2, index, 64) for index in range(8)]

    after = figures(pairs, [predicted(shipped, pair) for pair in pairs])

    assert after.dice > figures(pairs, [still(pair) for pair in pairs]).dice + 0.15
    assert after.folding_percent < 0.5


def test_the_weights_that_ship_register_real_hearts(shipped: Morph2d, data: Path) -> None:
    pairs = cine_pairs(data / "cine_mri", 64)

    after = figures(pairs, [predicted(shipped, pair) for pair in pairs])

    assert after.dice > figures(pairs, [still(pair) for pair in pairs]).dice + 0.04
    assert after.folding_percent < 0.5
