"""Reading: every variant of a format gives the pixels that another library wrote, by region and without reading the rest."""

import json
import math
import pickle
import resource
import sys
import threading
from contextlib import nullcontext
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore as ts
import tifffile
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as Pillow

from brushwork.blocks import Region, whole
from brushwork.errors import InputError
from brushwork.image import ArrayImage, as_image, part_of
from brushwork.io import READERS, hdf5, hdf5_texts, open_image, open_labels, readers
from brushwork.io.planes import matching, natural
from brushwork.io.sources import Joined, PieceCache, full_key
from brushwork.io.units import um_per

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 60000, (4, 3, 70, 50), dtype=np.uint16)  # z, c, y, x
CZYX = STACK.swapaxes(0, 1)


def frame(image, t=0):
    return image.stored(whole(image.shape, t))


# ---------------------------------------------------------------- TIFF

TIFFS = {
    "contiguous": {},
    "big": {"bigtiff": True},
    "big-endian": {"byteorder": ">"},
    "tiled": {"tile": (16, 32)},
    "tiled deflate": {"tile": (32, 16), "compression": "zlib"},
    "strips": {"rowsperstrip": 7},
    "strips deflate": {"rowsperstrip": 7, "compression": "zlib"},
    "predictor": {"rowsperstrip": 70, "compression": "zlib", "predictor": True},
    "lzw": {"compression": "lzw"},
    "big-endian deflate": {"byteorder": ">", "compression": "zlib"},
}


KINDS = [(kind, name) for kind in ("ome", "shaped", "pages") for name in TIFFS]
KINDS += [("imagej", name) for name in ("contiguous", "big-endian", "strips", "strips deflate", "predictor")]


@pytest.mark.parametrize(("kind", "name"), KINDS)
def test_tiff_of_every_kind(tmp_path, kind, name):
    options = TIFFS[name]
    path = tmp_path / "stack.tif"
    axes = {"metadata": {"axes": "ZCYX"}}
    if kind == "pages":
        with tifffile.TiffWriter(path, bigtiff="bigtiff" in options, byteorder=options.get("byteorder")) as file:
            rest = {key: value for key, value in options.items() if key not in ("bigtiff", "byteorder")}
            for plane in STACK.reshape(-1, 70, 50):
                file.write(plane, metadata=None, contiguous=False, photometric="minisblack", **rest)
        image = open_image(path, axes="zyx")
        expected = STACK.reshape(1, 12, 70, 50)
    else:
        tifffile.imwrite(
            path, STACK, ome=kind == "ome", imagej=kind == "imagej", photometric="minisblack", **axes, **options
        )
        image = open_image(path)
        expected = CZYX
        assert image.axes == "zcyx"
    np.testing.assert_array_equal(frame(image), expected)
    part = Region((1, 5, 11), (3, 38, 40))
    np.testing.assert_array_equal(image.stored(part), expected[:, 1:3, 5:38, 11:40])
    assert image.read(part).dtype == np.float32


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_region_of_any_tiff(tmp_path_factory, data):
    """Tiles and strips of any size, any region: the part equals the same part of the whole."""
    shape = data.draw(st.tuples(st.integers(1, 40), st.integers(1, 40)))
    samples = data.draw(st.sampled_from([(), (3,)]))
    tile = data.draw(st.sampled_from([None, (16, 16), (16, 48)]))
    rows = None if tile else data.draw(st.integers(1, 45))
    pixels = RNG.integers(0, 255, (2, *shape, *samples), dtype=np.uint8)
    path = tmp_path_factory.mktemp("any") / "any.tif"
    photometric = "rgb" if samples else "minisblack"
    tifffile.imwrite(path, pixels, tile=tile, rowsperstrip=rows, compression="zlib", photometric=photometric)
    image = open_image(path, axes="zyxc" if samples else "zyx")
    box = [sorted(data.draw(st.lists(st.integers(0, n), min_size=2, max_size=2, unique=True))) for n in (2, *shape)]
    region = Region(*(tuple(side) for side in zip(*box)))
    expected = np.moveaxis(pixels, -1, 0) if samples else pixels[np.newaxis]
    np.testing.assert_array_equal(image.stored(region), expected[(slice(None), *region.slices)])


