"""Projects for ilastik: what is written is what was painted, in ilastik's layout, and its forest votes as ours does."""

import json
import re
from dataclasses import replace

import h5py
import numpy as np
import pytest
import tensorstore as ts
from hypothesis import given, settings
from hypothesis import strategies as st

from brushwork.blocks import whole
from brushwork.errors import InputError
from brushwork.estimators.symmetric_forest import (
    LARGEST,
    FittedSymmetricForest,
    encode_columns,
)
from brushwork.estimators.tree_forest import TreeForest
from brushwork.features import FeatureSet
from brushwork.image import as_image
from brushwork.interchange.ilp import IlpLabels, open_ilp
from brushwork.interchange.ilp_export import export_ilp
from brushwork.interchange.ilp_images import labels_on, open_dataset
from brushwork.interchange.ilp_import import import_ilp
from brushwork.interchange.ilp_models import classifier_of, feature_set
from brushwork.interchange.ilp_writer import label_blocks, map_names
from brushwork.interchange.ordinary_trees import ordinary_trees, smallest_above
from brushwork.interchange.vigra_forest import to_vigra
from brushwork.io import write_image
from brushwork.project import Project
from ilp_files import axistags, walked
from painting import strokes_on, two_tone

SHAPE = (60, 80)


# ---------------------------------------------------------------- symmetric trees as ordinary ones


def neighbours(x):
    return [np.nextafter(x, np.float32(-np.inf)), x, np.nextafter(x, np.float32(np.inf))]


def knots_at(values):
    return np.sort(np.array(values, np.float32))[None]


EXTREMES = [0.0, -0.0, 1e-38, -1e-38, 1e-45, 1.0, 255.0, LARGEST, -LARGEST]
numbers = st.one_of(
    st.sampled_from(EXTREMES), st.floats(-(2.0**126), 2.0**126, width=32), st.floats(-300, 300, width=32)
)


@settings(max_examples=60)
@given(st.lists(numbers, min_size=5, max_size=5), st.lists(st.floats(width=32, allow_nan=False), max_size=8))
def test_a_threshold_parts_numbers_as_the_bytes_do(values, others):
    knots = knots_at(values)
    limits = smallest_above(knots)[0]
    reached = limits[~np.isnan(limits)]
    near = [x for limit in np.unique(reached) for x in neighbours(limit)]
    ties = [x for knot in knots[0] for x in neighbours(knot)]
    x = np.array([*near, *ties, *others, np.inf, -np.inf, 0.0, -0.0], np.float32)
    codes = encode_columns(x[:, None], knots)[0].astype(int)
    for threshold in range(256):
        goes_right = ~(x.astype(float) < limits[threshold].astype(float)) & ~np.isnan(limits[threshold])
        np.testing.assert_array_equal(goes_right, codes > threshold)


def random_forest(seed, n_trees=5, depth=4, n_maps=3, n_classes=3):
    """A symmetric forest with thresholds that no value reaches, knots that coincide and maps that are constant."""
    rng = np.random.default_rng(seed)
    knots = np.sort(rng.choice([-3.0, -1.0, 0.0, 0.5, 2.0, 7.0], (n_maps, 5)), axis=1).astype(np.float32)
    leaves = rng.multinomial(255, np.ones(n_classes) / n_classes, (n_trees, 1 << depth))
    return FittedSymmetricForest(
        maps=rng.integers(n_maps, size=(n_trees, depth)).astype(np.int32),
        thresholds=rng.choice([0, 1, 24, 25, 128, 254, 255], (n_trees, depth)).astype(np.uint8),
        leaves=np.ascontiguousarray(leaves.swapaxes(1, 2)[:, :-1]).astype(np.uint8),
        knots=knots,
        importance=np.full(n_maps, 1 / n_maps, np.float32),
    )


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(2, 4))
def test_ordinary_trees_reach_the_leaves_that_symmetric_ones_reach(seed, depth, n_classes):
    forest = random_forest(seed, n_trees=1, depth=depth, n_classes=n_classes)
    trees = ordinary_trees(forest)
    rng = np.random.default_rng(seed)
    limits = smallest_above(forest.knots)
    maps = rng.choice([*forest.knots.ravel(), *rng.normal(size=9), np.inf, -np.inf], (forest.n_maps, 500)).astype(
        np.float32
    )
    for i, row in enumerate(limits):
        maps[i, :60] = rng.choice([0.0, *row[~np.isnan(row)]], 60)
    np.testing.assert_allclose(trees.predict(maps), forest.predict(maps), atol=1e-6)


