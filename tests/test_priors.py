"""How common classes are taken to be."""

import json
from dataclasses import replace

import numpy as np
import pytest

from brushwork import priors
from brushwork.accuracy import assess
from brushwork.classifier import Classifier
from brushwork.errors import InputError
from brushwork.image import as_image
from brushwork.jobs import model_hash
from brushwork.labels import from_array
from brushwork.training import train
from painting import example, strokes_on


def rare(shape=(160, 240), seed=0):
    """A dim image with few bright spots that noise hides half-way, as much painted of spots as of the rest."""
    rng = np.random.default_rng(seed)
    truth = np.ones(shape, np.uint8)
    y, x = np.indices(shape)
    for cy, cx in rng.integers(8, np.array(shape) - 8, (12, 2)):
        truth[(y - cy) ** 2 + (x - cx) ** 2 < 25] = 2
    pixels = (truth == 2) * 60 + rng.normal(100, 40, shape)
    return as_image(pixels.astype(np.float32)), from_array(strokes_on(truth, n=6, length=9)), truth


def test_weights_go_half_way_in_log_odds():
    w = priors.weights(np.array([0.5, 0.5]), np.array([0.8, 0.2]))
    assert w == (1, 0.5)
    p = np.array([[0.5], [0.5]], np.float32)
    priors.reweigh(p, w)
    np.testing.assert_allclose(p[:, 0], [2 / 3, 1 / 3], rtol=1e-6)  # odds 2 : 1, half-way from 1 : 1 to 4 : 1
    assert priors.weights(np.array([0.2, 0.3, 0.5]), np.array([0.2, 0.3, 0.5])) == (1, 1, 1)


def test_no_class_is_written_off():
    assert priors.weights(np.array([0.5, 0.5]), np.array([1 - 1e-9, 1e-9])) == (1, priors.LEAST_WEIGHT)


@pytest.mark.parametrize(
    ("shape", "edge"), [((300, 500), 128), ((60, 100, 130), 48), ((5, 7), 128), ((1, 300, 300), 48)]
)
def test_samples_lie_in_the_image_in_cells_with_strokes(shape, edge):
    painted = np.zeros(shape, np.uint8)
    painted[(0,) * len(shape)] = painted[(-1,) * len(shape)] = 1
    labels = from_array(painted)
    (sample,) = priors.around([labels])
    assert len(sample) > 0
    assert (sample.positions >= 0).all()
    assert (sample.positions < shape).all()
    assert {tuple(c) for c in sample.positions // edge} == {tuple(c) for c in labels.positions // edge}
    assert len(np.unique(sample.coords, axis=0)) == len(sample)


def test_a_further_stroke_exchanges_at_most_one_cell():
    rng = np.random.default_rng(0)
    painted = np.zeros((2000, 2000), np.uint8)
    painted[tuple(rng.integers(0, 2000, (2, 60)))] = 1
    more = painted.copy()
    more[5, 5] = 2

    def cells(array):
        return {tuple(c) for c in priors.around([from_array(array)])[0].positions // 128}

    before, after = cells(painted), cells(more)
    assert len(before) == len(after) == priors.MOST_CELLS[2]
    assert len(before - after) <= 1


def test_the_cells_are_shared_between_images():
    painted = np.zeros((1000, 1000), np.uint8)
    painted[::50, ::50] = 1
    labels = from_array(painted)
    sampled = priors.around([labels, labels])
    cells = [len(np.unique(s.positions // 128, axis=0)) for s in sampled]
    assert sum(cells) == priors.MOST_CELLS[2]
    assert min(cells) > 0


def test_samples_are_on_the_frames_of_the_strokes():
    painted = np.zeros((3, 40, 50), np.uint8)
    painted[2, 10, 10] = 1
    (sample,) = priors.around([from_array(painted, has_time=True)])
    assert set(sample.frames.tolist()) == {2}


def test_a_rare_class_painted_as_much_as_a_common_one_takes_less_that_is_not_its_own():
    image, labels, truth = rare()
    pixels = image.source
    as_painted = train([(image, labels)], "fast", priors="strokes")
    moved = train([(image, labels)], "fast")
    assert as_painted.class_weights == ()
    assert moved.class_weights[0] == 1 > moved.class_weights[1]
    np.testing.assert_array_equal(
        replace(moved, class_weights=()).predict_array(pixels), as_painted.predict_array(pixels)
    )
    wrong = [(m.predict_array(pixels).argmax(0) + 1 != truth).mean() for m in (as_painted, moved)]
    assert wrong[1] < 0.8 * wrong[0]
    np.testing.assert_allclose(moved.predict_array(pixels).sum(0), 1, atol=1e-6)


def test_accuracy_is_that_of_the_moved_probabilities():
    image, labels, _ = rare()
    moved, as_painted = (assess([(image, labels)], "fast", priors=p) for p in priors.PRIORS)
    assert moved.recall[0] >= as_painted.recall[0]
    assert moved.recall[1] <= as_painted.recall[1]
    assert moved.calibration_error < 0.25


def test_balanced_classes_start_from_equal_shares():
    image, labels, _ = rare()
    from brushwork.estimators import estimator

    one = train([(image, labels)], "fast", estimator=estimator("symmetric-forest", balanced=True, trees=20))
    around = np.array(list(one.provenance["shares around the strokes"].values()))
    expected = np.sqrt(around / around.max())
    np.testing.assert_allclose(one.class_weights, np.maximum(expected, priors.LEAST_WEIGHT), atol=1e-3)


def test_pixels_that_are_no_numbers_are_left_out_of_the_sample():
    image, labels, _ = example((140, 160))
    pixels = image.source.astype(np.float32)
    pixels[-20:, -20:] = np.nan
    model = train([(as_image(pixels), labels)], "gaussian:1")
    assert np.isfinite(model.class_weights).all()


def test_weights_are_saved_and_are_part_of_what_a_model_is(tmp_path):
    image, labels, _ = rare()
    model = train([(image, labels)], "gaussian:1")
    model.save(tmp_path / "m.bwm")
    assert Classifier.load(tmp_path / "m.bwm").class_weights == model.class_weights
    assert model_hash(model) != model_hash(replace(model, class_weights=()))


@pytest.mark.parametrize("bad", [[1.0], [1.0, 0.0], [1.0, float("nan")], [2.0, 1.0]])
def test_weights_that_cannot_be_are_refused(tmp_path, bad):
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    image, labels, _ = example()
    path = tmp_path / "m.bwm"
    train([(image, labels)], "gaussian:1").save(path)
    with safe_open(path, "numpy") as file:
        metadata = file.metadata()
    header = json.loads(metadata["brushwork-model"])
    header["class_weights"] = bad
    save_file(load_file(path), path, metadata={"brushwork-model": json.dumps(header)})
    with pytest.raises(InputError, match="class weights"):
        Classifier.load(path)


def test_other_priors_are_refused():
    image, labels, _ = example()
    with pytest.raises(InputError, match="'image' or 'strokes'"):
        train([(image, labels)], "fast", priors="maybe")