def test_tiff_colour_and_transparency(tmp_path):
    rgba = RNG.integers(0, 255, (20, 30, 4), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    tifffile.imwrite(
        tmp_path / "b.tif",
        np.moveaxis(rgba[..., :3], -1, 0),
        photometric="rgb",
        planarconfig="separate",
        compression="zlib",
    )
    for name in "ab":
        image = open_image(tmp_path / f"{name}.tif")
        assert image.channel_names == ("red", "green", "blue")
        np.testing.assert_array_equal(frame(image), np.moveaxis(rgba[..., :3], -1, 0))


def test_ome_tiff_says_everything(tmp_path):
    path = tmp_path / "movie.ome.tif"
    sizes = {"PhysicalSizeX": 250.0, "PhysicalSizeXUnit": "nm", "PhysicalSizeY": 0.25, "PhysicalSizeZ": 1.5}
    metadata = {"axes": "TZCYX", "Channel": {"Name": ["DAPI", "GFP", "red"]}} | sizes
    movie = np.stack([STACK, STACK + 1])
    tifffile.imwrite(path, movie, metadata=metadata)
    image = open_image(path)
    assert (image.axes, image.n_frames, image.channel_names) == ("tzcyx", 2, ("DAPI", "GFP", "red"))
    assert image.pixel_size == pytest.approx((1.5, 0.25, 0.25))
    np.testing.assert_array_equal(frame(image, 1), CZYX + 1)
    assert open_image(path, pixel_size=(2, 1, 1)).pixel_size == (2, 1, 1)


def test_ome_tiff_of_several_files(tmp_path):
    """One plane per file; each file's metadata names them all."""
    uid = [f"urn:uuid:{i:08d}-0000-0000-0000-000000000000" for i in range(2)]
    data = "".join(
        f'<TiffData FirstZ="{i}" IFD="0" PlaneCount="1"><UUID FileName="z{i}.ome.tif">{uid[i]}</UUID></TiffData>'
        for i in range(2)
    )
    order = 'ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16"'
    pixels = f'<Pixels {order} SizeX="50" SizeY="70" SizeZ="2" SizeC="1" SizeT="1">{data}</Pixels>'
    for i in range(2):
        head = f'<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="{uid[i]}">'
        xml = f'<?xml version="1.0" encoding="UTF-8"?>{head}<Image ID="Image:0">{pixels}</Image></OME>'
        tifffile.imwrite(tmp_path / f"z{i}.ome.tif", STACK[i, 0], description=xml, metadata=None)
    image = open_image(tmp_path / "z0.ome.tif")
    assert image.axes == "zyx"
    np.testing.assert_array_equal(frame(image)[0], STACK[:2, 0])


def test_tiff_pyramid_in_subifds(tmp_path):
    path = tmp_path / "slide.ome.tif"
    levels = [RNG.integers(0, 255, (128 >> i, 96 >> i), dtype=np.uint8) for i in range(3)]
    with tifffile.TiffWriter(path) as file:
        metadata = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
        file.write(levels[0], subifds=2, tile=(32, 32), metadata=metadata)
        for level in levels[1:]:
            file.write(level, subfiletype=1, tile=(32, 32), metadata=None)
    for i, expected in enumerate(levels):
        image = open_image(path, level=i)
        np.testing.assert_array_equal(frame(image)[0], expected)
        assert image.pixel_size == pytest.approx((0.5 * 2**i,) * 2)
    assert open_image(path, pixel_size=(1.1, 1.1)).shape == (64, 48)
    below = open_image(path).coarser()
    assert [image.shape for image in below] == [(64, 48), (32, 24)]
    np.testing.assert_array_equal(frame(below[1])[0], levels[2])
    assert [image.shape for image in open_image(path, level=1).coarser()] == [(32, 24)]
    assert open_image(path, level=2).coarser() == ()


def test_untagged_stack_asks_unless_the_training_image_settled_it(tmp_path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, STACK[:, 0], metadata=None, photometric="minisblack")
    with pytest.raises(InputError, match=r"3 axes \(4 x 70 x 50\).*--axes, e.g. zyx or cyx"):
        open_image(path)
    assert open_image(path, axes="cyx").channel_names == tuple(f"channel {i}" for i in range(4))
    assert open_image(path, like="zyx").shape == (4, 70, 50)
    with pytest.raises(InputError, match="--axes"):
        open_image(path, like="czyx")
    with pytest.raises(InputError, match="axes 'yx' name 2 axes"):
        open_image(path, axes="yx")


def test_a_file_of_several_images_asks_which(tmp_path):
    path = tmp_path / "two.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(STACK[0, 0])
        file.write(STACK[0, 1, :, :40].astype(np.uint8), contiguous=False)
        file.write(np.zeros((80, 80), np.uint8), contiguous=False)
    with pytest.raises(InputError, match=r"holds 3 images.*two.tif#0"):
        open_image(path)
    np.testing.assert_array_equal(frame(open_image(f"{path}#1"))[0], STACK[0, 1, :, :40].astype(np.uint8))
    with pytest.raises(InputError, match="#9 was asked for"):
        open_image(f"{path}#9")


def test_resolution_tag_per_centimetre_counts_and_per_inch_does_not(tmp_path):
    tifffile.imwrite(tmp_path / "cm.tif", STACK[0, 0], resolution=(20000, 20000), resolutionunit="CENTIMETER")
    tifffile.imwrite(tmp_path / "inch.tif", STACK[0, 0], resolution=(300, 300), resolutionunit="INCH")
    assert open_image(tmp_path / "cm.tif").pixel_size == pytest.approx((0.5, 0.5))
    assert open_image(tmp_path / "inch.tif").pixel_size is None


def test_many_threads_read_one_compressed_file(tmp_path):
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, STACK, compression="zlib", metadata={"axes": "ZCYX"}, photometric="minisblack")
    image, wrong = open_image(path), []

    def read():
        for _ in range(5):
            if not np.array_equal(frame(image), CZYX):
                wrong.append(1)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


# ---------------------------------------------------------------- laziness


def peak_bytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def test_a_corner_of_a_huge_tiff(tmp_path):
    """16 GB on paper, sparse on the disk."""
    path = tmp_path / "huge.tif"
    tifffile.imwrite(path, shape=(2000, 2000, 2000), dtype=np.uint16, bigtiff=True, metadata={"axes": "ZYX"})
    before = peak_bytes()
    image = open_image(path)
    assert image.shape == (2000, 2000, 2000)
    assert not image.read(Region((1990, 1990, 1990), (2000, 2000, 2000))).any()
    assert peak_bytes() - before < 50e6


