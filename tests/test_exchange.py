"""Labels from and for other programs; files are read by h5py, tifffile, nibabel and json themselves where they are judged."""

import json
import os
import subprocess
import sys
from pathlib import Path

import h5py
import nibabel as nib
import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from brushwork.cli.exchange import app
from brushwork.errors import InputError
from brushwork.exchange import classes_of, export_labels, import_labels, label_file, read_labels
from brushwork.image import as_image
from brushwork.io import geojson, label_values, open_labels, write_labels
from brushwork.io.label_files import itksnap_names
from brushwork.labels import from_array
from brushwork.project import Project

COMMAND = str(Path(sys.executable).parent / "brushwork")
NAMES, COLORS = {1: "background", 2: "cell"}, {1: "#0072B2", 2: "#E69F00"}


def dense(labels, extent):
    values = np.zeros(extent, np.uint8)
    values[tuple(labels.coords.T)] = labels.classes
    return values


def feature(geometry, name="Tumor", plane=None, **properties):
    geometry = dict(geometry) | ({"plane": plane} if plane else {})
    told = {"objectType": "annotation", "classification": {"name": name, "color": [200, 0, 0]}} | properties
    return {"type": "Feature", "geometry": geometry, "properties": told}


def square(x, y, edge=4):
    return [[x, y], [x + edge, y], [x + edge, y + edge], [x, y + edge], [x, y]]


def polygon(*rings):
    return {"type": "Polygon", "coordinates": list(rings)}


def annotations(path, features, wrapped=True):
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features} if wrapped else features), "utf-8")
    return path


# ---------------------------------------------------------------- annotations in


def test_every_shape_of_geojson_covers_the_pixels_drawn_by_hand(tmp_path):
    shapes = {
        "hole": polygon(square(2, 2, 6), square(4, 4, 2)),
        "two": {"type": "MultiPolygon", "coordinates": [[square(20, 2)], [square(30, 2, 3)]]},
        "line": {"type": "LineString", "coordinates": [[2.5, 20.5], [6.5, 20.5]]},
        "point": {"type": "Point", "coordinates": [10.2, 25.9]},
        "points": {"type": "MultiPoint", "coordinates": [[1, 30], [3, 30]]},
        "mixed": {
            "type": "GeometryCollection",
            "geometries": [polygon(square(20, 20, 2)), {"type": "Point", "coordinates": [30.5, 20.5]}],
        },
    }
    path = annotations(tmp_path / "a.geojson", [feature(shape, name) for name, shape in shapes.items()])
    image = as_image(np.zeros((40, 40), np.uint8))
    assert {v.name: v.pixels for v in label_file(path, image=image).values} == {
        "hole": 32, "two": 25, "line": 5, "point": 1, "points": 2, "mixed": 5,
    }  # fmt: skip
    values = dense(read_labels(path, image, {k: k for k in range(1, 7)}), image.shape)
    assert (values[2:8, 2:8] == 1).sum() == 32
    assert not values[4:6, 4:6].any()
    assert (values[2:6, 20:24] == 2).all()
    assert (values[20, 2:7] == 3).all()
    assert values[25, 10] == 4
    assert values[30].tolist()[:4] == [0, 5, 0, 5]
    assert values[20, 30] == 6


@pytest.mark.parametrize("wrapped", [True, False])
def test_names_as_any_version_writes_them(tmp_path, wrapped):
    ways = {
        "new": {"classification": {"name": "new", "color": [1, 2, 255]}},
        "old": {"classification": {"name": "old", "colorRGB": -3670016}},
        "oldest": {"classification": "oldest"},
        "Tumor: positive": {"classification": {"names": ["Tumor", "positive"]}},
    }
    features = [feature(polygon(square(5 * i, 0)), **told) for i, told in enumerate(ways.values())]
    features[1]["id"] = "PathAnnotationObject"
    del features[1]["properties"]["objectType"]
    found = label_file(annotations(tmp_path / "a.json", features, wrapped))
    assert [v.name for v in found.values] == list(ways)
    assert [v.color for v in found.values] == ["#0102ff", "#c80000", "", ""]
    assert [v.pixels for v in found.values] == [16] * 4
    assert not found.notes


