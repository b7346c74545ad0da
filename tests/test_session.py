"""The session: newest wins, the same bits as training and batch, no thread and no memory after it."""

import gc
import threading
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from brushwork import answers, feature_cache, training
from brushwork.blocks import Region, grid, whole
from brushwork.errors import InputError
from brushwork.feature_cache import FeatureCache, Kept, MapsKey
from brushwork.features import FeatureSet
from brushwork.image import ArrayImage, as_image
from brushwork.labels import Labels
from brushwork.session import Recipe, Session
from brushwork.workers import Workers
from painting import example, two_tone

PATIENCE = 120  # seconds until a test counts as hanging
FEATURES = FeatureSet.parse("gaussian:1 hessian:0.7,1.6")
RECIPE = Recipe(FEATURES)
CLASSES = ((1, "outside"), (2, "inside"))


class Watcher:
    """Records what a session says, and waits for it."""

    def __init__(self):
        self.shown, self.failures, self.statuses, self.n_cleared = [], [], [], 0
        self.show_too = self.tell_too = lambda: None
        self._changed = threading.Condition()

    def _noted(self, note):
        with self._changed:
            note()
            self._changed.notify_all()

    def show(self, shown):
        self.show_too()
        self._noted(lambda: self.shown.append(shown))

    def fail(self, error):
        self._noted(lambda: self.failures.append(error))

    def tell(self, status):
        self._noted(lambda: self.statuses.append(status))
        self.tell_too()

    def clear(self):
        self._noted(lambda: setattr(self, "n_cleared", self.n_cleared + 1))

    def until(self, happened):
        with self._changed:
            assert self._changed.wait_for(happened, PATIENCE), "the session never came so far"

    def until_shown(self, generation, n=1):
        """The first `n` answers of a generation."""
        self.until(lambda: sum(s.generation == generation for s in self.shown) >= n)
        return [s for s in self.shown if s.generation == generation]

    def until_at_rest(self, generation):
        self.until(lambda: self.statuses and self.statuses[-1].generation == generation and self._is_at_rest())

    def _is_at_rest(self):
        return self.statuses[-1].state in ("idle", "ready", "failed")


@contextmanager
def session_of(**settings):
    """(session, watcher); nothing may fail that the test does not take out of `watcher.failures`."""
    watcher = Watcher()
    with Session(watcher.show, watcher.fail, tell=watcher.tell, clear=watcher.clear, **settings) as session:
        yield session, watcher
    assert watcher.failures == []


class GatedImage(ArrayImage):
    """An image whose reads are recorded, wait while the gate is shut, and may fail."""

    def __init__(self, array, **settings):
        super().__init__(array, "zyx"[-array.ndim :], **settings)
        for name, value in {"gate": threading.Event(), "reads": [], "begun": threading.Event(), "error": []}.items():
            object.__setattr__(self, name, value)
        self.gate.set()

    def read(self, region):
        self.reads.append(region)
        self.begun.set()
        assert self.gate.wait(PATIENCE)
        if self.error:
            raise self.error[0]
        return super().read(region)


def gated_example(shape=(60, 80)):
    image, labels, _ = example(shape)
    return GatedImage(image.source), labels


def same_model(a, b):
    ours, theirs = a.estimator.arrays(), b.estimator.arrays()
    assert a.features == b.features
    assert a.classes == b.classes
    assert a.class_weights == b.class_weights
    assert a.provenance == b.provenance
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_array_equal(ours[name], theirs[name])


def same_probabilities(shown, model, image):
    np.testing.assert_array_equal(shown.probabilities, model.predict_block(image, model.block(image, shown.region)))


def with_ids(labels, ids):
    """The labels with class k called ids[k - 1]."""
    return Labels(labels.shape, labels.coords, np.array([0, *ids], np.uint8)[labels.classes], labels.strokes)


