"""Writing: what is written is what independent libraries read, and nothing half-written is left behind."""

import errno
import json
import os
import threading
from contextlib import contextmanager
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pillow

from brushwork.blocks import Region, whole
from brushwork.errors import InputError, RunError
from brushwork.image import ArrayImage
from brushwork.io import Layout, OmeZarrStore, export, layout_of, open_image, write_image, writers
from brushwork.io.aside import write_error
from brushwork.io.layout import SHARD_BYTES
from brushwork.io.ome_zarr import pyramid

RNG = np.random.default_rng(0)
STACK = RNG.integers(0, 60000, (3, 20, 90, 70), dtype=np.uint16)
IMAGE = ArrayImage(STACK, "czyx", "memory", ("a", "b", "c"), (2.0, 0.5, 0.25))
FLAT = ArrayImage(STACK[0, 0], "yx", "memory", (), (0.5, 0.5))
FILES = ("a.ome.zarr", "a.ome.tif", "a.h5", "a.npy")


def frame(image, t=0):
    return image.stored(whole(image.shape, t))


def written(layout, pixels, path):
    store = OmeZarrStore.create(path, layout)
    for region in store.task_regions():
        store.write(region, np.ascontiguousarray(pixels[region.t][(slice(None), *region.slices)]))
    store.build_pyramid()
    return store


# ---------------------------------------------------------------- round trips


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "bool"])
def test_what_is_written_is_read_back(tmp_path, name, dtype):
    image = ArrayImage(STACK.astype(dtype), "czyx", "memory", ("a", "b", "c"), (2.0, 0.5, 0.25))
    steps = []
    assert write_image(image, tmp_path / name, progress=lambda done, total: steps.append((done, total))) == (
        tmp_path / name,
    )
    back = open_image(tmp_path / name, like="czyx")
    np.testing.assert_array_equal(frame(back), frame(image))
    assert steps[-1][0] == steps[-1][1]
    assert [p.name for p in tmp_path.iterdir()] == [name]
    if name != "a.npy":
        assert back.pixel_size == image.pixel_size
        assert back.channel_names == image.channel_names


@pytest.mark.parametrize("name", FILES)
def test_time_survives(tmp_path, name):
    movie = ArrayImage(STACK, "tzyx", "memory")
    write_image(movie, tmp_path / name)
    back = open_image(tmp_path / name, axes="tczyx" if name == "a.npy" else None)
    assert back.n_frames == 3
    for t in range(3):
        np.testing.assert_array_equal(frame(back, t), frame(movie, t))


@pytest.mark.parametrize("name", FILES)
def test_written_in_small_pieces_equals_written_at_once(tmp_path, name, monkeypatch):
    """Slabs smaller than a plane: bands; shards from compressed planes: through the scratch file."""
    write_image(IMAGE, tmp_path / "source.tif")
    source = open_image(tmp_path / "source.tif")
    monkeypatch.setattr(source.source, "by_plane", True, raising=False)
    monkeypatch.setattr(writers, "SLAB_BYTES", 9000)
    monkeypatch.setattr(writers, "CACHE_BYTES", 1000)
    monkeypatch.setattr(writers, "TILE", 32)
    monkeypatch.setattr("brushwork.io.layout.SHARD_BYTES", 3 * 64 * 64 * 20 * 2)
    write_image(source, tmp_path / name)
    np.testing.assert_array_equal(frame(open_image(tmp_path / name, like="czyx")), STACK)


# ---------------------------------------------------------------- OME-Zarr


