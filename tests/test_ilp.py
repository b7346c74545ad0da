"""ilastik's projects: what is read, what is found again, what is refused, and that the probabilities are ilastik's."""

import json
import os
import pickle
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorstore as ts
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import safe_open

from brushwork import jobs
from brushwork.blocks import Region, whole
from brushwork.classifier import Classifier
from brushwork.cli.ilp import info_ilp
from brushwork.errors import InputError
from brushwork.features import FeatureSet
from brushwork.image import as_image
from brushwork.interchange.ilp import open_ilp
from brushwork.interchange.ilp_images import LeftOut, labels_on, locate, open_dataset
from brushwork.interchange.ilp_import import import_ilp
from brushwork.interchange.ilp_models import classifier_of, examples_of, feature_set, ilp_features, tell_dialect
from brushwork.interchange.vigra_forest import VigraTree
from brushwork.io import open_image, write_image
from brushwork.project import Project
from ilp_files import IDS, axistags, random_forests, walked, write_forests, write_ilp

OLD = "ilastik<1.3"
CHOSEN = {IDS[0]: (0.3, 1.0), IDS[4]: (1.6,)}  # 4 maps in 2D
LABELS = np.array([[0, 1, 1], [2, 0, 0]], np.uint8)
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 255, (20, 30)).astype(np.uint8)


def project_file(tmp_path: Path, **changes) -> Path:
    np.save(tmp_path / "image.npy", PIXELS)
    asked = {"blocks": (((4, 5), LABELS),), "label_axes": "yx", "chosen": CHOSEN, "in_2d": True}
    return write_ilp(tmp_path / "p.ilp", **asked | {"forests": random_forests(0, (2, 3), 4, 2)} | changes)


# -- reading -----------------------------------------------------------------------------------------------------------


def test_a_project_is_read_into_values(tmp_path):
    project = open_ilp(project_file(tmp_path))
    (stage,) = project.stages
    assert (project.version, project.workflow, project.problems) == ("1.4.0", "Pixel Classification", ())
    assert [(c.name, c.color, c.map_color) for c in stage.classes] == [
        ("in", "#ff0007", "#00ff07"), ("out", "#fe0107", "#01fe07"),
    ]  # fmt: skip
    (lane,) = project.lanes
    assert (lane.raw.paths, lane.raw.axes, lane.raw.shape, lane.mask) == (("image.npy",), "yx", (20, 30), None)
    assert stage.labels[0].coords.tolist() == [[4, 6], [4, 7], [5, 5]]
    assert stage.labels[0].classes.tolist() == [1, 1, 2]
    assert stage.counts == (2, 1)
    assert stage.features.n_chosen == 3
    assert stage.classifier.forest.forests.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("version", "workflow", "axes", "shape", "written", "start", "label_axes"),
    [
        ("1.2.2", "Pixel Classification", "cyx", None, "yxc", (4, 5, 0), None),  # channels were moved to the end
        ("1.3.3post1", "Pixel Classification", "zcyx", (3, 2, 20, 30), "zyxc", (1, 4, 5, 0), None),
        ("1.3.3post2", "Pixel Classification", "zcyx", (3, 2, 20, 30), "zcyx", (1, 0, 4, 5), None),
        ("1.3.3post2", "Pixel Classification", "zyx", (3, 20, 30), "zyxc", (1, 4, 5, 0), None),
        ("1.3.3post1", "Object Classification (from pixel classification)", "tyxc", (5, 20, 30, 1), "txyzc",
         (2, 5, 4, 0, 0), None),
        ("1.3.3", "Object Classification (from pixel classification)", "tzyxc", (5, 30, 30, 30, 1), "txyzc",
         (2, 5, 4, 9, 0), None),  # as tzyxc they would fit as well
        ("1.4.1", "Pixel Classification", "xyc", (30, 20, 1), "xyc", (5, 4, 0), "xyc"),
    ],
)  # fmt: skip
def test_labels_of_every_age_land_where_they_were_painted(
    tmp_path, version, workflow, axes, shape, written, start, label_axes
):
    block = LABELS
    present = [a for a in written if a in "yx"]
    block = block if present == ["y", "x"] else block.T
    block = block.reshape([dict(zip(present, block.shape)).get(a, 1) for a in written])
    path = write_ilp(
        tmp_path / "p.ilp", version=version, workflow=workflow, axes=axes, shape=shape, blocks=((start, block),),
        label_axes=label_axes,
    )  # fmt: skip
    found = open_ilp(path).stages[0].labels[0]
    at = {a: found.coords[:, i].tolist() for i, a in enumerate(found.axes)}
    order = np.lexsort([at["x"], at["y"]])
    assert np.array(at["y"])[order].tolist() == [4, 4, 5]
    assert np.array(at["x"])[order].tolist() == [6, 7, 5]
    assert found.classes[order].tolist() == [1, 1, 2]
    for axis, n in zip(written, start):
        if axis in "tz":
            assert set(at[axis]) == {n}


def test_where_blocks_overlap_the_later_one_counts(tmp_path):
    path = write_ilp(tmp_path / "p.ilp", blocks=(((4, 5), LABELS), ((4, 6), np.array([[2]]))), label_axes="yx")
    assert open_ilp(path).stages[0].counts == (1, 2)


def test_a_project_that_may_not_be_read_is_told(tmp_path, monkeypatch):
    path = write_ilp(tmp_path / "p.ilp")

    def refused(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refused)
    with pytest.raises(InputError, match=r"p\.ilp cannot be read: Permission denied"):
        open_ilp(path)