@pytest.fixture(params=["maps are kept", "maps are made anew"])
def worth_keeping(request, monkeypatch):
    monkeypatch.setattr(feature_cache, "WORTH_KEEPING", np.inf if request.param == "maps are kept" else 0)


VIEWS = {
    "2D": ((60, 80), "", [Region((0, 0), (60, 40)), Region((0, 40), (60, 80))]),
    "channels": ((60, 80), "c", [Region((7, 3), (50, 71))]),
    "z plane": ((24, 30, 32), "", [Region((9, 0, 0), (10, 16, 32)), Region((9, 16, 0), (10, 30, 32))]),
    "y plane": ((24, 30, 32), "", [Region((0, 9, 0), (24, 10, 32))]),
    "x plane": ((24, 30, 32), "", [Region((0, 0, 9), (24, 30, 10))]),
    "channels of a stack": ((24, 30, 32), "c", [Region((9, 0, 0), (10, 30, 32))]),
}


@pytest.mark.parametrize("kind", VIEWS)
@pytest.mark.usefixtures("worth_keeping")
def test_answers_have_the_bits_of_training_and_batch(kind):
    shape, channels, regions = VIEWS[kind]
    image, labels, _ = example(shape)
    if channels:
        image = as_image(np.stack([image.source, image.source[::-1]], -1), axes="zyx"[-len(shape) :] + "c")
    recipe = Recipe(FEATURES, channels=(1,) if channels else None, seed=3)
    expected = training.train(
        [(image, labels)], FEATURES, classes=["outside", "inside"], channels=recipe.channels, seed=3
    )
    with session_of() as (session, watcher):
        session.use(recipe)
        session.look("ball", image, regions)
        half = labels.chosen(labels.strokes < 6)
        session.paint({"ball": (image, half)}, CLASSES)
        generation = session.paint({"ball": (image, labels)}, CLASSES)
        shown = watcher.until_shown(generation, len(regions))
        same_model(session.model, expected)
        assert session.model_generation == generation
    assert [s.region for s in shown] == regions or len(regions) > 1
    assert {s.region for s in shown} == set(regions)
    for s in shown:
        assert (s.image, s.classes) == ("ball", (1, 2))
        same_probabilities(s, expected, image)


@settings(max_examples=12)
@given(
    ids=st.lists(st.integers(1, 255), min_size=3, max_size=3, unique=True),
    order=st.permutations(range(3)),
    seed=st.integers(0, 2**31),
    priors=st.sampled_from(["image", "strokes"]),
)
def test_class_ids_may_have_gaps_and_any_order(ids, order, seed, priors):
    """Two images, the second class ids[1] painted, ids[2] not; several images in the order given."""
    examples = [example(seed=s)[:2] for s in (0, 1)]
    classes = tuple((ids[i], f"class {ids[i]}") for i in order)
    painted = [ids[i] for i in order if i < 2]
    numbers = [painted.index(ids[0]) + 1, painted.index(ids[1]) + 1]
    expected = training.train(
        [(image, with_ids(labels, numbers)) for image, labels in examples],
        FEATURES,
        classes=[f"class {i}" for i in painted],
        priors=priors,
        seed=seed,
    )
    with session_of() as (session, watcher):
        session.use(Recipe(FEATURES, priors=priors, seed=seed))
        session.look("0", examples[0][0], [whole((60, 80))])
        asked = {str(i): (image, with_ids(labels, ids)) for i, (image, labels) in enumerate(examples)}
        (shown,) = watcher.until_shown(session.paint(asked, classes))
        same_model(session.model, expected)
    assert shown.classes == tuple(painted)
    same_probabilities(shown, expected, examples[0][0])