def test_a_corner_of_a_huge_zarr(tmp_path):
    store = zarr.create_array(
        tmp_path / "huge.zarr", shape=(100_000,) * 3, chunks=(64,) * 3, dtype="uint8", dimension_names="zyx"
    )
    store[99_990:, 99_990:, 99_990:] = 7
    before = peak_bytes()
    image = open_image(tmp_path / "huge.zarr")
    assert (image.read(Region((99_995,) * 3, (100_000,) * 3)) == 7).all()
    assert not image.read(Region((0,) * 3, (5,) * 3)).any()  # never written: zarr's fill value
    assert peak_bytes() - before < 50e6


def test_a_corner_of_a_huge_npy(tmp_path):
    path = tmp_path / "huge.npy"
    np.lib.format.open_memmap(path, "w+", np.float32, (3000, 1000, 1000))
    image = open_image(path, axes="zyx")
    assert image.read(Region((2999, 0, 0), (3000, 9, 9))).shape == (1, 1, 9, 9)


# ---------------------------------------------------------------- zarr


def write_04(path, pixels, unit="nanometer"):
    group = zarr.open_group(path, mode="w", zarr_format=2)
    for i in range(2):
        array = group.create_array(
            str(i), shape=pixels[..., :: 2**i, :: 2**i].shape, chunks=(1, 2, 16, 16), dtype=pixels.dtype
        )
        array[:] = pixels[..., :: 2**i, :: 2**i]
    axes = [{"name": "c", "type": "channel"}] + [{"name": a, "type": "space", "unit": unit} for a in "zyx"]
    datasets = [
        {"path": str(i), "coordinateTransformations": [{"type": "scale", "scale": [1, 900, 300 * 2**i, 300 * 2**i]}]}
        for i in range(2)
    ]
    group.attrs["multiscales"] = [{"version": "0.4", "axes": axes, "datasets": datasets}]
    group.attrs["omero"] = {"channels": [{"label": name} for name in ("a", "b", "c")]}


def test_ome_zarr_04(tmp_path):
    write_04(tmp_path / "old.ome.zarr", CZYX)
    image = open_image(tmp_path / "old.ome.zarr")
    assert (image.axes, image.channel_names) == ("czyx", ("a", "b", "c"))
    assert image.pixel_size == pytest.approx((0.9, 0.3, 0.3))
    np.testing.assert_array_equal(frame(image), CZYX)
    assert open_image(tmp_path / "old.ome.zarr", pixel_size=(0.6, 0.6)).shape == (4, 35, 25)
    write_04(tmp_path / "unitless.zarr", CZYX, unit=None)
    assert open_image(tmp_path / "unitless.zarr").pixel_size is None


@pytest.mark.parametrize("version", [2, 3])
def test_plain_zarr(tmp_path, version):
    names = {"dimension_names": ("z", "c", "y", "x")} if version == 3 else {}
    array = zarr.create_array(tmp_path / "plain.zarr", data=STACK, chunks=(2, 1, 32, 32), zarr_format=version, **names)
    assert array.shape == STACK.shape
    if version == 2:
        with pytest.raises(InputError, match=r"4 axes .*czyx or zcyx"):
            open_image(tmp_path / "plain.zarr")
    image = open_image(tmp_path / "plain.zarr", axes="zcyx" if version == 2 else None)
    np.testing.assert_array_equal(frame(image), CZYX)


def test_missing_chunk_without_a_fill_value_is_an_error(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", data=STACK[:, 0], chunks=(2, 32, 32), zarr_format=2, fill_value=None)
    document = json.loads((tmp_path / "a.zarr" / ".zarray").read_text()) | {"fill_value": None}
    (tmp_path / "a.zarr" / ".zarray").write_text(json.dumps(document))
    np.testing.assert_array_equal(frame(open_image(tmp_path / "a.zarr", axes="zyx"))[0], STACK[:, 0])
    (tmp_path / "a.zarr" / "1.1.1").unlink()
    with pytest.raises(InputError, match="missing"):
        frame(open_image(tmp_path / "a.zarr", axes="zyx"))


def test_groups_that_are_no_image(tmp_path):
    group = zarr.open_group(tmp_path / "g.zarr", mode="w")
    group.create_array("inner", shape=(4, 4), dtype="uint8")
    with pytest.raises(InputError, match=r"group without an image.*inner"):
        open_image(tmp_path / "g.zarr")
    assert open_image(tmp_path / "g.zarr" / "inner").shape == (4, 4)
    with pytest.raises(InputError, match="no zarr"):
        open_image(tmp_path / "g.zarr" / "absent")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(InputError, match="no zarr"):
        open_image(tmp_path / "empty.zarr")


def test_ome_zarr_from_a_server(tmp_path):
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    write_04(tmp_path / "old.ome.zarr", CZYX)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=tmp_path)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        image = open_image(f"http://127.0.0.1:{server.server_port}/old.ome.zarr")
        np.testing.assert_array_equal(frame(image), CZYX)
        with pytest.raises(InputError, match="no zarr"):
            open_image(f"http://127.0.0.1:{server.server_port}/absent.zarr")
        server.shutdown()
    with pytest.raises(InputError, match="cannot be read"):  # nobody answers any more: told within seconds
        open_image(f"http://127.0.0.1:{server.server_port}/old.ome.zarr")


