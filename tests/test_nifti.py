"""NIfTI, judged by nibabel's own reading and turning."""

import gzip
from contextlib import suppress

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brushwork.blocks import Region, whole
from brushwork.errors import InputError
from brushwork.image import as_image
from brushwork.io import label_values, open_image, open_labels, write_image
from brushwork.io.nifti import Flipped

AFFINES = [np.diag([-1.0, -1, 1, 1]), np.diag([1.0, 1, 1, 1]), np.diag([1.0, -1, -1, 1])]


def volume(shape=(4, 5, 6), seed=0, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, 200, shape).astype(dtype)


def lps(image):
    """The array of a nibabel image as z, y, x with x to the left, y to the back and z to the head."""
    ours = nib.orientations.axcodes2ornt("LPS")
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), ours)
    return np.asarray(image.as_reoriented(turn).dataobj).T


def saved(path, array, affine, code=1):
    image = nib.Nifti1Image(array, affine)
    image.header.set_qform(affine, code)
    image.header.set_sform(affine, code)
    image.header.set_xyzt_units("mm", "sec")
    nib.save(image, path)
    return path


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_is_written_lies_as_itk_wants_it(tmp_path, suffix):
    pixels = volume()
    path = tmp_path / f"a{suffix}"
    write_image(as_image(pixels, pixel_size=(2, 0.5, 0.25)), path)
    image = nib.load(path)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    np.testing.assert_allclose(np.diag(image.affine), [-0.25e-3, -0.5e-3, 2e-3, 1], rtol=1e-6)
    assert (int(image.header["qform_code"]), int(image.header["sform_code"])) == (1, 1)
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), rtol=1e-6, atol=1e-12)
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, pixels)
    back = open_image(path)
    assert back.pixel_size == (2, 0.5, 0.25)
    np.testing.assert_array_equal(back.read(whole(back.shape))[0], pixels)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("order", ["xyz", "zxy", "yxz"])
@pytest.mark.parametrize("signs", [(1, 1, 1), (-1, 1, -1), (1, -1, 1), (-1, -1, -1)])
def test_any_straight_affine_is_read_as_nibabel_turns_it(tmp_path, suffix, order, signs):
    sizes = {"x": 0.2, "y": 0.3, "z": 0.7}
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (letter, sign) in enumerate(zip(order, signs)):
        affine["xyz".index(letter), column] = sign * sizes[letter]
    affine[:3, 3] = 3, -5, 11
    path = saved(tmp_path / f"a{suffix}", volume(), affine)
    image = open_image(path)
    np.testing.assert_array_equal(image.read(whole(image.shape))[0], lps(nib.load(path)))
    assert image.pixel_size == pytest.approx((700, 300, 200))
    region = Region((1, 2, 1), (3, 4, 4))
    np.testing.assert_array_equal(image.read(region)[0], lps(nib.load(path))[region.slices])


@given(st.data())
def test_a_flipped_array_is_sliced_like_the_flipped_one(data):
    array = np.arange(7 * 5).reshape(7, 5)
    axes = tuple(data.draw(st.sets(st.integers(0, 1))))
    indices = st.one_of(st.slices(7).filter(lambda s: (s.step or 1) > 0), st.integers(-5, 4))
    key = (data.draw(indices), data.draw(st.one_of(st.integers(0, 4), st.just(slice(1, 4)), st.just(slice(None)))))
    np.testing.assert_array_equal(Flipped(array, axes)[key], np.flip(array, axes)[key])


def test_a_file_without_directions_stays_as_it_is_stored(tmp_path):
    pixels = volume()
    image = nib.Nifti1Image(pixels, None)
    path = tmp_path / "matlab.nii"
    nib.save(image, path)
    assert int(nib.load(path).header["qform_code"]) == 0
    back = open_image(path)
    np.testing.assert_array_equal(back.read(whole(back.shape))[0], pixels.T)


def test_an_oblique_file_is_refused(tmp_path):
    turn = np.eye(4)
    turn[:2, :2] = [[0.995, -0.0998], [0.0998, 0.995]]
    with pytest.raises(InputError, match="oblique"):
        open_image(saved(tmp_path / "a.nii", volume(), turn))


def test_frames_channels_planes_and_scaled_numbers(tmp_path):
    pixels = volume((2, 3, 4, 5, 6), dtype=np.uint16)  # t, c, z, y, x
    write_image(as_image(pixels, axes="tczyx"), tmp_path / "a.nii")
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "a.nii").dataobj), pixels.transpose(4, 3, 2, 0, 1))
    back = open_image(tmp_path / "a.nii")
    assert (back.n_frames, len(back.channel_names)) == (2, 3)
    np.testing.assert_array_equal(back.read(whole(back.shape, 1)), pixels[1])
    write_image(as_image(pixels[0, 0, 0]), tmp_path / "plane.nii.gz")
    assert nib.load(tmp_path / "plane.nii.gz").shape == (6, 5, 1)
    assert open_image(tmp_path / "plane.nii.gz").shape == (5, 6)

    scaled = nib.Nifti1Image(volume(dtype=np.int16), AFFINES[0])
    scaled.header.set_slope_inter(0.5, 3)
    nib.save(scaled, tmp_path / "scaled.nii")
    image = open_image(tmp_path / "scaled.nii")
    expected = lps(nib.load(tmp_path / "scaled.nii")).astype(np.float32)
    np.testing.assert_allclose(image.read(whole(image.shape))[0], expected, rtol=1e-6)


