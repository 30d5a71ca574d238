import numpy as np
import pytest

from engine.errors import InputError
from engine.regions import NamedBox, Regions
from engine.roi import Box

BOX = NamedBox("a", Box(0, 2, 1, 3, 0, 1))
GAS = NamedBox("b", Box(1, 2, 1, 3, 0, 1), use="excluded")
MASK = np.ones((2, 3, 4), dtype=bool)


def test_only_what_marks_voxels_changes_the_masks() -> None:
    regions = Regions((BOX, GAS), rigid=MASK)
    renamed = Regions((NamedBox("c", BOX.box), GAS), rigid=MASK)

    assert renamed.marks_like(regions)
    assert not renamed.same_as(regions)
    assert not Regions((BOX,), rigid=MASK).marks_like(regions)
    assert not Regions((BOX, GAS), rigid=MASK.copy()).marks_like(regions)
    assert Regions((BOX, GAS), rigid=MASK).same_as(regions)


def test_what_leaves_the_grid_is_refused() -> None:
    assert Regions((BOX,), excluded=MASK).checked((2, 3, 4)).boxes == (BOX,)
    with pytest.raises(InputError, match="inside the fixed image"):
        Regions((BOX,)).checked((2, 2, 4))
    with pytest.raises(InputError, match="excluded mask"):
        Regions((BOX,), excluded=MASK).checked((3, 3, 4))


def test_a_use_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InputError, match="optimise, rigid, excluded"):
        NamedBox("a", BOX.box, use="other")  # type: ignore[arg-type]
