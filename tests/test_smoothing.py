"""Smoothing a segmentation: small regions become part of what surrounds them, however the image is cut."""

import json
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import generate_binary_structure, label

import brushwork as bw
from brushwork.blocks import Region, whole
from brushwork.cli.options import size_of
from brushwork.components import CONNECTIVITY
from brushwork.image import as_image
from brushwork.io import Layout, open_segmentation, write_image
from brushwork.io.run_folder import RunFolder
from brushwork.smoothing import Smoothing, smoothed
from brushwork.smoothing_jobs import smooth
from test_cli import brushwork


def regions_of(pixels, connectivity):
    """(class, pixels as tuples) of each region, in the order of their first pixels."""
    near = generate_binary_structure(pixels.ndim, CONNECTIVITY[pixels.ndim][connectivity])
    found = []
    for c in np.unique(pixels[pixels > 0]).tolist():
        labels, n = label(pixels == c, near)
        found += [(c, [tuple(p) for p in np.argwhere(labels == k).tolist()]) for k in range(1, n + 1)]
    return sorted(found, key=lambda region: region[1][0])


def taken(who, fills, touched, regions):
    """The class that each of some regions takes from those that fill, where it touches any."""
    chosen = {}
    for i in who:
        votes = {}
        for j in touched[i].keys() & fills:
            votes[regions[j][0]] = votes.get(regions[j][0], 0) + touched[i][j]
        if votes:
            chosen[i] = max(votes, key=lambda c, votes=votes: (votes[c], -c))
    return chosen


def slowly(pixels, rule):
    """The rule, pixel by pixel and round by round: (result, regions left, small ones left, rounds)."""
    connectivity = rule.connectivity or min(CONNECTIVITY[pixels.ndim])
    near = generate_binary_structure(pixels.ndim, CONNECTIVITY[pixels.ndim][connectivity])
    steps = [s for s in product((-1, 0, 1), repeat=pixels.ndim) if any(s) and near[tuple(v + 1 for v in s)]]
    now, rounds = pixels.copy(), 0
    while True:
        regions = regions_of(now, connectivity)
        of = {p: i for i, (_, points) in enumerate(regions) for p in points}

        def stays(c, points):
            at_edge = any(v in (0, n - 1) for p in points for v, n in zip(p, pixels.shape))
            return len(points) >= rule.min_region or c in rule.keep or (rule.keep_edge and at_edge)

        small = {i for i, region in enumerate(regions) if not stays(*region)}
        touched = {i: {} for i in small}
        for i in small:
            for p, s in product(regions[i][1], steps):
                j = of.get(tuple(a + b for a, b in zip(p, s)), i)
                if j != i:
                    touched[i][j] = touched[i].get(j, 0) + 1

        may = {i for i, (c, _) in enumerate(regions) if c not in rule.not_into}
        chosen = taken(small, may - small, touched, regions)
        if not chosen:
            size = [(len(points), -i) for i, (_, points) in enumerate(regions)]
            peaks = {i for i in may & small if all(size[i] > size[j] for j in touched[i].keys() & may & small)}
            chosen = taken(small - peaks, peaks, touched, regions)
        if not chosen:
            return now, len(regions), len(small), rounds
        rounds += 1
        for i, c in chosen.items():
            for p in regions[i][1]:
                now[p] = c


