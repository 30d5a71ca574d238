"""The menu Help, and the theme, which ends the menu View."""

from __future__ import annotations

from app.actions.row import Row


def rows() -> list[Row]:
    return [
        Row(
            "theme",
            "View",
            "Light or dark",
            "Ctrl+T",
            "Change between the dark and the light theme",
            lambda w: w.toggle_theme(),
        ),
        Row(
            "tour",
            "Help",
            "Tour",
            "F1",
            "Through the work on the built-in case, step by step, in two minutes",
            lambda w: w.tour.start(),
        ),
        Row(
            "keys",
            "Help",
            "Keys and mouse",
            "?",
            "Everything that the keyboard and the mouse do",
            lambda w: w.show_keys(),
        ),
        Row("about", "Help", "About Regard", "", "What this is and what it is not", lambda w: w.show_about()),
    ]