# ---------------------------------------------------------------- HDF5 and NumPy


def axistags(keys, resolution=0.0):
    tags = [{"key": k, "typeFlags": 2, "resolution": resolution if k in "zyx" else 0, "description": ""} for k in keys]
    return json.dumps({"axes": tags})


def test_hdf5_axes_from_axistags_labels_and_element_size(tmp_path):
    path = tmp_path / "stack.h5"
    with h5py.File(path, "w") as file:
        tagged = file.create_dataset("a/tagged", data=STACK, chunks=True)
        tagged.attrs["axistags"] = axistags("zcyx", 0.5)
        labelled = file.create_dataset("labelled", data=STACK)
        for dimension, letter in zip(labelled.dims, "zcyx"):
            dimension.label = letter
        sized = file.create_dataset("sized", data=STACK[:, 0], compression="gzip")
        sized.attrs["element_size_um"] = [2.0, 0.5, 0.5]
        file["bare"] = STACK[:, 0]
        file["text"] = "hello"
    for name in ("a/tagged", "labelled"):
        np.testing.assert_array_equal(frame(open_image(f"{path}/{name}")), CZYX)
    assert open_image(f"{path}/a/tagged").pixel_size == (0.5, 0.5, 0.5)
    assert open_image(f"{path}/sized").pixel_size == (2.0, 0.5, 0.5)
    with pytest.raises(InputError, match=r"holds 4 datasets \(a/tagged, bare, labelled, sized\); name one"):
        open_image(path)
    with pytest.raises(InputError, match="no dataset 'b'; it has a/tagged"):
        open_image(f"{path}/b")
    with pytest.raises(InputError, match=r"--axes, e.g. zyx"):
        open_image(f"{path}/bare")


def test_an_hdf5_file_is_looked_through_once_and_a_large_one_not_at_all(tmp_path, monkeypatch):
    looked = []
    monkeypatch.setattr(hdf5_texts.mmap, "mmap", lambda *_, **__: looked.append(1) or nullcontext(b""))
    for name, n in (("small.h5", 9), ("large.h5", hdf5.MOST_LOOKED_THROUGH)):
        with h5py.File(tmp_path / name, "w") as file:
            file["data"] = np.zeros((2, n), np.uint8)
    for _ in range(3):
        open_image(tmp_path / "small.h5", axes="yx")
        open_image(tmp_path / "large.h5", axes="yx")
    assert len(looked) == 1


def test_hdf5_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["plane_1"] = np.zeros((4, 5), np.uint8)

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    for name in ("plane_1", "plane_*"):
        with pytest.raises(InputError, match=r"a\.h5 cannot be read: Permission denied"):
            open_image(tmp_path / "a.h5" / name, axes="yx")


N5_COMPRESSIONS = {name: {"type": name} for name in ("raw", "gzip", "bzip2", "xz", "zstd")}
N5_COMPRESSIONS["blosc"] = {"type": "blosc", "cname": "lz4", "clevel": 5, "shuffle": 1}


def write_n5(path, pixels, compression="gzip", **attributes):
    """A dataset, whose axes N5 names the other way round. attributes : lists along its axes as they are here, or texts."""
    about = {k: v[::-1] if isinstance(v, list) else v for k, v in attributes.items()}
    metadata = {
        "dimensions": pixels.shape[::-1], "blockSize": [16] * pixels.ndim, "dataType": pixels.dtype.name,
        "compression": N5_COMPRESSIONS[compression], **about,
    }  # fmt: skip
    store = {"driver": "file", "path": f"{path}/"}
    ts.open({"driver": "n5", "kvstore": store, "metadata": metadata, "create": True}).result().T[...] = pixels


N5_AXES = {
    "axes": ({"axes": ["z", "c", "y", "x"]}, None),
    "axes of neuroglancer": (
        {"axes": ["Z", "C", "Y", "X"], "resolution": [2000, 1, 500, 500], "units": ["nm", "", "nm", "nm"]}, (2, 0.5, 0.5),
    ),
    "axistags": ({"axistags": axistags("zcyx", 0.5)}, (0.5, 0.5, 0.5)),
    "axistags count first": ({"axistags": axistags("zcyx"), "axes": ["t", "z", "y", "x"]}, None),
}  # fmt: skip


@pytest.mark.parametrize("name", N5_AXES)
@pytest.mark.parametrize("compression", N5_COMPRESSIONS)
def test_n5_has_its_axes_the_other_way_round(tmp_path, name, compression):
    attributes, size = N5_AXES[name]
    write_n5(tmp_path / "s.n5/a/b", STACK, compression, **attributes)
    for uri in (tmp_path / "s.n5", tmp_path / "s.n5/a", f"{tmp_path}/s.n5/a/b"):
        image = open_image(uri)
        assert (image.axes, image.pixel_size) == ("zcyx", size)
        np.testing.assert_array_equal(frame(image), CZYX)
    part = Region((1, 5, 11), (3, 38, 40))
    np.testing.assert_array_equal(image.stored(part), CZYX[:, 1:3, 5:38, 11:40])


