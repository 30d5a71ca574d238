from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch

from engine import session
from engine.case import Case
from engine.errors import DeviceError, InputError
from engine.geometry import Geometry
from engine.models import MODELS
from engine.models.weights import save_weights
from engine.optimize.iso import Refined
from engine.optimize.rso import Regional
from engine.phantom.thorax import PhantomPair, thorax_pair
from engine.preprocess import body_of
from engine.progress import STOP, Job, PreviewClock, Progress, finish
from engine.registration import Certificate, Registration
from engine.roi import Box
from engine.runtime import Runtime
from engine.session import (
    AlignSettings,
    GeneralSettings,
    IsoSettings,
    RsoSettings,
    measured,
    run_step,
    warped_hu,
)
from engine.volume import AIR_HU, PADDING_HU, Volume

ONE_THREAD = Runtime("cpu", threads=1)
BOX = Box(22, 32, 12, 22, 8, 16)


@pytest.fixture(autouse=True)
def _torch_as_before() -> Iterator[None]:
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def phantom() -> PhantomPair:
    return thorax_pair(3, (43, 40, 36), (3.0, 3.1, 3.4))


@pytest.fixture(scope="module")
def case(phantom: PhantomPair) -> Case:
    return Case.new(phantom.fixed, phantom.moving)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A matching network with random weights."""
    path = tmp_path_factory.mktemp("weights") / "mine.safetensors"
    with torch.random.fork_rng():
        torch.manual_seed(1)
        save_weights(MODELS["general"].build(), path)
    return path


def _run(case: Case, settings) -> Registration:
    return finish(run_step(case, settings, ONE_THREAD))


def test_the_paper_s_numbers_are_the_defaults() -> None:
    """Algorithm 1 of Bai et al. 2022."""
    assert IsoSettings().iterations == 100
    assert RsoSettings(BOX).iterations == 400
    assert RsoSettings(BOX).scope == "crop"
    assert AlignSettings().method == "rigid"
    assert GeneralSettings().model == "general"


def test_no_alignment_is_the_identity(case: Case) -> None:
    result = _run(case, AlignSettings("none"))

    np.testing.assert_array_equal(result.rigid, np.eye(4))
    assert not result.displacement_vox.any()
    assert [(step.name, step.iterations, step.settings) for step in result.steps] == [("align", 0, {"method": "none"})]


def test_rigid_alignment_lowers_the_error(case: Case) -> None:
    result = _run(case, AlignSettings())

    assert result.steps[-1].rmse_hu < measured(case, case.current).rmse_hu
    assert not result.displacement_vox.any()


def test_alignment_by_a_file_takes_its_rigid_part_and_not_its_path(case: Case, tmp_path: Path) -> None:
    """A quarter turn about z at the point (10, 20, 30): (x, y, z) goes to (10 − (y − 20), 20 + (x − 10), z)."""
    path = tmp_path / "NAME^OF^PATIENT.tfm"
    sitk.WriteTransform(sitk.Euler3DTransform((10.0, 20.0, 30.0), 0.0, 0.0, np.pi / 2, (0.0, 0.0, 0.0)), str(path))

    result = _run(case, AlignSettings(str(path)))

    expected = [[0, -1, 0, 30], [1, 0, 0, 10], [0, 0, 1, 0], [0, 0, 0, 1]]
    np.testing.assert_allclose(result.rigid, expected, atol=1e-9)
    assert result.steps[-1].settings == {"method": "file"}


def test_alignment_by_hand_moves_the_moving_image(case: Case) -> None:
    """10 mm to the left: what the fixed image shows at x, the moving one shows 10 mm to the right of it."""
    result = _run(case, AlignSettings("manual", (10.0, 0, 0, 0, 0, 0)))

    expected = np.eye(4)
    expected[0, 3] = -10
    np.testing.assert_allclose(result.rigid, expected, atol=1e-9)
    assert result.steps[-1].settings == {"method": "manual", "motion": (10.0, 0, 0, 0, 0, 0)}


def test_an_alignment_by_hand_without_numbers_is_refused() -> None:
    for settings in ({"method": "manual"}, {"motion": (0.0,) * 6}):
        with pytest.raises(InputError, match="six numbers"):
            AlignSettings(**settings)


def test_alignment_begins_the_history_anew(case: Case) -> None:
    refined = case.after(_run(case, IsoSettings(2)))

    result = _run(refined, AlignSettings("none"))

    assert [step.name for step in result.steps] == ["align"]
    assert not result.displacement_vox.any()
    assert (result.model, result.weights) == (None, None)


def test_a_general_model_with_weights_of_one_s_own(case: Case, weights: Path) -> None:
    """Random weights give a random field; it is on record, with its model, and the rigid part stays."""
    shifted = replace(case.current, rigid=np.array([[1.0, 0, 0, 2], [0, 1, 0, -1], [0, 0, 1, 3], [0, 0, 0, 1]]))

    result = _run(case.after(shifted), GeneralSettings(f"general={weights}"))

    np.testing.assert_array_equal(result.rigid, shifted.rigid)
    assert np.abs(result.displacement_vox).max() > 0.1
    assert result.model == f"general={weights}"
    assert [(step.name, step.iterations) for step in result.steps] == [("general", 1)]


@pytest.mark.parametrize("by", ["field", "network"])
def test_iso_refines_the_whole_image(by: str, case: Case, weights: Path) -> None:
    at_general = case.after(replace(case.current, model=f"general={weights}"))

    result = _run(at_general, IsoSettings(2, by, "mse", 0.1))

    step = result.steps[-1]
    assert (step.name, step.iterations, step.box) == ("iso", 2, None)
    assert step.settings == {"iterations": 2, "by": by, "similarity": "mse", "weight": 0.1, "fit": "balanced"}
    assert step.rmse_hu <= measured(case, case.current).rmse_hu
    assert result.model == f"general={weights}"


@pytest.mark.parametrize("error_may_grow", [False, True])
def test_what_raises_the_error_at_the_voxels_is_kept_only_for_guidance(
    error_may_grow: bool, case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A working grid may see less of an error than the voxels do."""
    case = case.after(finish(run_step(case, AlignSettings(), ONE_THREAD)))
    worse = np.full_like(case.current.displacement_vox, 1.5)

    def iso(*_: object) -> Job[Refined]:
        yield Progress("iso", 1, 1)
        return Refined(worse, 1, error_may_grow=error_may_grow)

    monkeypatch.setattr("engine.optimize.iso.iso", iso)
    found = finish(run_step(case, IsoSettings(1), ONE_THREAD))

    assert (found.displacement_vox is worse) is error_may_grow
    assert found.steps[-1].notes == (() if error_may_grow else ("nothing better found",))
    assert (found.steps[-1].rmse_hu > case.current.steps[-1].rmse_hu) is error_may_grow


