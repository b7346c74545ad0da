"""A probability map becomes a folder of objects and their table, whatever the cut, and whatever interrupts it."""

import errno

import numpy as np
import pytest
from scipy import ndimage as ndi

from brushwork.blocks import Region, whole
from brushwork.errors import InputError, RunError
from brushwork.expansion import expanded
from brushwork.foreground import Foreground
from brushwork.image import as_image
from brushwork.io import open_image, write_image
from brushwork.io.run_folder import RunFolder
from brushwork.io.tables import read_table
from brushwork.measure import Measurements
from brushwork.objects import Rule
from brushwork.pieces import Pieces
from brushwork.previews import stretched, write_masks, write_preview
from brushwork.segmenting import FLAG, Inputs, read_record, segment
from brushwork.splitting import Splitting

SPLIT = Rule(Foreground(1, 0.5), min_size=3, splitting=Splitting("watershed", min_distance=2))


def probability_map(shape=(30, 41, 37), seed=0):
    """Two classes; the second in blobs."""
    values = ndi.gaussian_filter(np.random.default_rng(seed).random(shape), 1.5)
    values = (values - values.min()) / (values.max() - values.min())
    stored = np.rint(np.stack([1 - values, values]) * 255).astype(np.uint8)
    return as_image(stored, axes="c" + "zyx"[-len(shape) :], pixel_size=(2.0, 1.0, 1.0)[-len(shape) :])


def raw_image(shape=(30, 41, 37)):
    return as_image(np.random.default_rng(9).integers(0, 60000, shape).astype(np.uint16))


def labels_in(folder):
    image = open_image(folder / "objects.ome.zarr", level=0)
    return np.stack([image.stored(whole(image.shape, t))[0] for t in range(image.n_frames)]).squeeze()


def assert_same(one, two):
    assert list(one.columns) == list(two.columns)
    for name, values in one.columns.items():
        np.testing.assert_array_equal(values, two[name], name)


def test_labels_and_table_do_not_depend_on_the_block(tmp_path):
    image, inputs = probability_map(), Inputs({"dapi": raw_image()})
    made = {}
    for block in (9, 16, 64):
        out = tmp_path / str(block)
        made[block] = segment(
            image, out, SPLIT, inputs, grow=2, measurements=Measurements(("intensity", "shape")), block=block
        )
    labels = labels_in(tmp_path / "64")
    assert len(made[64].table) == labels.max() > 20
    for block in (9, 16):
        assert np.array_equal(labels_in(tmp_path / str(block)), labels)
        assert_same(made[block].table, made[64].table)
    assert made[64].table["area"].tolist() == np.bincount(labels.ravel())[1:].tolist()


def test_files_hold_the_table(tmp_path):
    made = segment(probability_map(), tmp_path / "cells", SPLIT)
    assert [file.name for file in made.files] == ["cells.csv", "cells.parquet"]
    for file in made.files:
        assert_same(read_table(file), made.table)
    assert made.labels == tmp_path / "cells" / "objects.ome.zarr"
    assert sorted(p.name for p in (tmp_path / "cells").iterdir()) == [
        "brushwork-objects.json",
        "cells.csv",
        "cells.parquet",
        "objects.ome.zarr",
    ]


def test_labels_are_an_image_with_pixel_size(tmp_path):
    segment(probability_map(), tmp_path, SPLIT)
    image = open_image(tmp_path / "objects.ome.zarr")
    assert image.axes == "zyx"
    assert image.dtype == np.uint32
    assert image.pixel_size == (2.0, 1.0, 1.0)


def test_what_does_not_fulfil_the_condition_is_in_neither(tmp_path):
    everything = segment(probability_map(), tmp_path / "all", SPLIT)
    large = segment(probability_map(), tmp_path / "large", SPLIT, where="area > 300")
    assert 0 < len(large.table) < len(everything.table)
    assert large.table["label"].tolist() == list(range(1, len(large.table) + 1))
    labels, all_labels = labels_in(tmp_path / "large"), labels_in(tmp_path / "all")
    assert np.array_equal(labels > 0, np.append(False, everything.table["area"] > 300)[all_labels])
    assert np.bincount(labels.ravel())[1:].tolist() == large.table["area"].tolist()


def test_a_condition_on_no_column_is_told_before_anything_is_made(tmp_path):
    with pytest.raises(InputError, match="solidty"):
        segment(probability_map(), tmp_path / "cells", SPLIT, Inputs({"dapi": raw_image()}), where="solidty > 1")
    assert not (tmp_path / "cells").exists()


