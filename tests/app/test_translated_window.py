"""The whole window in a pseudo-language: a text that cannot be translated stays in plain letters, and is found here."""

from __future__ import annotations

import errno
import re
import runpy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PySide6.QtWidgets import QFileDialog

import engine
import resources
from app import texts
from app.dialogs.browse_images import BrowseDialog
from app.dialogs.compare_fits import CompareFitsDialog
from app.problems import message_of
from app.viewer import pane_state
from app.viewer.comparisons import COMPARISONS
from app.viewer.overlays import OVERLAYS
from app.viewer.overlays.displacement import QUANTITIES
from app.viewer.pop_out import PopOut
from app.viewer.view_state import IMAGES, LAYOUTS
from engine.geometry import Geometry
from engine.io.images import write_image
from engine.pairing import Finding
from engine.roi import Box
from engine.structures import Structures
from tests.app.driving import draw_box, wait_idle, wait_pictures
from tests.app.pseudo import LANGUAGE, shown_texts, write_catalogue

MAKER = runpy.run_path(str(Path(__file__).parents[2] / "packaging" / "make_texts.py"))
START, END = (6, 4, 6), (6, 14, 18)

_KEYS = r"(?:(?:Ctrl|Shift|Alt)\+)*(?:Ctrl|Shift|Alt|Esc|Del|Return|Backspace|PgUp|PgDown|Up|Down|Left|Right|F\d+)\b\S?"
_UNITS = r"\b(?:HU|mm)\b"
_NAMES = r"\b(?:Regard|ISO|RSO|general|other|CPU, 1 thread|CT|transform\.h5, \.tfm, \.txt|[RLAPIS]{2,3})\b"
_PATTERNS = r"\*\.[\w.]+"
ALLOWED = re.compile("|".join((_KEYS, _UNITS, _NAMES, _PATTERNS)))
"""What is the same in every language: keys, units, names, endings of files, directions of the patient."""

_PLAIN = re.compile(r"[A-Za-z]{2,}")


@pytest.fixture
def pseudo_language(tmp_path, monkeypatch):
    write_catalogue(tmp_path / "said", MAKER["collected"]())
    known = resources.path
    monkeypatch.setattr("resources.path", lambda name: tmp_path / "said" if name == texts.FOLDER else known(name))
    pane_state._place_text.cache_clear()
    assert texts.set_language(LANGUAGE) == LANGUAGE
    yield
    texts.set_language()
    pane_state._place_text.cache_clear()


def plain(widget, *engine_says):
    """What is shown in plain letters, without what the engine said and what is the same in every language."""
    found = {}
    for place, text in shown_texts(widget):
        rest = text
        for said in engine_says:
            rest = rest.replace(said, "")
        if _PLAIN.search(ALLOWED.sub("", rest)):
            found[text] = place
    return found


@pytest.fixture
def translated(pseudo_language, monkeypatch, window, fake_engine, volumes, qtbot):
    """A window with a pair of which the engine has something to say, in letters that pass for translated."""
    said = "Ñö îḿàĝéš ļîķé ţĥéšé."
    monkeypatch.setattr(engine, "unlike_training", lambda *_: (said, said))
    monkeypatch.setattr(engine, "pair_findings", lambda *_: (Finding("roles", said), Finding("overlap", said)))
    window.store.set_images(*volumes)
    wait_pictures(window, qtbot)
    return window


def test_a_window_without_images_and_the_tour(pseudo_language, window, qtbot):
    window.offer_tour()
    assert plain(window) == {}
    window.tour.start()
    assert plain(window) == {}
    for _ in range(12):
        window.tour.skip()
        assert plain(window) == {}
    window.take_paths(["a", "b", "c"])
    assert plain(window) == {}


def test_a_case_on_its_way(translated, fake_engine, qtbot):
    window, commands = translated, translated.commands
    assert plain(window) == {}
    for step in (commands.align, commands.general, commands.iso):
        step()
        wait_idle(window, qtbot)
        assert plain(window) == {}
    draw_box(window, qtbot, START, END)
    window.regions.show_errors()
    assert plain(window) == {}
    commands.rso()
    wait_idle(window, qtbot)
    window.regions.show_errors()
    window.history.show_case()
    assert plain(window) == {}
    commands.undo()
    window.store.mark_state(3)
    window.actions_table["compare_state"].trigger()
    wait_idle(window, qtbot)
    window.grid.refresh()
    assert plain(window) == {}
    commands.take_back(1)
    wait_idle(window, qtbot)
    assert plain(window) == {}


def test_a_run_and_what_waits_for_it(translated, fake_engine, qtbot):
    window = translated
    window.store.add_box(Box(2, 9, 3, 8, 1, 6))
    fake_engine.endless = True
    window.commands.rso()
    window.commands.general()
    window.commands.iso()
    qtbot.waitUntil(lambda: window.store.run.done > 3)
    window.run_panel.show_run()
    assert plain(window, "rso 1") == {}
    legend = [label.text for _, label in window.run_panel._legend.items]
    said = [*legend, window.run_panel.plot.getAxis("left").labelText]
    assert not [text for text in said if _PLAIN.search(ALLOWED.sub("", text))]
    window.commands.undo()
    assert plain(window, "rso 1") == {}
    window.commands.cancel()
    assert plain(window, "rso 1") == {}
    wait_idle(window, qtbot)
    assert plain(window, "rso 1") == {}


