"""`regard train` from the command line to the weights."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from engine.cli import main
from engine.models import load_network

TINY = ["--crop", "32", "32", "32", "--batch", "1", "--workers", "0", "--device", "cpu", "--threads", "1"]
TINY += ["--validation-pairs", "1"]


pytestmark = pytest.mark.usefixtures("torch_as_before")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two images of one patient, and something else."""
    folder = tmp_path_factory.mktemp("archive")
    (folder / "Secret^Name").mkdir()
    z, y, x = np.meshgrid(*(np.linspace(0, 9, n) for n in (48, 52, 50)), indexing="ij")
    for number in range(2):
        hu = 600 * np.sin(x + y + 0.2 * number) * np.cos(z - 0.5 * y) - 200
        image = sitk.GetImageFromArray(hu.astype(np.float32))
        image.SetSpacing((2.7, 2.7, 2.7))
        sitk.WriteImage(image, str(folder / "Secret^Name" / f"{number}.mha"))
    (folder / "Secret^Name" / "broken.nii.gz").write_text("words")
    return folder


def test_a_network_is_trained_reported_and_used(archive: Path, tmp_path: Path, capsys) -> None:
    options = ["--supervision", "both", "--steps", "2", "--validate-every", "2", "--model", "unet-stable"]

    assert main(["train", "--data", str(archive), "--out", str(tmp_path), *TINY, *options]) == 0

    assert {path.name for path in tmp_path.iterdir()} == {
        *("checkpoint.pt", "weights.safetensors", "weights.md", "report.json", "progress.csv", "curves.png")
    }
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["images"], report["groups"], report["settings"]["rule"]) == (2, 1, "gsmorph")
    told = capsys.readouterr().out
    assert "2 images, 1 groups of the same patient" in told
    assert "passed over 1" in told
    written = told + (tmp_path / "report.json").read_text() + (tmp_path / "weights.md").read_text()
    assert "Secret" not in written
    network = load_network(f"unet-stable={tmp_path / 'weights.safetensors'}")
    assert any(parameter.abs().max() > 0 for parameter in network.parameters())


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ([], "at least one image"),
        (["--data", "NOTHING"], "--data: Expected"),
        (["--model", "nonsense", "--phantoms", "1"], "Expected a model among"),
        (["--model", "convex", "--data", "IMAGE"], "no weights to train"),
        (["--steps", "0"], "steps"),
        (["--phantoms", "-1"], "negative"),
        (["--rule", "gsmorph", "--weight", "1"], "no weight"),
        (["--crop", "30", "32", "32"], "30×32×32"),
        (["--data", "IMAGE", "--from", "NOTHING"], "weights"),
        (["--data", "IMAGE", "--artefacts", "NOTHING"], "--artefacts: Expected"),
        (["--data", "IMAGE", "--artefacts", "IMAGE"], "--artefacts: Expected"),
    ],
)
def test_what_cannot_be_trained_is_one_line(options: list[str], told: str, archive: Path, tmp_path, capsys) -> None:
    places = {"NOTHING": str(tmp_path / "nothing"), "IMAGE": str(archive / "Secret^Name" / "0.mha")}
    options = [places.get(option, option) for option in options]

    assert main(["train", "--out", str(tmp_path / "out"), *TINY, *options]) == 1

    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert told in lines[0]
    assert not (tmp_path / "out").exists()


def test_a_run_with_other_settings_is_refused_and_one_with_more_steps_goes_on(archive: Path, tmp_path, capsys) -> None:
    command = ["train", "--data", str(archive / "Secret^Name" / "0.mha"), "--out", str(tmp_path), *TINY]
    assert main([*command, "--steps", "1"]) == 0
    before = (tmp_path / "checkpoint.pt").read_bytes()

    assert main([*command, "--steps", "1", "--seed", "5"]) == 1
    assert "seed 0, now it is 5" in capsys.readouterr().err
    assert (tmp_path / "checkpoint.pt").read_bytes() == before
    assert main([*command, "--steps", "2", "--patience", "3"]) == 0
    assert json.loads((tmp_path / "report.json").read_text())["steps_done"] == 2


@pytest.mark.slow
def test_a_run_killed_at_any_moment_ends_with_the_same_bits(archive: Path, tmp_path: Path) -> None:
    """Killed twice in a process of its own, whenever it happens to be, then finished here."""
    image = str(archive / "Secret^Name" / "0.mha")
    command = ["train", "--data", image, *TINY, "--steps", "6", "--validate-every", "1"]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    table = tmp_path / "parts" / "progress.csv"
    for rows in (1, 3):
        started = subprocess.Popen(
            [sys.executable, "-m", "app.command", *command, "--out", str(tmp_path / "parts")],
            stdout=subprocess.DEVNULL,
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        while started.poll() is None and (not table.exists() or len(table.read_text().splitlines()) <= rows):
            time.sleep(0.01)
        time.sleep(random.random())
        started.send_signal(signal.SIGKILL)
        started.wait()

    assert main([*command, "--out", str(tmp_path / "parts")]) == 0

    whole, parts = (
        torch.load(tmp_path / name / "checkpoint.pt", weights_only=True)["network"] for name in ("whole", "parts")
    )
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    for name in ("weights.safetensors", "progress.csv", "curves.png"):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()
    assert {path.name for path in (tmp_path / "parts").iterdir()} == {
        path.name for path in (tmp_path / "whole").iterdir()
    }
