"""Files that ship with Regard."""

from __future__ import annotations

from pathlib import Path


def path(name: str) -> Path:
    """Where the file `name` lies, from source, wheel or bundle."""
    return Path(__file__).parent / name
