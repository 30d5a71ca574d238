from __future__ import annotations

import pytest
import torch

from engine.errors import DeviceError, InputError
from engine.runtime import DEVICES, Runtime, available_cores, device_name

pytestmark = pytest.mark.usefixtures("torch_as_before")


@pytest.fixture
def _no_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_runtime_sets_threads_and_seed(threads: int) -> None:
    runtime = Runtime("cpu", seed=5, threads=threads)

    assert runtime.torch_device() == torch.device("cpu")
    first = torch.rand(4)
    runtime.torch_device()

    assert torch.get_num_threads() == threads
    assert torch.equal(first, torch.rand(4))
    assert torch.equal(first, torch.rand(4, generator=torch.Generator().manual_seed(5)))


def test_without_a_number_every_core_gets_a_thread() -> None:
    assert Runtime().thread_count == available_cores() >= 1


@pytest.mark.usefixtures("_no_cuda")
def test_auto_is_the_cpu_where_there_is_no_cuda() -> None:
    assert Runtime("auto", threads=1).torch_device().type == "cpu"
    assert device_name() == f"CPU, {available_cores()} threads"


@pytest.mark.usefixtures("_no_cuda")
def test_cuda_that_is_not_there_is_refused() -> None:
    with pytest.raises(DeviceError, match="found none"):
        Runtime("cuda").torch_device()


@pytest.mark.parametrize("settings", [{"device": "tpu"}, {"threads": 0}, {"threads": -2}])
def test_bad_settings_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InputError, match="Expected"):
        Runtime(**settings)


def test_every_device_has_a_name() -> None:
    assert all(device_name(device) for device in DEVICES)
