"""The contract of RSO as properties of random cases: every clause is worked out anew, none is taken from the engine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st

from engine.case import Case
from engine.errors import InputError
from engine.models import MODELS, Model
from engine.models.weights import save_weights
from engine.optimize.collar import window, working_crop
from engine.optimize.commit import LEAST_DETERMINANT, Committed, Share, certify, commit
from engine.optimize.rso import Regional, RegionalSettings, rso
from engine.progress import finish
from engine.registration import Step
from engine.roi import Box
from engine.runtime import Runtime
from engine.session import RsoSettings, run_step
from tests.engine.optimize.contract import (
    CORRECTIONS,
    EVERY_PROPERTY,
    LARGEST_JUMP,
    ROUNDING,
    SHAPES,
    STARTS,
    Array,
    BoxErrors,
    Field,
    Scene,
    Shape,
    around,
    boxes,
    determinants,
    outside,
    scenes_with_box,
    scenes_with_chain,
    seam_jump,
)

CPU = torch.device("cpu")
ONE_THREAD = Runtime("cpu", threads=1)
WAYS = ("field", "network")
SCOPES = st.sampled_from(("crop", "image"))
SIMILARITIES = st.sampled_from(("mse", "lncc", "mind", "robust-mind"))
SMOOTHNESS = st.sampled_from((0.0, 0.1, None, 2.0, 1e3))
SPACINGS = st.tuples(*[st.sampled_from((1.0, 0.5, 3.0))] * 3)


class _TinyNetwork(torch.nn.Module):
    """Two convolutions and an amplifier: the small steps of Adam move what it predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Conv3d(2, 4, 3, stride=2, padding=1), torch.nn.Tanh(), torch.nn.Conv3d(4, 3, 1)
        )

    def forward(self, moving: torch.Tensor, fixed: torch.Tensor) -> torch.Tensor:
        coarse = 100.0 * self.layers(torch.cat([moving, fixed], dim=1))
        return torch.nn.functional.interpolate(coarse, size=moving.shape[2:], mode="trilinear")


