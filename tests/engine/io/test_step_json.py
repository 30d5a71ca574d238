import json
import math

import pytest

from engine.io.step_json import step_as_dict, step_from_dict
from engine.registration import Step


def test_a_full_step_has_the_keys_of_the_contract(steps: tuple[Step, Step]) -> None:
    assert step_as_dict(steps[1]) == {
        "name": "rso 1",
        "settings": {"box": "1:4,2:9,3:7", "by": "field"},
        "iterations": 100,
        "seconds": 2.5,
        "rmse_hu": 75.25,
        "folding_percent": 0.125,
        "min_jacobian": 0.375,
        "roughness": 0.0625,
        "box": "1:4,2:9,3:7",
        "box_rmse_hu_before": 90.5,
        "box_rmse_hu_after": 60.25,
        "certificate": {
            "max_change_outside_mm": 0.0,
            "new_folds": 0,
            "seam_gradient_jump": 0.03125,
            "box_error_grew": False,
            "passed": True,
            "scaled_by_fold_guard": 0.5,
        },
        "notes": ["a note"],
    }


def test_what_a_step_does_not_have_is_left_out(steps: tuple[Step, Step]) -> None:
    values = step_as_dict(steps[0])

    assert not {"box", "box_rmse_hu_before", "box_rmse_hu_after", "certificate", "notes"} & set(values)
    assert values["settings"] == {"method": "rigid"}


@pytest.mark.parametrize("which", [0, 1])
def test_a_step_survives_json(steps: tuple[Step, Step], which: int) -> None:
    text = json.dumps(step_as_dict(steps[which]), allow_nan=False)

    assert step_from_dict(json.loads(text)) == steps[which]


def test_a_figure_that_is_no_number_is_left_out_and_comes_back_as_none_known() -> None:
    step = Step("iso", {"weight": None, "lr": math.inf}, 1, 0.5, math.nan, 0.0, 1.0, 0.0)

    values = step_as_dict(step)

    assert "rmse_hu" not in values
    assert values["settings"] == {}
    assert math.isnan(step_from_dict(values).rmse_hu)


@pytest.mark.parametrize(
    "values", [{}, {"name": "iso"}, {"name": "iso", "settings": {}, "iterations": "x", "seconds": 1}]
)
def test_what_is_no_step_is_refused(values: dict[str, object]) -> None:
    with pytest.raises((KeyError, TypeError, ValueError)):
        step_from_dict(values)