def test_ome_zarr_is_valid_and_says_everything(tmp_path):
    from ome_zarr_models.v05 import Image

    image = ArrayImage(
        RNG.integers(0, 255, (2, 2, 30, 600, 500), dtype=np.uint8), "tczyx", "", ("nuclei", "rest"), (2, 0.5, 0.5)
    )
    layout = replace(layout_of(image), kind="probabilities", colors=("#00ff00", "FF0000"))
    write_image(image, tmp_path / "p.ome.zarr", layout=layout)
    group = zarr.open_group(tmp_path / "p.ome.zarr", mode="r")
    model = Image.from_zarr(group)
    assert [axis.name for axis in model.attributes.ome.multiscales[0].axes] == list("tczyx")
    assert [axis.unit for axis in model.attributes.ome.multiscales[0].axes[2:]] == ["micrometer"] * 3
    assert [group[str(i)].shape[2:] for i in range(3)] == [(30, 600, 500), (30, 300, 250), (30, 150, 125)]
    np.testing.assert_array_equal(group["0"][1], frame(image, 1))
    assert group["0"].metadata.dimension_names == ("t", "c", "z", "y", "x")
    assert group["0"].shards == (1, 2, 30, 256, 256)
    assert group["0"].chunks == (1, 1, 30, 64, 64)
    document = json.loads((tmp_path / "p.ome.zarr" / "zarr.json").read_text())["attributes"]["ome"]
    last = document["multiscales"][0]["datasets"][2]["coordinateTransformations"]
    assert last == [
        {"type": "scale", "scale": [1.0, 1.0, 2.0, 2.0, 2.0]},
        {"type": "translation", "translation": [0.0, 0.0, 0.0, 0.75, 0.75]},
    ]
    assert [(c["label"], c["color"]) for c in document["omero"]["channels"]] == [
        ("nuclei", "00FF00"),
        ("rest", "FF0000"),
    ]
    assert document["omero"]["channels"][0]["window"] == {"min": 0.0, "max": 255.0, "start": 0.0, "end": 255.0}
    assert document["multiscales"][0]["name"] == "p"


def test_a_segmentation_is_a_label_image(tmp_path):
    from ome_zarr_models.v05 import ImageLabel

    classes = RNG.integers(0, 4, (1, 300, 270), dtype=np.uint8)
    layout = Layout((300, 270), kind="segmentation", channel_names=("a", "b", "c"), pixel_size=(1, 1))
    store = written(layout, [classes], tmp_path / "s.ome.zarr")
    model = ImageLabel.from_zarr(zarr.open_group(tmp_path / "s.ome.zarr", mode="r"))
    assert [color.label_value for color in model.attributes.ome.image_label.colors] == [1, 2, 3]
    assert store.image().axes == "yx"
    np.testing.assert_array_equal(frame(store.image()), classes)
    assert set(np.unique(frame(open_image(tmp_path / "s.ome.zarr", level=1)))) <= {0, 1, 2, 3}
    assert OmeZarrStore.open(tmp_path / "s.ome.zarr").layout == layout


def test_levels_are_means_and_commonest_classes(tmp_path):
    pixels = np.kron(np.arange(150 * 150, dtype=np.float32).reshape(150, 150), np.ones((2, 2), np.float32))
    pixels[0, 0] += 4
    written(Layout((300, 300), dtype=np.float32), [pixels[np.newaxis]], tmp_path / "mean.ome.zarr")
    level = frame(open_image(tmp_path / "mean.ome.zarr", level=1))[0]
    assert level[0, 0] == 1
    np.testing.assert_array_equal(level[1:], pixels[2::2, ::2])
    classes = np.full((1, 300, 300), 3, np.uint8)
    classes[0, ::2, ::2] = 1
    written(Layout((300, 300), kind="segmentation", channel_names=("a",) * 3), [classes], tmp_path / "mode.ome.zarr")
    assert (frame(open_image(tmp_path / "mode.ome.zarr", level=1)) == 3).all()


def test_anisotropic_axes_wait():
    layout = Layout((100, 2000, 2000), pixel_size=(4.0, 1.0, 1.0))
    assert [factors for _, factors in pyramid(layout)] == [(1, 1, 1), (1, 2, 2), (1, 4, 4), (2, 8, 8)]
    assert [level.shape for level, _ in pyramid(layout)][-1] == (50, 250, 250)
    assert [level.shape for level, _ in pyramid(Layout((3, 1000)))] == [(3, 1000), (2, 500), (1, 250)]
    assert pyramid(Layout((3, 1000)))[-1][1] == (4, 4)


@given(
    st.one_of(st.tuples(*[st.integers(1, 9000)] * 2), st.tuples(*[st.integers(1, 3000)] * 3)),
    st.integers(1, 300),
    st.sampled_from(["uint8", "uint16", "float32"]),
)
def test_shards_are_whole_chunks_and_bounded(shape, n_channels, dtype):
    layout = Layout(shape, n_channels, dtype=dtype)
    assert all(s % c == 0 for s, c in zip(layout.shard, layout.chunk))
    assert np.prod(layout.shard) * n_channels * np.dtype(dtype).itemsize <= SHARD_BYTES
    assert max(layout.shard) <= (4096 if len(shape) == 2 else 256)


