from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from engine.training.card import TrainingReport, card, write_report
from engine.training.curves import Row
from engine.training.settings import TrainingSettings


@pytest.fixture
def report() -> TrainingReport:
    return TrainingReport(
        TrainingSettings(batch=3, devices=2, seed=41, supervision="both", rule="gsmorph"),
        1600,
        1550,
        856_416,
        2,
        24,
        1,
        12,
        4800.0,
        "CPU, 2 threads",
        3.97,
        9.31,
        [Row(50, 1.5, 0.25, 0.5, None)],
    )


def test_the_card_is_a_table_that_tells_data_seed_steps_machine_and_figures(report) -> None:
    lines = card(report).splitlines()

    assert lines[0] == "# Model card: `weights.safetensors`"
    assert lines[2:4] == ["| | |", "|---|---|"]
    assert all(line.startswith("| ") and line.count(" | ") == 1 and line.endswith(" |") for line in lines[4:])
    told = card(report)
    for figure in (
        "856,416",
        "2.7 mm",
        "2 images",
        "24 random phantoms",
        "half and half",
        "1 groups",
        "12 cone-beam",
        "gsmorph",
        "seed 41",
        "1600 steps",
    ):
        assert figure in told
    for figure in ("step 1550", "6 crops of 64×64×80", "80 minutes", "CPU, 2 threads", "3.97 mm", "9.31 mm"):
        assert figure in told


def test_what_was_not_validated_has_no_figures(report) -> None:
    assert "none were looked at" in card(replace(report, validation_error_mm=None))


def test_report_and_card_lie_beside_the_weights(report, tmp_path: Path) -> None:
    write_report(report, tmp_path)

    read = json.loads((tmp_path / "report.json").read_text())
    assert (tmp_path / "weights.md").read_text() == card(report)
    assert (read["settings"]["seed"], read["steps_done"], read["machine"]) == (41, 1600, "CPU, 2 threads")
    assert read["history"] == [{"step": 50, "loss": 1.5, "roughness": 0.25, "conflict_share": 0.5, "error_mm": None}]
