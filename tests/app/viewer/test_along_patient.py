"""Slices along the patient's axes of an image whose own are oblique."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import SimpleITK as sitk
from PySide6.QtCore import Qt

from app.panels.readout import axes_text
from app.settings import load_view, save_view
from app.viewer.comparisons import COMPARISONS
from app.viewer.contours import Labels
from app.viewer.layers import SliceContext
from app.viewer.overlays import OVERLAYS
from app.viewer.overlays.displacement import values_mm
from app.viewer.pane_state import resolve
from app.viewer.pictures import Pictures, hu_at
from app.viewer.planes import along_patient_axes, is_oblique, plane_of, plane_of_keys, stepped, tilt_deg
from app.viewer.view_state import PLANES, Slot, ViewState
from engine.geometry import Geometry, as_triple
from engine.regions import NamedBox
from engine.roi import Box
from engine.spatial.section import CarriedLabels
from tests.app.viewer.oblique import CURSOR, GRID, NEXT, SHAPE_ZYX, TURNED, VIEW, known_hu, pixel_points, volume_of
from tests.conftest import rotation


@pytest.mark.parametrize("name", PLANES)
def test_pixels_are_the_function_at_their_place_in_the_patient(shown, name):
    """Single precision: 1e-6 voxel, and HU of some hundreds."""
    state = resolve(shown, VIEW, Slot(name, "fixed"))
    plane, pixels = state.plane, state.layers[0].draw()
    points = pixel_points(plane, plane.index(VIEW))
    indices = GRID.indices(points.reshape(-1, 3))[:, ::-1].reshape(points.shape)
    within = ((indices >= 0) & (indices <= np.array(SHAPE_ZYX) - 1)).all(axis=-1)
    assert 0.2 < within.mean() < 1
    np.testing.assert_allclose(pixels[within], known_hu(points[within]), atol=0.02)
    assert (pixels[~((indices > -0.5) & (indices < np.array(SHAPE_ZYX) - 0.5)).all(axis=-1)] == -2048).all()


def to_sitk(array, geometry):
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(geometry.spacing_xyz_mm)
    image.SetOrigin(geometry.origin_xyz_mm)
    image.SetDirection(np.asarray(geometry.direction).ravel().tolist())
    return image


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("image", ["fixed", "warped"])
def test_a_slice_is_what_simpleitk_makes_of_the_volume(shown, name, image):
    noisy = np.random.default_rng(4).uniform(-900, 700, SHAPE_ZYX).astype(np.float32)
    pictures = replace(shown, fixed_hu=noisy, warped_hu=noisy)
    state = resolve(pictures, VIEW, Slot(name, image))
    plane = state.plane
    rows, columns = plane.shape_zyx[plane.row], plane.shape_zyx[plane.column]
    points = pixel_points(plane, plane.index(VIEW))
    across, down = points[0, 1] - points[0, 0], points[1, 0] - points[0, 0]
    steps = np.linalg.norm(across), np.linalg.norm(down)
    toward = across / steps[0], down / steps[1]
    direction = np.stack([*toward, np.cross(*toward)], axis=1)
    target = Geometry((1, rows, columns), (*steps, 1.0), as_triple(points[0, 0]), tuple(map(as_triple, direction)))
    resampled = sitk.Resample(
        to_sitk(noisy, GRID), to_sitk(np.zeros(target.shape_zyx), target), sitk.Transform(), sitk.sitkLinear, -2048.0
    )
    assert (np.abs(state.layers[0].draw() - sitk.GetArrayFromImage(resampled)[0]) < 0.05).mean() > 0.999


def test_letters_and_lengths_are_those_of_the_patient(shown):
    edges = {name: resolve(shown, VIEW, Slot(name, "fixed")).plane.edges for name in PLANES}
    assert edges == {"axial": ("R", "L", "A", "P"), "coronal": ("R", "L", "S", "I"), "sagittal": ("A", "P", "S", "I")}
    for name in PLANES:
        plane = plane_of(GRID, name, True)
        points = pixel_points(plane, 3.0)
        np.testing.assert_allclose(np.ptp(points[..., NEXT[name]]), 0, atol=1e-9)
        sides = points[0, 0] - points[0, -1], points[0, 0] - points[-1, 0]
        pixels = plane.shape_zyx[plane.column] - 1, plane.shape_zyx[plane.row] - 1
        mm = [np.linalg.norm(side) for side in sides]
        np.testing.assert_allclose(mm, np.multiply(pixels, plane.spacing_mm), rtol=1e-9)


def test_the_grid_round_an_image_holds_it_with_steps_of_about_a_voxel():
    around = along_patient_axes(GRID)
    corners = np.array([(x, y, z) for x in (-0.5, 22.5) for y in (-0.5, 16.5) for z in (-0.5, 12.5)])
    inside = around.indices(GRID.points(corners))
    assert (inside > -0.5 - 1e-6).all()
    assert (inside < np.array(around.size_xyz) - 0.5 + 1e-6).all()
    for axis in range(3):
        step = np.zeros((2, 3))
        step[1, axis] = 1
        voxels = np.diff(GRID.indices(around.points(step)), axis=0)
        assert np.linalg.norm(voxels) == pytest.approx(1)


def test_only_an_oblique_grid_has_other_planes():
    flipped = Geometry(SHAPE_ZYX, (3.0, 0.9, 1.7), direction=((-1, 0, 0), (0, 0, 1), (0, 1, 0)))
    assert not is_oblique(flipped)
    assert plane_of(flipped, "axial", True) == plane_of(flipped, "axial")
    assert is_oblique(GRID)
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    assert tilt_deg(Geometry(SHAPE_ZYX, (1.0, 1.0, 1.0), direction=((c, -s, 0), (s, c, 0), (0, 0, 1)))) == (
        pytest.approx(30)
    )


@pytest.mark.parametrize("name", PLANES)
def test_slices_follow_each_other_along_the_patient_and_the_way_back_ends_where_it_began(name):
    plane, view = plane_of(GRID, name, True), VIEW
    places = []
    for _ in range(4):
        view = stepped(view, plane, 1)
        places.append(GRID.points([view.place_zyx[::-1]])[0])
        assert plane.place(view.place_zyx) == pytest.approx(plane.place(CURSOR))
    np.testing.assert_allclose(np.diff(places, axis=0)[:, NEXT[name]], places[1][NEXT[name]] - places[0][NEXT[name]])
    other = [axis for axis in range(3) if axis != NEXT[name]]
    np.testing.assert_allclose(np.diff(places, axis=0)[:, other], 0, atol=1e-9)
    back = stepped(view, plane, -4)
    assert back.place_zyx == pytest.approx(CURSOR)
    assert back.cursor_zyx == CURSOR
    last = stepped(view, plane, 10_000)
    assert plane.index(last) == plane.shape_zyx[plane.normal] - 1
    assert all(0 <= i < n for i, n in zip(last.cursor_zyx, SHAPE_ZYX, strict=True))


def test_another_cursor_forgets_the_place_between_voxels():
    view = stepped(VIEW, plane_of(GRID, "axial", True), 1)
    assert replace(view, cursor_zyx=(1, 2, 3)).place_zyx == (1, 2, 3)
    assert plane_of(GRID, "axial").cursor(view) == view.cursor_zyx


@pytest.mark.parametrize(("layout", "name"), [("compare", "sagittal"), ("single", "sagittal"), ("sheet", "axial")])
def test_keys_act_in_the_plane_of_all_panes_or_the_axial_one(layout, name):
    view = replace(VIEW, layout=layout, plane="sagittal")
    assert plane_of_keys(GRID, view) == plane_of(GRID, name, True)
    assert plane_of_keys(GRID, replace(view, along_patient=False)) == plane_of(GRID, name)


@pytest.mark.parametrize("name", OVERLAYS)
@pytest.mark.parametrize("plane", PLANES)
def test_every_overlay_fits_the_slice(shown, name, plane):
    masks = volume_of(lambda points: points[:, 0] > points[:, 0].mean()) > 0
    labels = Labels(fixed=masks.astype(np.uint8), numbers=(1,))
    pictures = replace(shown, rigid=masks, body=masks, fixed_valid=masks, labels=labels)
    state = resolve(pictures, replace(VIEW, overlays=frozenset({name})), Slot(plane, "warped"))
    base = state.layers[0].draw().shape
    for layer in state.layers[1:]:
        assert layer.draw().shape[:2] == base
    strokes = [stroke for row in state.strokes for stroke in row.draw()]
    assert len(state.layers) - 1 + len(state.strokes) == 1
    assert not state.strokes or any(stroke.joined.any() for stroke in strokes)


@pytest.mark.parametrize("name", [name for name, row in OVERLAYS.items() if row.of_field])
def test_every_overlay_follows_a_preview(shown, name):
    """The same displacement as in `shown`, on a working grid of its own, draws the same."""
    from engine.progress import Preview
    from engine.spatial.live_field import LiveField

    region = Box.whole(SHAPE_ZYX)
    working = GRID.resampled((4.0, 4.0, 5.0))
    scale = np.asarray(GRID.spacing_zyx_mm) / working.spacing_zyx_mm
    displacement = np.zeros((3, *working.shape_zyx), np.float32)
    displacement[:] = (np.array([0.5, -1.0, 2.0]) * scale).reshape(3, 1, 1, 1)
    preview = Preview(region, shown.warped_hu, displacement, working, 1)
    live = replace(shown, displacement_vox=LiveField(GRID, np.zeros_like(shown.displacement_vox), preview))
    view = replace(VIEW, overlays=frozenset({name}))
    before, after = (resolve(pictures, view, Slot("coronal", "warped")) for pictures in (shown, live))
    for one, other in zip(before.layers[1:], after.layers[1:], strict=True):
        assert np.abs(one.draw().astype(int) - other.draw()).max() <= 2
    for one, other in zip(before.strokes, after.strokes, strict=True):
        for first, second in zip(one.draw(), other.draw(), strict=True):
            np.testing.assert_allclose(first.places_mm, second.places_mm, atol=1e-3)


@pytest.mark.parametrize("comparison", COMPARISONS)
def test_every_comparison_fits_the_slice(shown, comparison):
    view = replace(VIEW, comparison=comparison, pointer_zyx=(6.2, 8.1, 11.4))
    state = resolve(shown, view, Slot("coronal", "warped"))
    assert state.layers[0].draw().shape[:2] == (state.plane.shape_zyx[0], state.plane.shape_zyx[2])


@pytest.fixture
def varied(shown):
    """Noise everywhere, so that no two voxels are alike, and masks of all kinds."""
    rng = np.random.default_rng(8)
    fixed, moving, warped = (rng.uniform(-900, 700, SHAPE_ZYX).astype(np.float32) for _ in range(3))
    masks = (rng.random(SHAPE_ZYX) < 0.7 for _ in range(4))
    valid, body, rigid, excluded = masks
    displacement = rng.uniform(-2, 2, (3, *SHAPE_ZYX)).astype(np.float32)
    return replace(
        shown,
        fixed_hu=fixed,
        fixed_valid=valid,
        moving_hu=moving,
        warped_hu=warped,
        displacement_vox=displacement,
        body=body,
        rigid=rigid,
        excluded=excluded,
    )


@pytest.mark.parametrize("name", PLANES)
@pytest.mark.parametrize("image", ["fixed", "moving", "warped", "difference"])
@pytest.mark.parametrize("comparison", [None, *(name for name in COMPARISONS if name != "edges")])
def test_of_a_sketch_each_pixel_is_that_of_the_slice(varied, name, image, comparison):
    """Each that is made, of every few rows and columns; single precision decides some at the edge of a voxel.

    Cells of a checkerboard follow the extent of the pixels, which the last row or column may overhang.
    """
    view = replace(VIEW, overlays=frozenset(OVERLAYS), comparison=comparison, pointer_zyx=(6.2, 8.1, 11.4))
    layers = resolve(varied, view, Slot(name, image)).layers
    assert len(layers) >= 2
    for layer in layers:
        drawn, sketched = layer.draw(), layer.pixels((2, 3))
        assert sketched.shape == drawn[::2, ::3].shape
        same = np.isclose(sketched.astype(float), drawn[::2, ::3].astype(float), atol=0.5)
        assert same.mean() > (0.9 if comparison == "checkerboard" else 0.97)


def test_outlines_are_sketched_from_every_second_pixel(varied):
    labels = np.random.default_rng(2).integers(0, 4, SHAPE_ZYX).astype(np.uint8)
    carried = CarriedLabels(labels, GRID, GRID, np.eye(4), varied.displacement_vox)
    for name in PLANES:
        plane = plane_of(GRID, name, True)
        for structures in (labels, carried):
            whole, thinned = (varied.labels_slice_of(structures, plane, 6.25, step) for step in (1, 2))
            assert (thinned == whole[::2, ::2]).mean() > 0.97


@pytest.mark.parametrize("name", PLANES)
def test_an_arrow_is_the_displacement_of_its_pixel(varied, name):
    view = replace(VIEW, overlays=frozenset({"arrows"}))
    state = resolve(varied, view, Slot(name, "warped"))
    across, down = state.plane.spacing_mm
    in_plane = SliceContext(varied, view, state.plane, "warped").in_plane_mm()
    arrows = np.concatenate([stroke.places_mm.reshape(-1, 5, 2) for stroke in state.strokes[0].draw()])
    assert len(arrows) > 10
    column, row = (np.rint(arrows[:, 0] / (across, down))).astype(int).T
    np.testing.assert_allclose(arrows[:, 0], np.stack([column * across, row * down], axis=1), atol=1e-9)
    expected = np.stack([moved[row, column] for moved in in_plane], axis=1)
    np.testing.assert_allclose(arrows[:, 1] - arrows[:, 0], expected, atol=1e-3)


@pytest.mark.parametrize("name", PLANES)
def test_the_warped_grid_takes_each_pixel_where_its_displacement_does(varied, name):
    view = replace(VIEW, overlays=frozenset({"grid"}), zoom=1.0)
    state = resolve(replace(varied, body=None), view, Slot(name, "warped"))
    across, down = state.plane.spacing_mm
    rows, columns = (state.plane.shape_zyx[axis] for axis in (state.plane.row, state.plane.column))
    moved = np.stack(SliceContext(varied, view, state.plane, "warped").in_plane_mm(), axis=-1)
    places = np.stack(np.meshgrid(np.arange(columns) * across, np.arange(rows) * down), axis=-1) + moved
    lying, upright = state.strokes[0].draw()
    for stroke, whole in ((lying, places), (upright, places.swapaxes(0, 1))):
        lines = stroke.places_mm.reshape(-1, whole.shape[1], 2)
        distance = np.abs(whole[:, np.newaxis] - lines[np.newaxis]).max(axis=(2, 3))
        assert len(lines) > 1
        np.testing.assert_allclose(distance.min(axis=0), 0, atol=1e-3)


@pytest.mark.parametrize("shape_zyx", [(2, 60, 60), (1, 60, 60), (2, 60, 2), (60, 1, 60)])
@pytest.mark.parametrize("comparison", [None, *COMPARISONS])
def test_a_thin_slab_that_is_hardly_oblique_is_drawn(shape_zyx, comparison):
    turned = tuple(as_triple(row) for row in rotation(0.2, 0.1, 0.2))
    grid = Geometry(shape_zyx, (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), turned)
    hu, u = np.zeros(shape_zyx, np.float32), np.ones((3, *shape_zyx), np.float32)
    pictures = Pictures(grid, hu, np.ones(shape_zyx, bool), hu, hu, u)
    overlays = frozenset(OVERLAYS) - {"jacobian"}  # needs two voxels along each axis
    view = ViewState(cursor_zyx=(0, 0, 0), along_patient=True, overlays=overlays, comparison=comparison)
    for name in PLANES:
        state = resolve(pictures, view, Slot(name, "warped"))
        assert state.plane.is_sampled
        assert state.layers[0].pixels((1, 1)) is not None
        assert state.layers[0].pixels((3, 3)) is not None
        for strokes in state.strokes:
            strokes.draw()


@pytest.mark.parametrize(("quantity", "axis"), [("left", 0), ("back", 1), ("head", 2)])
def test_directions_of_the_displacement_are_those_of_the_patient(shown, quantity, axis):
    """u = (0.5, -1, 2) voxels z y x, the same everywhere."""
    expected_mm = np.asarray(TURNED) @ (np.array([2.0, -1.0, 0.5]) * GRID.spacing_xyz_mm)
    for name in PLANES:
        plane = plane_of(GRID, name, True)
        context = SliceContext(shown, replace(VIEW, quantity=quantity), plane, "warped")
        inside = resolve(shown, VIEW, Slot(name, "fixed")).layers[0].draw() > -2000
        np.testing.assert_allclose(values_mm(context)[inside], expected_mm[axis], atol=1e-4)
    context = SliceContext(
        replace(shown, other_warped_hu=shown.warped_hu, other_displacement_vox=shown.displacement_vox),
        replace(VIEW, quantity="change"),
        plane,
        "warped",
    )
    assert np.abs(values_mm(context)).max() < 1e-4


def test_a_box_is_the_outline_in_which_the_plane_cuts_it(shown):
    box = Box(8, 15, 5, 11, 4, 9)
    for name in PLANES:
        state = resolve(shown, VIEW, Slot(name, "fixed"), (NamedBox("a", box),), 0)
        (shape,), plane = state.outlines, state.plane
        assert shape.on_slice
        for corner in shape.cut_mm:
            z, y, x = plane.index_at(corner, plane.cursor(VIEW))
            faces = [abs(i - face) for i, ends in zip((z, y, x), box.ranges_zyx, strict=True) for face in
                     (ends[0] - 0.5, ends[1] - 0.5)]  # fmt: skip
            assert sorted(faces)[1] < 1e-6, "a corner of the cut lies on an edge of the box, where two faces meet"
        mask = np.zeros(SHAPE_ZYX, np.uint8)
        mask[box.slices_zyx] = 1
        area_mm2 = plane.slice_of(mask, plane.index(VIEW)).sum() * np.prod(plane.spacing_mm)
        across, down = np.array(shape.cut_mm).T
        polygon_mm2 = abs(across @ np.roll(down, 1) - down @ np.roll(across, 1)) / 2
        assert polygon_mm2 == pytest.approx(area_mm2, rel=0.12)  # pixels of some millimetres along the edges


def test_beyond_the_voxels_there_is_no_difference(shown):
    state = resolve(shown, VIEW, Slot("axial", "difference"))
    pixels = state.layers[0].draw()
    fixed = resolve(shown, VIEW, Slot("axial", "fixed")).layers[0].draw()
    np.testing.assert_array_equal(pixels == -2048, fixed == -2048)
    np.testing.assert_allclose(pixels[pixels > -2048], -30, atol=0.02)


def test_a_box_beside_the_slice_is_its_shadow(shown):
    state = resolve(shown, VIEW, Slot("axial", "fixed"), (NamedBox("a", Box(8, 12, 5, 9, 0, 1)),), 0)
    assert not state.outlines[0].on_slice
    assert len(state.outlines[0].cut_mm) >= 4


def test_an_image_that_is_cut_where_it_is_looked_at_is_read_between_voxels(shown):
    """As during an alignment by hand: here moved by nothing, so that its values are those of the volume."""
    from engine.spatial.section import MovedImage
    from engine.volume import Volume

    moved = MovedImage.of(Volume(shown.fixed_hu, GRID, shown.fixed_valid), GRID, np.eye(4))
    pictures = replace(shown, moving_hu=moved, warped_hu=moved, is_draft=True)
    values = hu_at(pictures, (6.25, 8.5, 11.75))
    assert values["moving"] == pytest.approx(values["fixed"], abs=0.01)
    for name in PLANES:
        fixed, other = (resolve(pictures, VIEW, Slot(name, image)).layers[0].draw() for image in ("fixed", "moving"))
        assert (np.abs(fixed - other) < 0.02).mean() > 0.98  # the outermost pixels may fall on either side of the edge


def test_the_hint_names_the_key(shown):
    assert "Shift+A" in axes_text(shown, ViewState())
    assert "Oblique grid" in axes_text(shown, ViewState())
    assert "Patient axes" in axes_text(shown, VIEW)
    assert axes_text(replace(shown, geometry=replace(GRID, direction=((1, 0, 0), (0, 1, 0), (0, 0, 1)))), VIEW) == ""


def test_the_choice_is_remembered():
    save_view(VIEW)
    assert load_view().along_patient
    save_view(ViewState())
    assert not load_view().along_patient


def test_the_window_offers_it_for_oblique_images_alone(window, qtbot, shown):
    from tests.app.driving import press

    window.store.set_pictures(replace(shown, geometry=replace(GRID, direction=((1, 0, 0), (0, 1, 0), (0, 0, 1)))))
    assert not window.actions_table["along_patient"].isEnabled()
    window.store.set_pictures(shown)
    window.store.change_view(layout="orientations", image="fixed")
    window.grid.refresh()
    assert "Shift+A" in window.readout.axes.text()
    press(window, qtbot, Qt.Key.Key_A, Qt.KeyboardModifier.ShiftModifier)
    window.grid.refresh()
    assert window.store.view.along_patient
    assert all(pane.state.plane.is_sampled for pane in window.grid.panes)
    before = window.store.view.place_zyx
    press(window, qtbot, Qt.Key.Key_Down)
    assert window.store.view.place_zyx != before
    press(window, qtbot, Qt.Key.Key_A, Qt.KeyboardModifier.ShiftModifier)
    assert not window.store.view.along_patient