def test_a_model_without_a_network_registers_and_leaves_refinement_to_the_default_network(
    case: Case, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    aligned = case.after(_run(case, AlignSettings()))
    general = _run(aligned, GeneralSettings("convex"))
    assert (general.model, general.steps[-1].settings) == ("convex", {"model": "convex"})
    assert general.steps[-1].rmse_hu < 0.9 * aligned.current.steps[-1].rmse_hu
    assert general.steps[-1].folding_percent == 0.0

    monkeypatch.setattr("engine.session.DEFAULT_MODEL", f"general={weights}")
    by_network = _run(aligned.after(general), IsoSettings(2, "network", "mse", 0.1))
    by_field = _run(aligned.after(general), IsoSettings(2))

    assert by_network.model == f"general={weights}"
    assert by_network.steps[-1].rmse_hu <= general.steps[-1].rmse_hu
    assert by_field.model == "convex"


def test_a_step_by_network_says_in_what_the_images_are_unlike_its_training(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def at_once(result: object) -> Callable[..., Job[object]]:
        def job(*_: object) -> Job[object]:
            yield Progress("at once", 1, 1)
            return result

        return job

    still = case.current.displacement_vox
    regional = Regional(still, Certificate(0.0, 0, 0.0, False, True), 2.0, 1.0, 1, ("a note",))
    monkeypatch.setattr("engine.optimize.general.general_displacement", at_once((still, 0)))
    monkeypatch.setattr("engine.optimize.iso.iso", at_once(Refined(still, 1, notes=("a note",))))
    monkeypatch.setattr("engine.optimize.rso.rso", at_once(regional))
    monkeypatch.setattr("engine.models.unlike_training", lambda model, *pair: (f"{model} was not trained on this",))
    told = "general was not trained on this"

    assert _run(case, GeneralSettings()).steps[-1].notes == (told,)
    for settings in (IsoSettings(1, "network"), RsoSettings(BOX, 1, "network")):
        assert _run(case, settings).steps[-1].notes == ("a note", told)
        assert _run(case, replace(settings, by="field")).steps[-1].notes == ("a note",)


def test_regions_are_numbered_and_carry_box_errors_and_certificate(case: Case) -> None:
    first = _run(case, RsoSettings(BOX, 30))
    second = _run(case.after(first), RsoSettings(BOX, 30, similarity="mse"))

    assert [step.name for step in second.steps] == ["rso 1", "rso 2"]
    for step in second.steps:
        assert step.box == BOX
        assert step.settings["box"] == "22:32,12:22,8:16"
        assert step.box_rmse_hu_after <= step.box_rmse_hu_before
        assert step.certificate.passed
    assert first.steps[0].box_rmse_hu_after < first.steps[0].box_rmse_hu_before
    assert second.steps[1].box_rmse_hu_before == pytest.approx(second.steps[0].box_rmse_hu_after, abs=0.01)


@pytest.mark.parametrize("slices", [1, 2])
@pytest.mark.parametrize("settings", [IsoSettings(2), RsoSettings(Box(12, 20, 14, 24, 0, 1), 2)])
def test_a_few_slices_are_refined_as_well(slices: int, settings, phantom: PhantomPair) -> None:
    box = Box(0, 43, 0, 40, 10, 10 + slices)
    thin = Case.new(*(_cropped(volume, box) for volume in (phantom.fixed, phantom.moving)))

    result = _run(thin, settings)

    assert np.isfinite(result.displacement_vox).all()
    assert result.steps[-1].rmse_hu <= measured(thin, thin.current).rmse_hu


def _cropped(volume: Volume, box: Box) -> Volume:
    inside = box.slices_zyx
    return Volume(volume.hu[inside].copy(), volume.geometry.cropped(box), volume.valid[inside].copy(), volume.modality)


def test_undo_is_the_same_array_as_before(case: Case) -> None:
    before = case.current.displacement_vox
    bits = before.copy()

    after = case.after(_run(case, RsoSettings(BOX, 2)))

    assert after.undone().current.displacement_vox is before
    np.testing.assert_array_equal(before, bits)
    assert (after.current.displacement_vox != before).any()


def test_the_same_seed_gives_the_same_bits(case: Case, weights: Path) -> None:
    at_general = case.after(replace(case.current, model=f"general={weights}"))
    for settings in (AlignSettings(), GeneralSettings(f"general={weights}"), IsoSettings(2), RsoSettings(BOX, 2)):
        first, second = (_run(at_general, settings) for _ in range(2))

        np.testing.assert_array_equal(first.rigid, second.rigid)
        np.testing.assert_array_equal(first.displacement_vox, second.displacement_vox)


def test_a_step_that_is_stopped_is_on_record_with_what_it_did(case: Case) -> None:
    job = run_step(case, RsoSettings(BOX, 50), ONE_THREAD)
    for _ in range(3):
        next(job)
    job.send(STOP)

    result = finish(job)

    assert result.steps[-1].iterations == 3 + 10
    assert result.steps[-1].certificate.passed
    assert result.steps[-1].box_rmse_hu_after < result.steps[-1].box_rmse_hu_before


@pytest.mark.parametrize("settings", [AlignSettings(), IsoSettings(5), RsoSettings(BOX, 5)])
def test_a_cancelled_step_leaves_the_case_as_it_was(settings, case: Case) -> None:
    bits, steps = case.current.displacement_vox.copy(), case.current.steps
    job = run_step(case, settings, ONE_THREAD)
    next(job)

    job.close()

    np.testing.assert_array_equal(case.current.displacement_vox, bits)
    assert case.current.steps == steps


def test_reports_end_with_the_measurement_and_carry_no_preview_unasked(case: Case, monkeypatch) -> None:
    monkeypatch.setattr(PreviewClock, "due", lambda self: True)
    quiet: list[Progress] = []
    shown: list[Progress] = []

    finish(run_step(case, IsoSettings(2), ONE_THREAD), quiet.append)
    finish(run_step(case, IsoSettings(2), ONE_THREAD, preview=True), shown.append)

    assert [report.note for report in quiet] == ["", "", "measuring"]
    assert all(report.preview is None for report in quiet)
    assert all(report.preview is not None for report in shown[:2])


@pytest.mark.parametrize(
    "bad",
    [
        lambda: IsoSettings(0),
        lambda: IsoSettings(by="hand"),
        lambda: IsoSettings(similarity="ncc"),
        lambda: IsoSettings(weight=-0.1),
        lambda: IsoSettings(weight=float("nan")),
        lambda: RsoSettings(BOX, iterations=-1),
        lambda: RsoSettings(BOX, by="model"),
        lambda: RsoSettings(BOX, scope="slice"),
        lambda: RsoSettings(BOX, similarity=""),
        lambda: RsoSettings(BOX, weight=-1.0),
    ],
)
def test_bad_settings_are_refused(bad) -> None:
    with pytest.raises(InputError, match="Expected"):
        bad()


@pytest.mark.parametrize(
    "settings",
    [
        AlignSettings("no/such/file.tfm"),
        GeneralSettings("vgg"),
        GeneralSettings("unet-paper"),
        GeneralSettings("general=no/such.safetensors"),
        RsoSettings(Box(30, 44, 0, 9, 0, 9)),
        RsoSettings(Box(-1, 10, 0, 9, 0, 9)),
    ],
)
def test_settings_that_do_not_fit_the_case_are_refused(settings, case: Case) -> None:
    with pytest.raises(InputError):
        _run(case, settings)


def test_a_device_that_is_not_there_is_refused(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    with pytest.raises(DeviceError, match="found none"):
        finish(run_step(case, IsoSettings(1), Runtime("cuda", threads=1)))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), DeviceError),
        (MemoryError(), DeviceError),
        (RuntimeError("something else"), RuntimeError),
    ],
)
def test_only_a_full_memory_is_the_user_s_problem(raised: Exception, expected: type, case: Case, monkeypatch) -> None:
    def fails(*_):
        raise raised

    monkeypatch.setattr("engine.optimize.iso.descend", fails)

    with pytest.raises(expected):
        _run(case, IsoSettings(1))


