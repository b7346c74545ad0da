"""Regions, grids and threads: a grid covers everything once; work ends when it should."""

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brushwork.blocks import Region, available_threads, block_around, grid, run_over, thread_count, whole
from brushwork.errors import InputError

SHAPES = st.integers(1, 3).flatmap(
    lambda n: st.tuples(st.tuples(*[st.integers(1, 25)] * n), st.tuples(*[st.integers(1, 9)] * n))
)


@given(SHAPES)
def test_a_grid_covers_every_pixel_once(sizes):
    shape, edge = sizes
    count = np.zeros(shape, int)
    for region in grid(whole(shape, 3), edge):
        assert region.t == 3
        assert all(n <= e for n, e in zip(region.shape, edge))
        count[region.slices] += 1
    assert (count == 1).all()


@given(SHAPES, st.integers(0, 4))
def test_a_block_reads_its_halo_and_crops_back(sizes, halo):
    shape, edge = sizes
    array = np.arange(np.prod(shape)).reshape(shape)
    for region in grid(whole(shape), edge):
        block = block_around(region, (halo,) * len(shape), shape)
        np.testing.assert_array_equal(array[block.read.slices][block.crop], array[region.slices])
        assert all(a >= 0 and b <= n for a, b, n in zip(block.read.start, block.read.stop, shape))


def test_a_grid_is_aligned_to_the_origin():
    assert [(r.start, r.stop) for r in grid(Region((3,), (9,)), (4,))] == [((3,), (4,)), ((4,), (8,)), ((8,), (9,))]


def test_regions_are_keys():
    assert {Region((0, 0), (2, 2)): 1}[whole((2, 2))] == 1
    assert Region((0, 0), (2, 2), 1) != whole((2, 2))
    assert Region((5, 5), (9, 9)).clipped((6, 3)) == Region((5, 3), (6, 3))
    assert Region((5, 5), (9, 9)).clipped((6, 3)).size == 0


@pytest.mark.parametrize("threads", [1, 3])
def test_everything_is_done_once(threads):
    assert sorted(run_over(lambda item: item * 2, range(50), threads=threads)) == [(i, 2 * i) for i in range(50)]
    assert list(run_over(str, [], threads=threads)) == []


def test_items_are_taken_as_they_are_needed():
    taken = []

    def endless():
        while True:
            taken.append(1)
            yield len(taken)

    results = run_over(lambda item: item, endless(), threads=2)
    assert [next(results) for _ in range(3)]
    results.close()
    assert len(taken) < 12


def test_an_error_ends_the_run_and_is_raised_here():
    done = []

    def work(item):
        if item == 3:
            raise ZeroDivisionError(item)
        time.sleep(0.001)
        done.append(item)

    with pytest.raises(ZeroDivisionError):
        list(run_over(work, range(1000), threads=2))
    assert len(done) < 20


def test_thread_counts():
    assert thread_count(None) == available_threads() >= 1
    assert thread_count(3) == 3
    with pytest.raises(InputError, match="0 threads"):
        thread_count(0)