def test_lists_marked_empty_are_empty_and_classes_of_labels_get_names(tmp_path):
    path = write_ilp(tmp_path / "p.ilp", names=("a",), blocks=(((4, 5), LABELS),), label_axes="yx")
    with h5py.File(path, "a") as file:
        del file["PixelClassification/LabelNames"]
        file["PixelClassification/LabelNames"] = np.array([1e-300])
        file["PixelClassification/LabelNames"].attrs["isEmpty"] = True
    assert [c.name for c in open_ilp(path).stages[0].classes] == ["Label 1", "Label 2"]


def test_other_workflows_say_what_they_are(tmp_path):
    path = write_ilp(tmp_path / "p.ilp", workflow="Carving")
    with h5py.File(path, "a") as file:
        del file["PixelClassification"]
    project = open_ilp(path)
    assert (project.stages, len(project.lanes)) == ((), 1)
    with pytest.raises(InputError, match="workflow 'Carving', which has no pixel classification"):
        classifier_of(project)


def test_pickled_classifiers_are_named_and_left_alone(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = project_file(tmp_path, forests=None)
    with h5py.File(path, "a") as file:
        group = file.create_group("PixelClassification/ClassifierForests")
        group["pickled_classifier"] = np.void(pickle.dumps(Trap()))
        group["pickled_type"] = np.bytes_(
            b"clazyflow.classifiers.sklearnLazyflowClassifier\nSklearnLazyflowClassifier\np0\n."
        )
        file["PixelClassification/ClassifierFactory"] = np.void(
            b"csklearn.neighbors\nKNeighborsClassifier\np1\n" + b"\0"
        )
    project = open_ilp(path)
    assert "KNeighborsClassifier, stored as a pickle" in project.problems[0]
    with pytest.raises(InputError, match="train one on its labels"):
        classifier_of(project)
    assert not (tmp_path / "ran").exists()


def test_features_go_to_ilastiks_form_and_back():
    features = FeatureSet.parse("gaussian:0.3,2.5/3d hessian:1/2d structure-tensor:1/3d").resolved(
        as_image(np.zeros((40, 40, 40)))
    )
    selected = ilp_features(features, ndim=3)
    assert set(feature_set(selected, 3, 1).features) == set(features.features)
    with pytest.raises(InputError, match="micrometres"):
        ilp_features(FeatureSet.parse("gaussian:2um"))


# -- images ------------------------------------------------------------------------------------------------------------


def test_images_are_found_where_they_moved_and_only_with_the_right_shape(tmp_path):
    home, data = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir(), (data / "deep").mkdir(parents=True)
    project = open_ilp(write_ilp(home / "p.ilp", file_path="/gone/plates/image.npy"))
    raw = project.lanes[0].raw
    assert locate(project, raw) is None
    with pytest.raises(InputError, match="say in which folder the data are"):
        open_dataset(project, raw)
    np.save(data / "deep" / "image.npy", PIXELS)
    assert open_dataset(project, raw, data).shape == (20, 30)
    np.save(home / "image.npy", PIXELS[:-1])
    with pytest.raises(InputError, match="it is another image"):
        open_dataset(project, raw)
    assert open_dataset(project, raw, data).uri == str(data / "deep" / "image.npy")  # the one next to it does not fit
    (home / "plates").mkdir()
    np.save(home / "plates" / "image.npy", PIXELS)
    assert locate(project, raw).uris == (str(home / "plates" / "image.npy"),)


def without_shape(tmp_path: Path, name: str, lane: str, forest_maps: int, **changes) -> Path:
    """A project that stores no shape, and links to `name`; its features are 4 maps per channel in 2D, 5 in 3D."""
    given = {"axes": lane, "shape": None, "chosen": CHOSEN, "version": "1.2.2", "file_path": name}
    return write_ilp(tmp_path / "old.ilp", **given | {"forests": random_forests(0, (2,), forest_maps, 2)} | changes)


@pytest.mark.parametrize(
    ("lane", "n_maps", "shape", "refused"),
    [
        ("yxc", 12, (20, 30, 3), ""),
        ("yxc", 12, (20, 30), "3 channel"),
        ("yxc", 12, (20, 30, 2), "3 channel"),
        ("yxc", 4, (20, 30), ""),
        ("zyxc", 5, (6, 20, 30), ""),
        ("zyxc", 5, (20, 30), "without 'z'"),
        ("tyxc", 4, (6, 20, 30, 1), ""),
        ("tyxc", 4, (20, 30), "without 't'"),
        ("yxc", 7, (20, 30, 3), ""),  # a forest of other features tells nothing
        ("yx", 4, (5, 30), "painted on up to y = 5"),
    ],
)
def test_where_no_shape_is_stored_forest_axes_and_labels_tell_the_image(tmp_path, lane, n_maps, shape, refused):
    blocks = (((4, 5), LABELS),) if lane == "yx" else ()
    project = open_ilp(without_shape(tmp_path, "image.npy", lane, n_maps, blocks=blocks, label_axes="yx"))
    raw = project.lanes[0].raw
    np.save(tmp_path / "image.npy", np.zeros(shape, np.uint8))
    if not refused:
        assert np.prod(open_dataset(project, raw).source.shape) == np.prod(shape)
        return
    with pytest.raises(InputError, match=f"{refused}.*it is another image"):
        open_dataset(project, raw)
    (tmp_path / "data/far").mkdir(parents=True)
    np.save(tmp_path / "data/image.npy", np.zeros(shape, np.uint8))
    right = tmp_path / "data/far/image.npy"
    np.save(
        right, np.zeros({"yx": (20, 30), "yxc": (20, 30, 3), "zyxc": (6, 20, 30)}.get(lane, (6, 20, 30, 1)), np.uint8)
    )
    assert open_dataset(project, raw, tmp_path / "data").uri == str(right)
    assert locate(project, raw, tmp_path / "data").uris == (str(right),)


def test_forests_do_not_tell_of_masks(tmp_path):
    path = without_shape(tmp_path, "image.npy", "yxc", 12)
    with h5py.File(path, "a") as file:
        del file["Input Data/infos/lane0000/Prediction Mask"]
        file.copy("Input Data/infos/lane0000/Raw Data", "Input Data/infos/lane0000/Prediction Mask")
    np.save(tmp_path / "image.npy", PIXELS)
    project = open_ilp(path)
    assert open_dataset(project, project.lanes[0].mask).shape == (20, 30)
    with pytest.raises(InputError, match="it is another image"):
        open_dataset(project, project.lanes[0].raw)


def test_devices_and_pipes_are_no_images(tmp_path):
    os.mkfifo(tmp_path / "pipe.npy")
    (tmp_path / "folder.npy").mkdir()
    for n, name in enumerate(("/dev/zero", "/dev/zero/data", "pipe.npy", "pipe*.npy", "folder.npy")):
        project = open_ilp(write_ilp(tmp_path / f"{n}.ilp", file_path=name))
        assert locate(project, project.lanes[0].raw) is None
        with pytest.raises(InputError, match="was not found"):
            open_dataset(project, project.lanes[0].raw, tmp_path)


@pytest.mark.parametrize("name", ["a b.ome.zarr", "12:30;1.npy", "a.npy;b.npy"])
def test_names_that_hold_odd_letters_and_addresses_of_files_are_opened(tmp_path, name):
    path = tmp_path / name
    write_image(as_image(PIXELS), path)
    for n, stored in enumerate((path.as_uri(), str(path), name)):
        project = open_ilp(write_ilp(tmp_path / f"{n}.ilp", file_path=stored))
        image = open_dataset(project, project.lanes[0].raw)
        np.testing.assert_array_equal(image.read(whole((20, 30)))[0], PIXELS)
        assert locate(project, project.lanes[0].raw).how == "as stored"


@pytest.mark.parametrize("sigma", [np.nan, np.inf, 1e6, -1.0])
def test_sigmas_that_cannot_be_are_told_and_the_forest_is_left_out(tmp_path, sigma):
    path = project_file(tmp_path)
    with h5py.File(path, "a") as file:
        file["FeatureSelections/Scales"][0] = sigma
    project = open_ilp(path)
    assert [re.findall("sigma|its features", problem) for problem in project.problems] == [["sigma"], ["its features"]]
    assert project.stages[0].classifier.forest is None
    with pytest.raises(InputError, match="its features cannot be computed"):
        classifier_of(project)


@pytest.mark.parametrize("stored", ["C:\\data\\image.h5\\vol", "./sub/image.h5/vol", "image.h5/vol"])
def test_paths_of_other_systems_and_inside_files(tmp_path, stored):
    with h5py.File(tmp_path / "image.h5", "w") as file:
        file["vol"], file["other"] = PIXELS, PIXELS
    project = open_ilp(write_ilp(tmp_path / "p.ilp", file_path=stored))
    np.testing.assert_array_equal(open_dataset(project, project.lanes[0].raw).source[...], PIXELS)


STACKS = [
    "plane_*.npy", "plane_1.npy:plane_10.npy:plane_9.npy", "plane_1.npy;plane_10.npy;plane_9.npy",
    "all.h5/plane_*", "all.h5/plane_1:all.h5/plane_10:all.h5/plane_9", "s_*.h5/data", "s_1.h5/data;s_10.h5/data;s_9.h5/data",
    "all.n5/plane_*", "all.npz/plane_*",
]  # fmt: skip


@pytest.mark.parametrize("stored", STACKS)
def test_stacks_are_opened_in_ilastiks_order(tmp_path, stored):
    planes = {i: PIXELS + i for i in (1, 9, 10)}
    n5 = {"driver": "n5", "dtype": "uint8", "create": True}
    for i, plane in planes.items():
        np.save(tmp_path / f"plane_{i}.npy", plane)
        with h5py.File(tmp_path / "all.h5", "a") as every, h5py.File(tmp_path / f"s_{i}.h5", "w") as one:
            every[f"plane_{i}"] = one["data"] = plane
        kvstore = {"driver": "file", "path": f"{tmp_path}/all.n5/plane_{i}/"}
        ts.open(n5 | {"kvstore": kvstore}, shape=plane.shape[::-1]).result().T[...] = plane
    np.savez(tmp_path / "all.npz", **{f"plane_{i}": plane for i, plane in planes.items()})
    project = open_ilp(write_ilp(tmp_path / "p.ilp", file_path=stored, axes="yxc", shape=(20, 30, 3)))
    image = open_dataset(project, project.lanes[0].raw)
    np.testing.assert_array_equal(image.read(whole((20, 30))), [planes[i] for i in (1, 10, 9)])  # sorted as text


@pytest.mark.parametrize("shape", [(8, 20, 30), None])
def test_stacks_of_volumes_are_joined_along_the_axis_that_they_have(tmp_path, shape):
    volumes = RNG.integers(0, 255, (2, 4, 20, 30)).astype(np.uint8)
    for i, volume in enumerate(volumes):
        np.save(tmp_path / f"v_{i}.npy", volume)
    project = open_ilp(write_ilp(tmp_path / "p.ilp", file_path="v_0.npy:v_1.npy", axes="zyx", shape=shape))
    image = open_dataset(project, project.lanes[0].raw)
    np.testing.assert_array_equal(image.read(whole((8, 20, 30)))[0], volumes.reshape(8, 20, 30))


def part_file(path: Path, start, stop, **changes) -> Path:
    """A project whose lane is a part of an image, along the axes of the lane."""
    write_ilp(path, **changes)
    with h5py.File(path, "a") as file:
        file["Input Data/infos/lane0000/Raw Data/subvolume_roi"] = np.array([start, stop])
    return path


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_part_of_a_file_is_opened_as_that_part_and_labels_begin_at_its_start(tmp_path, data):
    axes = data.draw(st.sampled_from(["yx", "zyx", "yxc", "cyx", "tzyxc"]))
    pixels = np.arange(np.prod(full := (5, 6, 7, 4, 3)[: len(axes)])).reshape(full)
    np.save(tmp_path / "image.npy", pixels)
    start = [data.draw(st.integers(0, n - 1)) for n in full]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, full)]
    extent = tuple(np.subtract(stop, start).tolist())
    stored = data.draw(st.sampled_from([None, extent]))  # as versions before and after 1.3.2 noted it
    corner = np.ones([1 if a == "c" else n for a, n in zip(axes, extent)], np.uint8)
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.ilp"
    blocks = (((0,) * len(axes), corner),)
    part_file(path, start, stop, axes=axes, shape=stored, blocks=blocks, label_axes=axes)
    project = open_ilp(path)
    image = open_dataset(project, project.lanes[0].raw)
    expected = pixels[tuple(map(slice, start, stop))]
    flat = axes.replace("z", "") if "z" in axes and extent[axes.index("z")] == 1 else axes
    expected = as_image(expected.reshape([n for a, n in zip(axes, extent) if a in flat]), axes=flat)
    assert (image.axes, image.shape, image.n_frames) == (flat, expected.shape, expected.n_frames)
    for t in range(image.n_frames):
        np.testing.assert_array_equal(image.stored(whole(image.shape, t)), expected.stored(whole(image.shape, t)))
    assert len(labels_on(image, project.stages[0].labels[0])) == corner.size


