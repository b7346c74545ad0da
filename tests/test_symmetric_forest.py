"""The symmetric forest: kernels against slow NumPy, fast paths against plain ones, saved against grown."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays as arrays_of

from brushwork.estimators.symmetric_forest import (
    FittedSymmetricForest,
    SymmetricForest,
    _numbered_strokes,
    encode_columns,
    fit_knots,
    slopes,
)
from brushwork.kernels import forest_predict, forest_train
from brushwork.kernels.bytes64 import fast_path

PATHS = ["plain", "fast"]


@pytest.fixture(params=PATHS)
def path(request, monkeypatch):
    """Run the test on both paths; the fast one where the machine has it."""
    choose(request.param, monkeypatch)
    return request.param


def choose(path, monkeypatch):
    monkeypatch.setenv("BRUSHWORK_PLAIN_KERNELS", "1" if path == "plain" else "0")
    if path == "fast" and not fast_path():
        pytest.skip("this machine has no AVX-512 VBMI: only the plain kernels are tested")


def strokes(n=300, n_maps=6, n_classes=3, seed=0):
    """Rows whose class is the range that map 0 lies in, and maps of other pixels."""
    random = np.random.default_rng(seed)
    rows = random.normal(size=(n, n_maps)).astype(np.float32)
    limits = np.quantile(rows[:, 0], np.linspace(0, 1, n_classes + 1)[1:-1])
    maps = random.normal(size=(n_maps, 300)).astype(np.float32)
    return rows, np.digitize(rows[:, 0], limits), maps


def assert_same(one, other):
    for name, array in one.arrays().items():
        np.testing.assert_array_equal(array, other.arrays()[name], err_msg=name)


# ---- specifications: slow and obvious ------------------------------------------------------------------------------


def encode_slowly(x, knots):
    """Codes of one map's values."""
    steps, slope = knots.astype(np.float32), slopes(knots[None])[0]
    x = np.maximum(np.asarray(x, np.float32), steps[0])
    parts = [(np.minimum(x, steps[j + 1]) - np.minimum(x, steps[j])) * slope[j] for j in range(4)]
    return (((parts[0] + parts[1]) + parts[2]) + parts[3]).astype(np.uint8)


def predict_slowly(forest, maps):
    """Probabilities, tree by tree."""
    codes = np.stack([encode_slowly(values, knots) for values, knots in zip(maps, forest.knots)])
    totals = np.zeros((forest.n_classes - 1, maps.shape[1]), np.int64)
    for questions, thresholds, leaves in zip(forest.maps, forest.thresholds, forest.leaves):
        above = codes[questions] > thresholds[:, None]
        totals += leaves[:, (above << np.arange(len(questions))[:, None]).sum(0)]
    whole = 255 * len(forest.maps)
    totals = np.concatenate([totals, whole - totals.sum(0, keepdims=True)])
    return totals.astype(np.float32) / np.float32(whole)


class SplitMix:
    """splitmix64 in Python's integers."""

    def __init__(self, seed, tree):
        self.state = self.scrambled(seed + self.scrambled(tree + 1))

    @staticmethod
    def scrambled(z):
        z %= 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z ^ (z >> 31)

    def below(self, n):
        self.state = (self.state + 0x9E3779B97F4A7C15) % 2**64
        return (self.scrambled(self.state) >> 32) * n >> 32


def score_slowly(counts_above, counts):
    """Sum over leaves and sides of squared class counts / count, in float32 and this order; counts (n_leaves, n_classes)."""
    score = np.float32(0)
    for above, everyone in zip(counts_above.astype(np.float32), counts.astype(np.float32)):
        for side in (above, everyone - above):
            squares = np.float32(0)
            for count in side:
                squares += count * count
            score += squares / max(side.sum(), np.float32(1))
    return score


def weights_slowly(random, y, strokes):
    """How often each sample is drawn: strokes within their class, with replacement."""
    weights = np.zeros(len(y), int)
    for c in np.unique(y):
        numbers = np.unique(strokes[y == c])
        for _ in numbers:
            weights += (strokes == numbers[random.below(len(numbers))]) & (y == c)
    return weights


