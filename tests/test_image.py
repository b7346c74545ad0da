"""ArrayImage: any order of axes reads as (c, *spatial) float32."""

from dataclasses import replace
from itertools import islice, permutations

import numpy as np
import pytest

from brushwork.blocks import Region, whole
from brushwork.errors import InputError
from brushwork.image import ArrayImage, Image, as_image, is_anisotropic, parse_pixel_size

LENGTHS = {"t": 2, "c": 3, "z": 4, "y": 5, "x": 6}
FULL = np.arange(720, dtype=np.uint16).reshape(2, 3, 4, 5, 6)


@pytest.mark.parametrize(
    "axes", ["yx", "xy", "yxc", "tyx", "zxy", *map("".join, islice(permutations("tczyx"), 0, None, 7))]
)
def test_any_order_of_axes(axes):
    source = FULL[tuple(slice(None) if a in axes else 0 for a in "tczyx")]
    kept = "".join(a for a in "tczyx" if a in axes)
    image = ArrayImage(source.transpose([kept.index(a) for a in axes]), axes)
    assert isinstance(image, Image)
    assert image.shape == tuple(LENGTHS[a] for a in "zyx" if a in axes)
    assert image.n_frames == (2 if "t" in axes else 1)
    for t in range(image.n_frames):
        expected = FULL[t if "t" in axes else 0]
        expected = expected if "c" in axes else expected[:1]
        expected = expected if "z" in axes else expected[:, 0]
        frame = image.read(whole(image.shape, t))
        assert frame.dtype == np.float32
        assert frame.flags.c_contiguous
        np.testing.assert_array_equal(frame, expected)
        part = Region((1,) * len(image.shape), (3,) * len(image.shape), t)
        np.testing.assert_array_equal(image.read(part), expected[(slice(None), *part.slices)])
        np.testing.assert_array_equal(image.stored(part), image.read(part))
        assert image.stored(part).dtype == np.uint16


@pytest.mark.parametrize(
    ("axes", "message"),
    [
        ("zyq", "unknown axis 'q'"),
        ("zyy", "name an axis twice"),
        ("zcx", "lack y or x"),
        ("yx", "name 2 axes but the image has 3"),
    ],
)
def test_axes_that_make_no_sense(axes, message):
    with pytest.raises(InputError, match=message):
        ArrayImage(FULL[0, 0], axes)


def test_names_and_pixel_size_are_checked():
    image = ArrayImage(FULL[0, :, 0], "cyx", "cells.tif")
    assert image.channel_names == ("channel 0", "channel 1", "channel 2")
    assert ArrayImage(FULL[0, 0, 0], "yx").channel_names == ("intensity",)
    with pytest.raises(InputError, match=r"cells.tif has 3 channels but 2 channel names: a, b"):
        ArrayImage(FULL[0, :, 0], "cyx", "cells.tif", ("a", "b"))
    assert replace(image, pixel_size=(2, 1)).pixel_size == (2.0, 1.0)
    for wrong in ((1, 1, 1), (0, 1), (float("nan"), 1), (-1, 1)):
        with pytest.raises(InputError, match="pixel size"):
            replace(image, pixel_size=wrong)


def test_arrays_in_memory():
    assert as_image(FULL[0, 0]).axes == "zyx"
    assert as_image(FULL[0, 0, 0]).axes == "yx"
    with pytest.raises(InputError, match="say what they are"):
        as_image(FULL)
    np.testing.assert_array_equal(as_image(FULL[0], axes="czyx").read(whole((4, 5, 6))), FULL[0])


def test_anisotropy_and_parsing():
    assert is_anisotropic((3, 1, 1))
    assert not is_anisotropic((2.9, 1, 1))
    assert not is_anisotropic((9, 1))
    assert not is_anisotropic(None)
    assert parse_pixel_size("2,1, 1") == (2.0, 1.0, 1.0)
    with pytest.raises(InputError, match="list of numbers"):
        parse_pixel_size("2,a")
