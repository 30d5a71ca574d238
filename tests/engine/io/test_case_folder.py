import json
import os
import shutil
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.case import Case
from engine.errors import InputError, OutputError
from engine.guidance import Guidance
from engine.identity import Identity
from engine.io.case_folder import open_case, rest_on_files, save_case
from engine.regions import NamedBox, Regions
from engine.registration import Step
from engine.roi import Box
from engine.structures import Structures
from engine.volume import Volume

ALL_FILES = {"case.json", "fixed.mha", "fixed_valid.mha", "moving.mha", "moving_valid.mha", "state_001.npy"}


def _assert_same_volume(a: Volume, b: Volume) -> None:
    assert a.hu.tobytes() == b.hu.tobytes()
    np.testing.assert_array_equal(a.valid, b.valid)
    assert (a.geometry, a.modality, a.name, a.identity) == (b.geometry, b.modality, b.name, b.identity)


def _assert_same(a: Case, b: Case) -> None:
    """Bit for bit."""
    _assert_same_volume(a.fixed, b.fixed)
    _assert_same_volume(a.moving, b.moving)
    assert (a.id, a.cursor, len(a.states)) == (b.id, b.cursor, len(b.states))
    assert (a.parents, a.followed, a.deleted) == (b.parents, b.followed, b.deleted)
    for left, right in zip(a.states, b.states, strict=True):
        assert left.displacement_vox.tobytes() == right.displacement_vox.tobytes()
        assert left.rigid.tobytes() == right.rigid.tobytes()
        assert (left.steps, left.model, left.fixed) == (right.steps, right.model, right.fixed)


def _with_step(case: Case, step: Step, shift: float) -> Case:
    return case.after(case.current.after(step, displacement_vox=case.current.displacement_vox + np.float32(shift)))


def _times(folder: Path) -> dict[str, tuple[int, int]]:
    return {path.name: (path.stat().st_ino, path.stat().st_mtime_ns) for path in folder.iterdir()}


def test_a_case_reopens_bit_for_bit(tmp_path: Path, case: Case) -> None:
    save_case(case.undone(), tmp_path / "case")

    _assert_same(open_case(tmp_path / "case"), case.undone())
    assert set(os.listdir(tmp_path / "case")) == ALL_FILES, "two states share one array of zeros, which has no file"


def test_whose_images_they_are_is_kept_unread_and_may_be_missing(tmp_path: Path, case: Case) -> None:
    named = replace(case, fixed=replace(case.fixed, identity=Identity.of("SECRET", "Doe^Jane", "1.2.3")))
    save_case(named, tmp_path / "case")
    manifest = tmp_path / "case" / "case.json"
    text = manifest.read_text(encoding="utf-8")

    _assert_same(open_case(tmp_path / "case"), named)
    assert not any(word in text for word in ("SECRET", "Doe", "doe", "1.2.3"))

    values = json.loads(text)
    for role in ("fixed", "moving"):
        del values[role]["identity"]
    manifest.write_text(json.dumps(values), encoding="utf-8")
    assert open_case(tmp_path / "case").fixed.identity == Identity()


def test_negative_zero_is_not_lost(tmp_path: Path, case: Case) -> None:
    zeros = np.zeros_like(case.current.displacement_vox)
    zeros[0, 0, 0, 0] = -0.0
    signed = case.after(case.current.after(case.current.steps[0], displacement_vox=zeros))

    save_case(signed, tmp_path / "case")

    _assert_same(open_case(tmp_path / "case"), signed)


def test_whole_hu_take_two_bytes_and_fractions_four(tmp_path: Path, case: Case) -> None:
    save_case(case, tmp_path / "case")

    fixed, moving = ((tmp_path / "case" / f"{role}.mha").stat().st_size for role in ("fixed", "moving"))
    assert 2 * case.fixed.hu.size < fixed < 2 * case.fixed.hu.size + 1000
    assert 4 * case.moving.hu.size < moving < 4 * case.moving.hu.size + 1000


def test_an_opened_history_is_mapped_and_shared(tmp_path: Path, case: Case, steps: tuple[Step, Step]) -> None:
    again = case.after(case.current.after(steps[0]))
    save_case(again, tmp_path / "case")

    states = open_case(tmp_path / "case").states

    assert isinstance(states[2].displacement_vox, np.memmap)
    assert states[3].displacement_vox is states[2].displacement_vox
    assert states[1].displacement_vox is states[0].displacement_vox
    assert set(os.listdir(tmp_path / "case")) == ALL_FILES


