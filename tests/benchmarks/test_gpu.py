"""The command itself, at a size that the CPU takes in seconds."""

from __future__ import annotations

import sys
from pathlib import Path

import gpu
import pytest
import torch


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(sys, "argv", ["gpu.py"])

    with pytest.raises(SystemExit) as end:
        gpu.main()

    assert end.value.code == 2
    assert "found none" in capsys.readouterr().err


def test_both_ways_of_both_steps_are_timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    small = "--size 36 36 30 --spacing 3 3 3.4 --box 8 --iso 1 --rso 1 --threads 1"
    arguments = ["gpu.py", "--device", "cpu", *small.split(), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", arguments)
    gpu.main()

    rows = (tmp_path / "gpu.md").read_text(encoding="utf-8").splitlines()[6:]
    assert [[cell.strip() for cell in row.split("|")[1:3]] for row in rows] == [
        ["iso 1", "plain"],
        ["iso 1", "Regard"],
        ["rso 1 1", "plain"],
        ["rso 1 1", "Regard"],
    ]
    assert all("| yes |" in row for row in rows)