@settings(max_examples=10)
@given(steps=st.lists(st.sampled_from(["paint", "use", "look", "wait"]), min_size=3, max_size=12))
def test_nothing_older_is_shown_after_a_stroke(steps):
    image, labels, _ = example()
    regions = list(grid(whole((60, 80)), (20, 40)))
    with session_of() as (session, watcher):
        session.use(RECIPE)
        session.look("ball", image, regions)
        before = []  # (generation, answers shown until it was asked for)
        for n, step in enumerate([*steps, "paint"]):
            if step == "paint":
                some = labels.chosen(labels.strokes <= 1 + n % 8)
                before.append((session.paint({"ball": (image, some)}, CLASSES), len(watcher.shown)))
            elif step == "use":
                before.append((session.use(Recipe(FEATURES, seed=n)), len(watcher.shown)))
            elif step == "look":
                session.look("ball", image, regions[n % 3 :])
            else:
                watcher.until(lambda: not before or watcher.statuses)
        session.look("ball", image, regions)
        generation = before[-1][0]
        counts = Labels.__len__(some)
        session_is_fresh = some.classes.min() != some.classes.max()
        assert counts
        if session_is_fresh:
            watcher.until(lambda: {s.region for s in watcher.shown if s.generation == generation} == set(regions))
        else:
            watcher.until_at_rest(generation)
    for asked, n in before:
        assert all(s.generation >= asked for s in watcher.shown[n:])
    assert [s.generation for s in watcher.shown] == sorted(s.generation for s in watcher.shown)


def test_a_burst_of_strokes_is_answered_by_few_trainings(monkeypatch):
    image, labels = gated_example()
    n_fits = []
    fit = training.fit
    monkeypatch.setattr(answers.training, "fit", lambda *a, **k: n_fits.append(1) or fit(*a, **k))
    with session_of() as (session, watcher):
        session.use(RECIPE)
        image.gate.clear()
        session.paint({"ball": (image, labels)}, CLASSES)
        assert image.begun.wait(PATIENCE)
        for n in range(50):
            generation = session.paint({"ball": (image, labels.chosen(slice(None, 40 + n)))}, ((1, "a"), (2, "b")))
        session.look("ball", image, [whole((60, 80))])
        image.gate.set()
        watcher.until_at_rest(generation)
        generation = session.paint({"ball": (image, labels)}, CLASSES)
        watcher.until_shown(generation)
        assert session.model_generation == generation
    assert len(n_fits) <= 2


def test_nothing_is_predicted_of_one_class_and_what_was_shown_is_withdrawn():
    image, labels, _ = example()
    with session_of() as (session, watcher):
        session.use(RECIPE)
        session.look("ball", image, [whole((60, 80))])
        only = labels.chosen(labels.classes == 2)
        watcher.until_at_rest(session.paint({"ball": (image, only)}, CLASSES))
        assert (watcher.shown, watcher.n_cleared, session.model) == ([], 0, None)
        watcher.until_shown(session.paint({"ball": (image, labels)}, CLASSES))
        n = len(watcher.shown)
        for times in (1, 1):
            watcher.until_at_rest(session.paint({"ball": (image, only)}, CLASSES))
            assert (len(watcher.shown), watcher.n_cleared, session.model) == (n, times, None)
        watcher.until_at_rest(session.paint({}, CLASSES))
        watcher.until_shown(session.paint({"ball": (image, labels)}, CLASSES))


def test_closing_leaves_no_thread_and_no_memory():
    before = set(threading.enumerate())
    image, labels, _ = example((24, 30, 32))
    gone = weakref.ref(image), weakref.ref(image.source)
    watcher = Watcher()
    session = Session(watcher.show, watcher.fail)
    session.use(RECIPE)
    session.look("ball", image, [Region((9, 0, 0), (10, 30, 32))])
    watcher.until_shown(session.paint({"ball": (image, labels)}, CLASSES))
    session.close()
    assert set(threading.enumerate()) <= before
    del image
    gc.collect()
    assert [r() for r in gone] == [None, None]
    assert session._cache.n_bytes == 0
    session.close()
    session.use(Recipe())
    session.paint({}, CLASSES)
    session.update_once()
    assert (session.model, watcher.failures) == (None, [])