def test_a_part_that_ilastik_notes_and_does_not_cut_out_is_left_whole(tmp_path):
    np.save(tmp_path / "image.npy", PIXELS)
    project = open_ilp(part_file(tmp_path / "p.ilp", (2, 3), (10, 12)))  # with the shape of all
    assert open_dataset(project, project.lanes[0].raw).shape == PIXELS.shape
    inside = open_ilp(part_file(tmp_path / "e.ilp", (2, 3), (10, 12), embedded=PIXELS[2:10, 3:12], shape=(8, 9)))
    assert open_dataset(inside, inside.lanes[0].raw).shape == (8, 9)


def test_a_part_beyond_the_image_is_told_and_odd_parts_are_refused(tmp_path):
    np.save(tmp_path / "image.npy", PIXELS)
    project = open_ilp(part_file(tmp_path / "p.ilp", (2, 3), (10, 31), shape=None))
    with pytest.raises(InputError, match="has y = 2 to 9, x = 3 to 30: it is another image"):
        open_dataset(project, project.lanes[0].raw)
    for n, (start, stop) in enumerate([((2, 3), (2, 9)), ((-1, 3), (2, 9)), ((2, 3, 4), (3, 4, 5)), ((9, 3), (2, 9))]):
        with pytest.raises(InputError, match="says that it is the part"):
            open_ilp(part_file(tmp_path / f"{n}.ilp", start, stop, shape=None))


