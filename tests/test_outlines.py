"""Shapes to pixels and back, against shapes whose area is known and against plain definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from brushwork.errors import InputError
from brushwork.outlines import crossed, enclosed, polygons


def ring(*points):
    return np.array(points, float)


def mask_of(pixels, shape):
    mask = np.zeros(shape, bool)
    mask[tuple(pixels.T)] = True
    return mask


def filled(groups, shape):
    """How often each pixel lies in one of the polygons."""
    count = np.zeros(shape, int)
    for rings in groups:
        count[tuple(enclosed(rings, shape).T)] += 1
    return count


MASKS = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda shape: arrays(bool, shape))


@given(MASKS)
def test_the_outlines_of_any_pixels_give_back_these_pixels(mask):
    if not mask.any():
        return
    np.testing.assert_array_equal(filled(polygons(np.argwhere(mask)), mask.shape), mask.astype(int))


@given(MASKS)
def test_a_polygon_is_one_group_and_no_ring_touches_itself(mask):
    if not mask.any():
        return
    groups = polygons(np.argwhere(mask))
    assert len(groups) == ndimage.label(mask)[1]
    n_holes = 0
    for outer, *holes in groups:
        area = mask_of(enclosed([outer], mask.shape), mask.shape)
        for hole in holes:
            inside = mask_of(enclosed([hole], mask.shape), mask.shape)
            assert (area | ~inside).all()
            n_holes += 1
        for one in (outer, *holes):
            assert len(np.unique(one, axis=0)) == len(one)
    labels, n = ndimage.label(mask)
    around = [np.pad(labels != i, 1, constant_values=True) for i in range(1, n + 1)]
    assert n_holes == sum(ndimage.label(background)[1] - 1 for background in around)


def test_two_squares_that_touch_in_a_corner_are_two_polygons():
    assert [len(rings) for rings in polygons(np.array([[0, 0], [1, 1]]))] == [1, 1]


def test_a_ring_closed_by_a_corner_is_an_outer_ring_and_a_hole():
    mask = np.array([[1, 1, 0], [1, 0, 1], [1, 1, 1]], bool)
    ((outer, hole),) = polygons(np.argwhere(mask))
    assert len(enclosed([hole], mask.shape)) == 1
    assert len(enclosed([outer], mask.shape)) == 8


def test_areas_of_shapes_made_by_hand():
    shape = (60, 60)
    assert len(enclosed([ring((10, 10), (40, 10), (40, 30), (10, 30))], shape)) == 600
    with_hole = [ring((10, 10), (40, 10), (40, 30), (10, 30)), ring((20, 15), (30, 15), (30, 25), (20, 25))]
    assert len(enclosed(with_hole, shape)) == 500
    # A right triangle of legs n holds the centres below its diagonal: those on the diagonal are on the edge, and outside.
    triangle = mask_of(enclosed([ring((0, 0), (10, 10), (0, 10))], shape), shape)
    np.testing.assert_array_equal(triangle[:10, :10], np.tri(10, k=-1, dtype=bool))
    # Half a pixel to the right, the border runs through centres: one side takes them, the other does not.
    np.testing.assert_array_equal(enclosed([ring((0.5, 0), (2.5, 0), (2.5, 1), (0.5, 1))], shape), [[0, 0], [0, 1]])


def test_what_leaves_the_image_is_cut_off():
    assert len(enclosed([ring((-1e300, -5), (1e300, -5), (1e300, 5), (-1e300, 5))], (8, 7))) == 35
    assert len(enclosed([ring((20, 20), (30, 20), (30, 30))], (8, 7))) == 0


@given(arrays(float, (7, 2), elements=st.floats(-3, 14, width=32)))
def test_enclosed_is_the_even_odd_rule(points):
    shape = (11, 11)
    found = mask_of(enclosed([points], shape), shape)
    for row, column in np.argwhere(np.ones(shape)):
        x, y = column + 0.5, row + 0.5
        inside, close = False, False
        for (x0, y0), (x1, y1) in zip(points, np.roll(points, -1, axis=0)):
            if (y0 <= y) != (y1 <= y):
                crossing = x0 + (y - y0) / (y1 - y0) * (x1 - x0)
                close |= abs(crossing - x) < 1e-9
                inside ^= x < crossing
        assert close or found[row, column] == inside


def test_a_line_takes_the_pixels_it_runs_through():
    assert crossed(ring((0.5, 0.5), (3.5, 0.5)), (5, 5)).tolist() == [[0, 0], [0, 1], [0, 2], [0, 3]]
    assert crossed(ring((0, 0), (3, 3)), (5, 5)).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert crossed(ring((0.5, 0.5), (2.5, 1.5)), (5, 5)).tolist() == [[0, 0], [0, 1], [1, 1], [1, 2]]
    assert crossed(ring((2.9, 1.2)), (5, 5)).tolist() == [[1, 2]]
    assert crossed(ring((4.5, 4.5), (9, 4.5)), (5, 5)).tolist() == [[4, 4]]
    assert len(crossed(ring((-1, -1)), (5, 5))) == 0


@pytest.mark.parametrize("shape", [(1 << 20, 1 << 20), (1 << 30, 10)])
def test_a_shape_too_large_to_be_labels_is_refused_before_it_takes_memory(shape):
    with pytest.raises(InputError, match="covers"):
        enclosed([ring((0, 0), (1e9, 0), (1e9, 1e9), (0, 1e9))], shape)
    with pytest.raises(InputError, match="covers"):
        crossed(ring((0, 0), (1e12, 5)), shape)