def test_what_is_left_out_is_told(tmp_path):
    features = [
        feature(polygon(square(0, 0)), "Ignore*"),
        feature(polygon(square(0, 0)), objectType="cell"),
        feature(polygon(square(0, 0)), objectType="detection"),
        feature(polygon(square(0, 0)), classification=None),
        feature(polygon(square(0, 0))),
    ]
    features[1]["properties"].pop("classification")
    found = label_file(annotations(tmp_path / "a.geojson", features))
    assert [v.name for v in found.values] == ["Tumor"]
    assert [note.split()[0] for note in found.notes] == ["2", "1", "1"]
    assert "*" in found.notes[2]


def test_later_annotations_lie_on_top_and_planes_are_kept(tmp_path):
    features = [
        feature(polygon(square(0, 0, 6)), "a", {"c": -1, "z": 2, "t": 1}),
        feature(polygon(square(2, 2, 2)), "b", {"c": -1, "z": 2, "t": 1}),
        feature(polygon(square(-3, 5, 5)), "b"),
    ]
    path = annotations(tmp_path / "a.geojson", features)
    movie = as_image(np.zeros((2, 3, 10, 12), np.uint8), axes="tzyx")
    values = dense(read_labels(path, movie, {1: 1, 2: 2}), (2, 3, 10, 12))
    expected = np.zeros_like(values)
    expected[1, 2, :6, :6], expected[1, 2, 2:4, 2:4], expected[0, 0, 5:, :2] = 1, 2, 2
    np.testing.assert_array_equal(values, expected)
    assert read_labels(path, movie, {1: 0, 2: 2}).classes.tolist() == [2] * 14
    for smaller, letter in ((as_image(np.zeros((10, 12), np.uint8)), "z"), (as_image(np.zeros((3, 10, 12))), "t")):
        with pytest.raises(InputError, match=f"{letter} = "):
            read_labels(path, smaller, {1: 1, 2: 2})
    shifted = read_labels(path, movie, {1: 0, 2: 2}, offset=(0, 1, 1))
    assert shifted.coords.min(0).tolist() == [0, 0, 3, 0]
    with pytest.raises(InputError, match="covers a pixel"):
        read_labels(path, movie, {1: 0, 2: 2}, offset=(0, 50, 50))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[1, 2]",
        '{"type": "FeatureCollection", "features": 3}',
        "[" * 100_000,
        *(
            json.dumps([feature(geometry)])
            for geometry in (
                polygon([[0, 0], [1, None], [2, 2]]),
                polygon([[0, 0], [1e300, 4], [2, 2]]),
                polygon([[0, 0], [float("nan"), 4], [2, 2]]),
                polygon([]),
                polygon(),
                {"type": "Circle", "coordinates": [1, 2]},
                {"type": "GeometryCollection", "geometries": []},
                {"type": "Point", "coordinates": []},
            )
        ),
        json.dumps([feature(polygon(square(0, 0)), plane={"z": "top"})]),
        json.dumps([feature(polygon(square(0, 0)), plane={"z": float("inf")})]),
        json.dumps([{"type": "Feature", "geometry": None, "properties": {"classification": "a"}}]),
    ],
)
def test_what_is_no_annotation_is_refused(tmp_path, text):
    path = tmp_path / "a.geojson"
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.geojson"):
        label_file(path)


# ---------------------------------------------------------------- there and back


def value_arrays(*edges):
    return st.tuples(*(st.integers(1, n) for n in edges)).flatmap(
        lambda shape: arrays(np.uint8, shape, elements=st.sampled_from([0, 0, 1, 2]))
    )


@given(value_arrays(9, 9))
def test_outlines_in_a_file_give_the_same_pixels_back(tmp_path_factory, values):
    if values.any():
        _there_and_back(tmp_path_factory.mktemp("a") / "a.geojson", values, as_image(values))


@given(value_arrays(2, 3, 5, 6))
def test_so_they_do_in_stacks_and_movies(tmp_path_factory, values):
    if values.any():
        _there_and_back(tmp_path_factory.mktemp("a") / "a.geojson", values, as_image(values, axes="tzyx"))