def test_a_part_is_written_into_the_project_that_is_made_of_it(tmp_path):
    np.save(tmp_path / "image.npy", PIXELS)
    label = (((3, 4), LABELS),)
    given = {"shape": None, "blocks": label, "label_axes": "yx", "chosen": CHOSEN, "version": "1.2.2"}
    done = import_ilp(part_file(tmp_path / "p.ilp", (2, 3), (10, 12), **given), tmp_path / "p.brushwork")
    with Project.open(done.folder) as ours:
        (entry,) = ours.document.images
        assert entry.path.startswith("images/")
        np.testing.assert_array_equal(ours.image(entry.id).stored(whole((8, 9)))[0], PIXELS[2:10, 3:12])
        assert sorted(tuple(c) for s in ours.document.tasks[0].strokes for c in s.coords) == [(3, 5), (3, 6), (4, 4)]
    assert [note for note in done.notes if "check that it is the same image" in note]


@pytest.mark.parametrize(("shape", "told"), [((20, 30), False), (None, True)])
def test_where_nothing_tells_the_size_someone_has_to_look(tmp_path, shape, told, capsys):
    given = {"version": "1.2.2", "shape": shape, "label_axes": "yx", "forests": None}
    path = project_file(tmp_path, **given)
    words = "nothing in the project tells the size of"
    done = import_ilp(path, tmp_path / "p.brushwork")
    assert any(words in note for note in done.notes) == told
    info_ilp(path)
    assert (words in " ".join(capsys.readouterr().out.split())) == told


