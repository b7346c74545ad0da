"""Projects without a window, and the same answer everywhere."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile

from brushwork.blocks import whole
from brushwork.classifier import Classifier
from brushwork.io import open_image
from brushwork.project import Project
from brushwork.tile_store import SEGMENTATION
from brushwork.workbench import Workbench
from painting import strokes_on, two_tone

COMMAND = str(Path(sys.executable).parent / "brushwork")


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    """A folder with two images and a project that is painted on the first."""
    folder = tmp_path_factory.mktemp("study")
    for name, seed in (("a", 0), ("b", 1)):
        pixels, _ = two_tone((90, 130), seed)
        tifffile.imwrite(folder / f"{name}.tif", pixels.clip(0, 255).astype(np.uint8))
    strokes = strokes_on(two_tone((90, 130), 0)[1], n=5)
    with Project.create(folder / "study.brushwork") as project:
        first = project.add_image(str(folder / "a.tif"))
        project.add_image(str(folder / "b.tif"))
        project.add_task("main")
        project.change_task("main", features="fast", seed=3)
        for name in ("background", "unpainted", "ball"):
            project.add_class("main", name)
        for value, class_id in ((1, 1), (2, 3)):
            project.paint("main", first.id, class_id, np.argwhere(strokes == value))
    return folder


def brushwork(folder, *arguments):
    return subprocess.run(
        [COMMAND, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_train_predict_info_and_pack_of_a_project(painted, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(painted, folder)
    done = brushwork(folder, "train", "study.brushwork", "-o", "balls.bwm")
    assert done.returncode == 0, done.stderr
    assert "ball" in done.stdout
    model = Classifier.load(folder / "balls.bwm")
    assert model.classes == ("background", "ball")
    kept = Classifier.load(folder / "study.brushwork" / "models" / "001.bwm")
    pixels = tifffile.imread(folder / "b.tif")
    np.testing.assert_array_equal(kept.predict_array(pixels), model.predict_array(pixels))

    done = brushwork(folder, "predict", "study.brushwork", "--all", "--as", "npy", "--dtype", "float32")
    assert done.returncode == 0, done.stderr
    for name in "ab":
        written = np.load(folder / "study_results" / f"{name}_probabilities.npy")
        np.testing.assert_array_equal(written, model.predict_array(tifffile.imread(folder / f"{name}.tif")))
    assert (
        brushwork(folder, "predict", "study.brushwork", "b.tif", "-o", "b.png", "--output", "segmentation").returncode
        == 0
    )

    told = brushwork(folder, "info", "study.brushwork").stdout
    assert "a.tif" in told
    assert "2 strokes" in told
    assert "models/001.bwm" in told

    done = brushwork(folder, "pack", "study.brushwork", "-o", "share.zip")
    assert done.returncode == 0, done.stderr
    shutil.unpack_archive(folder / "share.zip", tmp_path / "elsewhere")
    done = brushwork(tmp_path / "elsewhere", "train", "study.brushwork", "-o", "again.bwm")
    assert done.returncode == 0, done.stderr
    again = Classifier.load(tmp_path / "elsewhere" / "again.bwm")
    agreed = again.predict_array(pixels).argmax(0) == model.predict_array(pixels).argmax(0)
    assert agreed.mean() > 0.95


@pytest.fixture
def masked(painted, tmp_path):
    """The folder, where the second image has a nickname, and a mask that leaves out its left side."""
    folder = tmp_path / "study"
    shutil.copytree(painted, folder)
    mask = np.ones((90, 130), np.uint8)
    mask[:, :50] = 0
    (folder / "masks").mkdir()
    np.save(folder / "masks/b.npy", mask)
    with Project.open(folder / "study.brushwork") as project:
        second = project.document.images[1].id
        project.name_image(second, "the second")
        project.mask_image(second, folder / "masks/b.npy")
        project.name_image(project.document.image(second).mask.id, "right side")
        project.change_class("main", 3, prediction_color="#00aa00")
    return folder


def test_a_projects_own_images_are_predicted_where_their_masks_say(masked):
    with Project.open(masked / "study.brushwork") as project:
        model = project.fit()
    assert model.colors[1] == "#00aa00"
    expected = {name: model.predict_array(tifffile.imread(masked / f"{name}.tif")) for name in "ab"}
    kept = np.load(masked / "masks/b.npy") > 0
    how = ("--as", "npy", "--dtype", "float32")
    assert brushwork(masked, "predict", "study.brushwork", "--all", *how, "-o", "all").returncode == 0
    done = brushwork(masked, "predict", "study.brushwork", "../study/b.tif", *how, "-o", "named.npy")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(masked / "all/a_probabilities.npy"), expected["a"])
    for name in ("all/b_probabilities.npy", "named.npy"):
        np.testing.assert_array_equal(np.load(masked / name), expected["b"] * kept)

    np.save(masked / "other.npy", np.zeros((90, 130), np.uint8))
    ignored = brushwork(
        masked, "predict", "study.brushwork", "b.tif", *how, "-o", "other_.npy", "--ignore", "other.npy"
    )
    assert ignored.returncode == 0, ignored.stderr
    np.testing.assert_array_equal(np.load(masked / "other_.npy"), expected["b"])

    again = ("predict", "study.brushwork", "--all", *how, "-o", "all")
    assert brushwork(masked, *again).stdout.count("done before") == 2
    np.save(masked / "masks/b.npy", np.pad(np.ones((90, 130), np.uint8)[:, 1:], ((0, 0), (1, 0))))
    done = brushwork(masked, *again)
    assert done.returncode == 2
    assert "b_probabilities.npy exists already" in done.stderr.replace("\n", " ")


def test_masks_hold_for_whatever_leads_to_an_image(masked):
    """A link to the image, or to the folder of the project; and a file of one array with or without the array's name."""
    (masked / "link").symlink_to(masked)
    pixels, mask = tifffile.imread(masked / "b.tif"), masked / "masks/b.npy"
    with h5py.File(masked / "c.h5", "w") as file:
        file["data"] = pixels[::-1]
    with Project.open(masked / "study.brushwork") as project:
        project.mask_image(project.add_image(masked / "c.h5/data").id, mask)
    out = ("--as", "npy", "--output", "segmentation", "-o")
    for i, (name, image) in enumerate([("link/study", "b.tif"), ("study", "link/b.tif"), ("study", "c.h5")]):
        done = brushwork(masked, "predict", f"{name}.brushwork", image, *out, f"{i}.npy")
        assert done.returncode == 0, done.stderr
        np.testing.assert_array_equal(np.load(masked / f"{i}.npy") > 0, np.load(mask) > 0)


