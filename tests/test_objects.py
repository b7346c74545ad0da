"""Objects are the same however the volume was cut, and the same as SciPy and scikit-image find in the whole."""

import math
import time
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi
from skimage.measure import label as skimage_label
from skimage.morphology import local_maxima
from skimage.segmentation import clear_border, expand_labels, watershed

from brushwork import objects
from brushwork.blocks import Region, grid, whole
from brushwork.components import COMPLEMENT, CONNECTIVITY, Seams, check_edge, structure
from brushwork.errors import InputError
from brushwork.expansion import expanded
from brushwork.foreground import Foreground, smallest_stored
from brushwork.image import as_image
from brushwork.objects import Rule, Volume, find_objects
from brushwork.pieces import Pieces
from brushwork.splitting import Splitting, parts_of

quick = settings(max_examples=40, deadline=None)
EDGES = st.integers(1, 12)


def noise(seed: int, shape: tuple[int, ...], sigma: float = 1.0) -> np.ndarray:
    """A smooth random probability map, uint8 from 0 to 255."""
    values = ndi.gaussian_filter(np.random.default_rng(seed).random(shape), sigma)
    low, high = values.min(), values.max()
    return np.rint((values - low) / max(high - low, 1e-9) * 255).astype(np.uint8)


@st.composite
def maps(draw, sigmas=(0.0, 0.7, 1.5)):
    ndim = draw(st.integers(2, 3))
    shape = tuple(draw(st.integers(1, 30 if ndim == 2 else 13)) for _ in range(ndim))
    return noise(draw(st.integers(0, 10**6)), shape, draw(st.sampled_from(sigmas)))


@pytest.fixture
def found(tmp_path):
    """A function that gives the labels of a whole map, and the objects."""

    def labels(values, rule, edge=7, **volume):
        image = values if hasattr(values, "read") else as_image(values)
        with Pieces(tmp_path / "pieces") as pieces:
            objects = find_objects(Volume(image, edge=edge, threads=2, **volume), rule, pieces)
            frames = [objects.draw(whole(image.shape, t)) for t in range(image.n_frames)]
        return np.squeeze(np.stack(frames), 0) if len(frames) == 1 else np.stack(frames), objects

    return labels


# ---------------------------------------------------------------- groups


@quick
@given(values=maps(), edge=EDGES, data=st.data())
def test_groups_are_those_of_the_whole(tmp_path_factory, values, edge, data):
    neighbours = data.draw(st.sampled_from(sorted(CONNECTIVITY[values.ndim])))
    fill = data.draw(st.booleans())
    mask = values / 255 >= 0.5
    if fill:
        mask = ndi.binary_fill_holes(mask, structure(COMPLEMENT[neighbours], values.ndim))
    expected, n = ndi.label(mask, structure(neighbours, values.ndim))
    with Pieces(tmp_path_factory.mktemp("p") / "pieces") as pieces:
        rule = Rule(Foreground(threshold=0.5), connectivity=neighbours, fill_holes=fill)
        objects = find_objects(Volume(as_image(values), edge=edge, threads=2), rule, pieces)
        assert np.array_equal(objects.draw(whole(values.shape)), expected)
        for region in grid(whole(values.shape), (5,) * values.ndim):
            assert np.array_equal(objects.draw(region), expected[region.slices])
    boxes = ndi.find_objects(expected)
    assert len(objects) == n
    assert objects.boxes.count.tolist() == np.bincount(expected.ravel(), minlength=n + 1)[1:].tolist()
    assert objects.boxes.low.tolist() == [[s.start for s in box] for box in boxes]
    assert objects.boxes.high.tolist() == [[s.stop for s in box] for box in boxes]


def test_a_core_is_needed_where_one_is_asked_for(found):
    values = noise(3, (40, 50), 1.5)
    low, n = ndi.label(values / 255 >= 0.45)
    cored = np.isin(low, np.unique(low[values / 255 >= 0.7]))
    labels, _ = found(values, Rule(Foreground(threshold=0.45, core=0.7)))
    assert 0 < labels.max() < n
    assert np.array_equal(labels > 0, (low > 0) & cored)


