"""Real files of other programs: the readers agree with what independent readers found (expected.json)."""

import json
from functools import partial

import numpy as np
import pytest

from brushwork.blocks import whole
from brushwork.errors import InputError
from brushwork.io import image_levels, open_image, open_labels
from brushwork.io.wrong import looks_like

FORMATS = ("ilastik-hdf5", "imc-tiff", "ome-zarr", "tiff-units", "wsi")
ASK = {"ilastik-hdf5/5t3d2c.h5": "tzyxc", "imc-tiff/E34_imc.tiff": "cyx", "imc-tiff/G01_imc.tiff": "cyx"}


def pixels(image):
    return np.stack([image.stored(whole(image.shape, t)) for t in range(image.n_frames)])


def address(folder, file, part):
    if file.endswith(".h5"):
        return f"{folder / file}/{part}", None
    if file.endswith(".zattrs"):
        return str((folder / file).parent), part
    return str(folder / file) + (f"#{part.removeprefix('series')}" if "svs" in file else ""), None


@pytest.mark.parametrize("group", FORMATS)
def test_agrees_with_independent_readers(test_data, group):
    folder = test_data / "f_formats"
    everything = json.loads((folder / "expected.json").read_text())
    files = {name: parts for name, parts in everything.items() if name.startswith(group)}
    assert files
    for file, parts in files.items():
        for part, expected in parts.items():
            if expected.get("dtype") is None:
                continue
            uri, level = address(folder, file, part)
            opened = partial(open_image, uri, level=level)
            if file in ASK:
                with pytest.raises(InputError, match="--axes"):
                    opened()
            image = opened(axes=ASK.get(file))
            found = pixels(image)
            assert found.dtype == expected["dtype"], file
            assert sorted(n for n in found.shape if n > 1) == sorted(n for n in expected["shape"] if n > 1), file
            assert (found.min(), found.max()) == (expected["min"], expected["max"]), file
            np.testing.assert_allclose(found.sum(dtype=np.float64), expected["sum"], rtol=1e-12)


def test_units_of_imagej(test_data):
    """Each axis has its own unit, one of them is written "\\u03BCm", one as "('cm',)", one resolution is 0/0."""
    folder = test_data / "f_formats" / "tiff-units"
    sizes = {
        name: open_image(folder / f"{name}.tif").pixel_size for name in ("2d", "2d_stringified_tuple", "3d", "3d_c")
    }
    assert sizes["2d"] == pytest.approx((0.007, 20000), rel=1e-5)
    assert sizes["2d_stringified_tuple"] == pytest.approx((0.006, 50000), rel=1e-5)
    assert sizes["3d"] == pytest.approx((2e-6, 6000, 110000), rel=1e-4)
    assert sizes["3d_c"] == pytest.approx((130000, 0.011, 2), rel=1e-4)
    assert open_image(folder / "2d_zero_division.tif").pixel_size is None


def test_ome_zarr_levels_by_number_name_and_pixel_size(test_data):
    uri = test_data / "f_formats" / "ome-zarr" / "my_image"
    assert [name for name, _, _ in image_levels(uri)] == ["0", "1"]
    assert open_image(uri).shape == (540, 1280)
    assert open_image(uri, level=1).shape == open_image(uri, level="1").shape == (270, 640)
    near = open_image(uri, pixel_size=(1.2, 1.2))
    assert near.shape == (270, 640)
    assert near.pixel_size == (1.3, 1.3)
    assert near.channel_names == ("DAPI",)
    with pytest.raises(InputError, match=r"no level with pixels near 5 um.*0 \(0.65 um\), 1 \(1.3 um\)"):
        open_image(uri, pixel_size=(5, 5))
    with pytest.raises(InputError, match=r"unknown level .*7.*known: 0, 1"):
        open_image(uri, level=7)


def test_a_slide_gives_a_corner(test_data):
    image = open_image(test_data / "f_formats" / "wsi" / "CMU-1-Small-Region.svs#0")
    assert image.pixel_size == pytest.approx((0.499, 0.499))
    corner = whole((10, 300))
    np.testing.assert_array_equal(image.stored(corner), image.stored(whole(image.shape))[:, :10, :300])


def test_every_case_opens_with_its_strokes(test_data):
    for case in sorted(test_data.glob("[abcdg]*")):
        for strokes in sorted(case.glob("scrib/few/*.tif")):
            found = [p for p in (case / "img").rglob(strokes.stem + "*") if p.suffix in (".tif", ".png") or p.is_dir()]
            if found:
                image = open_image(found[0], like="cyx" if found[0].is_dir() else None)
                labels = open_labels(strokes, image)
                assert len(labels) > 100
                assert labels.classes.max() <= 5


def test_channels_in_a_folder_are_named_after_their_files(test_data):
    folder = test_data / "c1_mibi_41ch" / "img" / "train"
    image = open_image(folder, axes="cyx")
    assert len(image.channel_names) == 36
    assert "CD11c" in image.channel_names
    with pytest.raises(InputError, match="runs over the files"):
        open_image(folder)


def test_folders_of_planes_are_channels(test_data):
    image = open_image(test_data / "d3_brain_two_channels", axes="czyx")
    assert image.shape == (9, 510, 667)
    assert image.channel_names == ("channel 0", "channel 1")
    one = open_image(test_data / "d3_brain_two_channels" / "ch1" / "*.tif", axes="zyx", pixel_size=(5, 2, 2))
    corner = whole((9, 20, 30))
    np.testing.assert_array_equal(image.stored(corner)[1], one.stored(corner)[0])


def test_what_files_look_like(test_data):
    formats = test_data / "f_formats"
    assert looks_like(formats / "czi" / "DAPI_GFP.czi") == "a Zeiss CZI image"
    assert looks_like(formats / "ilastik-hdf5" / "smallVideo.h5") == "an HDF5 file"
    with pytest.raises(InputError, match=r"\.czi are not known.*Zeiss CZI"):
        open_image(formats / "czi" / "DAPI_GFP.czi")
