from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from app import autosave
from app.autosave import autosave_root, unsaved_cases
from engine.case import Case
from engine.io.case_folder import open_case


@pytest.fixture
def case(volumes, make_step) -> Case:
    """Two displacements after the identity."""
    case = Case.new(*volumes)
    for value in (1.5, 2.5):
        u = np.full((3, *case.fixed.geometry.shape_zyx), value, np.float32)
        case = case.after(case.current.after(make_step("iso"), displacement_vox=u))
    return case


def test_what_is_kept_on_disk_leaves_memory_but_for_the_current_state(case):
    autosave._write(case)

    first, current = (state.displacement_vox for state in case.states[1:])
    assert isinstance(first, np.memmap)
    assert not isinstance(current, np.memmap)
    assert (float(first.min()), float(first.max())) == (1.5, 1.5)


def test_a_case_goes_on_where_it_is_kept(case):
    autosave._write(case)
    autosave._write(case.undone())

    (folder,) = unsaved_cases()
    assert folder == autosave_root() / case.id
    assert open_case(folder).cursor == 1


def test_files_in_use_do_not_bring_a_forgotten_case_back(case, monkeypatch):
    """As on Windows, where a mapped file cannot be removed."""
    autosave._write(case)
    with monkeypatch.context() as patched:
        patched.setattr("app.autosave.shutil.rmtree", lambda *_, **__: None)
        autosave._forget(case.id)
    assert unsaved_cases() == []
    left = autosave_root() / case.id
    assert list(left.glob("state_*.npy"))

    autosave._write(case)

    (folder,) = unsaved_cases()
    assert folder.name.startswith(case.id)
    assert not left.exists()
    assert open_case(folder).states[1].displacement_vox.max() == 1.5
    autosave._forget(case.id)
    assert list(autosave_root().iterdir()) == []


def test_what_another_window_is_writing_stays(case):
    (autosave_root() / ".1234-other").mkdir(parents=True)
    autosave._write(case)
    assert (autosave_root() / ".1234-other").is_dir()


def test_the_last_five_cases_are_kept(case):
    names = ["aa", "bb", "cc", "dd", "ee", "ff"]
    for name in names:
        autosave._write(replace(case, id=name))
    assert {folder.name for folder in unsaved_cases()} == set(names[1:])


def test_what_is_kept_takes_little_room_and_the_last_is_kept_in_any_case(case, monkeypatch):
    autosave._write(replace(case, id="aa"))
    room = sum(path.stat().st_size for path in (autosave_root() / "aa").iterdir())
    monkeypatch.setattr(autosave, "_KEPT_BYTES", 2.5 * room)
    for name in ("bb", "cc"):
        autosave._write(replace(case, id=name))
    assert {folder.name for folder in unsaved_cases()} == {"bb", "cc"}
    monkeypatch.setattr(autosave, "_KEPT_BYTES", 0.5 * room)
    autosave._write(replace(case, id="dd"))
    assert {folder.name for folder in unsaved_cases()} == {"dd"}


def test_what_is_taken_up_again_is_the_last_to_be_cleared_away(case):
    for name in ("aa", "bb"):
        autosave._write(replace(case, id=name))
        os.utime(autosave_root() / name, (1.0, 1.0))
    assert autosave.taken_up(autosave_root() / "aa").id == "aa"
    assert unsaved_cases()[0].name == "aa"
