import errno
import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from engine.errors import InputError, OutputError
from engine.io.atomic import refuse_occupied, reserve, whole_file, whole_folder


def _write_half(context: AbstractContextManager[Path], error: Exception) -> None:
    with context as temporary:
        (temporary / "metrics.json" if temporary.is_dir() else temporary).write_text("half")
        raise error


def test_a_file_appears_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "new" / "field.nii.gz"

    with whole_file(target) as temporary:
        temporary.write_text("half")
        assert temporary.name.endswith(".nii.gz")
        assert not target.exists()

    assert target.read_text() == "half"
    assert os.listdir(target.parent) == [target.name]


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "field.mha"
    target.write_text("old")

    with pytest.raises(KeyError):
        _write_half(whole_file(target), KeyError())

    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == [target.name]


@pytest.mark.parametrize(
    ("number", "reason"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only"), (errno.EACCES, "no permission")]
)
def test_what_the_disk_refuses_is_one_line_for_a_person(tmp_path: Path, number: int, reason: str) -> None:
    with pytest.raises(OutputError, match=reason) as caught:
        _write_half(whole_file(tmp_path / "field.mha"), OSError(number, os.strerror(number), str(tmp_path)))

    assert os.listdir(tmp_path) == []
    assert str(tmp_path) not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_where_a_folder_is_expected(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match=r"a file, not a folder|exists"), whole_file(tmp_path / "file" / "field.mha"):
        pass


def test_our_own_errors_pass_unchanged(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="mine"), whole_file(tmp_path / "field.mha"):
        raise InputError("mine")


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    target = tmp_path / "results"
    target.mkdir()

    with whole_folder(target) as temporary:
        (temporary / "metrics.json").write_text("{}")
        assert os.listdir(target) == []

    assert os.listdir(target) == ["metrics.json"]
    assert os.listdir(tmp_path) == ["results"]


def test_an_error_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        _write_half(whole_folder(tmp_path / "results"), KeyError())

    assert os.listdir(tmp_path) == []


def test_results_are_replaced_only_by_force(tmp_path: Path) -> None:
    target = tmp_path / "results"
    target.mkdir()
    (target / "metrics.json").write_text("old")
    (target / "old.mha").write_text("old")

    with pytest.raises(OutputError, match="--force"), whole_folder(target):
        pass
    with whole_folder(target, force=True) as temporary:
        (temporary / "metrics.json").write_text("new")

    assert os.listdir(target) == ["metrics.json"]
    assert (target / "metrics.json").read_text() == "new"
    assert os.listdir(tmp_path) == ["results"]


def test_a_folder_that_is_not_ours_survives_force(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years")

    with pytest.raises(OutputError, match="not Regard's"), whole_folder(tmp_path, force=True):
        pass

    assert (tmp_path / "thesis.tex").read_text() == "years"


def test_an_error_while_forced_keeps_the_old_results(tmp_path: Path) -> None:
    target = tmp_path / "results"
    target.mkdir()
    (target / "metrics.json").write_text("old")

    with pytest.raises(KeyError):
        _write_half(whole_folder(target, force=True), KeyError())

    assert (target / "metrics.json").read_text() == "old"


def test_the_check_before_a_long_computation_changes_nothing(tmp_path: Path) -> None:
    refuse_occupied(tmp_path / "a" / "b" / "results")

    assert os.listdir(tmp_path) == []


def test_reserving_asks_and_leaves_nothing(tmp_path: Path) -> None:
    reserve(tmp_path / "field.h5", 1000)
    with pytest.raises(OSError, match=r"."):
        reserve(tmp_path / "field.h5", 1 << 62)

    assert os.listdir(tmp_path) == []
