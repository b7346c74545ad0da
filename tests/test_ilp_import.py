"""ilastik projects as ours: every painted pixel, class and feature comes over, and the forest answers as it did there."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from brushwork.blocks import whole
from brushwork.errors import InputError
from brushwork.features import FeatureSet
from brushwork.interchange.ilp import open_ilp
from brushwork.interchange.ilp_export import export_ilp
from brushwork.interchange.ilp_images import locate, open_dataset
from brushwork.interchange.ilp_import import import_ilp
from brushwork.interchange.ilp_models import classifier_of
from brushwork.project import IMPORTED, ImageMissing, ImageReplaced, Project
from ilp_files import axistags, random_forests, write_ilp
from test_workbench import Bench

SHAPE = (20, 30)
PIXELS = np.random.default_rng(0).integers(0, 255, SHAPE).astype(np.uint8)
CHOSEN = {"GaussianSmoothing": (0.3, 1.6), "HessianOfGaussianEigenvalues": (1.0,)}
BLOCKS = (((2, 3, 0), np.array([[1, 1, 0, 2]])[..., None]), ((10, 20, 0), np.array([[2], [2], [0], [1]])[..., None]))
PAINTED = {(2, 3): 1, (2, 4): 1, (2, 6): 2, (10, 20): 2, (11, 20): 2, (13, 20): 1}


def an_ilp(tmp_path, **changed):
    """A project with six painted pixels in four strokes, features of four maps and a forest."""
    tmp_path.mkdir(exist_ok=True)
    np.save(tmp_path / "image.npy", PIXELS)
    forests = random_forests(1, (3, 2), 4, 2)
    given = {
        "axes": "yx",
        "shape": SHAPE,
        "blocks": BLOCKS,
        "label_axes": "yxc",
        "chosen": CHOSEN,
        "in_2d": True,
        "forests": forests,
    }
    return write_ilp(tmp_path / "old.ilp", **given | changed)


def painted(project, task="main", image=0):
    labels = project.labels(task, project.document.images[image].id)
    return {tuple(at): int(k) for at, k in zip(labels.coords.tolist(), labels.classes)}


def test_everything_comes_over(tmp_path):
    done = import_ilp(an_ilp(tmp_path), tmp_path / "new.brushwork")
    assert (done.n_lanes, done.n_images, done.n_strokes, done.n_pixels, done.models) == (1, 1, 4, 6, ("main",))
    with Project.open(done.folder) as project:
        task = project.document.task()
        assert [(c.name, c.color, c.map_color) for c in task.classes] == [
            ("in", "#ff0007", "#00ff07"),
            ("out", "#fe0107", "#01fe07"),
        ]
        assert task.priors == "strokes"
        assert {s.origin for s in task.strokes} == {"import"}
        assert painted(project) == PAINTED
        assert project.document.images[0].path == "../image.npy"
        assert project.document.images[0].nickname == "image"
        assert task.features == "gaussian:0.3,1.6 hessian:1"
    assert done.notes == ()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.npy", "new.brushwork", "old.ilp"]


def test_the_forest_answers_until_something_is_painted(tmp_path):
    ilp = an_ilp(tmp_path)
    theirs = classifier_of(open_ilp(ilp)).predict_array(PIXELS)
    with Project.open(import_ilp(ilp, tmp_path / "new.brushwork").folder) as project:
        model = project.model()
        assert model.provenance[IMPORTED] == "old.ilp"
        np.testing.assert_array_equal(model.predict_array(PIXELS), theirs)
        project.paint("main", project.document.images[0].id, 1, np.array([[0, 0]]))
        assert IMPORTED not in project.model().provenance
        project.undo("main", project.document.images[0].id)
        assert IMPORTED not in project.model().provenance


@pytest.mark.parametrize("stage", [1, 2])
def test_the_window_shows_what_the_forest_answers_until_something_is_painted(tmp_path, stage):
    ilp = an_ilp(tmp_path, workflow="AutocontextTwoStage")
    second = random_forests(1, (4,), 9, 2)  # 3 maps on the image and two probabilities
    write_ilp(ilp, suffix="01", chosen={"GaussianSmoothing": (0.3, 1.0, 1.6)}, in_2d=True, forests=second)
    theirs = classifier_of(open_ilp(ilp), stage=stage).predict_array(PIXELS)
    project = Project.open(import_ilp(ilp, tmp_path / "new.brushwork").folder)
    bench = Bench(project)
    try:
        bench.choose_task(f"stage {stage}")
        bench.look(whole(SHAPE))
        bench.until_ready()
        ids = np.array([c.id for c in bench.classes])
        np.testing.assert_array_equal(bench.seen(), ids[theirs.argmax(0)])
        assert bench.keep(bench.learn())[0].provenance[IMPORTED] == "old.ilp"
        if stage == 1:
            bench.paint(np.array([[0, 0]]), bench.classes[0].id)
            bench.until_ready()
            assert IMPORTED not in bench.model.provenance
    finally:
        bench.close()


@pytest.mark.parametrize("change", [{"features": "gaussian:1"}, {"seed": 1}, {"priors": "image"}])
def test_changed_settings_are_trained_on(tmp_path, change):
    with Project.open(import_ilp(an_ilp(tmp_path), tmp_path / "new.brushwork").folder) as project:
        project.change_task("main", **change)
        assert IMPORTED not in project.model().provenance


def test_data_inside_the_project_are_written_into_ours(tmp_path):
    stack = np.random.default_rng(0).integers(0, 255, (4, *SHAPE, 2)).astype(np.uint16)
    blocks = (((1, 2, 3, 0), np.array([[[1, 2]]])[..., None]),)
    given = {
        "axes": "zyxc",
        "shape": stack.shape,
        "embedded": stack,
        "blocks": blocks,
        "label_axes": "zyxc",
        "forests": None,
    }
    done = import_ilp(an_ilp(tmp_path, **given), tmp_path / "new.brushwork")
    with Project.open(done.folder) as project:
        (entry,) = project.document.images
        assert entry.path.startswith("images/")
        assert (entry.shape, len(entry.channel_names), entry.dtype) == ((4, *SHAPE), 2, "uint16")
        assert painted(project) == {(1, 2, 3): 1, (1, 2, 4): 2}
        image = project.image(entry.id)
        np.testing.assert_array_equal(image.read(whole(image.shape)), np.moveaxis(stack, -1, 0))


def test_frames_and_axes_of_length_one(tmp_path):
    """A film of one channel whose file has an axis more than we keep."""
    film = np.random.default_rng(0).integers(0, 255, (3, *SHAPE, 1)).astype(np.uint8)
    np.save(tmp_path / "film.npy", film)
    blocks = (((2, 2, 3, 0), np.array([[[1, 2]]])[..., None]),)
    given = {"axes": "tyxc", "shape": film.shape, "file_path": "film.npy", "blocks": blocks, "label_axes": "tyxc"}
    done = import_ilp(an_ilp(tmp_path, **given), tmp_path / "new.brushwork")
    with Project.open(done.folder) as project:
        assert project.document.images[0].extent == (3, *SHAPE)
        assert painted(project) == {(2, 2, 3): 1, (2, 2, 4): 2}
        project.image(project.document.images[0].id)


def test_what_is_painted_on_a_missing_image_waits_for_it(tmp_path):
    ilp = an_ilp(tmp_path, file_path="lost/image.npy")
    (tmp_path / "image.npy").unlink()
    done = import_ilp(ilp, tmp_path / "new.brushwork")
    assert (done.n_images, done.n_pixels, done.models) == (0, 6, ("main",))
    assert any("6 painted pixels wait" in note for note in done.notes)
    (tmp_path / "there").mkdir()
    np.save(tmp_path / "there/other.npy", PIXELS[:-1])
    np.save(tmp_path / "there/image.npy", PIXELS)
    with Project.open(done.folder) as project:
        (entry,) = project.document.images
        assert Path(project.place(entry.id)) == tmp_path / "lost/image.npy"
        assert painted(project) == PAINTED
        with pytest.raises(ImageMissing):
            project.image(entry.id)
        with pytest.raises(ImageReplaced):
            project.relink(entry.id, tmp_path / "there/other.npy")
        project.relink(entry.id, tmp_path / "there/image.npy")
        assert len(project.training()[0][0][1]) == 6


def test_a_missing_image_of_unknown_size_is_told_with_what_is_lost(tmp_path):
    done = import_ilp(an_ilp(tmp_path, file_path="lost.npy", shape=None), tmp_path / "new.brushwork")
    assert (done.n_images, done.n_pixels) == (0, 0)
    assert any("6 painted pixels were left out" in note and "lost.npy" in note for note in done.notes)


def test_strokes_that_no_image_can_hold_are_told(tmp_path):
    ilp = an_ilp(tmp_path, shape=None, blocks=(((19, 29, 0), np.array([[1, 2]])[..., None]),))
    done = import_ilp(ilp, tmp_path / "new.brushwork")
    assert (done.n_images, done.n_pixels) == (0, 0)
    assert any("2 painted pixels were left out" in note and "another image" in note for note in done.notes)
    with h5py.File(ilp, "a") as file:
        del file["Input Data/infos"]
    done = import_ilp(ilp, tmp_path / "newer.brushwork")
    assert any("2 painted pixels were left out: nothing says on which image" in note for note in done.notes)


def test_images_are_found_in_a_folder(tmp_path):
    ilp = an_ilp(tmp_path, file_path="C:\\data\\image.npy")
    (tmp_path / "far").mkdir()
    (tmp_path / "image.npy").rename(tmp_path / "far/image.npy")
    done = import_ilp(ilp, tmp_path / "new.brushwork", data=tmp_path / "far")
    assert (done.n_images, done.n_pixels) == (1, 6)


@pytest.mark.parametrize("where", ["linked", "inside", "missing", "missing with its image"])
def test_prediction_masks_come_over(tmp_path, where):
    mask = np.ones(SHAPE, np.uint8)
    mask[:, :9] = 0
    np.save(tmp_path / "mask.npy", mask)
    ilp = an_ilp(tmp_path, mask=mask if where == "inside" else "mask.npy")
    if where.startswith("missing"):
        (tmp_path / "mask.npy").rename(tmp_path / "elsewhere.npy")
    if where == "missing with its image":
        (tmp_path / "image.npy").unlink()
    done = import_ilp(ilp, tmp_path / "new.brushwork")
    assert any("prediction mask is waited for" in note for note in done.notes) == where.startswith("missing")
    with Project.open(done.folder) as project:
        (entry,) = project.document.images
        assert (entry.mask.nickname, entry.mask.shape) == ("the mask", SHAPE)
        if where != "inside":
            assert Path(project.place(entry.mask.id)) == tmp_path / "mask.npy"
        if where.startswith("missing"):
            with pytest.raises(ImageMissing, match=r"mask\.npy is not in"):
                project.image(entry.mask.id)
            project.relink(entry.mask.id, tmp_path / "elsewhere.npy")
        np.testing.assert_array_equal(project.image(entry.mask.id).source[:], mask)


def test_a_mask_that_fits_no_image_is_told(tmp_path):
    np.save(tmp_path / "mask.npy", np.ones((5, 5), np.uint8))
    done = import_ilp(an_ilp(tmp_path, mask="mask.npy", shape=None), tmp_path / "new.brushwork")
    assert any("prediction mask was left out" in note and "one size" in note for note in done.notes)
    ilp = an_ilp(tmp_path / "none", mask="mask.npy", shape=None, file_path="lost.npy")
    done = import_ilp(ilp, tmp_path / "newer.brushwork")
    assert any("prediction mask was left out, as its image was" in note for note in done.notes)


def test_data_inside_the_project_that_cannot_be_used_are_not_kept(tmp_path):
    ilp = an_ilp(tmp_path, embedded=PIXELS, mask=np.ones((5, 5), np.uint8), shape=None)
    with h5py.File(ilp, "a") as file:
        file.copy("Input Data/infos/lane0000/Raw Data", "Input Data/infos/lane0001/Raw Data")
        lane, pixels = file["Input Data/infos/lane0001/Raw Data"], np.zeros((4, *SHAPE), np.uint8)
        del lane["datasetId"], lane["axistags"]
        lane["datasetId"], lane["axistags"] = "a stack", axistags("zyx")
        file["Input Data/local_data/a stack"] = pixels
    done = import_ilp(ilp, tmp_path / "new.brushwork")
    assert any("prediction mask was left out" in note for note in done.notes)
    assert any(note.startswith("lane 1: 0 painted pixels were left out") for note in done.notes)
    assert [p.name for p in (done.folder / "images").glob("*")] == ["image.h5"]


@pytest.mark.parametrize("where", ["linked", "inside"])
def test_lanes_that_show_one_image_become_one_and_it_is_told(tmp_path, where):
    for name in ("mask.npy", "another.npy"):
        np.save(tmp_path / name, np.ones(SHAPE, np.uint8))
    ilp = an_ilp(tmp_path, mask="mask.npy", embedded=PIXELS if where == "inside" else None)
    with h5py.File(ilp, "a") as file:
        inputs, sets = file["Input Data/infos"], file["PixelClassification/LabelSets"]
        inputs.copy("lane0000", "lane0001")
        again = inputs["lane0001"]
        for data, key, value in (("Raw Data", "nickname", b"again"), ("Prediction Mask", "filePath", b"another.npy")):
            del again[data][key]
            again[data][key] = value
        sets.copy("labels000", "labels001")
        sets["labels001/block0000"][...] = np.array([[2, 0, 1, 2]])[..., None]  # two of these were painted otherwise
    done = import_ilp(ilp, tmp_path / "new.brushwork")
    assert (
        "lane 1: it shows the image of lane 0, so both became one, which keeps the name and mask of that lane"
        in done.notes
    )
    assert any(
        note.startswith("lane 1, main: 5 of its pixels were painted in an earlier lane too") for note in done.notes
    )
    assert done.n_pixels == 7
    with Project.open(done.folder) as project:
        (entry,) = project.document.images
        assert (entry.nickname, Path(project.place(entry.mask.id)).name) == ("image", "mask.npy")
        assert painted(project) == PAINTED | {(2, 3): 2, (2, 5): 1}
    written = [p.name for p in (done.folder / "images").glob("*")]
    assert written == (["image.h5"] if where == "inside" else [])


def test_both_stages_of_autocontext_become_tasks(tmp_path):
    ilp = an_ilp(tmp_path, workflow="AutocontextTwoStage")
    second = random_forests(2, (2,), 3, 2)
    blocks = (((0, 0, 0), np.array([[2, 1]])[..., None]),)
    write_ilp(
        ilp,
        suffix="01",
        blocks=blocks,
        label_axes="yxc",
        chosen={"GaussianSmoothing": (1.0,)},
        in_2d=True,
        forests=second,
    )
    done = import_ilp(ilp, tmp_path / "new.brushwork")
    assert done.models == ("stage 1", "stage 2")
    with Project.open(done.folder) as project:
        assert [t.features for t in project.document.tasks] == ["gaussian:0.3,1.6 hessian:1", "gaussian:1"]
        assert painted(project, "stage 2") == {(0, 0): 2, (0, 1): 1}
        theirs = classifier_of(open_ilp(ilp)).predict_array(PIXELS)
        np.testing.assert_array_equal(project.model("stage 2").predict_array(PIXELS), theirs)


def test_names_are_made_distinct_and_odd_sigmas_are_kept(tmp_path):
    sigma = 1.23456789
    ilp = an_ilp(tmp_path, names=("cell", "cell"), chosen={"GaussianSmoothing": (sigma,)}, forests=None)
    with Project.open(import_ilp(ilp, tmp_path / "new.brushwork").folder) as project:
        task = project.document.task()
        assert [c.name for c in task.classes] == ["cell", "cell (2)"]
        assert [f.sigma for f in FeatureSet.parse(task.features).features] == [sigma]


def test_nothing_is_left_of_an_import_that_fails(tmp_path):
    ilp = an_ilp(tmp_path)
    with pytest.raises(InputError, match=r"ends with \.brushwork"):
        import_ilp(ilp, tmp_path / "new")
    with h5py.File(ilp, "a") as file:
        del file["PixelClassification"]
    with pytest.raises(InputError, match="holds no pixel classification"):
        import_ilp(ilp, tmp_path / "new.brushwork")
    (tmp_path / "there.brushwork").mkdir()
    with pytest.raises(InputError, match="exists already"):
        import_ilp(ilp, tmp_path / "there.brushwork")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["image.npy", "old.ilp", "there.brushwork"]


# ---------------------------------------------------------------- there and back, on real projects

REFUSED = ("ilastik-0.5.ilp", "NNLocal-141b22.ilp", "counting-0.6.ilp")


def real_projects(test_data):
    found = [
        p for part in ("e1_ilastik_golden", "e2_ilastik_versions") for p in sorted((test_data / part).rglob("*.ilp"))
    ]
    if not found:
        pytest.skip(f"no ilastik projects in {test_data}")
    return [p for p in found if p.name not in REFUSED]


def pixels_of(labels):
    """(t, z, y, x, class) of every painted pixel, sorted; 0 along axes that there are not."""
    columns = [
        labels.coords[:, labels.axes.index(a)] if a in labels.axes else np.zeros(len(labels), int) for a in "tzyx"
    ]
    return sorted(np.stack([*columns, labels.classes], axis=1).tolist())


def used(features, *, flat):
    """What a selection asks for. flat : of images in 2D, where all is in 2D whatever is said."""
    if features is None:
        return set()
    return {
        (name, sigma, flat or in_2d)
        for name, row in zip(features.ids, features.chosen)
        for sigma, in_2d, chosen in zip(features.scales, features.in_2d or (False,) * len(row), row)
        if chosen
    }


def assert_same_forest(one, other, what):
    assert type(one) is type(other)
    for name, array in other.arrays().items():
        np.testing.assert_array_equal(one.arrays()[name], array, err_msg=f"{what}: {name}")


def test_there_and_back_keeps_every_pixel_name_colour_feature_and_link(test_data, tmp_path):
    for i, ilp in enumerate(real_projects(test_data)):
        assert_there_and_back(ilp, tmp_path / str(i))


KINDS = {
    "2D": {},
    "2D, no forest": {"forests": None},
    "channels": {"axes": "yxc", "shape": (*SHAPE, 2), "forests": random_forests(1, (3, 2), 8, 2)},
    "film": {
        "axes": "tyxc",
        "shape": (3, *SHAPE, 1),
        "blocks": (((2, 2, 3, 0), np.array([[[1, 2]]])[..., None]),),
        "label_axes": "tyxc",
    },
    "stack": {
        "axes": "zyx",
        "shape": (12, *SHAPE),
        "blocks": (((1, 2, 3, 0), np.array([[[1, 2]]])[..., None]),),
        "label_axes": "zyxc",
        "in_2d": False,
        "forests": None,
    },
}


@pytest.mark.parametrize(
    ("kind", "mask", "lost"),
    [(kind, "linked", "") for kind in KINDS]
    + [("film", "inside", ""), ("stack", "linked", "mask.npy"), ("2D, no forest", "linked", "image.npy")]
    + [("2D", mask, lost) for mask in ("linked", "inside") for lost in ("image.npy", "mask.npy")],
)
def test_there_and_back_keeps_masks_nicknames_and_both_colours_too(tmp_path, kind, mask, lost):
    given = {"shape": SHAPE, "axes": "yx", "nickname": "first day", **KINDS[kind]}
    inside = np.ones([n for n, a in zip(given["shape"], given["axes"]) if a != "c"], np.uint8)
    ilp = an_ilp(tmp_path / "a", **given, mask="mask.npy" if mask == "linked" else inside)
    np.save(tmp_path / "a/image.npy", np.random.default_rng(0).integers(0, 255, given["shape"]).astype(np.uint8))
    np.save(tmp_path / "a/mask.npy", inside)
    if lost:
        (tmp_path / "a" / lost).unlink()
    assert_there_and_back(ilp, tmp_path / "b")


def assert_there_and_back(ilp, folder):
    folder.mkdir()
    before = open_ilp(ilp)
    done = import_ilp(ilp, folder / "p.brushwork", data=ilp.parent)
    with Project.open(done.folder) as project:
        entries, tasks = project.document.images, project.document.tasks
        for task in done.models:
            number = [t.name for t in tasks].index(task)
            forest = before.stages[number].classifier.forest
            assert_same_forest(project.model(task).estimator, forest, ilp)
        exported = [export_ilp(project, folder / f"{t.name}.ilp", task=t.name).path for t in tasks]
    for stage, path in zip(before.stages, exported):
        after = open_ilp(path)
        assert after.problems == ()
        (back,) = after.stages
        assert back.classes == stage.classes, ilp  # names and both colours
        if len(entries) < len(before.lanes):  # it was saved without the size of an image that is missing
            assert ilp.name == "Autocontext2d3c.ilp"
            continue
        assert [pixels_of(labels) for labels in back.labels] == [pixels_of(labels) for labels in stage.labels], ilp
        if used(stage.features, flat=True):
            is_flat = len(entries[0].shape) == 2
            assert used(back.features, flat=is_flat) == used(stage.features, flat=is_flat), ilp
        if stage.classifier.forest is not None and back.classifier.forest is not None and len(before.stages) == 1:
            assert stage.classifier.n_trees in (None, back.classifier.n_trees)
            assert_same_forest(back.classifier.forest, stage.classifier.forest, ilp)
        assert len(after.lanes) == len(before.lanes)
        for lane, lane_after in zip(before.lanes, after.lanes):
            assert_same_input(before, lane.raw, after, lane_after.raw)
            assert_same_input(before, lane.mask, after, lane_after.mask)


def assert_same_input(before, data, after, data_after):
    """Of the same name, at the same place; of what was inside the file, of the same pixels."""
    assert (data is None) == (data_after is None), before.path
    if data is None:
        return
    assert data_after.nickname == data.nickname, before.path
    if data.location == "file" and len(data.paths) == 1:
        assert place_of(after, data_after) == place_of(before, data), before.path
    else:
        one, other = (open_dataset(*given) for given in ((before, data), (after, data_after)))
        assert one.axes.replace("c", "") == other.axes.replace("c", "")
        for t in range(one.n_frames):
            np.testing.assert_array_equal(one.read(whole(one.shape, t)), other.read(whole(one.shape, t)))


def place_of(project, data):
    """Where an input is, or where it is missing."""
    found = locate(project, data, project.path.parent)
    return Path(found.uris[0] if found is not None else project.path.parent / data.paths[0]).resolve()


def test_masks_are_put_into_the_file_with_their_images(tmp_path):
    mask = np.random.default_rng(0).integers(0, 2, SHAPE).astype(np.uint8)
    np.save(tmp_path / "mask.npy", mask)
    with Project.open(import_ilp(an_ilp(tmp_path, mask="mask.npy"), tmp_path / "new.brushwork").folder) as project:
        done = export_ilp(project, tmp_path / "out.ilp", links="embedded")
    (tmp_path / "mask.npy").unlink()
    read = open_ilp(done.path)
    assert {data.location for data in (read.lanes[0].raw, read.lanes[0].mask)} == {"embedded"}
    np.testing.assert_array_equal(open_dataset(read, read.lanes[0].mask).source[:].reshape(SHAPE), mask)


@pytest.mark.parametrize(
    ("name", "data", "task", "result"),
    [
        ("PixelClass", "Data_1channel.png", "main", "1channel_pc1xyc"),
        ("PixelClass3Channel", "Data_3channel.png", "main", "3channel_pc3c"),
        ("PixelClass3D_2D_3D_feature_mix", "Data_3D.npy", "main", "3D_pc3d2dfm"),
        ("Autocontext_2D", "Data_1channel.png", "stage 1", "1channel_ac2ds1"),
        ("Autocontext_2D", "Data_1channel.png", "stage 2", "1channel_ac2ds2"),
    ],
)
def test_an_imported_project_predicts_what_ilastik_predicted(test_data, tmp_path, name, data, task, result):
    api = test_data / "e1_ilastik_golden/api"
    if not api.is_dir():
        pytest.skip(f"no ilastik projects in {test_data}")
    theirs = np.moveaxis(np.load(api / f"res-Data_{result}.npy"), -1, 0)
    with Project.open(import_ilp(api / f"{name}.ilp", tmp_path / "new.brushwork").folder) as project:
        image = project.image(project.document.images[0].id)
        model = project.model(task)
        ours = model.predict_block(image, model.block(image, whole(image.shape)))
    off = np.abs(ours - theirs.reshape(ours.shape))
    assert (off >= 0.015).mean() < 1e-3
    assert off.max() < 0.15
    assert (ours.argmax(0) != theirs.reshape(ours.shape).argmax(0)).mean() <= 5e-5