@pytest.mark.parametrize("reopened", [False, True])
def test_one_more_step_writes_only_its_state(
    tmp_path: Path, case: Case, steps: tuple[Step, Step], reopened: bool
) -> None:
    folder = tmp_path / "case"
    save_case(case, folder)
    before = _times(folder)
    longer = _with_step(open_case(folder) if reopened else case, steps[0], 0.25)

    save_case(longer, folder)

    after = _times(folder)
    assert set(after) == ALL_FILES | {"state_002.npy"}
    assert {name for name in before if after[name] != before[name]} == {"case.json"}
    _assert_same(open_case(folder), longer)


def test_branches_come_back_as_they_were(tmp_path: Path, case: Case, steps: tuple[Step, Step]) -> None:
    folder = tmp_path / "case"
    save_case(case, folder)
    branched = _with_step(case.undone(), steps[0], 0.5).gone_to(2).undone()

    save_case(branched, folder)

    assert set(os.listdir(folder)) == ALL_FILES | {"state_002.npy"}
    opened = open_case(folder)
    _assert_same(opened, branched)
    assert (opened.parents, opened.followed) == ((0, 0, 1, 1), (1, 2, 2, 3))


def test_a_case_saved_before_there_were_branches_is_one_line(tmp_path: Path, case: Case) -> None:
    def without_branches(values: dict[str, Any]) -> None:
        for state in values["states"]:
            del state["parent"], state["redo"]

    save_case(case.undone(), tmp_path / "case")
    _edit(tmp_path / "case", without_branches)

    opened = open_case(tmp_path / "case")
    _assert_same(opened, case.undone())
    assert opened.line() == (0, 1, 2)


def test_arrays_that_no_state_needs_any_more_leave_the_folder(
    tmp_path: Path, case: Case, steps: tuple[Step, Step]
) -> None:
    folder = tmp_path / "case"
    save_case(case, folder)
    shorter = Case(case.fixed, case.moving, case.states[:2], 1, case.id)
    other = _with_step(shorter, steps[0], 0.5)

    save_case(other, folder)

    assert set(os.listdir(folder)) == ALL_FILES - {"state_001.npy"} | {"state_002.npy"}
    _assert_same(open_case(folder), other)


@pytest.fixture
def branched(case: Case, steps: tuple[Step, Step]) -> Case:
    """Two states from state 1: 2, with the first file, and 3, which is current."""
    return _with_step(case.gone_to(1), steps[0], 0.5)


def test_a_deleted_branch_leaves_the_folder_and_every_number_stays(
    tmp_path: Path, branched: Case, steps: tuple[Step, Step]
) -> None:
    folder = tmp_path / "case"
    save_case(branched, folder)
    assert set(os.listdir(folder)) == ALL_FILES | {"state_002.npy"}

    save_case(open_case(folder).without_branch(2), folder)

    assert set(os.listdir(folder)) == ALL_FILES - {"state_001.npy"} | {"state_002.npy"}
    opened = open_case(folder)
    _assert_same(opened, branched.without_branch(2))
    assert opened.numbers == (0, 1, 3)
    assert not opened.states[2].steps
    longer = _with_step(opened, steps[0], 0.25)
    save_case(longer, folder)
    assert open_case(folder).numbers == (0, 1, 3, 4)


