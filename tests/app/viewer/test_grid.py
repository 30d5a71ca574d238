from __future__ import annotations

import gc
import weakref
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtWidgets import QApplication

from app.viewer import annotations, contours, grid, pane
from app.viewer.contours import Labels
from app.viewer.grid import Grid
from app.viewer.overlays import arrows, invalid
from app.viewer.pane_state import resolve
from app.viewer.planes import stepped
from engine.spatial.section import CarriedLabels


@pytest.fixture
def counted(monkeypatch) -> Counter[str]:
    """How often each of these is worked out."""
    counts: Counter[str] = Counter()

    def count(owner: object, name: str) -> None:
        function = getattr(owner, name)
        monkeypatch.setattr(owner, name, lambda *given, **named: (counts.update([name]), function(*given, **named))[1])

    count(CarriedLabels, "cut")
    count(contours, "outlined")
    count(arrows, "_drawn")
    count(invalid, "hatched")
    count(pane, "image_of")
    count(pane, "paint_captions")
    count(annotations, "_write")
    return counts


@pytest.fixture
def sheet(qtbot, store, pictures):
    """Twelve panes with all that a slice change has to bring along."""
    labels = np.zeros(pictures.geometry.shape_zyx, np.uint8)
    labels[2:9, 4:12, 5:15] = 3
    own = pictures.geometry, pictures.geometry, np.eye(4)
    u = np.full((3, *pictures.geometry.shape_zyx), 0.8, np.float32)
    carried = Labels(labels, CarriedLabels(labels, *own), CarriedLabels(labels, *own, u), (3,))
    store.set_pictures(replace(pictures, displacement_vox=u, labels=carried))
    store.change_view(layout="sheet", overlays=frozenset({"arrows", "contours", "invalid"}), cursor_zyx=(5, 8, 11))
    grid = Grid(store)
    qtbot.addWidget(grid)
    grid.resize(1060, 700)
    grid.show()
    grid.refresh()
    QApplication.processEvents()
    return grid


@pytest.mark.parametrize("number", [0, 4, 8])
def test_a_slice_change_works_out_once_what_several_panes_show(number, sheet, store, counted):
    """Of twelve panes four show the slice: three outlines, two of them carried, one set of arrows, no new captions.

    Which slice it is stands once for all panes of a width.
    """
    plane = sheet.panes[number].state.plane
    store.set_view(stepped(store.view, plane, 1))
    sheet.refresh()
    QApplication.processEvents()

    widths = len({pane.width() for pane in sheet.panes if pane.state.plane == plane})
    assert counted == {"cut": 2, "outlined": 3, "_drawn": 1, "hatched": 3, "image_of": 8, "_write": widths}


def test_captions_are_painted_anew_where_they_change(sheet, store, counted):
    store.change_view(window_hu=(-160.0, 240.0))
    sheet.refresh()
    QApplication.processEvents()

    assert counted["paint_captions"] == 9, "all but the three differences"
    assert "outlined" not in counted


def test_panes_of_other_planes_are_not_resolved_again_for_a_slice(qtbot, sheet, store, monkeypatch):
    resolved = []
    monkeypatch.setattr(grid, "resolve", lambda *given: (resolved.append(given[2].plane), resolve(*given))[1])
    plane = sheet.panes[0].state.plane
    store.set_view(stepped(store.view, plane, 1))
    sheet.refresh()

    assert resolved == ["axial"] * 4
    assert all(pane.state.cursor_mm == pane.state.plane.place(store.view.cursor_zyx) for pane in sheet.panes)
    anew = Grid(store)
    qtbot.addWidget(anew)
    anew.resize(sheet.size())
    anew.show()
    anew.refresh()
    qtbot.wait(300)
    images = [[pane.grab().toImage() for pane in panes] for panes in (sheet.panes, anew.panes)]
    assert [image == other for image, other in zip(*images, strict=True)] == [True] * 12


def test_images_that_are_closed_are_not_kept_for_panes_of_another_layout(sheet, store, pictures):
    warped_hu = np.array(pictures.warped_hu)
    kept = weakref.ref(warped_hu)
    store.set_pictures(replace(pictures, warped_hu=warped_hu))
    del warped_hu
    sheet.refresh()
    store.change_view(layout="compare")
    store.set_pictures(pictures)
    sheet.refresh()
    gc.collect()

    assert kept() is None