def test_size_and_border(found):
    values = noise(5, (60, 61), 1.2)
    all_labels, n = ndi.label(values / 255 >= 0.5)
    size = np.bincount(all_labels.ravel())
    labels, objects = found(values, Rule(min_size=9, max_size=40))
    wanted = (size[all_labels] >= 9) & (size[all_labels] <= 40) & (all_labels > 0)
    assert np.array_equal(labels > 0, wanted)
    assert 0 < len(objects) < n
    inner, _ = found(values, Rule(clear_border=True))
    assert np.array_equal(inner > 0, clear_border(all_labels) > 0)


def test_what_is_ignored_belongs_to_nothing_and_parts_objects(found):
    values = np.zeros((9, 20), np.uint8)
    values[2:7, 2:18] = 255
    values[4, 5] = 0
    mask = np.zeros((9, 20), np.uint8)
    mask[:, 10] = 3
    labels, objects = found(values, Rule(fill_holes=True), ignore=as_image(mask))
    assert len(objects) == 2
    assert labels[4, 5] == 1
    assert not labels[:, 10].any()


def test_a_class_that_beats_the_others(found):
    probabilities = np.random.default_rng(0).random((3, 12, 14)).astype(np.float32)
    probabilities[:, 0, 0] = 0.5  # of equal ones the first has it
    image = as_image(probabilities, axes="cyx")
    for channel in range(3):
        labels, _ = found(image, Rule(Foreground(channel, threshold=None, beats_others=True)))
        assert np.array_equal(labels > 0, probabilities.argmax(0) == channel)
        both, _ = found(image, Rule(Foreground(channel, threshold=0.6, beats_others=True)))
        assert np.array_equal(
            both > 0, (probabilities.argmax(0) == channel) & (probabilities[channel] >= np.float32(0.6))
        )


@quick
@given(values=maps(), edge=EDGES, sigma=st.sampled_from([0.4, 1.0, 2.3]))
def test_smoothing_is_that_of_the_whole(values, edge, sigma):
    image, foreground = as_image(values), Foreground(sigma=(sigma,) * values.ndim)
    expected = ndi.gaussian_filter(values.astype(np.float64) / 255, sigma, truncate=2.0, mode="mirror")
    assert np.abs(foreground.values(image, whole(values.shape)) - expected).max() < 1e-6
    for region in grid(whole(values.shape), (edge,) * values.ndim):
        assert np.array_equal(
            foreground.values(image, region), foreground.values(image, whole(values.shape))[region.slices]
        )


def test_frames_are_separate_and_numbered_on(found):
    values = np.stack([noise(seed, (20, 21)) for seed in range(3)])
    labels, objects = found(as_image(values, axes="tyx"), Rule(), edge=6)
    before = 0
    for frame, mine in zip(values, labels):
        expected, n = ndi.label(frame / 255 >= 0.5)
        assert np.array_equal(mine, np.where(expected, expected + before, 0))
        before += n
    assert len(objects) == before


def test_nothing_is_found_in_an_empty_map(found):
    labels, objects = found(np.zeros((20, 20), np.uint8), Rule(splitting=Splitting("watershed")))
    assert not labels.any()
    assert len(objects) == 0
    assert objects.boxes.low.shape == (0, 2)


def test_more_labels_than_32_bits_can_number():
    """Two blocks whose labels begin beyond 2 ** 31 still find their common object."""
    blocks, many = [Region((0, 0), (4, 4)), Region((0, 4), (4, 8))], 2**31 + 5
    seams = Seams((4, 8), blocks)
    left, right = np.zeros((4, 5), np.int32), np.ones((4, 4), np.int32)
    left[:, 3:] = 2
    seams.add(blocks[0], left, many)
    seams.add(blocks[1], right, many + 2)
    assert seams._pairs[0].tolist() == [[many + 1, many + 2]]


def test_positions_in_volumes_beyond_32_bits():
    from brushwork.components import boxes_of

    shape = (5000, 40000, 40000)
    labels = np.ones((1, 1, 2), np.int32)
    region = Region((4999, 39999, 39998), (5000, 40000, 40000))
    boxes = boxes_of(labels, 1, region, shape)
    assert boxes.first.tolist() == [math.prod(shape) - 2]
    assert boxes.high.tolist() == [list(shape)]