def test_closing_does_not_wait_for_a_read_and_nothing_is_called_after_it():
    image, labels = gated_example()
    before = set(threading.enumerate())
    watcher = Watcher()
    session = Session(watcher.show, watcher.fail, tell=watcher.tell)
    session.use(RECIPE)
    image.gate.clear()
    session.look("ball", image, [whole((60, 80))])
    session.paint({"ball": (image, labels)}, CLASSES)
    assert image.begun.wait(PATIENCE)
    session.close()
    said = len(watcher.statuses)
    image.gate.set()
    for thread in set(threading.enumerate()) - before:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    assert (watcher.shown, watcher.failures, len(watcher.statuses)) == ([], [], said)
    assert session._cache.n_bytes == 0


def test_an_abandoned_view_holds_no_image():
    image, labels, _ = example()
    other, _, _ = example(seed=1)
    gone = weakref.ref(other)
    with session_of() as (session, watcher):
        session.use(RECIPE)
        generation = session.paint({"ball": (image, labels)}, CLASSES)
        session.look("other", other, [whole((60, 80))])
        watcher.until_shown(generation)
        session.look("ball", image, [whole((60, 80))])
        watcher.until_shown(generation, 2)
        watcher.until_at_rest(generation)
        del other
        gc.collect()
        assert gone() is None


def test_memory_stays_under_its_budget_over_a_thousand_views(monkeypatch):
    monkeypatch.setattr(feature_cache, "WORTH_KEEPING", np.inf)
    features = FeatureSet.parse("gaussian:0.7 laplacian:0.7")
    pixels, _ = two_tone((10, 100, 100))
    image = as_image(pixels)
    _, labels, _ = example((10, 100, 100))
    budget = 30 * 2 * 4 * 100 * 100
    with session_of(cache_bytes=budget) as (session, watcher):
        session.use(Recipe(features))
        generation = session.paint({"ball": (image, labels)}, CLASSES)
        for n in range(1000):
            z, y = n % 10, n // 10
            session.look("ball", image, [Region((z, 0, 0), (z + 1, y + 1, 100))])
            watcher.until_shown(generation, n + 1)
            assert session._cache.n_bytes <= budget
        kept = session._cache.maps
        assert len(kept.keys()) > 10
        assert kept.n_bytes == sum(a.nbytes for k in kept.keys() for a in kept.get(k))  # noqa: SIM118


@pytest.mark.parametrize("place", ["training", "features", "prediction"])
def test_errors_of_reading_reach_the_user_and_the_next_stroke_works(place):
    image, labels = gated_example()
    with session_of() as (session, watcher):
        session.use(RECIPE)
        if place == "features":
            image.error.append(OSError("the disk is gone"))
            session.look("ball", image, [whole((60, 80))])
            watcher.until(lambda: watcher.failures)
            image.error.clear()
        elif place == "training":
            image.error.append(OSError("the disk is gone"))
            session.paint({"ball": (image, labels)}, CLASSES)
            watcher.until(lambda: watcher.failures)
            image.error.clear()
            session.look("ball", image, [whole((60, 80))])
        else:
            watcher.until_at_rest(session.paint({"ball": (image, labels)}, CLASSES))
            image.error.append(OSError("the disk is gone"))
            session.look("ball", image, [whole((60, 80))])
            watcher.until(lambda: watcher.failures)
            image.error.clear()
        assert watcher.statuses[-1].state in ("failed", "idle", "features")
        failure = watcher.failures[0]
        assert isinstance(failure, OSError)
        watcher.until_shown(session.paint({"ball": (image, labels)}, CLASSES))
        watcher.failures.clear()


def test_update_once_tries_again_what_failed():
    image, labels = gated_example()
    with session_of() as (session, watcher):
        session.use(RECIPE)
        image.error.append(OSError("the disk is gone"))
        generation = session.paint({"ball": (image, labels)}, CLASSES)
        watcher.until(lambda: watcher.failures)
        watcher.failures.clear()
        image.error.clear()
        session.look("ball", image, [whole((60, 80))])
        session.update_once()
        watcher.until_shown(generation)