def test_embedded_data_are_read_from_the_project(tmp_path):
    path = project_file(tmp_path, axes="zyxc", shape=(1, 20, 30, 1), embedded=PIXELS[None, ..., None], blocks=())
    project = open_ilp(path)
    image = open_dataset(project, project.lanes[0].raw)
    assert (image.shape, image.axes) == ((20, 30), "yxc")  # a depth of one section is 2D, as in ilastik
    np.testing.assert_array_equal(image.read(whole(image.shape))[0], PIXELS)


def test_labels_outside_the_image_are_refused(tmp_path):
    labels = open_ilp(project_file(tmp_path, shape=None)).stages[0].labels[0]
    assert labels_on(as_image(PIXELS), labels).classes.tolist() == [1, 1, 2]
    with pytest.raises(InputError, match="it is another image"):
        labels_on(as_image(PIXELS[:5]), labels)


def test_masks_are_turned_round_and_their_channels_joined():
    mask = np.zeros((4, 4, 2))
    mask[0, 0, 1] = mask[1, 1, 0] = 3
    left_out = LeftOut(as_image(mask, axes="yxc")).read(Region((0, 0), (2, 2)))
    assert left_out.tolist() == [[[0, 1], [1, 0]]]


# -- classifiers -------------------------------------------------------------------------------------------------------


def test_a_classifier_gives_the_votes_of_the_stored_forest_and_survives_its_file(tmp_path):
    forests = random_forests(0, (2, 3), 4, 2)
    model = classifier_of(open_ilp(project_file(tmp_path, forests=forests)))
    image = as_image(PIXELS)
    maps = model.features.at(image, model.block(image, whole(image.shape)))
    found = model.predict_array(PIXELS)
    np.testing.assert_array_equal(found.reshape(2, -1).T, walked(forests, maps.reshape(4, -1).T))
    assert (model.classes, model.colors, model.class_weights) == (("in", "out"), ("#00ff07", "#01fe07"), ())
    assert model.provenance["pixels"] == {"in": 2, "out": 1}
    assert model.provenance["strokes"] == {"in": 1, "out": 1}
    model.save(tmp_path / "m.bwm")
    np.testing.assert_array_equal(Classifier.load(tmp_path / "m.bwm").predict_array(PIXELS), found)


def autocontext(tmp_path: Path) -> Path:
    path = project_file(tmp_path, workflow="AutocontextTwoStage")
    second = random_forests(1, (4,), 9, 3)  # 3 maps on raw data and two probabilities
    chosen = {IDS[0]: (0.3, 1.0), IDS[1]: (1.6,)}
    return write_ilp(path, suffix="01", chosen=chosen, in_2d=True, forests=second, names=("a", "b", "c"))


def version_of(model: Classifier, path: Path) -> int:
    model.save(path)
    with safe_open(path, "numpy") as file:
        return json.loads(file.metadata()["brushwork-model"])["version"]


def test_jobs_predict_both_stages_and_leave_out_what_a_mask_does(tmp_path):
    model = classifier_of(open_ilp(autocontext(tmp_path)))
    mask = np.ones_like(PIXELS)
    mask[:, :9] = 0
    jobs.predict(model, as_image(PIXELS), tmp_path / "out.ome.zarr", dtype="float32", ignore=LeftOut(as_image(mask)))
    found = open_image(tmp_path / "out.ome.zarr").read(whole(PIXELS.shape))
    np.testing.assert_array_equal(found, model.predict_array(PIXELS) * (mask > 0))
    assert jobs.model_hash(model) != jobs.model_hash(replace(model, earlier=None))


def test_the_second_stage_of_autocontext_sees_the_first_as_whole_numbers(tmp_path):
    project = open_ilp(autocontext(tmp_path))
    first, second = classifier_of(project, stage=1), classifier_of(project)
    assert (first.earlier, second.n_classes, len(second.map_names)) == (None, 3, 9)
    seen = np.concatenate([PIXELS[None], np.trunc(255 * first.predict_array(PIXELS))])
    image = as_image(seen.astype(np.float32), axes="cyx")
    maps = second.features.at(image, second.block(image, whole(image.shape)))
    expected = second.estimator.predict(maps.reshape(9, -1)).reshape(3, 20, 30)
    np.testing.assert_array_equal(second.predict_array(PIXELS), expected)
    second.save(tmp_path / "m.bwm")
    assert [version_of(model, tmp_path / "v.bwm") for model in (first, second)] == [1, 2]
    np.testing.assert_array_equal(Classifier.load(tmp_path / "m.bwm").predict_array(PIXELS), expected)


def test_blocks_equal_whole_in_autocontext(tmp_path):
    model, image = classifier_of(open_ilp(autocontext(tmp_path))), as_image(PIXELS)
    expected = model.predict_array(PIXELS)
    part = Region((3, 7), (11, 20))
    np.testing.assert_array_equal(
        model.predict_block(image, model.block(image, part)), expected[(slice(None), *part.slices)]
    )


def test_the_structure_tensor_is_that_of_the_version_unless_told(tmp_path):
    def dialects(path: Path, **told) -> set[str]:
        features = classifier_of(open_ilp(path), **told).features.features
        return {f.dialect for f in features if f.family == "structure-tensor"}

    for name, version, expected in (("a", "1.2.2rc4", OLD), ("b", "1.3.0", "")):
        (tmp_path / name).mkdir()
        path = project_file(tmp_path / name, version=version, forests=random_forests(0, (2,), 4, 2))
        assert dialects(path) == {expected}
        assert dialects(path, dialect=OLD) == {OLD}
        assert dialects(path, dialect="") == {""}


