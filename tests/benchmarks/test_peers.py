from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from comparison import DONE, Bench, Pair, Row, Rows, markdown
from peers import METHODS, Method, PairFiles, PeerError, Task, Tool, judged, run_method

from engine.cli.phantom import write_pair
from engine.geometry import Geometry
from engine.io.images import write_image
from engine.io.points import write_points
from engine.phantom.thorax import thorax_pair

GEOMETRY = Geometry((14, 24, 28), (4.0, 3.0, 6.0), (-40.0, 25.0, -300.0))
SHIFT_XYZ_MM = np.array([5.0, -7.0, 11.0])


@pytest.fixture
def pair(tmp_path: Path) -> PairFiles:
    """A block of water whose moving points lie 5, -7 and 11 mm along x, y and z from the fixed ones."""
    hu = np.full(GEOMETRY.shape_zyx, -1000, np.int16)
    hu[2:12, 4:20, 4:24] = 0
    hu[:, :2] = -2048
    for name in ("fixed.nii.gz", "moving.nii.gz"):
        write_image(tmp_path / name, hu, GEOMETRY)
    points = GEOMETRY.center_xyz_mm() + np.array([[0.0, 0, 0], [9, 4, -8], [-12, 6, 5]])
    write_points(tmp_path / "fixed.txt", points)
    write_points(tmp_path / "moving.txt", points + SHIFT_XYZ_MM)
    return PairFiles(
        tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz", (tmp_path / "fixed.txt", tmp_path / "moving.txt")
    )


def field_file(folder: Path, vector_xyz_mm: np.ndarray) -> Path:
    field = np.broadcast_to(vector_xyz_mm.astype(np.float32), (*GEOMETRY.shape_zyx, 3))
    write_image(folder / "field.mha", np.ascontiguousarray(field), GEOMETRY)
    return folder / "field.mha"


def a_method(script: str, find_it: bool = True) -> Method:
    """A method that runs shell commands in its folder."""

    def find(pythons: Sequence[str]) -> Tool | None:
        return Tool("sh", "shell 1") if find_it else None

    def commands(task: Task) -> list[list[str]]:
        field_file(task.folder, SHIFT_XYZ_MM)
        return [[task.tool.path, "-c", script]]

    return Method(find, commands, "field.mha", "own rigid", "none")


@pytest.mark.parametrize(("sign", "error_mm"), [(1, 0.0), (0, 195**0.5), (-1, 2 * 195**0.5)])
def test_fields_point_from_fixed_to_moving(pair: PairFiles, tmp_path: Path, sign: int, error_mm: float) -> None:
    figures = judged(pair, field_file(tmp_path, sign * SHIFT_XYZ_MM))
    assert figures["tre_mm"]["mean"] == pytest.approx(error_mm, abs=1e-4)  # a field in mm has float32's precision
    assert figures["folding_percent"] == 0.0


def test_a_field_that_turns_space_over_folds_everywhere(pair: PairFiles, tmp_path: Path) -> None:
    x_mm = GEOMETRY.spacing_xyz_mm[0] * np.arange(28, dtype=np.float32)
    field = np.zeros((*GEOMETRY.shape_zyx, 3), np.float32)
    field[..., 0] = -2 * x_mm
    write_image(tmp_path / "field.mha", field, GEOMETRY)
    assert judged(pair, tmp_path / "field.mha")["folding_percent"] == 100.0