def test_info_tells_nicknames_masks_and_colours_of_predictions(masked):
    told = brushwork(masked, "info", "study.brushwork").stdout
    assert "called the second" in told
    assert "../masks/b.npy" in told
    assert "called right side" in told
    assert "predicted #00aa00" in told


def test_a_lost_mask_is_told_and_linked_again(masked):
    (masked / "masks").rename(masked / "elsewhere")
    done = brushwork(masked, "predict", "study.brushwork", "--all", "-o", "all")
    assert done.returncode == 2
    assert "b.npy is not in" in done.stderr
    assert "relink" in done.stderr
    assert not (masked / "all").exists()
    assert brushwork(masked, "predict", "study.brushwork", "a.tif", "-o", "a.npy").returncode == 0
    done = brushwork(masked, "relink", "study.brushwork", "elsewhere/b.npy")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"found: {masked / 'elsewhere/b.npy'}"
    (masked / "elsewhere/b.npy").rename(masked / "elsewhere/renamed.npy")
    assert brushwork(masked, "relink", "study.brushwork", "elsewhere/renamed.npy").returncode == 2
    done = brushwork(masked, "relink", "study.brushwork", "elsewhere/renamed.npy", "--image", "b.npy")
    assert done.returncode == 0, done.stderr
    assert brushwork(masked, "predict", "study.brushwork", "--all", "-o", "all").returncode == 0


def test_settings_beside_a_project_are_refused(painted):
    done = brushwork(painted, "train", "study.brushwork", "--features", "all", "--seed", "4")
    assert done.returncode == 2
    assert "leave --seed out" in done.stderr.replace("\n", " ")


def test_the_view_the_command_and_python_give_the_same_bits(painted, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(painted, folder)
    failures = []
    with Project.open(folder / "study.brushwork") as project:
        _, names, _ = project.training("main")
        model = project.train("main")
        assert names == ("background", "ball")
    bench = Workbench(
        Project.open(folder / "study.brushwork"), changed=lambda changed: None, failed=failures.append, threads=2
    )
    try:
        bench.look(whole(bench.image.shape))
        for _ in range(600):
            if bench.status is not None and bench.status.state == "ready" and bench.status.fraction == 1:
                break
            bench.wait(0.1)
        seen = bench.tiles.picture(bench.image_id, SEGMENTATION, whole(bench.image.shape))
    finally:
        bench.close()
    assert not failures
    image = open_image(folder / "a.tif")
    expected = model.predict_array(image.read(whole(image.shape))[0])
    np.testing.assert_array_equal(seen, np.array([1, 3])[expected.argmax(0)])
    done = brushwork(folder, "predict", "study.brushwork", "a.tif", "-o", "a.npy", "--output", "segmentation")
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(folder / "a.npy").squeeze(), expected.argmax(0) + 1)