def test_errors_of_callbacks_are_reported_and_work_goes_on():
    image, labels, _ = example()
    watcher = Watcher()
    troubles = [RuntimeError("no canvas")]

    def show(shown):
        if troubles:
            raise troubles.pop()
        watcher.show(shown)

    with Session(show, watcher.fail) as session:
        session.use(RECIPE)
        session.look("ball", image, [whole((60, 80))])
        session.paint({"ball": (image, labels)}, CLASSES)
        watcher.until(lambda: watcher.failures)
        watcher.until_shown(session.paint({"ball": (image, labels)}, CLASSES))


@pytest.mark.parametrize(
    ("recipe", "classes", "message"),
    [
        (RECIPE, ((1, "outside"),), "name every class"),
        (Recipe(FEATURES, estimator="none such"), CLASSES, "unknown estimator"),
        (Recipe(FeatureSet.parse("gaussian:50")), CLASSES, "too large"),
        (Recipe(FEATURES, channels=("DAPI",)), CLASSES, "DAPI"),
    ],
)
def test_questions_without_an_answer_are_told(recipe, classes, message):
    image, labels, _ = example()
    with session_of() as (session, watcher):
        session.use(recipe)
        session.paint({"ball": (image, labels)}, classes)
        watcher.until(lambda: watcher.failures)
        assert isinstance(watcher.failures[0], InputError)
        assert message in str(watcher.failures[0])
        watcher.failures.clear()
        session.use(RECIPE)
        session.look("ball", image, [whole((60, 80))])
        watcher.until_shown(session.paint({"ball": (image, labels)}, CLASSES))
        watcher.failures.clear()


def test_an_image_of_another_kind_is_refused_and_the_next_one_predicted():
    image, labels, _ = example()
    with session_of() as (session, watcher):
        session.use(RECIPE)
        generation = session.paint({"ball": (image, labels)}, CLASSES)
        two_channels = as_image(np.zeros((60, 80, 2), np.float32), axes="yxc")
        session.look("other", two_channels, [whole((60, 80))])
        watcher.until(lambda: any("channels" in str(e) for e in watcher.failures))
        watcher.failures.clear()
        session.look("ball", image, [whole((60, 80))])
        watcher.until_shown(generation)


def test_strokes_wait_for_update_once_where_the_session_is_not_live():
    image, labels = gated_example()
    with session_of() as (session, watcher):
        session.live = False
        session.use(RECIPE)
        session.look("ball", image, [whole((60, 80))])
        first = session.paint({"ball": (image, labels)}, CLASSES)
        watcher.until_at_rest(first)  # features are computed nevertheless
        assert image.reads
        assert (watcher.shown, session.model) == ([], None)
        session.update_once()
        watcher.until_shown(first)
        watcher.until_at_rest(first)
        second = session.paint({"ball": (image, labels)}, CLASSES)
        assert not session.live
        session.live = True
        watcher.until_shown(second)
        assert [s.generation for s in watcher.shown] == [first, second]


def test_regions_are_shown_in_the_order_wanted_and_only_once_per_model():
    image, labels, _ = example()
    regions = list(grid(whole((60, 80)), (20, 40)))[::-1]
    with session_of(threads=1) as (session, watcher):
        session.use(RECIPE)
        session.look("ball", image, regions[:4])
        generation = session.paint({"ball": (image, labels)}, CLASSES)
        watcher.until_shown(generation, 4)
        session.look("ball", image, regions)
        watcher.until_shown(generation, 6)
        assert [s.region for s in watcher.shown] == regions
        assert session.use(Recipe(FEATURES)) == generation
        again = session.use(Recipe(FEATURES, seed=1))
        assert [s.region for s in watcher.until_shown(again, 6)] == regions
        watcher.until_at_rest(again)
        last = watcher.statuses[-1]
        assert (last.state, last.fraction) == ("ready", 1.0)
        assert 0 < last.seconds_to_first <= last.seconds_to_full


