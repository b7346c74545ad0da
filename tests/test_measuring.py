"""brushwork measure, find-cells and select do what Python does, with labels from any program."""

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy import ndimage as ndi

from brushwork.find_cells import CellRule, find_cells
from brushwork.image import as_image
from brushwork.io import Layout, open_image, write_image
from brushwork.io.tables import read_table, write_table
from brushwork.measure import Measurements, measure, stored_labels
from brushwork.table import Table
from test_cli import brushwork
from test_find_cells import SIZE, volume


def assert_same(one, two):
    assert list(one.columns) == list(two.columns)
    for name, values in one.columns.items():
        np.testing.assert_array_equal(values, two[name], name)


@pytest.fixture(scope="module")
def dish(tmp_path_factory):
    """Labels of cells in several formats, an image of two channels, a segmentation with names and one without, a map."""
    folder = tmp_path_factory.mktemp("dish")
    random = np.random.default_rng(1)
    smooth = ndi.gaussian_filter(random.random((80, 90)), 3)
    labels = ndi.label(smooth > np.median(smooth))[0].astype(np.uint16)
    tifffile.imwrite(folder / "masks.tif", labels)
    np.save(folder / "masks.npy", labels.astype(np.int32))
    Image.fromarray(labels).save(folder / "masks.png")
    write_image(as_image(labels), folder / "masks.ome.zarr")
    raw = random.integers(0, 4000, (2, 80, 90)).astype(np.uint16)
    layout = Layout((80, 90), 2, dtype=np.uint16, channel_names=("dapi", "cd3"), pixel_size=(0.5, 0.5))
    write_image(as_image(raw, axes="cyx"), folder / "raw.ome.zarr", layout=layout)
    classes = (1 + (np.arange(90) > 60)).astype(np.uint8) * np.ones((80, 1), np.uint8)
    classes[:, :20] = 0
    tifffile.imwrite(folder / "classes.tif", classes)
    layout = Layout((80, 90), kind="segmentation", channel_names=("tumour", "stroma"), colors=("0072B2", "D55E00"))
    write_image(as_image(classes), folder / "classes.ome.zarr", layout=layout)
    chances = random.integers(0, 256, (2, 80, 90)).astype(np.uint8)
    layout = Layout((80, 90), 2, channel_names=("other", "cell"))
    write_image(as_image(chances, axes="cyx"), folder / "map.ome.zarr", layout=layout)
    tifffile.imwrite(folder / "narrow.tif", raw[0, :, :50])
    return folder


def test_labels_of_any_format_are_measured_as_by_python(dish, tmp_path):
    image, raw = open_image(dish / "masks.npy"), open_image(dish / "raw.ome.zarr")
    segmentation = open_image(dish / "classes.tif")
    expected = measure(
        stored_labels(image),
        image.shape,
        images={"raw": raw, "r2": raw},
        classes=(segmentation, ("tumour", "stroma")),
        probability=(open_image(dish / "map.ome.zarr"), 1),
        pixel_size=(0.5, 0.5),
    )
    assert len(expected) > 10
    assert "area_um2" in expected.columns
    for name in ("masks.tif", "masks.npy", "masks.png", "masks.ome.zarr"):
        brushwork(
            "measure", name, "--raw", "raw.ome.zarr", "--raw", "r2=raw.ome.zarr", "--segmentation", "classes.ome.zarr",
            "--probabilities", "map.ome.zarr", "--class", "cell", "-o", tmp_path / f"{name}.parquet", cwd=dish,
        )  # fmt: skip
        assert_same(read_table(tmp_path / f"{name}.parquet"), expected)