def test_a_part_lies_where_it_was_cut_out(tmp_path):
    image, part = probability_map(), Region((5, 10, 4), (25, 30, 36))
    made = segment(image, tmp_path, SPLIT, Inputs({"dapi": raw_image()}, region=part))
    labels = labels_in(tmp_path)
    inside = np.zeros(labels.shape, bool)
    inside[part.slices] = True
    assert not labels[~inside].any()
    alone, n = ndi.label(image.source[1][part.slices] / 255 >= 0.5)
    assert np.array_equal(labels[part.slices] > 0, np.isin(alone, np.flatnonzero(np.bincount(alone.ravel()) >= 3)[1:]))
    assert (made.table["bbox-0"] >= 5).all()
    assert n > 0


def test_what_is_ignored_belongs_to_nothing_that_has_grown(tmp_path):
    image, ignore = probability_map((60, 70)), np.zeros((60, 70), np.uint8)
    ignore[:, 20:24] = 1
    inputs, part = Inputs(ignore=as_image(ignore)), Region((0, 10), (60, 70))
    segment(image, tmp_path / "before", Rule(Foreground(1)), inputs)
    before = labels_in(tmp_path / "before")
    grown = expanded(lambda region: before[region.slices], before.shape, 3, (1, 1))(whole(before.shape))
    assert grown[ignore > 0].any()
    made = segment(image, tmp_path / "grown", Rule(Foreground(1)), inputs, grow=3)
    labels = labels_in(tmp_path / "grown")
    assert np.array_equal(labels, np.where(ignore, 0, grown))
    assert made.table["area"].tolist() == np.bincount(labels.ravel())[1:].tolist()
    segment(image, tmp_path / "part", Rule(Foreground(1)), Inputs(ignore=as_image(ignore), region=part), grow=3)
    assert not labels_in(tmp_path / "part")[ignore > 0].any()


def test_frames(tmp_path):
    stored = np.stack([probability_map((25, 26), seed).source for seed in (1, 2, 3)])
    made = segment(as_image(stored, axes="tcyx"), tmp_path, Rule(Foreground(1)))
    labels = labels_in(tmp_path)
    assert labels.shape == (3, 25, 26)
    assert sorted(set(made.table["frame"].tolist())) == [0, 1, 2]
    assert len(made.table) == sum(ndi.label(frame[1] / 255 >= 0.5)[1] for frame in stored)


def test_nothing_found_is_an_empty_table(tmp_path):
    nothing = as_image(np.zeros((20, 30), np.uint8))
    made = segment(nothing, tmp_path / "none", Rule(), Inputs({"raw": as_image(np.ones((20, 30), np.uint8))}))
    something = segment(as_image(np.full((20, 30), 255, np.uint8)), tmp_path / "one", Rule(), Inputs({"raw": nothing}))
    assert len(made.table) == 0
    assert list(made.table.columns) == list(something.table.columns)
    assert not labels_in(tmp_path / "none").any()
    assert_same(read_table(tmp_path / "none" / "cells.parquet"), made.table)


def test_what_exists_is_not_replaced_unless_asked(tmp_path):
    image = probability_map()
    segment(image, tmp_path, SPLIT)
    with pytest.raises(InputError, match="exists already"):
        segment(image, tmp_path, SPLIT)
    few = segment(image, tmp_path, Rule(Foreground(1, 0.8)), overwrite=True)
    assert len(read_table(tmp_path / "cells.csv")) == len(few.table) == labels_in(tmp_path).max()


def test_an_interrupted_run_goes_on(tmp_path, monkeypatch):
    image = probability_map()
    expected = segment(image, tmp_path / "expected", SPLIT)

    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", stop)
        with pytest.raises(Stop):
            segment(image, tmp_path / "cells", SPLIT)
    assert not (tmp_path / "cells" / "objects.ome.zarr").exists()
    with pytest.raises(InputError, match="another rule"):
        segment(image, tmp_path / "cells", Rule(Foreground(1, 0.8)))
    made = segment(image, tmp_path / "cells", SPLIT)
    assert_same(made.table, expected.table)
    assert np.array_equal(labels_in(tmp_path / "cells"), labels_in(tmp_path / "expected"))


def interrupted(monkeypatch, *arguments, error=KeyboardInterrupt, **options):
    """A run that ends when all pixels are stored, before the output has its name."""

    def stop(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "finish", stop)
        with pytest.raises(error):
            segment(*arguments, **options)