def test_peers_see_air_where_there_is_padding(pair: PairFiles, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    run_method(a_method("true"), pair, folder, Tool("sh", ""), 1)
    hu = sitk.GetArrayFromImage(sitk.ReadImage(str(folder / "fixed.mha")))
    assert hu.min() == -1000
    assert hu.max() == 0


def test_the_peak_memory_is_that_of_the_method_alone(pair: PairFiles, tmp_path: Path) -> None:
    ballast = bytearray(b"1" * 200_000_000)  # a large parent, as the benchmark itself is
    _, cost = run_method(a_method("true"), pair, tmp_path, Tool("sh", ""), 1)
    assert 0 < cost.peak_mib < len(ballast) / 2**20 / 2
    assert cost.seconds > 0


def test_what_a_failing_method_printed_is_told(pair: PairFiles, tmp_path: Path) -> None:
    with pytest.raises(PeerError, match="no grid"):
        run_method(a_method("echo no grid; exit 3"), pair, tmp_path, Tool("sh", ""), 1)


def test_a_method_that_leaves_no_transform_is_told(pair: PairFiles, tmp_path: Path) -> None:
    with pytest.raises(PeerError, match=r"no field\.mha"):
        run_method(a_method("rm field.mha"), pair, tmp_path, Tool("sh", ""), 1)


def run_rows(pair: PairFiles, path: Path, methods: dict[str, Method], again: bool = False) -> list[Row]:
    rows = Rows(path)
    case = Pair("set", "case", lambda folder: pair)
    made = []
    for row in Bench(1, (), again).missing(case, methods, rows):
        rows.put(row)
        made.append(row)
    return made


def test_finished_rows_are_not_run_again_unless_asked(pair: PairFiles, tmp_path: Path) -> None:
    path = tmp_path / "peers.csv"
    methods = {"good": a_method("true"), "absent": a_method("true", find_it=False), "bad": a_method("exit 1")}
    first = run_rows(pair, path, methods)
    assert [row["status"] for row in first] == [DONE, "not installed", "failed"]
    assert [row["method"] for row in run_rows(pair, path, methods)] == ["absent", "bad"]
    assert len(run_rows(pair, path, methods, again=True)) == 3
    assert [row["method"] for row in Rows(path)] == ["good", "absent", "bad"]


def test_the_table_gives_shares_of_the_rigid_alignment() -> None:
    common = {"set": "s", "machine": "m", "date": "2026-11-21", "version": "1", "tre_median_mm": "1"}
    costs = {"status": DONE, "folding_percent": "0", "seconds": "3", "cpu_seconds": "5", "peak_mib": "7"}
    rows = [
        {**common, **costs, "case": "a", "method": "rigid only", "tre_mean_mm": "8"},
        {**common, **costs, "case": "b", "method": "rigid only", "tre_mean_mm": "4"},
        {**common, **costs, "case": "a", "method": "greedy", "tre_mean_mm": "2"},
    ]
    lines = [line for line in markdown(rows).splitlines() if line.startswith("| greedy | 1 | 2")]
    assert lines == ["| greedy | 1 | 2.00 | 1.00 | 25 | 0.0000 | 3.0 | 5.0 | 7 |"]


def test_seconds_are_those_of_undisturbed_runs() -> None:
    common = {"set": "s", "machine": "m", "date": "2026-11-21", "version": "1", "tre_median_mm": "1"}
    costs = {"status": DONE, "folding_percent": "0", "cpu_seconds": "5", "peak_mib": "7", "tre_mean_mm": "2"}

    def told(*runs: tuple[str, str]) -> str:
        rows = [
            {**common, **costs, "case": str(number), "method": "greedy", "seconds": seconds, "others_percent": others}
            for number, (seconds, others) in enumerate(runs)
        ]
        (line,) = [line for line in markdown(rows).splitlines() if line.startswith(f"| greedy | {len(runs)} ")]
        return line.split(" | ")[6]

    assert told(("3", "2.0"), ("5", ""), ("90", "45.0")) == "4.0"
    assert told(("90", "45.0"), ("80", "30.0")) == "(85.0)"


def test_what_others_take_of_the_machine_is_told(pair: PairFiles, tmp_path: Path) -> None:
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        _, cost = run_method(a_method("sleep 1"), pair, tmp_path, Tool("sh", ""), 1)
    finally:
        other.kill()
        other.wait()

    assert cost.others_percent > 30 / os.cpu_count()
    assert cost.cpu_seconds < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("name", ["diffeomorphic demons", "plastimatch B-spline"])
def test_a_peer_that_is_here_recovers_an_asymmetric_motion(name: str, tmp_path: Path) -> None:
    tool = METHODS[name].find((sys.executable,))
    if tool is None:
        pytest.skip("needs plastimatch, a Debian package")
    phantom = thorax_pair(3, (44, 44, 34), (7.0, 7.0, 8.0))
    write_pair(phantom, tmp_path)
    points = tmp_path / "fixed_points.txt", tmp_path / "moving_points.txt"
    files = PairFiles(tmp_path / "fixed.nii.gz", tmp_path / "moving.nii.gz", points)
    folder = tmp_path / "work"
    folder.mkdir()
    transform, _ = run_method(METHODS[name], files, folder, tool, 1)
    before_mm = np.linalg.norm(phantom.moving_points_mm - phantom.fixed_points_mm, axis=1).mean()
    assert judged(files, transform)["tre_mm"]["mean"] < before_mm / 2
