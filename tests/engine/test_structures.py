from __future__ import annotations

import numpy as np
import pytest

from engine.structures import Structures, occupied_zyx


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_where_there_is_a_structure(kind):
    labels = np.zeros((5, 6, 7), kind)
    labels[1, 4, 2], labels[3, 2, 6] = 1, 200
    assert occupied_zyx(labels) == ((1, 4), (2, 5), (2, 7))


def test_nothing_is_nowhere():
    assert occupied_zyx(np.zeros((2, 3, 4), np.uint8)) == ((0, 0), (0, 0), (0, 0))


def test_a_structure_is_looked_for_once_in_each_array(monkeypatch):
    labels = np.ones((2, 3, 4), np.uint8)
    Structures(labels)
    looked = []
    monkeypatch.setattr("engine.structures._range", looked.append)
    assert occupied_zyx(labels) == ((0, 2), (0, 3), (0, 4))
    assert looked == []
