"""Labels: strokes are connected components, later paint lies on top, nothing depends on order."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from brushwork.blocks import Region
from brushwork.errors import InputError
from brushwork.labels import from_array, from_coords, mapped, painted_classes

PICTURES = st.sampled_from([(9,), (6, 7), (3, 5, 4)]).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 2))
)


@given(PICTURES)
@settings(deadline=None)
def test_strokes_are_the_components_of_each_class(picture):
    """Against scipy.ndimage.label, full connectivity."""
    if not picture.any():
        return
    labels = from_array(picture)
    for value in (1, 2):
        components, n = ndimage.label(picture == value, np.ones((3,) * picture.ndim))
        ours = labels.classes == value
        theirs = components[tuple(labels.coords[ours].T)]
        assert (
            len(set(zip(labels.strokes[ours].tolist(), theirs.tolist())))
            == n
            == len(set(labels.strokes[ours].tolist()))
        )


def test_strokes_are_numbered_by_their_first_pixel():
    #  1 1 . 2
    #  . . . 2
    #  1 . 2 .      the two 2s touch at a corner
    labels = from_array(np.array([[1, 1, 0, 2], [0, 0, 0, 2], [1, 0, 2, 0]]))
    assert labels.strokes.tolist() == [0, 0, 1, 1, 2, 1]
    assert labels.classes.tolist() == [1, 1, 2, 2, 1, 2]


def test_a_stroke_does_not_leave_its_place_at_the_border():
    """The last pixel of a row and the first of the next are no neighbours."""
    assert from_array(np.array([[0, 0, 1], [1, 0, 0]])).strokes.tolist() == [0, 1]


@given(PICTURES, st.data())
@settings(deadline=None)
def test_later_paint_lies_on_top(below, data):
    above = data.draw(arrays(np.uint8, below.shape, elements=st.integers(0, 2)))
    if not below.any() or not above.any():
        return
    merged = from_array(below).merged(from_array(above))
    picture = np.zeros_like(below)
    picture[tuple(merged.coords.T)] = merged.classes
    np.testing.assert_array_equal(picture, np.where(above, above, below))
    assert len(merged) == np.count_nonzero(picture)


def test_strokes_of_the_later_paint_are_new():
    first, second = from_array(np.array([[1, 0, 0]])), from_array(np.array([[0, 0, 2]]))
    assert first.merged(second).strokes.tolist() == [0, 1]
    with pytest.raises(InputError, match="cannot join"):
        first.merged(from_array(np.array([[1, 0]])))


def test_inside_a_region():
    labels = from_array(np.array([[1, 1, 0], [0, 2, 2]]))
    assert labels.inside(Region((0, 1), (2, 2))).classes.tolist() == [1, 2]
    movie = from_array(np.array([[[1, 0]], [[0, 2]]]), has_time=True)
    assert movie.has_time
    assert movie.frames.tolist() == [0, 1]
    assert movie.inside(Region((0, 0), (1, 2), 1)).classes.tolist() == [2]


@pytest.mark.parametrize("values", [[0.5], [-1.0], [np.nan]])
def test_values_that_are_no_classes(values):
    with pytest.raises(InputError, match="whole numbers from 1"):
        mapped(np.array(values), None)


def test_classes_out_of_range_and_counts():
    with pytest.raises(InputError, match="from 1 to 255"):
        from_coords(np.zeros((1, 2), int), np.array([256]), (3, 3))
    assert mapped(np.array([7, 9, 7]), {7: 1, 9: 2}).tolist() == [1, 2, 1]
    with pytest.raises(InputError, match=r"values \[9\]"):
        mapped(np.array([7, 9]), {7: 1})
    counts = painted_classes([from_array(np.array([[1, 2], [2, 0]])), from_array(np.array([[2, 0]]))])
    assert counts[:3].tolist() == [1, 3, 0]
    assert counts.shape == (255,)
