"""The guide and its pictures belong together: every one that is named exists, every one that exists is taken."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
GUIDE = ROOT / "docs" / "guide"
SIZES = ("1366x768", "1920x1080", "3840x2160")
MOST_BYTES = 16_000_000
TABLES = runpy.run_path(str(ROOT / "packaging" / "picture_names.py"))
NAMES = TABLES["PICTURES"]
FILES = [f"{number:02d}-{name}.webp" for number, name in enumerate(NAMES, start=1)]


@pytest.mark.parametrize("size", SIZES)
def test_the_folder_of_a_size_holds_what_the_walk_takes(size: str) -> None:
    assert sorted(path.name for path in (GUIDE / size).iterdir()) == FILES


def test_the_guide_shows_every_picture_once_and_in_its_order() -> None:
    shown = re.findall(r"!\[[^\]]+\]\(1366x768/([^)]+)\)", (GUIDE / "README.md").read_text(encoding="utf-8"))
    assert shown == FILES


def test_the_first_page_shows_pictures_that_exist() -> None:
    shown = re.findall(r"docs/guide/([^)]+\.webp)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert shown
    assert [path for path in shown if not (GUIDE / path).is_file()] == []


def test_the_walk_takes_every_picture() -> None:
    walk = (ROOT / "packaging" / "walk.py").read_text(encoding="utf-8")
    assert [name for name in NAMES if f'"{name}"' not in walk] == []


def test_a_stage_that_is_taken_alone_is_one_of_the_walk_as_well() -> None:
    walk = (ROOT / "packaging" / "walk.py").read_text(encoding="utf-8")
    order = ", ".join(TABLES["ALONE"])
    assert f"zip(ALONE, ({order}), strict=True)" in walk
    assert [name for name in TABLES["ALONE"] if f"    {name}(camera, samples)\n" not in walk] == []


def test_the_pictures_together_are_not_too_large_for_a_repository() -> None:
    assert sum(path.stat().st_size for path in GUIDE.rglob("*.webp")) < MOST_BYTES