def test_channels_of_a_file_that_tells_no_axes(dish, tmp_path):
    raw = np.asarray(open_image(dish / "raw.ome.zarr").source[:])
    (tmp_path / "planes").mkdir()
    for name, plane in zip(("dapi", "cd3"), raw):
        tifffile.imwrite(tmp_path / "planes" / f"{name}.tif", plane)
    np.save(tmp_path / "first.npy", raw)
    np.save(tmp_path / "last.npy", raw.transpose(1, 2, 0))
    for name in ("planes", "first.npy", "last.npy"):
        brushwork("measure", dish / "masks.tif", "--raw", f"raw={name}", "-o", f"{name}.csv", cwd=tmp_path)
        table = read_table(tmp_path / f"{name}.csv")
        means = {column: values for column, values in table.columns.items() if column.startswith("intensity_mean-raw")}
        assert len(means) == 2
        expected = [ndi.mean(plane, tifffile.imread(dish / "masks.tif"), table["label"]) for plane in raw]
        order = sorted(means, reverse=name == "planes")  # files go by name: cd3, dapi
        np.testing.assert_allclose([means[column] for column in order], expected)


def test_cells_have_the_class_of_most_of_their_pixels(dish, tmp_path):
    said = brushwork(
        "measure", "masks.tif", "--segmentation", "classes.tif", "--classes", "tumour,stroma", "-o", tmp_path / "t.csv",
        cwd=dish,
    )  # fmt: skip
    table = read_table(tmp_path / "t.csv")
    assert f"{len(table):,} objects" in said
    labels, classes = tifffile.imread(dish / "masks.tif"), tifffile.imread(dish / "classes.tif")
    for label, name in zip(table["label"], table["class"]):
        none, tumour, stroma = np.bincount(classes[labels == label], minlength=3)
        wanted = "" if tumour + stroma == 0 else "tumour" if tumour >= stroma else "stroma"
        assert name == wanted, none
    assert set(table["class"]) == {"", "tumour", "stroma"}


def test_groups_conditions_and_surroundings_are_options(dish, tmp_path):
    said = brushwork(
        "measure", "masks.tif", "--raw", "dapi=narrow.tif", "-o", tmp_path / "t.csv", cwd=dish, code=2
    )  # fmt: skip
    assert "of one size" in said
    brushwork(
        "measure", "masks.tif", "--raw", "raw.ome.zarr", "--measure", "shape,background", "--intensity", "mean",
        "--signal-radius", "2", "--background-radius", "6", "--percentile", "10", "--where", "area > 30 and solidity > 0.8",
        "--pixel-size", "2,2", "--block", "32", "-o", tmp_path / "t.csv", cwd=dish,
    )  # fmt: skip
    image = open_image(dish / "masks.tif")
    expected = measure(
        stored_labels(image),
        image.shape,
        images={"raw": open_image(dish / "raw.ome.zarr")},
        pixel_size=(2, 2),
        measurements=Measurements(("shape", "background"), 6, 10.0, "mean", 2),
    ).where("area > 30 and solidity > 0.8")
    assert_same(read_table(tmp_path / "t.csv"), expected)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (("--segmentation", "classes.tif"), "--classes"),
        (("--segmentation", "classes.tif", "--classes", "tumour"), "name every class"),
        (("--probabilities", "map.ome.zarr"), "--class"),
        (("--probabilities", "map.ome.zarr", "--class", "cel"), "did you mean 'cell'"),
        (("--measure", "intensity"), "none was given"),
        (("--measure", "shap"), "did you mean 'shape'"),
        (("--raw", "raw.ome.zarr", "--percentile", "101", "--measure", "background"), "0 to 100"),
        (("--where", "size > 3"), "unknown column"),
        (("-o", "t.txt"), ".csv or .parquet"),
        (("-o", "masks.tif"), ".csv or .parquet"),
    ],
)
def test_what_cannot_be_measured_is_told(dish, tmp_path, asked, says):
    out = () if "-o" in asked else ("-o", tmp_path / "t.csv")
    assert says in brushwork("measure", "masks.tif", *asked, *out, cwd=dish, code=2)
    assert not list(tmp_path.iterdir())


