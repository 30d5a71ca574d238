from pathlib import Path

import numpy as np
import pytest

from engine.errors import InputError
from engine.geometry import Geometry
from engine.io.points import read_points, write_points

POINTS = [[1.5, -2.25, 3.0], [4.0, 5.0, -6.5]]


@pytest.mark.parametrize(
    "text",
    [
        "point\n2\n1.5 -2.25 3.0\n4 5 -6.5\n",
        "POINT\r\n2\r\n\r\n1.5   -2.25\t3.0\r\n4 5 -6.5",
        "x,y,z\n1.5,-2.25,3.0\n4,5,-6.5\n",
        "1.5,-2.25,3.0\n4,5,-6.5",
        "x;y;z;name\n1.5;-2.25;3.0;carina\n4;5;-6.5;apex\n",
        "\ufeffx_mm, y_mm, z_mm\n1.5, -2.25, 3.0\n4, 5, -6.5\n",
    ],
)
def test_points_in_mm(tmp_path: Path, oblique: Geometry, text: str) -> None:
    (tmp_path / "points.txt").write_text(text, encoding="utf-8")

    np.testing.assert_array_equal(read_points(tmp_path / "points.txt", oblique), POINTS)


def test_indices_are_voxels_of_the_image(tmp_path: Path) -> None:
    geometry = Geometry((5, 6, 7), (2.0, 3.0, 4.0), (10.0, 20.0, 30.0), ((0.0, -1, 0), (1, 0, 0), (0, 0, 1)))
    (tmp_path / "points.txt").write_text("index\n1\n1 2 3\n")

    np.testing.assert_allclose(read_points(tmp_path / "points.txt", geometry), [[4.0, 22.0, 42.0]], atol=1e-12)


def test_written_points_come_back(tmp_path: Path, oblique: Geometry) -> None:
    write_points(tmp_path / "points.txt", np.array(POINTS))

    np.testing.assert_array_equal(read_points(tmp_path / "points.txt", oblique), POINTS)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "empty"),
        ("point\n3\n1 2 3\n4 5 6\n", "second line"),
        ("point\ntwo\n1 2 3\n4 5 6\n", "second line"),
        ("point\n1\n1 2\n", "point 1"),
        ("index\n0\n", "at least one"),
        ("x,y,z\n1,2,3\n4,,6\n", "point 2"),
        ("x,y,z\n1,2,nan\n", "finite"),
        ("something else entirely", "at least one"),
    ],
)
def test_what_is_no_list_of_points_is_refused(tmp_path: Path, oblique: Geometry, text: str, message: str) -> None:
    (tmp_path / "points.txt").write_text(text)

    with pytest.raises(InputError, match=message):
        read_points(tmp_path / "points.txt", oblique)


def test_a_binary_or_missing_file_is_refused(tmp_path: Path, oblique: Geometry) -> None:
    (tmp_path / "points.txt").write_bytes(b"\xff\xfe\x00\x81")

    for name in ("points.txt", "nowhere.txt", ""):
        with pytest.raises(InputError, match="cannot be read"):
            read_points(tmp_path / name, oblique)


def test_real_points_lie_in_the_lung(data: Path) -> None:
    from engine.io.images import read_labels

    folder = data / "lung_ct_pair"
    mask, geometry = read_labels(folder / "3DCT_lung_baseline_mask.mha")

    points = read_points(folder / "approx_points_baseline_index.txt", geometry)

    index = geometry.indices(points).round().astype(int)
    assert len(points) == 10
    assert mask[tuple(index[:, ::-1].T)].mean() >= 0.8, "coarse points, some on vessels at the hilum"
