"""The report: one file, exact areas, nothing of the user's left unescaped, nothing missing passed over."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brushwork import report
from brushwork.accuracy import RELIABILITY_BINS, Accuracy, with_accuracy
from brushwork.classifier import Classifier
from brushwork.errors import InputError, RunError
from brushwork.estimators.tree_forest import TreeForest
from brushwork.features import FeatureSet
from brushwork.image import ArrayImage, as_image
from brushwork.io import write_image
from brushwork.jobs import Settings, output_layout, read_record, record

CLASSES = ("sky", "sea", "sand")
COLORS = ("#0072B2", "#E69F00", "#009E73")
HOSTILE = ('<script>alert("1")</script>', "\"><img src=x onerror='1'>", "a & b {{ 7 * 7 }}")


def a_model(shape=(40, 50), classes=CLASSES, colors=COLORS, channels=1) -> Classifier:
    """A model that was never trained: one leaf. The report asks it for words and numbers only."""
    image = ArrayImage(np.zeros((channels, *shape), np.uint8), "c" + "zyx"[-len(shape) :])
    features = FeatureSet.parse("gaussian:1 hessian:1.6").resolved(image)
    leaf = TreeForest(
        feature=np.array([-1], np.int32),
        threshold=np.zeros(1),
        children=np.zeros((1, 2), np.int32),
        leaves=np.full((1, len(classes)), 1 / len(classes), np.float32),
        roots=np.zeros(1, np.int32),
        weights=np.linspace(1, 0, features.n_maps, dtype=np.float32),
    )
    return Classifier(features, tuple(classes), leaf, len(shape), tuple(colors), image.channel_names)


def an_accuracy(classes=CLASSES) -> Accuracy:
    """The last class was not tested; a tenth of the first is taken for the second."""
    n = len(classes)
    confusion = np.diag([90, 50] + [0] * (n - 2))
    confusion[0, 1] = 10
    bins = np.linspace(0.4, 0.95, RELIABILITY_BINS)
    return Accuracy(
        tuple(classes), confusion, np.array([4, 2] + [0] * (n - 2)), bins, bins - 0.05, np.full(RELIABILITY_BINS, 30)
    )


def a_run(
    folder: Path, model: Classifier, pixels, values, *, output="segmentation", suffix=".npy", pixel_size=None, axes=None
):
    """A folder as `brushwork predict` leaves it: an image, the model, an output, the record.

    pixels : the image. values : what was predicted for it, (channels, *spatial) or, of a segmentation, (*spatial).
    """
    folder.mkdir(parents=True, exist_ok=True)
    axes = axes or "zyx"[-pixels.ndim :]
    np.save(folder / "shore.npy", pixels)
    image = ArrayImage(pixels, axes, str(folder / "shore.npy"), pixel_size=pixel_size)
    model.save(folder / "shore.bwm")
    settings = Settings(output=output)
    out = folder / "results" / f"shore_{output}{suffix}"
    out.parent.mkdir(exist_ok=True)
    layout = output_layout(model, image, settings)
    if layout.kind == "segmentation":
        layout = replace(layout, channel_names=model.classes, colors=model.colors)
    stored = ArrayImage(values, "t" * ("t" in axes) + "c" * layout.has_channels + "zyx"[-len(image.shape) :])
    write_image(stored, out, layout=layout)
    entry = {
        "image": image.uri,
        "output": out.name,
        "axes": axes,
        "level": None,
        "pixel_size": pixel_size,
        "seconds": 1.5,
    }
    record(out.parent, folder / "shore.bwm", settings, entry)
    return out.parent


def sheet(folder: Path, model: Classifier, edge: int = 720) -> report.Sheet:
    run = read_record(folder)
    return report.sheet_of(run["images"][0], folder, run, model, edge=edge)


def random_classes(shape, seed=0):
    return np.random.default_rng(seed).integers(1, 4, shape).astype(np.uint8)


def random_probabilities(shape, seed=0):
    """(3, *shape) uint8, some pixels 0 in every class (left out by a mask), some equal in two."""
    values = np.random.default_rng(seed).integers(1, 6, (3, *shape)).astype(np.uint8)
    values[:, : shape[0] // 4] = 0
    return values


def counted(classes) -> list[int]:
    return [int((classes == k).sum()) for k in (1, 2, 3)]


# ---------------------------------------------------------------------------------------------------------------- the page


def test_page_is_one_file_without_references(tmp_path):
    model = with_accuracy(a_model(), an_accuracy())
    folder = a_run(tmp_path, model, random_classes((40, 50)), random_classes((40, 50)))
    page = report.write_report(folder)
    assert page == folder / "report.html"
    assert list(folder.glob("*.part")) == []
    text = page.read_text(encoding="utf-8")
    assert text.lstrip().startswith("<!DOCTYPE html>")
    assert text.rstrip().endswith("</html>")
    assert text.count("<img") == 2
    assert re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)""", text) == []
    assert not re.search(r"https?:|url\(|@import|<script|<link", text)