def test_n5_that_does_not_say_its_axes_asks_and_one_of_several_has_to_be_named(tmp_path):
    write_n5(tmp_path / "s.n5/a", STACK[:, 0], axes=["i", "j", "k"], units=["nm"] * 3)
    with pytest.raises(InputError, match=r"--axes, e.g. zyx"):
        open_image(tmp_path / "s.n5")
    assert open_image(tmp_path / "s.n5", axes="tyx").n_frames == 4
    write_n5(tmp_path / "s.n5/deep/b", STACK[0, 0])
    with pytest.raises(InputError, match=r"holds 2 datasets \(a, deep/b\); name one, e.g. .*s.n5/a$"):
        open_image(tmp_path / "s.n5")
    with pytest.raises(InputError, match=r"s\.n5/c does not exist"):
        open_image(tmp_path / "s.n5/c")
    (tmp_path / "empty.n5").mkdir()
    with pytest.raises(InputError, match=r"holds 0 datasets$"):
        open_image(tmp_path / "empty.n5")


@pytest.mark.parametrize(
    "about", ["hello", "[1]", '{"dimensions": 3}', '{"dimensions": [4, 5]}', '{"dimensions": [4, "y"], "axes": 7}']
)
def test_n5_with_odd_attributes_is_refused(tmp_path, about):
    (tmp_path / "s.n5").mkdir()
    (tmp_path / "s.n5/attributes.json").write_text(about)
    with pytest.raises(InputError, match=r"damaged|holds 0 datasets|cannot be opened"):
        open_image(tmp_path / "s.n5")


