"""Ordinary forests: the fast way gives the bits of the slow walk, for scikit-learn's trees and for vigra's."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from brushwork.estimators.tree_forest import TreeForest, VigraForest
from brushwork.interchange.vigra_forest import StoredForest, from_vigra, to_vigra
from brushwork.kernels.tree_forest import LEAF
from ilp_files import random_forests, walked

N_MAPS = 5


def imported(forests, n_classes: int) -> VigraForest:
    stored = tuple(StoredForest(N_MAPS, n_classes, tuple(trees)) for trees in forests)
    return from_vigra(stored, np.arange(n_classes), n_classes)


def some_rows(seed: int, n: int, forest: TreeForest) -> np.ndarray:
    """(n, N_MAPS) float32, many of them exactly on a threshold."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, N_MAPS)).astype(np.float32)
    thresholds = forest.threshold[forest.feature != LEAF].astype(np.float32)
    if len(thresholds):
        rows[::2] = rng.choice(thresholds, rows[::2].shape)
    return rows


def slow_mean(forest: TreeForest, maps: np.ndarray) -> np.ndarray:
    """Pixel by pixel and tree by tree, as the class says it."""
    out = np.zeros((forest.n_classes, maps.shape[1]), np.float32)
    for p in range(maps.shape[1]):
        for root in forest.roots:
            node = root
            while forest.feature[node] != LEAF:
                side = 0 if maps[forest.feature[node], p] <= forest.threshold[node] else 1
                node = forest.children[node, side]
            out[:, p] += forest.leaves[node]
    return (out / np.float32(len(forest.roots))).astype(np.float32)


@given(
    seed=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    n_classes=st.integers(1, 4),
    n=st.sampled_from([1, 255, 256, 300, 777]),
    pure=st.booleans(),
)
def test_votes_are_those_of_vigras_walk_to_the_bit(seed, sizes, n_classes, n, pure):
    forests = random_forests(seed, tuple(sizes), N_MAPS, n_classes, pure=pure)
    forest = imported(forests, n_classes)
    rows = some_rows(seed, n, forest)
    rows[seed % n, 0] = np.nan
    np.testing.assert_array_equal(forest.predict(np.ascontiguousarray(rows.T)), walked(forests, rows).T)


@given(seed=st.integers(0, 10**6), n=st.sampled_from([3, 256, 300]), pure=st.booleans())
def test_one_mean_over_all_trees_is_the_slow_walks(seed, n, pure):
    given_ = imported(random_forests(seed, (20,), N_MAPS, 3, pure=pure), 3)
    arrays = {k: v for k, v in given_.arrays().items() if k != "forests"}
    forest = TreeForest(**arrays)
    maps = np.ascontiguousarray(some_rows(seed, n, forest).T)
    maps[0, 0] = np.nan
    np.testing.assert_array_equal(forest.predict(maps), slow_mean(forest, maps))


@given(seed=st.integers(0, 10**6), height=st.integers(1, 40), width=st.integers(1, 300))
def test_the_shape_of_the_tile_changes_no_bit(seed, height, width):
    forest = imported(random_forests(seed, (3, 2), N_MAPS, 2), 2)
    maps = np.ascontiguousarray(some_rows(seed, height * width, forest).T)
    np.testing.assert_array_equal(forest.predict(maps, width=width), forest.predict(maps))


def test_trees_that_are_a_single_leaf_answer_with_it():
    leaf = TreeForest(
        feature=np.array([LEAF, LEAF], np.int32),
        threshold=np.zeros(2),
        children=np.zeros((2, 2), np.int32),
        leaves=np.array([[0.25, 0.75], [0.75, 0.25]], np.float32),
        roots=np.array([0, 1], np.int32),
        weights=np.ones(1, np.float32),
    )
    np.testing.assert_array_equal(leaf.predict(np.array([[1.0, np.nan]], np.float32)), 0.5)


def test_thresholds_that_float32_does_not_have_are_kept_exactly():
    near = np.float32(0.1)
    for threshold, expected in (
        (float(near), 1.0),
        (np.nextafter(float(near), 0), 0.0),
        (np.nextafter(float(near), 1), 1.0),
    ):
        forest = TreeForest(
            feature=np.array([0, LEAF, LEAF], np.int32),
            threshold=np.array([threshold, 0, 0]),
            children=np.array([[1, 2], [0, 0], [0, 0]], np.int32),
            leaves=np.array([[0, 0], [1, 0], [0, 1]], np.float32),
            roots=np.zeros(1, np.int32),
            weights=np.ones(1, np.float32),
        )
        assert forest.predict(np.full((1, 5), near))[0].tolist() == [expected] * 5


@given(seed=st.integers(0, 10**6), pure=st.booleans())
def test_vigras_layout_survives_the_way_there_and_back(seed, pure):
    forests = random_forests(seed, (2, 3), N_MAPS, 3, pure=pure)
    forest = imported(forests, 3)
    again = to_vigra(forest)
    rows = some_rows(seed, 400, forest)
    maps = np.ascontiguousarray(rows.T)
    np.testing.assert_array_equal(imported([again[:2], again[2:]], 3).predict(maps), forest.predict(maps))
    np.testing.assert_array_equal(walked([list(again[:2]), list(again[2:])], rows).T, forest.predict(maps))


def test_classes_that_no_label_was_painted_for_get_nothing():
    forests = random_forests(3, (4,), N_MAPS, 2)
    stored = (StoredForest(N_MAPS, 2, tuple(forests[0])),)
    forest = from_vigra(stored, np.array([0, 2]), 4)
    rows = some_rows(3, 300, forest)
    found = forest.predict(np.ascontiguousarray(rows.T))
    np.testing.assert_array_equal(found[[0, 2]], walked(forests, rows).T)
    assert not found[[1, 3]].any()


@pytest.mark.parametrize(
    "change",
    [
        {"roots": np.array([0, 0], np.int32)},
        {"children": np.array([[1, 1], [0, 0], [0, 0]], np.int32)},
        {"children": np.array([[0, 2], [0, 0], [0, 0]], np.int32)},
        {"feature": np.array([7, LEAF, LEAF], np.int32)},
        {"threshold": np.zeros(2)},
    ],
)
def test_arrays_that_are_no_trees_are_refused(change):
    arrays = {
        "feature": np.array([0, LEAF, LEAF], np.int32),
        "threshold": np.zeros(3),
        "children": np.array([[1, 2], [0, 0], [0, 0]], np.int32),
        "leaves": np.eye(3, 2, dtype=np.float32),
        "roots": np.zeros(1, np.int32),
        "weights": np.ones(1, np.float32),
    }
    TreeForest(**arrays)
    with pytest.raises(ValueError, match="do not describe trees"):
        TreeForest(**arrays | change)