def test_shards_written_by_many_threads(tmp_path):
    """Disjoint shards at the same time lose nothing."""
    pixels = RNG.integers(1, 255, (2, 100, 300, 300), dtype=np.uint8)
    store = OmeZarrStore.create(tmp_path / "a.ome.zarr", Layout((100, 300, 300), 2))
    threads = [
        threading.Thread(target=store.write, args=(region, pixels[(slice(None), *region.slices)]))
        for region in store.task_regions()
    ]
    assert len(threads) == 4
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    np.testing.assert_array_equal(zarr.open_array(tmp_path / "a.ome.zarr" / "0", mode="r")[:], pixels)


def test_a_store_takes_only_what_it_was_laid_out_for(tmp_path):
    store = OmeZarrStore.create(tmp_path / "a.ome.zarr", Layout((8, 8), 2))
    with pytest.raises(InputError, match=r"takes \(2, 8, 8\) uint8 for this region; \(1, 8, 8\) float32 was given"):
        store.write(whole((8, 8)), np.zeros((1, 8, 8), np.float32))
    with pytest.raises(InputError, match="exists already"):
        OmeZarrStore.create(tmp_path / "a.ome.zarr", Layout((8, 8), 2))
    with pytest.raises(InputError, match="no OME-Zarr that brushwork wrote"):
        OmeZarrStore.open(tmp_path)
    assert open_image(tmp_path / "a.ome.zarr").shape == (8, 8)  # valid from the beginning


def test_layouts_that_make_no_sense():
    with pytest.raises(InputError, match=r"unknown kind of output 'heat'; known: probabilities"):
        Layout((8, 8), kind="heat")
    with pytest.raises(InputError, match="2 channels but 1 channel names"):
        Layout((8, 8), 2, channel_names=("a",))
    for kind in ("segmentation", "objects"):
        with pytest.raises(InputError, match=f"kind '{kind}' has one channel"):
            Layout((8, 8), 2, kind=kind)


# ---------------------------------------------------------------- other programs' formats


def test_tiff_for_other_programs(tmp_path):
    write_image(IMAGE, tmp_path / "a.tif")
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_ome
        assert file.series[0].axes == "ZCYX"
        assert file.pages[0].is_tiled
        np.testing.assert_array_equal(file.asarray().swapaxes(0, 1), STACK)
        assert 'PhysicalSizeZ="2.0" PhysicalSizeZUnit="µm"' in file.ome_metadata
        assert 'Name="b"' in file.ome_metadata
    layout = Layout((90, 70), kind="segmentation", channel_names=("a", "b"))
    export(ArrayImage((STACK[0, 0] % 3).astype(np.uint8), "yx"), tmp_path / "s.tif", layout)
    assert tifffile.imread(tmp_path / "s.tif").shape == (90, 70)
    with pytest.raises(InputError, match="TIFF cannot hold int64"):
        write_image(ArrayImage(np.zeros((9, 9), np.int64), "yx"), tmp_path / "i.tif")


def test_large_tiffs_are_big_tiffs(tmp_path, monkeypatch):
    for limit, expected in ((writers.BIG_TIFF, False), (1000, True)):
        monkeypatch.setattr(writers, "BIG_TIFF", limit)
        write_image(FLAT, tmp_path / f"{expected}.tif")
        with tifffile.TiffFile(tmp_path / f"{expected}.tif") as file:
            assert file.is_bigtiff == expected


def test_hdf5_for_other_programs(tmp_path):
    write_image(IMAGE, tmp_path / "a.h5")
    with h5py.File(tmp_path / "a.h5") as file:
        data = file["data"]
        assert [tag["key"] for tag in json.loads(data.attrs["axistags"])["axes"]] == list("zyxc")
        assert data.attrs["element_size_um"].tolist() == [2.0, 0.5, 0.25]
        assert data.attrs["channel_names"].tolist() == ["a", "b", "c"]
        assert (data.chunks, data.compression) == ((20, 64, 64, 1), "gzip")
        np.testing.assert_array_equal(np.moveaxis(data[:], -1, 0), STACK)


