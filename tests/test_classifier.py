"""From strokes to probabilities, and the model file."""

import json
import pickle
import zipfile

import numpy as np
import pytest

import brushwork as bw
from brushwork.blocks import grid, whole
from brushwork.classifier import Classifier
from brushwork.errors import InputError
from brushwork.features import FeatureSet
from brushwork.image import as_image
from brushwork.labels import from_array
from brushwork.training import train, training_rows
from painting import example, strokes_on, two_tone


@pytest.fixture(scope="module")
def trained():
    image, labels, truth = example()
    return train([(image, labels)], "fast", classes=["outside", "inside"], seed=3), image, truth


@pytest.mark.parametrize("shape", [(60, 80), (16, 30, 40)])
def test_a_few_strokes_find_the_ball(shape):
    image, labels, truth = example(shape)
    model = train([(image, labels)], "gaussian:1,1.6 hessian:1.6")
    probabilities = model.predict_array(image.source)
    assert probabilities.shape == (2, *shape)
    np.testing.assert_allclose(probabilities.sum(0), 1, atol=1e-5)
    assert (probabilities.argmax(0) + 1 == truth).mean() > 0.97


def test_the_same_strokes_and_seed_give_the_same_model(trained):
    model, image, _ = trained
    _, labels, _ = example()
    for threads in (1, 3):
        again = train([(image, labels)], "fast", classes=["outside", "inside"], seed=3, threads=threads)
        np.testing.assert_array_equal(
            again.predict_array(image.source, threads=threads), model.predict_array(image.source)
        )
    other = train([(image, labels)], "fast", seed=4)
    assert (other.predict_array(image.source) != model.predict_array(image.source)).any()


@pytest.mark.parametrize(("shape", "edge"), [((60, 80), (17, 23)), ((14, 30, 40), (9, 16, 11))])
def test_blocks_equal_whole_bit_for_bit(shape, edge):
    image, labels, _ = example(shape)
    model = train([(image, labels)], "*:1.6")
    expected = model.predict_array(image.source)
    for region in grid(whole(shape), edge):
        part = model.predict_block(image, model.block(image, region))
        np.testing.assert_array_equal(part, expected[(slice(None), *region.slices)])


def test_training_rows_are_the_maps_at_painted_pixels():
    image, labels, _ = example((70, 150))
    features = FeatureSet.preset("fast").resolved(image)
    table = training_rows([(image, labels), (image, labels)], features)
    maps = features.at(image, features.block(image, whole(image.shape)))
    expected = maps[(slice(None), *labels.positions.T)].T
    order = np.lexsort(expected.T)
    for i in (0, 1):
        mine = table.rows[table.images == i]
        np.testing.assert_array_equal(mine[np.lexsort(mine.T)], expected[order])
    assert len(np.unique(table.strokes)) == 2 * len(np.unique(labels.strokes))


def test_colour_images_channels_and_classes():
    pixels, truth = two_tone()
    rgb = np.stack([pixels, 200 - pixels, np.zeros_like(pixels)], -1)
    truth = truth + (np.arange(80) > 50).astype(np.uint8) * 2
    rgb[..., 2] = (np.arange(80) > 50) * 100
    image = as_image(rgb, axes="yxc")
    model = train([(image, from_array(strokes_on(truth, n=3, length=4)))], "gaussian:1", channels=[0, 2])
    assert model.n_classes == len(np.unique(truth)) == 4
    assert (model.predict_array(rgb, axes="yxc").argmax(0) + 1 == truth).mean() > 0.95


@pytest.mark.parametrize(
    ("features", "pixel_size", "told"),
    [
        ("fast", (5, 1, 1), "section by section: z is at least 3"),
        ("fast", None, "as if voxels were cubes"),
        ("all", (1, 1, 1), r"sigma 5, 10"),
        ("hessian:1/2d", (5, 1, 1), None),
    ],
)
def test_what_the_image_settled_is_told(features, pixel_size, told):
    image, labels, _ = example((14, 30, 40), pixel_size=pixel_size)
    notes = " ".join(train([(image, labels)], features).provenance["notes"])
    assert told in notes if told else notes == ""


