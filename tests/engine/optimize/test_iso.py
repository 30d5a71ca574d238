from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from engine.geometry import Geometry
from engine.metrics import field_figures
from engine.models import load_network
from engine.optimize.iso import ImageSettings, Refined, Watched, finest_spacing_mm, iso
from engine.preprocess import body_box, body_of
from engine.progress import STOP, Job, PreviewClock, Progress, finish
from engine.registration import Registration, Step
from engine.roi import Box
from engine.spatial.jacobian import jacobian_determinant
from engine.spatial.live_field import LiveField
from engine.spatial.volume_warp import warped_volume
from engine.volume import PADDING_HU, Volume

CPU = torch.device("cpu")
ITERATIONS = 4


@pytest.fixture(scope="module")
def start(pair) -> Registration:
    """A smooth displacement of up to half a voxel, so that a start other than zero has to be kept."""
    z, y, x = np.meshgrid(*(np.linspace(0, 3, n) for n in pair.fixed.geometry.shape_zyx), indexing="ij")
    waves = 0.5 * np.stack([np.sin(x), np.cos(y + z), np.sin(z)]).astype(np.float32)
    return Registration(pair.fixed.geometry, np.eye(4), waves)


def _rmse_hu(pair, registration: Registration) -> float:
    warped = warped_volume(pair.moving, registration)
    seen = pair.fixed.valid & (warped > PADDING_HU)
    return float(np.sqrt(np.mean((warped - pair.fixed.hu)[seen] ** 2)))


Jobs = dict[str, Callable[[], Job[Refined]]]


@pytest.fixture(scope="module")
def jobs(pair, start: Registration, stable_model: str) -> Jobs:
    def job(by: str) -> Job[Refined]:
        return iso(
            pair.fixed, pair.moving, start, ImageSettings(ITERATIONS, by, "lncc", None, stable_model), CPU, False
        )

    return {by: partial(job, by) for by in ("field", "network")}


def _by_field(
    fixed: Volume,
    moving: Volume,
    start: Registration,
    iterations: int,
    *,
    similarity: str = "mse",
    smoothness: float | None = None,
    preview: bool = False,
    watched: Watched | None = None,
) -> Job[Refined]:
    settings = ImageSettings(iterations, "field", similarity, smoothness, "general", watched)
    return iso(fixed, moving, start, settings, CPU, preview)


@pytest.fixture(scope="module", params=["field", "network"])
def finished_run(request, jobs: Jobs) -> tuple[Refined, list[Progress]]:
    reports: list[Progress] = []
    return finish(jobs[request.param](), reports.append), reports


def test_the_error_falls_without_a_fold(finished_run, pair, start: Registration) -> None:
    refined, reports = finished_run

    after = replace(start, displacement_vox=refined.displacement_vox)
    assert _rmse_hu(pair, after) < _rmse_hu(pair, start)
    assert jacobian_determinant(refined.displacement_vox).min() > 0
    assert [(report.stage, report.done, report.total) for report in reports] == [("iso", n, 4) for n in (1, 2, 3, 4)]
    assert refined.iterations == ITERATIONS
    assert refined.displacement_vox is not start.displacement_vox


@pytest.mark.parametrize("finished_run", ["network"], indirect=True)
def test_a_network_s_own_copy_is_adapted(finished_run, stable_model: str) -> None:
    weights = finished_run[0].weights

    shipped = dict(load_network(stable_model).named_parameters())
    assert weights.keys() == shipped.keys()
    assert not torch.equal(weights["flow.weight"], shipped["flow.weight"])


def _stopped(job: Job[Refined]) -> Refined:
    """What a job returns to one who asks it to stop at every report."""
    while True:
        try:
            job.send(STOP)
        except StopIteration as end:
            refined: Refined = end.value
            return refined


@pytest.mark.parametrize(("after", "ended"), [(1, 4), (3, 3)])
def test_stop_returns_the_best_so_far_of_the_fine_level(
    after: int, ended: int, jobs: Jobs, pair, start: Registration
) -> None:
    """Two iterations at 5.4 mm, two at 2.7 mm: after STOP at the first level those of the second still follow."""
    job = jobs["field"]()
    for _ in range(after):
        next(job)

    refined = _stopped(job)

    assert refined.iterations == ended
    assert _rmse_hu(pair, replace(start, displacement_vox=refined.displacement_vox)) < _rmse_hu(pair, start)


