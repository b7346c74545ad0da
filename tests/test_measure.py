"""Measurements: those of scikit-image on the whole volume, the same however it is cut."""

import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from skimage.measure import regionprops_table

from brushwork.blocks import Region
from brushwork.errors import InputError
from brushwork.image import ArrayImage, as_image
from brushwork.kernels.parts import compact
from brushwork.measure import GROUPS, Measurements, _difference, measure, stored_labels
from brushwork.table import Table

SHAPES = st.one_of(st.tuples(st.integers(1, 14), st.integers(1, 14)), st.tuples(*[st.integers(1, 7)] * 3))
PICTURES = SHAPES.flatmap(lambda shape: arrays(np.int64, shape, elements=st.integers(0, 3)))
NAMES = np.array([0, 7, 3, 2**62 + 1])  # what the objects are called: with gaps, huge, not in order
SHAPE_2D = ("perimeter", "eccentricity", "solidity", "orientation")


def measured(labels, *groups, axes=None, **given):
    """Of an array of labels, with time where the axes say so."""
    image = as_image(labels, axes=axes)
    given = {"measurements": Measurements(groups or None)} | given
    return measure(stored_labels(image), image.shape, n_frames=image.n_frames, **given)


def raw_like(labels, dtype=np.uint16):
    return np.random.default_rng(labels.size).integers(0, 250, labels.shape).astype(dtype)


def reference(labels, raw=None, names=("area", "bbox", "centroid", "equivalent_diameter_area")):
    """scikit-image's table, in ascending order of any labels."""
    known, small = np.unique(labels, return_inverse=True)
    small = small.reshape(labels.shape) + (known[0] != 0)
    table = regionprops_table(small, raw, properties=names)
    return np.setdiff1d(known, [0]), table


def assert_same_lengths(ours, theirs):
    """Squares are compared, against the largest: the root of what should be 0 is as large as the root of rounding."""
    for which in ("major", "minor"):
        name = f"axis_{which}_length"
        largest = np.max(theirs["axis_major_length"] ** 2, initial=1.0)
        np.testing.assert_allclose(ours[name] ** 2, theirs[name] ** 2, rtol=0, atol=1e-9 * largest)


@given(PICTURES, st.integers(1, 9))
@settings(max_examples=60)
def test_size_and_place_are_scikit_images_and_do_not_depend_on_the_cut(picture, edge):
    labels = NAMES[picture]
    raw = raw_like(labels)
    ours = measured(labels, images={"raw": as_image(raw)}, edge=edge, threads=2)
    known, theirs = reference(labels, raw)
    assert ours["label"].tolist() == known.tolist()
    for name in theirs:
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9)
    whole = measured(labels, images={"raw": as_image(raw)}, threads=1)
    for name, values in whole.columns.items():
        np.testing.assert_array_equal(ours[name], values)
        assert ours[name].dtype == values.dtype
    inner = labels[(slice(1, -1),) * labels.ndim]
    at_edge = [(inner == k).sum() < (labels == k).sum() for k in known]
    assert ours["touches_border"].tolist() == at_edge


@given(PICTURES, st.integers(1, 9), st.sampled_from([np.uint8, np.int32, np.float32, np.dtype(">u2")]))
@settings(max_examples=60)
def test_intensities_are_scikit_images(picture, edge, dtype):
    raw = raw_like(picture, dtype)
    ours = measured(picture, images={"raw": as_image(raw)}, edge=edge)
    plain = raw.astype(np.float64 if raw.dtype.kind == "f" else raw.dtype.newbyteorder("="))
    _, theirs = reference(picture, plain, ("label", "area", "intensity_mean", "intensity_max", "intensity_min"))
    for name in ("intensity_mean", "intensity_max", "intensity_min"):
        np.testing.assert_allclose(ours[f"{name}-raw"], theirs[name], rtol=1e-9)
    total = [raw[picture == k].sum(dtype=np.float64) for k in ours["label"]]
    np.testing.assert_allclose(ours["intensity_total-raw"], total, rtol=1e-9)
    assert ours["intensity_total-raw"].dtype.kind == ("f" if raw.dtype.kind == "f" else "i")


