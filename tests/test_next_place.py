"""Where to paint next: deterministic, bounded, diverse, and told in words."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from brushwork import next_place
from brushwork.blocks import Region
from brushwork.errors import InputError
from brushwork.features import FeatureSet
from brushwork.image import as_image
from brushwork.next_place import MOST_BOXES, PLACE_EDGE, candidates, places
from brushwork.training import fit, prepare, rows_at
from painting import example

FEATURES = "gaussian:1,3.5 hessian:1.6"


def painted_ball(**kind):
    """(images, model, table): a bright ball in noise with strokes inside and outside."""
    image, labels, _ = example(**kind)
    prepared = prepare([(image, labels)], FEATURES, classes=["outside", "ball"])
    return {"ball": image}, fit(prepared), prepared.table


@pytest.fixture(scope="module")
def ball():
    images, model, table = painted_ball(shape=(200, 300))
    return images, model, table, candidates(images, model.features)


def test_the_same_answer_every_time(ball):
    images, model, table, samples = ball
    again = candidates(images, model.features, threads=1)
    assert [s.region for s in samples] == [s.region for s in again]
    assert places(model, samples, table) == places(model, again, table)


def test_rows_of_a_sample_are_those_of_its_pixels(ball):
    images, model, _, samples = ball
    for s in samples:
        assert np.prod(s.lattice) == len(s.at) == len(s.rows)
        assert ((s.at >= s.region.start) & (s.at < s.region.stop)).all()
        np.testing.assert_array_equal(s.rows, rows_at(images["ball"], model.features, 0, s.at))


def test_places_lie_apart_in_the_image_and_come_best_first(ball):
    _, model, table, samples = ball
    found = places(model, samples, table)
    assert len(found) == 5
    centres = np.array([p.centre for p in found])
    apart = np.abs(centres[:, None] - centres).max(-1) + 1000 * np.eye(5)
    assert apart.min() >= PLACE_EDGE
    scores = [p.score for p in found]
    assert scores == sorted(scores, reverse=True)
    for p in found:
        assert all(0 <= a <= c < b <= n for a, c, b, n in zip(p.region.start, p.centre, p.region.stop, (200, 300)))


def test_visited_places_do_not_come_again(ball):
    _, model, table, samples = ball
    first = places(model, samples, table, most=3)
    later = places(model, samples, table, visited=first, most=3)
    for p in later:
        assert all(np.abs(np.subtract(p.centre, q.centre)).max() >= PLACE_EDGE for q in first)


def test_a_tiny_image_runs_out_of_places():
    images, model, table = painted_ball(shape=(40, 60))
    found = places(model, candidates(images, model.features), table, most=100)
    assert 1 <= len(found) < 10
    assert not places(model, candidates(images, model.features), table, visited=found, most=100)
    assert places(model, [], table) == []


def test_what_nobody_painted_is_found_and_called_so():
    """A texture that no stroke touches comes first."""
    image, labels, _ = example(shape=(256, 384))
    pixels = image.read(Region((0, 0), image.shape))[0].copy()
    rng = np.random.default_rng(5)
    pixels[:, 256:] = rng.normal(400, 120, (256, 128))
    inside = labels.positions[:, 1] < 220
    labels = labels.chosen(inside)
    odd = as_image(pixels)
    prepared = prepare([(odd, labels)], FEATURES)
    best = places(fit(prepared), candidates({"odd": odd}, prepared.features), prepared.table, most=1)[0]
    assert best.centre[1] >= 240
    assert best.reason == "unlike anything painted"


def test_only_what_is_in_view_is_looked_at(ball):
    images, model, table, _ = ball
    view = Region((50, 100), (90, 190))
    samples = candidates(images, model.features, within=view)
    assert all(((s.at >= view.start) & (s.at < view.stop)).all() for s in samples)
    for p in places(model, samples, table):
        assert all(a <= c < b for a, c, b in zip(view.start, p.centre, view.stop))


def test_a_volume_of_a_terabyte_is_not_read_whole():
    class Huge:
        """An image that counts what is read of it."""

        shape, dtype, axes, n_frames = (20_000, 20_000, 2_500), np.dtype(np.uint8), "zyx", 1
        channel_names, pixel_size, uri = ("intensity",), None, "huge"
        n_read = 0

        def read(self, region):
            Huge.n_read += region.size
            return np.random.default_rng(0).random((1, *region.shape), np.float32)

    image = Huge()
    features = FeatureSet.parse("gaussian:1").resolved(image)
    samples = candidates({"huge": image}, features)
    assert 0 < len(samples) <= MOST_BOXES[3]
    assert len({s.region for s in samples}) == len(samples)
    assert Huge.n_read < 2e6


def test_every_image_gets_its_turn():
    images = {f"image {i}": as_image(np.random.default_rng(i).random((600, 700), np.float32)) for i in range(5)}
    features = FeatureSet.parse("gaussian:1").resolved(images["image 0"])
    samples = candidates(images, features)
    counts = [sum(s.image == i for s in samples) for i in images]
    assert sum(counts) == MOST_BOXES[2]
    assert max(counts) - min(counts) <= 1


def test_stopping_returns_what_is_there(ball):
    images, model, _, _ = ball
    asked = []

    def stop():
        asked.append(True)
        return len(asked) > 2

    assert len(candidates(images, model.features, threads=1, stop=stop)) == 2
    assert candidates(images, model.features, stop=lambda: True) == []


def test_one_section_of_a_stack_with_features_in_2d():
    images, model, table = painted_ball(shape=(9, 60, 80), pixel_size=(3, 1, 1))
    samples = candidates(images, model.features)
    assert all(s.lattice[0] == 1 for s in samples)
    best = places(model, samples, table)[0]
    assert best.region.shape[0] == 1
    assert len(best.centre) == 3


def test_boxes_with_nan_are_left_out_until_none_is_left():
    pixels = np.random.default_rng(0).random((200, 300)).astype(np.float32)
    pixels[10, 10] = np.nan
    image = as_image(pixels)
    features = FeatureSet.parse("gaussian:1").resolved(image)
    regions = [s.region for s in candidates({"some": image}, features)]
    assert regions
    assert all(r.start != (0, 0) for r in regions)
    pixels[:] = np.nan
    with pytest.raises(InputError, match="NaN"):
        candidates({"some": image}, features)


def test_reasons_in_words(ball):
    say, both = partial(next_place._reason, ball[1]), "'outside' and 'ball'"
    even, sure = np.array([0.5, 0.5], np.float32), np.array([0.9, 0.1], np.float32)
    many, fewer = np.array([4, 4]), np.array([4, 1])
    assert say(even, 1.0, 0.01, many) == "unlike anything painted"
    assert say(even, 1.0, 0.9, many) == f"{both} are nearly equal"
    assert say(even, 1.0, 0.9, fewer) == "'ball' has few strokes (1), and this may be it"
    assert say(sure, 0.2, 0.9, many) == "probably 'outside', and much looks like this that is not painted"


def test_class_weights_count(ball):
    _, model, table, samples = ball
    assert model.class_weights
    skewed = replace(model, class_weights=(1.0, 0.25))
    assert places(skewed, samples, table) != places(replace(model, class_weights=(0.25, 1.0)), samples, table)