@pytest.mark.parametrize("dialect", ["", OLD])
def test_thresholds_tell_how_the_structure_tensor_was_computed(tmp_path, dialect):
    image = as_image(RNG.integers(0, 255, (40, 40)).astype(np.uint8))
    painted = np.zeros((40, 40), np.uint8)
    painted[3:37:4, 3:37:3] = 1
    painted[5:37:4, 4:37:3] = 2
    path = write_ilp(
        tmp_path / "p.ilp", shape=(40, 40), blocks=(((0, 0), painted),), label_axes="yx", chosen={IDS[4]: (1.0,)}, in_2d=True,
        forests=random_forests(0, (1,), 2, 2),
    )  # fmt: skip
    project = open_ilp(path)
    assert tell_dialect(project, examples_of(project, [image])) is None  # random thresholds tell nothing
    features = feature_set(project.stages[0].features, 2, 1, dialect=dialect)
    maps = features.at(image, features.block(image, whole(image.shape)))
    trees = []
    for k in range(12):
        values = np.unique(maps[k % 2][painted > 0])
        threshold = (float(values[20 + 9 * k]) + float(values[21 + 9 * k])) / 2
        topology = np.array([2, 2, 0, 0, 7, 9, k % 2, 0x40000000, 2, 0x40000000, 5], np.int32)
        trees.append(VigraTree(topology, np.array([1, threshold, 1, 1, 0, 1, 0, 1.0])))
    with h5py.File(path, "a") as file:
        del file["PixelClassification/ClassifierForests"]
        write_forests(file.create_group("PixelClassification/ClassifierForests"), [trees])
    project = open_ilp(path)
    assert tell_dialect(project, examples_of(project, [image])) == dialect


# -- files that mean no good -------------------------------------------------------------------------------------------


def spoiled(tmp_path: Path, change) -> Path:
    path = project_file(tmp_path)
    with h5py.File(path, "a") as file:
        change(file)
    return path


def replace_with(name: str, **dataset):
    def change(file):
        marks = dict(file[name].attrs)
        del file[name]
        file.create_dataset(name, **dataset).attrs.update(marks)

    return change


def linked(name: str, link):
    def change(file):
        del file[name]
        file[name] = link

    return change


def marked(text: str):
    def change(file):
        file["PixelClassification/LabelSets/labels000/block0000"].attrs["blockSlice"] = text

    return change


def huge_labels(shape, maxshape, chunks):
    def change(file):
        del file[BLOCK], file["Input Data/infos/lane0000/Raw Data/shape"]
        file.create_dataset(BLOCK, shape, "u1", maxshape=maxshape, chunks=chunks, compression="gzip")
        file[BLOCK].attrs["blockSlice"] = f"[0:{shape[0]},0:{shape[1]}]"
        file[BLOCK].attrs["axistags"] = axistags("yx")

    return change


def outside(file):
    del file["PixelClassification/LabelNames"]
    storage = [("/etc/hostname", 0, 16)]
    file.create_dataset("PixelClassification/LabelNames", (2,), "S8", external=storage)


def virtual(file):
    layout = h5py.VirtualLayout((2, 3), "u1")
    layout[...] = h5py.VirtualSource("/etc/passwd", "x", shape=(2, 3))
    del file["PixelClassification/LabelSets/labels000/block0000"]
    file.create_virtual_dataset("PixelClassification/LabelSets/labels000/block0000", layout)


FOREST = "PixelClassification/ClassifierForests/Forest0000"
BLOCK = "PixelClassification/LabelSets/labels000/block0000"
HUGE = (1 << 20, 1 << 20)
SPOILED = {
    "a soft link in a circle": linked("PixelClassification", h5py.SoftLink("/PixelClassification")),
    "a link out of the file": linked("PixelClassification/LabelSets", h5py.ExternalLink("/etc/passwd", "/")),
    "labels that claim to be huge": huge_labels(HUGE, HUGE, (1024, 1024)),
    "a matrix that claims to be huge": replace_with("FeatureSelections/Scales", shape=HUGE, dtype="f8", chunks=(64, 64)),
    "a chunk that claims to be huge": huge_labels((2, 3), (None, None), (1 << 15, 1 << 16)),
    "labels that are fractions": replace_with(BLOCK, data=np.ones((2, 3))),
    "labels that are texts": replace_with(BLOCK, data=np.full((2, 3), b"a")),
    "names kept in another file": outside,
    "labels kept in another file": virtual,
    "a group where a list belongs": linked("PixelClassification/LabelNames", h5py.SoftLink("/")),
    "a block that says it is elsewhere": marked("[0:1,0:1]"),
    "a block that says nonsense": marked("[__import__('os')]"),
    "a block outside its image": marked("[19:21,5:8]"),
    "unknown axes": replace_with("Input Data/infos/lane0000/Raw Data/axistags", data=axistags("yq")),
    "axes that are no JSON": replace_with("Input Data/infos/lane0000/Raw Data/axistags", data="[" * 100_000),
    "axes that do not fit the shape": replace_with("Input Data/infos/lane0000/Raw Data/shape", data=[1, 2, 3]),
    "an unknown filter": replace_with("FeatureSelections/FeatureIds", data=np.array([b"Nothing"] * 6)),
    "a matrix of another shape": replace_with("FeatureSelections/SelectionMatrix", data=np.ones((2, 2), bool)),
    "a tree in a circle": replace_with(f"{FOREST}/Tree_00/topology", data=np.array([4, 2, 0, 0, 2, 2, 0], np.int32)),
    "a tree that leads out": replace_with(f"{FOREST}/Tree_00/topology", data=np.array([4, 2, 0, 0, 90, 91, 0], np.int32)),
    "a tree of parameters elsewhere": replace_with(f"{FOREST}/Tree_00/parameters", data=np.zeros(1)),
    "a tree that asks for other maps": replace_with(
        f"{FOREST}/Tree_00/topology", data=np.array([4, 2, 0, 0, 7, 9, 9, 0x40000000, 0, 0x40000000, 0], np.int32)
    ),
    "a number of classes that is none": replace_with(f"{FOREST}/_ext_param/class_count_", data=[np.nan]),
    "labels of no class": replace_with("PixelClassification/ClassifierForests/known_labels", data=[0, 9]),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILED)