def test_questions_that_change_nothing_are_not_asked():
    forest = random_forest(0, n_trees=3)
    same = replace(forest, leaves=np.full_like(forest.leaves, 85))
    assert [len(tree.topology) for tree in to_vigra(ordinary_trees(same))] == [4, 4, 4]


def test_forests_of_ordinary_trees_stay_as_they_are_and_others_are_none():
    trees = ordinary_trees(random_forest(0))
    assert isinstance(trees, TreeForest)
    assert ordinary_trees(trees) is trees
    assert ordinary_trees(object()) is None


# ---------------------------------------------------------------- what is written


@pytest.fixture
def project(tmp_path):
    """Strokes of two classes on a picture, a third class without any."""
    pixels, truth = two_tone(SHAPE)
    np.save(tmp_path / "cells.npy", pixels)
    with Project.create(tmp_path / "cells.brushwork") as made:
        image = made.add_image(tmp_path / "cells.npy").id
        made.add_task("main")
        ids = [
            made.add_class("main", name, color).id
            for name, color in (("nothing", "#112233"), ("in", "#AA0000"), ("Ö", "#00ff7f"))
        ]
        made.delete_class("main", made.add_class("main", "mistake").id)
        strokes = strokes_on(truth)
        for value, class_id in ((1, ids[2]), (2, ids[1])):
            made.paint("main", image, class_id, np.argwhere(strokes == value))
        made.change_task("main", features="gaussian:1,2 hessian:1.6 structure-tensor:0.7")
        yield made


def votes_in(path, rows):
    """(n, n_classes) votes of a stored forest for rows (n, n_maps): vigra divides sums of leaves by their sum over all classes."""
    with h5py.File(path) as file:
        group = file["PixelClassification/ClassifierForests"]
        stored = [group[name] for name in sorted(group) if name.startswith("Forest")]
        forests = [
            [(tree["topology"][:], tree["parameters"][:]) for name, tree in f.items() if name[0] == "T"] for f in stored
        ]
        votes = np.zeros((len(rows), len(file["PixelClassification/LabelNames"])), np.float32)
        votes[:, group["known_labels"][:] - 1] = walked(forests, rows)
    return votes / votes.sum(1, keepdims=True)


def rows_in(path, image):
    """(n, n_maps): all pixels of an image, as ilastik computes the features that a file selects."""
    selected = open_ilp(path).stages[0].features
    features = feature_set(selected, len(image.shape), len(image.channel_names))
    maps = features.at(image, features.block(image, whole(image.shape)))
    return maps.reshape(len(maps), -1).T


def picture_of(project):
    return project.image(project.document.images[0].id)


def test_what_is_written_is_what_was_painted(project, tmp_path):
    done = export_ilp(project, tmp_path / "out.ilp")
    assert (done.n_images, done.n_pixels, done.n_trees, done.notes) == (1, 80, 200, ())
    read = open_ilp(done.path)
    assert (read.workflow, read.problems) == ("Pixel Classification", ())
    (stage,) = read.stages
    assert [(c.name, c.color, c.map_color) for c in stage.classes] == [
        ("nothing", "#112233", "#112233"),
        ("in", "#aa0000", "#aa0000"),
        ("Ö", "#00ff7f", "#00ff7f"),
    ]
    ours = project.labels("main", project.document.images[0].id)
    np.testing.assert_array_equal(stage.labels[0].coords, ours.coords)
    np.testing.assert_array_equal(stage.labels[0].classes, np.array([0, 1, 2, 3])[ours.classes])
    lane = read.lanes[0].raw
    assert (lane.paths, lane.axes, lane.shape, lane.nickname) == (("cells.npy",), "yx", SHAPE, "cells")
    assert feature_set(stage.features, 2, 1) == FeatureSet.parse(
        "gaussian:1,2 structure-tensor:0.7 hessian:1.6"
    ).resolved(picture_of(project))


