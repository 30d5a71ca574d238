from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.errors import InputError
from engine.optimize import descent
from engine.optimize.captured import Graphs
from engine.optimize.collar import COLLAR_VOX, collared
from engine.optimize.rso import Regional, RegionalSettings, limited, rso
from engine.progress import STOP, Job, PreviewClock, Progress, finish
from engine.registration import Registration
from engine.roi import Box
from engine.spatial.jacobian import jacobian_determinant
from engine.spatial.live_field import LiveField
from engine.spatial.volume_warp import warped_volume
from engine.volume import PADDING_HU

CPU = torch.device("cpu")
WAYS = [("field", "crop"), ("field", "image"), ("network", "crop"), ("network", "image")]
ITERATIONS = {"field": 6, "network": 3}


@pytest.fixture(scope="module")
def start(pair, stable_model: str) -> Registration:
    """A smooth displacement of up to half a voxel, so that every bit of it has to be kept outside."""
    z, y, x = np.meshgrid(*(np.linspace(0, 3, n) for n in pair.fixed.geometry.shape_zyx), indexing="ij")
    waves = 0.5 * np.stack([np.sin(x), np.cos(y + z), np.sin(z)]).astype(np.float32)
    return Registration(pair.fixed.geometry, np.eye(4), waves, model=stable_model)


@pytest.fixture(scope="module")
def settings(box: Box, stable_model: str) -> Callable[[str, str], RegionalSettings]:
    def make(by: str, scope: str) -> RegionalSettings:
        return RegionalSettings(box, ITERATIONS[by], by, scope, "lncc", None, stable_model, "rso 2")

    return make


@pytest.fixture(scope="module", params=WAYS, ids="-".join)
def finished_run(request, pair, start, settings) -> tuple[Regional, list[Progress]]:
    reports: list[Progress] = []
    job = rso(pair.fixed, pair.moving, start, settings(*request.param), CPU, False)
    return finish(job, reports.append), reports


def _outside(shape: tuple[int, ...], box: Box) -> np.ndarray:
    outside = np.ones(shape, bool)
    outside[collared(box, (shape[0], shape[1], shape[2])).slices_zyx] = False
    return outside


def _box_rmse_hu(pair, start: Registration, displacement_vox: np.ndarray, box: Box) -> float:
    warped = warped_volume(pair.moving, replace(start, displacement_vox=displacement_vox))
    difference = (warped - pair.fixed.hu)[box.slices_zyx][pair.fixed.valid[box.slices_zyx]]
    return float(np.sqrt(np.mean(difference**2)))


def test_the_error_in_the_box_falls_and_is_what_it_says(finished_run, pair, start, box: Box) -> None:
    """Recomputed with the whole warp; normalised images are cut off above 3000 HU, which the phantom does not reach."""
    regional, _ = finished_run

    before = _box_rmse_hu(pair, start, start.displacement_vox, box)
    after = _box_rmse_hu(pair, start, regional.displacement_vox, box)
    assert after < before
    assert regional.box_rmse_hu_before == pytest.approx(before, abs=0.1)
    assert regional.box_rmse_hu_after == pytest.approx(after, abs=0.1)


def test_outside_box_and_collar_every_bit_is_kept(finished_run, start, box: Box) -> None:
    regional, _ = finished_run
    outside = _outside(start.fixed.shape_zyx, box)

    assert outside.any(axis=(1, 2)).all()
    np.testing.assert_array_equal(regional.displacement_vox[:, outside], start.displacement_vox[:, outside])
    assert (regional.displacement_vox != start.displacement_vox).any()


def test_the_certificate_passes_and_tells_the_truth(finished_run, start) -> None:
    certificate = finished_run[0].certificate
    after = jacobian_determinant(finished_run[0].displacement_vox)

    assert certificate.passed
    assert (certificate.max_change_outside_mm, certificate.new_folds, certificate.box_error_grew) == (0.0, 0, False)
    assert 0 < certificate.seam_gradient_jump <= 0.25
    assert 0 < certificate.scaled_by_fold_guard <= 1
    assert jacobian_determinant(start.displacement_vox).min() > 0
    assert after.min() > 0


def test_every_iteration_is_reported_with_the_error_in_the_box(finished_run) -> None:
    regional, reports = finished_run

    assert [report.done for report in reports] == list(range(1, len(reports) + 1))
    assert {(report.stage, report.total) for report in reports} == {("rso 2", len(reports))}
    assert all(report.box_rmse_hu is not None and report.preview is None for report in reports)
    assert regional.iterations == len(reports) in ITERATIONS.values()