@given(PICTURES, st.integers(1, 9))
@settings(max_examples=100)
def test_shapes_are_scikit_images(picture, edge):
    ours = measured(picture, "shape", edge=edge)
    two = picture.ndim == 2
    names = ("axis_major_length", "axis_minor_length", "inertia_tensor_eigvals", *(SHAPE_2D if two else ()))
    _, theirs = reference(picture, names=names)
    assert_same_lengths(ours, theirs)
    if not two:
        for name in (f"inertia_tensor_eigvals-{i}" for i in range(3)):
            np.testing.assert_allclose(ours[name], theirs[name], atol=1e-9)
        return
    np.testing.assert_allclose(ours["perimeter"], theirs["perimeter"], rtol=1e-9)
    np.testing.assert_allclose(ours["solidity"], theirs["solidity"], rtol=1e-9)
    np.testing.assert_allclose(ours["eccentricity"] ** 2, theirs["eccentricity"] ** 2, atol=1e-9)
    # A round thing has no direction.
    long = theirs["inertia_tensor_eigvals-0"] > 1.001 * theirs["inertia_tensor_eigvals-1"]
    np.testing.assert_allclose(np.sin(ours["orientation"] - theirs["orientation"])[long], 0, atol=1e-9)
    whole = measured(picture, "shape")
    for name, values in whole.columns.items():
        np.testing.assert_array_equal(ours[name], values)


@pytest.mark.parametrize("edge", [7, 32, 51, 200])
def test_shapes_of_large_objects(edge):
    blurred = ndimage.gaussian_filter(np.random.default_rng(3).random((150, 170)), 3)
    labels = ndimage.label(blurred > 0.5)[0]
    ours = measured(labels, "shape", edge=edge)
    _, theirs = reference(labels, names=("axis_major_length", "axis_minor_length", *SHAPE_2D))
    for name in ("perimeter", "solidity", "eccentricity", "orientation", "axis_major_length", "axis_minor_length"):
        np.testing.assert_allclose(ours[name], theirs[name], rtol=1e-9)


def test_lengths_in_micrometres_know_thick_sections():
    z, y, x = np.mgrid[:9, :31, :31]
    ball = (((z - 4) * 3) ** 2 + (y - 15) ** 2 + (x - 15) ** 2 <= 12**2).astype(np.int32)
    table = measured(ball, "shape", pixel_size=(1.5, 0.5, 0.5), edge=8)
    for which in ("major", "middle", "minor"):
        assert table[f"axis_{which}_length_um"][0] == pytest.approx(12, rel=0.05)
    _, theirs = reference(ball, names=("axis_major_length", "axis_minor_length"))
    assert_same_lengths(table, theirs)
    assert table["area_um3"][0] == table["area"][0] * 1.5 * 0.5 * 0.5
    assert [table[f"centroid_um-{i}"][0] for i in range(3)] == pytest.approx([6, 7.5, 7.5])
    assert table.units["axis_major_length_um"] == table.units["centroid_um-0"] == "um"
    assert table.units["area_um3"] == "um3"


def test_the_longest_axis_points_along_the_object():
    labels = np.zeros((12, 12, 12), np.uint8)
    for i in range(12):
        labels[i, i, 5] = 1
    table = measured(labels, "shape", edge=5)
    assert [table[f"axis_major_direction-{i}"][0] for i in range(3)] == pytest.approx([0.5**0.5, 0.5**0.5, 0], abs=1e-9)


@given(PICTURES, st.integers(1, 9))
@settings(max_examples=60)
def test_neighbors_are_counted_once(picture, edge):
    ours = measured(picture, "neighbors", edge=edge)
    around = np.ones((3,) * picture.ndim)
    counts = [len(set(picture[ndimage.binary_dilation(picture == k, around)]) - {0, k}) for k in ours["label"]]
    assert ours["n_neighbors"].tolist() == counts


