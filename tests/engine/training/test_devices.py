"""Several processes train as one would with a batch as large as all of theirs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import Tensor

from engine.errors import InputError
from engine.optimize.surgery import GradientSurgery
from engine.training import devices
from engine.training.devices import Team


def with_other(value: Tensor) -> Tensor:
    """The mean with a process that found twice as much."""
    return 1.5 * value


def test_a_loss_is_replaced_by_one_with_the_mean_gradient_of_all_processes() -> None:
    weight, unused = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), torch.ones(2, requires_grad=True)
    loss = (weight**2).sum()

    (agreed,) = Team(size=2, mean=with_other).agreed([loss], [weight, unused])
    agreed.backward()

    assert weight.grad is not None
    assert weight.grad.tolist() == [[3.0, 6.0], [9.0, 12.0]]
    assert unused.grad is not None
    assert unused.grad.tolist() == [0.0, 0.0]


def test_gradients_are_averaged_before_surgery() -> None:
    """Own gradients (1, 0) and (−1, 1); the other process finds (0, 2) more of the second: the mean (−1, 2)."""
    parameter = torch.zeros(1, 2, requires_grad=True)
    own = [(parameter * torch.tensor(g)).sum() for g in ([1.0, 0.0], [-1.0, 1.0])]
    means = iter([torch.tensor([1.0, 0.0]), torch.tensor([-1.0, 2.0])])
    team = Team(size=2, mean=lambda values: next(means))

    GradientSurgery("gsmorph").backward(*team.agreed(own, [parameter]), [parameter])

    assert parameter.grad is not None
    np.testing.assert_allclose(parameter.grad, [[0.8, 0.4]], rtol=1e-6)  # (1, 0) + 1/5 · (−1, 2)


def test_one_process_alone_keeps_its_losses() -> None:
    loss = torch.ones((), requires_grad=True)

    assert Team().agreed([loss], [loss])[0] is loss


def test_several_devices_without_fabric_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)

    with pytest.raises(InputError, match="lightning-fabric"):
        devices.launch("cpu", 2)


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["weighted", "gsmorph"])
def test_two_processes_find_the_weights_of_one_with_twice_the_batch(rule: str, anatomies, tmp_path: Path) -> None:
    """Adam divides each gradient by its size, so rounding turns small ones over: how far the weights are apart is
    compared with how far a process goes that is left to itself.
    """
    pytest.importorskip("lightning_fabric", reason="needs lightning-fabric: pip install 'regard[train]'")
    image = sitk.GetImageFromArray(2000 * anatomies[0] - 1000)
    image.SetSpacing((2.7, 2.7, 2.7))
    sitk.WriteImage(image, str(tmp_path / "ct.mha"))

    def trained(name: str, *options: str) -> Tensor:
        command = [sys.executable, "-m", "app.command", "train", "--data", str(tmp_path / "ct.mha"), "--steps", "3"]
        command += ["--crop", "32", "32", "32", "--rule", rule, "--workers", "0", "--device", "cpu", "--threads", "1"]
        command += ["--validation-pairs", "0"]
        subprocess.run(
            [*command, "--out", str(tmp_path / name), *options], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
        )
        state = torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["network"]
        return torch.cat([state[key].reshape(-1) for key in state])

    alone, together = trained("alone", "--batch", "2"), trained("together", "--batch", "1", "--devices", "2")
    left_to_itself = trained("left", "--batch", "1")

    assert (together - alone).norm() < 0.05 * (left_to_itself - alone).norm()