def _there_and_back(path, values, image):
    labels = from_array(values, has_time=values.ndim > len(image.shape))
    write_labels(labels, image, path, names=NAMES)
    there = {v.name: v.value for v in label_file(path).values}
    back = read_labels(path, image, {there[NAMES[k]]: k for k in NAMES if NAMES[k] in there})
    np.testing.assert_array_equal(dense(back, values.shape), values)
    # QuPath refuses rings that are not closed.
    for entry in json.loads(path.read_text())["features"]:
        kind, coordinates = entry["geometry"]["type"], entry["geometry"]["coordinates"]
        for ring in [r for rings in ([coordinates] if kind == "Polygon" else coordinates) for r in rings]:
            assert ring[0] == ring[-1]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".tif", ".h5", ".npy", ".ome.zarr"])
@pytest.mark.parametrize(
    ("shape", "axes"), [((20, 30), "yx"), ((20, 3), "yx"), ((4, 20, 30), "zyx"), ((2, 3, 20, 4), "tzyx")]
)
def test_every_format_gives_the_same_labels_back(tmp_path, suffix, shape, axes):
    values = np.random.default_rng(0).choice([0, 0, 0, 1, 2], shape).astype(np.uint8)
    size = (2, 0.5, 0.5)[-len(axes.replace("t", "")) :]
    image = as_image(np.zeros(shape, np.uint16), axes=axes, pixel_size=size)
    labels = from_array(values, has_time="t" in axes)
    path = tmp_path / f"a{suffix}"
    write_labels(labels, image, path, names=NAMES, colors=COLORS)
    back = open_labels(path, image, mapping={1: 1, 2: 2})
    np.testing.assert_array_equal(dense(back, shape), values)
    assert label_values(path) == {k: int((values == k).sum()) for k in (1, 2)}
    with pytest.raises(InputError, match="exists already"):
        write_labels(labels, image, path, names=NAMES)


def test_what_other_libraries_see(tmp_path):
    values = np.zeros((4, 20, 30), np.uint8)
    values[1, 2:5, 3:9], values[2, 7, 7] = 1, 2
    image = as_image(np.zeros_like(values), pixel_size=(2, 0.5, 0.25))
    labels = from_array(values)
    write_labels(labels, image, tmp_path / "a.tif", names=NAMES)
    with tifffile.TiffFile(tmp_path / "a.tif") as file:
        assert file.is_imagej
        assert file.series[0].axes == "ZYX"
        assert (file.imagej_metadata["unit"], file.imagej_metadata["spacing"]) == ("um", 2)
        assert file.pages[0].tags["XResolution"].value == (4, 1)
        assert file.pages[0].tags["YResolution"].value == (2, 1)
        np.testing.assert_array_equal(file.asarray(), values)
    write_labels(labels, image, tmp_path / "a.h5", names=NAMES)
    with h5py.File(tmp_path / "a.h5") as file:
        tags = json.loads(file["data"].attrs["axistags"])["axes"]
        assert [(tag["key"], tag["typeFlags"]) for tag in tags] == [("z", 2), ("y", 2), ("x", 2)]
        assert file["data"].chunks is not None
        np.testing.assert_array_equal(file["data"][:], values)
    write_labels(labels, image, tmp_path / "a.nii.gz", names=NAMES)
    stored = nib.load(tmp_path / "a.nii.gz")
    assert nib.aff2axcodes(stored.affine) == ("L", "P", "S")
    np.testing.assert_array_equal(np.asarray(stored.dataobj).T, values)
    write_labels(labels, image, tmp_path / "a.geojson", names=NAMES, colors=COLORS)
    told = json.loads((tmp_path / "a.geojson").read_text())["features"]
    assert told[0]["geometry"] == {
        "type": "Polygon",
        "coordinates": [[[3, 2], [9, 2], [9, 5], [3, 5], [3, 2]]],
        "plane": {"c": -1, "z": 1, "t": 0},
    }
    assert told[0]["properties"]["classification"] == {"name": "background", "color": [0, 0x72, 0xB2]}
    assert told[1]["properties"]["classification"]["name"] == "cell"