def test_a_start_is_not_written_to(finished_run, start) -> None:
    z, y, x = np.meshgrid(*(np.linspace(0, 3, n) for n in start.fixed.shape_zyx), indexing="ij")

    expected = 0.5 * np.stack([np.sin(x), np.cos(y + z), np.sin(z)]).astype(np.float32)
    np.testing.assert_array_equal(start.displacement_vox, expected)
    assert finished_run[0].displacement_vox is not start.displacement_vox


def _stopped(job: Job[Regional], reports: list[Progress]) -> Regional:
    try:
        while True:
            reports.append(job.send(STOP))
    except StopIteration as end:
        result: Regional = end.value
        return result


@pytest.mark.parametrize(("stopped_at", "ends_at"), [(3, 13), (15, 25), (38, 38)])
def test_stop_returns_the_best_so_far_after_a_few_iterations_at_the_voxels(
    stopped_at: int, ends_at: int, pair, start, settings, box: Box
) -> None:
    """Of 40 iterations 16 are coarse; STOP among the others ends at once."""
    job = rso(pair.fixed, pair.moving, start, replace(settings("field", "crop"), iterations=40), CPU, False)
    reports = [next(job) for _ in range(stopped_at)]

    regional = _stopped(job, reports)

    assert regional.iterations == len(reports) == ends_at
    assert regional.certificate.passed
    assert regional.box_rmse_hu_after < regional.box_rmse_hu_before
    best = [report.box_rmse_hu for report in reports if report.best][-1]
    assert regional.box_rmse_hu_after == pytest.approx(best, rel=0.01)


def test_a_search_by_field_ends_once_nothing_more_is_gained(pair, start, settings) -> None:
    """Of 400 iterations fewer than 200 are needed, and 100 asked for end as well."""
    reports: list[Progress] = []
    many, enough = (
        finish(rso(pair.fixed, pair.moving, start, replace(settings("field", "crop"), iterations=n), CPU, False), tell)
        for n, tell in ((400, reports.append), (100, None))
    )

    assert 100 < many.iterations < 200
    assert [report.done for report in reports] == list(range(1, many.iterations + 1))
    assert reports[0].total == 400 > reports[-1].total >= many.iterations
    assert enough.iterations <= 100
    assert many.box_rmse_hu_after == pytest.approx(enough.box_rmse_hu_after, rel=0.02)
    assert many.box_rmse_hu_after < 0.5 * many.box_rmse_hu_before


def test_a_cancelled_job_leaves_nothing(pair, start, settings) -> None:
    before = start.displacement_vox.copy()
    job = rso(pair.fixed, pair.moving, start, settings("field", "crop"), CPU, False)
    next(job)
    next(job)

    job.close()

    with pytest.raises(StopIteration) as end:
        next(job)
    assert end.value.value is None
    np.testing.assert_array_equal(start.displacement_vox, before)


@pytest.mark.parametrize("by", ["field", "network"])
def test_the_same_again_gives_the_same_bits(by: str, pair, start, settings) -> None:
    chosen = replace(settings(by, "crop"), iterations=2)

    first, second = (finish(rso(pair.fixed, pair.moving, start, chosen, CPU, False)) for _ in range(2))

    np.testing.assert_array_equal(first.displacement_vox, second.displacement_vox)
    assert first.certificate == second.certificate


@pytest.mark.parametrize("by", ["field", "network"])
def test_a_box_is_refined_stiffer_where_images_are_noisy(by: str, pair, start, settings, monkeypatch) -> None:
    rough = replace(start, displacement_vox=3 * start.displacement_vox)

    def refined(noise_hu: float, **changes: float) -> np.ndarray:
        monkeypatch.setattr(
            "engine.optimize.rso.pair_noise_hu", lambda _fixed, _moving, least, most: min(max(noise_hu, least), most)
        )
        job = rso(pair.fixed, pair.moving, rough, replace(settings(by, "crop"), **changes), CPU, False)
        return finish(job).displacement_vox

    usual = refined(3.0)
    np.testing.assert_array_equal(refined(5.0), usual)
    np.testing.assert_array_equal(refined(10.0), refined(3.0, stiffness=2.0))
    np.testing.assert_array_equal(refined(99.0), refined(3.0, stiffness=3.0))
    assert (refined(10.0) != usual).any()
    np.testing.assert_array_equal(refined(10.0, smoothness=1.0), refined(3.0, smoothness=1.0))


