"""What is kept for display."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brushwork.blocks import Region, grid, whole
from brushwork.tile_store import SEGMENTATION, UNCERTAINTY, Answer, TileStore, tiles_of_view


def answer(region, generation=1, classes=(1, 2), seed=0):
    p = np.random.default_rng(seed).random((len(classes), *region.shape), np.float32)
    return Answer.of(region, generation, classes, p / p.sum(0))


def test_tiles_cover_the_view_and_the_centre_comes_first():
    wanted = tiles_of_view((2000, 3000), Region((700, 1100), (1400, 2100)))
    assert wanted.share == 1
    covered = np.zeros((2000, 3000), bool)
    for tile in wanted.tiles:
        assert not covered[tile.slices].any()
        covered[tile.slices] = True
        assert all(a % 512 == 0 for a in tile.start)
    assert covered[700:1400, 1100:2100].all()
    first = wanted.tiles[0]
    assert all(a <= c < b for a, c, b in zip(first.start, (1050, 1600), first.stop))


def test_outer_tiles_may_end_near_the_view():
    view = Region((700, 1100), (1400, 2100))
    tiles = tiles_of_view((2000, 3000), view, unit=64).tiles
    assert min(t.start[0] for t in tiles) == 640
    assert max(t.stop[1] for t in tiles) == 2112
    covered = np.zeros((2000, 3000), np.uint8)
    for tile in tiles:
        covered[tile.slices] += 1
    assert (covered[view.slices] == 1).all()
    assert covered.sum() < 1.2 * view.size


def test_planes_of_a_stack_have_flat_tiles_in_every_orientation():
    for axis in range(3):
        start, stop = [100, 100, 100], [300, 300, 300]
        stop[axis] = 101
        wanted = tiles_of_view((400, 400, 400), Region(tuple(start), tuple(stop)), edge=128)
        assert wanted.share == 1
        assert {t.shape[axis] for t in wanted.tiles} == {1}


def test_too_large_a_view_is_covered_in_part_and_says_so():
    wanted = tiles_of_view((10_000, 10_000), whole((10_000, 10_000)), most=10)
    assert len(wanted.tiles) == 10
    assert 0.02 < wanted.share < 0.03
    assert tiles_of_view((100, 100), Region((200, 0), (300, 50))).tiles == ()


@given(
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.integers(1, 17),
    st.integers(1, 5),
    st.tuples(st.integers(0, 20), st.integers(0, 20)),
)
def test_pictures_are_the_tiles_put_together(shape, edge, step, start):
    full = answer(whole(shape))
    store = TileStore()
    for region in grid(whole(shape), (edge, edge)):
        at = (slice(None), *region.slices)
        part = Answer(region, 1, (1, 2), full.segmentation[at[1:]], full.uncertainty[at[1:]], full.probabilities[at])
        store.put("a", part)
    region = Region(tuple(min(s, n - 1) for s, n in zip(start, shape)), shape)
    for kind, expected in (
        (SEGMENTATION, full.segmentation),
        (UNCERTAINTY, full.uncertainty),
        (2, full.probabilities[1]),
    ):
        got = store.picture("a", kind, region, (step, step))
        np.testing.assert_array_equal(got, expected[region.slices][::step, ::step])
    assert not store.picture("b", SEGMENTATION, region).any()
    assert not store.picture("a", 7, region).any()


def test_newer_answers_lie_on_top_and_classes_keep_their_ids():
    store = TileStore()
    old, new = answer(whole((8, 8)), 1), answer(Region((0, 0), (4, 8)), 2, (3, 9), seed=1)
    store.put("a", new)
    store.put("a", old)
    picture = store.picture("a", SEGMENTATION, whole((8, 8)))
    np.testing.assert_array_equal(picture[:4], new.segmentation)
    np.testing.assert_array_equal(picture[4:], old.segmentation[4:])
    assert set(np.unique(picture[:4])) == {3, 9}


def test_bytes_are_bounded_and_the_longest_unused_goes_first():
    store = TileStore(most_bytes=3 * 4 * 64)
    regions = [Region((8 * i, 0), (8 * i + 8, 8)) for i in range(4)]
    for region in regions[:3]:
        store.put("a", answer(region))
    store.picture("a", SEGMENTATION, regions[0])
    store.put("a", answer(regions[3]))
    kept = [store.answer("a", r) is not None for r in regions]
    assert kept == [True, False, True, True]
    assert store.n_bytes <= store.most_bytes
    store.clear()
    assert store.n_bytes == 0


def test_frames_are_apart():
    store = TileStore()
    store.put("a", answer(whole((4, 4), t=1)))
    assert not store.picture("a", SEGMENTATION, whole((4, 4), t=0)).any()
    assert store.picture("a", SEGMENTATION, whole((4, 4), t=1)).all()


@pytest.mark.parametrize("n", [2, 5])
def test_segmentation_and_uncertainty_are_those_of_the_files(n):
    from brushwork.jobs import stored_values

    p = np.random.default_rng(n).random((n, 6, 7), np.float32)
    p /= p.sum(0)
    made = Answer.of(whole((6, 7)), 1, range(1, n + 1), p)
    np.testing.assert_array_equal(made.segmentation, stored_values(p, "segmentation", np.dtype("uint8"))[0])
    np.testing.assert_array_equal(made.uncertainty, stored_values(p, "uncertainty", np.dtype("uint8"))[0])
    np.testing.assert_array_equal(made.probabilities, stored_values(p, "probabilities", np.dtype("uint8")))