def test_another_view_is_predicted_before_its_features_are_computed_ahead(monkeypatch):
    """The view changes just when features of the view before are looked after: regions are shown one by one nevertheless."""
    monkeypatch.setattr(feature_cache, "WORTH_KEEPING", np.inf)
    image, labels = gated_example((24, 30, 32))
    planes = [Region((z, 0, 0), (z + 1, 30, 32)) for z in range(9, 13)]
    reads_when_shown = []

    with session_of(threads=1) as (session, watcher):

        def look_elsewhere():
            if watcher.shown and watcher.statuses[-1].state == "features":
                watcher.tell_too = lambda: None
                image.reads.clear()
                session.look("ball", image, planes)

        session.use(RECIPE)
        generation = session.paint({"ball": (image, labels)}, CLASSES)
        watcher.until_at_rest(generation)
        watcher.tell_too = look_elsewhere
        watcher.show_too = lambda: reads_when_shown.append(len(image.reads))
        session.look("ball", image, [Region((0, 0, 0), (1, 30, 32))])
        watcher.until_shown(generation, 5)
    assert reads_when_shown[1] < len(planes)


def test_rows_of_earlier_strokes_are_not_computed_again():
    image, labels = gated_example((60, 700))
    with session_of() as (session, watcher):
        session.use(Recipe(FEATURES, priors="strokes"))
        near = labels.chosen(labels.positions[:, 1] < 350)
        watcher.until_at_rest(session.paint({"ball": (image, near)}, CLASSES))
        image.reads.clear()
        watcher.until_at_rest(session.paint({"ball": (image, near)}, CLASSES))
        assert image.reads == []
        watcher.until_at_rest(session.paint({"ball": (image, labels)}, CLASSES))
        assert image.reads
        assert all(region.stop[1] > 350 - 20 for region in image.reads)


def test_rows_come_from_maps_in_view(monkeypatch):
    monkeypatch.setattr(feature_cache, "WORTH_KEEPING", np.inf)
    image, labels = gated_example()
    expected = training.train([(image, labels)], FEATURES, classes=["outside", "inside"])
    with session_of() as (session, watcher):
        generation = session.use(RECIPE)
        session.look("ball", image, list(grid(whole((60, 80)), (20, 40))))
        watcher.until(lambda: watcher.statuses and watcher.statuses[-1].state == "idle")
        image.reads.clear()
        generation = session.paint({"ball": (image, labels)}, CLASSES)
        watcher.until_shown(generation, 6)
        same_model(session.model, expected)
        assert image.reads == []


def test_another_image_of_the_same_id_has_its_own_rows():
    image, labels, _ = example()
    other = as_image(image.source[::-1].copy(), uri=image.uri)
    with session_of() as (session, watcher):
        session.use(RECIPE)
        watcher.until_at_rest(session.paint({"ball": (image, labels)}, CLASSES))
        watcher.until_at_rest(session.paint({"ball": (other, labels)}, CLASSES))
        same_model(session.model, training.train([(other, labels)], FEATURES, classes=["outside", "inside"]))


def test_frames_are_told_apart():
    pixels = np.stack([two_tone(seed=s)[0] for s in range(3)])
    image = as_image(pixels, axes="tyx")
    _, still, _ = example()
    coords = np.column_stack([still.strokes % 3, still.coords])
    labels = Labels(still.shape, coords, still.classes, still.strokes)
    expected = training.train([(image, labels)], FEATURES, classes=["outside", "inside"])
    regions = [whole((60, 80), t) for t in range(3)]
    with session_of() as (session, watcher):
        session.use(RECIPE)
        session.look("ball", image, regions)
        shown = watcher.until_shown(session.paint({"ball": (image, labels)}, CLASSES), 3)
        same_model(session.model, expected)
    for s in shown:
        same_probabilities(s, expected, image)