def _refused() -> None:
    """As the allocator does that believes in a recording under way."""
    raise RuntimeError("captures_underway.empty() INTERNAL ASSERT FAILED")


def test_a_gpu_without_memory_leaves_the_step_to_the_cpu(case: Case, monkeypatch) -> None:
    real = session._job

    def on_a_small_gpu(case, settings, device, preview, watched):
        if device.type == "cuda":
            yield Progress("iso", 1, 2)
            raise RuntimeError("CUDA out of memory. Tried to allocate")
        return (yield from real(case, settings, device, preview, watched))

    monkeypatch.setattr(session, "_job", on_a_small_gpu)
    monkeypatch.setattr(Runtime, "torch_device", lambda self: torch.device("cuda"))
    monkeypatch.setattr(torch.cuda, "empty_cache", _refused)
    reports: list[Progress] = []

    result = finish(run_step(case, IsoSettings(2), ONE_THREAD), reports.append)

    assert "on the CPU, since the GPU's memory was full" in result.steps[-1].notes
    assert any("going on on the CPU" in report.note for report in reports)
    assert result.displacement_vox.any()


@pytest.fixture
def brick() -> Case:
    """A brick of 40 HU in air, 60 HU brighter in the moving image; one invalid corner of the moving image."""
    geometry = Geometry((20, 22, 24), (4.0, 4.5, 5.0), (7.0, -11.0, 90.0))
    hu = np.full(geometry.shape_zyx, AIR_HU, np.float32)
    hu[3:17, 4:18, 5:19] = 40.0
    brighter, valid = hu.copy(), np.ones(hu.shape, bool)
    brighter[3:17, 4:18, 5:19] = 100.0
    brighter[0, 0, :4], valid[0, 0, :4] = 3000.0, False
    return Case.new(Volume(hu, geometry, np.ones(hu.shape, bool)), Volume(brighter, geometry, valid))