def test_npy_and_npz(tmp_path):
    np.save(tmp_path / "c.npy", STACK[:, 0])
    np.save(tmp_path / "f.npy", np.asfortranarray(STACK[0, 0]))
    np.savez(tmp_path / "one.npz", a=STACK[0, 0])
    np.savez_compressed(tmp_path / "two.npz", a=STACK[0, 0], b=STACK[0, 1])
    np.testing.assert_array_equal(frame(open_image(tmp_path / "c.npy", axes="zyx"))[0], STACK[:, 0])
    for uri in (tmp_path / "f.npy", tmp_path / "one.npz", f"{tmp_path}/two.npz/a"):
        np.testing.assert_array_equal(frame(open_image(uri))[0], STACK[0, 0])
    with pytest.raises(InputError, match=r"2 arrays \(a, b\); name one"):
        open_image(tmp_path / "two.npz")
    with pytest.raises(InputError, match="unknown array"):
        open_image(f"{tmp_path}/two.npz/c")
    np.save(tmp_path / "colour.npy", np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(InputError, match=r"e.g. yxc"):
        open_image(tmp_path / "colour.npy")


@pytest.mark.parametrize(
    "dtype", ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64", ">u2"]
)
def test_types_of_numbers(tmp_path, dtype):
    pixels = np.arange(12).reshape(3, 4).astype(dtype)
    np.save(tmp_path / "a.npy", pixels)
    read = open_image(tmp_path / "a.npy").read(whole((3, 4)))
    assert read.dtype == np.float32
    np.testing.assert_array_equal(read[0], pixels.astype(np.float32))


@pytest.mark.parametrize("array", [np.zeros((4, 4), complex), np.zeros((4, 4), "U3"), np.zeros((0, 4)), np.zeros(4)])
def test_arrays_that_are_no_images(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(InputError, match=r"holds values of type|is empty|at least two"):
        open_image(tmp_path / "a.npy")


# ---------------------------------------------------------------- pictures and planes


def test_pictures_of_every_mode(tmp_path):
    grey, colour = STACK[0, 0].astype(np.uint8), RNG.integers(0, 255, (70, 50, 4), dtype=np.uint8)
    deep = STACK[0, 0]
    Pillow.fromarray(grey).save(tmp_path / "grey.png")
    Pillow.fromarray(grey).save(tmp_path / "grey.bmp")
    Pillow.fromarray(deep).save(tmp_path / "deep.png")
    Pillow.fromarray(colour).save(tmp_path / "alpha.png")
    Pillow.fromarray(colour[..., :3]).save(tmp_path / "colour.jpg", quality=95)
    Pillow.fromarray(grey > 100).save(tmp_path / "mask.png")
    np.testing.assert_array_equal(frame(open_image(tmp_path / "grey.png"))[0], grey)
    np.testing.assert_array_equal(frame(open_image(tmp_path / "grey.bmp"))[0], grey)
    np.testing.assert_array_equal(frame(open_image(tmp_path / "deep.png"))[0], deep)
    np.testing.assert_array_equal(frame(open_image(tmp_path / "alpha.png")), np.moveaxis(colour[..., :3], -1, 0))
    np.testing.assert_array_equal(frame(open_image(tmp_path / "mask.png"))[0], grey > 100)
    assert open_image(tmp_path / "colour.jpg").channel_names == ("red", "green", "blue")


def test_a_colour_png_of_16_bits_keeps_them(tmp_path):
    imagecodecs = pytest.importorskip("imagecodecs")
    deep = np.moveaxis(STACK[0], 0, -1).copy()
    (tmp_path / "deep.png").write_bytes(imagecodecs.png_encode(deep))
    np.testing.assert_array_equal(frame(open_image(tmp_path / "deep.png")), STACK[0])


def test_palette_is_colour_for_an_image_and_numbers_for_labels(tmp_path):
    classes = np.zeros((70, 50), np.uint8)
    classes[10:20, 10:20], classes[40:50, 5:9] = 1, 2
    picture = Pillow.fromarray(classes)
    picture.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    picture.save(tmp_path / "labels.png")
    image = open_image(tmp_path / "labels.png")
    assert image.channel_names == ("red", "green", "blue")
    assert frame(image)[0, 15, 15] == 255
    labels = open_labels(tmp_path / "labels.png", image)
    assert sorted(set(labels.classes.tolist())) == [1, 2]
    assert len(labels) == 140


def test_planes_in_natural_order(tmp_path):
    assert sorted(["p10", "p9", "P1", "q"], key=natural) == ["P1", "p9", "p10", "q"]
    for i in range(12):
        tifffile.imwrite(tmp_path / f"plane_{i}.tif", np.full((8, 9), i, np.uint8))
    for uri in (tmp_path, str(tmp_path / "*.tif"), sorted(tmp_path.iterdir(), key=natural)):
        image = open_image(uri, axes="zyx")
        assert image.shape == (12, 8, 9)
        np.testing.assert_array_equal(frame(image)[0, :, 0, 0], np.arange(12))
    assert open_image([tmp_path / "plane_3.tif"]).shape == (8, 9)
    assert open_image(tmp_path, like="zyx").shape == (12, 8, 9)


def test_planes_that_differ_name_the_odd_one(tmp_path):
    for i in range(3):
        tifffile.imwrite(tmp_path / f"{i}.tif", np.zeros((8, 9 + (i == 1)), np.uint8))
    with pytest.raises(InputError, match=r"planes differ: .*1\.tif is 8 x 10 uint8, 0\.tif is 8 x 9"):
        open_image(tmp_path, axes="zyx")


def test_colour_planes_make_a_stack(tmp_path):
    for i in range(3):
        Pillow.fromarray(np.full((8, 9, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
    image = open_image(tmp_path, axes="zyxc")
    assert image.shape == (3, 8, 9)
    assert frame(image).shape == (3, 3, 8, 9)


def write_several(path, arrays):
    """Arrays by name, in an HDF5 file, a .npz or an N5."""
    if path.suffix == ".h5":
        with h5py.File(path, "w") as file:
            for name, pixels in arrays.items():
                file[name] = pixels
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        for name, pixels in arrays.items():
            write_n5(path / name, pixels)


@pytest.mark.parametrize("suffix", [".h5", ".npz", ".n5"])
def test_arrays_inside_files_make_a_stack(tmp_path, suffix):
    planes = [np.full((8, 9), i, np.uint8) for i in range(12)]
    home = tmp_path / f"all{suffix}"
    write_several(home, {f"plane_{i}": plane for i, plane in enumerate(planes)} | {"other": planes[0]})
    for i, plane in enumerate(planes):
        write_several(tmp_path / f"s_{i}{suffix}", {"plane": plane, "more": plane})
    for uri in (
        f"{home}/plane_*", [f"{home}/plane_{i}" for i in range(12)],
        f"{tmp_path}/s_*{suffix}/plane", [f"{tmp_path}/s_{i}{suffix}/plane" for i in range(12)],
    ):  # fmt: skip
        image = open_image(uri, axes="zyx")
        np.testing.assert_array_equal(frame(image)[0], planes)
    assert open_image(f"{home}/plane_1?", axes="cyx").channel_names == ("channel 0", "channel 1")
    assert open_image([f"{home}/other", f"{home}/plane_3"], axes="cyx").channel_names == ("other", "plane_3")
    with pytest.raises(InputError, match=r"no file matches .*nothing_\*"):
        open_image(f"{home}/nothing_*")


def test_patterns_find_names_as_text_and_leave_names_that_are_there(tmp_path):
    with h5py.File(tmp_path / "a[1].h5", "w") as file:
        for name in ("v_2", "v_10", "group/v_3", "v_[2]"):
            file[name] = np.zeros((4, 5), np.uint8)
    found = [uri.removeprefix(f"{tmp_path}/a[1].h5/") for uri in matching(f"{tmp_path}/a[1].h5/*v_*")]
    assert found == ["group/v_3", "v_10", "v_2", "v_[2]"]
    assert matching(f"{tmp_path}/a[1].h5/v_[2]") == [f"{tmp_path}/a[1].h5/v_[2]"]
    assert open_image(f"{tmp_path}/a[1].h5/v_[2]").shape == (4, 5)
    assert [Path(uri).name for uri in matching(f"{tmp_path}/a[[]?].h5")] == ["a[1].h5"]


# ---------------------------------------------------------------- the door


def test_missing_things(tmp_path):
    (tmp_path / "cells_a.tif").write_bytes(b"")
    with pytest.raises(InputError, match=rf"{tmp_path}/cells_b.tif does not exist; similar names there: cells_a.tif"):
        open_image(tmp_path / "cells_b.tif")
    with pytest.raises(InputError, match=f"there is no folder 'no' in '{tmp_path.name}'"):
        open_image(tmp_path / "no" / "where" / "cells.tif")
    with pytest.raises(InputError, match="no file matches"):
        open_image(tmp_path / "*.png")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"holds no images \(notes.txt\)"):
        open_image(tmp_path / "folder")
    with pytest.raises(InputError, match=r"\.txt are not known \(it looks like text\); known are .*\.tif"):
        open_image(tmp_path / "folder" / "notes.txt")
    with pytest.raises(InputError, match=r"unknown kind of address.*known: http"):
        open_image("ftp://host/image.zarr")
    with pytest.raises(InputError, match="no file was given"):
        open_image([])


@pytest.mark.parametrize("suffix", [".tif", ".png", ".npy", ".npz", ".h5", ".jpg"])
def test_impostors(tmp_path, suffix):
    """Text, a pickle, an empty file and noise are told apart from an image, whatever their name."""
    impostors = {
        "it looks like text": b"hello, this is text\n" * 50,
        "pickle, which is never opened": pickle.dumps({"a": np.zeros(9)}),
        "an empty file": b"",
        "unknown kind": bytes(range(256)) * 4,
    }
    for message, content in impostors.items():
        (tmp_path / f"cells{suffix}").write_bytes(content)
        with pytest.raises(InputError, match=message):
            open_image(tmp_path / f"cells{suffix}")


def test_a_pickle_inside_a_npy_is_refused(tmp_path):
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(InputError, match="never opened"):
        open_image(tmp_path / "a.npy")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"tile": (16, 16)}], ids=str)
def test_truncated_files_are_found_when_they_are_opened(tmp_path, options):
    tifffile.imwrite(tmp_path / "a.tif", STACK, metadata={"axes": "ZCYX"}, photometric="minisblack", **options)
    np.save(tmp_path / "a.npy", STACK[0, 0])
    for name in ("a.tif", "a.npy"):
        content = (tmp_path / name).read_bytes()
        for keep in (0.99, 0.5, 0.01):
            (tmp_path / name).write_bytes(content[: int(len(content) * keep)])
            with pytest.raises(InputError, match=r"truncated|damaged|is not|does not say"):
                open_image(tmp_path / name)


def test_truncated_others(tmp_path):
    Pillow.fromarray(STACK[0, 0]).save(tmp_path / "a.png")
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["data"] = STACK[0, 0]
    for name in ("a.png", "a.h5"):
        content = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match="damaged or incomplete"):
            frame(open_image(tmp_path / name))


