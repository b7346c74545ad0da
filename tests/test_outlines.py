"""Shapes to pixels and back, against shapes whose area is known and against plain definitions."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from brushwork import outlines
from brushwork.errors import InputError
from brushwork.outlines import containing, crossed, enclosed, polygons


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
        enclosed([ring((0, 0), (1e9, 1), (1e9, 1e9))], shape)


def walked(a, b, shape):
    """The pixels of a segment, by all of its crossings; also those out of the image."""
    crossings = [0.0, 1.0]
    for start, stop in zip(a, b):
        low, high = sorted((start, stop))
        crossings += [
            (k - start) / (stop - start) for k in range(int(np.ceil(low)), int(np.floor(high)) + 1) if low < high
        ]
    along = sorted(set(np.clip(crossings, 0, 1)))
    middles = [a + (p + q) / 2 * (b - a) for p, q in pairwise(along)]
    places = {(int(np.floor(y)), int(np.floor(x))) for x, y in middles}
    return sorted([row, column] for row, column in places if 0 <= row < shape[0] and 0 <= column < shape[1])


ENDS = st.one_of(
    st.integers(-40, 50).map(float), st.floats(-40, 50), st.sampled_from([-1.0, 0.0, 7.0, 8.0, 1000.5, -999.25])
)


@given(arrays(float, (2, 2), elements=ENDS), st.sampled_from([(7, 12), (1, 1), (9, 6)]))
def test_a_line_that_leaves_the_image_has_the_pixels_of_a_whole_walk(ends, shape):
    assert crossed(ends, shape).tolist() == walked(*ends, shape)


@pytest.mark.parametrize("piece", [1, 7, 100])
def test_a_line_of_many_corners_is_the_sum_of_its_segments(monkeypatch, piece):
    monkeypatch.setattr(outlines, "PIECE", piece)
    line = np.random.default_rng(0).uniform(-5, 17, (60, 2)).round(1)
    alone = {tuple(pixel) for ends in pairwise(line) for pixel in walked(*ends, (9, 12))}
    assert crossed(line, (9, 12)).tolist() == [list(pixel) for pixel in sorted(alone)]


def test_long_lines_and_many_points_take_what_their_part_in_the_image_takes():
    assert len(crossed(ring((0, 0), (6e7, 0)), (20, 30))) == 30
    assert crossed(ring((-1e9, -1e9), (1e9, 1e9)), (1, 3)).tolist() == [[0, 0]]
    assert containing(np.full((100_000, 2), 2.5), (5, 5)).tolist() == [[2, 2]]
    with pytest.raises(InputError, match="covers"):
        crossed(ring((0, 0), (1e9, 1)), (1 << 31, 1 << 31))