@pytest.mark.parametrize("axes", ["yx", "yxc", "tzyxc", "zyxc"])
def test_labels_as_ilastik_exports_them(tmp_path, axes):
    values = np.zeros((20, 30), np.uint8)
    values[3, 4:9], values[9, 9] = 1, 2
    stored = values.reshape([{"y": 20, "x": 30}.get(a, 1) for a in axes])
    with h5py.File(tmp_path / "a.h5", "w") as file:
        data = file.create_dataset("exported_data", data=stored, chunks=True)
        data.attrs["axistags"] = json.dumps(
            {"axes": [{"key": a, "typeFlags": 2, "resolution": 0, "description": ""} for a in axes]}
        )
    found = open_labels(tmp_path / "a.h5", as_image(np.zeros((20, 30))), mapping={1: 2, 2: 1})
    np.testing.assert_array_equal(dense(found, (20, 30)), np.array([0, 2, 1], np.uint8)[values])


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.uint32])
def test_labels_as_napari_saves_them(tmp_path, dtype):
    values = np.zeros((5, 20, 30), dtype)
    values[1, 3, 4:9] = 1
    tifffile.imwrite(tmp_path / "a.tif", values, compression="zlib")
    found = open_labels(tmp_path / "a.tif", as_image(np.zeros((5, 20, 30))), mapping={1: 2})
    np.testing.assert_array_equal(dense(found, (5, 20, 30)), 2 * values.astype(np.uint8))


# ---------------------------------------------------------------- values and classes


def test_a_value_without_a_class_is_an_error_that_shows_all_values(tmp_path):
    values = np.zeros((20, 30), np.uint8)
    values[0, :5], values[1, :3], values[2, 0] = 1, 4, 9
    tifffile.imwrite(tmp_path / "a.tif", values)
    file = label_file(tmp_path / "a.tif")
    assert [(v.value, v.pixels) for v in file.values] == [(1, 5), (4, 3), (9, 1)]
    assert classes_of(file, ["a", "b"], {1: "a", 4: "b", 9: None}) == {1: "a", 4: "b", 9: None}
    with pytest.raises(
        InputError, match=r"for 4, 9: .*1 \(5 pixels\), 4 \(3 pixels\), 9 \(1 pixel\).*classes are a, b"
    ):
        classes_of(file, ["a", "b"], {1: "a"})
    with pytest.raises(InputError, match="no class 'c'; classes are a, b"):
        classes_of(file, ["a", "b"], {1: "a", 4: "c", 9: "a"})
    assert classes_of(file, [], {1: "a", 4: "c", 9: "a"}, new=True) == {1: "a", 4: "c", 9: "a"}


def test_names_find_classes_of_the_same_name(tmp_path):
    features = [feature(polygon(square(0, 0)), "cell"), feature(polygon(square(9, 0)), "Stroma")]
    file = label_file(annotations(tmp_path / "a.geojson", features))
    assert classes_of(file, ["cell", "Stroma"]) == {1: "cell", 2: "Stroma"}
    assert classes_of(file, ["cell", "b"], {"Stroma": "b"}) == {1: "cell", 2: "b"}
    assert classes_of(file, ["cell"], {2: None}) == {1: "cell", 2: None}
    assert classes_of(file, ["cell"], new=True) == {1: "cell", 2: "Stroma"}
    with pytest.raises(InputError, match=r"'Stroma'.*--map Stroma=cell"):
        classes_of(file, ["cell"])


def test_label_descriptions_of_itksnap_name_values(tmp_path):
    descriptions = tmp_path / "labels.txt"
    descriptions.write_text(
        "# a comment\n"
        '    0     0    0    0        0  0  0    "Clear Label"\n'
        '    1   255    0    0        1  1  1    "cell"\n'
        '    2     0  255    0      0.5  1  0    "the ""ground"\n'
    )
    assert itksnap_names(descriptions)[2] == ('the ""ground', "#00ff00")
    np.save(tmp_path / "a.npy", np.array([[0, 1], [1, 2]], np.uint8))
    file = label_file(tmp_path / "a.npy", names=descriptions)
    assert [(v.value, v.name, v.color) for v in file.values] == [(1, "cell", "#ff0000"), (2, 'the ""ground', "#00ff00")]
    descriptions.write_text("nothing\n")
    with pytest.raises(InputError, match="Save Label Descriptions"):
        itksnap_names(descriptions)


# ---------------------------------------------------------------- projects


@pytest.fixture
def study(tmp_path):
    """A project with an image of 40 x 50 pixels, and classes with a gap in their ids."""
    tifffile.imwrite(tmp_path / "cells.tif", np.zeros((40, 50), np.uint8))
    with Project.create(tmp_path / "study.brushwork") as project:
        project.add_task("main")
        for name in ("background", "gone", "cell"):
            project.add_class("main", name)
        project.delete_class("main", 2)
        project.add_image(str(tmp_path / "cells.tif"))
    return tmp_path / "study.brushwork"