def test_file_urls_and_home(tmp_path, monkeypatch):
    np.save(tmp_path / "a b.npy", STACK[0, 0])
    monkeypatch.setenv("HOME", str(tmp_path))
    for uri in (f"file://{tmp_path}/a%20b.npy", "~/a b.npy"):
        assert open_image(uri).shape == (70, 50)


def test_a_reader_can_be_added(tmp_path, monkeypatch):
    monkeypatch.setitem(READERS, ".raw2", READERS[".npy"])
    np.save(tmp_path / "a.npy", STACK[0, 0])
    (tmp_path / "a.npy").rename(tmp_path / "a.raw2")
    assert open_image(tmp_path / "a.raw2").shape == (70, 50)
    assert ".raw2" in readers()


# ---------------------------------------------------------------- labels


def strokes():
    classes = np.zeros((70, 50), np.uint8)
    classes[5:9, 5:30], classes[40:44, 10:20] = 1, 2
    return classes


@pytest.mark.parametrize("name", ["l.tif", "l.png", "l.npy", "l.h5", "l.zarr"])
def test_labels_from_any_format(tmp_path, name):
    path, classes = tmp_path / name, strokes()
    if name == "l.tif":
        tifffile.imwrite(path, classes, compression="zlib")
    elif name == "l.png":
        Pillow.fromarray(classes).save(path)
    elif name == "l.npy":
        np.save(path, classes.astype(np.int64))
    elif name == "l.h5":
        with h5py.File(path, "w") as file:
            file["exported_data"] = classes[..., np.newaxis].astype(np.float32)
            file["exported_data"].attrs["axistags"] = axistags("yxc")
    else:
        zarr.create_array(path, data=classes[np.newaxis].astype(np.uint32), dimension_names=("z", "y", "x"))
    np.save(tmp_path / "image.npy", STACK[0, 0])
    labels = open_labels(path, open_image(tmp_path / "image.npy"))
    assert np.bincount(labels.classes).tolist() == [0, 100, 40]
    np.testing.assert_array_equal(labels.coords, np.argwhere(classes))
    assert sorted(set(labels.strokes.tolist())) == [0, 1]


def test_labels_of_a_stack_need_no_axes(tmp_path):
    np.save(tmp_path / "image.npy", STACK[:, 0])
    np.save(tmp_path / "labels.npy", (STACK[:, 0] > 59000).astype(np.uint8))
    image = open_image(tmp_path / "image.npy", axes="zyx")
    assert len(open_labels(tmp_path / "labels.npy", image)) == (STACK[:, 0] > 59000).sum()


def test_labels_of_a_movie_keep_their_frame(tmp_path):
    np.save(tmp_path / "image.npy", STACK[:, 0])
    movie = np.zeros((4, 70, 50), np.uint8)
    movie[1, 2, 3], movie[3, 9, 9] = 1, 2
    np.save(tmp_path / "labels.npy", movie)
    labels = open_labels(tmp_path / "labels.npy", open_image(tmp_path / "image.npy", axes="tyx"))
    assert labels.coords.tolist() == [[1, 2, 3], [3, 9, 9]]
    assert labels.frames.tolist() == [1, 3]
    assert labels.shape == (70, 50)