def test_the_warped_image_of_the_identity_is_the_moving_image_where_it_was_seen(brick: Case) -> None:
    warped = warped_hu(brick)

    seen = brick.moving.valid
    np.testing.assert_allclose(warped[seen], brick.moving.hu[seen], atol=0.01)
    assert (warped[~seen] == PADDING_HU).all()


def test_measured_figures_by_hand(brick: Case) -> None:
    """60 HU in 14³ of the 10560 − 4 voxels that both saw; the field is u_y = 0.2 y, roughness 0.04 / 9 in the body."""
    still = measured(brick, brick.current)
    displacement = np.zeros((3, 20, 22, 24), np.float32)
    displacement[1] = 0.2 * np.arange(22, dtype=np.float32).reshape(1, 22, 1)
    stretched = measured(brick, replace(brick.current, displacement_vox=displacement))

    assert still.rmse_hu == pytest.approx(60 * (14**3 / (20 * 22 * 24 - 4)) ** 0.5, abs=0.01)
    assert (still.folding_percent, still.min_jacobian, still.roughness) == (0.0, 1.0, 0.0)
    assert stretched.min_jacobian == pytest.approx(1.2, abs=1e-4)
    assert stretched.roughness == pytest.approx(0.04 / 9, rel=1e-3)


def test_folds_in_the_air_do_not_count(brick: Case) -> None:
    body = body_of(brick.fixed)
    assert body[10, 10, 12]
    assert not body[1, 1, 22]
    in_air, in_body = np.zeros((2, 3, 20, 22, 24), np.float32)
    in_air[2, 1, 1, 22] = in_body[2, 10, 10, 12] = -1.5

    assert measured(brick, replace(brick.current, displacement_vox=in_air)).folding_percent == 0.0
    folding = measured(brick, replace(brick.current, displacement_vox=in_body))
    assert folding.min_jacobian == pytest.approx(-0.5)
    assert folding.folding_percent == pytest.approx(100 / body[:-1, :-1, :-1].sum())


def test_the_last_warped_image_is_kept_and_no_other(case: Case) -> None:
    moved = case.after(replace(case.current, displacement_vox=case.current.displacement_vox + np.float32(1)))

    first = warped_hu(case)

    assert warped_hu(case) is first
    assert not first.flags.writeable
    assert not np.array_equal(warped_hu(moved), first)
    assert warped_hu(case) is not first
    np.testing.assert_array_equal(warped_hu(case), first)