def test_labels_of_a_project_go_out_and_come_back(study, tmp_path):
    with Project.open(study) as project:
        image = project.document.images[0].id
        project.paint("main", image, 3, [[3, 4], [3, 5]])
        project.paint("main", image, 1, [[9, 9]])
        before = dense(project.labels("main", image), (40, 50))
        written = export_labels(project, tmp_path / "a.h5", image=image)
        assert [(v.value, v.name, v.pixels) for v in written.values] == [(1, "background", 1), (3, "cell", 2)]
        export_labels(project, tmp_path / "a.geojson", image=image)
        project.paint("main", image, 0, np.argwhere(before))
        assert not len(project.labels("main", image))
        with pytest.raises(InputError, match="nothing is painted"):
            export_labels(project, tmp_path / "b.h5", image=image)

        done = import_labels(project, tmp_path / "a.h5", image=image, mapping={1: "background", 3: "cell"})
        assert (done.strokes, done.pixels) == (2, 3)
        np.testing.assert_array_equal(dense(project.labels("main", image), (40, 50)), before)
        project.paint("main", image, 0, np.argwhere(before))
        import_labels(project, tmp_path / "a.geojson", image=image)
        np.testing.assert_array_equal(dense(project.labels("main", image), (40, 50)), before)
        assert {s.origin for s in project.document.task("main").strokes[-2:]} == {"import"}


def test_nothing_is_painted_and_no_class_made_where_something_does_not_fit(study, tmp_path):
    with Project.open(study) as project:
        image, before = project.document.images[0].id, project.document
        np.save(tmp_path / "a.npy", np.ones((41, 50), np.uint8))
        np.save(tmp_path / "empty.npy", np.zeros((40, 50), np.uint8))
        for path, mapping in (("a.npy", {1: "new"}), ("a.npy", {}), ("empty.npy", {}), ("absent.npy", {})):
            with pytest.raises(InputError):
                import_labels(project, tmp_path / path, image=image, mapping=mapping, new_classes=True)
        assert project.document == before


def test_classes_that_are_made_have_the_colors_of_the_file(study, tmp_path):
    path = annotations(tmp_path / "a.geojson", [feature(polygon(square(0, 0)), "Tumor")])
    with Project.open(study) as project:
        image = project.document.images[0].id
        with pytest.raises(InputError, match="no class is given for 'Tumor'"):
            import_labels(project, path, image=image)
        import_labels(project, path, image=image, new_classes=True)
        assert [(c.name, c.color) for c in project.document.task("main").classes][-1] == ("Tumor", "#c80000")
        import_labels(project, path, image=image, mapping={"Tumor": "cell"}, offset=(10, 20))
        assert dense(project.labels("main", image), (40, 50))[10:14, 20:24].tolist() == [[3] * 4] * 4


def test_what_a_mapping_names_and_the_file_does_not_hold_is_told(study, tmp_path):
    np.save(tmp_path / "a.npy", np.ones((40, 50), np.uint8))
    with Project.open(study) as project:
        image = project.document.images[0].id
        done = import_labels(
            project, tmp_path / "a.npy", image=image, mapping={1: "cell", 2: "cell", "Tumor": "cell", "x": None}
        )
    assert done.notes == (f"{tmp_path / 'a.npy'} holds no 'Tumor', 'x', 2",)


# ---------------------------------------------------------------- the command line


def brushwork(folder, *arguments):
    environment = {**os.environ, "COLUMNS": "200"}
    return subprocess.run(
        [COMMAND, *arguments], cwd=folder, capture_output=True, text=True, timeout=300, env=environment
    )