@given(PICTURES, st.integers(1, 9))
@settings(max_examples=40)
def test_fractions_of_classes_and_probabilities(picture, edge):
    segmentation = raw_like(picture) % 4
    probability = raw_like(picture, np.uint8)
    both = as_image(np.stack([probability, 255 - probability]), axes="czyx" if picture.ndim == 3 else "cyx")
    ours = measured(
        picture,
        classes=(as_image(segmentation), ["cell", "dark", "edge"]),
        probability=(both, 1),
        edge=edge,
    )
    for row, k in enumerate(ours["label"]):
        for number, name in enumerate(["cell", "dark", "edge"], 1):
            assert ours[f"fraction-{name}"][row] == (segmentation[picture == k] == number).mean()
        seen = (255 - probability)[picture == k] / 255
        assert ours["probability_mean"][row] == pytest.approx(seen.mean(), rel=1e-9)
        assert ours["probability_max"][row] == seen.max()


@pytest.mark.parametrize("signal", ["max", "mean", "object"])
@pytest.mark.parametrize("shape", [(23, 31), (11, 17, 19)])
def test_the_background_is_a_percentile_around_the_centre(shape, signal):
    rng = np.random.default_rng(5)
    labels = ndimage.label(rng.random(shape) > 0.8)[0]
    raw = rng.integers(0, 3, shape).astype(np.uint16) * rng.integers(0, 900, shape).astype(np.uint16)
    wanted = Measurements(("background",), background_radius=2, percentile=30, signal=signal)
    tables = [measured(labels, images={"raw": as_image(raw)}, measurements=wanted, edge=edge) for edge in (3, 8, 64)]
    for row, k in enumerate(tables[0]["label"]):
        centre = np.rint(np.argwhere(labels == k).mean(0)).astype(int)
        near, far = (raw[tuple(slice(max(c - r, 0), c + r + 1) for c in centre)] for r in (1, 2))
        behind = np.percentile(far, 30)
        stands = {"max": near.max(), "mean": near.mean(), "object": raw[labels == k].mean()}[signal]
        contrast = max(stands - behind, 0)
        for table in tables:
            assert table["background-raw"][row] == pytest.approx(behind, rel=1e-9)
            assert table["contrast-raw"][row] == pytest.approx(contrast, rel=1e-9)
            ratio = table["signal_to_background-raw"][row]
            assert math.isnan(ratio) if behind == 0 else ratio == pytest.approx((contrast + behind) / behind, rel=1e-9)


def test_the_same_number_in_two_frames_is_two_objects():
    frames = np.zeros((3, 8, 9), np.uint16)
    frames[0, 2:5, 3:7] = 4
    frames[2, 2:4, 3:4] = 4
    frames[2, 4, 3] = 9
    table = measured(frames, "neighbors", "shape", axes="tyx", edge=4)
    assert table["label"].tolist() == [4, 4, 9]
    assert table["frame"].tolist() == [0, 2, 2]
    assert table["area"].tolist() == [12, 2, 1]
    assert table["n_neighbors"].tolist() == [0, 1, 1]
    assert table["solidity"].tolist() == [1, 1, 1]


@pytest.mark.parametrize("shape", [(6, 7), (4, 5, 6)])
def test_nothing_found_is_an_empty_table_with_all_columns(shape):
    given = {
        "images": {"raw": as_image(np.zeros(shape, np.float32)), "dapi": as_image(np.zeros(shape, np.uint8))},
        "probability": (as_image(np.zeros(shape, np.uint8)), 0),
        "classes": (as_image(np.zeros(shape, np.uint8)), ["cell"]),
        "pixel_size": (1.0,) * len(shape),
        "measurements": Measurements(tuple(GROUPS)),
    }
    empty, full = measured(np.zeros(shape, np.uint8), **given), measured(np.ones(shape, np.uint8), **given)
    assert len(empty) == 0
    assert {n: v.dtype for n, v in empty.columns.items()} == {n: v.dtype for n, v in full.columns.items()}


def test_only_what_is_asked_is_measured():
    labels, raw = np.ones((4, 4), np.uint8), as_image(np.ones((4, 4), np.uint8))
    basic = measured(labels, "basic", images={"raw": raw})
    assert "area" in basic.columns
    assert not any("raw" in name for name in basic.columns)
    assert "background-raw" not in measured(labels, images={"raw": raw}).columns
    two = measured(labels, images={"raw": as_image(np.ones((2, 4, 4)), axes="cyx")})
    assert "intensity_mean-raw-channel 1" in two.columns