def test_long_axes_become_nifti_2(tmp_path):
    pixels = np.zeros((1, 2, 40_000), np.uint8)
    pixels[0, 1, 39_999] = 7
    write_image(as_image(pixels), tmp_path / "a.nii.gz")
    image = nib.load(tmp_path / "a.nii.gz")
    assert isinstance(image, nib.Nifti2Image)
    np.testing.assert_array_equal(np.asarray(image.dataobj).T, pixels)
    assert open_image(tmp_path / "a.nii.gz").read(Region((1, 39_990), (2, 40_000))).max() == 7


def test_damaged_files_are_told(tmp_path):
    path = tmp_path / "a.nii"
    write_image(as_image(volume((8, 20, 20))), path)
    whole_file = path.read_bytes()
    path.write_bytes(whole_file[:-5])
    with pytest.raises(InputError, match="truncated"):
        open_image(path)
    packed = tmp_path / "b.nii.gz"
    packed.write_bytes(gzip.compress(whole_file[:-5]))
    image = open_image(packed)
    with pytest.raises(InputError, match="truncated"):
        image.read(whole(image.shape))
    packed.write_bytes(gzip.compress(whole_file)[:-40])
    image = open_image(packed)
    with pytest.raises(InputError, match="damaged"):
        image.read(whole(image.shape))
    huge = bytearray(whole_file)
    huge[42:48] = np.array([32767] * 3, "<i2").tobytes()  # dimensions
    packed.write_bytes(gzip.compress(bytes(huge)))
    with pytest.raises(InputError, match="truncated"):
        open_image(packed)
    for text in (b"", b"not a nifti file at all" * 40):
        path.write_bytes(text)
        with pytest.raises(InputError):
            open_image(path)


@pytest.mark.parametrize("damage", [b"\xff\x7f\xff\x7f", b"\xff\xff\xff\xff", bytes(4), b"\x00\x00\xc0\x7f"])
def test_a_damaged_header_is_read_or_refused_and_never_a_crash(tmp_path, damage):
    path = tmp_path / "a.nii"
    write_image(as_image(volume()), path)
    good = path.read_bytes()
    for position in range(0, 352, 2):
        path.write_bytes(good[:position] + damage + good[position + 4 :])
        with suppress(InputError):
            image = open_image(path)
            image.read(Region((0,) * len(image.shape), (1,) * len(image.shape)))


# ---------------------------------------------------------------- labels


@pytest.fixture
def stack(tmp_path):
    pixels = volume((4, 5, 6))
    return as_image(pixels, pixel_size=(2, 0.5, 0.5))


@pytest.mark.parametrize("affine", AFFINES)
def test_labels_that_a_program_turned_find_their_pixels(tmp_path, stack, affine):
    values = np.zeros(stack.shape, np.uint16)
    values[1, 2, 3], values[0, 4, 5] = 1, 3
    sizes = np.diag([0.5e-3, 0.5e-3, 2e-3, 1])
    ours = nib.Nifti1Image(values.T, AFFINES[0] @ sizes)
    turn = nib.orientations.ornt_transform(nib.io_orientation(ours.affine), nib.io_orientation(affine))
    turned = ours.as_reoriented(turn)
    path = saved(tmp_path / "labels.nii.gz", np.asarray(turned.dataobj), turned.affine)
    assert label_values(path) == {1: 1, 3: 1}
    found = open_labels(path, stack, mapping={1: 2, 3: 1})
    assert {tuple(at): c for at, c in zip(found.coords.tolist(), found.classes.tolist())} == {
        (1, 2, 3): 2,
        (0, 4, 5): 1,
    }


def test_labels_of_another_size_shape_or_place_are_refused(tmp_path, stack):
    sizes = AFFINES[0] @ np.diag([0.5e-3, 0.5e-3, 2e-3, 1])
    ones = np.ones(stack.shape[::-1], np.uint8)
    other_size = saved(tmp_path / "a.nii", ones, sizes @ np.diag([1.01, 1, 1, 1]))
    with pytest.raises(InputError, match="another image"):
        open_labels(other_size, stack)
    other_shape = saved(tmp_path / "b.nii", ones[:-1], sizes)
    with pytest.raises(InputError, match="4 x 5 x 5"):
        open_labels(other_shape, stack)
    write_image(stack, tmp_path / "image.nii")
    image = open_image(tmp_path / "image.nii")
    assert len(open_labels(saved(tmp_path / "c.nii", ones, sizes), image)) == ones.size
    sizes[:3, 3] = 0, -0.5e-3 * 2, 0
    away = saved(tmp_path / "d.nii", ones, sizes)
    with pytest.raises(InputError, match=r"0\.0, 2\.0, 0\.0 pixels"):
        open_labels(away, image)
    part = saved(tmp_path / "e.nii", ones[:2, :2, :2], sizes)
    assert len(open_labels(part, image, offset=(0, 2, 0))) == 8


def test_labels_as_floats_have_to_be_whole(tmp_path, stack):
    values = np.zeros(stack.shape[::-1], np.float32)
    values[0, 0, 0] = 2
    path = saved(tmp_path / "a.nii", values, np.diag([-0.5e-3, -0.5e-3, 2e-3, 1]))
    assert open_labels(path, stack).classes.tolist() == [2]
    for bad in (0.5, np.nan, np.inf, -1):
        values[1, 1, 1] = bad
        path = saved(tmp_path / "a.nii", values, np.diag([-0.5e-3, -0.5e-3, 2e-3, 1]))
        with pytest.raises(InputError, match="whole numbers"):
            open_labels(path, stack)
        with pytest.raises(InputError, match="whole numbers"):
            label_values(path)