def test_labels_import_and_export_as_commands(study, tmp_path):
    values = np.zeros((40, 50), np.uint8)
    values[3:6, 3:9], values[20, 1:4] = 1, 7
    tifffile.imwrite(tmp_path / "painted.tif", values)
    shown = brushwork(tmp_path, "labels", "painted.tif")
    assert [line.split() for line in shown.stdout.splitlines() if line.strip()[:1].isdigit()] == [
        ["1", "18"],
        ["7", "3"],
    ]

    refused = brushwork(tmp_path, "import", "painted.tif", "--into", "study.brushwork", "--map", "1=cell")
    assert refused.returncode == 2
    assert "7 (3 pixels)" in refused.stderr

    arguments = ("--into", "study.brushwork", "--image", "cells.tif", "--map", "1=cell,7=0")
    done = brushwork(tmp_path, "import", "painted.tif", *arguments)
    assert done.returncode == 0, done.stderr
    assert "1 strokes, 18 pixels" in done.stdout
    np.save(tmp_path / "part.npy", values[:9, :20])
    wrong = brushwork(tmp_path, "import", "part.npy", "--into", "study.brushwork", "--map", "1=cell")
    assert "need an offset that says where their first pixel lies" in wrong.stderr
    done = brushwork(tmp_path, "export", "study.brushwork", "-o", "cells.geojson")
    assert done.returncode == 0, done.stderr
    (found,) = geojson.read(tmp_path / "cells.geojson")[0]
    assert (found.name, found.n_pixels((40, 50))) == ("cell", 18)
    assert brushwork(tmp_path, "export", "study.brushwork", "-o", "cells.geojson").returncode == 2
    assert brushwork(tmp_path, "export", "study.brushwork", "-o", "cells.nii.gz", "--overwrite").returncode == 0
    unknown = brushwork(tmp_path, "export", "study.brushwork", "-o", "cells.jpg")
    assert unknown.returncode == 2
    assert ".geojson" in unknown.stderr


def test_a_part_of_an_image_goes_to_itksnap_and_its_labels_come_back(study, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "other.tif", pixels)
    done = brushwork(tmp_path, "convert", "other.tif", "part.nii.gz", "--region", "5:25,10:")
    assert done.returncode == 0, done.stderr
    stored = nib.load(tmp_path / "part.nii.gz")
    np.testing.assert_array_equal(np.asarray(stored.dataobj)[..., 0].T, pixels[5:25, 10:])
    painted = np.zeros(stored.shape, np.uint16)
    painted[2, 3, 0] = 5
    nib.save(nib.Nifti1Image(painted, stored.affine), tmp_path / "seg.nii.gz")
    arguments = ("--into", "study.brushwork", "--map", "5=cell", "--offset", "5,10")
    done = brushwork(tmp_path, "import", "seg.nii.gz", *arguments)
    assert done.returncode == 0, done.stderr
    with Project.open(study) as project:
        assert project.labels("main", project.document.images[0].id).coords.tolist() == [[8, 12]]
    for region in ("5:25", "25:5,:", "0:41,:", "a:b,:"):
        refused = brushwork(tmp_path, "convert", "other.tif", "x.nii", "--region", region)
        assert refused.returncode == 2, region


@pytest.mark.parametrize(
    ("arguments", "flag"),
    [
        *(
            (["import", "x.ilp", *flag], flag[0])
            for flag in (
                ["--map", "1=cell"], ["--image", "a"], ["--names", "n.txt"],
                ["--offset", "0,0"], ["--task", "main"], ["--new-classes"],
            )
        ),
        *(
            (["import", "x.tif", "--into", "p.brushwork", *flag], flag[0])
            for flag in (["--out", "y.brushwork"], ["--data", "there"], ["--dialect", "ilastik<1.3"])
        ),
        (["export", "p.brushwork", "-o", "x.ilp", "--image", "a"], "--image"),
        (["export", "p.brushwork", "-o", "x.tif", "--embed"], "--embed"),
        (["export", "p.brushwork", "-o", "x.tif", "--absolute"], "--absolute"),
        (["export", "p.brushwork", "-o", "x.tif", "--absolute", "--embed"], "--embed and --absolute"),
    ],
)  # fmt: skip
def test_flags_that_mean_nothing_here_are_refused_by_name(arguments, flag):
    with pytest.raises(InputError, match=f"{flag} cannot be used for"):
        app(arguments, standalone_mode=False)


def test_equal_points_are_one_pixel_and_cost_no_more(tmp_path):
    points = {"type": "MultiPoint", "coordinates": [[3, 4]] * 50_000}
    path = annotations(tmp_path / "a.geojson", [feature(points)])
    (value,) = label_file(path, image=as_image(np.zeros((8, 9), np.uint8))).values
    assert value.pixels == 1
