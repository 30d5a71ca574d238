from __future__ import annotations

from dataclasses import replace

import pytest

from engine.errors import InputError
from engine.training.settings import TrainingSettings, trade_off


@pytest.mark.parametrize(
    "change",
    [
        {"supervision": "hope"},
        {"rule": "none"},
        {"precision": "fp8"},
        {"steps": 0},
        {"batch": 0},
        {"validate_every": 0},
        {"devices": 0},
        {"weight": -1.0},
        {"weight": float("nan")},
        {"patience": -1},
        {"seed": -1},
        {"learning_rate": 0.0},
        {"crop_zyx": (32, 33, 32)},
        {"crop_zyx": (32, 16, 32)},
    ],
)
def test_a_setting_that_cannot_be_trained_with_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match="Expected"):
        replace(TrainingSettings(), **change)


@pytest.mark.parametrize(
    ("asked", "meant"),
    [
        (("field", None, None), ("weighted", 0.0)),
        (("similarity", None, None), ("gsmorph", 0.0)),
        (("both", None, None), ("gsmorph", 0.0)),
        (("similarity", "weighted", None), ("weighted", 1.0)),
        (("similarity", None, 0.3), ("weighted", 0.3)),
        (("field", "agr", None), ("agr", 0.0)),
    ],
)
def test_what_is_left_open_is_filled_in(asked: tuple, meant: tuple) -> None:
    assert trade_off(*asked) == meant


def test_gradient_surgery_takes_no_weight() -> None:
    with pytest.raises(InputError, match="no weight"):
        trade_off("field", "pcgrad", 0.1)


def test_a_run_may_go_on_longer_and_with_more_patience_but_not_otherwise() -> None:
    settings = TrainingSettings()
    started_with = settings.as_dict()

    replace(settings, steps=9000, patience=7, workers=3).refuse_other(started_with)
    with pytest.raises(InputError, match=r"learning rate 0\.001, now it is 0\.002") as refused:
        replace(settings, learning_rate=0.002).refuse_other(started_with)

    assert "\n" not in str(refused.value)