def test_channels_of_one_name_are_numbered():
    raw = ArrayImage(
        np.arange(3, dtype=np.uint8)[:, None, None] * np.ones((1, 4, 4), np.uint8), "cyx", "", ("d", "e", "d")
    )
    table = measured(np.ones((4, 4), np.uint8), images={"raw": raw})
    assert [table[f"intensity_mean-raw-{name}"].item() for name in ("d 1", "e", "d 3")] == [0, 1, 2]


def test_an_image_of_many_channels_is_read_once_per_block():
    class Source:
        dtype, shape, reads = np.dtype(np.uint8), (5, 8, 8), 0

        def __getitem__(self, key):
            Source.reads += 1
            return np.broadcast_to(np.arange(5, dtype=np.uint8)[:, None, None], self.shape)[key]

    raw, labels = ArrayImage(Source(), "cyx"), np.ones((8, 8), np.uint8)
    table = measured(labels, "intensity", images={"raw": raw}, edge=4)
    assert [table[f"intensity_mean-raw-channel {i}"][0] for i in range(5)] == [0, 1, 2, 3, 4]
    assert Source.reads == 4
    table = measured(labels, "background", images={"raw": raw})
    assert [table[f"background-raw-channel {i}"][0] for i in range(5)] == [0, 1, 2, 3, 4]
    assert Source.reads == 5


def test_sums_of_far_objects_do_not_overflow(monkeypatch):
    """Squares of coordinates beyond 2^63 come back to what they are when counted from the box."""
    far = 3_200_000_000
    block = np.zeros((40, 40), np.uint8)
    block[3:9, 4:20] = 1
    near = measured(block, "shape")

    def draw(region):
        return block[region.slices_in(Region((far, far), (far + 40, far + 40)))]

    # The blocks before it would take too long.
    monkeypatch.setattr("brushwork.measure.grid", lambda region, edge: [Region((far + 2,) * 2, (far + 30,) * 2)])
    table = measure(draw, (far + 40, far + 40), measurements=Measurements(("shape",)), edge=28)
    assert table["bbox-0"][0] == far + 3
    for name in ("axis_major_length", "axis_minor_length", "eccentricity", "perimeter", "solidity"):
        assert table[name][0] == near[name][0]


def test_products_of_huge_objects_are_exact():
    n, square, total = 10**6, 10**14, 9 * 10**9
    numbers = [np.array([v, 3]) for v in (n, square, total, total)]
    assert _difference(*numbers).tolist() == [float(n * square - total * total), 0.0]


def test_labels_are_numbered_as_they_are_met():
    rng = np.random.default_rng(1)
    for spacing in (1, 1 << 40):
        labels = rng.integers(0, 3000, 20_000) * spacing
        out = np.empty(labels.size, np.int32)
        ids = compact(labels, out)
        np.testing.assert_array_equal(ids[out], labels)
        _, first = np.unique(labels[labels > 0], return_index=True)
        np.testing.assert_array_equal(ids[1:], labels[labels > 0][np.sort(first)])


BAD = {
    "nothing to measure": ({"measurements": Measurements(("intensity",))}, "needs images"),
    "no map": ({"measurements": Measurements(("probability",))}, "needs a probability map"),
    "another size": ({"images": {"raw": as_image(np.zeros((5, 7)), uri="raw.tif")}}, "raw.tif is .5, 7. .* one size"),
    "class beyond": ({"classes": (as_image(np.full((5, 6), 4)), ["a", "b"])}, "beyond 0 to 2 in object 1"),
    "classes of one name": ({"classes": (as_image(np.ones((5, 6), np.uint8)), ["a", "a"])}, "have one name"),
    "no segmentation": ({"classes": (as_image(np.zeros((5, 6))), ["a"])}, "holds float64"),
    "no such class": ({"probability": (as_image(np.zeros((5, 6))), 2)}, "unknown class"),
    "no probability": ({"probability": (as_image(np.full((5, 6), 1.5)), 0)}, "probabilities are 0 to 1"),
    "one name": (
        {"images": {"a": as_image(np.zeros((2, 5, 6)), axes="cyx"), "a-channel 0": as_image(np.zeros((5, 6)))}},
        "have one name",
    ),
    "not a number": ({"images": {"raw": as_image(np.full((5, 6), np.nan))}}, "no finite numbers in object 1"),
    "infinite around": (
        {
            "images": {"raw": as_image(np.where(np.eye(5, 6) > 0, np.inf, 0))},
            "measurements": Measurements(("background",)),
        },
        "no finite numbers around object 1",
    ),
    "pixel size": ({"pixel_size": (1, 1, 1)}, "3 numbers"),
    "edge": ({"edge": 0}, "blocks of 0"),
}


