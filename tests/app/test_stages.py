from __future__ import annotations

import pytest

from app.stages import Status, stages
from engine.case import Case


def status_of(case, boxes=0, exported=False, has_fixed=True):
    rows = stages(case, has_fixed, boxes, exported)
    following = [row.name for row in rows if row.status is Status.NEXT]
    assert len(following) == 1
    return following[0], {row.name: row for row in rows}


def test_first_the_images():
    following, rows = status_of(None, has_fixed=False)
    assert following == "images"
    assert rows["align"].status is Status.BLOCKED
    assert "two" in rows["images"].note
    assert "moving" in status_of(None)[1]["images"].note


@pytest.mark.parametrize(
    ("steps", "boxes", "expected"),
    [
        ([], 0, "align"),
        (["align"], 0, "general"),
        (["align", "general"], 0, "iso"),
        (["align", "general"], 1, "rso"),
        (["align", "general", "iso"], 0, "rso"),
        (["align", "general", "iso", "rso 1"], 1, "export"),
        (["align", "general", "iso", "rso 1"], 2, "rso"),
    ],
)
def test_the_next_step(volumes, make_step, steps, boxes, expected):
    case = Case.new(*volumes)
    for name in steps:
        case = case.after(case.current.after(make_step(name)))
    following, rows = status_of(case, boxes)
    assert following == expected
    done = {name.split()[0] for name in steps}
    assert all(rows[name].status is Status.DONE for name in done - {expected})


def test_after_the_export_quality_remains(volumes, make_step):
    case = Case.new(*volumes)
    case = case.after(case.current.after(make_step("rso 1")))
    assert status_of(case, 1, exported=True)[0] == "quality"