@pytest.mark.parametrize("priors", ["strokes", "image"])
def test_the_forest_in_the_file_gives_our_probabilities(project, tmp_path, priors):
    project.change_task("main", priors=priors)
    done = export_ilp(project, tmp_path / "out.ilp")
    model = project.fit("main")
    assert bool(model.class_weights) == (priors == "image")
    ours = model.predict_array(np.load(tmp_path / "cells.npy"))
    theirs = votes_in(done.path, rows_in(done.path, picture_of(project))).T.reshape(3, *SHAPE)
    assert (theirs[0] == 0).all()
    np.testing.assert_allclose(theirs[[2, 1]] if model.classes[0] == "Ö" else theirs[1:], ours, atol=2e-6)
    read = classifier_of(open_ilp(done.path)).predict_array(np.load(tmp_path / "cells.npy"))
    np.testing.assert_allclose(read, theirs, atol=2e-6)


def test_forests_of_scikit_learn_are_written_too(project, tmp_path):
    pytest.importorskip("sklearn")
    project.change_task("main", estimator="sklearn:RandomForestClassifier", priors="strokes")
    done = export_ilp(project, tmp_path / "out.ilp")
    ours = project.fit("main").predict_array(np.load(tmp_path / "cells.npy"))
    theirs = votes_in(done.path, rows_in(done.path, picture_of(project))).T.reshape(3, *SHAPE)
    np.testing.assert_allclose(theirs[1:], ours, atol=2e-6)
    project.change_task("main", estimator="sklearn:GaussianNB")
    done = export_ilp(project, tmp_path / "other.ilp")
    assert done.n_trees == 0
    assert any("sklearn was left out" in note for note in done.notes)


def test_features_of_some_channels_and_in_micrometres_keep_their_forest(tmp_path):
    """ilastik computes more features than the forest asks of; sigmas become pixels."""
    pixels, truth = two_tone(SHAPE)
    colours = np.stack([pixels, np.random.default_rng(0).normal(size=SHAPE), 2 * pixels], axis=-1).astype(np.float32)
    np.save(tmp_path / "colours.npy", colours)
    with Project.create(tmp_path / "p.brushwork") as project:
        image = project.add_image(tmp_path / "colours.npy", axes="yxc", pixel_size=(0.5, 0.5)).id
        project.add_task("main")
        strokes = strokes_on(truth)
        for value in (1, 2):
            project.paint("main", image, project.add_class("main", f"class {value}").id, np.argwhere(strokes == value))
        project.change_task("main", features="hessian@2:1 gaussian:0.5um gaussian@0:2")
        done = export_ilp(project, tmp_path / "out.ilp")
        assert done.n_trees == 200
        assert any("every channel" in note for note in done.notes)
        ours = project.fit("main").predict_array(colours, axes="yxc", pixel_size=(0.5, 0.5))
        theirs = votes_in(done.path, rows_in(done.path, picture_of(project))).T.reshape(2, *SHAPE)
        np.testing.assert_allclose(theirs, ours, atol=2e-6)
        assert dict(open_ilp(done.path).lanes[0].raw.pixel_size) == {"y": 0.5, "x": 0.5}


@pytest.mark.parametrize(
    ("features", "told"),
    [
        ("gaussian:1um gaussian:1", "the same number of pixels along every axis"),
        ("gaussian:1/2d hessian:1/3d", "either in 2D or in 3D"),
        ("gaussian:0.1um/2d gaussian:1", "no sigma of 0.1 pixels"),
    ],
)
def test_what_ilastik_cannot_compute_is_told_and_left_out_with_the_forest(tmp_path, features, told):
    pixels, truth = two_tone((16, 30, 40))
    np.save(tmp_path / "stack.npy", pixels)
    with Project.create(tmp_path / "p.brushwork") as project:
        image = project.add_image(tmp_path / "stack.npy", axes="zyx", pixel_size=(2, 1, 1)).id
        project.add_task("main")
        strokes = strokes_on(truth)
        for value in (1, 2):
            project.paint("main", image, project.add_class("main", f"class {value}").id, np.argwhere(strokes == value))
        project.change_task("main", features=features)
        done = export_ilp(project, tmp_path / "out.ilp")
    assert done.n_trees == 0
    assert any(told in note for note in done.notes)
    assert any("forest was left out" in note for note in done.notes)
    (stage,) = open_ilp(done.path).stages
    assert (stage.features.n_chosen, stage.classifier.forest) == (1, None)