def test_page_is_the_same_every_time(tmp_path):
    folder = a_run(tmp_path, a_model(), random_classes((40, 50)), random_classes((40, 50)))
    first = report.write_report(folder, tmp_path / "a.html").read_bytes()
    assert report.write_report(folder, tmp_path / "b.html").read_bytes() == first


def test_names_are_escaped(tmp_path):
    colors = ('red;background:url("http://x")', COLORS[1], "</style>")
    model = with_accuracy(a_model(classes=HOSTILE, colors=colors), an_accuracy(HOSTILE))
    folder = a_run(tmp_path, replace(model, colors=COLORS), random_classes((40, 50)), random_classes((40, 50)))
    model.with_provenance(images=["<b>x</b>.tif"]).save(tmp_path / "shore.bwm")
    text = report.write_report(folder).read_text(encoding="utf-8")
    for raw in (*HOSTILE[:2], "<b>x</b>", "http://x"):
        assert raw not in text
    assert "&lt;script&gt;" in text
    assert "{{ 7 * 7 }}" in text  # not evaluated
    assert text.count("</style>") == 1


def test_accuracy_is_told_with_what_it_cannot_say(tmp_path):
    model = with_accuracy(a_model(), an_accuracy())
    folder = a_run(tmp_path, model, random_classes((40, 50)), random_classes((40, 50)))
    text = report.write_report(folder).read_text(encoding="utf-8")
    assert "95.0\u00a0%" in text  # balanced: the mean of 0.9 and 1
    assert re.search(r"10\.0\u00a0% of what was painted as <b>sky</b> was taken for <b>sea</b>", text)
    assert re.search(r"Not tested: sand\.", text)
    assert re.search(r"fewer than three strokes: sea\.", text)
    assert text.count("<circle") == RELIABILITY_BINS
    assert "hessian 1.6 px in 2D [0]" in text


def test_model_without_accuracy_says_so(tmp_path):
    folder = a_run(tmp_path, a_model(), random_classes((40, 50)), random_classes((40, 50)))
    assert "holds no accuracy estimate" in report.write_report(folder).read_text(encoding="utf-8")


# ------------------------------------------------------------------------------------------------------------------- areas


@pytest.mark.parametrize("suffix", [".ome.zarr", ".tif", ".h5", ".npy", ".png"])
@pytest.mark.parametrize("output", ["segmentation", "probabilities"])
def test_areas_of_every_format_equal_numpy(tmp_path, suffix, output):
    model, shape = a_model(), (40, 50)
    if output == "segmentation":
        values = random_classes(shape)
        expected = counted(values)
    else:
        values = random_probabilities(shape)
        expected = counted(np.where(values.any(0), values.argmax(0) + 1, 0))
    made = sheet(a_run(tmp_path, model, random_classes(shape), values, output=output, suffix=suffix), model)
    assert made.problem == ""
    assert [a.pixels for a in made.areas] == expected
    assert made.ignored + sum(expected) == 40 * 50
    assert sum(a.share for a in made.areas) == pytest.approx(1)
    assert len(made.pictures) == 2


@pytest.mark.parametrize(("shape", "axes"), [((9, 70, 65), "zyx"), ((3, 70, 65), "tyx"), ((2, 8, 40, 30), "tzyx")])
def test_areas_are_counted_over_sections_frames_and_blocks(tmp_path, monkeypatch, shape, axes):
    monkeypatch.setattr(report, "COUNTED_BYTES", 1)  # blocks of 64 pixels
    spatial = shape[axes.index("t") + 1 :] if "t" in axes else shape
    model, values = a_model(spatial), random_classes(shape)
    made = sheet(a_run(tmp_path, model, random_classes(shape, 1), values, axes=axes), model)
    assert made.problem == ""
    assert [a.pixels for a in made.areas] == counted(values)
    assert "areas are of everything" in made.facts[-1]


