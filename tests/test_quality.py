"""What may be said of strokes that a classifier has not seen."""

from dataclasses import replace

import numpy as np
import pytest

from brushwork.accuracy import folds_of
from brushwork.errors import InputError
from brushwork.estimators import estimator
from brushwork.image import as_image
from brushwork.labels import Labels, from_array
from brushwork.priors import reweigh
from brushwork.quality import NOT_ENOUGH, Estimate, agreement, checked, expected_recall, image_folds
from brushwork.training import TrainingRows, fit, prepare
from painting import example, strokes_on, two_tone

FOREST = estimator("symmetric-forest", trees=30)


def prepared_ball(n=6, shape=(90, 120), **keywords):
    image, labels, _ = example(shape, n=n)
    return prepare([(image, labels)], "fast", classes=["out", "in"], **keywords), {"ball": labels}


def several(n_images, **strokes):
    """Examples of several balls, and their labels by image id."""
    examples = [example((60, 80), seed=seed, **strokes)[:2] for seed in range(n_images)]
    return examples, {f"ball{i}": labels for i, (_, labels) in enumerate(examples)}


def with_wrong_stroke(labels, truth):
    """The labels with a stroke of class 1 inside the ball, and that stroke's number."""
    row, column = truth.shape[0] // 2, truth.shape[1] // 2
    at = np.array([(row, x) for x in range(column - 5, column + 5)])
    free = ~(labels.positions[:, None] == at).all(2).any(1)
    wrong = Labels(labels.shape, at, np.full(len(at), 1, np.uint8), np.zeros(len(at), np.int32))
    kept = labels.chosen(free)
    return kept.merged(wrong), int(kept.strokes.max()) + 1


def test_an_easy_image_is_agreed_on_within_an_interval():
    prepared, painted = prepared_ball()
    told = agreement(prepared, painted, FOREST)
    assert told.overall.value > 0.9
    for one in (told.overall, *told.recall):
        assert 0 <= one.low <= one.value <= one.high <= 1
    assert told.overall.value == pytest.approx(np.mean([one.value for one in told.recall]))
    assert told.left_out == "strokes"
    assert told.strokes.tolist() == [6, 6]
    assert told.disagreements == ()
    assert told.lacking == ()


def test_the_same_strokes_are_told_the_same():
    prepared, painted = prepared_ball()
    assert agreement(prepared, painted, FOREST).overall == agreement(prepared, painted, FOREST).overall


def test_noise_is_not_agreed_on():
    pixels, truth = two_tone((90, 120), contrast=0.0)
    labels = from_array(strokes_on(truth, n=8))
    told = agreement(prepare([(as_image(pixels), labels)], "gaussian:0.3"), {"noise": labels}, FOREST)
    assert told.overall.value < 0.7
    assert told.overall.high - told.overall.low > 0.02


def test_below_four_strokes_nothing_is_claimed_of_a_class_nor_over_all():
    image, labels, _ = example((90, 120), n=5)
    ins = np.unique(labels.strokes[labels.classes == 2])
    fewer = labels.chosen(~np.isin(labels.strokes, ins[3:]))
    told = agreement(prepare([(image, fewer)], "fast", classes=["out", "in"]), {"ball": fewer}, FOREST)
    assert told.recall[0].is_known
    assert told.recall[1].words == told.overall.words == NOT_ENOUGH
    assert told.lacking == ("in",)
    assert told.strokes.tolist() == [5, 3]
    assert told.accuracy.recall[1] > 0.8  # confusions are still there to look at


def test_one_stroke_per_class_is_not_enough_and_no_error():
    prepared, painted = prepared_ball(n=1)
    told = agreement(prepared, painted, FOREST)
    assert not told.overall.is_known
    assert told.lacking == ("out", "in")
    assert told.disagreements == ()


def test_words():
    assert Estimate(0.874, 0.8, 0.93).words == "87 % (80 to 93 %)"
    assert Estimate().words == "not enough strokes to tell"


def test_whole_images_are_left_out_from_three_on():
    for n_images, left_out in ((2, "strokes"), (3, "images")):
        examples, painted = several(n_images, n=2)
        told = agreement(prepare(examples, "fast"), painted, FOREST)
        assert told.left_out == left_out


def table_of(y, images):
    n = len(y)
    return TrainingRows(np.zeros((n, 1), np.float32), np.array(y), np.arange(n), np.array(images))


