"""Guidance followed by both refinements, on a phantom whose motion is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from engine.guidance import Guidance
from engine.metrics import rmse_hu
from engine.optimize.guide import compared, guiding, points_in
from engine.optimize.iso import ImageSettings, iso
from engine.optimize.pair_grid import at_spacing
from engine.optimize.rso import RegionalSettings, rso
from engine.preprocess import body_of
from engine.progress import finish
from engine.registration import Registration
from engine.roi import Box
from engine.spatial.volume_warp import warped_volume

CPU = torch.device("cpu")
BOX = Box(14, 32, 12, 28, 8, 24)


@pytest.fixture(scope="module")
def start(pair) -> Registration:
    return Registration.identity(pair.fixed.geometry)


def _refined(how: str, pair, start: Registration, guidance: Guidance) -> np.ndarray:
    if how == "iso":
        settings = ImageSettings(60, "field", "lncc", None, "general", guidance=guidance)
        return finish(iso(pair.fixed, pair.moving, start, settings, CPU, False)).displacement_vox
    regional = RegionalSettings(BOX, 60, "field", "crop", "lncc", None, "general", "rso 1", guidance=guidance)
    return finish(rso(pair.fixed, pair.moving, start, regional, CPU, False)).displacement_vox


def _off_mm(start: Registration, displacement: np.ndarray, guidance: Guidance) -> float:
    moved = replace(start, displacement_vox=displacement).map_points(guidance.fixed_points_mm)
    return float(np.linalg.norm(moved - guidance.moving_points_mm, axis=1).mean())


@pytest.mark.parametrize("how", ["iso", "rso"])
def test_points_are_brought_together(how: str, pair, start: Registration) -> None:
    """A point that the images alone would leave elsewhere: 5 mm beside its true partner."""
    index = np.array([[23.0, 20.0, 16.0]])
    fixed = pair.fixed.geometry.points(index)
    z, y, x = index[0, ::-1].astype(int)
    true_mm = fixed + pair.displacement_vox[::-1, z, y, x] * np.array(pair.fixed.geometry.spacing_xyz_mm)
    guidance = Guidance(fixed, true_mm + np.array([5.0, 0.0, 0.0]))

    without, followed = (_refined(how, pair, start, known) for known in (Guidance(), guidance))

    assert _off_mm(start, followed, guidance) < 0.5 * _off_mm(start, without, guidance)
    assert _off_mm(start, followed, guidance) < 2.0


def _strain(displacement: np.ndarray, mask: np.ndarray, spacing_zyx_mm: tuple[float, ...]) -> float:
    spacing = np.array(spacing_zyx_mm)
    gradient = np.stack([np.stack(np.gradient(u * mm, *spacing)) for u, mm in zip(displacement, spacing, strict=True)])
    f = np.moveaxis(gradient, (0, 1), (-2, -1))[mask] + np.eye(3)
    return float(((np.swapaxes(f, -1, -2) @ f - np.eye(3)) ** 2).sum(axis=(-2, -1)).mean())


@pytest.mark.parametrize("how", ["iso", "rso"])
def test_what_is_rigid_keeps_its_shape(how: str, pair, start: Registration) -> None:
    """A ball in the lung below, which breathing stretches: a fifth of the strain at most."""
    z, y, x = np.ogrid[tuple(slice(0, n) for n in pair.fixed.geometry.shape_zyx)]
    ball = (z - 14) ** 2 + (y - 19) ** 2 + (x - 23) ** 2 <= 25
    inside = ndimage.binary_erosion(ball)

    free, kept = (_refined(how, pair, start, known) for known in (Guidance(), Guidance(rigid=ball)))

    spacing = pair.fixed.geometry.spacing_zyx_mm
    assert (kept != start.displacement_vox).any()
    assert _strain(kept, inside, spacing) < 0.2 * _strain(free, inside, spacing)


@pytest.mark.parametrize("how", ["iso", "rso"])
def test_what_is_excluded_misleads_nothing(how: str, pair, start: Registration) -> None:
    """Noise where tissue vanished: with that left out the rest fits as without the noise, or nearly so."""
    region = Box(20, 28, 15, 23, 12, 19)
    excluded = np.zeros(pair.fixed.geometry.shape_zyx, bool)
    excluded[region.slices_zyx] = True
    spoilt_hu = pair.fixed.hu.copy()
    spoilt_hu[region.slices_zyx] = np.random.default_rng(0).uniform(-1000, 800, region.shape_zyx)
    spoilt = replace(pair, fixed=replace(pair.fixed, hu=spoilt_hu))
    counted = np.zeros_like(excluded)
    counted[BOX.slices_zyx] = True
    counted &= pair.fixed.valid & ~ndimage.binary_dilation(excluded, iterations=1)

    def error_hu(displacement: np.ndarray) -> float:
        warped = warped_volume(pair.moving, replace(start, displacement_vox=displacement))
        return rmse_hu(pair.fixed.hu, warped, counted)

    clean = error_hu(_refined(how, pair, start, Guidance()))
    misled = error_hu(_refined(how, spoilt, start, Guidance()))
    guided = error_hu(_refined(how, spoilt, start, Guidance(excluded=excluded)))
    assert guided < misled
    assert guided < 1.1 * clean


def test_what_is_excluded_is_seen_by_no_one(pair) -> None:
    excluded = np.zeros(pair.fixed.geometry.shape_zyx, bool)
    excluded[3:5] = True

    assert not compared(pair.fixed, Guidance(excluded=excluded)).valid[3:5].any()
    assert compared(pair.fixed, Guidance()) is pair.fixed


def test_points_count_in_their_box_only(oblique) -> None:
    index = np.array([[4.0, 5.0, 6.0], [9.4, 5.0, 6.0], [9.6, 5.0, 6.0]])
    guidance = Guidance(oblique.points(index), oblique.points(index))

    assert points_in(Box(4, 10, 5, 6, 6, 7), guidance, oblique).tolist() == [True, True, False]
    assert points_in(None, guidance, oblique).all()


def test_points_beyond_the_image_count_nowhere(oblique) -> None:
    index = np.array([[-2.0, 5.0, 6.0], [4.0, 5.0, 6.0]])

    assert points_in(None, Guidance(oblique.points(index), oblique.points(index)), oblique).tolist() == [False, True]


def test_excluding_a_part_of_a_lung_leaves_the_patient_as_he_is(pair) -> None:
    excluded = np.zeros(pair.fixed.geometry.shape_zyx, bool)
    excluded[6:24, 8:26, 6:24] = True

    without = compared(pair.fixed, Guidance(excluded=excluded))

    np.testing.assert_array_equal(body_of(without), body_of(pair.fixed))


def test_thin_bone_counts_for_as_much_of_a_voxel_as_it_fills(pair, start: Registration) -> None:
    """One voxel of 3 mm in a working grid of 6 mm: no voxel is half full of it."""
    shell = np.zeros(pair.fixed.geometry.shape_zyx, bool)
    shell[:, 20] = True
    grid = at_spacing(pair.fixed, pair.moving, start.rigid, 6.5, CPU)
    bent = torch.zeros(1, 3, *grid.geometry.shape_zyx)
    bent[:, 0] = torch.linspace(0, 4, grid.geometry.shape_zyx[2]) ** 2

    penalty = guiding(Guidance(rigid=shell), grid, start)

    assert penalty is not None
    assert penalty(bent).item() > 1.0
    assert penalty(torch.zeros_like(bent)).item() == 0.0


def test_iso_follows_guidance_even_where_the_images_fit_worse(pair, start: Registration) -> None:
    """After ISO a point 8 mm beside its partner: nothing that goes there has a lower error."""
    fitted = replace(start, displacement_vox=_refined("iso", pair, start, Guidance()))
    fixed_mm = pair.fixed.geometry.points([[23.0, 20.0, 16.0]])
    guidance = Guidance(fixed_mm, fitted.map_points(fixed_mm) + np.array([8.0, 0.0, 0.0]))

    followed = _refined("iso", pair, fitted, guidance)

    assert _off_mm(fitted, followed, guidance) < 3.0