def test_images_are_linked_as_ilastik_opens_them(tmp_path):
    """Pictures have a channel there, TIFFs lose axes of length 1, arrays, HDF5 and N5 keep them."""
    grey = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
    write_image(as_image(grey), tmp_path / "grey.png")
    write_image(as_image(grey), tmp_path / "grey.tif")
    np.save(tmp_path / "thick.npy", grey[None, ..., None])
    with h5py.File(tmp_path / "film.h5", "w") as file:
        file["some/film"] = np.stack([grey, grey])
        file["some/film"].attrs["axistags"] = axistags("tyx")
    n5 = {"driver": "n5", "kvstore": {"driver": "file", "path": f"{tmp_path}/thick.n5/some/stack/"}, "create": True}
    ts.open(n5, dtype="uint8", shape=(1, *SHAPE[::-1], 1)).result()[0, ..., 0] = grey.T
    for name, axes, lane_axes, inside in (
        ("grey.png", None, "yxc", ""),
        ("grey.tif", None, "yx", ""),
        ("thick.npy", "zyxc", "zyxc", ""),
        ("film.h5", None, "tyx", "/some/film"),
        ("thick.n5", "zyxc", "zyxc", "/some/stack"),
    ):
        with Project.create(tmp_path / f"{name}.brushwork") as project:
            entry = project.add_image(tmp_path / name, axes=axes)
            project.add_task("main")
            project.add_class("main", "a")
            at = (1,) if entry.n_frames > 1 else (0,) if len(entry.shape) == 3 else ()
            project.paint("main", entry.id, 1, np.array([(*at, 3, 4)]))
            export_ilp(project, tmp_path / f"{name}.ilp")
        read = open_ilp(tmp_path / f"{name}.ilp")
        lane = read.lanes[0].raw
        assert (lane.axes, lane.paths) == (lane_axes, (name + inside,))
        labels = labels_on(open_dataset(read, lane), read.stages[0].labels[0])
        assert labels.coords[0, -2:].tolist() == [3, 4]
        with h5py.File(tmp_path / f"{name}.ilp") as file:
            block = file["PixelClassification/LabelSets/labels000/block0000"]
            assert (
                len(json.loads(block.attrs["axistags"])["axes"])
                == block.ndim
                == len(lane_axes) + ("c" not in lane_axes)
            )


def test_links_that_ilastik_would_not_follow_are_full_paths_or_data_inside(project, tmp_path):
    (tmp_path / "far").mkdir()
    done = export_ilp(project, tmp_path / "far/out.ilp")
    assert any("full path" in note for note in done.notes)
    assert open_ilp(done.path).lanes[0].raw.paths == (str(tmp_path / "cells.npy"),)
    linked = export_ilp(project, tmp_path / "abs.ilp", links="absolute").path
    assert open_ilp(linked).lanes[0].raw.paths == (str(tmp_path / "cells.npy"),)
    write_image(picture_of(project), tmp_path / "cells.ome.zarr")
    with Project.create(tmp_path / "z.brushwork") as other:
        other.add_image(tmp_path / "cells.ome.zarr")
        other.add_task("main")
        done = export_ilp(other, tmp_path / "z.ilp")
    assert any("was put into the project" in note for note in done.notes)
    assert open_ilp(done.path).lanes[0].raw.location == "embedded"


def test_a_damaged_image_is_told(project, tmp_path):
    np.save(tmp_path / "other.npy", two_tone(SHAPE, seed=1)[0])
    project.add_image(tmp_path / "other.npy")
    (tmp_path / "other.npy").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"other\.npy"):
        export_ilp(project, tmp_path / "out.ilp")
    (tmp_path / "other.npy").unlink()
    assert export_ilp(project, tmp_path / "out.ilp").n_images == 2


def test_painted_images_are_put_into_the_file(tmp_path):
    film = np.random.default_rng(0).integers(0, 2**16, (2, 3, 5, 20, 30)).astype(np.uint16)
    np.save(tmp_path / "film.npy", film)
    with Project.create(tmp_path / "p.brushwork") as project:
        entry = project.add_image(tmp_path / "film.npy", axes="tczyx")
        project.add_task("main")
        project.add_class("main", "a")
        project.paint("main", entry.id, 1, np.array([[1, 4, 19, 29]]))
        done = export_ilp(project, tmp_path / "out.ilp", links="embedded")
    (tmp_path / "film.npy").unlink()
    read = open_ilp(done.path)
    image = open_dataset(read, read.lanes[0].raw)
    assert (image.axes, image.dtype, image.pixel_size) == ("tzyxc", np.uint16, None)
    np.testing.assert_array_equal(image.source[:], np.moveaxis(film, 1, -1))
    assert labels_on(image, read.stages[0].labels[0]).coords.tolist() == [[1, 4, 19, 29]]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["yxc", "cyx", "tzyxc", "zyxc"]))