def test_an_interrupted_run_goes_on_with_the_same_images_only(tmp_path, monkeypatch):
    """Both maps are empty where a fingerprint looks."""
    for name, right in (("one", 70), ("other", 90)):
        values = np.zeros((300, 300), np.uint8)
        values[60:70, 60:right] = 255
        write_image(as_image(values), tmp_path / f"{name}.tif")
    one, other = (open_image(tmp_path / f"{name}.tif") for name in ("one", "other"))
    interrupted(monkeypatch, one, tmp_path / "cells", Rule())
    with pytest.raises(InputError, match="another probabilities"):
        segment(other, tmp_path / "cells", Rule())
    with pytest.raises(InputError, match="another pixel size"):
        segment(open_image(tmp_path / "one.tif", pixel_size=(4, 1)), tmp_path / "cells", Rule())
    segment(one, tmp_path / "cells", Rule())
    interrupted(monkeypatch, one, tmp_path / "few", Rule(), Inputs({"raw": one}), where="area > 20")
    with pytest.raises(InputError, match="another raw"):
        segment(one, tmp_path / "few", Rule(), Inputs({"raw": other}), where="area > 20")


@pytest.mark.parametrize(
    ("image", "rule", "options", "says"),
    [
        (probability_map(), Rule(splitting=Splitting("watershed", "image")), {}, "no raw image"),
        (probability_map(), Rule(Foreground(sigma=(1, 1))), {}, "2 sigmas"),
        (as_image(np.full((9, 9), np.nan, np.float32)), Rule(), {}, "between 0 and 1"),
        (probability_map(), Rule(), {"grow": 65}, "at most 64"),
        (probability_map(), Rule(), {"block": -1}, "at least 1"),
    ],
)
def test_what_cannot_be_computed_does_not_stand_in_the_way(tmp_path, image, rule, options, says):
    with pytest.raises(InputError, match=says):
        segment(image, tmp_path, rule, **options)
    segment(probability_map(), tmp_path, SPLIT)


def test_the_record_is_there_as_soon_as_the_labels_are(tmp_path, monkeypatch):
    interrupted(monkeypatch, probability_map(), tmp_path, SPLIT, where="area > 300")
    record = read_record(tmp_path)
    assert (record["where"], record["class"]) == ("area > 300", "channel 1")


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (Inputs({"dapi": as_image(np.zeros((30, 41, 36)))}), "raw image dapi"),
        (Inputs(ignore=as_image(np.zeros((30, 40, 37)))), "mask to ignore"),
        (Inputs(segmentation=(as_image(np.zeros((30, 40, 37), np.uint8)), ("a",))), "of one size|size"),
    ],
)
def test_images_of_another_size_are_refused(tmp_path, inputs, says):
    with pytest.raises(InputError, match=says):
        segment(probability_map(), tmp_path, SPLIT, inputs)
    assert not list(tmp_path.iterdir())


def test_groups_left_whole_are_marked(tmp_path):
    rule = Rule(Foreground(1, 0.6), splitting=Splitting("watershed", most=2000))
    made = segment(probability_map(), tmp_path, rule)
    assert 0 < made.n_left_whole < len(made.table)
    assert made.n_left_whole == made.table[FLAG].sum()


def test_masks_hold_every_class(tmp_path):
    image = probability_map((20, 21))
    image = as_image(image.source, axes="cyx")
    ignored = np.zeros((20, 21), np.uint8)
    ignored[3:5] = 1
    files = write_masks(image, tmp_path, Rule(Foreground(0, 0.4)), Inputs(ignore=as_image(ignored)))
    assert [file.name for file in files] == ["channel_0.ome.zarr", "channel_1.ome.zarr"]
    for channel, file in enumerate(files):
        stored = open_image(file).stored(whole((20, 21)))[0]
        assert np.array_equal(stored, (image.source[channel] / 255 >= 0.4) & (ignored == 0))


def test_a_preview_is_a_picture_and_nothing_else(tmp_path):
    from PIL import Image

    part = Region((0, 0, 0), (30, 20, 37))
    path, n = write_preview(probability_map(), tmp_path, SPLIT, Inputs({"dapi": raw_image()}, region=part))
    with Image.open(path) as picture:
        assert picture.size == (37, 20)
        assert np.asarray(picture).std() > 0
    assert n > 3
    assert [p.name for p in tmp_path.iterdir()] == ["preview.png"]


def test_a_preview_that_finds_no_room_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(
        Pieces, "add", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))
    )
    with pytest.raises(RunError, match="free some space"):
        write_preview(probability_map(), tmp_path, SPLIT)
    assert not list(tmp_path.iterdir())


def test_pixels_that_are_no_numbers_are_black():
    assert stretched(np.array([[np.nan, 1.0], [2.0, np.inf]], np.float32)).tolist() == [[0, 0], [255, 0]]
    assert not stretched(np.full((2, 2), np.nan, np.float32)).any()
