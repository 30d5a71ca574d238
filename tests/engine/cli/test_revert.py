from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.cli import main
from engine.io.case_folder import open_case, save_case

BOX = "12:24,10:20,8:16"
TYPED = ["--box", BOX, "--threads", "1"]


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("revert")
    phantom = folder / "phantom"
    assert main(["phantom", "--out", str(phantom), "--size", "40", "36", "28", "--spacing", "7.5", "8", "9"]) == 0
    pair = [str(phantom / "fixed.nii.gz"), str(phantom / "moving.nii.gz")]
    steps = ["--align", "none", "--model", "none", "--iso", "2", "--threads", "1"]
    assert main(["register", *pair, "--out", str(folder / "results"), *steps]) == 0
    return folder / "results"


def test_a_region_goes_back_and_the_history_tells(
    results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(["revert", str(results), *TYPED, "--to", "1", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["history", str(out)]) == 0
    lines = capsys.readouterr().out.splitlines()

    assert len(open_case(results / "case").states) == 3
    assert [line.split()[0] for line in lines] == ["0", "1", "2", "*"]
    assert lines[3].startswith("*  3  from 2   revert")
    assert lines[3].endswith("certificate passed  as in state 1 (align)")
    assert json.loads((out / "metrics.json").read_text())["stages"][-1]["name"] == "revert"


@pytest.mark.parametrize(
    ("typed", "words"), [(["--to", "9"], "from 0 to 2"), (["--to", "1", "--box", "0:99,0:5,0:5"], "--box")]
)
def test_unusable_wishes_leave_nothing(
    typed: list[str], words: str, results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["revert", str(results), *TYPED, *typed, "--out", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_branch_goes_from_the_history(results: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = tmp_path / "results"
    shutil.copytree(results, copy)
    case = open_case(copy / "case").gone_to(1)
    save_case(case.after(case.current.after(case.states[2].steps[-1])), copy / "case")

    assert main(["history", str(copy), "--delete", "2"]) == 0
    told = capsys.readouterr().out
    assert main(["history", str(copy)]) == 0
    assert capsys.readouterr().out == told
    assert [line.split()[0] for line in told.splitlines()] == ["0", "1", "*"]
    assert told.splitlines()[2].startswith("*  3  from 1")
    assert list((copy / "case").glob("state_*")) == []
    for number, words in (("1", "--delete: State 1 leads to the current one"), ("2", "State 2 was deleted")):
        assert main(["history", str(copy), "--delete", number]) == 1
        error = capsys.readouterr().err
        assert words in error
        assert error.count("\n") == 1
    assert main(["revert", str(copy), *TYPED, "--to", "2", "--out", str(tmp_path / "out")]) == 1
    assert "State 2 was deleted" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