@pytest.mark.parametrize("start_is_recorded", [True, False])
def test_the_error_told_falls_in_proportion_to_that_of_the_working_grid(
    start_is_recorded: bool, pair, start: Registration
) -> None:
    """It begins with that of the last step and ends near what the result has at the voxels."""
    before_hu = _rmse_hu(pair, start)
    if start_is_recorded:
        start = start.after(Step("general", {}, 1, 0.1, before_hu, 0.0, 1.0, 0.0))
    reports: list[Progress] = []

    refined = finish(_by_field(pair.fixed, pair.moving, start, 60), reports.append)

    after_hu = _rmse_hu(pair, replace(start, displacement_vox=refined.displacement_vox))
    assert after_hu < 0.8 * before_hu
    told_hu = min(report.rmse_hu for report in reports)
    assert told_hu == pytest.approx(after_hu, rel=0.2 if start_is_recorded else 0.4)


def test_nothing_better_is_an_answer(pair) -> None:
    """An image and itself: nothing is better than no motion, and the start comes back itself."""
    start = Registration.identity(pair.fixed.geometry)

    refined = finish(_by_field(pair.fixed, pair.fixed, start, 2))

    assert refined.displacement_vox is start.displacement_vox
    assert refined.notes == ("nothing better found",)
    assert refined.iterations == 2


def test_noise_of_the_start_is_taken_away(pair, start: Registration) -> None:
    """What a start has that no control point can take away is smoothed before the search, not carried through it."""
    noise = np.random.default_rng(0).normal(0.0, 0.3, start.displacement_vox.shape).astype(np.float32)
    noisy = replace(start, displacement_vox=start.displacement_vox + noise)

    refined = finish(_by_field(pair.fixed, pair.moving, noisy, 4))

    assert _roughness(refined.displacement_vox) < 0.05 * _roughness(noisy.displacement_vox)
    assert _rmse_hu(pair, replace(start, displacement_vox=refined.displacement_vox)) < _rmse_hu(pair, noisy)


def _roughness(displacement_vox: np.ndarray) -> float:
    return field_figures(displacement_vox, np.ones(displacement_vox.shape[1:], dtype=bool)).roughness


def test_the_same_again_gives_the_same_bits(jobs: Jobs) -> None:
    first, second = finish(jobs["field"]()), finish(jobs["field"]())

    np.testing.assert_array_equal(first.displacement_vox, second.displacement_vox)


@pytest.mark.parametrize(
    ("voxel_mm", "voxels", "finest_mm"),
    [(1.0, 100, 2.0), (2.5, 40, 2.5), (4.0, 30, 4.0), (1.25, 200, 2.5), (2.0, 200, 3.0)],
)
def test_the_finest_grid_is_as_fine_as_a_million_voxels_allow(voxel_mm: float, voxels: int, finest_mm: float) -> None:
    """Between two and three millimeters, but never finer than the image."""
    shape = (voxels, voxels, voxels)
    water = np.broadcast_to(np.float32(0.0), shape)
    geometry = Geometry(shape, (voxel_mm, voxel_mm, 2 * voxel_mm))

    found = finest_spacing_mm(Volume(water, Geometry(shape, (voxel_mm,) * 3), np.broadcast_to(np.True_, shape)))

    assert found == pytest.approx(finest_mm, rel=0.02)
    assert finest_spacing_mm(Volume(water, geometry, np.broadcast_to(np.True_, shape))) >= found


@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_few_iterations_are_all_run(iterations: int, pair, start: Registration) -> None:
    reports: list[Progress] = []

    finish(_by_field(pair.fixed, pair.moving, start, iterations), reports.append)

    assert [report.done for report in reports] == list(range(1, iterations + 1))


def test_a_preview_shows_the_warped_image_round_the_patient(pair, start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PreviewClock, "due", lambda self: True)
    job = _by_field(pair.fixed, pair.moving, start, 2, preview=True)
    preview = next(job).preview
    job.close()

    assert preview.region == body_box(pair.fixed)
    assert preview.warped_hu.shape == preview.region.shape_zyx
    assert preview.warped_hu.dtype == np.float32
    warped = warped_volume(pair.moving, start)[preview.region.slices_zyx]
    seen = warped > PADDING_HU
    assert np.corrcoef(preview.warped_hu[seen], warped[seen])[0, 1] > 0.8, "blurred to 5.4 mm and one step further"