def test_a_branch_that_cannot_be_told_to_be_gone_stays_whole(
    tmp_path: Path, branched: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "case"
    save_case(branched, folder)

    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr(Path, "write_text", fail)
        with pytest.raises(OutputError):
            save_case(branched.without_branch(2), folder)
    _assert_same(open_case(folder), branched)


def test_a_file_that_cannot_go_yet_goes_with_the_next_save(
    tmp_path: Path, branched: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on Windows, while it is mapped."""
    folder, unlink = tmp_path / "case", Path.unlink
    save_case(branched, folder)
    (folder / "mask_009.mha").write_bytes(b"left behind")

    def held(path: Path, missing_ok: bool = False) -> None:
        if path.name == "state_001.npy":
            raise PermissionError
        unlink(path, missing_ok)

    with monkeypatch.context() as mapped:
        mapped.setattr(Path, "unlink", held)
        save_case(branched.without_branch(2), folder)
    assert set(os.listdir(folder)) == ALL_FILES | {"state_002.npy"}
    _assert_same(open_case(folder), branched.without_branch(2))
    save_case(branched.without_branch(2), folder)
    assert set(os.listdir(folder)) == ALL_FILES - {"state_001.npy"} | {"state_002.npy"}


def test_weights_are_stored_once_and_come_back(tmp_path: Path, case: Case, steps: tuple[Step, Step]) -> None:
    torch = pytest.importorskip("torch")
    weights = {"layer.weight": torch.arange(6.0).reshape(2, 3).t(), "bias": torch.tensor([-0.0, 1e-30])}
    adapted = case.after(case.current.after(steps[0], weights=weights))
    adapted = adapted.after(adapted.current.after(steps[0]))

    save_case(adapted, tmp_path / "case")
    states = open_case(tmp_path / "case").states

    assert states[2].weights is None
    assert states[4].weights is states[3].weights
    assert states[4].weights is not None
    assert {key: value.tolist() for key, value in states[4].weights.items()} == {
        key: value.tolist() for key, value in weights.items()
    }
    assert set(os.listdir(tmp_path / "case")) == ALL_FILES | {"weights_002.safetensors"}


def test_another_case_is_never_overwritten_without_force(tmp_path: Path, case: Case) -> None:
    folder = tmp_path / "case"
    save_case(case, folder)
    other = Case.new(case.moving, case.fixed)

    with pytest.raises(OutputError, match="--force"):
        save_case(other, folder)
    _assert_same(open_case(folder), case)

    save_case(other, folder, force=True)
    _assert_same(open_case(folder), other)


def test_a_folder_of_other_files_is_never_overwritten(tmp_path: Path, case: Case) -> None:
    (tmp_path / "letter.txt").write_text("dear")

    for force in (False, True):
        with pytest.raises(OutputError, match="holds"):
            save_case(case, tmp_path, force)
    assert os.listdir(tmp_path) == ["letter.txt"]


def test_a_full_disk_leaves_no_new_case(
    tmp_path: Path, larger_case: Case, small_disk: Callable[[int], AbstractContextManager[None]]
) -> None:
    with pytest.raises(OutputError, match="cannot be written"), small_disk(300_000):
        save_case(larger_case, tmp_path / "case")

    assert os.listdir(tmp_path) == []


def test_a_full_disk_keeps_the_case_as_it_was(
    tmp_path: Path,
    larger_case: Case,
    steps: tuple[Step, Step],
    small_disk: Callable[[int], AbstractContextManager[None]],
) -> None:
    folder = tmp_path / "case"
    save_case(larger_case, folder)
    longer = _with_step(larger_case, steps[0], 0.25)

    with pytest.raises(OutputError, match="cannot be written"), small_disk(300_000):
        save_case(longer, folder)

    assert set(os.listdir(folder)) == ALL_FILES
    _assert_same(open_case(folder), larger_case)
    save_case(longer, folder)
    _assert_same(open_case(folder), longer)


def test_what_is_no_case_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no case\.json"):
        open_case(tmp_path)
    for text, message in (("{", "damaged"), ("[]", "not Regard's"), ('{"format": "x"}', "not Regard's")):
        (tmp_path / "case.json").write_text(text)
        with pytest.raises(InputError, match=message):
            open_case(tmp_path)


def test_a_later_format_is_refused(tmp_path: Path, case: Case) -> None:
    save_case(case, tmp_path / "case")
    _edit(tmp_path / "case", lambda values: values.update(version=2))

    with pytest.raises(InputError, match="format 2; this program reads 1"):
        open_case(tmp_path / "case")


def _edit(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    values = json.loads((folder / "case.json").read_text())
    change(values)
    (folder / "case.json").write_text(json.dumps(values))


DAMAGE: list[Callable[[Path], object]] = [
    lambda folder: (folder / "state_001.npy").unlink(),
    lambda folder: (folder / "state_001.npy").write_bytes(b"no array"),
    lambda folder: os.truncate(folder / "state_001.npy", 5000),
    lambda folder: np.save(folder / "state_001.npy", np.zeros((3, 2, 2, 2), dtype=np.float32)),
    lambda folder: (folder / "moving.mha").unlink(),
    lambda folder: os.truncate(folder / "fixed.mha", 5000),
    lambda folder: _edit(folder, lambda values: values.pop("cursor")),
    lambda folder: _edit(folder, lambda values: values.update(cursor=9)),
    lambda folder: _edit(folder, lambda values: values["states"][1].update(parent=2)),
    lambda folder: _edit(folder, lambda values: values["states"][0].update(redo=2)),
    lambda folder: _edit(folder, lambda values: values["states"][1].pop("parent")),
    lambda folder: _edit(folder, lambda values: values["states"][2].update(deleted=True)),
    lambda folder: _edit(folder, lambda values: values.update(states=[])),
    lambda folder: _edit(folder, lambda values: values.update(states=[{"rigid": 1}])),
    lambda folder: _edit(folder, lambda values: values.update(fixed={"name": ""})),
]


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_case_is_refused(
    tmp_path: Path, case: Case, damage: Callable[[Path], object], capfd: pytest.CaptureFixture[str]
) -> None:
    save_case(case, tmp_path / "case")
    damage(tmp_path / "case")

    with pytest.raises(InputError, match="The case is damaged"):
        open_case(tmp_path / "case")
    assert capfd.readouterr() == ("", "")


def test_a_case_reads_no_file_outside_its_folder(tmp_path: Path, case: Case) -> None:
    save_case(case, tmp_path / "case")
    os.rename(tmp_path / "case" / "state_001.npy", tmp_path / "state_001.npy")
    text = (tmp_path / "case" / "case.json").read_text()
    (tmp_path / "case" / "case.json").write_text(text.replace("state_001.npy", "../state_001.npy"))

    with pytest.raises(InputError, match="damaged"):
        open_case(tmp_path / "case")


def test_arrays_are_told_apart_by_contents_not_by_place(tmp_path: Path, case: Case) -> None:
    """A new array at the address of one that is gone must be written."""
    folder = tmp_path / "case"
    save_case(case, folder)
    for shift in range(5):
        array = np.full_like(case.current.displacement_vox, shift + 1)
        changed = replace(case, states=(*case.states[:2], replace(case.states[2], displacement_vox=array)))
        del array
        save_case(changed, folder)
        _assert_same(open_case(folder), changed)


def test_guidance_reopens_and_is_written_once(tmp_path: Path, case: Case) -> None:
    mask = np.zeros(case.fixed.geometry.shape_zyx, bool)
    mask[1:3, 2, 3:] = True
    guided = case.guided(Guidance(np.array([[1.5, -2.0, 3.25]]), np.array([[0.1, 0.2, 0.3]]), rigid=mask))
    save_case(guided, tmp_path / "case")
    (file,) = (tmp_path / "case").glob("mask_*.mha")
    before = _times(tmp_path / "case")[file.name]

    save_case(guided.undone(), tmp_path / "case")
    opened = open_case(tmp_path / "case").guidance

    np.testing.assert_array_equal(opened.fixed_points_mm, guided.guidance.fixed_points_mm)
    np.testing.assert_array_equal(opened.moving_points_mm, guided.guidance.moving_points_mm)
    np.testing.assert_array_equal(opened.rigid, mask)
    assert opened.excluded is None
    assert _times(tmp_path / "case")[file.name] == before


def test_a_mask_that_is_no_longer_used_goes(tmp_path: Path, case: Case) -> None:
    mask = np.ones(case.fixed.geometry.shape_zyx, bool)
    save_case(case.guided(Guidance(excluded=mask)), tmp_path / "case")

    save_case(case, tmp_path / "case")

    assert open_case(tmp_path / "case").guidance.is_empty
    assert set(os.listdir(tmp_path / "case")) == ALL_FILES


def test_structures_reopen_and_are_written_once(tmp_path: Path, case: Case) -> None:
    fixed = np.zeros(case.fixed.geometry.shape_zyx, np.uint8)
    fixed[1:3, 2:5, 3:4] = 7
    moving = np.zeros(case.moving.geometry.shape_zyx, np.uint16)
    moving[0, 1:3, 2] = 40_000
    delineated = case.delineated(Structures(fixed, moving))

    save_case(delineated, tmp_path / "case")
    before = _times(tmp_path / "case")
    save_case(delineated, tmp_path / "case")
    opened = open_case(tmp_path / "case")

    assert sum(name.startswith("labels") for name in before) == 2
    assert all(_times(tmp_path / "case")[name] == before[name] for name in before if name.startswith("labels"))
    for found, expected in ((opened.structures.fixed, fixed), (opened.structures.moving, moving)):
        np.testing.assert_array_equal(found, expected)
        assert found.dtype == expected.dtype
    save_case(case, tmp_path / "case")
    assert not list((tmp_path / "case").glob("labels*"))


def test_a_case_from_before_there_were_structures_opens(tmp_path: Path, case: Case) -> None:
    save_case(case, tmp_path / "case")
    manifest = json.loads((tmp_path / "case" / "case.json").read_text())
    del manifest["structures"]
    (tmp_path / "case" / "case.json").write_text(json.dumps(manifest))

    assert open_case(tmp_path / "case").structures.is_empty


def test_boxes_reopen_and_their_masks_beside_those_from_files(tmp_path: Path, case: Case) -> None:
    from_file, marked = (np.zeros(case.fixed.geometry.shape_zyx, bool) for _ in range(2))
    from_file[1, 2, 3] = True
    marked[1:3, 2:4, 3:5] = True
    boxes = (
        NamedBox("Bronchus", Box(0, 2, 1, 3, 0, 1), reason="why", untouched=True),
        NamedBox("Gas", Box(3, 5, 2, 4, 1, 3), use="excluded", locked=True),
    )
    kept = case.marked(Regions(boxes, excluded=from_file), Guidance(excluded=marked))
    save_case(kept, tmp_path / "case")

    opened = open_case(tmp_path / "case")

    assert opened.regions is not None
    assert opened.regions.boxes == boxes
    assert opened.regions.rigid is None
    np.testing.assert_array_equal(opened.regions.excluded, from_file)
    np.testing.assert_array_equal(opened.guidance.excluded, marked)


def test_an_older_case_says_nothing_of_its_boxes(tmp_path: Path, case: Case) -> None:
    save_case(case, tmp_path / "case")

    assert open_case(tmp_path / "case").regions is None


@pytest.mark.parametrize("wrong", ['"0:2,1:3,0:99"', '"nothing"', "7"])
def test_a_box_that_cannot_be_is_damage(tmp_path: Path, case: Case, wrong: str) -> None:
    save_case(case.marked(Regions((NamedBox("a", Box(0, 2, 1, 3, 0, 1)),)), Guidance()), tmp_path / "case")
    manifest = tmp_path / "case" / "case.json"
    manifest.write_text(manifest.read_text().replace('"0:2,1:3,0:1"', wrong))

    with pytest.raises(InputError, match="damaged"):
        open_case(tmp_path / "case")


def test_a_history_rests_on_the_files_it_was_saved_to(tmp_path: Path, case: Case, steps: tuple[Step, Step]) -> None:
    """Bit for bit, but for the current state; also when it is saved elsewhere, and when the files are gone."""
    longer = _with_step(_with_step(case, steps[0], 0.25), steps[0], 0.125).undone()
    before = [state.displacement_vox.tobytes() for state in longer.states]
    states = longer.states

    save_case(longer, tmp_path / "case")
    rest_on_files(longer, tmp_path / "case")

    assert longer.states is states
    assert [isinstance(state.displacement_vox, np.memmap) for state in states] == [False, False, True, False, True]
    assert [state.displacement_vox.tobytes() for state in states] == before
    assert not any(state.displacement_vox.flags.writeable for state in states)
    save_case(longer, tmp_path / "again")
    _assert_same(open_case(tmp_path / "again"), longer)


def test_what_cannot_be_mapped_stays_in_memory(tmp_path: Path, case: Case, steps: tuple[Step, Step]) -> None:
    longer = _with_step(case, steps[0], 0.25)
    save_case(longer, tmp_path / "case")
    (tmp_path / "case" / "state_001.npy").unlink()
    held = longer.states[2].displacement_vox

    rest_on_files(longer, tmp_path / "case")

    assert longer.states[2].displacement_vox is held


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not remove files in use")
def test_mapped_files_that_are_removed_are_still_read(tmp_path: Path, case: Case, steps: tuple[Step, Step]) -> None:
    longer = _with_step(case, steps[0], 0.25)
    before = longer.states[2].displacement_vox.tobytes()
    save_case(longer, tmp_path / "case")
    rest_on_files(longer, tmp_path / "case")
    shutil.rmtree(tmp_path / "case")

    save_case(longer, tmp_path / "case")

    assert open_case(tmp_path / "case").states[2].displacement_vox.tobytes() == before