def test_png_of_every_kind(tmp_path):
    classes = (STACK[0, 0] % 3).astype(np.uint8)
    layout = Layout((90, 70), kind="segmentation", channel_names=("a", "b"), colors=("00FF00", "0000FF"))
    export(ArrayImage(classes, "yx"), tmp_path / "s.png", layout)
    with Pillow.open(tmp_path / "s.png") as picture:
        np.testing.assert_array_equal(np.asarray(picture), classes)
        y, x = np.argwhere(classes == 1)[0]
        assert picture.convert("RGB").getpixel((int(x), int(y))) == (0, 255, 0)
    probabilities = ArrayImage(STACK[:2, 0].astype(np.uint8), "cyx", "", ("back/ground", "nucleus"))
    paths = export(probabilities, tmp_path / "p.png", replace(layout_of(probabilities), kind="probabilities"))
    assert [path.name for path in paths] == ["p_back_ground.png", "p_nucleus.png"]
    np.testing.assert_array_equal(frame(open_image(paths[1]))[0], STACK[1, 0].astype(np.uint8))
    write_image(FLAT, tmp_path / "deep.png")
    np.testing.assert_array_equal(frame(open_image(tmp_path / "deep.png"))[0], STACK[0, 0])
    colour = ArrayImage(STACK[:, 0].astype(np.uint8), "cyx")
    write_image(colour, tmp_path / "rgb.png")
    np.testing.assert_array_equal(frame(open_image(tmp_path / "rgb.png")), frame(colour))
    with pytest.raises(InputError, match="PNG holds one plane"):
        write_image(IMAGE, tmp_path / "stack.png")
    with pytest.raises(InputError, match="8 or 16 bits, not float32"):
        write_image(ArrayImage(np.zeros((9, 9), np.float32), "yx"), tmp_path / "float.png")


class Computed:
    """An image that is no array: what a classifier gives."""

    shape, dtype, axes, n_frames = (90, 70), np.dtype(np.float32), "yx", 1
    channel_names, pixel_size, uri = ("a", "b"), None, "computed"

    def read(self, region: Region):
        return np.full((2, *region.shape), 0.25, np.float32)


def test_a_computed_image_can_be_written(tmp_path):
    write_image(Computed(), tmp_path / "a.npy")
    assert (np.load(tmp_path / "a.npy") == 0.25).all()
    with pytest.raises(InputError, match="would lose values"):
        write_image(Computed(), tmp_path / "b.npy", layout=replace(layout_of(Computed()), dtype=np.uint8))
    with pytest.raises(InputError, match="laid out for"):
        write_image(Computed(), tmp_path / "b.npy", layout=Layout((9, 9), 2, dtype=np.float32))


# ---------------------------------------------------------------- what goes wrong


@pytest.mark.parametrize("name", [*FILES, "a.png"])
def test_existing_outputs_are_refused_unless_told(tmp_path, name):
    write_image(FLAT, tmp_path / name)
    with pytest.raises(InputError, match=r"exists already.*--overwrite"):
        write_image(FLAT, tmp_path / name)
    other = ArrayImage(STACK[0, 1], "yx")
    write_image(other, tmp_path / name, overwrite=True)
    np.testing.assert_array_equal(frame(open_image(tmp_path / name, like="cyx")).ravel(), STACK[0, 1].ravel())
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_a_folder_of_other_things_is_never_overwritten(tmp_path):
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "a.zarr" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not overwritten"):
        write_image(FLAT, tmp_path / "a.zarr", overwrite=True)
    assert (tmp_path / "a.zarr" / "thesis.txt").exists()


@contextmanager
def small_disk(limit):
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", [*FILES, "a.png"])
def test_a_full_disk_leaves_nothing(tmp_path, name):
    noise = ArrayImage(RNG.integers(0, 255, (400, 400), dtype=np.uint8), "yx")
    with small_disk(20_000), pytest.raises(RunError, match=f"{name} could not be written: the file is too large"):
        write_image(noise, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_export_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    for name in FILES:
        with pytest.raises(KeyboardInterrupt):
            write_image(IMAGE, tmp_path / name, progress=stop)
    assert list(tmp_path.iterdir()) == []


def test_write_errors_say_what_to_do(tmp_path):
    forbidden = write_error(tmp_path, PermissionError(errno.EACCES, "no"))
    assert isinstance(forbidden, InputError)
    assert "permission denied" in str(forbidden)
    full = write_error(tmp_path, ValueError(f"UNKNOWN: {os.strerror(errno.ENOSPC)} [source locations: ...]"))
    assert isinstance(full, RunError)
    assert "the disk is full; free some space" in str(full)


def test_a_path_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: file exists"):
        write_image(FLAT, tmp_path / "file" / "a.npy")


def test_unknown_output_formats(tmp_path):
    with pytest.raises(InputError, match=r"cannot be written as \.xyz; known are \.zarr, \.tif"):
        write_image(FLAT, tmp_path / "a.xyz")
    with pytest.raises(InputError, match="needs no export"):
        export(FLAT, tmp_path / "a.zarr")