def test_a_preview_carries_the_displacement_of_its_image(pair, start, monkeypatch: pytest.MonkeyPatch) -> None:
    """The moving image warped by it is the preview, but for the blur of the working grid; a copy stays as it is."""
    monkeypatch.setattr(PreviewClock, "due", lambda self: True)
    job = _by_field(pair.fixed, pair.moving, start, 30, preview=True)
    preview = next(report.preview for report in job if report.done == 25)
    kept = preview.displacement_vox.copy()
    next(job)
    job.close()

    np.testing.assert_array_equal(preview.displacement_vox, kept)
    live = LiveField(start.fixed, start.displacement_vox, preview)
    whole = live[:, :, :, :]
    before, after = (
        warped_volume(pair.moving, replace(start, displacement_vox=u))[preview.region.slices_zyx]
        for u in (start.displacement_vox, whole)
    )
    seen = (before > PADDING_HU) & (after > PADDING_HU)
    away = [np.abs(preview.warped_hu - warped)[seen].mean() for warped in (before, after)]
    assert np.abs(whole - start.displacement_vox).max() > 0.5
    assert away[1] < away[0]
    assert np.corrcoef(preview.warped_hu[seen], after[seen])[0, 1] > 0.95


def test_nothing_is_compared_where_nothing_was_seen(pair, start: Registration) -> None:
    """Whatever stands in invalid voxels of the fixed image, the result is the same to the bit."""
    geometry: Geometry = pair.fixed.geometry
    other = np.where(pair.fixed.valid, pair.fixed.hu, np.float32(777.0))
    assert not pair.fixed.valid.all()

    results = [
        finish(_by_field(replace(pair.fixed, hu=hu), pair.moving, start, 2, similarity="lncc"))
        for hu in (pair.fixed.hu.copy(), other)
    ]

    np.testing.assert_array_equal(results[0].displacement_vox, results[1].displacement_vox)
    assert start.fixed == geometry


def test_the_error_of_a_watched_box_is_told_beside_the_image_s(pair, start: Registration) -> None:
    """At the voxels, as boxes are told elsewhere, though it is worked out on a coarser grid."""
    reports: list[Progress] = []
    z, y, x = pair.fixed.geometry.shape_zyx
    box = Box(x // 3, 2 * x // 3, y // 3, 2 * y // 3, z // 3, 2 * z // 3)

    def error_hu(registration: Registration) -> float:
        warped = warped_volume(pair.moving, registration)
        seen = (pair.fixed.valid & (warped > PADDING_HU))[box.slices_zyx]
        return float(np.sqrt(np.mean((warped - pair.fixed.hu)[box.slices_zyx][seen] ** 2)))

    known = Watched(box, error_hu(start))
    watched = finish(_by_field(pair.fixed, pair.moving, start, ITERATIONS, watched=known), reports.append)
    plain = finish(_by_field(pair.fixed, pair.moving, start, ITERATIONS))

    assert all(report.box_rmse_hu > 0 and report.rmse_hu > 0 for report in reports)
    after_hu = error_hu(replace(start, displacement_vox=watched.displacement_vox))
    assert after_hu < 0.9 * known.rmse_hu
    assert reports[-1].box_rmse_hu == pytest.approx(after_hu, rel=0.1)
    np.testing.assert_array_equal(watched.displacement_vox, plain.displacement_vox)


@pytest.mark.parametrize("similarity", ["mse", "lncc", "mind", "robust-mind"])
def test_every_similarity_leads_to_the_true_displacement(pair, similarity: str) -> None:
    """With the weight of the roughness that nobody sets: a quarter of the true motion at least, over the body."""
    still = Registration.identity(pair.fixed.geometry)
    settings = ImageSettings(60, "field", similarity, None, "general")

    refined = finish(iso(pair.fixed, pair.moving, still, settings, CPU, False))

    body = body_of(pair.fixed) & pair.fixed.valid
    off = np.linalg.norm(refined.displacement_vox - pair.displacement_vox, axis=0)[body].mean()
    assert off < 0.75 * np.linalg.norm(pair.displacement_vox, axis=0)[body].mean()