def test_labels_read_in_pieces_equal_those_read_whole(tmp_path, monkeypatch):
    np.save(tmp_path / "image.npy", STACK[0, 0])
    np.save(tmp_path / "labels.npy", strokes())
    image = open_image(tmp_path / "image.npy")
    once = open_labels(tmp_path / "labels.npy", image)
    monkeypatch.setattr("brushwork.io.label_files.PIECE_PIXELS", 150)
    pieces = open_labels(tmp_path / "labels.npy", image)
    for field in ("coords", "classes", "strokes"):
        np.testing.assert_array_equal(getattr(once, field), getattr(pieces, field))


def test_values_become_classes(tmp_path):
    np.save(tmp_path / "image.npy", STACK[0, 0])
    np.save(tmp_path / "labels.npy", strokes() * 100)
    image = open_image(tmp_path / "image.npy")
    assert np.bincount(open_labels(tmp_path / "labels.npy", image, mapping={100: 2, 200: 1}).classes).tolist() == [
        0,
        40,
        100,
    ]
    assert np.bincount(open_labels(tmp_path / "labels.npy", image, mapping={100: 2, 200: 0}).classes).tolist() == [
        0,
        0,
        100,
    ]
    with pytest.raises(InputError, match=r"values \[200\]"):
        open_labels(tmp_path / "labels.npy", image, mapping={100: 1})


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (strokes()[:, :40], r"labels in .* are 70 x 40.*, the image .* is 70 x 50 \(yx\)"),
        (strokes() * np.float32(0.5), "fractions"),
        (-strokes().astype(np.int16), "negative"),
        (strokes().astype(np.uint16) * 200, "holds the value 400"),
        (np.where(strokes(), np.nan, 0), "fractions"),
    ],
)
def test_labels_that_are_none(tmp_path, array, message):
    np.save(tmp_path / "image.npy", STACK[0, 0])
    np.save(tmp_path / "labels.npy", array)
    with pytest.raises(InputError, match=message):
        open_labels(tmp_path / "labels.npy", open_image(tmp_path / "image.npy"))


def test_empty_labels_are_empty(tmp_path):
    np.save(tmp_path / "image.npy", STACK[0, 0])
    np.save(tmp_path / "labels.npy", np.zeros((70, 50), np.uint8))
    assert len(open_labels(tmp_path / "labels.npy", open_image(tmp_path / "image.npy"))) == 0


# ---------------------------------------------------------------- small parts


def test_pieces_are_made_once_and_forgotten_when_old():
    cache, made = PieceCache(100), []

    def make(name):
        made.append(name)
        return np.zeros(40, np.uint8)

    for name in "abab":
        cache.get(name, lambda name=name: make(name))
    assert made == ["a", "b"]
    cache.get("c", lambda: make("c"))
    cache.get("b", lambda: make("b again"))
    cache.get("a", lambda: make("a again"))
    assert made == ["a", "b", "c", "a again"]
    assert cache.get("large", lambda: np.zeros(1000, np.uint8)).size == 1000
    with pytest.raises(ZeroDivisionError):
        cache.get("bad", lambda: 1 / 0)
    assert cache.get("bad", lambda: np.ones(1)).size == 1


@given(st.data())
def test_any_part_of_a_stack_of_arrays_one_behind_the_other(data):
    shape = data.draw(st.tuples(*[st.integers(1, 4)] * 4))
    stack = np.arange(math.prod(shape)).reshape(shape)
    axis = data.draw(st.integers(0, 2))
    whole_array = np.concatenate(list(stack), axis)
    joined = Joined(stack, axis)
    assert (joined.shape, joined.dtype) == (whole_array.shape, stack.dtype)
    entry = [st.one_of(st.integers(0, n - 1), st.slices(n).filter(lambda s: (s.step or 1) > 0)) for n in joined.shape]
    key = data.draw(st.tuples(*entry))
    np.testing.assert_array_equal(joined[key], whole_array[key])


@given(st.data())
def test_any_part_of_an_image(data):
    """Cut out, and cut out of what was cut out: the pixels of the array there."""
    axes = data.draw(st.permutations("tczyx").map("".join))
    pixels = np.arange(2 * 3 * 4 * 5 * 6).reshape([dict(zip("tczyx", (2, 3, 4, 5, 6)))[a] for a in axes])
    image, start = ArrayImage(pixels, axes), dict.fromkeys(axes, 0)
    for _ in range(2):
        box = {}
        for a in data.draw(st.sets(st.sampled_from(axes))):
            n = image.source.shape[axes.index(a)]
            first = data.draw(st.integers(0, n - 1))
            box[a] = (first, data.draw(st.integers(first + 1, n)))
            start[a] += first
        image = part_of(image, box)
    key = tuple(slice(start[a], start[a] + n) for a, n in zip(axes, image.source.shape))
    expected = as_image(pixels[key], axes=axes)
    for t in range(image.n_frames):
        np.testing.assert_array_equal(frame(image, t), frame(expected, t))
    names = tuple(f"channel {i}" for i in range(3))
    assert image.channel_names == names[slice(start["c"], start["c"] + image.n_channels)]


def test_keys_are_completed():
    assert full_key(3, 2) == (3, slice(None))
    assert full_key((..., 1), 3) == (slice(None), slice(None), 1)


@pytest.mark.parametrize(
    ("unit", "um"),
    [("\u00b5m", 1), ("\u03bcm", 1), ("microns", 1), ("Metre", 1e6), ("\u00c5", 1e-4), ("pixel", None), (None, None)],
)
def test_units(unit, um):
    assert um_per(unit) == um
