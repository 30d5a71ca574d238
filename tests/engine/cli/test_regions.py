from __future__ import annotations

import json
from pathlib import Path

import pytest

from engine.cli import main
from engine.io.case_folder import open_case
from engine.roi import Box

STEPS = ["--align", "none", "--model", "none", "--threads", "1"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regions")
    phantom = folder / "phantom"
    assert main(["phantom", "--out", str(phantom), "--size", "40", "36", "28", "--spacing", "7.5", "8", "9"]) == 0
    pair = [str(phantom / "fixed.nii.gz"), str(phantom / "moving.nii.gz")]
    assert main(["register", *pair, "--out", str(folder / "results"), *STEPS]) == 0
    return folder / "results"


def test_boxes_with_their_reasons(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "regions.json"
    capsys.readouterr()
    assert main(["regions", str(results), "--count", "2", "--size", "70", "--threads", "1", "--out", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()
    regions = json.loads(out.read_text(encoding="utf-8"))["regions"]
    assert len(lines) == len(regions) == 2
    shape = open_case(results / "case").fixed.geometry.shape_zyx
    for line, region in zip(lines, regions, strict=True):
        Box.parse(region["box"]).checked(shape)
        assert line.startswith(f"{region['box']}  about {region['expected_error_mm']:.1f} mm  ")
        assert line.endswith(region["reason"])
        assert isinstance(region["has_structure"], bool)
    assert regions[0]["expected_error_mm"] >= regions[1]["expected_error_mm"]


@pytest.mark.parametrize(("option", "value"), [("--count", "0"), ("--size", "2")])
def test_unusable_wishes(
    option: str, value: str, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "regions.json"
    assert main(["regions", str(results), option, value, "--out", str(out)]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert not out.exists()


def test_not_a_case(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["regions", str(tmp_path)]) == 1
    assert "CASE:" in capsys.readouterr().err
