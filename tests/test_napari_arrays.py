"""Arrays that napari slices: equal to dense ones, whatever is asked."""

import threading
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brushwork.blocks import Region
from brushwork.image import as_image
from brushwork.napari.arrays import (
    ChannelArray,
    StrokeArray,
    StrokeWindow,
    Window,
    channel_levels,
    display_shape,
    levels,
    window_of,
)
from brushwork.overview import BAND, Overview

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


class Far:
    """100,000 x 100,000 pixels that are made when they are asked for; notes the most that were, which must stay few."""

    shape, dtype = (100_000, 100_000), np.dtype(np.uint8)
    most = 0

    def __getitem__(self, key):
        rows, columns = (np.arange(n)[k] for n, k in zip(self.shape, key))
        self.most = max(self.most, rows.size * columns.size)
        return (rows[:, None] // 1000 + columns // 1000).astype(np.uint8)


def overview(image, changed=lambda: None):
    def failed(error):
        raise error

    return Overview(image, changed=changed, failed=failed)


def test_a_small_image_has_one_level_and_a_large_one_those_that_are_stored_and_those_between(monkeypatch):
    monkeypatch.setattr("brushwork.napari.arrays.LARGEST_PLANE", 300)
    full = np.random.default_rng(0).integers(0, 200, (2, 520, 400)).astype(np.uint8)
    quarter = as_image(full[:, ::4, ::4], axes="cyx")
    image = replace(as_image(full, axes="cyx"), coarser=lambda: (quarter,))
    assert channel_levels(as_image(full[:, :300, :300], axes="cyx"), 0, overview(quarter)) is None
    made = channel_levels(image, 1, overview(quarter))
    assert [a.shape for a in made] == [(520, 400), (260, 200), (130, 100), (65, 50), (33, 25)]
    for array, step in zip(made, (1, 2, 4, 8, 16)):
        np.testing.assert_array_equal(array[:, 3:20], full[1, ::step, ::step][:, 3:20])


def test_a_view_of_what_nobody_can_hold_is_read_aside_and_in_bands():
    source, told = Far(), threading.Event()
    image = as_image(source, axes="yx")
    seen = overview(image, told.set)
    made = channel_levels(image, 0, seen)
    assert made[0][50_000:50_004, 70_000:70_004].tolist() == [[120] * 4] * 4
    coarsest = made[-1]
    assert coarsest.shape == (49, 49)
    coarsest[:]
    assert told.wait(20)
    known = coarsest[:]
    assert known[0].tolist() == (np.arange(49) * 2048 // 1000).tolist()
    assert not known[-1].any()
    seen.close()
    assert source.most <= BAND


def test_an_overview_grows_until_all_is_known(monkeypatch):
    monkeypatch.setattr("brushwork.overview.EDGE", 64)
    monkeypatch.setattr("brushwork.overview.BAND", 8000)
    monkeypatch.setattr("brushwork.overview.TELL_EVERY", 0)
    told = threading.Semaphore(0)
    full = np.random.default_rng(0).integers(1, 200, (3, 2, 200, 150)).astype(np.uint8)  # z c y x
    seen = overview(as_image(full, axes="zcyx"), told.release)
    assert seen.step == 4
    spans = (range(2, 3), range(0, 200, 4), range(0, 150, 4))
    seen.picture(1, spans)
    for _ in range(8 + 1):  # eight bands, and the end
        assert told.acquire(timeout=20)
    np.testing.assert_array_equal(seen.picture(1, spans), full[2:3, 1, ::4, ::4])
    finer = (range(2, 3), range(0, 200, 2), range(0, 150, 2))
    np.testing.assert_array_equal(seen.picture(1, finer)[0, ::2, ::2], full[2, 1, ::4, ::4])
    assert not seen.picture(1, (range(3), *spans[1:])).any(), "several planes are never known"
    seen.close()


def test_a_small_plane_is_one_window_and_a_large_one_follows_the_view():
    whole = Window((0, 0, 0), (5, 4000, 3000))
    assert window_of((5, 4000, 3000), ((0, 0), (4000, 3000))) == whole
    shape = (5, 100_000, 90_000)
    near = window_of(shape, ((50_000, 300), (51_000, 1500)))
    assert near == Window((0, 46_404, 0), (5, 54_596, 8192))
    assert window_of(shape, ((50_500, 900), (51_500, 2100)), near) is near
    moved = window_of(shape, ((54_000, 900), (55_000, 2100)), near)
    assert moved.step == 1
    assert moved.holds((54_000, 900), (55_000, 2100))
    far = window_of(shape, ((0, 0), shape[-2:]), near)
    assert far.step == 16
    assert far.shape == (5, 6250, 5625)
    assert (
        window_of((500, 9000, 9000), None).shape[0] * 9000 * 9000 // window_of((500, 9000, 9000), None).step ** 2
        < 2**27
    )


@given(st.data())
def test_a_window_is_painted_in_like_a_part_of_a_dense_array(data):
    shape = data.draw(st.sampled_from([(90, 130), (3, 90, 130)]))
    dense, sparse = np.zeros(shape, np.uint8), StrokeArray(shape)
    start = (0,) * (len(shape) - 2) + tuple(data.draw(st.integers(0, 40)) for _ in range(2))
    window = Window(start, tuple(min(a + 50, n) for a, n in zip(start, shape)))
    array, part = StrokeWindow(sparse, window), dense[tuple(slice(a, b) for a, b in zip(window.start, window.stop))]
    assert array.shape == part.shape
    for _ in range(data.draw(st.integers(1, 4))):
        value = data.draw(st.integers(0, 4))
        if data.draw(st.booleans()):
            low = [data.draw(st.integers(0, n - 1)) for n in part.shape]
            key = tuple(slice(a, data.draw(st.integers(a + 1, n))) for a, n in zip(low, part.shape))
        else:
            key = tuple(np.array([data.draw(st.integers(0, n - 1)) for _ in range(4)]) for n in part.shape)
        np.testing.assert_array_equal(array[key], part[key])
        part[key] = value
        array[key] = value
    np.testing.assert_array_equal(np.asarray(array), part)
    np.testing.assert_array_equal(np.asarray(sparse), dense)
    far = StrokeWindow(sparse, Window((0,) * len(shape), shape, 16))
    y, x = (-(-n // 16) for n in shape[-2:])
    padded = np.zeros((*shape[:-2], y * 16, x * 16), np.uint8)
    padded[..., : shape[-2], : shape[-1]] = dense
    tiles = padded.reshape(*shape[:-2], y, 16, x, 16).max((-3, -1))
    np.testing.assert_array_equal(np.asarray(far) > 0, tiles > 0)
    far[...] = 3
    np.testing.assert_array_equal(np.asarray(sparse), dense)


def test_levels_are_every_second_pixel_of_the_finest():
    shape = (3, 1500, 2100)
    rng = np.random.default_rng(0)
    full = rng.integers(0, 5, shape).astype(np.uint8)

    def picture(region: Region, step):
        return full[region.slices][tuple(slice(None, None, s) for s in step)]

    made = levels(shape, 3, picture)
    assert [a.shape for a in made] == [(3, 1500, 2100), (3, 750, 1050), (3, 375, 525), (3, 188, 263)]
    assert levels(shape[1:], 2, picture)[-1].shape == (24, 33)
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


def test_of_a_level_only_the_planes_that_are_taken_are_read():
    asked = []

    def picture(region: Region, step):
        asked.append(region)
        return np.full([-(-n // s) for n, s in zip(region.shape, step)], region.start[0], np.uint8)

    level = levels((40, 300, 400), 3, picture)[0]
    box = level[:, 10:90, 20:60]
    assert box.shape == (40, 80, 40)
    assert not asked
    plane = np.asarray(box[7])
    assert plane.shape == (80, 40)
    assert (plane == 7).all()
    assert asked == [Region((7, 10, 20), (8, 90, 60))]
    assert np.asarray(box).shape == box.shape