def test_an_image_without_objects_is_an_empty_table(dish, tmp_path):
    tifffile.imwrite(tmp_path / "none.tif", np.zeros((80, 90), np.uint16))
    given = ("--raw", dish / "raw.ome.zarr", "--segmentation", dish / "classes.ome.zarr", "--measure")
    groups = "intensity,background,classes,shape,neighbors"
    brushwork("measure", "none.tif", *given, groups, "-o", "none.csv", cwd=tmp_path)
    brushwork("measure", dish / "masks.tif", *given, groups, "-o", "some.csv", cwd=tmp_path)
    none = read_table(tmp_path / "none.csv")
    assert len(none) == 0
    assert list(none.columns) == list(read_table(tmp_path / "some.csv").columns)


def test_labels_have_to_be_whole_numbers_in_one_channel(dish, tmp_path):
    np.save(tmp_path / "f.npy", np.ones((9, 9), np.float32))
    assert "whole" in brushwork("measure", "f.npy", "-o", "t.csv", cwd=tmp_path, code=2)
    assert "2 channels" in brushwork("measure", dish / "raw.ome.zarr", "-o", "t.csv", cwd=tmp_path, code=2)


def test_what_the_axes_of_labels_are_holds_for_the_other_files(tmp_path):
    labels = np.zeros((5, 6, 7), np.uint16)
    labels[1:3, 1:3, 1:3] = 9
    tifffile.imwrite(tmp_path / "labels.tif", labels)
    tifffile.imwrite(tmp_path / "classes.tif", np.full(labels.shape, 2, np.uint8))
    tifffile.imwrite(tmp_path / "map.tif", np.full(labels.shape, 51, np.uint8))
    given = ("--segmentation", "classes.tif", "--classes", "a,b", "--probabilities", "map.tif", "-o", "t.csv")
    assert "--axes" in brushwork("measure", "labels.tif", *given, cwd=tmp_path, code=2)
    brushwork("measure", "labels.tif", "--axes", "zyx", *given, cwd=tmp_path)
    table = read_table(tmp_path / "t.csv")
    assert table["class"].tolist() == ["b"]
    assert table["probability_mean"].tolist() == pytest.approx([0.2])


# ---------------------------------------------------------------- find-cells