def balanced_slowly(weights, y):
    """The same total for every class, as integers: running sums are stretched and rounded down."""
    most = max(weights[y == c].sum() for c in np.unique(y))
    for c in np.unique(y):
        running = weights[y == c].cumsum()
        weights[y == c] = np.diff(running * most // running[-1], prepend=0)
    return weights


def maps_slowly(random, n_maps, maps_per_tree):
    """Different maps: the start of a random permutation."""
    maps = list(range(n_maps))
    for j in range(min(maps_per_tree, n_maps)):
        other = j + random.below(n_maps - j)
        maps[j], maps[other] = maps[other], maps[j]
    return maps[:maps_per_tree]


def candidates_slowly(random, maps, n_candidates):
    """(map, threshold) pairs: four thresholds per map, any code but the last."""
    f = None
    for k in range(n_candidates):
        if k % 4 == 0:
            f = maps[random.below(len(maps))]
        yield f, random.below(255)


def tree_slowly(codes, y, strokes, n_classes, recipe, seed, tree):
    """(maps, thresholds, leaf bytes) of one tree; codes (n, n_maps) uint8."""
    random, n = SplitMix(seed, tree), len(y)
    depth, shrinkage = recipe.depth, recipe.shrinkage
    drawn = weights_slowly(random, y, strokes) if recipe.bootstrap else np.ones(n, int)
    weights = drawn.copy()
    if recipe.balanced:
        weights = balanced_slowly(weights, y)
    tree_maps = maps_slowly(random, codes.shape[1], recipe.maps_per_tree)
    leaf, asked = np.zeros(n, int), []
    for level in range(depth):
        best = None
        counts = np.zeros((1 << level, n_classes))
        np.add.at(counts, (leaf, y), weights)
        for f, threshold in candidates_slowly(random, tree_maps, recipe.candidates):
            counts_above = np.zeros_like(counts)
            np.add.at(counts_above, (leaf, y), weights * (codes[:, f] > threshold))
            score = score_slowly(counts_above, counts)
            if best is None or score > best[0]:
                best = score, f, threshold
        asked.append(best[1:])
        leaf += (codes[:, best[1]] > best[2]).astype(int) << level
    weights = drawn.copy()  # leaves count all samples of classes of few strokes
    for c in np.unique(y):
        if len(np.unique(strokes[y == c])) < 4:
            weights[y == c] = 1
    if recipe.balanced:
        weights = balanced_slowly(weights, y)
    estimates = np.bincount(y, weights, minlength=n_classes).astype(np.float32)[None] / np.float32(weights.sum())
    for level in range(1, depth + 1):
        counts = np.zeros((1 << level, n_classes), np.float32)
        np.add.at(counts, (leaf % (1 << level), y), weights.astype(np.float32))
        parents = np.concatenate([estimates, estimates])
        leaned = counts + np.float32(shrinkage) * parents
        estimates = leaned / (np.float32(shrinkage) + counts.sum(1, keepdims=True))
    rounded = np.floor(np.float32(255) * estimates.cumsum(1, dtype=np.float32) + np.float32(0.5))
    return *zip(*asked), np.diff(rounded, axis=1, prepend=0)[:, :-1].T


# ---- growing -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_maps", [5, 70])
@pytest.mark.parametrize(
    "options",
    [{}, {"balanced": True}, {"maps_per_tree": 3}, {"bootstrap": False}, {"bootstrap": False, "balanced": True}],
)
def test_trees_are_those_of_the_slow_grower(path, options, n_maps):
    rows, y, _ = strokes(80, n_maps)
    y[:50] = 0
    painted = np.random.default_rng(1).integers(0, 9, 80)
    recipe = SymmetricForest(**{"trees": 4, "depth": 4, "candidates": 7, "shrinkage": 1.5, **options})
    codes = encode_columns(rows, fit_knots(rows)).T
    for numbers in (None, painted, np.where(y == 0, painted, painted // 3)):  # at last classes of 9, 3 and 3 strokes
        grown = recipe.fit(rows, y, n_classes=3, strokes=numbers, seed=5)
        for tree in range(4):
            together = np.arange(80) if numbers is None else numbers
            maps, thresholds, leaves = tree_slowly(codes, y, together, 3, recipe, 5, tree)
            assert grown.maps[tree].tolist() == list(maps)
            assert grown.thresholds[tree].tolist() == list(thresholds)
            np.testing.assert_array_equal(grown.leaves[tree], leaves)


@pytest.mark.parametrize(
    ("n", "n_maps", "n_classes", "recipe"),
    [
        (2, 1, 2, {}),
        (300, 6, 3, {}),
        (500, 64, 2, {"candidates": 64}),
        (400, 65, 3, {"balanced": True}),
        (400, 200, 3, {"candidates": 40, "maps_per_tree": 64}),
        (900, 10, 7, {"shrinkage": 0.0, "bootstrap": False}),
        (600, 5, 255, {"depth": 6}),
        (400, 5, 2, {"depth": 12}),
        (400, 5, 3, {"depth": 1, "candidates": 1}),
    ],
)
def test_fast_and_plain_are_the_same(monkeypatch, n, n_maps, n_classes, recipe):
    rows, y, maps = strokes(n, n_maps, n_classes)
    recipe = SymmetricForest(**{"trees": 6, "depth": 8, **recipe})
    grown, answers = [], []
    for path in PATHS:
        choose(path, monkeypatch)
        grown.append(recipe.fit(rows, y, n_classes=n_classes, seed=3))
        answers.append(grown[-1].predict(maps))
    assert_same(*grown)
    np.testing.assert_array_equal(*answers)
    np.testing.assert_array_equal(answers[0], predict_slowly(grown[0], maps))


@pytest.mark.parametrize("threads", [2, 3, 50])
@pytest.mark.parametrize("n_maps", [6, 70])
def test_same_forest_for_any_number_of_threads(threads, n_maps):
    rows, y, _ = strokes(n_maps=n_maps)
    forest = SymmetricForest(trees=13, depth=5)
    assert_same(forest.fit(rows, y, n_classes=3, threads=1), forest.fit(rows, y, n_classes=3, threads=threads))


def test_seeds_and_trees_differ():
    rows, y, _ = strokes()
    one, other = (SymmetricForest(trees=3, depth=5).fit(rows, y, n_classes=3, seed=seed) for seed in (0, -1))
    assert not np.array_equal(one.maps, other.maps)
    assert not np.array_equal(one.thresholds[0], one.thresholds[1])


def test_more_trees_keep_the_first():
    rows, y, _ = strokes()
    few, many = (SymmetricForest(trees=n, depth=5).fit(rows, y, n_classes=3) for n in (3, 8))
    np.testing.assert_array_equal(few.leaves, many.leaves[:3])


@pytest.mark.parametrize("n_classes", [2, 3, 7])
@pytest.mark.parametrize(("n_maps", "at_least"), [(6, 0.85), (100, 0.65)])
def test_learns_a_rule(n_classes, n_maps, at_least):
    """One map matters; of 100, every third tree does not see it."""
    rows, y, _ = strokes(2000, n_maps, n_classes)
    forest = SymmetricForest().fit(rows[:1000], y[:1000], n_classes=n_classes)
    predicted = forest.predict(np.ascontiguousarray(rows[1000:].T)).argmax(0)
    assert np.mean(predicted == y[1000:]) > at_least
    assert forest.importances().argmax() == 0
    assert forest.importances().shape == (n_maps,)
    assert forest.importances().sum() == pytest.approx(1, abs=1e-5)


def test_classes_without_rows_get_nothing():
    rows, y, maps = strokes()
    forest = SymmetricForest(trees=20, depth=6).fit(rows, np.array([1, 3, 4])[y], n_classes=6)
    assert not forest.predict(maps)[[0, 2, 5]].any()


def test_balanced_lets_rare_classes_count_as_much():
    random = np.random.default_rng(0)
    rows, y = random.normal(size=(500, 4)).astype(np.float32), (np.arange(500) < 25).astype(int)
    plain, balanced = (
        SymmetricForest(trees=50, depth=2, balanced=b).fit(rows, y, n_classes=2).predict(rows.T.copy())[1].mean()
        for b in (False, True)
    )
    assert plain == pytest.approx(0.05, abs=0.02)
    assert balanced == pytest.approx(0.5, abs=0.1)


def test_strokes_are_drawn_whole_and_no_class_is_lost(path):
    y = np.repeat([0, 0, 1, 1, 1, 2], 10)
    painted = np.repeat([7, 3, 9, 4, 5, 0], 10)
    state, weights = np.zeros(1, np.uint64), np.empty(60, np.int32)
    for _ in range(50):
        forest_train.draw_weights(state, *_numbered_strokes(y.astype(np.uint8), painted), weights)
        of_stroke = weights.reshape(6, 10)
        assert (of_stroke == of_stroke[:, :1]).all()
        assert of_stroke[:2, 0].sum() == 2
        assert of_stroke[2:5, 0].sum() == 3
        assert of_stroke[5, 0] == 1


def test_numbers_of_strokes_do_not_matter():
    rows, y, _ = strokes()
    painted = np.arange(300) // 7
    one, other, without = (
        SymmetricForest(trees=5, depth=5).fit(rows, y, n_classes=3, strokes=s)
        for s in (painted, 10**12 * painted, None)
    )
    assert_same(one, other)
    assert not np.array_equal(one.leaves, without.leaves)


def test_what_lies_between_two_classes_belongs_to_the_nearer():
    y = np.arange(400) % 2
    rows = (y[:, None] + 0.1 * np.random.default_rng(0).random((400, 4))).astype(np.float32)
    forest = SymmetricForest().fit(rows, y, n_classes=2)
    near, middle, far = forest.predict(np.array([[0.2, 0.55, 0.9]] * 4, np.float32))[1]
    assert near < 0.25 < middle < 0.75 < far


def test_rows_that_do_not_differ_say_how_frequent_classes_are():
    forest = SymmetricForest(trees=50).fit(np.ones((100, 3), np.float32), np.arange(100) // 75, n_classes=2)
    assert forest.predict(np.ones((3, 1), np.float32))[:, 0] == pytest.approx([0.75, 0.25], abs=0.02)
    np.testing.assert_array_equal(forest.importances(), np.full(3, 1 / 3, np.float32))


def test_more_rows_than_16_bits_count():
    rows = np.linspace(-1, 1, 150_000, dtype=np.float32)[:, None]
    forest = SymmetricForest(trees=3, depth=2).fit(rows, rows[:, 0] > 0, n_classes=2)
    assert forest.predict(np.array([[-0.9, 0.9]], np.float32))[1] == pytest.approx([0, 1], abs=0.05)


@given(arrays_of(np.float32, st.tuples(st.integers(1, 20), st.integers(1, 300)), elements=st.floats(0, 1, width=32)))
@settings(deadline=None, max_examples=50)
def test_leaf_bytes_are_within_one_of_their_share(weights):
    probabilities = (weights + np.float32(1e-6)) / (weights + np.float32(1e-6)).sum(1, keepdims=True)
    leaves = np.full((probabilities.shape[1] - 1, len(probabilities)), 77, np.uint8)
    forest_train.round_leaves(probabilities, leaves)
    last = 255 - leaves.sum(0, dtype=int)
    assert np.abs(np.vstack([leaves, last]).T - 255.0 * probabilities).max() < 1.01
    assert last.min() >= 0


# ---- features as bytes ---------------------------------------------------------------------------------------------

RANDOM = np.random.default_rng(1)
COLUMNS = {
    "normal": RANDOM.normal(size=500),
    "huge": 1e9 * RANDOM.normal(size=500),
    "tiny": 1e-9 * RANDOM.normal(size=500),
    "heavy tails": RANDOM.standard_cauchy(size=500) ** 3,
    "largest": np.linspace(-3.4e38, 3.4e38, 500),
    "far from zero": 1e6 + np.arange(500),
    "sparse counts": RANDOM.poisson(0.02, size=500),
    "one outlier": np.eye(1, 500)[0],
    "one of two values": np.arange(500) % 2 + 5.0,
    "bimodal": np.where(np.arange(500) % 3 == 0, 1000, 0) + RANDOM.normal(size=500),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_codes_rise_with_values_and_use_the_range(name):
    column = np.sort(COLUMNS[name].astype(np.float32))
    codes = encode_columns(column[:, None], fit_knots(column[:, None]))[0].astype(int)
    assert codes[0] == 0
    assert codes[-1] == 255
    assert (np.diff(codes) >= 0).all()
    assert len(np.unique(codes)) >= min(len(np.unique(column)), 100) * 0.5


def test_a_constant_map_has_one_code():
    assert (
        np.unique(encode_columns(np.full((9, 1), 7, np.float32), fit_knots(np.full((9, 1), 7, np.float32)))).size == 1
    )


finite = st.floats(-(2.0**120), 2.0**120, width=32)


@given(arrays_of(np.float32, st.integers(1, 400), elements=finite), st.lists(finite, min_size=1, max_size=20))
@settings(deadline=None, max_examples=100)
def test_codes_are_monotone_and_those_of_the_slow_encoder(rows, others):
    knots = fit_knots(rows[:, None])
    values = np.sort(np.concatenate([rows, np.array(others, np.float32)]))
    codes = encode_columns(values[:, None], knots)[0]
    assert (np.diff(codes.astype(int)) >= 0).all()
    np.testing.assert_array_equal(codes, encode_slowly(values, knots[0]))


def test_values_that_are_no_numbers_do_no_harm(path):
    rows, y, _ = strokes()
    forest = SymmetricForest(trees=3, depth=4).fit(rows, y, n_classes=3)
    maps = np.full((6, 3), [np.nan, np.inf, -np.inf], np.float32)
    answers = forest.predict(maps)
    np.testing.assert_array_equal(answers[:, 0], answers[:, 2])
    np.testing.assert_allclose(answers.sum(0), 1, atol=1e-6)


# ---- asking --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("depth", range(1, 13))
def test_predict_is_the_slow_predictor(path, depth):
    forest = random_forest(depth, n_trees=5, n_classes=3)
    maps = np.random.default_rng(2).normal(size=(forest.n_maps, 1500)).astype(np.float32)
    np.testing.assert_array_equal(forest.predict(maps), predict_slowly(forest, maps))


@pytest.mark.parametrize("n_classes", [2, 3, 4, 5, 6, 7, 10, 255])
@pytest.mark.parametrize("n_trees", [1, 6, 600])
def test_any_number_of_classes_and_trees(path, n_classes, n_trees):
    forest = random_forest(3, n_trees, n_classes)
    maps = np.random.default_rng(2).normal(size=(forest.n_maps, 200)).astype(np.float32)
    np.testing.assert_array_equal(forest.predict(maps), predict_slowly(forest, maps))


def test_pixels_do_not_depend_on_their_neighbours(path):
    forest = random_forest(8, n_trees=5, n_classes=3)
    maps = np.random.default_rng(2).normal(size=(forest.n_maps, 3000)).astype(np.float32)
    whole = forest.predict(maps)
    for n in [*range(301), 1023, 1024, 1025, 2500]:
        np.testing.assert_array_equal(forest.predict(maps[:, 7 : 7 + n].copy()), whole[:, 7 : 7 + n])


def test_probabilities_add_up_and_go_into_out(path):
    forest = random_forest(5, n_trees=7, n_classes=7)
    maps = np.random.default_rng(2).normal(size=(forest.n_maps, 77)).astype(np.float32)
    out = np.full((7, 77), np.nan, np.float32)
    assert forest.predict(maps, out) is out
    np.testing.assert_allclose(out.sum(0), 1, atol=1e-6)
    assert out.min() >= 0


def test_forests_take_turns_on_one_thread(path):
    forests = [random_forest(4, 3, n_classes, seed) for seed, n_classes in enumerate([2, 5, 3])]
    maps = [np.random.default_rng(2).normal(size=(f.n_maps, 300)).astype(np.float32) for f in forests]
    for forest, values in [*zip(forests, maps)] * 2:
        np.testing.assert_array_equal(forest.predict(values), predict_slowly(forest, values))


def random_forest(depth, n_trees, n_classes, seed=0):
    """A forest that nobody grew; some of its 20 maps are not asked of."""
    random = np.random.default_rng(seed)
    bounds = np.sort(random.integers(0, 256, size=(n_trees, n_classes - 1, 1 << depth)), axis=1)
    return FittedSymmetricForest(
        maps=random.choice(15, size=(n_trees, depth)).astype(np.int32),
        thresholds=random.integers(0, 256, size=(n_trees, depth)).astype(np.uint8),
        leaves=np.diff(bounds, axis=1, prepend=0).astype(np.uint8),
        knots=np.sort(random.normal(size=(20, 5)).astype(np.float32), axis=1),
        importance=np.full(20, 0.05, np.float32),
    )


# ---- saved and restored --------------------------------------------------------------------------------------------


def test_restored_forest_is_the_same():
    rows, y, maps = strokes()
    forest = SymmetricForest(trees=9, depth=7).fit(rows, y, n_classes=3)
    again = FittedSymmetricForest.restore({k: v.copy() for k, v in forest.arrays().items()}, forest.settings())
    assert_same(forest, again)
    np.testing.assert_array_equal(forest.predict(maps), again.predict(maps))
    assert (again.n_classes, again.n_maps) == (3, 6)


def test_arrays_cannot_be_changed():
    forest = random_forest(3, 2, 3)
    for array in forest.arrays().values():
        with pytest.raises(ValueError, match="read-only"):
            array.flat[0] = 0


DAMAGES = {
    "a map that is not there": lambda a: a["maps"].__setitem__((0, 0), 20),
    "a negative map": lambda a: a["maps"].__setitem__((0, 0), -1),
    "another type": lambda a: a.update(maps=a["maps"].astype(np.int64)),
    "floats for bytes": lambda a: a.update(leaves=a["leaves"].astype(np.float32)),
    "no thresholds": lambda a: a.pop("thresholds"),
    "too few thresholds": lambda a: a.update(thresholds=a["thresholds"][:, :-1]),
    "too few leaves": lambda a: a.update(leaves=a["leaves"][:, :, :-1]),
    "leaves of fewer trees": lambda a: a.update(leaves=a["leaves"][:-1]),
    "nothing": lambda a: a.update(leaves=a["leaves"][:0], maps=a["maps"][:0], thresholds=a["thresholds"][:0]),
    "leaves above 1": lambda a: a["leaves"].__setitem__((0, slice(None), 0), 200),
    "falling knots": lambda a: a["knots"].__setitem__((3, 0), 9),
    "knots that are no numbers": lambda a: a["knots"].__setitem__((3, 0), np.nan),
    "endless knots": lambda a: a["knots"].__setitem__((3, 4), np.inf),
    "four knots": lambda a: a.update(knots=a["knots"][:, :4]),
    "too few importances": lambda a: a.update(importance=a["importance"][:-1]),
    "too deep": lambda a: a.update(maps=np.zeros((5, 40), np.int32), thresholds=np.zeros((5, 40), np.uint8)),
    "flat": lambda a: a.update(maps=a["maps"].ravel()),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_forests_are_refused(damage):
    forest = random_forest(3, 5, 3)
    arrays = {name: array.copy() for name, array in forest.arrays().items()}
    DAMAGES[damage](arrays)
    with pytest.raises(ValueError, match="damaged symmetric forest"):
        FittedSymmetricForest.restore(arrays, forest.settings())


def test_settings_of_another_forest_are_refused():
    forest = random_forest(3, 5, 3)
    with pytest.raises(ValueError, match="n_classes and n_maps agree"):
        FittedSymmetricForest.restore(forest.arrays(), {"n_classes": 4, "n_maps": 20})


# ---- what cannot be used -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "recipe",
    [{"trees": 0}, {"depth": 13}, {"candidates": 65}, {"maps_per_tree": 65}, {"shrinkage": -1.0}],
)
def test_recipes_out_of_range_are_refused(recipe):
    with pytest.raises(ValueError, match=next(iter(recipe))):
        SymmetricForest(**recipe)


@pytest.mark.parametrize(
    ("rows", "y", "n_classes", "words"),
    [
        (np.zeros((3, 2)), np.zeros(3, int), 1, "n_classes"),
        (np.zeros((3, 2)), np.zeros(3, int), 256, "n_classes"),
        (np.zeros((3, 2)), np.zeros(4, int), 2, "shape"),
        (np.zeros((0, 2)), np.zeros(0, int), 2, "shape"),
        (np.zeros((3, 2)), np.array([0, 1, 2]), 2, "0 to 1"),
        (np.zeros((3, 2)), np.array([0, -1, 1]), 2, "0 to 1"),
        (np.array([[0, 1], [0, np.nan]]), np.array([0, 1]), 2, r"\[1\]"),
    ],
)
def test_rows_that_cannot_be_learnt_are_refused(rows, y, n_classes, words):
    with pytest.raises(ValueError, match=words):
        SymmetricForest(trees=1).fit(rows, y, n_classes=n_classes)


@pytest.mark.parametrize("wrong", [np.zeros(3, int), np.zeros((4, 1), int), np.zeros(4)])
def test_strokes_that_do_not_fit_are_refused(wrong):
    with pytest.raises(ValueError, match="strokes are"):
        SymmetricForest(trees=1).fit(np.zeros((4, 2)), np.arange(4) % 2, n_classes=2, strokes=wrong)


def test_maps_that_kernels_would_misread_are_refused():
    forest = random_forest(3, 5, 3)
    maps = np.zeros((20, 8), np.float32)
    for wrong in (maps[:19], maps.astype(float), np.asfortranarray(maps), maps[:, ::2], maps[0]):
        with pytest.raises(ValueError, match="maps is"):
            forest.predict(wrong)
    with pytest.raises(ValueError, match="out is"):
        forest.predict(maps, np.zeros((3, 7), np.float32))


def test_sums_fit_their_fields():
    assert forest_predict.MOST_TREES_AT_ONCE * forest_predict.LEAF_SUM < 1 << 16
    assert forest_predict.MOST_TREES_AT_ONCE % forest_predict.TOGETHER == 0
    assert forest_predict.BLOCK % 64 == 0
    assert forest_predict.CHUNK % forest_predict.BLOCK == 0