def test_an_image_is_in_one_fold_and_no_class_is_lost():
    fold = image_folds(table_of([0, 1] * 8, np.repeat(np.arange(8), 2)), 2)
    assert set(fold.tolist()) == {0, 1, 2, 3, 4}
    assert (fold.reshape(8, 2)[:, 0] == fold.reshape(8, 2)[:, 1]).all()
    assert image_folds(table_of([0, 1, 0, 0], [0, 0, 1, 2]), 2) is None  # class 1 is on one image only
    assert image_folds(table_of([0, 1, 0, 1], [0, 0, 1, 1]), 2) is None


def test_strokes_count_alike_whatever_their_length():
    prepared, painted = prepared_ball(priors="strokes")
    assert prepared.around is None
    told = agreement(prepared, painted, FOREST)
    per_stroke = [1 - d.share for d in told.disagreements] + [1.0] * (12 - len(told.disagreements))
    assert told.overall.value == pytest.approx(np.mean(per_stroke), abs=0.05)


class Asks:
    """A recipe that notes what it is trained on and answers as if it knew nothing."""

    def __init__(self):
        self.seen = []

    def fit(self, rows, y, *, n_classes, strokes=None, seed=0, threads=None):
        self.seen.append(set(strokes.tolist()))

        class Fitted:
            def predict(self, maps, out=None):
                return np.full((n_classes, maps.shape[1]), 1 / n_classes, np.float32)

        return Fitted()


def test_every_stroke_is_left_out_once():
    prepared, painted = prepared_ball()
    asks = Asks()
    told = agreement(prepared, painted, asks)
    everything = set(prepared.table.strokes.tolist())
    left_out = [everything - seen for seen in asks.seen]
    assert sorted(s for some in left_out for s in some) == sorted(everything)
    assert len(left_out) == folds_of(prepared.table, 2).max() + 1
    assert told.recall[0].value == 1  # ties go to the first class
    assert told.recall[1].value == 0


@pytest.mark.parametrize("n_folds", [0, 1, 3])
def test_stopping_between_folds(n_folds):
    prepared, painted = prepared_ball()
    asks = Asks()
    assert agreement(prepared, painted, asks, stop=lambda: len(asks.seen) >= n_folds) is None
    assert len(asks.seen) == n_folds


def test_a_wrong_stroke_is_found_with_a_place_to_jump_to():
    image, labels, truth = example((90, 120), n=6)
    labels, number = with_wrong_stroke(labels, truth)
    told = agreement(prepare([(image, labels)], "fast", classes=["out", "in"]), {"the ball": labels}, FOREST)
    worst = told.disagreements[0]
    assert (worst.image, worst.stroke, worst.painted, worst.called) == ("the ball", number, "out", "in")
    assert worst.share > 0.8
    mine = labels.positions[labels.strokes == number].tolist()
    assert list(worst.position) in mine
    assert told.confused()[0][:2] == ("out", "in")


def test_the_worst_disagreement_comes_first_and_names_its_image():
    examples, painted = several(3, n=4)
    truth = two_tone((60, 80), 1)[1]
    wrong, number = with_wrong_stroke(examples[1][1], truth)
    examples[1], painted["ball1"] = (examples[1][0], wrong), wrong
    told = agreement(prepare(examples, "fast"), painted, FOREST)
    assert (told.disagreements[0].image, told.disagreements[0].stroke) == ("ball1", number)
    shares = [d.share for d in told.disagreements]
    assert shares == sorted(shares, reverse=True)


def test_positions_belong_to_their_strokes_over_several_cells_and_frames():
    pixels = np.stack([two_tone((150, 300), seed)[0] for seed in range(2)])
    truths = np.stack([two_tone((150, 300), seed)[1] for seed in range(2)])
    array = np.stack([strokes_on(truth, n=4) for truth in truths])
    array[1][array[1] > 0] = 3 - array[1][array[1] > 0]  # classes swapped on the second frame
    labels = from_array(array, has_time=True)
    image = as_image(pixels, axes="tyx")
    told = agreement(prepare([(image, labels)], "fast"), {"film": labels}, FOREST)
    for one in told.disagreements:
        mine = labels.coords[labels.strokes == one.stroke].tolist()
        assert list(one.position) in mine
        assert f"class {array[one.position]}" == one.painted
    assert told.disagreements


def test_other_labels_than_were_prepared_are_refused():
    prepared, painted = prepared_ball()
    with pytest.raises(InputError, match="prepared"):
        agreement(prepared, {"ball": painted["ball"].chosen(np.arange(5))}, FOREST)


