import pytest

from engine.errors import InputError
from engine.roi import Box

TEXT = "1:4,10:20,7:9"


def test_text_gives_x_first_and_back() -> None:
    box = Box.parse(" 1:4, 10:20 ,7:9")

    assert box == Box(1, 4, 10, 20, 7, 9)
    assert str(box) == TEXT
    assert box.shape_zyx == (2, 10, 3)
    assert box.slices_zyx == (slice(7, 9), slice(10, 20), slice(1, 4))


@pytest.mark.parametrize(
    "text", ["", "1:4,10:20", "1:4,10:20,7", "1-4,10:20,7:9", "a:b,1:2,3:4", "4:4,10:20,7:9", "4:1,1:2,1:2"]
)
def test_what_is_no_box_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="Expected a box"):
        Box.parse(text)


@pytest.mark.parametrize("text", ["-1:4,10:20,7:9", "1:31,10:20,7:9", "1:4,10:26,7:9", "1:4,10:20,7:21"])
def test_a_box_that_leaves_the_image_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="inside the fixed image"):
        Box.parse(text).checked((20, 25, 30))


def test_a_box_up_to_the_faces_is_inside() -> None:
    assert Box(0, 30, 0, 25, 0, 20).checked((20, 25, 30)) == Box.whole((20, 25, 30))


def test_growing_stops_at_the_faces() -> None:
    assert Box.parse(TEXT).grown(5, (12, 22, 30)) == Box(0, 9, 5, 22, 2, 12)


def test_inside_counts_from_the_outer_box() -> None:
    assert Box.parse(TEXT).inside(Box(1, 30, 8, 25, 5, 20)) == Box(0, 3, 2, 12, 2, 4)
