from __future__ import annotations

from dataclasses import replace

import pytest

from app.panels.history import describe
from engine.case import Case


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, "RSO 1, 40 it. · 100 HU · 0.5 s"),
        ({"fit": "balanced"}, "RSO 1, 40 it. · 100 HU · 0.5 s"),
        ({"fit": "closer"}, "RSO 1, 40 it., closer · 100 HU · 0.5 s"),
    ],
)
def test_a_state_says_what_it_came_from(volumes, make_step, settings, expected):
    start = Case.new(*volumes).current
    assert describe(start, 0) == "Start"
    assert describe(start.after(replace(make_step("rso 1", 40), settings=settings)), 1) == expected