def test_frames_are_apart():
    first, truth = two_tone(seed=1)
    frames = np.stack([first, first[::-1, ::-1], first])
    painted = np.stack([strokes_on(truth), np.zeros_like(truth), np.zeros_like(truth)])
    image = as_image(frames, axes="tyx")
    labels = from_array(painted, has_time=True)
    model = train([(image, labels)], "fast")
    alone = train([(as_image(first), from_array(painted[0]))], "fast")
    expected = alone.predict_array(frames[1])
    region = whole(image.shape, t=1)
    np.testing.assert_array_equal(model.predict_block(image, model.block(image, region)), expected)


# -- the model file ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "estimator", ["symmetric-forest", "sklearn:ExtraTreesClassifier", "sklearn:DecisionTreeClassifier"]
)
def test_save_load_predict_is_identical(tmp_path, estimator):
    image, labels, _ = example(pixel_size=(0.5, 0.5))
    model = train(
        [(image, labels)], "fast", classes=["outside", "in<side>"], estimator=estimator, colors=["#000000", "#ff0000"]
    )
    model.save(tmp_path / "m.bwm")
    again = Classifier.load(tmp_path / "m.bwm")
    np.testing.assert_array_equal(again.predict_array(image.source), model.predict_array(image.source))
    for name in ("features", "classes", "colors", "channel_names", "pixel_size", "ndim", "axes", "provenance"):
        assert getattr(again, name) == getattr(model, name)
    assert list(tmp_path.iterdir()) == [tmp_path / "m.bwm"]


def test_forests_of_scikit_learn_are_walked_as_scikit_learn_does():
    from sklearn.ensemble import RandomForestClassifier

    image, labels, _ = example()
    model = train([(image, labels)], "fast", estimator="sklearn:RandomForestClassifier", priors="strokes", seed=5)
    table = training_rows([(image, labels)], model.features)
    theirs = RandomForestClassifier(random_state=5).fit(table.rows, table.y)
    maps = model.features.at(image, model.block(image, whole(image.shape))).reshape(model.features.n_maps, -1)
    np.testing.assert_allclose(
        model.predict_array(image.source).reshape(2, -1).T, theirs.predict_proba(maps.T), atol=1e-6
    )


def test_models_that_only_a_pickle_could_hold_work_in_memory_and_are_not_saved(tmp_path):
    image, labels, truth = example()
    model = train([(image, labels)], "fast", estimator="sklearn:KNeighborsClassifier")
    assert (model.predict_array(image.source).argmax(0) + 1 == truth).mean() > 0.95
    with pytest.raises(InputError, match="pickle"):
        model.save(tmp_path / "m.bwm")
    assert not list(tmp_path.iterdir())


def damaged_files(model, folder):
    good = folder / "good.bwm"
    model.save(good)
    data = good.read_bytes()
    flipped = bytearray(data)
    flipped[-100] ^= 1
    yield "one bit flipped", bytes(flipped)
    yield "cut off", data[: len(data) // 2]
    yield "empty", b""
    yield "text", b"hello, this is not a model"
    yield "pickle", pickle.dumps({"model": 1})
    with zipfile.ZipFile(folder / "a.zip", "w") as archive:
        archive.writestr("x", "y")
    yield "zip", (folder / "a.zip").read_bytes()
    n = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + n])
    for change in ("format", "classes", "features", "estimator", "json", "list"):
        inner = json.loads(header["__metadata__"]["brushwork-model"])
        metadata = {"brushwork-model": json.dumps({k: v for k, v in inner.items() if k != change})}
        if change in ("format", "json", "list"):
            metadata = {"format": {"other": "x"}, "json": {"brushwork-model": "{"}, "list": {"brushwork-model": "[]"}}[
                change
            ]
        changed = json.dumps({**header, "__metadata__": metadata}).encode()
        yield f"no {change}", len(changed).to_bytes(8, "little") + changed + data[8 + n :]


def test_what_is_not_a_model_says_so(trained, tmp_path):
    model, _, _ = trained
    with pytest.raises(InputError, match="there is no model file"):
        Classifier.load(tmp_path / "absent.bwm")
    for _, data in damaged_files(model, tmp_path):
        bad = tmp_path / "bad.bwm"
        bad.write_bytes(data)
        with pytest.raises(InputError, match=r"bad\.bwm"):
            Classifier.load(bad)


