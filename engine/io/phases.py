"""Phases of a 4-D image: told apart by tags inside one series, by descriptions among several."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

PHASE_TAGS = {
    "0020|0100": "position {}",
    "0020|9241": "{} %",
    "0018|1060": "{} ms",
    "0020|0012": "acquisition {}",
}
"""Temporal position, nominal percentage of the cardiac phase, trigger time, acquisition, and how each is told."""

_PHASE_WORDS = (
    re.compile(r"(?<![\d.])(?P<percent>\d{1,3}(?:\.\d+)?) ?%(?: ?(?P<way>in|ex)\b)?", re.IGNORECASE),
    re.compile(r"(?<![a-z0-9])t(?P<percent>\d0|100)(?![a-z0-9])", re.IGNORECASE),
    re.compile(r"phase[ _#-]*(?P<number>\d{1,3})(?!\d)", re.IGNORECASE),
    re.compile(r"(?<![a-z0-9])(?P<word>average|ave|avg|aip|mip|minip|inhale|exhale)(?![a-z0-9])", re.IGNORECASE),
)

_INITIALS = {"ave": "average", "avg": "average", "aip": "average", "mip": "MIP", "minip": "MinIP"}


class _Placed(Protocol):
    @property
    def position(self) -> NDArray[np.float64]: ...

    @property
    def phase_keys(self) -> tuple[str, ...]: ...


S = TypeVar("S", bound=_Placed)


def phases_of(slices: Sequence[S]) -> list[tuple[str, list[S]]]:
    """The images in a series: one, or one for each phase, with what the phase is called.

    Phases are looked for only where slices lie at the same place, and a tag counts only if it tells all those apart.
    """
    if not _repeats(slices):
        return [("", list(slices))]
    for number, told in enumerate(PHASE_TAGS.values()):
        phases: dict[str, list[S]] = {}
        for header in slices:
            phases.setdefault(header.phase_keys[number], []).append(header)
        if not any(_repeats(phase) for phase in phases.values()):
            return [(told.format(key or "none"), phases[key]) for key in sorted(phases, key=phase_order)]
    return [("", list(slices))]


def phase_in(description: str) -> tuple[str, str]:
    """The phase that a description names, and the rest of it; no phase where it names none."""
    for pattern in _PHASE_WORDS:
        if match := pattern.search(description):
            rest = " ".join(f"{description[: match.start()]} {description[match.end() :]}".split()).strip(" ,_-")
            return _told(match), rest
    return "", description


def phase_order(phase: str) -> tuple[bool, float, str]:
    """A key to sort phases by: first those with a number, by it."""
    number = re.search(r"\d+(?:\.\d+)?", phase)
    return (number is None, float(number[0]) if number else 0.0, phase)


def _told(match: re.Match[str]) -> str:
    found = match.groupdict()
    if found.get("percent"):
        way = f" {found['way'].lower()}" if found.get("way") else ""
        return f"{float(found['percent']):g} %{way}"
    if found.get("number"):
        return f"phase {int(found['number'])}"
    word = found["word"].lower()
    return _INITIALS.get(word, word)


def _repeats(slices: Sequence[_Placed]) -> bool:
    return len({tuple(np.round(header.position, 2)) for header in slices}) < len(slices)