@pytest.mark.parametrize(
    ("shape", "pixel_size", "one", "unit"),
    [((40, 50), (0.5, 0.4), 0.2, "µm²"), ((8, 20, 20), (2, 0.5, 0.5), 0.5, "µm³")],
)
def test_sizes_are_areas_and_volumes(tmp_path, shape, pixel_size, one, unit):
    model, values = a_model(shape), random_classes(shape)
    made = sheet(a_run(tmp_path, model, random_classes(shape), values, pixel_size=pixel_size), model)
    assert made.unit == unit
    assert [a.size for a in made.areas] == pytest.approx([n * one for n in counted(values)])


def test_png_of_classes_whose_file_names_would_meet(tmp_path):
    model, values = a_model(classes=("a b", "a/b", "c")), random_probabilities((40, 50))
    made = sheet(a_run(tmp_path, model, values[0], values, output="probabilities", suffix=".png"), model)
    assert [a.pixels for a in made.areas] == counted(np.where(values.any(0), values.argmax(0) + 1, 0))


# ----------------------------------------------------------------------------------------------------------- what is missing


def test_moved_image_is_noted_and_the_result_shown(tmp_path):
    model, values = a_model(), random_classes((40, 50))
    folder = a_run(tmp_path, model, random_classes((40, 50)), values)
    (tmp_path / "shore.npy").unlink()
    made = sheet(folder, model)
    assert "could not be opened" in made.notes[0]
    assert [a.pixels for a in made.areas] == counted(values)
    assert [caption for caption, _ in made.pictures] == ["Segmentation"]
    report.write_report(folder)


@pytest.mark.parametrize("harm", ["missing", "truncated", "classes", "shape"])
def test_unusable_result_is_noted(tmp_path, harm):
    model, values = a_model(), random_classes((40, 50))
    folder = a_run(tmp_path, model, random_classes((40, 50)), values)
    file = folder / "shore_segmentation.npy"
    if harm == "missing":
        file.unlink()
    elif harm == "truncated":
        file.write_bytes(file.read_bytes()[:-7])
    else:
        np.save(file, np.full((40, 50), 9, np.uint8) if harm == "classes" else values[:30])
    made = sheet(folder, model)
    assert "The result could not be read" in made.problem
    assert made.areas == ()
    assert "The result could not be read" in report.write_report(folder).read_text(encoding="utf-8")


def test_missing_model_is_an_error_that_names_it(tmp_path):
    folder = a_run(tmp_path, a_model(), random_classes((40, 50)), random_classes((40, 50)))
    (tmp_path / "shore.bwm").rename(folder / "shore.bwm")
    report.write_report(folder)  # found beside the outputs
    (folder / "shore.bwm").unlink()
    with pytest.raises(InputError, match=r"shore\.bwm.*put it back"):
        report.write_report(folder)


def test_folder_without_a_run_is_an_error(tmp_path):
    with pytest.raises(InputError, match="brushwork predict"):
        report.write_report(tmp_path)


def test_page_that_cannot_be_written_is_an_error(tmp_path):
    folder = a_run(tmp_path, a_model(), random_classes((40, 50)), random_classes((40, 50)))
    with pytest.raises(RunError, match="could not be written"):
        report.write_report(folder, tmp_path / "nowhere" / "report.html")


# ---------------------------------------------------------------------------------------------------------------- pictures


@pytest.mark.parametrize("output", ["uncertainty", "features"])
def test_other_outputs_show_one_channel_and_no_areas(tmp_path, output):
    model = a_model()
    n = 1 if output == "uncertainty" else model.features.n_maps
    values = np.random.default_rng(0).random((n, 40, 50)).astype(np.float32)
    values = (values * 255).astype(np.uint8) if output == "uncertainty" else values
    made = sheet(a_run(tmp_path, model, random_classes((40, 50)), values, output=output), model)
    assert made.problem == ""
    assert made.areas == ()
    assert len(made.pictures) == 2


@given(st.tuples(st.integers(1, 90), st.integers(1, 90)), st.integers(1, 40))
def test_picture_is_the_mean_and_classes_come_from_the_same_places(shape, edge):
    """Pixel (i, j) of a picture is the mean of the box at step * (i, j); its class is that of a pixel in the box."""
    view = report.view_of(shape, edge=edge)
    assert all(1 <= n <= edge for n in view.shape)
    values = random_classes(shape)
    (step_y, step_x), (rows, columns) = view.step, view.shape
    boxes = values[: rows * step_y, : columns * step_x].reshape(rows, step_y, columns, step_x).astype(np.float32)
    assert np.allclose(report.averaged(as_image(values), view, (0,))[0], boxes.mean((1, 3)))
    classes = report.class_picture(as_image(values), view, "segmentation")
    assert (boxes == classes[:, None, :, None]).any((1, 3)).all()