def test_every_way_to_look(translated, fake_engine, qtbot):
    window = translated
    window.commands.iso()
    wait_idle(window, qtbot)
    window.store.change_view(overlays=frozenset(OVERLAYS), arrow_scale=3.0)
    ways = [
        *({"layout": layout} for layout in LAYOUTS),
        *({"layout": "orientations", "image": image} for image in IMAGES),
        *({"comparison": name} for name in COMPARISONS),
        *({"quantity": name} for name in QUANTITIES),
        {"flickering": True},
        {"drawing_box": True},
        {"drawing_box": False, "marking": True},
        {"started_mm": (0.0, 30.0, 60.0)},
    ]
    for way in ways:
        window.store.change_view(**way)
        window.grid.refresh()
        assert plain(window) == {}, way
    window.pop_out()
    assert plain(window.findChild(PopOut)) == {}
    window.findChild(PopOut).close()


def test_what_the_user_adds(translated, volumes, qtbot):
    window, store = translated, translated.store
    for use in ("optimise", "rigid", "excluded"):
        store.add_box(Box(2, 9, 3, 8, 1, 6))
        window.commands.use_box(use)
    store.lock_box(1, True)
    window.regions.show_errors()
    window.grid.refresh()
    assert plain(window) == {}
    mask = np.zeros(volumes[0].hu.shape, bool)
    mask[2:4, 3:6, 4:9] = True
    store.set_mask("rigid", mask)
    store.set_mask("excluded", mask)
    store.add_pair((0.0, 30.0, 60.0), (2.0, 30.0, 60.0))
    labels = mask.astype(np.uint8)
    store.set_structures(Structures(labels, labels))
    wait_idle(window, qtbot)
    window.structures.show_structures()
    window.regions.faces.setText("words")
    assert plain(window) == {}
    window.commands.begin_by_hand()
    window.grid.refresh()
    assert plain(window) == {}
    window.commands.iso()
    assert plain(window) == {}


def test_dialogs(translated, tmp_path, qtbot):
    window = translated
    exporters = [exporter.description for exporter in engine.EXPORTERS.values()]
    endings = [exporter.suffix for exporter in engine.EXPORTERS.values()]
    for ask in (window.ask_images, window.show_keys, window.show_about, window.ask_export):
        ask()
        assert plain(window.dialog, *exporters, *endings) == {}
        window.dialog.close()
    window.show_model_card()
    assert plain(window.dialog, window.dialog.text.toPlainText()) == {}
    window.dialog.close()
    asks = [window.ask_folder, window.ask_case, window.ask_save, window.ask_transform]
    asks += [lambda: window.ask_mask("rigid"), lambda: window.ask_structures("fixed")]
    asks += [lambda: window.ask_structures("moving")]
    for ask in asks:
        ask()
        assert isinstance(window.dialog, QFileDialog)
        said = " ".join([window.dialog.windowTitle(), *window.dialog.nameFilters()])
        if window.dialog.fileMode() != QFileDialog.FileMode.ExistingFile:
            said = window.dialog.windowTitle()
        assert not _PLAIN.search(ALLOWED.sub("", said)), said
        window.dialog.close()


def test_the_series_of_a_folder(translated, tmp_path, qtbot):
    window, folder = translated, tmp_path / "archive"
    folder.mkdir()
    window.browse(folder)
    qtbot.waitUntil(lambda: not window.worker.busy)
    assert isinstance(window.dialog, BrowseDialog)
    assert plain(window.dialog, str(folder)) == {}
    write_image(folder / "file.mha", np.arange(60.0).reshape(3, 4, 5), Geometry((3, 4, 5), (1.0, 2.0, 3.0)))
    (folder / "words.txt").write_text("words")
    window.dialog.look_through(folder)
    qtbot.waitUntil(lambda: len(window.dialog.tree.items) == 1)
    wait_idle(window, qtbot)
    window.dialog.choose("moving")
    entry = window.dialog.tree.current_entry()
    said = [*entry.notes, *window.dialog._findings(), entry.description, folder.name]
    assert plain(window.dialog, str(folder), *filter(None, said)) == {}
    window.dialog.close()


def test_fits_side_by_side(translated, fake_engine, qtbot):
    window = translated
    draw_box(window, qtbot, START, END)
    window.commands.compare_region_fits()
    qtbot.waitUntil(lambda: isinstance(window.dialog, CompareFitsDialog), timeout=30_000)
    wait_idle(window, qtbot)
    dialog = window.dialog
    assert plain(dialog) == {}
    candidate = dialog.comparison.candidates[0]
    dialog.close()
    window.commands.take(dialog.comparison, candidate)
    assert plain(window) == {}
    window.commands.take(dialog.comparison, candidate)
    assert plain(window) == {}


def test_words_of_the_window_in_the_corner(translated, fake_engine, tmp_path, qtbot):
    """What is told of files, masks, proposals and closing."""
    window, commands = translated, translated.commands
    commands.run_up_to_iso()
    wait_idle(window, qtbot)
    commands.run_up_to_iso()
    assert plain(window) == {}
    commands.rso_all()
    commands.rso()
    assert plain(window) == {}
    reason = "the reason"
    fake_engine.proposals = (SimpleNamespace(box=Box(2, 9, 3, 8, 1, 6), score=2.5, reason=reason),)
    commands.propose_regions()
    wait_idle(window, qtbot)
    assert plain(window, reason) == {}
    commands.save(tmp_path / "case")
    wait_idle(window, qtbot)
    wait_pictures(window, qtbot)
    window.recent.fill()
    assert plain(window, reason, str(tmp_path / "case"), tmp_path.name, "case") == {}


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), ""),
        (ImportError("x", name="torch"), "torch"),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device"),
        (ValueError("x"), "ValueError"),
    ],
)
def test_problems(pseudo_language, error, said):
    assert not _PLAIN.search(message_of(error).replace(said, "") if said else message_of(error))