def test_blocks_hold_every_pixel_once(seed, axes):
    rng = np.random.default_rng(seed)
    mine = "".join(a for a in "tzyx" if a in axes)
    coords = np.unique(rng.integers(0, 2000, (40, len(mine))), axis=0)
    labels = IlpLabels(mine, coords, rng.integers(1, 4, len(coords)).astype(np.uint8))
    found = {}
    for start, block in label_blocks(labels, axes):
        assert block.size <= 512 * 512
        for at in np.argwhere(block):
            where = dict(zip(axes, at + start))
            key = tuple(int(where[a]) for a in mine)
            assert key not in found
            found[key] = block[tuple(at)]
    assert found == {tuple(at): k for at, k in zip(coords.tolist(), labels.classes)}


def test_a_name_of_another_kind_and_a_file_that_is_there_are_refused(project, tmp_path):
    with pytest.raises(InputError, match=r"NAME\.ilp"):
        export_ilp(project, tmp_path / "out.h5")
    with pytest.raises(InputError, match="known: relative"):
        export_ilp(project, tmp_path / "out.ilp", links="soft")
    (tmp_path / "out.ilp").write_text("mine")
    with pytest.raises(InputError, match="exists already"):
        export_ilp(project, tmp_path / "out.ilp")
    assert (tmp_path / "out.ilp").read_text() == "mine"


# ---------------------------------------------------------------- the layout of real projects


def layout(path):
    """{place: what lies there} of a file; numbers that count lanes, blocks, forests and trees become N."""
    found = {}

    def note(name, item):
        name = re.sub(r"(lane|labels|block|Forest|Tree_)\d+", r"\1N", name)
        name = re.sub(r"local_data/.*", "local_data/N", name)
        kind = "group"
        if isinstance(item, h5py.Dataset):
            is_text = h5py.check_string_dtype(item.dtype) is not None
            is_any = "local_data" in name or "block" in name
            kind = ("text" if is_text else str(item.dtype), "any" if is_any else item.ndim)
        found[name] = (kind, tuple(sorted(item.attrs)))

    with h5py.File(path) as file:
        file.visititems(note)
        texts = {name: file[name][()] for name in ("workflowName", "PixelClassification/ClassifierFactory")}
        texts |= {"type": file["PixelClassification/ClassifierForests/pickled_type"][()]}
    return found, texts


def test_the_layout_is_that_of_projects_of_ilastik_1_4(test_data, tmp_path):
    """Every place that ilastik writes is there, of its type and with its marks, and no others but the unit of pixel sizes."""
    real = test_data / "e1_ilastik_golden/api/PixelClass3D.ilp"
    inside = test_data / "e1_ilastik_golden/notebook/pc.ilp"
    if not real.exists() or not inside.exists():
        pytest.skip(f"no ilastik projects in {test_data}")
    for ilp, links in ((real, "relative"), (inside, "embedded")):
        with Project.open(import_ilp(ilp, tmp_path / f"{links}.brushwork").folder) as project:
            done = export_ilp(project, tmp_path / f"{links}.ilp", links=links)
        (theirs, their_texts), (ours, our_texts) = layout(ilp), layout(done.path)
        lately = {
            "currentApplet",
            *(f"Input Data/infos/laneN/Raw Data/{name}" for name in ("working_scale", "scale_locked")),
        }
        assert {name: kind for name, kind in ours.items() if name not in lately - theirs.keys()} == theirs
        factories = [texts["PixelClassification/ClassifierFactory"] for texts in (their_texts, our_texts)]
        assert len({re.sub(rb"num_forests\np13\nI\d+", b"", text) for text in factories}) == 1
        assert (their_texts["type"], their_texts["workflowName"]) == (our_texts["type"], our_texts["workflowName"])


def test_maps_have_ilastiks_names(test_data):
    found = sorted((test_data / "e1_ilastik_golden/api").glob("*.ilp"))
    if not found:
        pytest.skip(f"no ilastik projects in {test_data}")
    for ilp in found:
        with h5py.File(ilp) as file:
            if "PixelClassification/ClassifierForests" in file:
                names = [name.decode() for name in file["PixelClassification/ClassifierForests/feature_names"][:]]
                stage = open_ilp(ilp).stages[0]
                assert map_names(stage.features, stage.classifier.forest.n_maps) == names
