"""What a model may claim."""

import numpy as np
import pytest

from brushwork.accuracy import Accuracy, folds_of, held_out, held_out_probabilities, measured
from brushwork.errors import InputError
from brushwork.estimators import estimator
from brushwork.suggest import best_small, suggest_features
from brushwork.training import TrainingRows, prepare
from painting import example


def table_of(y, strokes):
    n = len(y)
    return TrainingRows(np.zeros((n, 1), np.float32), np.array(y), np.array(strokes), np.zeros(n, int))


def test_no_stroke_is_on_both_sides():
    rng = np.random.default_rng(0)
    strokes = rng.integers(0, 12, 300)
    table = table_of(strokes % 3, strokes)
    fold = folds_of(table, 3)
    for s in range(12):
        assert len(set(fold[strokes == s].tolist())) == 1
    assert set(fold.tolist()) == {0, 1, 2, 3}
    for k in range(4):  # every class is held out in every fold
        assert set(table.y[fold == k].tolist()) == {0, 1, 2}


def test_a_class_with_one_stroke_is_never_held_out():
    table = table_of([0, 0, 1, 1, 1], [0, 1, 2, 2, 2])
    assert folds_of(table, 2).tolist() == [0, 1, -1, -1, -1]


class Memory:
    """An estimator that knows the rows it has seen by heart, and guesses class 0 for others."""

    def fit(self, rows, y, *, n_classes, strokes=None, seed=0, threads=None):
        seen = {row.tobytes(): c for row, c in zip(rows, y)}

        class Fitted:
            def predict(self, maps, out=None):
                p = np.zeros((n_classes, maps.shape[1]), np.float32)
                for i, row in enumerate(np.ascontiguousarray(maps.T)):
                    p[seen.get(row.tobytes(), 0), i] = 1
                return p

        return Fitted()


def test_knowing_strokes_by_heart_is_worth_nothing():
    image, labels, _ = example()
    prepared = prepare([(image, labels)], "gaussian:1")
    fold = folds_of(prepared.table, 2)
    p = held_out_probabilities(prepared, Memory(), fold)
    accuracy = measured(prepared.table, p, prepared.classes)
    assert accuracy.balanced == 0.5
    assert accuracy.recall.tolist() == [1, 0]


def test_measures_on_an_example_by_hand():
    table = table_of([0, 0, 0, 0, 1, 1], [0, 0, 1, 1, 2, 3])
    p = np.array([[0.9, 0.8, 0.7, 0.4, 0.3, np.nan]], np.float32)
    accuracy = measured(table, np.concatenate([p, 1 - p]), ("a", "b"))
    assert accuracy.confusion.tolist() == [[3, 1], [0, 1]]
    assert accuracy.recall.tolist() == [0.75, 1]
    assert accuracy.balanced == 0.875
    assert accuracy.strokes.tolist() == [2, 1]
    assert accuracy.confused() == [("a", "b", 0.25)]
    assert accuracy.counts.sum() == 5
    again = Accuracy.from_json(accuracy.to_json())
    np.testing.assert_array_equal(again.confusion, accuracy.confusion)
    assert again.balanced == accuracy.balanced


def test_held_out_accuracy_of_an_easy_image_is_high_and_calibrated():
    image, labels, _ = example((90, 120), n=6)
    accuracy = held_out(prepare([(image, labels)], "fast", classes=["out", "in"]))
    assert accuracy.balanced > 0.95
    assert accuracy.calibration_error < 0.2


def test_suggestions_shrink_and_keep_what_matters():
    image, labels, _ = example((90, 120), n=5)
    prepared = prepare([(image, labels)], "gaussian:0.7,1.6,3.5 hessian:1,3.5 laplacian:1")
    suggestions = suggest_features(prepared, estimator("symmetric-forest", trees=30))
    sizes = [len(s.features.features) for s in suggestions]
    assert sizes == [6, 4, 2, 1]
    assert all(s.cost > 0 for s in suggestions)
    best = best_small(suggestions)
    assert best.accuracy >= max(s.accuracy for s in suggestions) - 0.01
    assert any(f.family == "gaussian" for f in suggestions[-1].features.features)


def test_suggestions_need_strokes_to_hold_out():
    image, labels, _ = example(n=1)
    with pytest.raises(InputError, match="two strokes"):
        suggest_features(prepare([(image, labels)], "fast"))