# -- the parts ---------------------------------------------------------------------------------------------------------------


@given(
    budget=st.integers(0, 40),
    puts=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 20), st.sets(st.integers(0, 9))), max_size=30),
)
def test_what_is_kept_stays_under_the_budget_and_firm_keys_stay(budget, puts):
    kept = Kept(budget)

    def key(n):
        return MapsKey(0, 0, Region((n,), (n + 1,)))

    for n, size, firm in puts:
        stays = {k for k in (key(m) for m in firm - {n}) if kept.get(k)}
        kept.put(key(n), (np.zeros(size, np.uint8),), {key(m) for m in firm})
        held = {k: kept.get(k) for k in kept.keys()}  # noqa: SIM118
        assert stays <= held.keys()
        assert kept.n_bytes == sum(a.nbytes for arrays in held.values() for a in arrays) <= budget
    kept.retain(lambda k: False)
    assert (kept.keys(), kept.n_bytes) == ([], 0)


def test_maps_are_kept_only_where_making_them_is_slow():
    image, _, _ = example()
    features, region = FEATURES.resolved(image), whole((60, 80))
    cache = FeatureCache(1 << 20)
    assert cache.maps_of(image, features, region) is None  # not in use
    cache.use([image])
    first = cache.maps_of(image, features, region)
    np.testing.assert_array_equal(first, features.at(image, features.block(image, region)))
    cache._speeds = dict.fromkeys(cache._speeds, feature_cache.WORTH_KEEPING)
    cache.maps.retain(lambda key: False)
    assert cache.maps_of(image, features, region) is None
    cache.use([])
    assert (cache.n_bytes, cache._speeds) == (0, {})


@given(
    asked=st.lists(st.lists(st.integers(0, 59), min_size=1, max_size=20, unique=True), min_size=1, max_size=6),
    budget=st.sampled_from([0, 40_000, 1 << 20]),
)
def test_kept_rows_are_those_that_training_computes(asked, budget):
    image, _, _ = example()
    features = FEATURES.resolved(image)
    cache = FeatureCache(budget)
    cache.use([image])
    for places in asked:
        coords = np.array([(p, 79 - p) for p in places])
        labels = Labels((60, 80), coords, np.ones(len(coords), np.uint8), np.zeros(len(coords), np.int32))
        np.testing.assert_array_equal(
            cache.rows_of(image, features, labels, threads=1), training.rows_of(image, features, labels, threads=1)
        )
        assert cache.n_bytes <= budget


def test_rows_of_painted_pixels_and_of_the_sample_around_them_do_not_drive_each_other_out():
    image, _, _ = example()
    features = FEATURES.resolved(image)
    made = []
    cache = FeatureCache(4 * (4 * features.n_maps + 16) * 100)  # room for 100 rows of each
    cache.use([image])
    original = cache._made_rows
    cache._made_rows = lambda *a: made.append(len(a[-1])) or original(*a)
    at = np.argwhere(np.ones((60, 80)))
    painted = Labels((60, 80), at[:90], np.ones(90, np.uint8), np.zeros(90, np.int32))
    sample = Labels((60, 80), at[1000:1090], np.zeros(90, np.uint8), np.zeros(90, np.int32))
    for labels in (painted, sample, painted, sample):
        cache.rows_of(image, features, labels, threads=1)
    assert sum(made) == 180


def test_workers_do_what_is_wanted_now_and_stop_when_told():
    workers = Workers(2)
    wanted = [3, 1, 2]
    done = []
    for outcome in workers.each(lambda: wanted, lambda n: n * n):
        done.append((outcome.item, outcome.result()))
        if outcome.item == 3:
            wanted[:] = [1, 2, 4]
    assert sorted(done) == [(1, 1), (2, 4), (3, 9), (4, 16)]

    def enough():
        raise TimeoutError

    with pytest.raises(TimeoutError):
        list(workers.each(enough, lambda n: n))
    workers.close()