@pytest.fixture(scope="module")
def brain(tmp_path_factory):
    folder = tmp_path_factory.mktemp("brain")
    stored, raw = volume(11)
    tifffile.imwrite(folder / "prob.tif", stored)
    tifffile.imwrite(folder / "raw.tif", raw)
    tifffile.imwrite(folder / "narrow.tif", raw[:, :, 1:])
    tifffile.imwrite(folder / "surface.tif", (np.arange(26) < 4)[:, None, None] * np.ones((26, 30, 23), np.uint8))
    layout = Layout(stored.shape, 2, channel_names=("bright", "cell"), pixel_size=SIZE)
    write_image(as_image(np.stack([255 - stored, stored]), axes="czyx"), folder / "map.ome.zarr", layout=layout)
    layout = Layout(stored.shape, 2, dtype=np.uint16, channel_names=("green", "red"))
    write_image(as_image(np.stack([raw // 2, raw]), axes="czyx"), folder / "both.ome.zarr", layout=layout)
    return folder


def test_find_cells_is_python(brain, tmp_path):
    images = [open_image(brain / name, axes="zyx") for name in ("prob.tif", "raw.tif", "surface.tif")]
    size = ("--pixel-size", "7,6.45,6")
    axes = ("--axes", "zyx")
    said = brushwork("find-cells", "prob.tif", "raw.tif", *size, *axes, "-o", tmp_path / "out", cwd=brain)
    expected = find_cells(*images[:2], tmp_path / "expected.csv", pixel_size=SIZE)
    assert f"{len(expected.table)} cells" in said
    assert (tmp_path / "out" / "prob_cells.csv").read_bytes() == expected.files[0].read_bytes()
    said = brushwork(
        "find-cells", "prob.tif", "raw.tif", *size, *axes, "--threshold", "0.6", "--min-size", "600um3", "--max-size", "27",
        "--ignore", "surface.tif", "--intensity", "object", "--background-radius", "3", "--percentile", "10",
        "--signal-radius", "2", "--sbr", "6", "--delta", "100", "--block", "16", "-o", tmp_path / "out" / "a.csv", cwd=brain,
    )  # fmt: skip
    rule = CellRule(0, 0.6, 3, 27, Measurements(None, 3, 10.0, "object", 2), 6.0, 100.0)
    expected = find_cells(*images[:2], tmp_path / "b.csv", rule, ignore=images[2], pixel_size=SIZE)
    assert 0 < len(expected.filtered) < len(expected.table)
    assert f"{len(expected.filtered)} of them stand out" in said
    for name, file in zip(("a.csv", "a_filtered.csv"), expected.files):
        assert (tmp_path / "out" / name).read_bytes() == file.read_bytes()


def test_maps_and_images_with_several_channels(brain, tmp_path):
    given = ("find-cells", "map.ome.zarr", "both.ome.zarr")
    brushwork(*given, "--class", "cell", "--channel", "red", "-o", tmp_path, cwd=brain)
    images = [open_image(brain / name, axes="zyx") for name in ("prob.tif", "raw.tif")]
    expected = find_cells(*images, tmp_path / "expected.csv", pixel_size=SIZE)
    assert (tmp_path / "map_cells.csv").read_bytes() == expected.files[0].read_bytes()
    for asked, says in (
        (("--class", "cell"), "--channel"),
        (("--channel", "red"), "--class"),
        (("--class", "cells", "--channel", "red"), "did you mean 'cell'"),
        (("--class", "cell", "--channel", "rde"), "did you mean 'red'"),
        (("--class", "cell", "--channel", "2"), "unknown channel"),
        (("--class", "cell", "--channel", "red", "--intensity", "men"), "did you mean 'mean'"),
        (("--class", "cell", "--channel", "red", "--threshold", "70"), "between 0 and 1"),
        (("--class", "cell", "--channel", "red", "--ignore", "narrow.tif"), "of one size"),
    ):
        assert says in brushwork(*given, *asked, "-o", tmp_path / "n", cwd=brain, code=2)
    no_size = ("find-cells", "prob.tif", "raw.tif", "--axes", "zyx", "-o", tmp_path / "n")
    assert "--pixel-size" in brushwork(*no_size, cwd=brain, code=2)


# ---------------------------------------------------------------- select


def test_rows_are_selected_and_units_stay(tmp_path):
    table = Table({"label": np.array([1, 2, 3]), "area_um2": np.array([0.5, 2.5, 4.0])}, {"area_um2": "um2"})
    for suffix in (".csv", ".parquet"):
        write_table(table, tmp_path / f"cells{suffix}")
        out = f"chosen{suffix}"
        said = brushwork("select", f"cells{suffix}", "--where", "area_um2 > 1 and label < 3", "-o", out, cwd=tmp_path)
        assert "1 of 3 rows" in said
        assert_same(read_table(tmp_path / out), table.chosen(np.array([1])))
    assert dict(read_table(tmp_path / "chosen.parquet").units) == {"area_um2": "um2"}
    asked = ("select", "cells.csv", "--where")
    assert "exists already" in brushwork(*asked, "label > 1", "-o", "chosen.csv", cwd=tmp_path, code=2)
    assert "did you mean 'label'" in brushwork(*asked, "lable > 1", "-o", "new.csv", cwd=tmp_path, code=2)
    assert "cannot be understood" in brushwork(*asked, "label >", "-o", "new.csv", cwd=tmp_path, code=2)
    assert not (tmp_path / "new.csv").exists()