def test_nothing_better_is_an_answer(pair, start, settings) -> None:
    """With an enormous weight of the roughness the start is best; it passes, itself unchanged."""
    chosen = replace(settings("field", "crop"), iterations=2, smoothness=1e9)

    regional = finish(rso(pair.fixed, pair.moving, start, chosen, CPU, False))

    assert "nothing better found" in regional.notes
    np.testing.assert_array_equal(regional.displacement_vox, start.displacement_vox)
    assert regional.box_rmse_hu_after == regional.box_rmse_hu_before
    assert regional.certificate.passed


def test_a_recording_that_fails_at_the_coarse_level_is_told(
    pair, start, settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fine level, which is not recorded, says nothing of it."""
    recorded = iter((True, False))

    def refused() -> Graphs:
        raise RuntimeError("CUDA error: operation not permitted when stream is capturing")

    monkeypatch.setattr(
        descent, "_steps", lambda look, what, _: descent._RecordedSteps(look, what, next(recorded), refused)
    )
    regional = finish(rso(pair.fixed, pair.moving, start, settings("field", "crop"), CPU, False))

    assert "the GPU's steps were launched one by one, since their recording failed" in regional.notes


def test_a_box_beside_the_face_of_the_image_is_refined_up_to_the_face(pair, start, settings) -> None:
    box = Box(24, 34, 0, 9, 0, 8)
    chosen = replace(settings("field", "crop"), box=box)

    regional = finish(rso(pair.fixed, pair.moving, start, chosen, CPU, False))

    outside = _outside(start.fixed.shape_zyx, box)
    np.testing.assert_array_equal(regional.displacement_vox[:, outside], start.displacement_vox[:, outside])
    assert regional.certificate.passed


def test_a_box_in_which_the_scanner_saw_nothing_is_refused(pair, start, settings, box: Box) -> None:
    valid = pair.fixed.valid.copy()
    valid[box.slices_zyx] = False

    with pytest.raises(InputError, match="both scanners saw"):
        finish(rso(replace(pair.fixed, valid=valid), pair.moving, start, settings("field", "crop"), CPU, False))


def test_a_box_that_leaves_the_image_is_refused(pair, start, settings) -> None:
    chosen = replace(settings("field", "crop"), box=Box(30, 44, 2, 9, 2, 9))

    with pytest.raises(InputError, match="box inside the fixed image"):
        finish(rso(pair.fixed, pair.moving, start, chosen, CPU, False))


def test_a_preview_shows_the_crop(pair, start, settings, box: Box, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PreviewClock, "due", lambda self: True)
    job = rso(pair.fixed, pair.moving, start, settings("field", "crop"), CPU, True)
    preview = next(job).preview
    job.close()

    assert preview.region == collared(box, start.fixed.shape_zyx)
    assert preview.warped_hu.shape == preview.region.shape_zyx
    warped = warped_volume(pair.moving, start)[preview.region.slices_zyx]
    assert np.corrcoef(preview.warped_hu.ravel(), warped.ravel())[0, 1] > 0.8


@pytest.mark.parametrize(("by", "scope"), WAYS)
def test_a_preview_carries_the_displacement_of_its_image(
    pair, start, settings, by: str, scope: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the voxels of the crop to single precision; the whole image is shown as blurred as its working grid is."""
    monkeypatch.setattr(PreviewClock, "due", lambda self: True)
    job = rso(pair.fixed, pair.moving, start, settings(by, scope), CPU, True)
    preview = next(report.preview for report in job if report.done == ITERATIONS[by])
    job.close()

    live = LiveField(start.fixed, start.displacement_vox, preview)
    warped = warped_volume(pair.moving, replace(start, displacement_vox=live[:, :, :, :]))[preview.region.slices_zyx]
    seen = (warped > PADDING_HU) & pair.fixed.valid[preview.region.slices_zyx]
    if scope == "crop":
        assert np.median(np.abs(preview.warped_hu - warped)[seen]) < 0.5
    assert np.corrcoef(preview.warped_hu[seen], warped[seen])[0, 1] > 0.8


def test_long_vectors_are_cut_to_half_the_collar_and_short_ones_are_left() -> None:
    residual = torch.zeros(1, 3, 1, 1, 3)
    residual[0, :, 0, 0, 0] = torch.tensor([30.0, 0.0, 40.0])
    residual[0, :, 0, 0, 1] = torch.tensor([1.0, -2.0, 2.0])

    short = limited(residual)[0, :, 0, 0]

    expected = torch.tensor([[0.3 * COLLAR_VOX, 0.0, 0.4 * COLLAR_VOX], [1.0, -2.0, 2.0], [0.0, 0.0, 0.0]])
    torch.testing.assert_close(short.T, expected)
