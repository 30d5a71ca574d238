from __future__ import annotations

from pathlib import Path

import pytest

from engine.cli import main
from engine.models import MODELS


def test_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == list(MODELS)


@pytest.mark.parametrize("name", MODELS)
def test_every_model_has_a_card(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", name]) == 0
    card = capsys.readouterr().out
    assert card.startswith("# Model card: ")
    assert all(f"| {row}" in card for row in ("What it is", "Meant for", "Not meant for"))
    assert name in card
    assert ("## When Regard warns" in card) == (MODELS[name].domain is not None)


def test_the_card_beside_weights_of_one_s_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.md").write_text("# My legs\n", encoding="utf-8")
    assert main(["models", f"general={tmp_path / 'mine.safetensors'}"]) == 0
    assert capsys.readouterr().out == "# My legs\n\n"


@pytest.mark.parametrize(
    ("name", "expected"), [("vgg", "among general"), ("general=nothing.safetensors", "card beside the weights")]
)
def test_no_card(name: str, expected: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", name]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert expected in captured.err
