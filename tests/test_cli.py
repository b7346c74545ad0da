"""The command line: it does what Python does, says what was settled, and fails in one clear line."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

import brushwork as bw
from brushwork.cli.main import repeated
from brushwork.errors import closest
from brushwork.estimators.sklearn import check_can_be_saved
from painting import strokes_on, two_tone

COMMAND = str(Path(sys.executable).parent / "brushwork")
COLUMNS = {**os.environ, "COLUMNS": "200"}


def brushwork(*arguments, cwd, code=0, **options):
    """Run the command; returns what it printed, both streams."""
    done = subprocess.run(
        [COMMAND, *map(str, arguments)], cwd=cwd, text=True, capture_output=True, timeout=300, env=COLUMNS, **options
    )
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    assert code == 0 or len(done.stderr.strip().splitlines()) <= 3, said
    return said


@pytest.fixture(scope="module")
def plate(tmp_path_factory):
    """Two images with strokes and a third without, and a model."""
    folder = tmp_path_factory.mktemp("plate")
    for i, name in enumerate("abc"):
        pixels, truth = two_tone((80, 100), seed=i)
        tifffile.imwrite(folder / f"cells_{name}.tif", pixels.clip(0, 255).astype(np.uint8))
        if name != "c":
            tifffile.imwrite(folder / f"strokes_{name}.tif", strokes_on(truth, seed=i))
    said = brushwork(
        "train", "cells_a.tif", "cells_b.tif", "--labels", "strokes_a.tif", "strokes_b.tif",
        "--classes", "outside,inside", "-o", "model.bwm", "--features", "fast", cwd=folder,
    )  # fmt: skip
    assert "balanced accuracy" in said
    return folder


def test_options_with_several_values_are_repeated():
    given = ["train", "a", "--labels", "x", "y", "-o", "m", "--labels", "z"]
    assert repeated(given) == ["train", "a", "--labels", "x", "--labels", "y", "-o", "m", "--labels", "z"]
    assert repeated(["--labels=x", "y"]) == ["--labels=x", "--labels", "y"]


def test_the_command_line_is_python(plate, tmp_path):
    brushwork("predict", "model.bwm", "cells_c.tif", "-o", tmp_path, "--dtype", "float32", cwd=plate)
    stored = bw.open_image(tmp_path / "cells_c_probabilities.ome.zarr")
    examples = []
    for name in "ab":
        image = bw.open_image(plate / f"cells_{name}.tif")
        examples.append((image, bw.open_labels(plate / f"strokes_{name}.tif", image)))
    model = bw.train(examples, "fast", classes=["outside", "inside"])
    expected = model.predict_array(tifffile.imread(plate / "cells_c.tif"))
    np.testing.assert_array_equal(stored.read(bw.Region((0, 0), (80, 100))), expected)


def test_a_plate_of_images_in_every_format(plate, tmp_path):
    for as_, suffix in [("tiff", ".tif"), ("hdf5", ".h5"), ("npy", ".npy"), ("png", ".png")]:
        out = tmp_path / as_
        brushwork("predict", "model.bwm", "cells_*.tif", "-o", out, "--as", as_, "--output", "segmentation", cwd=plate)
        names = {p.name for p in out.iterdir()}
        assert names == {f"cells_{n}_segmentation{suffix}" for n in "abc"} | {"brushwork-run.json"}
    segmentation = np.asarray(Image.open(tmp_path / "png" / "cells_a_segmentation.png"))
    np.testing.assert_array_equal(segmentation, tifffile.imread(tmp_path / "tiff" / "cells_a_segmentation.tif"))
    truth = two_tone((80, 100), seed=0)[1]
    assert (segmentation == truth).mean() > 0.95


def test_info_of_everything(plate, tmp_path):
    brushwork("predict", "model.bwm", "cells_a.tif", "-o", tmp_path, cwd=plate)
    said = brushwork("info", "model.bwm", "cells_a.tif", plate, tmp_path, cwd=plate)
    for expected in ("outside", "cells_a.tif", "y 80, x 100", "uint8", "model.bwm", "cells_a_probabilities.ome.zarr"):
        assert expected in said


def test_info_of_a_folder_tells_folders_and_unfinished_runs(plate, tmp_path):
    for name in "ab":
        (tmp_path / "planes").mkdir(exist_ok=True)
        (tmp_path / "planes" / f"{name}.tif").write_bytes((plate / f"cells_{name}.tif").read_bytes())
    (tmp_path / "notes").mkdir()
    (tmp_path / "c_probabilities.tif.run").mkdir()
    (tmp_path / "c_probabilities.tif.run" / "plan.json").write_text("{}")
    said = {line.split()[0]: line for line in brushwork("info", tmp_path, cwd=plate).splitlines()[1:]}
    assert "folder of 2 image files" in said["planes"]
    assert "folder without images" in said["notes"]
    assert "unfinished" in said["c_probabilities.tif"]
    assert len(said) == 3


def test_convert_a_stack_of_planes_and_back(tmp_path):
    stack = np.random.default_rng(0).integers(0, 60000, (3, 40, 50)).astype(np.uint16)
    for i, plane in enumerate(stack):
        tifffile.imwrite(tmp_path / f"stack_{i:02}.tif", plane)
    brushwork(
        "convert",
        *sorted(tmp_path.glob("stack_*.tif")),
        "brain.ome.zarr",
        "--axes",
        "zyx",
        "--pixel-size",
        "2,1,1",
        cwd=tmp_path,
    )
    said = brushwork("info", "brain.ome.zarr", cwd=tmp_path)
    assert "z 2, y 1, x 1 um" in said
    brushwork("convert", "brain.ome.zarr", "back.h5", cwd=tmp_path)
    image = bw.open_image(tmp_path / "back.h5")
    np.testing.assert_array_equal(image.read(bw.Region((0, 0, 0), stack.shape))[0], stack)
    assert image.pixel_size == (2, 1, 1)


def test_features_and_suggestions(plate):
    said = brushwork("features", cwd=plate)
    for name in ("gaussian", "hessian", "FAMILY[,FAMILY...]", "preset ecc"):
        assert name in said
    assert "4 maps" in brushwork("features", "gaussian:1,2 hessian:1", cwd=plate)
    said = brushwork(
        "suggest-features", "cells_a.tif", "--labels", "strokes_a.tif", "--classes", "outside,inside",
        "--features", "gaussian:1,3.5 hessian:1", cwd=plate,
    )  # fmt: skip
    selection = said.split("--features '")[1].split("'")[0]
    assert bw.FeatureSet.parse(selection).features


def test_doctor_says_what_would_bring_what_is_missing(plate):
    said = brushwork("doctor", cwd=plate)
    for word in ("threads", "memory", "cache", "imagecodecs", "trained and predicted"):
        assert word in said


def test_report_of_a_run(plate, tmp_path):
    brushwork("predict", "model.bwm", "cells_a.tif", "cells_c.tif", "-o", tmp_path, cwd=plate)
    brushwork("report", tmp_path, cwd=plate)
    assert "cells_c" in (tmp_path / "report.html").read_text()


def test_a_repeated_command_continues_with_what_is_missing(plate, tmp_path):
    brushwork("predict", "model.bwm", "cells_a.tif", "-o", tmp_path, cwd=plate)
    for n_done in (1, 2):
        said = brushwork("predict", "model.bwm", "cells_a.tif", "cells_b.tif", "-o", tmp_path, cwd=plate)
        assert said.count("done before") == n_done
    said = brushwork("predict", "model.bwm", "cells_a.tif", "-o", tmp_path, "--overwrite", cwd=plate)
    assert "done before" not in said


def test_what_another_model_made_is_not_done_before(plate, tmp_path):
    strokes = ("cells_a.tif", "--labels", "strokes_a.tif", "--classes", "outside,inside", "--features", "fast")
    brushwork("train", *strokes, "-o", tmp_path / "other.bwm", "--seed", "1", cwd=plate)
    brushwork("predict", "model.bwm", "cells_a.tif", "-o", tmp_path, cwd=plate)
    said = brushwork("predict", tmp_path / "other.bwm", "cells_a.tif", "-o", tmp_path, cwd=plate, code=2)
    assert "exists already" in said


def test_a_changed_image_is_not_done_before(plate, tmp_path):
    (tmp_path / "x.tif").write_bytes((plate / "cells_a.tif").read_bytes())
    brushwork("predict", plate / "model.bwm", "x.tif", "-o", "out", cwd=tmp_path)
    pixels = 255 - tifffile.imread(plate / "cells_a.tif")
    tifffile.imwrite(tmp_path / "x.tif", pixels)
    said = brushwork("predict", plate / "model.bwm", "x.tif", plate / "cells_b.tif", "-o", "out", cwd=tmp_path, code=2)
    assert "exists already" in said


def test_what_is_assumed_of_pixel_sizes_is_told_once(plate, tmp_path):
    given = ("cells_a.tif", "--labels", "strokes_a.tif", "--classes", "outside,inside", "--features", "fast")
    brushwork("train", *given, "-o", tmp_path / "known.bwm", "--pixel-size", "0.5,0.5", cwd=plate)
    predict = ["predict", tmp_path / "known.bwm", "cells_a.tif", "cells_b.tif", "--overwrite", "-o", tmp_path]
    said = brushwork(*predict, cwd=plate)
    assert said.count("unknown; taken as the model's, 0.5 x 0.5 um") == 1
    assert "cells_a.tif is unknown" in said
    said = brushwork(*predict, "--resample", "--pixel-size", "0.5,0.5", cwd=plate)
    assert said.count("cells_a.tif has the model's pixel size already") == said.count("already") == 1
    for known in (["--pixel-size", "0.5,0.5"], ["--pixel-size", "0.25,0.25", "--resample"]):
        said = brushwork(*predict, *known, cwd=plate)
        assert "already" not in said
        assert "unknown" not in said


def test_one_image_may_name_its_output(plate, tmp_path):
    for name in ("one.ome.zarr", "one.tif"):
        brushwork("predict", "model.bwm", "cells_a.tif", "-o", tmp_path / name, cwd=plate)
        brushwork("predict", "model.bwm", "cells_a.tif", "-o", tmp_path / name, "--overwrite", cwd=plate)
        assert bw.open_image(tmp_path / name).shape == (80, 100)


def test_ctrl_c_leaves_nothing_that_looks_complete_and_the_run_continues(plate, tmp_path):
    pixels = np.random.default_rng(0).normal(100, 30, (9000, 9000)).clip(0, 255).astype(np.uint8)
    np.save(tmp_path / "large.npy", pixels)
    out = tmp_path / "large_probabilities.ome.zarr"
    command = [
        COMMAND,
        "predict",
        str(plate / "model.bwm"),
        str(tmp_path / "large.npy"),
        "-o",
        str(tmp_path),
        "--block",
        "64",
    ]
    running = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    done = tmp_path / "large_probabilities.ome.zarr.run" / "done"
    deadline = time.monotonic() + 120
    while not (done.is_dir() and any(done.iterdir())) and time.monotonic() < deadline and running.poll() is None:
        time.sleep(0.02)
    assert running.poll() is None, "the run should be under way"
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "interrupted" in said
    assert not out.exists()
    brushwork(*command[1:], cwd=plate)
    assert bw.open_image(out).shape == (9000, 9000)
    assert not done.exists()


BAD = {
    "missing file": ("predict model.bwm nothing.tif -o out", "nothing.tif"),
    "one of many missing": ("predict model.bwm cells_a.tif nothing.tif -o out", "1 of 2 images are not there"),
    "missing model": ("predict nothing.bwm cells_a.tif -o out", "no model file"),
    "not an image": ("info text.tif", "text.tif"),
    "truncated": ("predict model.bwm cut.tif -o out", "cut.tif"),
    "other channels": ("predict model.bwm rgb.png -o out", "3 channels"),
    "labels of another shape": ("train cells_a.tif --labels small.tif --classes a,b -o x.bwm", "small.tif"),
    "labels with one class": ("train cells_a.tif --labels one.tif --classes a,b -o x.bwm", "at least two classes"),
    "labels with none": ("train cells_a.tif --labels none.tif --classes a,b -o x.bwm", "nothing is painted"),
    "too many names": ("train cells_a.tif --labels strokes_a.tif --classes a,b,c -o x.bwm", "'c'"),
    "too few names": ("train cells_a.tif --labels strokes_a.tif --classes a -o x.bwm", "values 1, 2 but 1 names"),
    "too few labels": ("train cells_a.tif cells_b.tif --labels strokes_a.tif --classes a,b -o x.bwm", "2 image(s)"),
    "unknown family": (
        "train cells_a.tif --labels strokes_a.tif --classes a,b -o x.bwm --features blur:1",
        "known: gaussian",
    ),
    "sigma out of range": (
        "train cells_a.tif --labels strokes_a.tif --classes a,b -o x.bwm --features hessian:999",
        "out of range",
    ),
    "not a colour": ("train cells_a.tif --labels strokes_a.tif --classes a,b -o x.bwm --colors red,blue", "#rrggbb"),
    "values with gaps": ("train cells_a.tif --labels gaps.tif --classes a,b -o x.bwm", "values 1, 3"),
    "not json": ("train cells_a.tif --labels strokes_a.tif --classes a,b -o x.bwm --features [{", "look like JSON"),
    "not a memory": ("predict model.bwm cells_a.tif -o out --memory 1.5.2G", "800M"),
    "cannot be saved": (
        "train cells_a.tif --labels strokes_a.tif --classes a,b -o x.bwm --estimator sklearn:KNeighborsClassifier",
        "pickle",
    ),
    "cannot be saved, said before anything is read": (
        "train nothing.tif --labels nothing.tif --classes a,b -o x.bwm --estimator sklearn:GaussianNB",
        "GaussianNB works in memory but cannot be saved",
    ),
    "no estimator": (
        "train cells_a.tif --labels strokes_a.tif --classes a,b -o x.bwm --estimator sklearn:VotingClassifier",
        "Voting",
    ),
    "existing model": ("train cells_a.tif --labels strokes_a.tif --classes a,b -o model.bwm", "--overwrite"),
    "no folder": ("train cells_a.tif --labels strokes_a.tif --classes a,b -o no/where/x.bwm", "does not exist"),
    "nan": ("predict model.bwm nan.npy -o out", "nan at (3, 4)"),
    "unknown output": ("predict model.bwm cells_a.tif -o out --output maps", "known: prob"),
    "no choice of type": (
        "predict model.bwm cells_a.tif -o out --output segmentation --dtype uint16",
        "always stored as uint8",
    ),
    "unknown format": ("predict model.bwm cells_a.tif -o out --as jpeg", "known: ome-zarr"),
    "zip as model": ("info zip.bwm", "zip archive"),
    "pickle as model": ("info pickle.bwm", "pickle"),
    "text as model": ("info text.bwm", "not a brushwork model"),
    "two of one name": ("predict model.bwm cells_a.tif cells_a.tif -o out", "would both be written"),
    "one file for two": ("predict model.bwm cells_a.tif cells_b.tif -o out.ome.zarr", "need a folder"),
    "nearly an output": (
        "predict model.bwm cells_a.tif -o out --output segmentatoin",
        "unknown output 'segmentatoin' (did you mean 'segmentation'?); known: probabilities",
    ),
    "nearly a preset": (
        "train cells_a.tif --labels strokes_a.tif --classes a,b -o x.bwm --features fsat",
        "did you mean the preset 'fast'?",
    ),
    "a preset and more": ("features fast;hessian:1", "'fast' is not a feature selection: a preset stands alone"),
    "nearly a family": ("features hesian", "a family needs its sigmas, e.g. hessian:1,1.6"),
    "nearly a family with sigma": ("features hesian:1", "did you mean 'hessian'?"),
    "image and model swapped": ("predict cells_a.tif model.bwm -o out", "brushwork predict model.bwm cells_a.tif"),
    "unknown option": ("predict model.bwm --nonsense", "--nonsense"),
    "usage of a subcommand": ("predict", "(brushwork predict --help)"),
    "no image": ("predict model.bwm -o out", "no image was given"),
    "nowhere to": ("predict model.bwm cells_a.tif", "give -o FOLDER"),
    "all of no project": ("predict model.bwm --all -o out", "--all is for projects"),
    "training without labels": ("train cells_a.tif -o x.bwm", "needs --labels, --classes and -o"),
    "usage": ("--nonsense", "(brushwork --help)"),
    "not a run": ("report .", "brushwork-run.json"),
}


@pytest.fixture(scope="module")
def bad_files(plate):
    import pickle
    import zipfile

    (plate / "text.tif").write_text("not an image")
    (plate / "text.bwm").write_text("not a model")
    (plate / "pickle.bwm").write_bytes(pickle.dumps([1, 2]))
    with zipfile.ZipFile(plate / "zip.bwm", "w") as archive:
        archive.writestr("a", "b")
    data = (plate / "cells_a.tif").read_bytes()
    (plate / "cut.tif").write_bytes(data[: len(data) // 2])
    Image.fromarray(np.zeros((80, 100, 3), np.uint8)).save(plate / "rgb.png")
    pixels = np.zeros((80, 100), np.float32)
    pixels[3, 4] = np.nan
    np.save(plate / "nan.npy", pixels)
    strokes = tifffile.imread(plate / "strokes_a.tif")
    tifffile.imwrite(plate / "small.tif", strokes[:40])
    tifffile.imwrite(plate / "one.tif", strokes * (strokes == 1))
    tifffile.imwrite(plate / "none.tif", strokes * 0)
    tifffile.imwrite(plate / "gaps.tif", strokes + (strokes == 2))
    return plate


@pytest.mark.parametrize(
    ("given", "near"),
    [("fsat", "fast"), ("FAST", "fast"), ("dapi", "0 (DAPI)"), ("10", None), ("zebra", None), ("", None)],
)
def test_the_closest_name(given, near):
    assert closest(given, ["all", "fast", "0 (DAPI)", "1"]) == near


@pytest.mark.parametrize("name", ["DecisionTreeClassifier", "RandomForestClassifier", "ExtraTreesClassifier"])
def test_trees_of_scikit_learn_can_be_saved(name):
    check_can_be_saved(name)


@pytest.mark.parametrize("name", BAD)
def test_bad_input_gets_one_clear_line(bad_files, name):
    command, expected = BAD[name]
    said = brushwork(*command.split(), cwd=bad_files, code=2)
    assert expected in said.replace("\n", " ")
    assert "Traceback" not in said
    assert not (bad_files / "x.bwm").exists()


def test_debug_shows_the_traceback(bad_files):
    done = subprocess.run([COMMAND, "info", "text.tif", "--debug"], cwd=bad_files, capture_output=True, text=True)
    assert done.returncode != 0
    assert "Traceback" in done.stderr


def test_records_are_json(plate, tmp_path):
    brushwork("predict", "model.bwm", "cells_a.tif", "-o", tmp_path, cwd=plate)
    record = json.loads((tmp_path / "brushwork-run.json").read_text())
    assert record["images"][0]["kind"] == "probabilities"


def test_what_is_there_for_another_reason_is_named_before_work_begins(plate, tmp_path):
    brushwork("predict", "model.bwm", "cells_b.tif", "-o", tmp_path, cwd=plate)
    (tmp_path / "brushwork-run.json").unlink()
    said = brushwork("predict", "model.bwm", "cells_*.tif", "-o", tmp_path, cwd=plate, code=2)
    assert "cells_b_probabilities.ome.zarr exists already" in said
    assert not (tmp_path / "cells_a_probabilities.ome.zarr").exists()


@pytest.mark.parametrize("change", [["--dtype", "uint16"], ["--axes", "yx"], ["--ignore", "strokes_a.tif"]])
def test_done_before_means_with_the_same_settings(plate, tmp_path, change):
    given = ["predict", "model.bwm", "cells_a.tif", "-o", tmp_path]
    brushwork(*given, cwd=plate)
    said = brushwork(*given, "cells_b.tif", *change, cwd=plate, code=2)
    assert "cells_a_probabilities.ome.zarr exists already" in said
    brushwork(*given, "--overwrite", *change, cwd=plate)
    assert "done before" in brushwork(*given, "cells_b.tif", *change, cwd=plate)


def test_pngs_of_channels_are_done_before_and_not_overwritten(plate, tmp_path):
    given = ["predict", "model.bwm", "--as", "png", "-o", tmp_path]
    brushwork(*given, "cells_a.tif", cwd=plate)
    assert "done before" in brushwork(*given, "cells_a.tif", "cells_b.tif", cwd=plate)
    (tmp_path / "cells_c_probabilities_inside.png").write_text("mine")
    said = brushwork(*given, "cells_a.tif", "cells_c.tif", cwd=plate, code=2)
    assert "cells_c_probabilities_inside.png exists already" in said


@pytest.mark.parametrize("out", ["model.bwm/out", "/proc/x"])
def test_a_folder_that_cannot_be_is_told(plate, out):
    assert "cannot be written" in brushwork("predict", "model.bwm", "cells_a.tif", "-o", out, cwd=plate, code=2)
