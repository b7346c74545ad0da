"""ecc's table: what its rule gives on a volume in one piece, whatever the block, each cell once."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage as ndi

from brushwork.errors import InputError
from brushwork.find_cells import CellRule, find_cells, peaks, standing_out
from brushwork.image import as_image
from brushwork.io.tables import read_table
from brushwork.measure import Measurements
from brushwork.table import Table

SIZE = (7.0, 6.45, 6.0)  # micrometres
COLUMNS = ["X", "Y", "Z", "deltaI", "BG", "vol", "deltaI_total"]


def volume(seed, shape=(26, 30, 23), sigma=1.2):
    """(probabilities uint8, raw uint16 of which no two are equal)."""
    random = np.random.default_rng(seed)
    values = ndi.gaussian_filter(random.random(shape), sigma)
    values = (values - values.min()) / (values.max() - values.min())
    raw = random.permutation(values.size).reshape(shape).astype(np.uint16)
    return np.rint(values * 255).astype(np.uint8), raw


def cube(array, point, radius):
    return array[tuple(slice(max(p - radius, 0), p + radius + 1) for p in point)]


def ecc_rule(stored, raw, rule, ignore=None):
    """The table of a whole array, cell by cell, in any order."""
    full = np.iinfo(stored.dtype).max
    mask = stored / full >= rule.threshold
    if ignore is not None:
        mask &= ignore == 0
    labels, n = ndi.label(mask)
    around, rows = rule.around, []

    def row(point, signal, pixels):
        background = np.percentile(cube(raw, point, around.background_radius), around.percentile)
        delta = max(signal - background, 0)
        z, y, x = np.multiply(point, SIZE)
        rows.append((x, y, z, delta, background, pixels * np.prod(SIZE), delta * pixels))

    for k in range(1, n + 1):
        mine = labels == k
        pixels = int(mine.sum())
        if pixels < rule.min_size:
            continue
        if rule.max_size is None or pixels <= rule.max_size:
            point = np.rint(ndi.center_of_mass(mine)).astype(int)
            near = cube(raw, point, around.signal_radius)
            row(point, {"max": near.max(), "mean": near.mean(), "object": raw[mine].mean()}[around.signal], pixels)
            continue
        inside = np.where(mine, raw.astype(float), -1)
        highest = ndi.maximum_filter(inside, round(rule.max_size ** (1 / 3)), mode="constant", cval=-1)
        for point in np.argwhere(mine & (inside == highest)):
            row(point, cube(raw, point, 2).mean(), rule.max_size)
    return np.array(rows).reshape(-1, 7)


def in_order(rows):
    """Rows sorted by place, which no two cells share."""
    return rows[np.lexsort(np.round(rows[:, :3], 6).T)]


def as_rows(table):
    assert list(table.columns) == COLUMNS
    return np.stack([table[name] for name in COLUMNS], axis=1)


@pytest.fixture(scope="module")
def cells(tmp_path_factory):
    """A function that finds the cells of arrays."""
    folder = tmp_path_factory.mktemp("cells")

    def found(stored, raw, rule=None, **options):
        options = {"pixel_size": SIZE, "overwrite": True} | options
        return find_cells(as_image(stored), as_image(raw), folder / "cells.csv", rule, **options)

    return found


@given(
    st.integers(0, 10**6),
    st.integers(4, 33),
    st.sampled_from(["max", "mean", "object"]),
    st.sampled_from([None, 3, 8, 30, 64]),
    st.integers(1, 4),
)
@settings(max_examples=40, deadline=None)
def test_the_table_is_that_of_the_whole_array_whatever_the_block(cells, seed, block, signal, max_size, min_size):
    shape = tuple(np.random.default_rng(seed).integers(5, 27, 3))
    stored, raw = volume(seed, shape)
    rule = CellRule(
        threshold=0.6,
        min_size=min(min_size, max_size or min_size),
        max_size=max_size,
        around=Measurements(None, 3, 20.0, signal, 1),
    )
    found = as_rows(cells(stored, raw, rule, block=block, threads=2).table)
    expected = ecc_rule(stored, raw, rule)
    assert found.shape == expected.shape
    np.testing.assert_allclose(in_order(found), in_order(expected), rtol=1e-12, atol=1e-9)


def test_cubes_of_peaks_reach_beyond_the_surroundings(cells):
    _, raw = volume(5)
    stored = np.full(raw.shape, 255, np.uint8)
    rule = CellRule(max_size=13**3, around=Measurements(None, 0, 20.0, "max", 0))
    expected = in_order(ecc_rule(stored, raw, rule))
    assert len(expected) > 3
    np.testing.assert_allclose(in_order(as_rows(cells(stored, raw, rule, block=8).table)), expected, rtol=1e-12)


def test_the_defaults_are_those_of_ecc(cells):
    stored, raw = volume(3)
    found, expected = as_rows(cells(stored, raw).table), ecc_rule(stored, raw, CellRule(0, 0.7))
    assert len(expected) > 20
    np.testing.assert_allclose(in_order(found), in_order(expected), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_probabilities_of_other_types_give_the_same_cells(cells, dtype):
    stored, raw = volume(4)
    same = (stored / 255).astype(np.float32) if dtype is np.float32 else stored.astype(np.uint16) * 257
    np.testing.assert_array_equal(as_rows(cells(same, raw).table), as_rows(cells(stored, raw).table))


def test_cells_on_faces_edges_and_corners_of_blocks_are_found_once_for_any_block(cells):
    stored, raw = np.zeros((50, 45, 48), np.uint8), np.full((50, 45, 48), 100, np.uint16)
    centres = [(z, y, x) for z in (1, 12, 24, 36, 48) for y in (11, 24, 35, 43) for x in (1, 12, 24, 36, 46)]
    for centre in centres:
        cube(stored, centre, 1)[:] = 255
        raw[centre] = 900
    for block in range(4, 44, 2):
        table = cells(stored, raw, block=block).table
        places = np.stack([table["Z"], table["Y"], table["X"]], 1) / SIZE
        assert sorted(map(tuple, np.rint(places).astype(int).tolist())) == sorted(centres)
        assert set(table["vol"] / np.prod(SIZE)) == {27.0}
        assert set(table["deltaI"]) == {800.0}


def test_what_is_masked_belongs_to_nothing(cells):
    stored, raw = volume(5)
    ignore = (np.random.default_rng(0).random(stored.shape) < 0.1).astype(np.uint8) * 3
    rule = CellRule(threshold=0.55)
    found = cells(stored, raw, rule, ignore=as_image(ignore), block=9).table
    np.testing.assert_allclose(in_order(as_rows(found)), in_order(ecc_rule(stored, raw, rule, ignore)), rtol=1e-12)


def test_of_equally_bright_pixels_the_first_is_the_peak():
    mine = np.zeros((5, 20), bool)
    mine[2, 2:18] = True
    flat = np.full(mine.shape, 7.0)
    assert peaks(mine, flat, 5).tolist() == [[2, 2]]
    flat[2, 10] = flat[2, 15] = 9.0
    assert peaks(mine, flat, 5).tolist() == [[2, 2], [2, 10], [2, 15]]
    assert len(peaks(mine, flat, 1)) == mine.sum()


@pytest.mark.parametrize("block", [4, 7, 16, 64])
def test_a_large_object_in_an_even_image_is_found_once(cells, block):
    stored = np.zeros((20, 20, 20), np.uint8)
    stored[5:15, 5:15, 5:15] = 255
    table = cells(stored, np.full(stored.shape, 50, np.uint8), CellRule(max_size=64), block=block).table
    assert as_rows(table).tolist() == [[30.0, 32.25, 35.0, 0.0, 50.0, 64 * 7 * 6.45 * 6, 0.0]]


def test_files_have_two_decimals_and_the_filtered_ones_are_beside(cells, tmp_path):
    stored, raw = volume(6)
    rule = CellRule(threshold=0.6, sbr=20.0, delta=16000.0)
    made = find_cells(as_image(stored), as_image(raw), tmp_path / "out" / "a_cells.csv", rule, pixel_size=SIZE)
    assert [file.name for file in made.files] == ["a_cells.csv", "a_cells_filtered.csv"]
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a_cells.csv", "a_cells_filtered.csv"]
    lines = made.files[0].read_text().splitlines()
    assert lines[0] == ",".join(COLUMNS)
    assert lines[1] == ",".join(f"{v:.2f}" for v in as_rows(made.table)[0])
    table = made.table
    with np.errstate(divide="ignore"):
        stays = ((table["deltaI"] + table["BG"]) / table["BG"] > 20) & (table["deltaI"] > 16000)
    assert 0 < stays.sum() < len(table)
    np.testing.assert_array_equal(as_rows(made.filtered), as_rows(table)[stays])
    assert len(read_table(made.files[1])) == stays.sum()


def test_without_background_there_is_no_ratio():
    table = Table({"deltaI": np.array([5.0, 5.0]), "BG": np.array([0.0, 1.0])})
    assert standing_out(table, CellRule(sbr=0.0))["BG"].tolist() == [1.0]
    assert len(standing_out(table, CellRule(delta=4.0))) == 2


def test_parquet_keeps_numbers_and_units(tmp_path):
    stored, raw = volume(7)
    made = find_cells(as_image(stored, pixel_size=SIZE), as_image(raw), tmp_path / "cells.parquet")
    stored_table = read_table(tmp_path / "cells.parquet")
    np.testing.assert_array_equal(as_rows(stored_table), as_rows(made.table))
    assert dict(stored_table.units) == {"X": "um", "Y": "um", "Z": "um", "vol": "um3"}


def test_no_cells_are_an_empty_table(cells, tmp_path):
    nothing = np.zeros((9, 9, 9), np.uint8)
    made = find_cells(as_image(nothing), as_image(nothing), tmp_path / "cells.csv", CellRule(sbr=1.0), pixel_size=SIZE)
    assert len(made.table) == len(made.filtered) == 0
    assert list(made.table.columns) == COLUMNS
    assert made.files[0].read_text().splitlines() == [",".join(COLUMNS)]


@pytest.mark.parametrize(
    ("stored", "raw", "options", "says"),
    [
        ((9, 9, 9), (9, 9, 8), {}, "of one size"),
        ((9, 9, 9), (9, 9, 9), {"ignore": (9, 8, 9)}, "of one size"),
        ((9, 9, 9), (9, 9, 9), {"pixel_size": None}, "pixel size"),
        ((9, 9, 9), (9, 9, 9), {"pixel_size": (1, 1)}, "2 numbers|has 2"),
        ((9, 9), (9, 9), {}, "one volume"),
    ],
)
def test_images_that_do_not_suit_each_other_are_refused(cells, stored, raw, options, says):
    options = {k: as_image(np.zeros(v, np.uint8)) if k == "ignore" else v for k, v in options.items()}
    with pytest.raises(InputError, match=says):
        cells(np.zeros(stored, np.uint8), np.zeros(raw, np.uint8), **options)


def test_wrong_wishes_are_refused(cells, tmp_path):
    stored, raw = volume(8, (9, 9, 9))
    with pytest.raises(InputError, match="there can be none"):
        CellRule(min_size=9, max_size=8)
    with pytest.raises(InputError, match="threshold"):
        cells(stored, raw, CellRule(threshold=70))
    channels = as_image(np.zeros((2, 9, 9, 9)), axes="czyx")
    with pytest.raises(InputError, match="channels"):
        find_cells(as_image(stored), channels, tmp_path / "cells.csv", pixel_size=SIZE)
    for wrong in ({"rule": CellRule(threshold=70)}, {"ignore": as_image(raw[1:])}):
        with pytest.raises(InputError, match=r"threshold|of one size"):
            find_cells(as_image(stored), as_image(raw), tmp_path / "new" / "cells.csv", pixel_size=SIZE, **wrong)
    with pytest.raises(InputError, match=r"\.csv or \.parquet"):
        find_cells(as_image(stored), as_image(raw), tmp_path / "cells.txt", pixel_size=SIZE)
    (tmp_path / "cells.csv").write_text("kept")
    with pytest.raises(InputError, match="exists already"):
        find_cells(as_image(stored), as_image(raw), tmp_path / "cells.csv", pixel_size=SIZE)
    assert [p.name for p in tmp_path.iterdir()] == ["cells.csv"]


def test_values_that_are_no_numbers_are_told(cells):
    stored = np.zeros((20, 20, 20), np.uint8)
    stored[5:15, 5:15, 5:15] = 255
    raw = np.random.default_rng(0).random(stored.shape).astype(np.float32)
    raw[5, 5, 5] = np.nan
    with pytest.raises(InputError, match="no finite numbers"):
        cells(stored, raw, CellRule(max_size=8))
