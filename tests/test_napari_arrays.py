"""Arrays that napari slices: equal to dense ones, whatever is asked."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brushwork.blocks import Region
from brushwork.image import as_image
from brushwork.napari.arrays import ChannelArray, StrokeArray, display_shape, levels

KEYS = [
    (slice(None), slice(None)),
    (3, slice(2, 9)),
    (slice(1, 30, 3), 5),
    (-1, -2),
    (Ellipsis, 0),
    slice(4, 7),
    (slice(5, 5), slice(None)),
]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("axes", ["yx", "yxc", "cyx"])
def test_a_channel_is_what_the_image_holds(axes, key):
    rng = np.random.default_rng(0)
    full = rng.integers(0, 200, (3, 40, 50)).astype(np.uint8)
    array = {"yx": full[1], "yxc": np.moveaxis(full, 0, -1), "cyx": full}[axes]
    channel = ChannelArray(as_image(array, axes=axes), 0 if axes == "yx" else 1)
    np.testing.assert_array_equal(channel[key], full[1][key])
    np.testing.assert_array_equal(np.asarray(channel), full[1])


def test_frames_and_planes_come_first():
    full = np.random.default_rng(0).integers(0, 200, (2, 3, 4, 10, 12)).astype(np.uint8)  # t c z y x
    image = as_image(full, axes="tczyx")
    channel = ChannelArray(image, 2)
    assert channel.shape == display_shape(image) == (2, 4, 10, 12)
    np.testing.assert_array_equal(channel[1, 2], full[1, 2, 2])
    np.testing.assert_array_equal(channel[0, :, 3, ::2], full[0, 2, :, 3, ::2])


@given(st.data())
def test_strokes_are_held_as_a_dense_array_holds_them(data):
    shape = data.draw(st.sampled_from([(90, 130), (20, 70, 90), (2, 9, 70, 70)]))
    dense, sparse = np.zeros(shape, np.uint8), StrokeArray(shape)
    for _ in range(data.draw(st.integers(1, 5))):
        value = data.draw(st.integers(0, 4))
        if data.draw(st.booleans()):
            start = [data.draw(st.integers(0, n - 1)) for n in shape]
            key = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(start, shape))
        else:
            n = data.draw(st.integers(1, 8))
            key = tuple(np.array([data.draw(st.integers(0, m - 1)) for _ in range(n)]) for m in shape)
            np.testing.assert_array_equal(sparse[key], dense[key])
        dense[key] = value
        sparse[key] = value
    np.testing.assert_array_equal(np.asarray(sparse), dense)
    at = tuple(n // 2 for n in shape)
    assert sparse[at] == dense[at]
    np.testing.assert_array_equal(sparse[at[:-2]], dense[at[:-2]])


def test_writing_back_what_was_read_paints_nothing_and_costs_nothing():
    array = StrokeArray((100_000, 100_000))
    box = (slice(50_000, 50_100), slice(60_000, 60_100))
    array[box] = array[box]
    assert not array._chunks
    region = array[box]
    region[3, 4] = 2
    array[box] = region
    assert array[50_003, 60_004] == 2
    assert sum(chunk.nbytes for chunk in array._chunks.values()) < 50_000


def test_replacing_forgets_what_was_there():
    array = StrokeArray((50, 50))
    array[3:9, 4] = 1
    array.replace(np.array([[1, 2], [40, 41]]), np.array([3, 4], np.uint8))
    assert (array[1, 2], array[40, 41], np.asarray(array).sum()) == (3, 4, 7)


def test_levels_are_every_second_pixel_of_the_finest():
    shape = (3, 1500, 2100)
    rng = np.random.default_rng(0)
    full = rng.integers(0, 5, shape).astype(np.uint8)

    def picture(region: Region, step):
        return full[region.slices][tuple(slice(None, None, s) for s in step)]

    made = levels(shape, 3, picture)
    assert [a.shape for a in made] == [(3, 1500, 2100), (3, 750, 1050), (3, 375, 525), (3, 188, 263)]
    for i, level in enumerate(made):
        np.testing.assert_array_equal(level[1], full[1, :: 1 << i, :: 1 << i])
        np.testing.assert_array_equal(level[2, 10:90, 20:60], full[2, :: 1 << i, :: 1 << i][10:90, 20:60])


def test_time_is_the_frame_of_the_picture():
    asked = []

    def picture(region: Region, step):
        asked.append(region)
        return np.full([-(-n // s) for n, s in zip(region.shape, step)], region.t, np.uint8)

    level, half = levels((4, 30, 40), 2, picture)
    assert half.shape == (4, 15, 20)
    assert (level[2] == 2).all()
    assert asked[-1] == Region((0, 0), (30, 40), 2)
    assert [int(level[t].max()) for t in range(4)] == [0, 1, 2, 3]