def test_a_window_that_cannot_be_opened_says_what_is_missing(tmp_path, monkeypatch):
    import brushwork.cli.projects as projects
    from brushwork.errors import MissingPart

    monkeypatch.setitem(sys.modules, "brushwork.napari.start", None)
    with pytest.raises(MissingPart, match="napari"):
        projects.open_([str(tmp_path / "a.tif")])


def test_where_the_project_of_an_address_is_kept_is_told(tmp_path, monkeypatch, capsys):
    import brushwork.cli.projects as projects

    start = pytest.importorskip("brushwork.napari.start")
    opened = []
    monkeypatch.setattr(start, "run", lambda *given, **how: opened.append(given))
    monkeypatch.chdir(tmp_path)
    address = "https://a.org/data/brain.ome.zarr"
    projects.open_([address])
    assert opened == [(tmp_path / "brain.brushwork", [address])]
    assert str(tmp_path / "brain.brushwork") in capsys.readouterr().out.replace("\n", "")


@pytest.fixture
def moved(tmp_path):
    """A project of four images a to d in "old"; a, b and c have moved to "new", d is gone."""
    for i, name in enumerate("abcde"):
        (tmp_path / "old").mkdir(exist_ok=True)
        np.save(tmp_path / "old" / f"{name}.npy", two_tone((40, 50), i)[0].clip(0, 255).astype(np.uint8))
    with Project.create(tmp_path / "study.brushwork") as project:
        for name in "abcd":
            project.add_image(tmp_path / "old" / f"{name}.npy")
    (tmp_path / "old").rename(tmp_path / "new")
    (tmp_path / "new" / "d.npy").unlink()
    return tmp_path


def test_images_that_moved_are_found_from_one_of_them(moved):
    (moved / "new" / "b.npy").rename(moved / "new" / "renamed.npy")
    done = brushwork(moved, "relink", "study.brushwork", "new/renamed.npy")
    assert done.returncode == 0, done.stderr
    new, old = moved / "new", moved / "old"
    told = [f"found: {new / 'renamed.npy'}", f"found: {new / 'a.npy'}", f"found: {new / 'c.npy'}"]
    assert done.stdout.splitlines() == [*told, f"still missing: {old / 'd.npy'}"]
    with Project.open(moved / "study.brushwork") as project:
        names = ("a", "renamed", "c")
        assert [project.image(e.id).uri for e in project.document.images[:3]] == [f"{new}/{n}.npy" for n in names]


def test_another_image_is_refused_with_what_can_be_done(moved):
    done = brushwork(moved, "relink", "study.brushwork", "new/e.npy")
    assert done.returncode == 2
    told = done.stderr.replace("\n", " ")
    assert "brushwork: e.npy is not a.npy or b.npy or c.npy or d.npy" in told
    assert "brushwork open new/e.npy -p study.brushwork" in told
    done = brushwork(moved, "relink", "study.brushwork", "new/a.npy", "--image", "b.npy")
    assert done.returncode == 2
    assert "a.npy is not b.npy" in done.stderr.replace("\n", " ")
    with Project.open(moved / "study.brushwork") as project:
        assert [e.path for e in project.document.images] == [f"../old/{n}.npy" for n in "abcd"]


def test_an_image_to_relink_is_named(moved):
    for name, called in (("b", "b.npy"), ("a", "../old/a.npy"), ("c", str(moved / "old" / "c.npy"))):
        project = shutil.copytree(moved / "study.brushwork", moved / f"{name}.brushwork")
        done = brushwork(moved, "relink", project.name, f"new/{name}.npy", "--image", called)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f"found: {moved / 'new' / name}.npy")
    done = brushwork(moved, "relink", "study.brushwork", "new/b.npy", "--image", "x.npy")
    assert done.returncode == 2
    assert "unknown image 'x.npy'" in done.stderr
    done = brushwork(moved, "relink", "study.brushwork", "nowhere.npy")
    assert done.returncode == 2
    assert "nowhere.npy does not exist" in done.stderr.replace("\n", " ")


def test_where_nothing_is_missing_an_image_has_to_be_named(painted, tmp_path):
    folder = tmp_path / "study"
    shutil.copytree(painted, folder)
    shutil.copy(folder / "a.tif", folder / "copy.tif")
    done = brushwork(folder, "relink", "study.brushwork", "copy.tif")
    assert done.returncode == 2
    assert "--image" in done.stderr
    done = brushwork(folder, "relink", "study.brushwork", "copy.tif", "--image", "a.tif")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"found: {folder / 'copy.tif'}"


def test_a_project_that_is_not_there_is_told(tmp_path):
    done = brushwork(tmp_path, "open", "nothing.brushwork")
    assert done.returncode == 2
    assert "there is no project" in done.stderr.replace("\n", " ")
    assert not list(Path(tmp_path).iterdir())
