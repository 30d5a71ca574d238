"""Texts, the template of their translations, and the language of the window."""

from __future__ import annotations

import ast
import re
import runpy
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication

from app import texts
from app.language import wanted_languages
from tests.app.pseudo import pseudo, write_catalogue

MAKER = runpy.run_path(str(Path(__file__).parents[2] / "packaging" / "make_texts.py"))
_MESSAGE = re.compile(r'^msgid (".*")\n(?:msgid_plural (".*")\n)?', re.MULTILINE)


def test_the_template_holds_what_the_sources_say():
    found = _MESSAGE.findall(MAKER["TEMPLATE"].read_text(encoding="utf-8"))
    messages = {tuple(ast.literal_eval(form) for form in forms if form) for forms in found} - {("",)}
    assert messages == set(MAKER["collected"]()), "run `make texts`"


def test_values_are_put_in_after_the_translation():
    with pytest.raises(SystemExit, match="line 2: expected"):
        list(MAKER["texts_of"](ast.parse('x = 1\ntr(f"Saved in {x}.")'), "some.py"))
    with pytest.raises(SystemExit, match="line 1: expected"):
        list(MAKER["texts_of"](ast.parse('tr("Saved in " + x)'), "some.py"))


def test_texts_of_tables_and_both_forms_are_collected():
    source = 'Row("a", "File", "Open", "O", "Choose"), tr(TABLE[a]), tr_count("{n} box", "{n} boxes", n), mark("Shown")'
    found = set(MAKER["texts_of"](ast.parse(source), "some.py"))
    assert found == {("Open",), ("Choose",), ("{n} box", "{n} boxes"), ("Shown",)}


@pytest.fixture
def catalogue(tmp_path, monkeypatch):
    write_catalogue(tmp_path, [("Undo",), ("{count} voxel", "{count} voxels")], "de")
    monkeypatch.setattr("resources.path", lambda name: tmp_path)
    yield
    texts.set_language()


def test_a_language_with_a_translation_is_spoken(catalogue):
    assert texts.set_language("fr", "de_CH", "en") == "de_CH"
    assert texts.tr("Undo") == pseudo("Undo") == "«Ûñðö·»"
    assert [texts.tr_count("{count} voxel", "{count} voxels", n).format(count=n)[:8] for n in (1, 2)] == [
        "«1 ṽöẋéļ",
        "«2 ṽöẋéļ",
    ]
    assert texts.tr("Something new") == "Something new"


@pytest.mark.parametrize("wanted", [("en_GB", "de"), ("C",), ("fr",), ()])
def test_english_needs_no_translation(catalogue, wanted):
    texts.set_language("de")
    assert texts.set_language(*wanted) == ""
    assert texts.tr("Undo") == "Undo"


def test_the_variable_goes_before_the_system(qapp: QApplication, monkeypatch):
    monkeypatch.setenv("LANGUAGE", "de_CH:fr")
    assert wanted_languages() == ["de_CH", "fr"]
    monkeypatch.setenv("LANGUAGE", "")
    assert "_" not in wanted_languages()[-1]