@pytest.fixture(scope="module")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The name of an untrained network that costs next to nothing."""
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    with torch.random.fork_rng(), pytest.MonkeyPatch.context() as patch:
        torch.manual_seed(0)
        save_weights(_TinyNetwork(), file)
        patch.setitem(MODELS, "tiny", Model("for tests", _TinyNetwork, None, 4.0))
        yield f"tiny={file}"


def _assert_nothing_outside_changed(before: Array, after: Array, box: Box) -> None:
    beyond = outside(box, before.shape[1:])
    changed = (before.view(np.uint32) != after.view(np.uint32)).any(axis=0) & beyond
    assert not changed.any(), f"{changed.sum()} voxels beyond box and collar changed, first {np.argwhere(changed)[0]}"


def _assert_no_new_fold(before: Array, after: Array) -> None:
    was, now = determinants(before), determinants(after)
    new = (now <= -ROUNDING) & (was > 0)
    assert not new.any(), f"{new.sum()} voxels folded anew, the worst to {now[new].min()}"
    assert (now <= -ROUNDING).sum() <= (was <= 0).sum(), "more voxels are folded than before"


def _assert_seam_is_smooth(before: Array, after: Array, box: Box, spacing_zyx_mm, said: float | None = None) -> None:
    jump = seam_jump(before, after, around(box, before.shape[1:]), spacing_zyx_mm)
    assert jump <= LARGEST_JUMP * (1 + 1e-9), f"the slope jumps by {jump} at the seam"
    assert said is None or said == pytest.approx(jump, rel=1e-9, abs=1e-12), f"said {said}, is {jump}"


def _near(said_hu: float, either_hu: tuple[float, ...]) -> bool:
    return any(abs(said_hu - hu) <= 0.05 + 2e-4 * hu for hu in either_hu)


def _assert_error_did_not_grow(errors: BoxErrors, said_before: float, said_after: float) -> None:
    assert _near(said_before, errors.before), f"error before: said {said_before}, is {errors.before}"
    assert _near(said_after, errors.after), f"error after: said {said_after}, is {errors.after}"
    assert said_after <= said_before, f"the error in the box grew from {said_before} to {said_after}"


def _assert_contract(scene: Scene, box: Box, before: Array, copy: Array, now: Array, said: Regional | Step) -> None:
    """Between the displacement `before`, of which `copy` was made before the step, and the one `now`."""
    certificate = said.certificate
    assert before.tobytes() == copy.tobytes(), "the start was written to"
    assert not before.flags.writeable
    assert np.isfinite(now).all()
    assert (certificate.max_change_outside_mm, certificate.new_folds, certificate.box_error_grew) == (0.0, 0, False)
    assert certificate.passed
    _assert_nothing_outside_changed(before, now, box)
    _assert_no_new_fold(before, now)
    _assert_seam_is_smooth(before, now, box, scene.geometry().spacing_zyx_mm, certificate.seam_gradient_jump)
    _assert_error_did_not_grow(scene.errors(box, before, now), said.box_rmse_hu_before, said.box_rmse_hu_after)
    _assert_notes_fit(certificate.scaled_by_fold_guard, said.notes, now is before)


def _assert_notes_fit(share: float, notes: tuple[str, ...], is_the_start: bool) -> None:
    event("nothing better" if is_the_start else "fold guard acted" if share < 1.0 else "refined in full")
    assert 0.0 <= share <= 1.0
    assert ("nothing better found" in notes) == is_the_start == (share == 0.0)
    assert any(note.startswith("fold guard kept") for note in notes) == (0.0 < share < 1.0)


@pytest.mark.parametrize("by", WAYS)
@EVERY_PROPERTY
@given(scenes_with_box(), st.integers(1, 8), SCOPES, SIMILARITIES, SMOOTHNESS)
def test_a_refined_box_keeps_the_contract_or_was_seen_by_no_scanner(
    by: str, tiny_model: str, scene_with_box, iterations: int, scope: str, similarity: str, smoothness: float | None
) -> None:
    scene, box = scene_with_box
    start = scene.start()
    copy = start.displacement_vox.copy()
    settings = RegionalSettings(box, iterations, by, scope, similarity, smoothness, tiny_model, "rso 1")
    job = rso(scene.fixed(), scene.moving(), start, settings, CPU, False)

    if not scene.errors(box, copy, copy).seen:
        event("refused")
        with pytest.raises(InputError, match="both scanners saw"):
            finish(job)
        return
    regional = finish(job)

    _assert_contract(scene, box, start.displacement_vox, copy, regional.displacement_vox, regional)


@EVERY_PROPERTY
@given(scenes_with_chain(), st.sampled_from(WAYS), SCOPES, SMOOTHNESS)
def test_boxes_in_a_row_keep_the_contract_and_are_undone_and_redone_to_the_bit(
    tiny_model: str, scene_with_chain, by: str, scope: str, smoothness: float | None
) -> None:
    scene, chain = scene_with_chain
    case = Case.new(scene.fixed(), scene.moving()).after(scene.start(tiny_model))
    copies = [state.displacement_vox.copy() for state in case.states]
    for number, box in enumerate(chain):
        before, settings = case.current, RsoSettings(box, 1, by, scope, weight=smoothness)
        try:
            after = finish(run_step(case, settings, ONE_THREAD))
        except InputError:
            event(f"step {number + 1} refused")
            assert not scene.errors(box, copies[-1], copies[-1]).seen
            continue
        _assert_contract(scene, box, before.displacement_vox, copies[-1], after.displacement_vox, after.steps[-1])
        assert after.steps[:-1] == before.steps
        case, last = case.after(after), settings
        copies.append(after.displacement_vox.copy())
    wanted = [copy.tobytes() for copy in copies]

    for index in reversed(range(len(wanted) - 1)):
        case = case.undone()
        assert case.current.displacement_vox.tobytes() == wanted[index], f"undone to state {index}, other bits"
    for index in range(1, len(wanted)):
        case = case.redone()
        assert case.current.displacement_vox.tobytes() == wanted[index], f"redone to state {index}, other bits"
    assert case.current.rigid.tobytes() == scene.rigid().tobytes()
    if case.current.steps:
        again = finish(run_step(case.undone(), last, ONE_THREAD))
        assert again.displacement_vox.tobytes() == wanted[-1], "the same box from the same state gave other bits"


@EVERY_PROPERTY
@given(scenes_with_box(), st.sampled_from(("fixed", "moving", "apart")), st.sampled_from(WAYS), SCOPES)
def test_a_box_that_no_scanner_saw_is_refused_and_the_case_stays(
    tiny_model: str, scene_with_box, unseen: str, by: str, scope: str
) -> None:
    scene, box = scene_with_box
    fixed, moving, start = scene.fixed(), scene.moving(), scene.start(tiny_model)
    if unseen == "fixed":
        valid = fixed.valid.copy()
        valid[box.slices_zyx] = False
        fixed = replace(fixed, valid=valid)
    elif unseen == "moving":
        moving = replace(moving, valid=np.zeros_like(moving.valid))
    else:
        rigid = scene.rigid()
        rigid[:3, 3] += 900.0
        start = replace(start, rigid=rigid)
    case = Case.new(fixed, moving).after(start)
    states, copy = case.states, start.displacement_vox.copy()

    with pytest.raises(InputError, match="no voxel that both scanners saw"):
        finish(run_step(case, RsoSettings(box, 1, by, scope), ONE_THREAD))

    assert case.states is states
    assert case.current is start
    assert start.displacement_vox.tobytes() == copy.tobytes()


@dataclass(frozen=True)
class _Write:
    """Any correction of any displacement, to be written by the guard."""

    shape: Shape
    box: Box
    start: Field
    correction: Field
    faded: bool
    network_crop: bool
    spacing_zyx_mm: tuple[float, float, float]

    def present(self) -> Array:
        return self.start.on(self.shape)

    def committed(self, present: Array) -> tuple[Committed, Array]:
        """What the guard made of it, and what the whole correction would have been."""
        crop = working_crop(self.box, self.shape, (48, 48, 48) if self.network_crop else None)
        weight = window(self.box, crop, self.shape)
        inside = (slice(None), *crop.slices_zyx)
        change = self.correction.on(self.shape)[inside] * (weight if self.faded else np.float32(1.0))

        def corrected(share: Share) -> Array:
            return present[inside] + share * change

        committed = commit(present, crop, weight, corrected, around(self.box, self.shape), self.spacing_zyx_mm)
        whole = present.copy()
        whole[inside] = np.where(weight > 0, corrected(np.ones(crop.shape_zyx, np.float32)), present[inside])
        return committed, whole


@st.composite
def _writes(draw: st.DrawFn) -> _Write:
    shape = draw(SHAPES)
    flags = st.booleans()
    return _Write(shape, draw(boxes(shape)), draw(STARTS), draw(CORRECTIONS), draw(flags), draw(flags), draw(SPACINGS))


@EVERY_PROPERTY
@given(_writes())
def test_whatever_the_correction_what_is_written_keeps_the_contract(write: _Write) -> None:
    present = write.present()
    copy = present.copy()

    committed, _ = write.committed(present)

    now = committed.displacement_vox
    assert present.tobytes() == copy.tobytes(), "the start was written to"
    assert np.isfinite(now).all()
    _assert_nothing_outside_changed(present, now, write.box)
    _assert_no_new_fold(present, now)
    _assert_seam_is_smooth(present, now, write.box, write.spacing_zyx_mm)


@EVERY_PROPERTY
@given(_writes())
def test_the_guard_acts_where_the_whole_correction_would_fold_or_break_the_seam_and_only_there(write: _Write) -> None:
    present = write.present()

    committed, whole = write.committed(present)

    must, may = _guard_must_and_may_act(write, present, whole)
    event(f"must act: {must}, kept {'nothing' if committed.share == 0 else 'all' if committed.share == 1 else 'some'}")
    assert 0.0 <= committed.share <= 1.0
    assert committed.share < 1.0 or not must, "kept all of a correction that folds or breaks the seam"
    assert committed.share == 1.0 or may, f"kept {committed.share} of a correction that does no harm"
    assert (committed.displacement_vox is present) == (committed.share == 0.0)
    assert committed.share < 1.0 or committed.displacement_vox.tobytes() == whole.tobytes()


def _guard_must_and_may_act(write: _Write, before: Array, whole: Array) -> tuple[bool, bool]:
    """Whether the correction does clear harm, and whether it does any harm within rounding."""
    was, now = determinants(before), determinants(whole)
    jump = seam_jump(before, whole, around(write.box, write.shape), write.spacing_zyx_mm)
    rounding = ROUNDING * (1.0 + np.abs(now))
    must = (now < LEAST_DETERMINANT - rounding) & (now < was - rounding)
    may = (now <= LEAST_DETERMINANT + rounding) & (now < was + rounding) & (now != was)
    return bool(must.any()) or jump > LARGEST_JUMP * (1 + 1e-9), bool(may.any()) or jump > LARGEST_JUMP * (1 - 1e-9)


@EVERY_PROPERTY
@given(_writes(), st.sampled_from(("as written", "anywhere", "one voxel")), st.sampled_from((89.9, 90.0, 90.1, np.nan)))
def test_a_certificate_says_what_is(write: _Write, changed: str, error_after: float) -> None:
    """In quarters of a voxel, so that no determinant is rounded."""
    present = write.present()
    before, after = _in_quarters(present), _in_quarters(write.committed(present)[1])
    if changed == "anywhere":
        after = _in_quarters(present + write.correction.on(write.shape))
    elif changed == "one voxel":
        after = before.copy()
        after[(0, *np.random.default_rng(write.start.seed).integers(0, write.shape))] += np.float32(0.25)

    certificate = certify(before, after, around(write.box, write.shape), write.spacing_zyx_mm, 0.5, 90.0, error_after)

    change = (after.astype(np.float64) - before) * np.reshape(write.spacing_zyx_mm, (3, 1, 1, 1))
    moved_mm = np.sqrt((change**2).sum(axis=0))[outside(write.box, write.shape)].max(initial=0.0)
    new_folds = int(((determinants(after) <= 0) & (determinants(before) > 0)).sum())
    jump = seam_jump(before, after, around(write.box, write.shape), write.spacing_zyx_mm)
    grew = error_after not in (89.9, 90.0)
    passed = moved_mm == 0.0 and new_folds == 0 and jump <= LARGEST_JUMP and not grew
    event(f"passed: {passed}")
    assert certificate.max_change_outside_mm == pytest.approx(moved_mm, rel=1e-12)
    assert certificate.new_folds == new_folds
    assert certificate.seam_gradient_jump == pytest.approx(jump, rel=1e-12)
    assert (certificate.box_error_grew, certificate.passed) == (grew, passed)
    assert certificate.scaled_by_fold_guard == 0.5


def _in_quarters(displacement_vox: Array) -> Array:
    return np.clip(np.round(4.0 * displacement_vox) / 4.0, -4.0, 4.0).astype(np.float32)
