from __future__ import annotations

import pytest

from app.theme import THEMES

LEAST = 4.5
"""WCAG 2.1, success criterion 1.4.3, for text of normal size."""


def luminance(color: str) -> float:
    """Relative luminance of `#rrggbb` as WCAG 2.1 defines it."""
    shares = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in shares]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def contrast(first: str, second: str) -> float:
    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)


def test_the_ratio_is_that_of_the_standard():
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


@pytest.mark.parametrize("name", THEMES)
@pytest.mark.parametrize("background", ["window", "base", "raised"])
@pytest.mark.parametrize("color", ["text", "dim", "link", "good", "warn", "bad"])
def test_texts_can_be_read(name, background, color):
    theme = THEMES[name]
    assert contrast(getattr(theme, color), getattr(theme, background)) >= LEAST


@pytest.mark.parametrize("name", THEMES)
def test_what_is_chosen_can_be_read(name):
    assert contrast(THEMES[name].on_accent, THEMES[name].accent) >= LEAST