# -- bad input ---------------------------------------------------------------------------------------------------------


def test_one_class_is_not_enough():
    image, labels, _ = example()
    with pytest.raises(InputError, match="at least two classes; only 'outside' is painted"):
        train([(image, labels.chosen(labels.classes == 1))], classes=["outside", "inside"])
    with pytest.raises(InputError, match="nothing is painted"):
        train([(image, labels.chosen(labels.classes == 9))])
    with pytest.raises(InputError, match="at least one image"):
        train([])


def test_class_names_are_counted():
    image, labels, _ = example()
    with pytest.raises(InputError, match="no pixel of 'third'"):
        train([(image, labels)], classes=["a", "b", "third"])
    with pytest.raises(InputError, match="values 1, 2 but 1 names"):
        train([(image, labels)], classes=["a"])
    with pytest.raises(InputError, match="different"):
        train([(image, labels)], classes=["a", "a"])


def test_labels_of_frames_that_are_not_there_are_refused():
    image, labels, _ = example()
    late = from_array(np.stack([np.zeros((60, 80), np.uint8), strokes_on(two_tone()[1])]), has_time=True)
    with pytest.raises(InputError, match=r"1 frame\(s\)"):
        train([(image, late)], "fast")
    movie = as_image(np.stack([image.source, image.source]), axes="tyx")
    with pytest.raises(InputError, match="which frame"):
        train([(movie, labels)], "fast")


def test_one_known_pixel_size_speaks_for_all():
    image, labels, _ = example()
    images = [bw.as_image(image.source, pixel_size=size) for size in (None, (1, 1), (5, 5))]
    with pytest.raises(InputError, match="one pixel size"):
        train([(i, labels) for i in images], "fast")
    assert train([(i, labels) for i in images[:2]], "fast").pixel_size == (1, 1)


def test_channels_in_another_order_are_refused():
    pixels, truth = two_tone()
    both = np.stack([pixels, 200 - pixels])
    named, swapped = (bw.image.ArrayImage(both, "cyx", "", names) for names in [("DAPI", "GFP"), ("GFP", "DAPI")])
    model = train([(named, from_array(strokes_on(truth)))], "fast")
    model.check_image(named)
    with pytest.raises(InputError, match="another order"):
        model.check_image(swapped)


def test_labels_of_another_image_are_refused():
    image, _, _ = example()
    _, labels, _ = example((50, 50))
    with pytest.raises(InputError, match="cannot belong"):
        train([(image, labels)])


def test_images_of_another_kind_are_refused(trained):
    model, image, _ = trained
    with pytest.raises(InputError, match="3 channels"):
        model.predict_array(np.zeros((50, 60, 3), np.uint8), axes="yxc")
    with pytest.raises(InputError, match="is 3D"):
        model.predict_array(np.zeros((50, 60, 30), np.uint8))
    _, labels, _ = example()
    sized = bw.as_image(image.source, pixel_size=(1, 1))
    model = train([(sized, labels)], "fast")
    model.predict_array(image.source, pixel_size=(1.04, 1))
    with pytest.raises(InputError, match="--resample"):
        model.predict_array(image.source, pixel_size=(1.06, 1))
    with pytest.raises(InputError, match="2D and"):
        train([(image, labels), example((10, 20, 30))[:2]], "fast")


def test_what_is_no_image_is_told_what_would_be():
    image, labels, _ = example()
    for wrong in ((image.source, labels), ("cells.tif", labels)):
        with pytest.raises(InputError, match="as_image"):
            train([wrong], "fast")
    with pytest.raises(InputError, match="pairs"):
        train([(image, image.source)], "fast")
    with pytest.raises(InputError, match="pairs"):
        train((image, labels), "fast")
    assert len(repr(labels)) < 100


def test_unknown_estimators_and_settings():
    image, labels, _ = example()
    for name, said in [
        ("forest", "known: symmetric-forest"),
        ("sklearn:Nothing", "unknown classifier"),
        ("sklearn:RidgeClassifier", "no prob"),
    ]:
        with pytest.raises(InputError, match=said):
            train([(image, labels)], "fast", estimator=name)
