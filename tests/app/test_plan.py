from __future__ import annotations

from dataclasses import replace

import pytest

from app.plan import missing_steps, outcome_text
from engine.case import Case
from engine.roi import Box

BOX = Box(2, 9, 3, 8, 1, 6)


@pytest.mark.parametrize(
    ("done", "missing"),
    [
        ([], ("align", "general", "iso")),
        (["align"], ("general", "iso")),
        (["align", "general"], ("iso",)),
        (["align", "iso"], ()),
        (["align", "rso 1"], ("iso",)),
        (["align", "general", "iso", "rso 1"], ()),
    ],
)
def test_what_is_missing_never_goes_back_over_what_was_done(volumes, make_step, done, missing):
    state = Case.new(*volumes).current
    for name in done:
        state = state.after(make_step(name))
    assert missing_steps(state) == missing


def test_a_finished_step_is_told_in_one_line(volumes, make_step):
    case = Case.new(*volumes)
    case = case.after(case.current.after(make_step("align")))
    assert outcome_text("Align", case) == "Align: 100 HU"
    better = replace(make_step("iso"), rmse_hu=80.0, folding_percent=0.0125)
    case = case.after(case.current.after(better))
    assert outcome_text("Image (ISO)", case) == "Image (ISO): 100 → 80 HU, folding 0.013 %"
    step = make_step("rso 1", box=BOX)
    refined = case.after(case.current.after(step))
    assert outcome_text("Heart", refined) == "Heart: 90 → 60 HU in the box, certificate passed"
    broken = replace(step, certificate=replace(step.certificate, passed=False), notes=("nothing better found",))
    refined = case.after(case.current.after(broken))
    assert outcome_text("Heart", refined).endswith("certificate NOT passed, nothing better found")