def test_class_weights_decide_what_pixels_are_called():
    prepared, painted = prepared_ball()
    asks = Asks()
    told = agreement(prepared, painted, asks, class_weights=(0.5, 1.0))
    assert (told.recall[0].value, told.recall[1].value) == (0, 1)


def test_expected_recall_by_hand():
    """Two kinds of pixels, as common as painted: three sure ones of each class and two in doubt, called class 0."""
    around = np.array([[1, 1, 1, 0, 0, 0, 0.5, 0.5]], np.float32)
    recall = expected_recall(np.concatenate([around, 1 - around]), np.array([0.5, 0.5]))
    assert recall.tolist() == [1, 0.75]


def test_what_is_rare_in_the_image_is_expected_to_be_rare_among_the_doubtful():
    around = np.array([[1.0] * 8 + [0.0] + [0.5]], np.float32)
    both = np.concatenate([around, 1 - around])
    recall = expected_recall(both, np.array([0.5, 0.5]))
    assert recall[0] == 1
    assert 0.75 < recall[1] < 1  # 1 of 1.5 if the doubtful pixel were of either class
    called_second = expected_recall(both, np.array([0.5, 0.5]), (0.9, 1.0))
    assert called_second[1] == 1
    assert called_second[0] < 1


def test_what_is_expected_around_is_averaged_with_what_strokes_say():
    prepared, painted = prepared_ball()
    alone = agreement(replace(prepared, around=None), painted, FOREST)
    half = prepared.around[: len(prepared.around) // 2]
    both = agreement(replace(prepared, around=half), painted, FOREST)
    assert both.overall.value != alone.overall.value
    assert both.overall.high - both.overall.low > alone.overall.high - alone.overall.low
    assert abs(both.overall.value - alone.overall.value) <= 0.5


def test_strokes_for_checking_are_scored_by_the_model_itself():
    image, labels, truth = example((90, 120), n=6)
    model = fit(prepare([(image, labels)], "fast", classes=["out", "in"]), FOREST)
    checks = from_array(strokes_on(truth, n=5, seed=7))
    told = checked(model, {"ball": (image, checks)})
    answer = model.predict_array(two_tone((90, 120))[0])
    called = answer.argmax(0)[tuple(checks.positions.T)] + 1
    expected = [
        np.mean([(called[checks.strokes == s] == c).mean() for s in np.unique(checks.strokes[checks.classes == c])])
        for c in (1, 2)
    ]
    assert [one.value for one in told.recall] == pytest.approx(expected)
    assert told.left_out == "checks"
    assert told.accuracy.confusion.sum() == len(checks)


def test_few_strokes_for_checking_are_not_enough():
    image, labels, truth = example((90, 120), n=6)
    model = fit(prepare([(image, labels)], "fast"), FOREST)
    none = checked(model, {})
    assert none.overall.words == NOT_ENOUGH
    some = checked(model, {"ball": (image, from_array(strokes_on(truth, n=3, seed=7)))})
    assert some.overall.words == NOT_ENOUGH
    assert checked(model, {}, stop=lambda: True) is None


def test_checking_a_class_that_the_model_does_not_know_is_an_error():
    image, labels, _ = example((90, 120), n=6)
    model = fit(prepare([(image, labels)], "fast"), FOREST)
    other = Labels(labels.shape, labels.coords, labels.classes + np.uint8(1), labels.strokes)
    with pytest.raises(InputError, match="class 3"):
        checked(model, {"ball": (image, other)})


def test_reweighing_once_and_only_once():
    """The claim counts what the classifier would answer: probabilities times class weights."""
    prepared, painted = prepared_ball()
    weights = (1.0, 0.25)
    told = agreement(prepared, painted, FOREST, class_weights=weights)
    fold = folds_of(prepared.table, 2)
    confusion = np.zeros((2, 2), int)
    for k in range(fold.max() + 1):
        test = fold == k
        table = prepared.table
        fitted = FOREST.fit(table.rows[~test], table.y[~test], n_classes=2, strokes=table.strokes[~test], seed=0)
        p = fitted.predict(np.ascontiguousarray(table.rows[test].T))
        reweigh(p, weights)
        np.add.at(confusion, (table.y[test], p.argmax(0)), 1)
    assert told.accuracy.confusion.tolist() == confusion.tolist()