# ---------------------------------------------------------------- spheres on edges of blocks


@pytest.mark.parametrize("edge", range(5, 45, 2))
def test_spheres_on_faces_edges_and_corners_are_found_once(found, edge):
    shape, radius = (48, 48, 48), 3.4
    rng = np.random.default_rng(edge)
    cuts = [k * edge for k in range(1, -(-48 // edge)) if 4 < k * edge < 44]
    spots = [(a, b, c) for a in [*cuts[:2], 21] for b in [*cuts[:2], 33] for c in [*cuts[:2], 11]]
    centres: list[np.ndarray] = []
    for spot in spots:
        centre = np.clip(np.array(spot) - 0.5 + rng.uniform(-0.4, 0.4, 3), 4, 43)
        if all(np.linalg.norm(centre - c) > 2 * radius + 2 for c in centres):
            centres.append(centre)
    grid_points = np.stack(np.indices(shape), -1)
    distance = np.min([np.linalg.norm(grid_points - c, axis=-1) for c in centres], axis=0)
    values = np.rint(np.clip(0.5 + (radius - distance) / 2, 0, 1) * 255).astype(np.uint8)
    labels, objects = found(values, Rule(), edge=edge)
    assert len(objects) == len(centres)
    measured = np.array(ndi.center_of_mass(labels > 0, labels, range(1, len(objects) + 1)))
    for centre in centres:
        assert np.linalg.norm(measured - centre, axis=1).min() < 0.5


# ---------------------------------------------------------------- splitting


@quick
@given(values=maps(sigmas=(1.0, 1.7)), edge=EDGES, data=st.data())
def test_parts_do_not_depend_on_the_cut(tmp_path_factory, values, edge, data):
    heights = data.draw(st.sampled_from(["distance", "probability", "image"]))
    splitting = Splitting(
        "watershed", heights, data.draw(st.sampled_from([0, 2, 4.5])), data.draw(st.sampled_from([0, 0.05, 0.5]))
    )
    rule = Rule(Foreground(threshold=0.4), min_size=2, splitting=splitting)
    labels = []
    for cut in (edge, 64):
        with Pieces(tmp_path_factory.mktemp("p") / "pieces") as pieces:
            volume = Volume(as_image(values), raw=as_image(values[::-1].copy()), edge=cut, threads=2)
            labels.append(find_objects(volume, rule, pieces).draw(whole(values.shape)))
    assert np.array_equal(*labels)


@quick
@given(values=maps(sigmas=(1.0, 1.7)), edge=EDGES, data=st.data())
def test_parts_are_those_of_one_watershed_of_the_whole(tmp_path_factory, values, edge, data):
    """Markers in every pixel that no neighbour exceeds; scikit-image floods the whole array at once."""
    neighbours = data.draw(st.sampled_from(sorted(CONNECTIVITY[values.ndim])))
    by_distance = data.draw(st.booleans())
    near = structure(neighbours, values.ndim)
    mask = values / 255 >= 0.4
    if mask.all():
        mask = mask & (values < 255)
        values = np.where(mask, values, 0).astype(np.uint8)
    heights = ndi.distance_transform_edt(mask) if by_distance else values / np.float32(255)
    tops = local_maxima(np.where(mask, heights, -1), footprint=near)
    plateaus, _ = ndi.label(mask & tops.astype(bool), near)
    surface = np.zeros(values.shape)
    surface[mask] = np.unique(-heights[mask], return_inverse=True)[1]
    seeds = np.flatnonzero(plateaus)
    surface.reshape(-1)[seeds] -= np.linspace(0.4, 0.1, len(seeds))  # no two seeds are of one height
    expected = watershed(surface, plateaus, mask=mask, connectivity=near)
    rule = Rule(
        Foreground(threshold=0.4),
        connectivity=neighbours,
        splitting=Splitting("watershed", "distance" if by_distance else "probability", 0, 0),
    )
    with Pieces(tmp_path_factory.mktemp("p") / "pieces") as pieces:
        got = find_objects(Volume(as_image(values), edge=edge, threads=2), rule, pieces).draw(whole(values.shape))
    pairs = np.unique(np.stack([got.ravel(), expected.ravel()]), axis=1)
    assert len(pairs[0]) == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))


def dumbbell() -> np.ndarray:
    at = np.indices((30, 50))
    discs = [((at[0] - 15) ** 2 + (at[1] - x) ** 2) <= 81 for x in (15, 33)]
    return np.where(discs[0] | discs[1], 255, 0).astype(np.uint8)


def test_two_touching_discs_are_two(found):
    assert len(found(dumbbell(), Rule())[1]) == 1
    labels, objects = found(dumbbell(), Rule(splitting=Splitting("watershed")))
    assert len(objects) == 2
    assert set(np.unique(labels[:, :24])) == {0, 1}
    assert not objects.whole.any()


def test_peaks_that_are_near_or_shallow_do_not_count(found):
    assert len(found(dumbbell(), Rule(splitting=Splitting("watershed", min_distance=20)))[1]) == 1
    assert len(found(dumbbell(), Rule(splitting=Splitting("watershed", depth=9)))[1]) == 1


def test_groups_that_are_too_large_stay_whole_and_are_flagged(found):
    labels, objects = found(dumbbell(), Rule(splitting=Splitting("watershed", most=100)))
    assert len(objects) == 1
    assert objects.whole.tolist() == [True]
    assert np.array_equal(labels > 0, dumbbell() > 0)


def test_the_rule_of_ecc_splits_large_groups_at_the_maxima_of_the_raw_image(found):
    values, at = dumbbell(), np.indices((30, 50))
    spots = ((15, 12), (12, 36), (18, 38))  # the last two lie in one cube
    raw = np.max([100 - np.hypot(at[0] - y, at[1] - x) + x / 10 for y, x in spots], axis=0).astype(np.float32)
    small = Rule(splitting=Splitting("peaks", larger_than=10_000))
    assert len(found(values, small, raw=as_image(raw))[1]) == 1
    split = Rule(splitting=Splitting("peaks", larger_than=200))
    labels, objects = found(values, split, raw=as_image(raw))
    assert len(objects) == 2
    assert labels[15, 12] != labels[18, 38]


def test_the_rule_of_ecc_looks_at_small_groups_too(found):
    values, at = np.zeros((12, 12), np.uint8), np.indices((12, 12))
    values[3:6, 3:7] = 255
    raw = np.max([9 - np.hypot(at[0] - y, at[1] - x) for y, x in ((3, 3), (5, 6))], axis=0).astype(np.float32)
    assert len(found(values, Rule(splitting=Splitting("peaks", larger_than=9)), raw=as_image(raw))[1]) == 2


@pytest.mark.parametrize("splitting", [Splitting("watershed", "image"), Splitting("peaks", larger_than=50)])
def test_intensities_that_are_no_numbers_split_nothing(found, splitting):
    raw = np.random.default_rng(0).random((30, 50)).astype(np.float32)
    raw[0, 0] = np.nan
    found(dumbbell(), Rule(splitting=splitting), raw=as_image(raw))
    raw[15, 15] = np.nan
    with pytest.raises(InputError, match="no finite numbers"):
        found(dumbbell(), Rule(splitting=splitting), raw=as_image(raw))


def test_spacing_counts_for_distances():
    """Two squares joined at a corner: with rows three times as far apart, only their widths limit how deep one is inside."""
    mine = np.zeros((16, 16), bool)
    mine[1:8, 1:8] = mine[8:15, 7:14] = True
    near = structure(4, 2)
    for spacing, distance, expected in (((1, 1), 9, 2), ((1, 1), 10, 1), ((3, 1), 10, 2)):
        labels, n = parts_of(mine, mine, None, Splitting("watershed", min_distance=distance), near, spacing)
        assert n == expected
        assert labels.dtype == np.int32


def test_large_groups_are_split_one_at_a_time(found, monkeypatch):
    busy, most = [], []

    def watched(*arguments):
        busy.append(1)
        time.sleep(0.01)
        most.append(len(busy))
        busy.pop()
        return parts_of(*arguments)

    monkeypatch.setattr(objects, "parts_of", watched)
    rule = Rule(splitting=Splitting("watershed", min_distance=2))
    values = noise(4, (60, 60), 1.0)
    many, _ = found(values, rule)
    assert max(most) > 1
    most.clear()
    monkeypatch.setattr(objects, "SIDE_BY_SIDE", 0)
    assert np.array_equal(found(values, rule)[0], many)
    assert max(most) == 1


# ---------------------------------------------------------------- growing


@quick
@given(seed=st.integers(0, 1000), ndim=st.integers(2, 3), distance=st.sampled_from([1, 2.5, 4]), edge=EDGES)
def test_growing_is_that_of_the_whole(seed, ndim, distance, edge):
    rng, shape = np.random.default_rng(seed), (23, 31)[:ndim] if ndim == 2 else (9, 10, 11)
    labels = np.zeros(shape, np.int64)
    for k in range(1, 9):
        labels[tuple(rng.integers(0, n) for n in shape)] = k
    draw = expanded(lambda region: labels[region.slices], shape, distance, (1.0,) * ndim)
    grown = draw(whole(shape))
    reference = expand_labels(labels, distance)
    assert np.array_equal(grown > 0, reference > 0)
    assert (grown == reference)[labels > 0].all()
    for k in np.unique(grown[grown > 0]):  # each pixel is of a nearest object
        to_mine = ndi.distance_transform_edt(labels != k)
        to_any = ndi.distance_transform_edt(labels == 0)
        assert np.allclose(to_mine[grown == k], to_any[grown == k])
    for region in grid(whole(shape), (edge,) * ndim):
        assert np.array_equal(draw(region), grown[region.slices])


# ---------------------------------------------------------------- bad input


def test_smallest_stored_number():
    for probability in (0, 0.2, 0.5, 0.7, 1):
        k = smallest_stored(np.dtype("uint8"), probability)
        assert k / 255 >= probability
        assert k == 0 or (k - 1) / 255 < probability
    assert smallest_stored(np.dtype("uint16"), 0.7) == 45875


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Foreground(threshold=70), "between 0 and 1"),
        (lambda: Foreground(threshold=math.nan), "between 0 and 1"),
        (lambda: Foreground(threshold=0.7, core=0.5), "has to be higher"),
        (lambda: Foreground(threshold=None), "one of them"),
        (lambda: Foreground(sigma=(-1.0,)), "0 or more"),
        (lambda: Splitting("water"), "watershed"),
        (lambda: Splitting("watershed", "distant"), "distance"),
        (lambda: Splitting("watershed", min_distance=-1), "0 or more"),
        (lambda: Splitting("peaks"), "maximum size"),
        (lambda: Splitting(most=2**31), "at once"),
        (partial(check_edge, 0, (9, 9)), "at least 1"),
        (partial(check_edge, 50_000, (50_000, 50_000)), "less than 46340"),
        (lambda: Rule(min_size=9, max_size=3), "there can be none"),
        (partial(structure, 7, 2), "4, 8"),
    ],
)
def test_settings_that_make_no_sense(make, says):
    with pytest.raises(InputError, match=says):
        make()