@pytest.mark.parametrize(("asked", "message"), BAD.values(), ids=BAD)
def test_what_cannot_be_measured_is_said(asked, message):
    with pytest.raises(InputError, match=message):
        measured(np.ones((5, 6), np.uint8), **asked)


@pytest.mark.parametrize("labels", [np.full((4, 4), -3), np.ones((4, 4))])
def test_labels_are_whole_numbers_from_1(labels):
    with pytest.raises(InputError, match="number"):
        measured(labels)


def test_wishes_are_checked():
    with pytest.raises(InputError, match="did you mean 'shape'"):
        Measurements(("shap",))
    for wrong in ({"signal": "median"}, {"background_radius": -1}, {"percentile": 101}):
        with pytest.raises(InputError):
            Measurements(**wrong)


# ---------------------------------------------------------------- which rows to keep

TABLE = Table(
    {
        "label": np.arange(1, 7),
        "area": np.array([1, 5, 10, 10, 20, 50]),
        "contrast-raw": np.array([0.5, 2.0, -3.0, math.nan, 2.5, 1e3]),
        "touches border": np.array([True, False, False, True, False, True]),
        "name": np.array(list("abcdef")),
    }
)


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("area >= 10", [3, 4, 5, 6]),
        ("10 <= area and area < 50", [3, 4, 5]),
        ("contrast-raw > 2", [5, 6]),
        ("contrast-raw>2 or(area==1)", [1, 5, 6]),
        ('"contrast-raw" < -2.5e0', [3]),
        ("`touches border` == 1 and contrast-raw != 1000", [1, 4]),
        ("area == 1 or area == 5 and label == 9", [1]),
        ("(area == 1 or area == 5) and label == 2", [2]),
        ("((label)) > 1", None),
        ("label < area", [2, 3, 4, 5, 6]),
        ("1 < 2", [1, 2, 3, 4, 5, 6]),
        ("name == c or name == 'f'", [3, 6]),
        ('area > 5 and "name" != d', [3, 5, 6]),
        ("name == area", []),
    ],
)
def test_rows_are_chosen_by_conditions(condition, kept):
    if kept is None:
        with pytest.raises(InputError):
            TABLE.where(condition)
    else:
        assert TABLE.where(condition)["label"].tolist() == kept


@pytest.mark.parametrize(
    "condition",
    ["", "area", "area >", "area > 3 and", "(area > 3", "area > 3)", "area > 3 label < 2", "aera > 3", "area = 3", "name > 3",
     "__import__('os') > 1", "1 < area < 9", "area > 3um", "area > 3; label", "and > 3"],
)  # fmt: skip
def test_conditions_that_cannot_be_understood(condition):
    with pytest.raises(InputError, match=r"cannot be understood|unknown column"):
        TABLE.where(condition)


@given(st.text(alphabet="ab 01.<>=!()\"'-andor", max_size=20))
def test_no_condition_is_more_than_an_error(condition):
    table = Table({"a": np.arange(3), "b": np.ones(3)})
    with suppress(InputError):
        assert set(table.where(condition)["a"]) <= {0, 1, 2}


def test_a_table_has_columns_of_one_length():
    with pytest.raises(InputError, match="one length"):
        Table({"a": np.arange(3), "b": np.arange(2)})


def test_a_table_for_pandas():
    frame = TABLE.to_pandas()
    assert list(frame.columns) == list(TABLE.columns)
    assert frame.area.tolist() == TABLE["area"].tolist()