def test_spoiled_files_are_refused_with_one_sentence(tmp_path, name):
    path = spoiled(tmp_path, SPOILED[name])
    with pytest.raises(InputError) as refused:
        open_ilp(path)
    assert str(path) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_that_are_no_projects_are_refused(tmp_path):
    whole_file = project_file(tmp_path).read_bytes()
    for n, content in enumerate((b"", b"text", whole_file[: len(whole_file) // 2], whole_file[:100])):
        path = tmp_path / f"{n}.ilp"
        path.write_bytes(content)
        with pytest.raises(InputError):
            open_ilp(path)
    with h5py.File(tmp_path / "other.ilp", "w") as file:
        file["x"] = 1
    with pytest.raises(InputError, match="no ilastik project"):
        open_ilp(tmp_path / "other.ilp")
    with pytest.raises(InputError, match="does not exist"):
        open_ilp(tmp_path / "absent.ilp")


def test_texts_that_claim_to_be_longer_than_the_file_are_refused_before_room_is_made(tmp_path):
    path = project_file(tmp_path)
    with h5py.File(path) as file:
        at = file["Input Data/infos/lane0000/Raw Data/nickname"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[at : at + 4] = b"\xff\xff\xff\xf0"
    path.write_bytes(content)
    with pytest.raises(InputError, match="longer than any text"):
        open_ilp(path)


def test_files_whose_numbers_are_of_other_sizes_are_refused(tmp_path):
    settings = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    settings.set_sizes(4, 4)
    path = tmp_path / "p.ilp"
    h5py.h5f.create(bytes(path), fcpl=settings).close()
    write_ilp(path)
    with pytest.raises(InputError, match="numbers are of other sizes"):
        open_ilp(path)


@pytest.fixture(scope="module")
def whole_project(tmp_path_factory) -> Path:
    return project_file(tmp_path_factory.mktemp("whole"))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    changes=st.lists(
        st.tuples(
            st.floats(0, 1, exclude_max=True), st.sampled_from([b"\0", b"\xff" * 4, b"\0" * 8, b"\x01", b"\x7f\xff"])
        ),
        min_size=1,
        max_size=4,
    ),
    kept=st.sampled_from([1.0, 1.0, 1.0, 0.9, 0.5]),
)
def test_damaged_bytes_open_or_are_refused(tmp_path, whole_project, changes, kept):
    content = bytearray(whole_project.read_bytes())
    for where, written in changes:
        at = int(where * (len(content) - 8))
        content[at : at + len(written)] = written
    path = tmp_path / "damaged.ilp"
    path.write_bytes(content[: int(kept * len(content))])
    with suppress(InputError):
        open_ilp(path)


# -- real projects -----------------------------------------------------------------------------------------------------


def real_projects(test_data: Path) -> list[Path]:
    return sorted(
        p for folder in ("e1_ilastik_golden", "e2_ilastik_versions") for p in (test_data / folder).rglob("*.ilp")
    )


def directly_read(group, axes: str) -> dict[str, np.ndarray]:
    """Coordinates by axis letter and classes ("label") of a lane's blocks with these axes, by h5py alone."""
    found = []
    for block in group.values():
        start = [int(n) for n in re.findall(r"(\d+):", block.attrs["blockSlice"])]
        at = np.argwhere(block[...])
        found.append(np.c_[at + start, block[...][tuple(at.T)]])
    table = np.concatenate(found) if found else np.zeros((0, len(axes) + 1), int)
    return dict(zip([*axes, "label"], table.T))


def stored_axes(file, name: str, lane_axes: str) -> str:
    """What is known of the order of axes in the real projects."""
    if name == "pc-oc-133.ilp":
        return "txyzc"
    if file["ilastikVersion"][()].startswith((b"1.4", b"1.3.3post2")) and "c" in lane_axes:
        return lane_axes
    return lane_axes.replace("c", "") + "c"


def test_every_real_project_opens_with_all_its_labels_or_is_refused(test_data):
    n_opened, n_painted, refused = 0, 0, []
    for path in real_projects(test_data):
        try:
            project = open_ilp(path)
        except InputError as error:
            refused.append((path.name, "before ilastik 1.0" in str(error)))
            continue
        n_opened += 1
        assert project.stages or "no pixel classification" in project.problems[0]
        with h5py.File(path) as file:
            for suffix, stage in zip(("", "01"), project.stages):
                for number, (lane, labels) in enumerate(zip(project.lanes, stage.labels)):
                    group = file[f"PixelClassification{suffix}/LabelSets/labels{number:03d}"]
                    stored = directly_read(group, stored_axes(file, path.name, lane.raw.axes))
                    assert len(stored["label"]) == len(labels)
                    if not len(labels):
                        continue
                    order = np.lexsort([stored[a] for a in reversed(labels.axes)])
                    assert np.array_equal(stored["label"][order], labels.classes)
                    for i, axis in enumerate(labels.axes):
                        assert np.array_equal(stored[axis][order], labels.coords[:, i])
                    n_painted += len(labels)
    assert refused == [("ilastik-0.5.ilp", True)]
    assert n_opened >= 44
    assert n_painted > 10_000


PC = ("2d", "2d3c", "3d", "3d1c", "3d2c", "5t2d1c", "5t2d2c", "5t3d2c")
API = {
    ("PixelClass", None): ("Data_1channel.png", "Data_1channel_pc1xyc"),
    ("2464_PixelClassification_xy_input", None): ("Data_1channel.png", "Data_1channel_pc1xy"),
    ("PixelClass3Channel", None): ("Data_3channel.png", "Data_3channel_pc3c"),
    ("PixelClass3D", None): ("Data_3D.npy", "Data_3D_pc3d"),
    ("PixelClass3D_2D_3D_feature_mix", None): ("Data_3D.npy", "Data_3D_pc3d2dfm"),
    ("Autocontext_2D", 1): ("Data_1channel.png", "Data_1channel_ac2ds1"),
    ("Autocontext_2D", 2): ("Data_1channel.png", "Data_1channel_ac2ds2"),
    ("Autocontext_3D", 1): ("Data_3D.npy", "Data_3D_ac2ds1"),
    ("Autocontext_3D", 2): ("Data_3D.npy", "Data_3D_ac2ds2"),
}


def check_within_ilastiks_tolerance(model: Classifier, image, expected: np.ndarray) -> None:
    """expected : (t, c, *spatial)."""
    found = np.stack(
        [model.predict_block(image, model.block(image, whole(image.shape, t))) for t in range(image.n_frames)]
    )
    away = np.abs(found - expected)
    assert away.max() < 0.15
    assert (away >= 0.015).mean() < 1e-3
    assert (found.argmax(1) != expected.argmax(1)).mean() <= 5e-5


@pytest.mark.parametrize("name", PC)
def test_probabilities_of_old_projects_are_ilastiks(test_data, name):
    folder = test_data / "e1_ilastik_golden" / "pc"
    project = open_ilp(folder / f"PixelClassification{name}.ilp")
    image = open_dataset(project, project.lanes[0].raw)
    with h5py.File(folder / f"{name}_Probabilities.h5") as file:
        expected = np.moveaxis(next(iter(file.values()))[...], -1, 0)
    expected = np.moveaxis(expected, 1, 0) if "t" in image.axes else expected[None]
    check_within_ilastiks_tolerance(classifier_of(project), image, expected)
    assert tell_dialect(project, examples_of(project, [image])) in (OLD, None)
    labels = labels_on(image, project.stages[0].labels[0])
    at = tuple(labels.positions.T)
    assert (expected.argmax(1)[(labels.frames, *at)] + 1 == labels.classes).all()


@pytest.mark.parametrize(("name", "stage"), API)
def test_probabilities_of_new_projects_are_ilastiks(test_data, name, stage):
    folder = test_data / "e1_ilastik_golden" / "api"
    picture, result = API[name, stage]
    project = open_ilp(folder / f"{name}.ilp")
    raw = project.lanes[0].raw
    image = open_image(folder / picture) if locate(project, raw) is None else open_dataset(project, raw)
    expected = np.moveaxis(np.load(folder / f"res-{result}.npy"), -1, 0)[None]
    check_within_ilastiks_tolerance(classifier_of(project, stage=stage), image, expected)


def test_stored_forests_vote_as_the_walk_on_a_million_pixels(test_data):
    """Rows around the thresholds of ilastik's own forests: half of the values lie exactly on one."""
    n = 0
    for path in sorted((test_data / "e1_ilastik_golden").rglob("*.ilp"))[:4]:
        forest = open_ilp(path).stage(1).classifier.forest if open_ilp(path).stages else None
        if forest is None:
            continue
        with h5py.File(path) as file:
            stored = file["PixelClassification/ClassifierForests"]
            trees = [
                [VigraTree(tree["topology"][...], tree["parameters"][...]) for key, tree in group.items() if key[0] == "T"]
                for name, group in stored.items() if name.startswith("Forest")
            ]  # fmt: skip
        rng = np.random.default_rng(1)
        rows = np.empty((250_000, forest.n_maps), np.float32)
        for k in range(forest.n_maps):
            asked = np.nextafter(forest.threshold[forest.feature == k], np.inf)
            asked = asked if len(asked) else np.zeros(1)
            noise = rng.normal(size=len(rows)) * (np.ptp(asked) + 1) * (rng.random(len(rows)) < 0.5)
            rows[:, k] = rng.choice(asked, len(rows)) + noise
        np.testing.assert_array_equal(forest.predict(np.ascontiguousarray(rows.T)), walked(trees, rows).T)
        n += len(rows)
    assert n == 1_000_000


def test_embedded_and_moved_images_of_real_projects_agree_with_their_labels(test_data):
    folder = test_data / "e1_ilastik_golden"
    for path in (folder / "notebook" / "pc.ilp", folder / "mitocheck" / "mitocheckPixelClassification.ilp"):
        project = open_ilp(path)
        image = open_dataset(project, project.lanes[0].raw)
        model = classifier_of(project)
        labels = labels_on(image, project.stages[0].labels[0])
        for t in np.unique(labels.frames):
            mine = labels.chosen(labels.frames == t)
            found = model.predict_block(image, model.block(image, whole(image.shape, int(t))))
            assert (found[(slice(None), *mine.positions.T)].argmax(0) + 1 == mine.classes).all()