@pytest.mark.parametrize(
    ("image", "volume", "says"),
    [
        (as_image(np.zeros((5, 6), np.int32)), {}, "int32"),
        (as_image(np.full((5, 6), 3, np.float32)), {}, "between 0 and 1"),
        (as_image(np.full((5, 6), np.nan, np.float32)), {}, "between 0 and 1"),
        (as_image(np.zeros((5, 6), np.uint8)), {"ignore": as_image(np.zeros((5, 7), np.uint8))}, "of one size"),
        (as_image(np.zeros((5, 6), np.uint8)), {"raw": as_image(np.zeros((6, 5), np.uint8))}, "of one size"),
    ],
)
def test_images_that_do_not_suit(found, image, volume, says):
    with pytest.raises(InputError, match=says):
        found(image, Rule(), **volume)


def test_intensities_are_needed_to_split_by_them(found):
    with pytest.raises(InputError, match="raw"):
        found(dumbbell(), Rule(splitting=Splitting("watershed", "image")))


def test_skimage_agrees_on_connectivity(found):
    values = noise(8, (9, 10, 11))
    for neighbours, rank in CONNECTIVITY[3].items():
        labels, _ = found(values, Rule(connectivity=neighbours), edge=4)
        assert labels.max() == skimage_label(values / 255 >= 0.5, connectivity=rank).max()