@st.composite
def segmentations(draw):
    shape = draw(st.one_of(st.tuples(*[st.integers(1, 14)] * 2), st.tuples(*[st.integers(1, 6)] * 3)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    pixels = rng.integers(draw(st.integers(0, 1)), draw(st.integers(2, 5)), shape)
    for axis in range(len(shape)):  # grains of several pixels
        pixels = pixels.repeat(draw(st.integers(1, 3)), axis)[tuple(slice(0, n) for n in shape)]
    return pixels.astype(draw(st.sampled_from([np.uint8, np.uint16, np.int32])))


@st.composite
def rules(draw, ndim):
    some = st.sets(st.integers(1, 4), max_size=2).map(tuple)
    return Smoothing(
        draw(st.sampled_from([1, 2, 3, 6, 20, 1000])),
        draw(st.sampled_from([None, *CONNECTIVITY[ndim]])),
        keep=draw(some),
        not_into=draw(some),
        keep_edge=draw(st.booleans()),
    )


@settings(max_examples=100)
@given(st.data(), segmentations())
def test_every_cut_is_the_slow_rule(data, pixels):
    rule = data.draw(rules(pixels.ndim))
    expected, n_left, n_small, n_rounds = slowly(pixels, rule)
    for edge in (2, 3, 5, 64):
        found = smoothed(as_image(pixels), rule, edge=edge, threads=1)
        drawn = found.draw(whole(pixels.shape))
        assert drawn.dtype == pixels.dtype
        np.testing.assert_array_equal(drawn, expected)
        assert (found.n_left, found.n_small, found.n_rounds) == (n_left, n_small, n_rounds)
        assert found.n_pixels == (expected != pixels).sum()


@settings(max_examples=60)
@given(segmentations(), st.integers(1, 40))
def test_no_small_region_is_left_but_islands(pixels, min_region):
    drawn = smoothed(as_image(pixels), Smoothing(min_region), edge=5).draw(whole(pixels.shape))
    np.testing.assert_array_equal(drawn == 0, pixels == 0)
    connectivity = min(CONNECTIVITY[pixels.ndim])
    islands, n = label(pixels > 0, generate_binary_structure(pixels.ndim, 1))
    of_islands = np.bincount(islands.ravel(), minlength=n + 1)
    for _, points in regions_of(drawn, connectivity):
        assert len(points) >= min_region or len(points) == of_islands[islands[points[0]]]


def drawn(rows, min_region, **options):
    pixels = np.array([[int(c) for c in row] for row in rows.split()], np.uint8)
    found = smoothed(as_image(pixels), Smoothing(min_region, **options)).draw(whole(pixels.shape))
    return " ".join("".join(map(str, row)) for row in found.tolist())


def test_the_longest_border_decides_and_the_lower_class_of_two():
    assert drawn("11111 13222 13222 11222", 3) == "11111 11222 11222 11222"
    assert drawn("2222 2231 1111 1111", 2) == "2222 2211 1111 1111"  # two pairs of touching pixels with each
    assert drawn("2222 2242 1131 1111", 2) == "2222 2222 1111 1111"  # at once: 3 takes 1, though 4 has just become 2


def test_zero_never_changes_and_an_island_stays():
    assert drawn("00000 01200 00000 00030", 4) == "00000 01100 00000 00030"
    assert drawn("0000", 3) == "0000"
    assert drawn("1", 3) == "1"


def test_where_all_are_small_the_larger_ones_grow():
    assert drawn("1233344445", 5) == "4444444444"
    assert drawn("12333120111", 4) == "33333330111"


def test_classes_and_the_edge_can_be_kept():
    rows = "11111 12131 11111"
    assert drawn(rows, 3) == "11111 11111 11111"
    assert drawn(rows, 3, keep=(2,)) == "11111 12111 11111"
    assert drawn(rows, 3, not_into=(1,)) == rows
    assert drawn("21111 11311", 3, keep_edge=True) == "21111 11311"
    assert drawn("31111 11211 11111", 3, keep_edge=True) == "31111 11111 11111"


def test_diagonal_neighbours_are_one_region_where_asked_for():
    assert drawn("2111 1211 1121", 3) == "1111 1111 1111"
    assert drawn("2111 1211 1121", 3, connectivity=8) == "2111 1211 1121"


def test_frames_know_nothing_of_each_other(tmp_path):
    pixels = np.ones((2, 6, 6), np.uint8)
    pixels[0, 2:4, 2:4] = pixels[1, 2, 2] = 2
    found = smoothed(as_image(pixels, axes="tyx"), Smoothing(4), edge=3)
    np.testing.assert_array_equal(found.draw(whole((6, 6), 0)), pixels[0])
    assert (found.draw(Region((1, 2), (5, 6), 1)) == 1).all()


def test_what_is_no_segmentation_is_refused():
    for pixels, axes, message in [
        (np.zeros((4, 4), np.float32), "yx", "holds float32"),
        (np.zeros((2, 4, 4), np.uint8), "cyx", "has 2 channels"),
        (np.full((4, 4), -1, np.int16), "yx", "holds -1"),
    ]:
        with pytest.raises(bw.InputError, match=message):
            smoothed(as_image(pixels, axes=axes), Smoothing(3))
    with pytest.raises(bw.InputError, match="connectivity"):
        smoothed(as_image(np.zeros((4, 4), np.uint8)), Smoothing(3, 6))
    with pytest.raises(bw.InputError, match="at least 0 pixels"):
        Smoothing(0)


def test_sizes_in_pixels_and_micrometres():
    assert size_of("20", None, 2) == size_of("20px", None, 3) == 20
    assert size_of("2um2", (0.5, 0.5), 2) == size_of("2 µm2", (0.5, 0.5), 2) == 8
    assert size_of("2.1um2", (0.5, 0.5), 2) == 9
    assert size_of("3um3", (3, 0.1, 0.1), 3) == 100
    for text, pixel_size in [("2um3", (1, 1)), ("2um2", None), ("2.5", None), ("many", None)]:
        with pytest.raises(bw.InputError, match="size"):
            size_of(text, pixel_size, 2)


@pytest.fixture
def speckled():
    """Two halves with specks, and 0 along one edge."""
    pixels = np.where(np.arange(140) < 70, 1, 2) * np.ones((120, 1), int)
    specks = np.random.default_rng(0).random(pixels.shape) < 0.03
    pixels[specks] = 3 - pixels[specks]
    pixels[:, :4] = 0
    return pixels.astype(np.uint8)


@pytest.mark.parametrize("suffix", [".ome.zarr", ".tif", ".h5", ".npy", ".png"])
def test_every_format_holds_the_same(speckled, tmp_path, suffix):
    layout = Layout(speckled.shape, channel_names=("left", "right"), colors=("0072B2", "E69F00"), kind="segmentation")
    write_image(as_image(speckled), tmp_path / f"s{suffix}", layout=layout)
    opened = open_segmentation(tmp_path / f"s{suffix}")
    found = smooth(
        opened.image, tmp_path / f"o{suffix}", Smoothing(20), classes=opened.classes, colors=opened.colors, block=32
    )
    written = open_segmentation(tmp_path / f"o{suffix}")
    expected, n_left, n_small, _ = slowly(speckled, Smoothing(20))
    np.testing.assert_array_equal(written.image.read(whole(speckled.shape))[0], expected)
    assert (found.n_left, found.n_small) == (n_left, n_small) == (2, 0)
    assert {p.name for p in tmp_path.iterdir()} == {f"s{suffix}", f"o{suffix}"}
    if suffix == ".ome.zarr":
        assert (written.classes, written.colors) == (("left", "right"), ("0072B2", "E69F00"))
    with pytest.raises(bw.InputError, match="exists"):
        smooth(opened.image, tmp_path / f"o{suffix}", Smoothing(20))


def test_an_interrupted_call_is_continued_and_may_replace_its_input(speckled, tmp_path, monkeypatch):
    write_image(as_image(speckled), tmp_path / "s.tif")
    with monkeypatch.context() as patched:
        patched.setattr(RunFolder, "finish", lambda *_: (_ for _ in ()).throw(OSError("no space")))
        with pytest.raises(bw.RunError, match=r"o\.tif could not be written: no space"):
            smooth(bw.open_image(tmp_path / "s.tif"), tmp_path / "o.tif", Smoothing(20))
    assert not (tmp_path / "o.tif").exists()
    with pytest.raises(bw.InputError, match="another rule"):
        smooth(bw.open_image(tmp_path / "s.tif"), tmp_path / "o.tif", Smoothing(21))
    smooth(bw.open_image(tmp_path / "s.tif"), tmp_path / "o.tif", Smoothing(20))
    smooth(bw.open_image(tmp_path / "s.tif"), tmp_path / "s.tif", Smoothing(20), overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == {"s.tif", "o.tif"}
    for name in ("s.tif", "o.tif"):
        np.testing.assert_array_equal(tifffile.imread(tmp_path / name), slowly(speckled, Smoothing(20))[0])


def test_numbers_of_objects_are_written_without_names(tmp_path):
    pixels = np.arange(900, dtype=np.int32).reshape(30, 30).repeat(2, 0).repeat(2, 1)
    smooth(as_image(pixels), tmp_path / "o.ome.zarr", Smoothing(4))
    attributes = json.loads((tmp_path / "o.ome.zarr" / "zarr.json").read_text())["attributes"]
    assert "properties" not in attributes["ome"]["image-label"]
    written = bw.open_image(tmp_path / "o.ome.zarr")
    np.testing.assert_array_equal(written.read(whole((60, 60)))[0], pixels)


def test_a_segmentation_of_elsewhere_may_tell_less(tmp_path):
    write_image(
        as_image(np.ones((4, 4), np.uint8)),
        tmp_path / "s.ome.zarr",
        layout=replace(Layout((4, 4)), kind="segmentation", channel_names=("cell",)),
    )
    file = tmp_path / "s.ome.zarr" / "zarr.json"
    document = json.loads(file.read_text())
    for told in (
        {"properties": [{"label-value": 2, "class": "cell"}]},
        {"colors": [{"label-value": 1, "rgba": [1]}]},
        {},
    ):
        document["attributes"]["ome"]["image-label"] = told
        file.write_text(json.dumps(document))
        opened = open_segmentation(tmp_path / "s.ome.zarr")
        assert (opened.classes, opened.colors) == ((), ())


def test_the_command_is_python(speckled, tmp_path):
    layout = Layout(
        speckled.shape,
        channel_names=("left", "right"),
        colors=("0072B2",) * 2,
        kind="segmentation",
        pixel_size=(0.5, 0.5),
    )
    write_image(as_image(speckled), tmp_path / "s.ome.zarr", layout=layout)
    asked = ("smooth", "s.ome.zarr", "--min-region", "5um2")
    said = brushwork(*asked, "-o", "a.tif", cwd=tmp_path)
    assert "regions, 2 left" in said
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "a.tif"), slowly(speckled, Smoothing(20))[0])
    said = brushwork(*asked, "-o", "b.tif", "--keep", "left", "--not-into", "left", "--connectivity", "8", cwd=tmp_path)
    assert "under 20 pixels" in said
    rule = Smoothing(20, 8, keep=(1,), not_into=(1,))
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), slowly(speckled, rule)[0])
    assert "did you mean 'left'" in brushwork(*asked, "-o", "c.tif", "--keep", "lift", cwd=tmp_path, code=2)
    tifffile.imwrite(tmp_path / "f.tif", speckled.astype(np.float32))
    said = brushwork("smooth", "f.tif", "--min-region", "5", "--axes", "yx", "-o", "c.tif", cwd=tmp_path, code=2)
    assert "holds float32" in said
    assert not (tmp_path / "c.tif").exists()