def test_picture_is_read_in_strips(monkeypatch):
    values = np.random.default_rng(0).random((64, 48)).astype(np.float32)
    view = report.view_of(values.shape, edge=16)
    at_once = report.averaged(as_image(values), view, (0,))
    monkeypatch.setattr(report, "STRIP", 1)
    assert np.array_equal(report.averaged(as_image(values), view, (0,)), at_once)


def test_large_planes_are_cut_to_their_middle(monkeypatch):
    monkeypatch.setattr(report, "LARGEST_PLANE", 100)
    view = report.view_of((7, 301, 80), n_frames=5)
    assert view.region.start == (3, 100, 0)
    assert view.region.stop == (4, 200, 80)
    assert view.region.t == 2
    assert (
        view.note == "pictures show frame 3 of 5, section 4 of 7, the middle 100 × 80 pixels, areas are of everything"
    )


def test_colour_images_are_shown_in_colour():
    rgb = ArrayImage(np.zeros((8, 8, 3), np.uint8), "yxc", channel_names=("red", "green", "blue"))
    stains = ArrayImage(np.zeros((3, 8, 8), np.uint16), "cyx", channel_names=("DAPI", "GFP", "Cy5"))
    assert report.shown_channels(rgb) == (0, 1, 2)
    assert report.shown_channels(stains) == (0,)
    assert report.picture_of(stains, report.view_of((8, 8)))[1] == "Image, DAPI (1 of 3 channels)"


@pytest.mark.parametrize("values", [np.zeros((5, 5)), np.full((5, 5), np.nan), np.array([[1, np.inf], [np.nan, 2]])])
def test_flat_and_broken_pixels_still_make_a_picture(values):
    assert report.stretched(values.astype(np.float32)).dtype == np.uint8


def test_a_picture_of_noise_is_written_without_complaint(capfd):
    noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)
    assert report.data_uri(noise).startswith("data:image/jpeg")
    assert capfd.readouterr().err == ""


def test_outlines_lie_between_classes():
    classes = np.ones((6, 6), int)
    classes[2:4, 2:4] = 2
    drawn = [
        "......",
        "..##..",
        ".#.#..",
        ".###..",
        "......",
        "......",
    ]  # a pixel is drawn where its right or lower neighbour differs
    assert ["".join(".#"[int(v)] for v in row) for row in report.outlines(classes)] == drawn
    counts = np.array([0, 32, 4])
    picture = report.overlaid(np.zeros((6, 6, 3), np.uint8), classes, ["#0000FF", "#FF0000"], counts)
    assert (picture[1, 2] == (round(255 * report.OUTLINE), 0, 0)).all()  # framed in the colour of the rarer class
    assert (picture[0, 0] == (0, 0, round(255 * report.FAINT_TINT))).all()


def test_many_images_get_small_pictures(tmp_path, monkeypatch):
    shape = (report.SMALL_EDGE * 2, 40)
    folder = a_run(tmp_path, a_model(shape), random_classes(shape), random_classes(shape))
    usual = report.write_report(folder).stat().st_size
    monkeypatch.setattr(report, "MANY", 1)
    assert report.write_report(folder).stat().st_size < usual / 2


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0.0\u00a0%"),
        (0.0001, "< 0.1\u00a0%"),
        (0.1234, "12.3\u00a0%"),
        (0.9999, "> 99.9\u00a0%"),
        (1, "100.0\u00a0%"),
    ],
)
def test_percent_calls_nothing_and_everything_only_what_is(share, text):
    assert report.percent(share) == text


def test_an_image_is_read_by_the_model_and_settings_it_was_made_with(tmp_path):
    classes = random_classes((40, 50))
    folder = a_run(tmp_path, a_model(), np.zeros((40, 50), np.float32), classes)
    a_model(classes=("sky", "sea", "land")).save(tmp_path / "other.bwm")
    np.save(folder / "second.npy", classes.astype(np.uint8))
    entry = {"image": str(tmp_path / "shore.npy"), "output": "second.npy", "axes": "yx", "seconds": 1.0}
    record(folder, tmp_path / "other.bwm", Settings(output="segmentation", resample=True), entry)
    page = report.write_report(folder).read_text()
    assert "predicted with shore.bwm" in page
    assert "no; yes" in page
    assert "Areas at a glance" not in page  # the classes are not the same
    (tmp_path / "shore.bwm").unlink()
    assert "is not there any more" in report.write_report(folder).read_text()
